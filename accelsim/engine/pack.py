"""A phase as arrays of records, one per task and per end of an edge, for the compiled engines.

Tokens: each edge has a ring of `mask + 1` counts of its loop, each with one place per combination
of coordinates in its matched loops. A place holds the end of the latest producer instance plus the
latency, and the count for which it was written (its tag): a reader whose count does not match finds
no producer. Counts run on and nothing is ever cleared.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.errors import AccelsimError
from accelsim.program import CAUSES, ROOT, Edge, Guard, Phase
from accelsim.program.rows import alike_until, row_strides

Int = npt.NDArray[np.int64]
NEVER = -(1 << 62)
MOST_PLACES = 1 << 25
"""Tokens of a phase: half a GiB of them."""

Records = Any
"""A one-dimensional array of records: rows with named fields, at known places for the compiler."""


def record_of(fields: str) -> np.dtype[np.void]:
    return np.dtype([(name, np.int64) for name in fields.split()], align=True)


TASK = record_of(
    "server occupancy lag guarded first last not_first not_last in_from in_to out_from out_to"
)
# An edge, seen from one of its two ends. shift: its distance at the reader, its latency at the
# writer. only: loops at whose first coordinates (reader), last coordinates (writer) alone the
# token is looked at. The rows of `strides` from..to are those of its matched loops.
EDGE = record_of("base loop shift mask size cause reset only sometimes strides_from strides_to")
STRIDE = record_of("column stride")  # a coordinate's column in a tile row, places between two of it
TOKEN = record_of("value tag")


@dataclass(frozen=True)
class Packed:
    """Arrays of one phase with T tasks, E edges, L loops.

    tasks [T]. reads [E] by consumer, writes [E] by producer. edges: those kept; rings: base, loop,
    distance, mask, size of each. tokens [places].
    A tile row: counts [0..L-1], 0, coordinates [L+1..2L], iterations since the loop was entered
    [2L+1..3L], bits of loops at their first and at their last iteration; above these, bits of the
    marks that it has (first) and has not (last).
    loops [L, 2+L]: trips, first entry in `offsets` (-1: all coordinates), strides of outer loops
    in its row number. offsets: into runs, one row behind the other. runs [R, 3]: as in
    program.Rows.
    """

    tasks: Records
    reads: Records
    writes: Records
    strides: Records
    edges: tuple[Edge, ...]
    rings: list[list[int]]
    tokens: Records
    loops: Int
    offsets: Int
    runs: Int
    deepest: int

    @property
    def arrays(self) -> tuple[Any, ...]:
        """In the order of every engine's `_advance`."""
        rows = (self.tasks, self.reads, self.writes, self.strides, self.tokens)
        return (*rows, self.loops, self.offsets, self.runs)


def pack(phase: Phase, *, sparse: bool = False) -> Packed:
    """Flat arrays of a phase, with fresh tokens.

    sparse: tokens are looked at only where they can matter (`_only`). Not for steady: the last
    iteration of a loop would not be like the others.
    """
    depth = len(phase.loops)
    deepest = max((task.lag for task in phase.tasks), default=0)
    # An edge within a server without latency never holds its consumer up: order does. But what a
    # launch moves can be used only later than the transfer ends.
    kept = [
        edge
        for edge in phase.edges
        if edge.latency
        or phase.tasks[edge.producer].server != phase.tasks[edge.consumer].server
        or phase.tasks[edge.producer].moved is not None
    ]
    reads: list[tuple[int, ...]] = []
    writes: list[tuple[int, ...]] = []
    strides: list[tuple[int, int]] = []
    rings: list[list[int]] = []
    places = 0
    for edge in kept:
        # A producer may be ahead of the reader by as many tiles as stages are deep.
        ring = 1 << (edge.distance + deepest + 1).bit_length()
        size = 1
        begin = len(strides)
        for loop in sorted(edge.matched, reverse=True):  # coordinates of inner loops lie together
            strides.append((depth + 1 + loop, size))
            size *= phase.loops[loop].trips
        loop = depth if edge.loop == ROOT else edge.loop
        reset = edge.distance if edge.reset and edge.loop != ROOT else 0
        first, last = _only(phase, edge, depth) if sparse else (0, 0)
        for rows, shift, only in ((reads, edge.distance, first), (writes, edge.latency, last)):
            cause = CAUSES.index(edge.cause)
            own = (places, loop, shift, ring - 1, size, cause, reset, only)
            row = (*own, only != 0 or reset != 0, begin, len(strides))
            rows.append(row)
        rings.append([places, edge.loop, edge.distance, ring - 1, size])
        places += ring * size
        if places > MOST_PLACES:
            one, other = (phase.tasks[task].name for task in (edge.producer, edge.consumer))
            raise AccelsimError(
                f"phase {phase.name}: between {one} and {other} {ring * size:,} tiles would have "
                f"to be told apart, more than the engines hold ({MOST_PLACES:,}): cut the ranks "
                "that both iterate into larger tiles, or move their loops outwards"
            )
    by_consumer = sorted(range(len(kept)), key=lambda i: (kept[i].consumer, i))
    by_producer = sorted(range(len(kept)), key=lambda i: (kept[i].producer, i))
    consumers = [kept[i].consumer for i in by_consumer]
    producers = [kept[i].producer for i in by_producer]
    tasks: list[tuple[int, ...]] = []
    for number, task in enumerate(phase.tasks):
        guard = task.guard
        masks = _masks(guard, depth)
        ends = (*_span(consumers, number), *_span(producers, number))
        tasks.append((task.server, task.occupancy, task.lag, any(masks), *masks, *ends))
    loops, offsets, runs = _loops(phase)
    return Packed(
        tasks=rows_of(TASK, tasks),
        reads=rows_of(EDGE, [reads[i] for i in by_consumer]),
        writes=rows_of(EDGE, [writes[i] for i in by_producer]),
        strides=rows_of(STRIDE, strides),
        edges=tuple(kept),
        rings=rings,
        tokens=np.full(max(1, places), NEVER, TOKEN).view(np.recarray),
        loops=loops,
        offsets=offsets,
        runs=runs,
        deepest=deepest,
    )


def _loops(phase: Phase) -> tuple[Int, Int, Int]:
    """loops, offsets and runs of Packed."""
    depth = len(phase.loops)
    trips = [loop.trips for loop in phase.loops]
    loops = np.zeros((depth, 2 + depth), np.int64)
    offsets: list[Int] = [np.zeros(0, np.int64)]
    runs: list[Int] = [np.zeros((0, 3), np.int64)]
    for level, loop in enumerate(phase.loops):
        loops[level, :2] = loop.trips, -1
        if loop.rows is None:
            continue
        loops[level, 1] = sum(map(len, offsets))
        for outer, stride in row_strides(loop.rows, trips).items():
            loops[level, 2 + outer] = stride
        offsets.append(loop.rows.offsets + sum(map(len, runs)))
        runs.append(loop.rows.runs)
    return loops, np.concatenate(offsets), np.concatenate(runs)


def windows(phase: Phase) -> tuple[Int, Int]:
    """For each outer loop of rows, up to where all stays alike: depends [D, 2+L], until [...].

    A row of depends: the loop, where its numbers begin in `until`, strides of loops in them.
    """
    depth = len(phase.loops)
    trips = [loop.trips for loop in phase.loops]
    depends: list[Int] = []
    until: list[Int] = [np.zeros(0, np.int64)]
    for loop in phase.loops:
        if loop.rows is None:
            continue
        own = [trips[outer] for outer in loop.rows.loops]
        for axis, level in enumerate(loop.rows.loops):
            row = np.zeros(2 + depth, np.int64)
            row[0], row[1] = level, sum(map(len, until))
            for i in range(axis + 1):
                row[2 + loop.rows.loops[i]] = prod(own[i + 1 : axis + 1])
            depends.append(row)
            until.append(alike_until(loop.rows, own, axis))
    return np.array(depends, np.int64).reshape(-1, 2 + depth), np.concatenate(until)


def _masks(guard: Guard, depth: int) -> tuple[int, ...]:
    """first, last, not_first, not_last as bits; marks are bits above the loops."""
    marked = _bits(tuple(depth + mark for mark in guard.marked))
    unmarked = _bits(tuple(depth + mark for mark in guard.unmarked))
    first, last = _bits(guard.first) | marked, _bits(guard.last) | unmarked
    return first, last, _bits(guard.not_first), _bits(guard.not_last)


def _span(ends: list[int], task: int) -> tuple[int, int]:
    """Where the rows of a task begin and end among edges sorted by task."""
    return bisect_left(ends, task), bisect_right(ends, task)


def rows_of(record: np.dtype[np.void], rows: Sequence[tuple[int, ...]]) -> Records:
    return np.array(rows, record).reshape(-1).view(np.recarray)


def _only(phase: Phase, edge: Edge, depth: int) -> tuple[int, int]:
    """Loops at whose first coordinates reading, at whose last ones writing, is enough.

    Inside the edge's loop a reader finds the same token at every coordinate of a loop that is not
    matched, once all writing is done: the first reading is the one that can hold it up. And when
    all writing is done before any reading, the last token written is the only one read.
    """
    producer, consumer = phase.tasks[edge.producer], phase.tasks[edge.consumer]
    free = {loop for loop in range(edge.loop + 1, depth) if loop not in edge.matched}
    inside = phase.loops[edge.loop + 1 :]
    if any(loop.rows is not None for loop in inside):
        return 0, 0  # a coordinate may be there in some iterations only
    if producer.guard.marked or producer.guard.unmarked:
        return 0, 0
    if consumer.guard.marked or consumer.guard.unmarked:
        return 0, 0
    guard = producer.guard
    once = free & set(guard.first)
    before = producer.lag <= consumer.lag and edge.distance > 0
    early = producer.lag < consumer.lag or (
        producer.lag == consumer.lag and edge.producer < edge.consumer
    )
    if not before and not (early and once == free):
        return 0, 0
    asked = consumer.guard
    reads = free - {*asked.first, *asked.last, *asked.not_first, *asked.not_last}
    writes = free - {*guard.first, *guard.last, *guard.not_first, *guard.not_last}
    # Enough only if the task runs at all where its other loops are: a guard there is not known.
    first = _bits(tuple(free)) if reads == free else 0
    last = _bits(tuple(free)) if writes == free and before else 0
    return first, last


def _bits(loops: tuple[int, ...]) -> int:
    return sum(1 << loop for loop in set(loops))
