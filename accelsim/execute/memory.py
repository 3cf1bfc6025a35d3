"""The outermost level: whole tensors, with room for the tiles that go beyond the ends of ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from accelsim.cascade.edges import beyond, uncut_ranks
from accelsim.cascade.points import Array, Points
from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.execute.tiles import BrokenProgramError, Int, Tile


def shape_in_words(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


class Memory:
    """Values of tensors; NaN where nothing is defined.

    shapes: of ranks and of the parts that the cascade cuts. padded: of root ranks, with padding.
    """

    def __init__(
        self, points: Points, shapes: Mapping[str, int], padded: Mapping[str, int]
    ) -> None:
        self.points = points
        self.cascade = points.cascade
        self.shapes = {**shapes}
        self.padded = {**shapes, **padded}
        self.sizes = {rank: shapes[rank] for rank in self.cascade.ranks}
        self.values: dict[str, Array] = {}

    def room(self, tensor: str) -> Array:
        """Values of a tensor that is stored, all undefined at first."""
        if tensor not in self.values:
            extents = [self.padded[rank] for rank in self.cascade.tensor(tensor).ranks]
            if self.cascade.tensor(tensor).initial is not None:
                iterative = self.cascade.iterative
                ranks = self.cascade.tensor(tensor).ranks
                extents = [n + (r in iterative) for n, r in zip(extents, ranks, strict=True)]
            self.values[tensor] = np.full(extents, np.nan)
        return self.values[tensor]

    def give(self, inputs: Mapping[str, npt.ArrayLike]) -> None:
        """Inputs, each with an axis per rank, cut ranks whole or as their parts.

        Raises AccelsimError: one missing, unknown, of the wrong shape or not finite.
        """
        for name in inputs:
            if name not in self.cascade.inputs:
                help = nearest(name, self.cascade.inputs)
                raise AccelsimError(Fault(f"{name} is no input of {self.cascade.name}", help=help))
        missing = [name for name in self.cascade.inputs if name not in inputs]
        if missing:
            raise AccelsimError(f"{self.cascade.name}: input {', '.join(missing)} is missing")
        for name in self.cascade.inputs:
            self.values[name] = self._arranged(name, np.asarray(inputs[name]))

    def input_shape(self, tensor: str) -> tuple[int, ...]:
        """Of an input: an axis per rank, those cut by the cascade whole where that can be."""
        return tuple(self.shapes[rank] for rank in uncut_ranks(self.cascade, tensor))

    def expected(self, tensor: str) -> str:
        """Ranks and shape of an input, in words."""
        names = uncut_ranks(self.cascade, tensor)
        return ", ".join(f"{rank} {self.shapes[rank]}" for rank in names)

    def _arranged(self, name: str, array: npt.NDArray[np.generic]) -> Array:
        if array.dtype.kind not in "fiub":
            raise AccelsimError(f"input {name} has values of type {array.dtype}; expected numbers")
        with np.errstate(over="ignore"):  # of what is wider than float64
            values = array.astype(np.float64)
        if not np.isfinite(values).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise AccelsimError(
                f"input {name} is {values[at]} at {at}; expected finite numbers (points are left "
                "out by a predicate)"
            )
        ranks = self.cascade.tensor(name).ranks
        whole = self.input_shape(name)
        cut = tuple(self.shapes[rank] for rank in ranks)
        if values.shape not in (whole, cut):
            raise AccelsimError(
                f"input {name} is {shape_in_words(values.shape)}; expected {self.expected(name)}"
            )
        full = self.room(name)
        if values.shape == whole and len(whole) < len(ranks):
            roots = [self.padded[rank] for rank in uncut_ranks(self.cascade, name)]
            grown = np.full(roots, np.nan)
            grown[tuple(slice(n) for n in values.shape)] = values
            full[...] = grown.reshape(full.shape)
        else:
            full[tuple(slice(n) for n in values.shape)] = values
        outside = beyond(self.points, name, full.shape, self.sizes)
        if outside is not None:
            full[outside] = np.nan
        return full

    def take(self, tensor: str, where: Sequence[slice | Int]) -> Tile:
        """A copy of part of a tensor. Coordinates in a list may be outside: nothing is there."""
        full = self.values.get(tensor)
        if full is None:
            raise BrokenProgramError(f"{tensor} is loaded before it is stored")
        begins = tuple(w.start if isinstance(w, slice) else w for w in where)
        if all(isinstance(w, slice) for w in where):
            return Tile(full[tuple(where)].copy(), begins)
        lists = [
            np.arange(w.start, w.stop) if isinstance(w, slice) else w.astype(np.int64)
            for w in where
        ]
        inside = [
            np.clip(one, 0, extent - 1) for one, extent in zip(lists, full.shape, strict=True)
        ]
        values = full[np.ix_(*inside)]
        for axis, (one, clipped) in enumerate(zip(lists, inside, strict=True)):
            there = np.expand_dims(one == clipped, [a for a in range(len(lists)) if a != axis])
            values = np.where(there, values, np.nan)
        return Tile(values, begins)

    def put(self, tensor: str, tile: Tile) -> None:
        """Write a tile, or what there is of it, from its first coordinates on."""
        at = []
        for begin, extent in zip(tile.at, tile.values.shape, strict=True):
            assert isinstance(begin, int)  # only loaded tiles have lists
            at.append(slice(begin, begin + extent))
        self.room(tensor)[tuple(at)] = tile.values

    def whole(self, tensor: str) -> Array:
        """A tensor without what is beyond the ends of its ranks."""
        values = self.room(tensor)
        ranks = self.cascade.tensor(tensor).ranks
        return values[tuple(slice(self.shapes[rank]) for rank in ranks)]
