"""Tiles of tensors: what they hold, and how an Einsum reads them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.cascade.nodes import Access, At, Call, Computed, Coordinate, Einsum, End
from accelsim.cascade.points import Array, Grid, Mask, Points, Read

Int = npt.NDArray[np.int64]


class BrokenProgramError(AssertionError):
    """A Program that does not do what its mapping says: it uses a tile that is not there."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Part of a tensor. values: an axis per rank; NaN where nothing is defined.

    at: of each rank the first coordinate, or all where they are computed.
    """

    values: Array
    at: tuple[int | Int, ...]


def read(tile: Tile, access: Access, grid: Grid, points: Points, inside: Mask | None) -> Array:
    """The values of an access at the points of a grid; an axis is 1 where all are the same.

    Raises BrokenProgramError: a point inside reads outside of the tile.
    """
    places: list[Any] = []
    over: list[str] = []
    for index, first, extent in zip(access.indices, tile.at, tile.values.shape, strict=True):
        match index:
            case At(variable, offset):
                if variable in over or not isinstance(first, int):
                    return _gathered(tile, access, grid, points, inside)
                begin = grid.start(variable) + offset - first
                end = begin + grid.count(variable)
                if begin < 0 or end > extent:
                    raise _outside(access, f"{variable} = {begin + first} to {end + first - 1}")
                over.append(variable)
                places.append(slice(begin, end))
            case Computed():
                found = points.coordinate(index, grid)
                known = np.atleast_1d(first)
                if found.min() != found.max() or found.flat[0] not in known:
                    return _gathered(tile, access, grid, points, inside)
                places.append(int(np.searchsorted(known, found.flat[0])))
            case End():
                places.append(0)  # of a tile that holds the last value alone
            case Coordinate(value):
                if not isinstance(first, int) or not 0 <= value - first < extent:
                    raise _outside(access, f"coordinate {value}")
                places.append(value - first)
    order = sorted(range(len(over)), key=lambda n: grid.axis(over[n]))
    shape = [n if v in over else 1 for v, n in zip(grid.variables, grid.shape, strict=True)]
    values: Array = tile.values[tuple(places)]
    return values.transpose(order).reshape(shape)


def _gathered(tile: Tile, access: Access, grid: Grid, points: Points, inside: Mask | None) -> Array:
    """The same where it is no slice of the tile: each point looks its own place up."""
    places: list[Any] = []
    missing: Any = np.zeros((1,) * len(grid.shape), np.bool_)
    for index, first, extent in zip(access.indices, tile.at, tile.values.shape, strict=True):
        match index:
            case At() | Computed():
                found = points.coordinate(index, grid)
                if isinstance(first, int):
                    place = np.clip(found - first, 0, extent - 1)
                    missing = missing | (place != found - first)
                else:
                    place = np.minimum(np.searchsorted(first, found), extent - 1)
                    missing = missing | (first[place] != found)
                places.append(place)
            case End():
                places.append(np.int64(0))
            case Coordinate(value):
                assert isinstance(first, int)  # only a computed index has a list
                places.append(np.int64(value - first))
    if (missing if inside is None else missing & inside).any():
        raise _outside(access, "a computed coordinate")
    values = np.asarray(tile.values[tuple(places)])
    return values.reshape((1,) * (len(grid.shape) - values.ndim) + values.shape)


def _outside(access: Access, what: str) -> BrokenProgramError:
    return BrokenProgramError(f"{access.tensor} is read at {what}, outside of the tile held")


def multiplied(einsum: Einsum, grid: Grid, reading: Read, inside: Mask | None) -> Array | None:
    """A sum over a product of two tensors, by matrix products; None when it is not one.

    Values as `Points.evaluated` wants them. The sum is over points inside alone.
    """
    match einsum.expression:
        case Call("mul", (Access() as one, Access() as other)) if einsum.reduce == "add":
            pass
        case _:
            return None
    reduced = {grid.axis(v) for v in einsum.reduced}
    if not reduced:
        return None
    left, right = reading(one, inside), reading(other, inside)
    if inside is not None and any(inside.shape[axis] > 1 for axis in reduced):
        if not _covers(left, inside):
            left, right = right, left
        if not _covers(left, inside):
            return None
        alone = tuple(axis for axis, n in enumerate(right.shape) if n == 1)
        # What no point inside reads may stand for nothing.
        right = np.where(inside.any(axis=alone, keepdims=True), right, 0.0)
        left = np.where(inside, left, 0.0)
        inside = None
    values = _product(left, right, grid.shape, reduced)
    return values if values is None or inside is None else np.where(inside, values, 0.0)


def _covers(values: Array, inside: Mask) -> bool:
    return all(one == 1 or n > 1 for n, one in zip(values.shape, inside.shape, strict=True))


def _product(left: Array, right: Array, shape: tuple[int, ...], reduced: set[int]) -> Array | None:
    """Sum of left * right over the reduced axes, which stay with an extent of 1."""
    batch: list[int] = []
    inner: list[int] = []
    rows: list[int] = []
    columns: list[int] = []
    for axis, extent in enumerate(shape):
        of_left, of_right = left.shape[axis] > 1, right.shape[axis] > 1
        if extent == 1:
            continue
        if of_left and of_right:
            (inner if axis in reduced else batch).append(axis)
        elif not of_left and not of_right:
            return None  # one value for all coordinates of a rank
        elif axis in reduced:
            left = left.sum(axis=axis, keepdims=True) if of_left else left
            right = right.sum(axis=axis, keepdims=True) if of_right else right
        else:
            (rows if of_left else columns).append(axis)

    def sizes(axes: list[int]) -> list[int]:
        return [shape[axis] for axis in axes]

    def matrices(values: Array, *groups: list[int]) -> Array:
        used = [axis for group in groups for axis in group]
        rest = [axis for axis in range(len(shape)) if axis not in used]
        return values.transpose(used + rest).reshape([prod(sizes(group)) for group in groups])

    found: Array = np.matmul(
        matrices(left, batch, rows, inner), matrices(right, batch, inner, columns)
    )
    order = [*batch, *rows, *columns]
    found = found.reshape(sizes(order)).transpose(sorted(range(len(order)), key=order.__getitem__))
    return found.reshape([n if axis in order else 1 for axis, n in enumerate(shape)])
