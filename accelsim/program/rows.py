"""Rows of loops: made from lists, compared, renumbered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.program.program import Rows

Int = npt.NDArray[np.int64]


def rows_of(loops: Sequence[int], rows: Iterable[Sequence[Sequence[int]]]) -> Rows:
    """Rows from lists of runs: (first coordinate, length[, marks])."""
    offsets = [0]
    runs: list[tuple[int, ...]] = []
    for row in rows:
        runs += [(*run, *(0,) * (3 - len(run))) for run in row]
        offsets.append(len(runs))
    return Rows(tuple(loops), np.array(offsets, np.int64), np.array(runs, np.int64).reshape(-1, 3))


def alike_until(rows: Rows, trips: Sequence[int], axis: int) -> Int:
    """Up to which coordinate of one outer loop everything inside it stays as it is.

    trips: of `rows.loops`. One number per combination of coordinates of the loops up to that one:
    the first coordinate behind it for which a row differs, or the number of trips.
    """
    number, inside = len(rows.offsets) - 1, prod(trips[axis + 1 :])
    same = _equal_to_later(rows, inside).reshape(-1, trips[axis], inside).all(axis=2)
    assert number == same.size * inside  # check.py: rows of all combinations
    stop = np.where(same, trips[axis], np.arange(1, trips[axis] + 1))
    stop[:, -1] = trips[axis]
    return np.minimum.accumulate(stop[:, ::-1], axis=1)[:, ::-1].reshape(-1)


def _equal_to_later(rows: Rows, step: int) -> npt.NDArray[np.bool_]:
    """Whether each row is equal to the one `step` rows later; False for the last ones."""
    lengths = np.diff(rows.offsets)
    out = np.zeros(len(lengths), np.bool_)
    first = np.flatnonzero(lengths[:-step] == lengths[step:])
    many = lengths[first]
    before = np.cumsum(many) - many
    place = np.arange(int(many.sum())) - np.repeat(before, many)
    one = rows.runs[place + np.repeat(rows.offsets[first], many)]
    other = rows.runs[place + np.repeat(rows.offsets[first + step], many)]
    differ = (one != other).any(axis=1)
    out[first] = True
    out[first[np.repeat(np.arange(len(first)), many)[differ]]] = False
    return out


def renumbered(rows: Rows, new: Sequence[int]) -> Rows:
    """Rows for loops with other numbers; `new` of each old loop."""
    return Rows(tuple(new[loop] for loop in rows.loops), rows.offsets, rows.runs)


def row_strides(rows: Rows, trips: Sequence[int]) -> dict[int, int]:
    """Outer loop -> what one step of it adds to the number of a row."""
    sizes = [trips[loop] for loop in rows.loops]
    return {loop: prod(sizes[i + 1 :]) for i, loop in enumerate(rows.loops)}
