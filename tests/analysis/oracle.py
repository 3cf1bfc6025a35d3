"""Passes by unrolling a cascade to elements: the definition, on small shapes.

Every value has a time (sweep, position) or none; positions count in the sweep's direction. A point
that reads the lineage at x beside values
of latest time (s, t) happens at (s, x) if t <= x, at (s, t) within the look-ahead, else at
(s + 1, x). Other points happen at the latest time of what they read, and start no pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from accelsim.cascade import Cascade, Einsum
from accelsim.cascade.nodes import Access, At, Coordinate, End, iteration_variables
from accelsim.cascade.whole import Whole, evaluate, names

Time = tuple[int, int] | None
Coordinates = tuple[int, ...]
UNIT_EXTENT, EXTENT, LOOK_AHEAD = 17, 6, 4


class Plan(NamedTuple):
    """Of an Einsum: (variable, offset, extent) of its output; (variable, extent) of what is
    reduced; (tensor, (variable or none, offset, extent) per rank, variable on the unit) read.
    """

    output: list[tuple[str, int, int]]
    free: list[tuple[str, int]]
    reads: list[tuple[str, list[tuple[str | None, int, int]], str | None]]


class Oracle:
    """Times of all values with respect to one fiber of tensor `name` along `rank`."""

    def __init__(
        self,
        cascade: Cascade,
        name: str,
        rank: str,
        fiber: int,
        extent: int = EXTENT,
        *,
        down: frozenset[int] = frozenset(),
    ) -> None:
        self.cascade = cascade
        self.name = name
        root = cascade.root(rank)
        self.unit = cascade.parts(rank)[0]
        family = (root, *cascade.parts(root))
        ranks = cascade.tensor(name).ranks
        self.kept = [r for r in ranks if r in family]
        inner = cascade.parts(root) if rank == root else (rank,)
        self.fixed = [i for i, r in enumerate(ranks) if r not in inner and r != self.unit]
        self.fiber = fiber
        self.down = down  # sweeps that visit the last coordinate first
        self.other = extent
        self.lineage = self._lineage()
        self.plans = {einsum.name: self._plan(einsum) for einsum in cascade.einsums}
        self.writer = {einsum.name: einsum for einsum in cascade.einsums}
        self.times: dict[tuple[str, Coordinates], Time] = {}
        self.on_lineage: set[tuple[str, Coordinates]] = set()
        self.passes = 0

    def extent(self, rank: str) -> int:
        return UNIT_EXTENT if rank == self.unit else self.other

    def at(self, sweep: int, coordinate: int) -> int:
        """Position of a coordinate in a sweep."""
        return -coordinate if sweep in self.down else coordinate

    def run(self) -> int:
        for einsum in self.cascade.einsums:
            tensor = self.cascade.tensor(einsum.name)
            extra = [
                int(tensor.initial is not None and r in self.cascade.iterative)
                for r in tensor.ranks
            ]
            spaces = [range(self.extent(r) + x) for r, x in zip(tensor.ranks, extra, strict=True)]
            for coordinates in product(*spaces):
                self.time(einsum.name, coordinates)
                if einsum.name == self.name:  # its values are given; its reads count all the same
                    for point in self._points(einsum, coordinates):
                        self._point(einsum, point)
        return self.passes

    def _lineage(self) -> set[str]:
        lineage = {self.name}
        for _ in self.cascade.einsums:
            for einsum in self.cascade.einsums:
                out = self._variables(einsum.output)
                for access in einsum.inputs:
                    at = self._variables(access)
                    if access.tensor in lineage and all(
                        r in at and at[r] in out.values() for r in self.kept
                    ):
                        lineage.add(einsum.name)
        return lineage

    def _variables(self, access: Access) -> dict[str, str]:
        ranks = self.cascade.tensor(access.tensor).ranks
        return {
            r: i.variable for i, r in zip(access.indices, ranks, strict=True) if isinstance(i, At)
        }

    def time(self, name: str, coordinates: Coordinates) -> Time:
        key = (name, coordinates)
        if key not in self.times:
            self.times[key] = self._time(name, coordinates)
        return self.times[key]

    def _time(self, name: str, coordinates: Coordinates) -> Time:
        if name == self.name:
            on_fiber = all(coordinates[i] == self.fiber for i in self.fixed)
            ranks = self.cascade.tensor(name).ranks
            if not on_fiber:
                return None
            self.on_lineage.add((name, coordinates))
            return (1, self.at(1, coordinates[ranks.index(self.unit)]))
        einsum = self.writer.get(name)
        if einsum is None:
            return None
        latest: Time = None
        for point in self._points(einsum, coordinates):
            happened, from_lineage = self._point(einsum, point)
            if happened is not None and (latest is None or happened > latest):
                latest = happened
            if from_lineage and name in self.lineage:
                self.on_lineage.add((name, coordinates))
        return latest

    def _points(self, einsum: Einsum, coordinates: Coordinates) -> Iterator[dict[str, int]]:
        """Points that make one element; none for an initial value."""
        plan = self.plans[einsum.name]
        fixed: dict[str, int] = {}
        for (variable, offset, extent), coordinate in zip(plan.output, coordinates, strict=True):
            fixed[variable] = coordinate - offset
            if not 0 <= fixed[variable] < extent:
                return
        for values in product(*(range(extent) for _, extent in plan.free)):
            point = fixed | dict(zip((v for v, _ in plan.free), values, strict=True))
            if all(self._holds(comparison, point) for comparison in einsum.predicate):
                yield point

    def _holds(self, condition: Whole, point: dict[str, int]) -> bool:
        numbers = {name: self.extent(name) for name in names(condition)}
        return bool(evaluate(condition, point, numbers))

    def _point(self, einsum: Einsum, point: dict[str, int]) -> tuple[Time, bool]:
        """When a point happens, and whether it reads the fiber's lineage at a coordinate."""
        latest: Time = None
        lineage_at: list[int] = []
        for tensor, indices, unit in self.plans[einsum.name].reads:
            at = tuple(c if variable is None else point[variable] + c for variable, c, _ in indices)
            if not all(0 <= c < extent for c, (_, _, extent) in zip(at, indices, strict=True)):
                return None, False
            time = self.time(tensor, at)
            if time is None:
                continue
            if latest is None or time > latest:
                latest = time
            if unit is not None and (tensor, at) in self.on_lineage:
                lineage_at.append(point[unit])
        if latest is None or not lineage_at:
            return latest, False
        sweep, position = latest
        here = min(self.at(sweep, x) for x in lineage_at)
        if position <= here:
            happened = (sweep, here)
        elif position - here <= LOOK_AHEAD:
            happened = (sweep, position)
        else:
            happened = (sweep + 1, min(self.at(sweep + 1, x) for x in lineage_at))
        self.passes = max(self.passes, happened[0])
        return happened, True

    def _plan(self, einsum: Einsum) -> Plan:
        """What the points of an Einsum read, with all names looked up."""
        output = []
        for index in einsum.output.indices:
            assert isinstance(index, At)
            extent = self.extent(self.cascade.rank_of(index.variable))
            output.append((index.variable, index.offset, extent))
        fixed = {variable for variable, _, _ in output}
        free = [
            (v, self.extent(self.cascade.rank_of(v)))
            for v in iteration_variables(einsum)
            if v not in fixed
        ]
        reads = []
        for access in einsum.inputs:
            tensor = self.cascade.tensor(access.tensor)
            indices: list[tuple[str | None, int, int]] = []
            for index, rank in zip(access.indices, tensor.ranks, strict=True):
                more = int(tensor.initial is not None and rank in self.cascade.iterative)
                extent = self.extent(rank) + more
                match index:
                    case At(variable=variable, offset=offset):
                        indices.append((variable, offset, extent))
                    case End():
                        indices.append((None, self.extent(rank), extent))
                    case Coordinate(value=value):
                        indices.append((None, value, extent))
            reads.append((access.tensor, indices, self._variables(access).get(self.unit)))
        return Plan(output, free, reads)


def passes(
    cascade: Cascade,
    name: str,
    rank: str,
    extent: int = EXTENT,
    *,
    down: frozenset[int] = frozenset(),
) -> int:
    """The most passes over two fibers of the tensor, the sweeps `down` from last to first."""
    return max(
        Oracle(cascade, name, rank, fiber, extent, down=down).run() for fiber in (1, extent - 1)
    )
