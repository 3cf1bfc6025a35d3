"""Results and analyses as tables for a terminal."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accelsim.results import Result
from accelsim.units import show_bytes


def show_seconds(seconds: float) -> str:
    """A time with the prefix that keeps it at or above one."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= factor:
            return f"{seconds / factor:.4g} {unit}"
    return f"{seconds / 1e-9:.4g} ns"


def show_flops(per_second: float) -> str:
    """Operations per second with the prefix that keeps them at or above one."""
    for factor, unit in ((1e15, "PFLOP/s"), (1e12, "TFLOP/s"), (1e9, "GFLOP/s")):
        if per_second >= factor:
            return f"{per_second / factor:.4g} {unit}"
    return f"{per_second:.4g} FLOP/s"


def show_energy(picojoules: float) -> str:
    """An energy with the prefix that keeps it at or above one."""
    for factor, unit in ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ")):
        if picojoules >= factor:
            return f"{picojoules / factor:.4g} {unit}"
    return f"{picojoules:.4g} pJ"


def result_table(result: Result) -> RenderableType:
    """The result of a run."""
    head = Table(title=result.name, show_header=False, title_justify="left")
    head.add_row("time", f"{show_seconds(result.seconds)}  ({result.cycles:,} cycles)")
    bound = result.bounds["cycles"]
    share = bound / result.cycles if result.cycles else 0.0
    if result.flops_per_second:
        head.add_row("speed", f"{show_flops(result.flops_per_second)}  (multiply-accumulates)")
    head.add_row(
        "lower bound", f"{bound:,.0f} cycles ({share:.1%} of the time), {result.bounds['by']}"
    )
    head.add_row("bottleneck", result.bottleneck)
    head.add_row(
        "energy", f"{show_energy(result.energy_pj)}  (register file of one element per unit)"
    )
    head.add_row("", f"{show_energy(result.energy_all_registers_pj)}  (all register files)")
    for mask in (m for phase in result.phases for m in phase["masks"] if m["per_iteration"]):
        text = f"{mask['visited']:,} of {mask['of']:,} visited, {mask['in_part']:,} in part"
        head.add_row("tiles", text)
        for rank, per in mask["per_iteration"].items():
            visits = f"{per['least']:,} to {per['most']:,}, mean {per['mean']:,.4g}"
            head.add_row("", f"per {rank}: {visits}")
    head.add_row("tasks", f"{result.tasks:,}{_executed(result)} on engine {result.engine}")

    units = Table(title="servers: share of the time", title_justify="left")
    causes = list(dict.fromkeys(c for waits in result.wait_cycles.values() for c in waits))
    named = [f"wait: {cause}" if not i else cause for i, cause in enumerate(causes)]
    for column in ("", "busy", *named, "at the end"):
        units.add_column(column, justify="left" if not column else "right")
    total = max(result.ticks / result.ticks_per_cycle, 1e-30)
    for name, busy in result.busy_cycles.items():
        waits = result.wait_cycles[name]
        shares = [busy, *(waits[c] for c in causes)]
        row = [f"{share / total:.2%}" for share in (*shares, result.tail_cycles[name])]
        units.add_row(name, *row)

    traffic = Table(title="traffic and room", title_justify="left")
    for column in ("level", "read", "written", "reserved", "of", "energy"):
        traffic.add_column(column, justify="left" if column == "level" else "right")
    for level, moved in result.traffic_bytes.items():
        room = result.buffers.get(level)
        traffic.add_row(
            level,
            show_bytes(moved["read"]),
            show_bytes(moved["write"]),
            show_bytes(room["reserved_bytes"]) if room else "",
            show_bytes(room["capacity_bytes"]) if room else "",
            show_energy(result.energy_by_part_pj[level]),
        )
    notes = [Text(f"note: {note}") for note in result.notes]
    return Group(head, units, traffic, *notes)


def _executed(result: Result) -> str:
    """How many tasks were really run, when not all."""
    done = [phase["extrapolation"] for phase in result.phases if phase["extrapolation"]]
    return f", {sum(d['executed'] for d in done):,} of them executed," if done else ""


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
    table = Table(title=title or None, title_justify="left")
    for number, column in enumerate(rows[0] if rows else ()):
        table.add_column(column, no_wrap=number == 0)  # names are copied from here
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    return table


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
