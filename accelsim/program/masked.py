"""Masks of a nest in its Program: the tiles that loops visit, and guards at first and last visits.

With a mask, "at the last iteration of loop M1" may mean two things to a task: that the loop ends,
or that this tile of P is visited for the last time. A task that iterates over P inside of M1 means
the latter; it gets a mark, which the runs of the innermost loop carry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from accelsim.errors import MappingError
from accelsim.mapping.nest import Int, Mask
from accelsim.program.program import MOST_MARKS, Guard, Loop, Rows

PARTIAL = 0
"""The mark of tiles of which a predicate leaves out some points."""


class Marks:
    """Hands out marks while guards are turned; then makes the loops that carry them."""

    def __init__(self, masks: tuple[Mask, ...]) -> None:
        self.masks = masks
        self.visits: dict[tuple[str, int, tuple[int, ...]], int] = {}

    def turned(self, guard: Guard, iterated: Iterable[int]) -> Guard:
        """A guard in which visits stand for iterations where a mask makes them differ."""
        own = set(iterated)
        for number, mask in enumerate(self.masks):
            for kind in ("first", "last"):
                gone = set(getattr(guard, kind)) & set(mask.loops) - own
                if not gone or max(own & set(mask.loops), default=-1) < min(gone):
                    continue
                kept = tuple(loop for loop in mask.loops if loop not in gone)
                mark = self._mark(kind, number, kept, mask)
                rest = tuple(loop for loop in getattr(guard, kind) if loop not in gone)
                marked = tuple(sorted({*guard.marked, mark}))
                guard = dataclasses.replace(guard, **{kind: rest}, marked=marked)
            for kind in ("first", "last"):
                guard = self._not_at(guard, kind, number, mask, own)
        return guard

    def _not_at(self, guard: Guard, kind: str, number: int, mask: Mask, own: set[int]) -> Guard:
        """The same for `not_first` and `not_last`, of loops outside of others that are tied."""
        gone = set(getattr(guard, f"not_{kind}"))
        kept = tuple(loop for loop in mask.loops if loop not in gone)
        inner = max(own & set(kept), default=-1)
        if not gone or not gone <= set(mask.loops) or inner < min(gone) or not set(kept) <= own:
            return guard
        mark = self._mark(kind, number, kept, mask)
        unmarked = tuple(sorted({*guard.unmarked, mark}))
        return dataclasses.replace(guard, **{f"not_{kind}": ()}, unmarked=unmarked)

    def _mark(self, kind: str, number: int, kept: tuple[int, ...], mask: Mask) -> int:
        mark = self.visits.setdefault((kind, number, kept), 1 + len(self.visits))
        if mark >= MOST_MARKS:
            loops = ", ".join(map(str, mask.loops))
            raise MappingError(f"the mask over loops {loops} needs more than {MOST_MARKS} marks")
        return mark

    def loops(self, loops: tuple[Loop, ...]) -> tuple[Loop, ...]:
        """The loops with the rows that the masks leave."""
        out = list(loops)
        for number, mask in enumerate(self.masks):
            marks = mask.partial.astype(np.int64) << PARTIAL
            for (kind, of, kept), mark in self.visits.items():
                if of == number:
                    marks |= _visits(mask.key(kept), kind).astype(np.int64) << mark
            trips = [loops[loop].trips for loop in mask.loops]
            for level, loop in enumerate(mask.loops):
                innermost = level + 1 == len(mask.loops)
                rows = _rows(mask, level, trips, marks if innermost else None)
                out[loop] = dataclasses.replace(loops[loop], rows=rows)
        return tuple(out)


def _visits(keys: Int, kind: str) -> npt.NDArray[np.bool_]:
    """Whether a tile, in the order of visits, is the first or last with its key."""
    order = np.arange(len(keys))
    if kind == "first":
        order = order[::-1]
    latest = np.zeros(int(keys.max(initial=0)) + 1, np.int64)
    latest[keys[order]] = order  # what is written last stays
    found = np.zeros(len(keys), np.bool_)
    found[latest[keys]] = True
    return found


def _rows(mask: Mask, level: int, trips: list[int], marks: Int | None) -> Rows | None:
    """Rows of one loop; None when every row is all coordinates and there is nothing to mark."""
    tiles = mask.tiles[:, : level + 1]
    new = np.ones(len(tiles), np.bool_)
    new[1:] = (tiles[1:] != tiles[:-1]).any(axis=1)
    tiles = tiles[new]
    bits = np.zeros(len(tiles), np.int64) if marks is None else marks[new]
    row = np.zeros(len(tiles), np.int64)
    for column in range(level):
        row = row * trips[column] + tiles[:, column]
    number = int(np.prod(trips[:level], dtype=np.int64))
    here = tiles[:, level]
    if not bits.any() and len(here) == number * trips[level]:
        return None
    begins = np.ones(len(tiles), np.bool_)
    begins[1:] = (row[1:] != row[:-1]) | (here[1:] != here[:-1] + 1) | (bits[1:] != bits[:-1])
    at = np.flatnonzero(begins)
    length = np.diff(at, append=len(tiles))
    runs = np.stack([here[at], length, bits[at]], axis=1)
    in_row = np.bincount(row[at], minlength=number)
    # A row that outer loops never ask for stands for no tile; it must not be empty.
    unasked = np.flatnonzero(in_row == 0)
    if len(unasked):
        places = np.searchsorted(row[at], unasked)
        runs = np.insert(runs, places, [0, 1, 0], axis=0)
        in_row[unasked] = 1
    offsets = np.concatenate([[0], np.cumsum(in_row)]).astype(np.int64)
    return Rows(tuple(mask.loops[:level]), offsets, runs)
