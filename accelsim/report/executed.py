"""What an execution came to, as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from accelsim.execute.outcome import Outcome
from accelsim.report.tables import rows_table
from accelsim.units import show_bytes


def outcome_tables(found: Outcome) -> RenderableType:
    """Outputs with their errors, accesses of levels, operations of units."""
    outputs: list[dict[str, Any]] = []
    for name, output in found.outputs.items():
        ranks = zip(found.ranks[name], output.shape, strict=True)
        shown = {"output": name, "shape": ", ".join(f"{rank} {n:,}" for rank, n in ranks)}
        if found.errors is not None:
            error = found.errors[name]
            at = ", ".join(f"{rank} {c}" for rank, c in error.at.items())
            shown |= {
                "error": f"{error.overall:.3g}",
                f"worst row of {error.row or 'it'}": f"{error.worst:.3g}"
                + (f" at {at}" * bool(at)),
                "not finite": f"{error.wrong:,}",
            }
        outputs.append(shown)
    moved, done = list[dict[str, Any]](), list[dict[str, Any]]()
    for row in found.rows():
        if row["elements"]:
            shown = {"level": row["part"], "action": row["action"], "tensor": row["tensor"]}
            size = show_bytes(row["bytes"])
            if row["metadata_bytes"]:
                size += f" + {show_bytes(row['metadata_bytes'])} of scales"
            lines, values = f"{row['count']:,}", f"{row['elements']:,}"
            moved.append({**shown, "lines": lines, "values": values, "bytes": size})
        else:
            shown = {"unit": row["part"], "operation": row["action"], "Einsum": row["tensor"]}
            done.append({**shown, "count": f"{row['count']:,}"})
    held = []
    if found.reference is not None:
        said = f"Errors are against {found.reference} on whole tensors in float64."
        if found.own_reference:
            said = (
                f"Errors are against {found.reference} itself, the cascade that ran, on whole "
                "tensors in float64: whether it computes what it should, --against CASCADE tells."
            )
        held = [Text(said)]
    equal = "What is counted is what the Program states."
    if found.differences is None:
        equal = "Not compared with the Program."
    elif found.differences:
        equal = "What is counted is NOT what the Program states:"
    return Group(
        rows_table("", outputs),
        *held,
        rows_table("", moved),
        rows_table("", done),
        Text(equal),
        *(Text(difference) for difference in found.differences or ()),
        *(Text(f"note: {note}") for note in found.notes),
    )
