"""The meaning of a Program as code: every task instance, in program order, with what it waits for.

Plain and slow; the reference engine runs what this yields, and the fast engines must agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.program.program import ROOT, Edge, Phase, Rows


@dataclass(frozen=True)
class Tile:
    """One innermost iteration. count[l]: iterations of loop l begun before it, over all outer.

    step[l]: those of this run of the loop.
    """

    coordinates: tuple[int, ...]
    count: tuple[int, ...]
    step: tuple[int, ...]
    is_first: tuple[bool, ...]
    is_last: tuple[bool, ...]
    marks: int


@dataclass(frozen=True)
class Instance:
    """A task on a tile. waits: (index of an edge, index of the producer instance)."""

    task: int
    tile: Tile
    waits: tuple[tuple[int, int], ...]


def visited(phase: Phase, level: int, outer: tuple[int, ...]) -> list[tuple[int, int]]:
    """Coordinates that a loop visits, with their marks."""
    rows = phase.loops[level].rows
    if rows is None:
        return [(c, 0) for c in range(phase.loops[level].trips)]
    row = row_number(phase, rows, outer)
    out: list[tuple[int, int]] = []
    for first, length, marks in rows.runs[rows.offsets[row] : rows.offsets[row + 1]].tolist():
        out += [(c, marks) for c in range(first, first + length)]
    return out


def at_edges(
    phase: Phase, coordinates: Sequence[int]
) -> tuple[tuple[bool, ...], tuple[bool, ...], int]:
    """Which loops are at their first and at their last iteration at a tile; its marks."""
    is_first, is_last, marks = [], [], 0
    for level, coordinate in enumerate(coordinates):
        low, high = 0, phase.loops[level].trips - 1
        if (rows := phase.loops[level].rows) is not None:
            row = row_number(phase, rows, coordinates)
            runs = rows.runs[rows.offsets[row] : rows.offsets[row + 1]]
            low, high = int(runs[0, 0]), int(runs[-1, 0] + runs[-1, 1]) - 1
            marks |= int(runs[np.searchsorted(runs[:, 0], coordinate, "right") - 1, 2])
        is_first.append(coordinate == low)
        is_last.append(coordinate == high)
    return tuple(is_first), tuple(is_last), marks


def row_number(phase: Phase, rows: Rows, coordinates: Sequence[int]) -> int:
    number = 0
    for loop in rows.loops:
        number = number * phase.loops[loop].trips + coordinates[loop]
    return number


def tiles(phase: Phase) -> Iterator[Tile]:
    """The innermost iterations of a phase, in order."""
    count = [-1] * len(phase.loops)

    def descend(
        outer: tuple[int, ...],
        step: tuple[int, ...],
        first: tuple[bool, ...],
        last: tuple[bool, ...],
        marks: int,
    ) -> Iterator[Tile]:
        level = len(outer)
        if level == len(phase.loops):
            yield Tile(outer, tuple(count), step, first, last, marks)
            return
        there = visited(phase, level, outer)
        for number, (coordinate, marked) in enumerate(there):
            count[level] += 1
            yield from descend(
                (*outer, coordinate),
                (*step, number),
                (*first, number == 0),
                (*last, number == len(there) - 1),
                marks | marked,
            )

    yield from descend((), (), (), (), 0)


def instances(phase: Phase) -> list[Instance]:
    """All task instances of a phase, in program order."""
    out: list[Instance] = []
    every = list(tiles(phase))
    incoming: list[list[tuple[int, Edge]]] = [[] for _ in phase.tasks]
    outgoing: list[list[tuple[int, Edge]]] = [[] for _ in phase.tasks]
    for index, edge in enumerate(phase.edges):
        incoming[edge.consumer].append((index, edge))
        outgoing[edge.producer].append((index, edge))
    # (edge, count of its loop, coordinates in its matched loops) -> latest producer instance.
    latest: dict[tuple[int, int, tuple[int, ...]], int] = {}
    deepest = max((task.lag for task in phase.tasks), default=0)
    for epoch in range(len(every) + deepest):
        for t, task in enumerate(phase.tasks):
            if not 0 <= epoch - task.lag < len(every):
                continue
            tile = every[epoch - task.lag]
            if not task.guard.holds(tile.is_first, tile.is_last, tile.marks):
                continue
            waits = []
            for index, edge in incoming[t]:
                count, matched = _key(edge, tile)
                if edge.reset and _begun(edge, tile) < edge.distance:
                    continue
                producer = latest.get((index, count - edge.distance, matched))
                if producer is not None:
                    waits.append((index, producer))
            out.append(Instance(t, tile, tuple(waits)))
            for index, edge in outgoing[t]:
                latest[(index, *_key(edge, tile))] = len(out) - 1
    return out


def _key(edge: Edge, tile: Tile) -> tuple[int, tuple[int, ...]]:
    count = 0 if edge.loop == ROOT else tile.count[edge.loop]
    return count, tuple(tile.coordinates[l] for l in edge.matched)


def _begun(edge: Edge, tile: Tile) -> int:
    """Iterations of the edge's loop begun before the tile's, in this run of the loop."""
    if edge.loop == ROOT:
        return 0
    return tile.step[edge.loop]
