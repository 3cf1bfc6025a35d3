"""Results and analyses as tables for a terminal."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accelsim.results import Result
from accelsim.results.shown import tables
from accelsim.units import show_bytes


def result_table(result: Result) -> RenderableType:
    """The result of a run."""
    parts: list[RenderableType] = []
    for found in tables(result):
        table = titled(found.title, show_header=bool(found.header))
        for number, column in enumerate(found.header):
            table.add_column(Text(column), justify="right" if number else "left")
        for row in found.rows:
            table.add_row(*map(Text, row))
        parts.append(table)
    return Group(*parts, *(Text(f"note: {note}") for note in result.notes))


def traffic_tables(found: dict[str, Any]) -> RenderableType:
    """What launches ask for, tensor by tensor, and what the cache sends on."""
    parts: list[RenderableType] = []
    for launch in found["launches"]:
        grid = " x ".join(f"{loop} {trips:,}" for loop, trips in launch["grid"].items())
        rows = [
            {"tensor": tensor, **{way: show_bytes(size) for way, size in sizes.items()}}
            for tensor, sizes in launch["requests"].items()
        ]
        parts.append(Text(f"{launch['name']}: grid {grid}; requested of {found['requested_of']}:"))
        parts.append(rows_table("", rows))
        body = ", ".join(
            f"{sum(of.values()):g} {opcode}" for opcode, of in launch["loop_body"].items()
        )
        if body:
            parts.append(Text(f"a thread's innermost iteration: {body}"))
        if launch["cache"] is not None:
            parts.append(Text(_cache_line(launch["cache"])))
    return Group(*parts, *(Text(f"note: {note}") for note in found["notes"]))


def _cache_line(cache: dict[str, Any]) -> str:
    times = cache["read"] / max(cache["compulsory"], 1)
    dirty = f", {show_bytes(cache['dirty'])} still in the cache" if cache["dirty"] else ""
    return (
        f"{cache['level']}: {show_bytes(cache['read'])} read ({times:.2f} times what must be), "
        f"{show_bytes(cache['written'])} written{dirty}; {cache['slots']:,} instances at a time"
    )


def rows_table(title: str, rows: list[dict[str, Any]]) -> RenderableType:
    """Like records as a table; columns from the first."""
    table = titled(title)
    for number, column in enumerate(rows[0] if rows else ()):
        table.add_column(Text(column), no_wrap=number == 0)  # names are copied from here
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    return table


def titled(title: str, *, show_header: bool = True) -> Table:
    """An empty table. What stands in it has to be Text: in a str, Rich reads marks, such as [b]."""
    shown = Text(title, style="table.title") if title else None
    return Table(title=shown, show_header=show_header, title_justify="left")


def shortened(source: str) -> str:
    """The arXiv number that a source names first, or its first words."""
    paper = re.search(r"arXiv (\d{4}\.\d{5})", source)
    return paper[1] if paper is not None else " ".join(source.split()[:2]).rstrip(",;:")


def analysis_tables(found: dict[str, Any]) -> list[RenderableType]:
    """What `analyze` found, as tables: passes, operations, footprints, alternatives, bounds."""
    passes = [
        {"rank": rank, "passes": n, "sweeps": found["sweeps"][rank]}
        for rank, n in found["passes"].items()
    ]
    counts = found["op_counts"]["count"]
    operations = [
        {"operation": name, "count": f"{counts[name]:,}" if name in counts else "", "of": formula}
        for name, formula in found["op_counts"]["total"].items()
    ]
    held = found.get("footprint_bytes", {})
    live = [
        {
            "tensor": tensor,
            "live coordinates per fiber": _pairs(row),
            "words at once": found["footprint_totals"][tensor],
            **({"bytes": show_bytes(held[tensor]) if tensor in held else ""} if held else {}),
        }
        for tensor, row in found["footprints"].items()
    ]
    out = [
        rows_table("passes over each rank", passes),
        rows_table("operations", operations),
        rows_table("live footprints", live),
    ]
    if found["alternatives"]:
        rows = [
            {
                "tensor": row["tensor"],
                "rank": row["rank"],
                "hold (words)": row["hold"]["words_on_chip"],
                "spill (words)": _spill(row),
                "or read and compute again": _again(row),
                **_ways(row),
            }
            for row in found["alternatives"]
        ]
        out.append(rows_table("read again in a later sweep, per fiber", rows))
    if "bounds" in found:
        out.append(rows_table("lower bounds", [found["bounds"]]))
    out += [Text(f"note: {note}") for note in found.get("notes", ())]
    return out


def _ways(row: dict[str, Any]) -> dict[str, str]:
    """Bytes of holding, of spilling and of computing again, where they are known."""
    sizes = row.get("bytes")
    if sizes is None:
        return {}
    again = sizes.get("recompute", sizes.get("read_again"))
    ways = {"hold": sizes.get("hold"), "spill": sizes.get("spill"), "again": again}
    return {way: "" if n is None else show_bytes(n) for way, n in ways.items()}


def _pairs(row: dict[str, str]) -> str:
    return ", ".join(f"{rank}: {count}" for rank, count in row.items())


def _spill(row: dict[str, Any]) -> str:
    spill = row.get("spill")
    return f"write {spill['words_written']}, read {spill['words_read']}" if spill else ""


def _again(row: dict[str, Any]) -> str:
    again = row.get("recompute")
    if again is None:
        return f"read {row['read_again']['words_read']}"
    return f"{', '.join(again['inputs_read_again'])}; {', '.join(again['einsums_repeated'])}"
