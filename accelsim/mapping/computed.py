"""Tiles of a tensor that is read at computed indices: shared heads, pages, windows.

Which coordinates a tile of the loops reads is looked up, coordinate by coordinate. Each tile has to
read as many as every other; along a loop in which they stay the same, a tile may be kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.analysis.pieces import Numbers
from accelsim.cascade.nodes import Access, At, Computed
from accelsim.cascade.whole import evaluate, variables
from accelsim.errors import AccelsimError
from accelsim.mapping.depend import Nesting

MOST_POINTS = 1 << 24
Int = npt.NDArray[np.int64]


def is_computed(access: Access) -> bool:
    return any(isinstance(index, Computed) for index in access.indices)


@dataclass(frozen=True)
class Reads:
    """Coordinates that a tensor is read at, of the indices that depend on one another.

    loops: those that they depend on. at [N, loops]: iterations. value [N]: a number for each
    different combination of the coordinates. rest: elements for each, of indices that are told
    apart by variables alone.
    """

    loops: tuple[int, ...]
    at: Int
    value: Int
    rest: int

    def steady_along(self, loop: int) -> bool:
        """Whether every iteration of a loop reads the same, whatever those of the others."""
        others = tuple(i for i in self.loops if i != loop)
        return bool((self._per_tile(others) == self._per_tile(self.loops, others)).all())

    def elements(self, loops: tuple[int, ...]) -> int:
        """Elements that a tile of these loops reads. Raises AccelsimError: tiles differ."""
        found = self._per_tile(tuple(i for i in self.loops if i in loops))
        if int(found.min()) != int(found.max()):
            raise AccelsimError(f"its tiles read {found.min()} to {found.max()} coordinates")
        return int(found[0]) * self.rest

    def names(self, trips: tuple[int, ...]) -> Int:
        """A number for each combination of the loops' coordinates, row-major: equal, equal reads.

        trips: of the loops. Every tile must read as many coordinates (`elements`).
        """
        if not trips:
            return np.zeros(1, np.int64)
        tile = _number(self.at)
        pairs = self._pairs(tile)
        found = _number(pairs[1].reshape(int(tile.max()) + 1, -1))
        out = np.full(trips, -1, np.int64)
        out[tuple(self.at.T)] = found[tile]
        return out.reshape(-1)

    def _pairs(self, tile: Int) -> tuple[Int, Int]:
        """Different (tile, value), in order."""
        most = int(self.value.max(initial=0)) + 1
        every = np.sort(tile * most + self.value)  # np.unique alone hashes, at many times the cost
        return np.divmod(every[np.diff(every, prepend=-1) > 0], most)

    def _per_tile(self, loops: tuple[int, ...], most_over: tuple[int, ...] | None = None) -> Int:
        """Different values per iteration of the loops; of `most_over`, the fewest for each."""
        tile = _number(self.at[:, [self.loops.index(i) for i in loops]])
        pairs = self._pairs(tile)[0]
        number, found = np.unique(pairs, return_counts=True)
        if most_over is None:
            return found
        over = _number(self.at[:, [self.loops.index(i) for i in most_over]])
        outer = np.zeros(int(tile.max()) + 1, np.int64)
        outer[tile] = over
        fewest = np.full(int(over.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(fewest, outer[number], found)
        return fewest


def _number(columns: Int) -> Int:
    """A number from 0 for each row, equal for equal rows, in their order."""
    number = np.zeros(len(columns), np.int64)
    for column in columns.T:
        found = np.unique(column, return_inverse=True)[1].reshape(-1)
        number = number * (int(found.max(initial=0)) + 1) + found
        number = np.unique(number, return_inverse=True)[1].reshape(-1)
    return number


def reads(
    nesting: Nesting, access: Access, extents: dict[str, int], numbers: Numbers
) -> tuple[Reads, ...]:
    """What an access with computed indices reads, a Reads for each group of indices that share no
    rank variable with the others. Raises AccelsimError.
    """
    cascade = nesting.cascade
    computed = [index.whole for index in access.indices if isinstance(index, Computed)]
    missing = numbers.missing(computed)
    if missing is not None:
        raise AccelsimError(f"the workload does not give {missing}")
    direct = {i.variable for i in access.indices if isinstance(i, At)}
    groups: list[set[str]] = []
    for whole in computed:
        own = set(variables(whole))
        tied = [group for group in groups if group & own]
        groups = [group for group in groups if not group & own]
        groups.append(own.union(*tied))
    looped = {loop.rank for loop in nesting.loops}
    apart = direct.difference(*groups)
    rest = prod(
        extents[part]
        for variable in apart
        for part in nesting.parts[cascade.rank_of(variable)]
        if part not in looped
    )
    found = [_together(nesting, access, extents, numbers, group) for group in groups]
    return (replace(found[0], rest=rest), *found[1:])


def _together(
    nesting: Nesting,
    access: Access,
    extents: dict[str, int],
    numbers: Numbers,
    group: set[str],
) -> Reads:
    """What the indices over some rank variables come to, for every combination of these."""
    cascade = nesting.cascade
    ranks = {v: cascade.rank_of(v) for v in sorted(group)}
    shape = {}
    for variable, rank in ranks.items():  # int(): a traced number in an array is a decision
        padded = prod(extents[part] for part in nesting.parts[rank])
        shape[variable] = int(min(numbers.named.get(rank, padded), padded))
    length = prod(shape.values())
    if length > MOST_POINTS:
        message = f"it depends on {length:,} combinations of coordinates"
        raise AccelsimError(f"{message}, more than {MOST_POINTS:,}")
    grid = np.meshgrid(*(np.arange(n) for n in shape.values()), indexing="ij")
    points = {v: axis.reshape(-1) for v, axis in zip(ranks, grid, strict=True)}
    columns = []
    for rank, index in zip(cascade.tensor(access.tensor).ranks, access.indices, strict=True):
        match index:
            case Computed(whole) if group.issuperset(variables(whole)):
                found = evaluate(whole, points, numbers.named, numbers.tables)
                columns.append(np.broadcast_to(np.asarray(found, np.int64), (length,)))
                # What a predicate looks at may be outside: it can leave that out.
                readers = [e for e in nesting.einsums if access in e.inputs]
                named = None if any(e.predicate for e in readers) else numbers.named.get(rank)
                limit = named if named is None else int(named)
                if limit is not None and not 0 <= columns[-1].min() <= columns[-1].max() < limit:
                    wrong = columns[-1].min() if columns[-1].min() < 0 else columns[-1].max()
                    raise AccelsimError(f"it is {wrong}, outside of {rank} = {limit}")
            case At(variable) if variable in points:
                columns.append(points[variable])
    loops, places = [], []
    for number, loop in enumerate(nesting.loops):
        for variable, rank in ranks.items():
            parts = nesting.parts[rank]
            if loop.rank in parts:
                inside = int(prod(extents[p] for p in parts[parts.index(loop.rank) + 1 :]))
                loops.append(number)
                places.append(points[variable] // inside % int(loop.trips))
    at = np.stack(places, axis=1) if places else np.zeros((length, 0), np.int64)
    return Reads(tuple(loops), at, _number(np.stack(columns, axis=1)), 1)
