"""What lies beyond the end of a rank is left out, as by a predicate: tiles there are padded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Cascade,
    Computed,
    Einsum,
    Expression,
    Index,
    Literal,
    Value,
    whole_coordinates,
)
from accelsim.cascade.points import Grid, Points
from accelsim.cascade.whole import Apply, Int, Lookup, Named, Variable, Whole, substitute, variables


def bounded(
    cascade: Cascade, shapes: Mapping[str, int], padded: Mapping[str, int], *, kept: bool = True
) -> Cascade:
    """The cascade with conditions that keep its points inside of ranks whose tiles go beyond.

    shapes: of ranks. padded: rank -> coordinates of all its tiles, where these are more. A point
    that is beyond, or at which an Einsum would read or write beyond, or read what is left out, is
    left out; at a step that is, a recurrence keeps its value. kept: also one that does not read
    that value itself.
    """
    beyond = {rank: shapes[rank] for rank, n in padded.items() if n > shapes[rank]}
    if not beyond:
        return cascade
    einsums: list[Einsum] = []
    ends: dict[str, tuple[Access, tuple[Whole, ...]]] = {}
    for einsum in cascade.einsums:
        fixed = _with_sizes(einsum, beyond)
        places = whole_coordinates(fixed.iterated, dict(cascade.variables), cascade.partitions)
        found: dict[Whole, None] = {
            Apply("lt", (places[root.lower()], Int(size))): None
            for root, size in beyond.items()
            if root.lower() in places
        }
        for access in (*fixed.inputs, fixed.output):
            found |= dict.fromkeys(_inside(cascade, access, beyond))
        for access in fixed.inputs:
            if access.tensor in ends:
                found |= dict.fromkeys(_inherited(*ends[access.tensor], access))
        before = _before(cascade, fixed)
        if before is not None and (kept or before[1] in fixed.inputs):
            step, value = before
            for condition in [c for c in found if step in variables(c)]:
                del found[condition]
                chosen = Call("where", (Value(condition), fixed.expression, value))
                fixed = dataclasses.replace(fixed, expression=chosen)
        ends[einsum.name] = fixed.output, tuple(found)
        new = tuple(c for c in found if c not in fixed.predicate)
        einsums.append(dataclasses.replace(fixed, predicate=(*fixed.predicate, *new)))
    return dataclasses.replace(cascade, einsums=tuple(einsums))


def _before(cascade: Cascade, einsum: Einsum) -> tuple[str, Access] | None:
    """Of a recurrence: the variable of its step, and its value before that."""
    tensor = cascade.tensor(einsum.name)
    if tensor.initial is None:
        return None
    reads = [a.indices for e in cascade.einsums for a in e.inputs if a.tensor == einsum.name]
    for axis, (rank, index) in enumerate(zip(tensor.ranks, einsum.output.indices, strict=True)):
        if not isinstance(index, At) or rank not in cascade.iterative:
            continue
        above = any(isinstance(at := read[axis], At) and at.offset == 1 for read in reads)
        if index.offset == 1 or above:
            indices = list(einsum.output.indices)
            indices[axis] = At(index.variable, 1 - index.offset)
            return index.variable, Access(einsum.name, tuple(indices))
    return None


def beyond(
    points: Points, tensor: str, shape: tuple[int, ...], sizes: Mapping[str, int]
) -> npt.NDArray[np.bool_] | None:
    """Which elements of a padded tensor are not there; None when all are. sizes: of its ranks."""
    ranks = points.cascade.tensor(tensor).ranks
    names = tuple(rank.lower() for rank in ranks)
    access = Access(tensor, tuple(At(name) for name in names))
    grid = Grid(names, (0,) * len(names), shape)
    outside: npt.NDArray[np.bool_] | None = None
    for condition in _inside(points.cascade, access, sizes):
        found = ~np.asarray(points.whole(condition, grid), np.bool_)
        outside = found if outside is None else outside | found
    return None if outside is None else np.broadcast_to(outside, shape)


def uncut(
    cascade: Cascade, tensor: str, values: npt.NDArray[np.float64], shapes: Mapping[str, int]
) -> npt.NDArray[np.float64]:
    """Values of a tensor, ranks of which it has all parts, outermost first, as one axis that ends
    where the rank does. shapes: of root ranks."""
    ends = uncut_ranks(cascade, tensor)
    for axis, rank in enumerate(ends):
        many = len(cascade.parts(rank)) if rank in cascade.ranks else 1
        if many > 1:
            values = values.reshape(*values.shape[:axis], -1, *values.shape[axis + many :])
            values = values[(slice(None),) * axis + (slice(shapes[rank]),)]
    return values


def uncut_ranks(cascade: Cascade, tensor: str) -> tuple[str, ...]:
    """Ranks of a tensor, those of which it has all parts, outermost first, whole."""
    ranks = cascade.tensor(tensor).ranks
    for root, parts in cascade.partitions:
        for axis in range(len(ranks)):
            if ranks[axis : axis + len(parts)] == parts:
                ranks = (*ranks[:axis], root, *ranks[axis + len(parts) :])
    return ranks


def _inside(cascade: Cascade, access: Access, sizes: Mapping[str, int]) -> Iterator[Whole]:
    """Conditions under which an access is inside of its ranks, of those that `sizes` has."""
    alike = dict(cascade.alike)
    index_of: dict[str, Index] = {}
    for rank, index in zip(cascade.tensor(access.tensor).ranks, access.indices, strict=True):
        index_of[alike.get(rank, rank)] = index
    for root, size in sizes.items():
        coordinate: Whole | None = None
        for part in cascade.parts(root):
            own = _whole(index_of.get(part))
            if own is None:
                break
            scaled = None if coordinate is None else Apply("mul", (Named(part), coordinate))
            coordinate = own if scaled is None else Apply("add", (scaled, own))
        else:
            assert coordinate is not None  # a rank has parts
            yield Apply("lt", (coordinate, Int(size)))


def _inherited(written: Access, ends: tuple[Whole, ...], read: Access) -> Iterator[Whole]:
    """Conditions under which there is what an access reads, in the reader's rank variables."""
    at: dict[str, Whole] = {}
    for index, own in zip(written.indices, map(_whole, read.indices), strict=True):
        if isinstance(index, At) and index.offset == 0 and own is not None:
            at[index.variable] = own
    for condition in ends:
        if at.keys() >= set(variables(condition)):
            yield substitute(condition, at)


def _whole(index: Index | None) -> Whole | None:
    match index:
        case At(variable, 0):
            return Variable(variable)
        case Computed(whole):
            return whole
    return None


def _with_sizes(einsum: Einsum, sizes: Mapping[str, int]) -> Einsum:
    """The Einsum with numbers for the named sizes of ranks, which padding would change."""

    def of(whole: Whole) -> Whole:
        match whole:
            case Named(name) if name in sizes:
                return Int(sizes[name])
            case Lookup(table, indices):
                return Lookup(table, tuple(of(i) for i in indices))
            case Apply(operator, arguments):
                return Apply(operator, tuple(of(a) for a in arguments))
        return whole

    def in_access(access: Access) -> Access:
        indices = (Computed(of(i.whole)) if isinstance(i, Computed) else i for i in access.indices)
        return dataclasses.replace(access, indices=tuple(indices))

    def within(expression: Expression) -> Expression:
        match expression:
            case Access():
                return in_access(expression)
            case Call(operator, arguments):
                return Call(operator, tuple(within(a) for a in arguments))
            case Value(whole):
                return Value(of(whole))
            case Literal():
                return expression

    changed: dict[str, Any] = {
        "output": in_access(einsum.output),
        "expression": within(einsum.expression),
        "predicate": tuple(of(c) for c in einsum.predicate),
    }
    return dataclasses.replace(einsum, **changed)
