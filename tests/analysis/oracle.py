"""Passes by unrolling a cascade to elements: the definition, on small shapes, ascending sweeps.

Every value has a time (sweep, position) or none. A point that reads the lineage at x beside values
of latest time (s, t) happens at (s, x) if t <= x, at (s, t) within the look-ahead, else at
(s + 1, x). Other points happen at the latest time of what they read, and start no pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from accelsim.cascade import Cascade, Einsum
from accelsim.cascade.nodes import Access, At, Coordinate, End, iteration_variables

Time = tuple[int, int] | None
Coordinates = tuple[int, ...]
UNIT_EXTENT, EXTENT, LOOK_AHEAD = 17, 6, 4


class Oracle:
    """Times of all values with respect to one fiber of tensor `name` along `rank`."""

    def __init__(
        self, cascade: Cascade, name: str, rank: str, fiber: int, extent: int = EXTENT
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
        self.other = extent
        self.lineage = self._lineage()
        self.writer = {einsum.name: einsum for einsum in cascade.einsums}
        self.times: dict[tuple[str, Coordinates], Time] = {}
        self.on_lineage: set[tuple[str, Coordinates]] = set()
        self.passes = 0

    def extent(self, rank: str) -> int:
        return UNIT_EXTENT if rank == self.unit else self.other

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
            return (1, coordinates[ranks.index(self.unit)])
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
        fixed: dict[str, int] = {}
        for index, coordinate in zip(einsum.output.indices, coordinates, strict=True):
            assert isinstance(index, At)
            fixed[index.variable] = coordinate - index.offset
            if not 0 <= fixed[index.variable] < self.extent(self.cascade.rank_of(index.variable)):
                return
        free = [v for v in iteration_variables(einsum) if v not in fixed]
        for values in product(*(range(self.extent(self.cascade.rank_of(v))) for v in free)):
            point = {**fixed, **dict(zip(free, values, strict=True))}
            if all(self._holds(c, point) for c in einsum.predicate):
                yield point

    def _holds(self, comparison: object, point: dict[str, int]) -> bool:
        def side(terms: object) -> int:
            return sum(
                t.coefficient * (self.extent(t.shape) if t.shape else 1)
                * (point[t.variable] if t.variable else 1)
                for t in terms  # type: ignore[attr-defined]
            )  # fmt: skip

        left, right = side(comparison.left), side(comparison.right)  # type: ignore[attr-defined]
        relation = comparison.relation  # type: ignore[attr-defined]
        return {
            "<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right,
            "==": left == right, "!=": left != right,
        }[relation]  # fmt: skip

    def _point(self, einsum: Einsum, point: dict[str, int]) -> tuple[Time, bool]:
        """When a point happens, and whether it reads the fiber's lineage at a coordinate."""
        latest: Time = None
        lineage_at: list[int] = []
        for access in einsum.inputs:
            ranks = self.cascade.tensor(access.tensor).ranks
            at = []
            for index, rank in zip(access.indices, ranks, strict=True):
                match index:
                    case At(variable=variable, offset=offset):
                        at.append(point[variable] + offset)
                    case End():
                        at.append(self.extent(rank))
                    case Coordinate(value=value):
                        at.append(value)
            if not self._exists(access.tensor, tuple(at)):
                return None, False
            time = self.time(access.tensor, tuple(at))
            if time is None:
                continue
            if latest is None or time > latest:
                latest = time
            unit = self._variables(access).get(self.unit)
            if (access.tensor, tuple(at)) in self.on_lineage and unit is not None:
                lineage_at.append(point[unit])
        if latest is None or not lineage_at:
            return latest, False
        sweep, position = latest
        x = min(lineage_at)
        if position <= x:
            happened = (sweep, x)
        elif position - x <= LOOK_AHEAD:
            happened = (sweep, position)
        else:
            happened = (sweep + 1, x)
        self.passes = max(self.passes, happened[0])
        return happened, True

    def _exists(self, name: str, coordinates: Coordinates) -> bool:
        tensor = self.cascade.tensor(name)
        for coordinate, rank in zip(coordinates, tensor.ranks, strict=True):
            more = int(tensor.initial is not None and rank in self.cascade.iterative)
            if not 0 <= coordinate < self.extent(rank) + more:
                return False
        return True


def passes(cascade: Cascade, name: str, rank: str, extent: int = EXTENT) -> int:
    """The most passes over two fibers of the tensor."""
    return max(Oracle(cascade, name, rank, fiber, extent).run() for fiber in (1, extent - 1))
