"""A Result as tables of texts, for terminals and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelsim.tables import Table
from accelsim.units import show_bytes, show_energy, show_flops, show_seconds

if TYPE_CHECKING:
    from accelsim.results.result import Result


def tables(result: Result) -> tuple[Table, Table, Table]:
    """What came of a run; servers by share of the time; traffic, room and energy of levels."""
    return _head(result), _servers(result), _levels(result)


def _head(result: Result) -> Table:
    rows = [("time", f"{show_seconds(result.seconds)}  ({result.cycles:,} cycles)")]
    if result.flops_per_second:
        rows.append(("speed", f"{show_flops(result.flops_per_second)}  (multiply-accumulates)"))
    bound = result.bounds["cycles"]
    share = bound / result.cycles if result.cycles else 0.0
    one = f"{show_energy(result.energy_pj)}  (register file of one element per unit)"
    rows += [
        ("lower bound", f"{bound:,.0f} cycles ({share:.1%} of the time), {result.bounds['by']}"),
        ("bottleneck", result.bottleneck),
        ("energy", one),
        ("", f"{show_energy(result.energy_all_registers_pj)}  (all register files)"),
    ]
    for mask in (m for phase in result.phases for m in phase["masks"] if m["per_iteration"]):
        text = f"{mask['visited']:,} of {mask['of']:,} visited, {mask['in_part']:,} in part"
        rows.append(("tiles", text))
        for rank, per in mask["per_iteration"].items():
            visits = f"{per['least']:,} to {per['most']:,}, mean {per['mean']:,.4g}"
            rows.append(("", f"per {rank}: {visits}"))
    rows.append(("tasks", f"{result.tasks:,}{_executed(result)} on engine {result.engine}"))
    return Table(result.name, (), tuple(rows), numbers=False)


def _executed(result: Result) -> str:
    """How many tasks were really run, when not all."""
    done = [phase["extrapolation"] for phase in result.phases if phase["extrapolation"]]
    return f", {sum(d['executed'] for d in done):,} of them executed," if done else ""


def _servers(result: Result) -> Table:
    causes = list(dict.fromkeys(c for waits in result.wait_cycles.values() for c in waits))
    named = [f"wait: {cause}" if not i else cause for i, cause in enumerate(causes)]
    total = max(result.ticks / result.ticks_per_cycle, 1e-30)
    rows = []
    for name, busy in result.busy_cycles.items():
        waits = result.wait_cycles[name]
        shares = (busy, *(waits[c] for c in causes), result.tail_cycles[name])
        rows.append((name, *(f"{share / total:.2%}" for share in shares)))
    header = ("", "busy", *named, "at the end")
    return Table("servers: share of the time", header, tuple(rows))


def _levels(result: Result) -> Table:
    rows = []
    for level, moved in result.traffic_bytes.items():
        room = result.buffers.get(level)
        sizes = (room["reserved_bytes"], room["capacity_bytes"]) if room else ()
        reserved, capacity = map(show_bytes, sizes) if sizes else ("", "")
        energy = show_energy(result.energy_by_part_pj[level])
        traffic = (show_bytes(moved["read"]), show_bytes(moved["write"]))
        rows.append((level, *traffic, reserved, capacity, energy))
    header = ("level", "read", "written", "reserved", "of", "energy")
    return Table("traffic and room", header, tuple(rows))
