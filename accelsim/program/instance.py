"""The instances of a launch, each as a phase of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from accelsim.program.program import ROOT, Edge, Guard, Loop, Phase, Rows, Task
from accelsim.program.rows import row_strides


def coordinates(phase: Phase) -> Iterator[tuple[int, ...]]:
    """Those of the grid's loops, of each instance, in their order."""
    assert phase.launch is not None
    yield from product(*(range(loop.trips) for loop in phase.loops[: phase.launch.grid]))


def choosing(phase: Phase) -> tuple[int, ...]:
    """Loops of the grid on whose coordinates the tiles of an instance depend."""
    assert phase.launch is not None
    grid = phase.launch.grid
    loops: set[int] = set()
    for number, loop in enumerate(phase.loops):
        if loop.rows is not None:
            loops |= {outer for outer in (*loop.rows.loops, number) if outer < grid}
    return tuple(sorted(loops))


def instance(phase: Phase, at: Sequence[int]) -> Phase:
    """The phase that the instance at these coordinates of the grid is.

    A loop of the grid has one iteration there, its first and its last. Without loops inside, there
    is one tile.
    """
    assert phase.launch is not None
    grid = phase.launch.grid
    loops = [_inside(phase, number, at) for number in range(grid, len(phase.loops))]
    loops = loops or [Loop("tile", 1)]
    marks = _marks(phase, at)
    if marks:
        loops[-1] = _marked(loops, marks)
    tasks = [_task(task, grid) for task in phase.tasks]
    edges = [_edge(edge, grid) for edge in phase.edges if edge.loop >= grid or not edge.distance]
    return Phase(phase.name, tuple(loops), tuple(tasks), tuple(edges))


def inner_guard(guard: Guard, grid: int) -> Guard | None:
    """A guard as it holds in an instance, in the numbers of all loops; None if it never does."""
    kept = {
        name: tuple(loop for loop in getattr(guard, name) if loop >= grid)
        for name in ("first", "last", "not_first", "not_last")
    }
    for name in ("not_first", "not_last"):
        if getattr(guard, name) and not kept[name]:
            return None
    return dataclasses.replace(guard, **kept)


def _task(task: Task, grid: int) -> Task:
    names = ("first", "last", "not_first", "not_last")
    left = {n: tuple(l - grid for l in getattr(task.guard, n) if l >= grid) for n in names}
    following = task.next_of
    if following is not None:
        following = following[0] - grid, tuple(loop - grid for loop in following[1])
    return dataclasses.replace(
        task, guard=dataclasses.replace(task.guard, **left), next_of=following
    )


def _edge(edge: Edge, grid: int) -> Edge:
    loop = edge.loop - grid if edge.loop >= grid else ROOT
    matched = tuple(other - grid for other in edge.matched if other >= grid)
    return dataclasses.replace(edge, loop=loop, matched=matched)


def _inside(phase: Phase, number: int, at: Sequence[int]) -> Loop:
    """A loop inside, with the rows that the coordinates of the grid leave."""
    loop, grid = phase.loops[number], len(at)
    if loop.rows is None:
        return loop
    rows, trips = loop.rows, [each.trips for each in phase.loops]
    strides = row_strides(rows, trips)
    base = sum(strides[outer] * at[outer] for outer in rows.loops if outer < grid)
    own = [outer for outer in rows.loops if outer >= grid]
    chosen = [
        base + sum(strides[outer] * c for outer, c in zip(own, inner, strict=True))
        for inner in product(*(range(trips[outer]) for outer in own))
    ]
    lengths = [int(rows.offsets[row + 1] - rows.offsets[row]) for row in chosen]
    runs = [rows.runs[rows.offsets[row] : rows.offsets[row + 1]] for row in chosen]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    left = Rows(tuple(outer - grid for outer in own), offsets, np.concatenate(runs))
    return Loop(loop.name, loop.trips, left)


def _marks(phase: Phase, at: Sequence[int]) -> int:
    """Bits that the loops of the grid give all tiles of an instance."""
    bits = 0
    for number in range(len(at)):
        rows = phase.loops[number].rows
        if rows is None:
            continue
        strides = row_strides(rows, [loop.trips for loop in phase.loops])
        row = sum(strides[outer] * at[outer] for outer in rows.loops)
        runs = rows.runs[rows.offsets[row] : rows.offsets[row + 1]]
        here = np.searchsorted(runs[:, 0], at[number], "right") - 1
        bits |= int(runs[here, 2])
    return bits


def _marked(loops: Sequence[Loop], marks: int) -> Loop:
    """The innermost loop with more marks on all its runs."""
    last = loops[-1]
    rows = last.rows
    if rows is None:
        rows = Rows((), np.array([0, 1]), np.array([[0, last.trips, 0]]))
    runs = rows.runs.copy()
    runs[:, 2] |= marks
    return dataclasses.replace(last, rows=dataclasses.replace(rows, runs=runs))


def instances(phase: Phase) -> int:
    """How many instances a launch has."""
    assert phase.launch is not None
    return prod(loop.trips for loop in phase.loops[: phase.launch.grid])
