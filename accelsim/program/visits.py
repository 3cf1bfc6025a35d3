"""On how many tiles a task runs, counted from the loops of a phase without running them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import combinations
from math import prod
from operator import or_

import numpy as np
import numpy.typing as npt

from accelsim.mapping.nest import End
from accelsim.program.program import Guard, Loop, Phase
from accelsim.program.rows import row_strides

Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Tiles:
    """The tiles that some loops visit, in order.

    at: loop -> coordinates [N]. first, last: whether the loop is at the first (last) of those that
    it visits there. marks [N]: bits.
    """

    at: dict[int, Int]
    first: dict[int, Bool]
    last: dict[int, Bool]
    marks: Int

    def __len__(self) -> int:
        return len(self.marks)

    def holds(self, guard: Guard) -> Bool:
        """Where a guard holds, as far as these loops and their marks tell."""
        found = np.ones(len(self), np.bool_)
        for mark in guard.marked:
            found &= (self.marks >> mark & 1).astype(np.bool_)
        for mark in guard.unmarked:
            found &= ~(self.marks >> mark & 1).astype(np.bool_)
        for loop in set(guard.first) & self.at.keys():
            found &= self.first[loop]
        for loop in set(guard.last) & self.at.keys():
            found &= self.last[loop]
        for loops, there in ((guard.not_first, self.first), (guard.not_last, self.last)):
            if loops:
                every = np.ones(len(self), np.bool_)
                for loop in loops:
                    every &= there[loop]
                found &= ~every
        return found


def tiles(loops: Sequence[Loop], own: Iterable[int]) -> Tiles:
    """The tiles that some of the loops visit: those must hold all loops that choose their rows."""
    found = Tiles({}, {}, {}, np.zeros(1, np.int64))
    trips = [loop.trips for loop in loops]
    for number in sorted(own):
        rows, many = loops[number].rows, len(found)
        if rows is None:
            lengths = np.array([trips[number]])
            coordinates, marks = np.arange(trips[number]), np.zeros(trips[number], np.int64)
            row = np.zeros(many, np.int64)
        else:
            firsts, counts, bits = rows.runs.T
            marks = np.repeat(bits, counts)
            begins = np.repeat(np.cumsum(counts) - counts, counts)
            coordinates = np.arange(len(marks)) - begins + np.repeat(firsts, counts)
            lengths = np.add.reduceat(counts, rows.offsets[:-1])
            row = np.zeros(many, np.int64)
            for loop, stride in row_strides(rows, trips).items():
                row += found.at[loop] * stride
        begin = np.cumsum(lengths) - lengths
        times = lengths[row]
        outer = np.repeat(np.arange(many), times)
        step = np.arange(len(outer)) - np.repeat(np.cumsum(times) - times, times)
        place = begin[row][outer] + step
        found = Tiles(
            {**{l: c[outer] for l, c in found.at.items()}, number: coordinates[place]},
            {**{l: f[outer] for l, f in found.first.items()}, number: step == 0},
            {**{l: f[outer] for l, f in found.last.items()}, number: step == times[outer] - 1},
            found.marks[outer] | marks[place],
        )
    return found


def visits(loops: Sequence[Loop], guard: Guard, ends: Sequence[End] = ()) -> int:
    """On how many tiles a guard holds; with ends, the sum over these of the product of `kept`."""
    whole = prod(int(end.kept[0]) for end in ends if not end.loops)
    ends = [end for end in ends if end.loops]
    if not all(_borne(loops) >> mark & 1 for mark in guard.marked):
        return 0
    total = 0
    negated = [(name, getattr(guard, f"not_{name}")) for name in ("first", "last")]
    negated = [(name, own) for name, own in negated if own]
    plain = dataclasses.replace(guard, not_first=(), not_last=())
    groups = _groups(loops, plain, ends)
    for number in range(len(negated) + 1):
        for chosen in combinations(negated, number):
            here = plain
            for name, own in chosen:
                here = dataclasses.replace(here, **{name: (*getattr(here, name), *own)})
            product = 1
            for group in groups:
                product *= _sum(loops, group, here, ends)
            total += (-1) ** number * product
    return total * whole


def executed(phase: Phase) -> list[int]:
    """How often each task of a phase runs."""
    return [visits(phase.loops, task.guard) for task in phase.tasks]


def _sum(loops: Sequence[Loop], group: frozenset[int], guard: Guard, ends: Sequence[End]) -> int:
    ends = [end for end in ends if set(end.loops) <= group]
    if len(group) == 1 and not ends and loops[min(group)].rows is None:
        (loop,) = group
        trips = loops[loop].trips
        fixed = (loop in guard.first) + (loop in guard.last)
        return trips if not fixed else int(fixed == 1 or trips == 1)
    found = tiles(loops, group)
    if not _borne([loops[loop] for loop in group]) & _wanted(guard):
        # Marks are of another group, which is looked at on its own.
        guard = dataclasses.replace(guard, marked=(), unmarked=())
    holds = found.holds(guard)
    kept = np.ones(int(holds.sum()), np.int64)
    for end in ends:
        at = tuple(found.at[loop][holds] for loop in end.loops)
        kept *= end.kept[np.ravel_multi_index(at, [loops[loop].trips for loop in end.loops])]
    return int(kept.sum())


def _groups(loops: Sequence[Loop], guard: Guard, ends: Sequence[End]) -> list[frozenset[int]]:
    """Loops that have to be looked at together: tied by rows, by an end, by a mark they share."""
    of = list(range(len(loops)))

    def tie(these: Iterable[int]) -> None:
        numbers = {of[loop] for loop in these}
        for loop, number in enumerate(of):
            if number in numbers:
                of[loop] = min(numbers)

    for number, loop in enumerate(loops):
        if loop.rows is not None:
            tie((number, *loop.rows.loops))
    for end in ends:
        tie(end.loops)
    wanted = _wanted(guard)
    tie(number for number, loop in enumerate(loops) if _borne([loop]) & wanted)
    return [frozenset(l for l in range(len(loops)) if of[l] == g) for g in sorted(set(of))]


def _wanted(guard: Guard) -> int:
    """Bits of the marks that a guard looks at."""
    return sum(1 << mark for mark in {*guard.marked, *guard.unmarked})


def _borne(loops: Sequence[Loop]) -> int:
    """Bits of the marks that some run of the loops has, visited or not."""
    every = [int(np.bitwise_or.reduce(l.rows.runs[:, 2])) for l in loops if l.rows is not None]
    return reduce(or_, every, 0)
