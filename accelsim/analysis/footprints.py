"""Live footprints as functions of rank shapes, and what to do with a value that is read again.

Per fiber of a rank: how many coordinates of a tensor must exist at once when everything is fused as
far as the sweeps allow. A value read in a later sweep than it is made in lives for the whole
fiber; so does one read through an unbounded window (a prefix). Else its window lives, times
the inner parts of the rank when that is cut. The state of a recurrence is one coordinate, and so is
an end.
Source: FuseMax (arXiv 2406.10491), section III, algorithmic minimum live footprint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import ceil, inf
from typing import Any

from accelsim.analysis.counts import fold_parts, shape_of
from accelsim.analysis.formulas import Formula, Product, evaluate, evaluate_known, total
from accelsim.analysis.passes import PassAnalysis, reach
from accelsim.cascade.nodes import (
    Access,
    At,
    Cascade,
    Computed,
    Einsum,
    Tensor,
    iteration_variables,
    reduced_variables,
)
from accelsim.cascade.whole import variables

__all__ = ["alternatives", "evaluate", "footprint_totals", "footprints", "live"]


def live(cascade: Cascade, found: PassAnalysis) -> dict[str, dict[str, Product]]:
    """Tensor -> root rank -> live coordinates per fiber."""
    out: dict[str, dict[str, Product]] = {}
    for tensor in cascade.tensors:
        out[tensor.name] = {}
        for root in cascade.ranks:
            own = [rank for rank in cascade.parts(root) if rank in tensor.ranks]
            if own:
                out[tensor.name][root] = _live(cascade, found, tensor, root, own)
    return out


def footprints(cascade: Cascade, found: PassAnalysis) -> dict[str, dict[str, str]]:
    """Tensor -> root rank -> live coordinates per fiber, such as "M", "M0", "1", "3"."""
    return {
        name: {rank: str(size) for rank, size in row.items()}
        for name, row in live(cascade, found).items()
    }


def footprint_totals(cascade: Cascade, found: PassAnalysis) -> dict[str, Product]:
    """Tensor -> words live at once when each rank is at its least.

    The least of each rank by itself; one loop order may not reach all of them together.
    """
    out = {}
    for name, row in live(cascade, found).items():
        words = Product()
        for size in row.values():
            words = words.times(size)
        out[name] = words
    return out


def alternatives(
    cascade: Cascade,
    found: PassAnalysis,
    shapes: Mapping[str, int] | None = None,
    word_bytes: Fraction | int | None = None,
) -> list[dict[str, Any]]:
    """For each value read again in a later sweep: hold it, spill it, or compute it again.

    Words per fiber of the rank; one fiber is one combination of the tensor's other ranks. `again`
    names the inputs that recomputing reads once more for each later sweep, and the Einsums that it
    repeats; what it reads is shared by all fibers that differ in `shared_along` only. What is least
    depends on how many fibers are in flight. With shapes, also `words` of each way; with
    word_bytes, `bytes`.
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
            again = whole.times(Product(last - made))
            ways = {"hold": total([whole])}
            row: dict[str, Any] = {
                "tensor": tensor.name,
                "rank": root,
                "made_in_sweep": made,
                "read_until_sweep": last,
                "hold": {"words_on_chip": str(whole)},
            }
            if tensor.name in cascade.inputs:
                row["read_again"] = {"words_read": str(again)}
                ways["read_again"] = total([again])
            else:
                reads, repeated = _ancestry(cascade, tensor.name, set(own))
                words = _words_again(cascade, tensor, own, reads, last - made)
                row["spill"] = {"words_written": str(whole), "words_read": str(again)}
                row["recompute"] = {
                    "inputs_read_again": reads,
                    "einsums_repeated": repeated,
                    "words_read": str(words),
                    "shared_along": _shared(cascade, tensor, own, reads),
                }
                ways |= {"spill": total([whole, again]), "recompute": words}
            row |= _numbers(cascade, ways, shapes, word_bytes)
            out.append(row)
    return out


def _words_again(
    cascade: Cascade, tensor: Tensor, own: list[str], reads: list[str], times: int
) -> Formula:
    """Words of inputs that one fiber's recomputation reads, for all later sweeps."""
    fixed = set(tensor.ranks) - set(own)
    return total(
        Product(
            times, fold_parts(cascade, [r for r in cascade.tensor(name).ranks if r not in fixed])
        )
        for name in reads
    )


def _shared(cascade: Cascade, tensor: Tensor, own: list[str], reads: list[str]) -> list[str]:
    """Ranks along which different fibers read the very same inputs again."""
    carried = {rank for name in reads for rank in cascade.tensor(name).ranks}
    return [rank for rank in tensor.ranks if rank not in carried and rank not in own]


def _numbers(
    cascade: Cascade,
    ways: Mapping[str, Formula],
    shapes: Mapping[str, int] | None,
    word_bytes: Fraction | int | None,
) -> dict[str, dict[str, int]]:
    """Words, and bytes, of each way whose shapes are known."""
    if shapes is None:
        return {}
    words = {
        way: value
        for way, formula in ways.items()
        if (value := evaluate_known(formula, lambda r: shape_of(cascade, r, shapes))) is not None
    }
    if word_bytes is None:
        return {"words": words}
    return {"words": words, "bytes": {way: ceil(n * word_bytes) for way, n in words.items()}}


def _live(
    cascade: Cascade, found: PassAnalysis, tensor: Tensor, root: str, own: list[str]
) -> Product:
    made, last = _life(cascade, found, tensor, root)
    if last > made:
        return _whole(cascade, root, own)
    inner = Product(1, tuple(sorted(own[1:])))
    low = high = None
    for einsum, access in _reads(cascade, tensor, own):
        nearest, furthest = _window(cascade, einsum, access, tensor, own[0])
        low = nearest if low is None else min(low, nearest)
        high = furthest if high is None else max(high, furthest)
    if low is None or high is None:
        return inner
    if low == -inf or high == inf:  # a prefix, or a full mixing
        return _whole(cascade, root, own)
    if tensor.initial is not None and high - low <= 1:  # the step replaces what it reads
        return inner
    return Product(int(high - low) + 1).times(inner)


def _window(
    cascade: Cascade, einsum: Einsum, access: Access, tensor: Tensor, unit: str
) -> tuple[float, float]:
    """Coordinates of a tensor that a point of its reader needs, from the point's own."""
    if unit not in tensor.ranks:
        return 0, 0
    index = access.indices[tensor.ranks.index(unit)]
    if isinstance(index, Computed):
        # Any coordinate; but where a point reads one, and nothing else goes along the rank, each
        # coordinate may have its turn.
        along = {v for v in iteration_variables(einsum) if cascade.rank_of(v) == unit}
        if along or set(variables(index.whole)) & set(reduced_variables(einsum)):
            return -inf, inf
        return 0, 0
    if not isinstance(index, At):
        return 0, 0
    kept = [
        i.variable
        for i in einsum.output.indices
        if isinstance(i, At) and cascade.rank_of(i.variable) == unit
    ]
    low, high = 0.0, 0.0
    if index.variable in reduced_variables(einsum) and kept:
        low, high = reach(einsum.predicate, index.variable, kept[0])
    return index.offset + low, index.offset + high


def _whole(cascade: Cascade, root: str, own: list[str]) -> Product:
    return Product(1, (root,) if tuple(own) == cascade.parts(root) else tuple(sorted(own)))


def _reads(cascade: Cascade, tensor: Tensor, own: list[str]) -> Iterator[tuple[Einsum, Access]]:
    """Reads of a tensor at the coordinates of a rank; a read of its end alone is none."""
    for einsum in cascade.einsums:
        for access in einsum.inputs:
            if access.tensor == tensor.name and any(
                isinstance(index, At | Computed) and rank in own
                for index, rank in zip(access.indices, tensor.ranks, strict=True)
            ):
                yield einsum, access


def _life(cascade: Cascade, found: PassAnalysis, tensor: Tensor, root: str) -> tuple[int, int]:
    """Sweep over the rank in which a tensor is made (an input: first read), and last read."""
    sweeps = found.sweep_of.get(root, {})
    own = [rank for rank in cascade.parts(root) if rank in tensor.ranks]
    reads = [sweeps.get(einsum.name, 1) for einsum, _ in _reads(cascade, tensor, own)]
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
