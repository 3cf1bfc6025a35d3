"""Alike iterations taken several at a time: what `steady` does in launches of very many tasks.

A step of the first loop of an instance that stands for `times` iterations is one iteration of which
all is so many times as much: what its tasks occupy, hold and take from others, the latencies of
its waits, the bytes that it moves, the grains in which they come. It asks the cache for the tiles
of all these iterations. With steps of one size everywhere a launch does what one with so many
times fewer iterations does, in larger units of time and bytes, contention included. So times are
off only where steps of different sizes meet, and where an instance begins and ends: sizes grow and
shrink by two, so that a load of the next step still hides behind the one before.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from accelsim.engine.pack import Int
from accelsim.program import Phase, Rows
from accelsim.program.rows import alike_until
from accelsim.program.visits import visits

MOST_TASKS = 3_000_000
"""Tasks of a launch that are all executed, in less than a second; of more, steps are taken."""
LEAST_STEPS = 8
"""Alike iterations are taken in more steps than that: a small part is where sizes change."""

Sizes = Callable[[int], list[int]]
"""So many alike iterations -> the steps that they are taken in, powers of two."""


def sizes(number: int, most: int) -> list[int]:
    """Steps of up to `most` iterations, a power of two: 1, 2, 4 ... and back again to 1.

    What is left over goes where sizes shrink.
    """
    while most > 1 and LEAST_STEPS * most > number:
        most //= 2
    ramp = [1 << power for power in range(most.bit_length() - 1)]
    whole, left = divmod(number - 2 * sum(ramp), most)
    down = [*ramp, *(1 << power for power in range(left.bit_length()) if left >> power & 1)]
    return [*ramp, *[most] * whole, *sorted(down, reverse=True)]


def at_once(phase: Phase) -> int:
    """Up to how many iterations of a launched phase to take as one: as few as will do, or 1."""
    assert phase.launch is not None
    grid = phase.launch.grid
    if grid == len(phase.loops):
        return 1
    guards = Counter(task.guard for task in phase.tasks)
    tasks = sum(number * visits(phase.loops, guard) for guard, number in guards.items())
    loop = phase.loops[grid]
    runs = np.array([loop.trips]) if loop.rows is None else loop.rows.runs[:, 1]
    lengths = Counter(runs.tolist())
    most, longest = 1, max(lengths)
    while 2 * most * LEAST_STEPS <= longest:
        steps = sum(number * len(sizes(n, most)) for n, number in lengths.items())
        if tasks * steps <= MOST_TASKS * int(runs.sum()):
            break
        most *= 2
    return most


def coarse(phase: Phase, one: Phase, taken: Sizes) -> tuple[Phase, Int]:
    """An instance of a phase with steps in place of iterations of its first loop, and how many
    iterations each of them stands for."""
    assert phase.launch is not None
    loop = one.loops[0]
    rows = loop.rows
    runs = np.array([[0, loop.trips, 0]]) if rows is None else rows.runs
    changes = np.union1d(_changes_inside(one), _changes_of_tiles(phase))
    made: list[tuple[int, int, int]] = []
    times: list[int] = []
    for first, length, marks in runs.tolist():
        inside = changes[(changes > first) & (changes < first + length)].tolist()
        bounds = [first, *inside, first + length]
        for begin, end in pairwise(bounds):
            for size in taken(end - begin):
                made.append((begin, 1, marks))
                times.append(size)
                begin += size
    steps = Rows((), np.array([0, len(made)]), np.array(made, np.int64))
    loops = (dataclasses.replace(loop, rows=steps), *one.loops[1:])
    return dataclasses.replace(one, loops=loops), np.array(times, np.int64)


def _changes_inside(one: Phase) -> Int:
    """Coordinates of the first loop at which others visit something else than just before."""
    found = [np.zeros(0, np.int64)]
    for loop in one.loops[1:]:
        if loop.rows is not None and 0 in loop.rows.loops:
            trips = [one.loops[outer].trips for outer in loop.rows.loops]
            until = alike_until(loop.rows, trips, 0)
            found.append(until[until == np.arange(1, len(until) + 1)])
    return np.concatenate(found)


def _changes_of_tiles(phase: Phase) -> Int:
    """Coordinates at which a rank ends within some tile as it did not just before, or no longer."""
    assert phase.launch is not None
    own = phase.launch.grid
    found = [np.zeros(0, np.int64)]
    for end in (end for moved in phase.moved for end in moved.ends if own in end.loops):
        kept = end.kept.reshape([phase.loops[loop].trips for loop in end.loops])
        kept = np.moveaxis(kept, end.loops.index(own), 0)
        kept = kept.reshape(len(kept), -1)
        found.append(np.flatnonzero((kept[1:] != kept[:-1]).any(axis=1)) + 1)
    return np.concatenate(found)
