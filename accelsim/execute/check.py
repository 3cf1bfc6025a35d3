"""What an execution is held against: the meaning of a cascade in float64, its own or another's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.cascade import Cascade, interpret, with_parameters
from accelsim.cascade.edges import bounded, uncut, uncut_ranks
from accelsim.cascade.nodes import Einsum
from accelsim.cascade.points import Array
from accelsim.errors import AccelsimError, Fault
from accelsim.execute.run import Sizes

MOST_POINTS = 1 << 29
"""Of an Einsum that the reference evaluates at once: 4 GiB a tensor."""


@dataclass(frozen=True)
class Error:
    """How far an output is from the reference.

    overall: norm of the difference / norm of the reference. worst: the same of the row in which it
    is largest, which is at these coordinates of the other ranks. row: the rank along which rows go.
    wrong: values that are not finite in one of the two alone, which count for nothing else.
    """

    overall: float
    worst: float
    row: str
    at: dict[str, int]
    wrong: int


def check_reference(own: Sizes) -> None:
    """Raise AccelsimError where whole tensors would be too large."""
    for einsum in own.cascade.einsums:
        # A sum of products without a predicate is no more than what goes in and comes out.
        kept = [v for v in einsum.iterated if einsum.predicate or v not in einsum.reduced]
        sizes = [(v, own.shapes[own.cascade.rank_of(v)]) for v in kept]
        points = prod(n for _, n in sizes)
        if points > MOST_POINTS:
            shown = " x ".join(f"{own.cascade.rank_of(v)} {n:,}" for v, n in sizes)
            message = (
                f"check: the reference holds {einsum.name} at all its points at once: {shown} = "
                f"{points:,}, more than {MOST_POINTS:,}"
            )
            raise AccelsimError(Fault(message, help=tuple(_advice(own, einsum))))


def _advice(own: Sizes, einsum: Einsum) -> Iterator[str]:
    """What makes so many points of an Einsum, and what to do."""
    uneven = [
        f"{rank} {own.shapes[rank]:,} of {own.padded[rank]:,}"
        for rank in own.cascade.ranks
        if own.padded[rank] > own.shapes[rank]
    ]
    if einsum.predicate:
        of = "a mask" if not uneven else f"a mask, or tiles that go beyond: {', '.join(uneven)}"
        yield f"the points that are summed over count, too, as some are left out ({of})"
    yield (
        "check a shorter sequence or fewer heads (--seq-len, --set workload.ranks.RANK=N), or "
        "execute without a check"
    )


def other(own: Sizes, against: Cascade) -> Sizes:
    """What another cascade, which computes the same, runs on.

    Raises AccelsimError where inputs, outputs or ranks have other names, or it is cut otherwise.
    """
    cascade, name = own.cascade, against.name

    def named(one: Cascade, tensors: tuple[str, ...]) -> str:
        shown = (f"{t}[{', '.join(uncut_ranks(one, t))}]" for t in tensors)
        return ", ".join(sorted(shown)) or "none"

    for what in ("inputs", "outputs"):
        theirs, ours = (
            named(one, one.inputs if what == "inputs" else one.outputs)
            for one in (against, cascade)
        )
        if theirs != ours:
            message = f"against: {what} of {name} are {theirs}; those of {cascade.name} are {ours}"
            raise AccelsimError(message)
    for root, parts in against.partitions:
        if parts != cascade.parts(root):
            message = f"against: {name} cuts {root} into {', '.join(parts)}, as {cascade.name} does"
            raise AccelsimError(f"{message} not: expected a cascade that does not cut it")
    shapes = with_parameters(against, own.shapes)
    missing = [p.name for p in against.parameters if p.name not in shapes]
    if missing:
        raise AccelsimError(f"against: {name}: parameter {', '.join(missing)} is missing")
    padded = {root: own.padded[root] for root, _ in against.partitions}
    tables = {t.name: own.tables[t.name] for t in against.tables if t.name in own.tables}
    return Sizes(bounded(against, shapes, padded), shapes, {**shapes, **padded}, tables)


def reference(own: Sizes, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    """Outputs by `interpret`, whole tensors in float64. Raises AccelsimError."""
    memory = own.memory(inputs)
    given = {name: np.nan_to_num(memory.whole(name)) for name in own.cascade.inputs}
    cut = {part: own.shapes[part] for _, parts in own.cascade.partitions for part in parts}
    parameters = {one.name: own.shapes[one.name] for one in own.cascade.parameters}
    return interpret(own.cascade, given, cut, parameters=parameters, tables=own.tables)


def errors(
    own: Sizes,
    found: Mapping[str, Array],
    inputs: Mapping[str, npt.ArrayLike],
    against: Sizes | None = None,
) -> dict[str, Error]:
    """How far outputs are from those of the cascade itself, or of another. Raises AccelsimError."""
    if against is None:
        expected = reference(own, inputs)
        ranks = {name: own.cascade.tensor(name).ranks for name in found}
    else:
        memory, shapes = own.memory(inputs), own.shapes
        whole = {n: uncut(own.cascade, n, memory.whole(n), shapes) for n in own.cascade.inputs}
        ranks = {name: uncut_ranks(own.cascade, name) for name in found}
        expected = {
            name: uncut(against.cascade, name, values, shapes)
            for name, values in reference(against, whole).items()
        }
        found = {n: uncut(own.cascade, n, values, shapes) for n, values in found.items()}
    return {name: error(values, expected[name], ranks[name]) for name, values in found.items()}


def error(found: Array, expected: Array, ranks: tuple[str, ...]) -> Error:
    """How far an output is off. ranks: of its axes. Rows go along F or E, else its last rank."""
    row = next((rank for rank in ("F", "E") if rank in ranks), ranks[-1] if ranks else "")
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    missing = ~same & ~(np.isfinite(found) & np.isfinite(expected))
    one, other = (
        np.where(np.isfinite(values) & ~missing, values, 0.0) for values in (found, expected)
    )
    overall = float(_relative(one.ravel(), other.ravel(), 0))
    if not ranks:
        return Error(overall, overall, row, {}, int(missing.sum()))
    axis = ranks.index(row)
    rows = _relative(one, other, axis)
    place = np.unravel_index(int(rows.argmax()), rows.shape)
    others = [rank for rank in ranks if rank != row]
    return Error(
        overall,
        float(rows[place]),
        row,
        {rank: int(c) for rank, c in zip(others, place, strict=True)},
        int(missing.sum()),
    )


def _relative(found: Array, expected: Array, axis: int) -> Array:
    """Norm of the difference / norm of what is expected, along an axis; 0 where both are 0.

    In units of the largest value there: squares stay within the range of float64.
    """
    largest = np.maximum(np.abs(found), np.abs(expected)).max(axis=axis, keepdims=True)
    unit = np.where(largest == 0, 1.0, largest)
    off = np.linalg.norm(found / unit - expected / unit, axis=axis)
    size = np.linalg.norm(expected / unit, axis=axis)
    return np.asarray(off / np.maximum(size, np.finfo(np.float64).tiny))
