"""What an execution is held against: the cascade's meaning in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.cascade import interpret
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


def reference(own: Sizes, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    """Outputs by `interpret`, whole tensors in float64. Raises AccelsimError."""
    memory = own.memory(inputs)
    given = {name: np.nan_to_num(memory.whole(name)) for name in own.cascade.inputs}
    cut = {part: own.shapes[part] for _, parts in own.cascade.partitions for part in parts}
    parameters = {one.name: own.shapes[one.name] for one in own.cascade.parameters}
    return interpret(own.cascade, given, cut, parameters=parameters, tables=own.tables)


def error(found: Array, expected: Array, ranks: tuple[str, ...]) -> Error:
    """How far an output is off. ranks: of its axes. Rows go along F or E, else its last rank."""
    row = next((rank for rank in ("F", "E") if rank in ranks), ranks[-1] if ranks else "")
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    missing = ~same & ~(np.isfinite(found) & np.isfinite(expected))
    one, other = (
        np.where(np.isfinite(values) & ~missing, values, 0.0) for values in (found, expected)
    )
    if not ranks:
        off = _relative(np.abs(one - other), np.abs(other))
        return Error(float(off), float(off), row, {}, int(missing.sum()))
    axis = ranks.index(row)
    rows = _relative(np.linalg.norm(one - other, axis=axis), np.linalg.norm(other, axis=axis))
    place = np.unravel_index(int(rows.argmax()), rows.shape)
    others = [rank for rank in ranks if rank != row]
    return Error(
        float(_relative(np.linalg.norm(one - other), np.linalg.norm(other))),
        float(rows[place]),
        row,
        {rank: int(c) for rank, c in zip(others, place, strict=True)},
        int(missing.sum()),
    )


def _relative(off: npt.ArrayLike, size: npt.ArrayLike) -> Array:
    """off / size; 0 where both are 0."""
    off, size = np.asarray(off, np.float64), np.asarray(size, np.float64)
    return np.where(off == 0, 0.0, off / np.where(size == 0, np.finfo(np.float64).tiny, size))
