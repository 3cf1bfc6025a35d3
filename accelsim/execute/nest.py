"""Which coordinates the tiles of a nest have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from accelsim import mapping
from accelsim.cascade.nodes import Access, At, Cascade, Computed, Coordinate, Einsum
from accelsim.cascade.points import Grid, Points
from accelsim.cascade.whole import variables
from accelsim.execute.tiles import Int


class Places:
    """Coordinates of the rank variables of a nest at an iteration of its loops.

    cascade: with conditions at the ends of ranks. sizes: of ranks and parts, padding apart.
    """

    def __init__(
        self,
        nest: mapping.Nest,
        cascade: Cascade,
        points: Points,
        sizes: Mapping[str, int],
    ) -> None:
        self.points = points
        self.sizes = sizes
        looped = {loop.rank: number for number, loop in enumerate(nest.loops)}
        extents, parts = dict(nest.extents), dict(nest.parts)
        self.strides: dict[str, list[tuple[int, int]]] = {}
        self.counts: dict[str, int] = {}
        for variable, rank in cascade.variables:
            if rank not in parts:
                continue  # cut by the cascade: only its parts are iterated over
            cut = parts[rank]
            self.strides[variable] = [
                (looped[part], prod(extents[inner] for inner in cut[place + 1 :]))
                for place, part in enumerate(cut)
                if part in looped
            ]
            self.counts[variable] = prod(extents[part] for part in cut if part not in looped)

    def start(self, variable: str, at: Sequence[int]) -> int:
        """First coordinate in the tile. at: coordinates of all loops."""
        return sum(at[loop] * stride for loop, stride in self.strides[variable])

    def grid(self, einsum: Einsum, at: Sequence[int]) -> Grid:
        """The points of an Einsum's tile."""
        return self._grid(einsum.iterated, at)

    def _grid(self, over: Sequence[str], at: Sequence[int]) -> Grid:
        return Grid(over, [self.start(v, at) for v in over], [self.counts[v] for v in over])

    def of(self, access: Access, ranks: Sequence[str], at: Sequence[int]) -> list[slice | Int]:
        """What an access reads of each rank in a tile: a run of coordinates, or a list."""
        found: list[slice | Int] = []
        for index, rank in zip(access.indices, ranks, strict=True):
            match index:
                case At(variable, offset):
                    begin = self.start(variable, at) + offset
                    found.append(slice(begin, begin + self.counts[variable]))
                case Computed(whole):
                    grid = self._grid(variables(whole), at)
                    # Beyond the end of a rank there is nothing to be computed from.
                    here = [
                        min(count, self.sizes[self.points.cascade.rank_of(v)] - start)
                        for v, start, count in zip(
                            grid.variables, grid.starts, grid.shape, strict=True
                        )
                    ]
                    grid = Grid(grid.variables, grid.starts, here)
                    found.append(np.unique(self.points.coordinate(index, grid)))
                case Coordinate(value):
                    found.append(slice(value, value + 1))
                case _:
                    found.append(slice(self.sizes[rank], self.sizes[rank] + 1))
        return found


def padded(made: mapping.Mapping) -> dict[str, int]:
    """Coordinates of all tiles of each rank, in the nest that has most of them."""
    found: dict[str, int] = {}
    for nest in made.nests:
        extents, parts = dict(nest.extents), dict(nest.parts)
        for root in made.cascade.ranks:
            cut = [own for part in made.cascade.parts(root) for own in parts[part]]
            size = prod(extents[part] for part in cut)
            found[root] = max(found.get(root, 0), size)
    return found
