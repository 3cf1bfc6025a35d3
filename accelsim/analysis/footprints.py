"""Live footprints as functions of rank shapes, and what to do with a value that is read again.

Per fiber of a rank: how many coordinates of a tensor must exist at once when everything is fused as
far as the sweeps allow. A value read in a later sweep than it is made in lives for the whole
fiber; so does one read through an unbounded window (a prefix). Else its window lives, times
the inner parts of the rank when that is cut. The state of a recurrence is one coordinate.
Source: FuseMax (arXiv 2406.10491), section III, algorithmic minimum live footprint.
"""

from __future__ import annotations

from typing import Any

from accelsim.analysis.passes import PassAnalysis
from accelsim.cascade.nodes import Access, At, Cascade, Tensor, reduced_variables


def footprints(cascade: Cascade, found: PassAnalysis) -> dict[str, dict[str, str]]:
    """Tensor -> root rank -> live coordinates per fiber, such as "M", "M0", "1", "3"."""
    out: dict[str, dict[str, str]] = {}
    for tensor in cascade.tensors:
        out[tensor.name] = {}
        for root in cascade.ranks:
            own = [rank for rank in cascade.parts(root) if rank in tensor.ranks]
            if own:
                out[tensor.name][root] = _live(cascade, found, tensor, root, own)
    return out


def alternatives(cascade: Cascade, found: PassAnalysis) -> list[dict[str, Any]]:
    """For each value read again in a later sweep: hold it, spill it, or compute it again.

    Words per fiber of the rank; one fiber is one combination of the tensor's other ranks. `again`
    names the inputs that recomputing reads once more for each later sweep, and the Einsums that it
    repeats. What is least depends on how many fibers are in flight and share an operand.
    """
    out: list[dict[str, Any]] = []
    for tensor in cascade.tensors:
        for root in cascade.ranks:
            own = [rank for rank in cascade.parts(root) if rank in tensor.ranks]
            if not own:
                continue
            made, last = _life(cascade, found, tensor, root)
            if last <= made:
                continue
            whole = _whole(cascade, root, own)
            reads, repeated = _ancestry(cascade, tensor.name, set(own))
            row: dict[str, Any] = {
                "tensor": tensor.name,
                "rank": root,
                "made_in_sweep": made,
                "read_until_sweep": last,
                "hold": {"words_on_chip": whole},
            }
            times = last - made
            again = whole if times == 1 else f"{times}*{whole}"
            if tensor.name in cascade.inputs:
                row["read_again"] = {"words_read": again}
            else:
                row["spill"] = {"words_written": whole, "words_read": again}
                row["recompute"] = {"inputs_read_again": reads, "einsums_repeated": repeated}
            out.append(row)
    return out


def _live(cascade: Cascade, found: PassAnalysis, tensor: Tensor, root: str, own: list[str]) -> str:
    unit = own[0]
    inner = "*".join(own[1:])
    made, last = _life(cascade, found, tensor, root)
    if tensor.initial is not None and unit in cascade.iterative and _state_only(cascade, tensor):
        return inner or "1"
    if last > made:
        return _whole(cascade, root, own)
    offsets = []
    for einsum in cascade.einsums:
        for access in einsum.inputs:
            if access.tensor != tensor.name:
                continue
            index = access.indices[tensor.ranks.index(unit)]
            if isinstance(index, At):
                offsets.append(index.offset)
                over = [v for v in reduced_variables(einsum) if cascade.rank_of(v) == unit]
                kept = {i.variable for i in einsum.output.indices if isinstance(i, At)}
                same = [v for v in kept if cascade.rank_of(v) == unit]
                if index.variable in over and same:
                    return _whole(cascade, root, own)  # a prefix, or a full mixing
    window = max(offsets) - min(offsets) + 1 if offsets else 1
    if not inner:
        return str(window)
    return inner if window == 1 else f"{window}*{inner}"


def _state_only(cascade: Cascade, tensor: Tensor) -> bool:
    """Whether the recurrence is read only where it stands and at its end."""
    for einsum in cascade.einsums:
        for access in einsum.inputs:
            if access.tensor == tensor.name and not _near(access):
                return False
    return True


def _near(access: Access) -> bool:
    return all(abs(i.offset) <= 1 for i in access.indices if isinstance(i, At))


def _whole(cascade: Cascade, root: str, own: list[str]) -> str:
    return root if tuple(own) == cascade.parts(root) else "*".join(own)


def _life(cascade: Cascade, found: PassAnalysis, tensor: Tensor, root: str) -> tuple[int, int]:
    """Sweep over the rank in which a tensor is made (an input: first read), and last read."""
    sweeps = found.sweep_of.get(root, {})
    reads = [
        sweeps.get(einsum.name, 1)
        for einsum in cascade.einsums
        if any(access.tensor == tensor.name for access in einsum.inputs)
    ]
    made = sweeps.get(tensor.name, min(reads, default=1))
    return made, max(reads, default=made)


def _ancestry(cascade: Cascade, name: str, ranks: set[str]) -> tuple[list[str], list[str]]:
    """Inputs and Einsums that a tensor is computed from along these ranks, itself included."""
    inputs: list[str] = []
    einsums: list[str] = []
    made = {einsum.name: einsum for einsum in cascade.einsums}
    todo = [name]
    while todo:
        here = todo.pop()
        if here in inputs or here in einsums:
            continue
        if here not in made:
            inputs.append(here)
            continue
        einsums.append(here)
        todo += [
            access.tensor
            for access in made[here].inputs
            if ranks & set(cascade.tensor(access.tensor).ranks)
        ]
    order = [einsum.name for einsum in cascade.einsums]
    return sorted(inputs), sorted(einsums, key=order.index)
