"""Tables as data, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

# No colour but a grey that lets the page through: as readable on a dark page as on a light one.
_LINE = "border-bottom:1px solid rgba(128,128,128,.35)"
_CELL = f"padding:.15em .7em;{_LINE};vertical-align:top"
_HEAD = f"{_CELL};font-weight:600"
_TABLE = "color:inherit;border-collapse:collapse;margin:0 0 .8em 0"
_TITLE = "caption-side:top;text-align:left;color:inherit;font-weight:600;padding:.2em .7em"
_TEXT = "max-height:30em;overflow:auto"


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first of a row names it. header: over the columns, () where none is.

    numbers: whether what comes after the first is to be read as columns of numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = True


def html(tables: Iterable[Table], notes: Iterable[str] = ()) -> str:
    """Tables, one below the other, and notes. All texts are escaped."""
    parts = [_table(table) for table in tables]
    parts += [f"<div>note: {escape(note)}</div>" for note in notes]
    return f'<div style="overflow-x:auto">{"".join(parts)}</div>'


def text_html(title: str, text: str) -> str:
    """A text as it is, under a title. Both are escaped."""
    return f'<div><b>{escape(title)}</b><pre style="{_TEXT}">{escape(text)}</pre></div>'


def _table(table: Table) -> str:
    side = "right" if table.numbers else "left"
    lines = [f'<table style="{_TABLE}"><caption style="{_TITLE}">{escape(table.title)}</caption>']
    if table.header:
        lines.append(f"<thead>{_row(table.header, 'th', _HEAD, side)}</thead>")
    lines.append("<tbody>")
    lines += [_row(row, "td", _CELL, side) for row in table.rows]
    return "\n".join([*lines, "</tbody></table>"])


def _row(cells: tuple[str, ...], tag: str, style: str, side: str) -> str:
    sides = ["left", *[side] * (len(cells) - 1)]
    shown = (
        f'<{tag} style="{style};text-align:{of}">{escape(cell)}</{tag}>'
        for of, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(shown)}</tr>"
