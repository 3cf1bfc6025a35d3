"""What a search came to, for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accelsim.report.tables import rows_table


def search_table(found: dict[str, Any]) -> RenderableType:
    """An outcome as JSON: its values, what is proved, what was tried, and the best mapping."""
    table = Table(title=found["search"], show_header=False, title_justify="left")
    table.add_row("result", Text(found["claim"]))  # as it is: brackets are no markup
    front = found["front"]
    names = [name for name in front[0] if name != "mapping"] if front else []
    for name in names:
        values = [one[name] for one in front]
        ends = dict.fromkeys((min(values), max(values)))
        said = " to ".join(map(_number, ends))
        table.add_row(name, said)
    if found["no_other_below_cycles"] is not None:
        table.add_row("not tried", f"none is below {found['no_other_below_cycles']:,.0f} cycles")
    table.add_row("space", f"{found['candidates']:,} mappings")
    table.add_row("simulated", f"{found['simulated']:,}")
    table.add_row("never looked at", f"{found['never_looked_at']:,}")
    for why, number in found["illegal"].items():
        table.add_row("refused", Text(f"{number:,} x {why}"))
    parts: list[RenderableType] = [table]
    if len(front) > 1:
        rows = [{name: _number(one[name]) for name in names} for one in front]
        parts.append(rows_table("front", rows))
    if front:
        parts += [Text(line) for line in _mapping(front[0]["mapping"])]
    return Group(*parts)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def _stage(stage: int | dict[str, int]) -> str:
    """`stage 2`, or of several loops `stage P1: 1, M1: 2`."""
    if isinstance(stage, dict):
        return "stage " + ", ".join(f"{loop}: {number}" for loop, number in stage.items())
    return f"stage {stage}"


def _mapping(mapping: dict[str, Any]) -> list[str]:
    """A mapping in a few lines: parts, then each phase's loops, Einsums by unit, storage."""
    out = []
    for rank, parts in mapping["partition"].items():
        out.append(f"{rank}: " + ", ".join(f"{part} {size}" for part, size in parts.items()))
    for name, phase in mapping["phases"].items():
        out.append(f"{name}: loops {', '.join(phase['loops'])}")
        units: dict[str, list[str]] = {}
        for einsum, binding in phase["einsums"].items():
            stage = f" ({_stage(binding['stage'])})" if "stage" in binding else ""
            units.setdefault(binding["unit"], []).append(f"{einsum}{stage}")
        out += [f"  {unit}: {', '.join(einsums)}" for unit, einsums in units.items()]
        kept = [
            f"{tensor} over {', '.join(place['keep'])}"
            for tensor, place in phase["storage"].items()
            if "keep" in place
        ]
        out += [f"  kept: {', '.join(kept)}"] if kept else []
    return out
