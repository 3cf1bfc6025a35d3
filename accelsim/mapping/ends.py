"""What there is of the tiles at the end of a rank, where a mapping's edges are masked.

A rank ends at its shape, or where the Einsums that read or make the tensor have a condition such as
`m < lengths[b]`, of a coordinate below what loops alone determine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from accelsim.analysis.pieces import Numbers
from accelsim.cascade.nodes import Access, At, Computed
from accelsim.cascade.whole import Apply, Variable, Whole, evaluate, variables
from accelsim.errors import AccelsimError
from accelsim.mapping.depend import Nesting
from accelsim.mapping.mask import whole_ranks
from accelsim.mapping.nest import End, Identity, Int


def ends(
    nesting: Nesting, access: Access, extents: dict[str, int], numbers: Numbers
) -> tuple[End, ...]:
    """Ends of the tiles of a tensor, one per rank whose last tile is not whole.

    extents: of parts. numbers: shapes and tables. Raises AccelsimError.
    """
    cascade = nesting.cascade
    ranks = cascade.tensor(access.tensor).ranks
    index_of = dict(zip(ranks, access.indices, strict=True))
    limits = _limits(nesting, access.tensor)
    found = []
    for rank in ranks:
        if not isinstance(index_of[rank], At):
            continue  # computed: every tile reads as many (computed.py)
        part = dict(cascade.alike).get(rank, rank)
        root = cascade.root(part)
        cut = cascade.parts(root)
        # Coordinates of an outer part are not those of the root.
        own, chain = (root, cut) if part == cut[-1] else (part, (part,))
        loops, start = _starts(nesting, chain, index_of, extents, numbers)
        looped = {loop.rank for loop in nesting.loops}
        size = prod(extents[p] for p in nesting.parts[part] if p not in looped)
        shape = numbers.named.get(own)
        end = start + size if shape is None else np.minimum(start + size, shape)
        for limit in limits.get(own.lower(), ()):
            more, values = _looked_up(nesting, limit, numbers)
            if set(more) & set(loops):
                raise AccelsimError(f"where {own} ends depends on {own} itself")
            loops = [*loops, *more]
            end = np.minimum.outer(end, values).reshape(-1)
            start = np.repeat(start, len(values))
        kept = np.clip(end - start, 0, size)
        if (kept < size).any():
            found.append(End(tuple(loops), size, kept, rank))
    return tuple(found)


def two_sizes(identity: Identity, ends: Sequence[End], trips: Sequence[int]) -> bool:
    """Whether some iterations have more than others of a tile of which all of them have some.

    trips: of all loops of the nest.
    """
    if all(set(end.loops) <= set(identity.loops) for end in ends):
        return False
    over = sorted({*identity.computed, *(loop for end in ends for loop in end.loops)})
    places = np.arange(prod(trips[loop] for loop in over))
    at = dict(zip(over, np.unravel_index(places, [trips[loop] for loop in over]), strict=True))

    def number(loops: Sequence[int]) -> Int:
        found = np.zeros(len(places), np.int64)
        for loop in loops:
            found = found * trips[loop] + at[loop]
        return found

    size = np.ones(len(places), np.int64)
    for end in ends:
        size *= end.kept[number(end.loops)]
    tile = number([loop for loop in identity.loops if loop in at])
    if identity.names is not None:
        tile = tile * (int(identity.names.max()) + 1) + identity.names[number(identity.computed)]
    there = np.flatnonzero(size)
    order = there[np.lexsort((size[there], tile[there]))]
    same = tile[order][1:] == tile[order][:-1]
    return bool((np.diff(size[order])[same] != 0).any())


def _starts(
    nesting: Nesting,
    parts: tuple[str, ...],
    index_of: Mapping[str, object],
    extents: dict[str, int],
    numbers: Numbers,
) -> tuple[list[int], Int]:
    """Loops that choose the tile of a rank, and its first coordinate for each of theirs."""
    loops: list[int] = []
    start: Int = np.zeros(1, np.int64)
    for place, name in enumerate(parts):
        inner = [p for part in parts[place + 1 :] for p in nesting.parts[part]]
        inside = prod(extents[p] for p in inner)
        index = index_of.get(name)
        if isinstance(index, Computed):
            own, begins = _looked_up(nesting, index.whole, numbers)
            loops += own
            start = np.add.outer(start, begins * inside).reshape(-1)
            continue
        cut = nesting.parts[name]
        for number, loop in enumerate(nesting.loops):
            if loop.rank in cut:
                step = inside * prod(extents[p] for p in cut[cut.index(loop.rank) + 1 :])
                loops.append(number)
                start = np.add.outer(start, np.arange(loop.trips) * step).reshape(-1)
    return loops, start


def outside(
    nesting: Nesting, access: Access, numbers: Numbers, visited: Mapping[int, Int]
) -> str | None:
    """Where a computed index of a visited tile is no coordinate of its rank, in words, or None.

    visited: loop -> its coordinates at each tile. Indices of other loops, or of what is inside of
    tiles, are passed over.
    """
    for rank, index in zip(
        nesting.cascade.tensor(access.tensor).ranks, access.indices, strict=True
    ):
        limit = numbers.named.get(rank)
        if not isinstance(index, Computed) or limit is None:
            continue
        try:
            loops, values = _looked_up(nesting, index.whole, numbers)
        except AccelsimError:
            continue
        if not loops or not set(loops) <= visited.keys():
            continue
        trips = [nesting.loops[loop].trips for loop in loops]
        place = np.ravel_multi_index(tuple(visited[loop] for loop in loops), trips)
        wrong = np.flatnonzero((values[place] < 0) | (values[place] >= limit))
        if len(wrong):
            at = ", ".join(f"{nesting.loops[l].rank} {visited[l][wrong[0]]}" for l in loops)
            return f"its index is {values[place][wrong[0]]} at {at}, outside of {rank} = {limit}"
    return None


def _limits(nesting: Nesting, tensor: str) -> dict[str, list[Whole]]:
    """Rank variable -> what it is below of, by conditions on all Einsums that read the tensor."""
    cascade = nesting.cascade
    looped = {loop.rank.lower() for loop in nesting.loops}
    using = [
        e
        for e in nesting.einsums
        if any(a.tensor == tensor for a in e.inputs) or e.output.tensor == tensor
    ]
    shared = set.intersection(*(set(whole_ranks(cascade, e)) for e in using))
    out: dict[str, list[Whole]] = {}
    for condition in shared:
        match condition:
            case Apply("lt", (Variable(name=name), limit)) if looped.issuperset(variables(limit)):
                out.setdefault(name, []).append(limit)
    return out


def _looked_up(nesting: Nesting, whole: Whole, numbers: Numbers) -> tuple[list[int], Int]:
    """Loops that a computed index depends on, and its values, row-major over their coordinates."""
    missing = numbers.missing([whole])
    if missing is not None:
        raise AccelsimError(f"the workload does not give {missing}")
    loops, grids = [], {}
    over = variables(whole)
    for axis, variable in enumerate(over):
        rank = nesting.cascade.rank_of(variable)
        own = [i for i, loop in enumerate(nesting.loops) if loop.rank == rank]
        if not own:
            message = f"with masked edges its tiles end where {rank} tells"
            raise AccelsimError(f"{message}: {rank} has to be a loop, uncut")
        loops.append(own[0])
        axes = [-1 if a == axis else 1 for a in range(len(over))]
        grids[variable] = np.arange(nesting.loops[own[0]].trips).reshape(axes)
    values = np.asarray(evaluate(whole, grids, numbers.named, numbers.tables), np.int64)
    shape = [nesting.loops[i].trips for i in loops]
    return loops, np.broadcast_to(values, shape).reshape(-1)
