"""Figures of a study: first what they show, as plain records, then one self-contained page."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.spec.studies import FiguresSpec, PlotSpec

Row = dict[str, Any]


@dataclass(frozen=True)
class Series:
    """Points of one colour. published: measured or computed elsewhere, drawn as open marks."""

    name: str
    x: tuple[Any, ...]
    y: tuple[float, ...]
    published: bool = False


@dataclass(frozen=True)
class Figure:
    """What a figure shows. panels: value -> series. panel_title, series_title: what tells panels,
    series apart. published_title: of open marks."""

    title: str
    x_title: str
    y_title: str
    panel_title: str
    series_title: str
    published_title: str
    kind: str
    log: tuple[str, ...]
    panels: dict[str, tuple[Series, ...]]


def figure(
    plot: PlotSpec,
    rows: Sequence[Row],
    published: Sequence[Row] = (),
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """The figure that a plot asks for. titles: column -> what readers are to know it by.

    Raises AccelsimError on an unknown column.
    """
    _check_columns(plot, rows)
    named = titles or {}
    # Words stand in the order of the sweep, numbers in their own.
    words = dict.fromkeys(row[plot.x] for row in (*rows, *published) if plot.x in row)
    order = {value: place for place, value in enumerate(words)}
    panels: dict[str, list[Series]] = {}
    for source, is_published in ((rows, False), (published, True)):
        found = _series(plot, source)
        for (panel, name), points in found.items():
            points.sort(key=lambda p: (0, p[0]) if _is_number(p[0]) else (1, order[p[0]]))
            x, y = zip(*points, strict=True)
            panels.setdefault(panel, []).append(Series(name, x, y, is_published))
    if not panels:
        raise AccelsimError(f"{plot.title}: no row is left to draw")
    over = "".join(f" of {value}" for value in plot.over.values())
    y_title = plot.unit or (plot.y if isinstance(plot.y, str) else "share")
    return Figure(
        title=plot.title,
        x_title=named.get(plot.x, plot.x),
        y_title=f"{y_title}{over and ', relative to that'}{over}",
        panel_title=named.get(plot.panel or "", plot.panel or ""),
        series_title=named.get(plot.series or "", plot.series or ""),
        published_title=PUBLISHED if plot.published is None else plot.published.title,
        kind=plot.kind,
        log=tuple(plot.log),
        panels={name: tuple(series) for name, series in panels.items()},
    )


def _check_columns(plot: PlotSpec, rows: Sequence[Row]) -> None:
    """Raise AccelsimError for a name or a value that the rows do not have."""
    known = {name: None for row in rows for name in row}
    wanted: dict[str, Any] = {"x": plot.x, "series": plot.series, "panel": plot.panel}
    names = [(field, name) for field, name in wanted.items() if name is not None]
    names += [(f, name) for f in ("where", "over") for name in getattr(plot, f)]
    for field, name in names:
        if name not in known:
            message = f"{plot.title}: {field}: no column {name!r}"
            raise AccelsimError(Fault(message, help=nearest(name, known)))
    for field in ("where", "over"):
        for name, wanted_values in getattr(plot, field).items():
            values = {row[name]: None for row in rows if name in row}
            for value in _listed(wanted_values):
                if value not in values:
                    message = f"{plot.title}: {field}: {name} is never {value!r}"
                    help = nearest(str(value), [str(v) for v in values])
                    raise AccelsimError(Fault(message, help=help))


def _series(plot: PlotSpec, rows: Sequence[Row]) -> dict[tuple[str, str], list[tuple[Any, float]]]:
    out: dict[tuple[str, str], list[tuple[Any, float]]] = {}
    several = isinstance(plot.y, list)
    measures = plot.y if isinstance(plot.y, list) else [plot.y]
    shown = [row for row in rows if all(row.get(k) in _listed(v) for k, v in plot.where.items())]
    for row in shown:
        base = _base(plot, row, rows) if plot.over else None
        if plot.over and base is None:
            continue
        for measure in measures:
            if measure not in row:
                if several:
                    continue
                help = nearest(measure, row)
                raise AccelsimError(Fault(f"{plot.title}: no column {measure!r}", help=help))
            if row[measure] is None:  # a value that is not a number
                continue
            value = _measured(plot, row, measure)
            if base is not None:
                other = _measured(plot, base, measure)
                above, below = (other, value) if plot.inverse else (value, other)
                if not below:
                    at = f"{plot.x} {row[plot.x]}"
                    raise AccelsimError(f"{plot.title}: {measure} at {at} is divided by 0")
                value = above / below
            panel = str(row[plot.panel]) if plot.panel else ""
            name = str(row.get(plot.series or "", "ours"))
            if several:
                name = measure.rsplit("_", 1)[-1]
            out.setdefault((panel, name), []).append((row[plot.x], value))
    return out


def _measured(plot: PlotSpec, row: Row, measure: str) -> float:
    try:
        return float(row[measure])
    except (TypeError, ValueError):
        message = f"{plot.title}: {measure} at {plot.x} {row.get(plot.x)}: expected a number"
        raise AccelsimError(f"{message}, got {row[measure]!r}") from None


def _base(plot: PlotSpec, row: Row, rows: Sequence[Row]) -> Row | None:
    """The row that differs only in the axes of `over`."""
    keys = [key for key in (plot.x, plot.series, plot.panel) if key and key not in plot.over]
    for other in rows:
        if all(other[k] == row[k] for k in keys) and all(
            other[k] == v for k, v in plot.over.items()
        ):
            return other
    return None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def read_published(spec: FiguresSpec, plot: PlotSpec, folder: Path) -> list[Row]:
    """Rows of a plot's published file, in the names of the sweep. Raises AccelsimError."""
    if plot.published is None:
        return []
    path = folder / plot.published.file
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AccelsimError(f"{plot.title}: {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise AccelsimError(f"{plot.title}: {path}: not UTF-8 (byte {error.start})") from None
    table = list(csv.DictReader(io.StringIO(text)))
    if not table:
        raise AccelsimError(f"{plot.title}: {path}: expected a header and rows")
    for line, raw in enumerate(table, start=2):
        if None in raw or None in raw.values():
            message = f"{plot.title}: {path}, row {line}: expected one value for each column"
            raise AccelsimError(message)
    columns = plot.published.columns
    measures = plot.y if isinstance(plot.y, list) else [plot.y]
    names = {columns.get(plot.published.y, plot.published.y): measures[0]}
    out = []
    for raw in table:
        row: Row = {}
        for column, text in raw.items():
            name = next((ours for ours, theirs in columns.items() if theirs == column), column)
            row[names.get(column, name)] = spec.labels.get(text, _number(text))
        out.append(row)
    return out


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


PUBLISHED = "published"
COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d")


def _stacked(kind: str, panel: Sequence[Series]) -> list[Series]:
    """Published points as high as the bars that they belong to, which stand on each other."""
    if kind != "bars":
        return list(panel)
    heights: dict[Any, float] = {}
    out = []
    for series in panel:
        if series.published:
            points = [(x, y) for x, y in zip(series.x, series.y, strict=True) if y]
            for x, y in points:
                heights[x] = heights.get(x, 0.0) + y
            xs = tuple(x for x, _ in points)
            series = Series(series.name, xs, tuple(heights[x] for x in xs), True)
        out.append(series)
    return out


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _short(x: Any) -> str:
    """1024 as 1K, 1048576 as 1M; anything else as it is."""
    for factor, letter in ((1 << 20, "M"), (1 << 10, "K")):
        if isinstance(x, int) and x and x % factor == 0:
            return f"{x // factor}{letter}"
    return str(x)


def _log_ticks(values: Sequence[Any]) -> dict[str, Any]:
    """Ticks of an axis: lengths where they are, other numbers at 1, 2 and 5; all in full."""
    if all(isinstance(v, int) and v > 0 and (v & (v - 1) == 0 or v % 1024 == 0) for v in values):
        ticks = sorted(set(values))
        return {"tickvals": ticks, "ticktext": [_short(v) for v in ticks]}
    if not all(isinstance(v, int | float) and v > 0 for v in values):
        return {}
    decades = range(floor(log10(min(values))), ceil(log10(max(values))) + 1)
    steps = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    return {"tickvals": steps, "ticktext": [f"{step:g}" for step in steps]}


def page(title: str, description: str, figures: Sequence[Figure]) -> str:
    """One HTML page with everything in it; it opens without a network."""
    from plotly.graph_objects import Bar, Scatter
    from plotly.io import to_html
    from plotly.offline import get_plotlyjs
    from plotly.subplots import make_subplots

    body = []
    for one in figures:
        names = list(one.panels)
        over = [f"{one.panel_title}: {name}" if one.panel_title else name for name in names]
        drawn = make_subplots(rows=1, cols=len(names), subplot_titles=over, shared_yaxes=True)
        order = list(dict.fromkeys(s.name for series in one.panels.values() for s in series))
        legend: set[str] = set()
        for column, name in enumerate(names, start=1):
            for series in _stacked(one.kind, one.panels[name]):
                colour = COLOURS[order.index(series.name) % len(COLOURS)]
                label = one.published_title if series.published else series.name
                common = {
                    "x": [_short(x) for x in series.x] if one.kind == "bars" else series.x,
                    "y": series.y,
                    "name": label,
                    "legendgroup": label,
                    "showlegend": not series.published and label not in legend,
                }
                legend.add(label)
                if series.published:
                    # On bars, in their colour, they would not be seen.
                    own = colour if one.kind == "lines" else "#333"
                    marker = {
                        "color": own,
                        "size": 11,
                        "symbol": "circle-open",
                        "line": {"width": 2},
                    }
                    trace: Any = Scatter(**common, mode="markers", marker=marker)
                elif one.kind == "lines":
                    # Nothing lies between words.
                    mode = "lines+markers" if all(map(_is_number, series.x)) else "markers"
                    trace = Scatter(**common, mode=mode, marker={"color": colour})
                else:
                    trace = Bar(**common, marker_color=colour)
                drawn.add_trace(trace, row=1, col=column)
        if one.published_title in legend:
            # In the legend they are one, of no colour.
            marker = {"color": "#333", "size": 11, "symbol": "circle-open", "line": {"width": 2}}
            label = one.published_title
            same = {"name": label, "legendgroup": label, "mode": "markers"}
            drawn.add_trace(Scatter(x=[None], y=[None], marker=marker, **same), row=1, col=1)
        every = [s for series in one.panels.values() for s in series]
        for axis in one.log:
            update = drawn.update_xaxes if axis == "x" else drawn.update_yaxes
            update(type="log", **_log_ticks([v for s in every for v in getattr(s, axis)]))
        drawn.update_xaxes(title_text=one.x_title)
        drawn.update_yaxes(title_text=one.y_title, col=1)
        drawn.update_layout(
            title=one.title,
            legend_title_text=one.series_title,
            barmode="stack",
            template="plotly_white",
            height=440,
        )
        body.append(to_html(drawn, full_html=False, include_plotlyjs=False))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><script>{get_plotlyjs()}</script></head>"
        "<body style='font-family: sans-serif; max-width: 1400px; margin: auto; padding: 1em'>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(description)}</p>"
        + "".join(body)
        + "</body></html>\n"
    )
