"""The meaning of a Program as code: every task instance, in program order, with what it waits for.

Plain and slow; the reference engine runs what this yields, and the fast engines must agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accelsim.program.program import ROOT, Edge, Loop, Phase


@dataclass(frozen=True)
class Tile:
    """One innermost iteration. count[l]: iterations of loop l begun before it, over all outer."""

    coordinates: tuple[int, ...]
    count: tuple[int, ...]
    lowest: tuple[int, ...]
    is_first: tuple[bool, ...]
    is_last: tuple[bool, ...]


@dataclass(frozen=True)
class Instance:
    """A task on a tile. waits: (index of an edge, index of the producer instance)."""

    task: int
    tile: Tile
    waits: tuple[tuple[int, int], ...]


def bounds(loop: Loop, coordinates: tuple[int, ...] | list[int]) -> tuple[int, int]:
    """First coordinate and one past the last, given those of the outer loops."""
    low = max(0, loop.lower.at(coordinates)) if loop.lower is not None else 0
    high = min(loop.trips, loop.upper.at(coordinates)) if loop.upper is not None else loop.trips
    assert low < high, f"loop {loop.name} is empty at {tuple(coordinates)}"
    return low, high


def tiles(phase: Phase) -> Iterator[Tile]:
    """The innermost iterations of a phase, in order."""
    loops = phase.loops
    count = [-1] * len(loops)

    def descend(
        outer: tuple[int, ...], lows: tuple[int, ...], highs: tuple[int, ...]
    ) -> Iterator[Tile]:
        level = len(outer)
        if level == len(loops):
            yield Tile(
                outer,
                tuple(count),
                lows,
                tuple(c == low for c, low in zip(outer, lows, strict=True)),
                tuple(c == high - 1 for c, high in zip(outer, highs, strict=True)),
            )
            return
        low, high = bounds(loops[level], outer)
        for coordinate in range(low, high):
            count[level] += 1
            yield from descend((*outer, coordinate), (*lows, low), (*highs, high))

    yield from descend((), (), ())


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
            if not task.guard.holds(tile.is_first, tile.is_last):
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
    return tile.coordinates[edge.loop] - tile.lowest[edge.loop]
