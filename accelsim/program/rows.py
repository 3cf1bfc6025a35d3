"""Rows of loops: made from lists, compared, renumbered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
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
    numbers = _row_ids(rows).reshape(*trips[: axis + 1], -1)
    alike = (numbers[..., 1:, :] == numbers[..., :-1, :]).all(axis=-1)
    last = trips[axis] - 1
    out = np.full((*alike.shape[:-1], last + 1), last + 1, np.int64)
    for coordinate in range(last - 1, -1, -1):
        out[..., coordinate] = np.where(
            alike[..., coordinate], out[..., coordinate + 1], coordinate + 1
        )
    return out.reshape(-1)


def _row_ids(rows: Rows) -> Int:
    """A number per row, equal for rows that are equal."""
    known: dict[bytes, int] = {}
    ids = np.empty(len(rows.offsets) - 1, np.int64)
    ends = rows.offsets.tolist()
    for row, (low, high) in enumerate(pairwise(ends)):
        ids[row] = known.setdefault(rows.runs[low:high].tobytes(), len(known))
    return ids


def renumbered(rows: Rows, new: Sequence[int]) -> Rows:
    """Rows for loops with other numbers; `new` of each old loop."""
    return Rows(tuple(new[loop] for loop in rows.loops), rows.offsets, rows.runs)


def row_strides(rows: Rows, trips: Sequence[int]) -> dict[int, int]:
    """Outer loop -> what one step of it adds to the number of a row."""
    sizes = [trips[loop] for loop in rows.loops]
    return {loop: prod(sizes[i + 1 :]) for i, loop in enumerate(rows.loops)}
