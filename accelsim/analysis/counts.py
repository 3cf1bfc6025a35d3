"""Operations: of one point of an Einsum's iteration space, and of whole Einsums."""

from __future__ import annotations

from accelsim.cascade.nodes import Call, Einsum, calls, reduced_variables


def point_operations(einsum: Einsum) -> dict[str, int]:
    """Operations of one point: operation -> how many.

    Every map operator counts once, a reduction adds one of its operator. An outermost product
    that is reduced by a sum is one `mac`. Negation is part of what takes its result.
    """
    out: dict[str, int] = {}
    for call in calls(einsum.expression):
        if call.operator != "neg":
            out[call.operator] = out.get(call.operator, 0) + 1
    if reduced_variables(einsum):
        outermost = einsum.expression
        if einsum.reduce == "add" and isinstance(outermost, Call) and outermost.operator == "mul":
            out["mul"] -= 1
            if not out["mul"]:
                del out["mul"]
            out["mac"] = 1
        else:
            out[einsum.reduce] = out.get(einsum.reduce, 0) + 1
    return out
