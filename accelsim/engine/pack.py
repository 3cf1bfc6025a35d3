"""A phase as flat int64 arrays, one row per task and per edge, for the compiled engines.

Tokens: each edge has a ring of `mask + 1` counts of its loop, each with one place per combination
of coordinates in its matched loops. A place holds the end of the latest producer instance plus the
latency, and the count for which it was written (its tag): a reader whose count does not match finds
no producer. Counts run on and nothing is ever cleared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.program import CAUSES, ROOT, Affine, Edge, Phase

Int = npt.NDArray[np.int64]
NEVER = -(1 << 62)

# Columns of a task row.
SERVER, OCCUPANCY, LAG, GUARDED, FIRST, LAST, NOT_FIRST, NOT_LAST = range(8)
IN_FROM, IN_TO, OUT_FROM, OUT_TO = range(8, 12)
TASK_COLUMNS = 12
# Columns of an edge row; then (column of a coordinate in a tile row, stride) per matched loop.
BASE, LOOP, SHIFT, MASK, SIZE, CAUSE, RESET, MATCHED, ONLY = range(9)
EDGE_COLUMNS = 9
# SHIFT is the distance on the reader's side and the latency on the writer's. ONLY: loops at whose
# first coordinates (reader), last coordinates (writer) alone the token is looked at.


@dataclass(frozen=True)
class Packed:
    """Arrays of one phase with T tasks, E edges, L loops.

    tasks [T, 12]. reads [E, 8+2L] by consumer, writes by producer. edges: those kept;
    rings: base, loop, distance, mask, size of each. tokens [places, 2]: value, tag.
    A tile row: counts [0..L-1], 0, coordinates [L+1..2L], steps into the run [2L+1..3L], bits of
    loops at their first and at their last coordinate. lower, upper [L, 2+L]:
    constant, coefficients, and trips of the loop.
    """

    tasks: Int
    reads: Int
    writes: Int
    edges: tuple[Edge, ...]
    rings: list[list[int]]
    tokens: Int
    lower: Int
    upper: Int
    deepest: int


def pack(phase: Phase, *, sparse: bool = False) -> Packed:
    """Flat arrays of a phase, with fresh tokens.

    sparse: tokens are looked at only where they can matter (`_only`). Not for steady: the last
    iteration of a loop would not be like the others.
    """
    depth = len(phase.loops)
    deepest = max((task.lag for task in phase.tasks), default=0)
    tasks = np.zeros((len(phase.tasks), TASK_COLUMNS), np.int64)
    for t, task in enumerate(phase.tasks):
        guard = task.guard
        masks = [_bits(x) for x in (guard.first, guard.last, guard.not_first, guard.not_last)]
        tasks[t, : NOT_LAST + 1] = (task.server, task.occupancy, task.lag, any(masks), *masks)
    # An edge within a server without latency never holds its consumer up: order does.
    kept = [
        edge
        for edge in phase.edges
        if edge.latency or phase.tasks[edge.producer].server != phase.tasks[edge.consumer].server
    ]
    reads: list[list[int]] = []
    writes: list[list[int]] = []
    rings: list[list[int]] = []
    places = 0
    for edge in kept:
        row, size = _row(phase, edge, places, deepest, depth)
        rings.append([places, edge.loop, edge.distance, row[MASK], row[SIZE]])
        first, last = _only(phase, edge, depth) if sparse else (0, 0)
        reads.append([*row[:SHIFT], edge.distance, *row[SHIFT + 1 : ONLY], first, *row[ONLY + 1 :]])
        writes.append([*row[:SHIFT], edge.latency, *row[SHIFT + 1 : ONLY], last, *row[ONLY + 1 :]])
        places += size
    by_consumer = sorted(range(len(kept)), key=lambda i: (kept[i].consumer, i))
    by_producer = sorted(range(len(kept)), key=lambda i: (kept[i].producer, i))
    for columns, ends in (
        ((IN_FROM, IN_TO), [kept[i].consumer for i in by_consumer]),
        ((OUT_FROM, OUT_TO), [kept[i].producer for i in by_producer]),
    ):
        tasks[:, columns[0]] = np.searchsorted(ends, range(len(phase.tasks)), "left")
        tasks[:, columns[1]] = np.searchsorted(ends, range(len(phase.tasks)), "right")
    tokens = np.full((max(1, places), 2), NEVER, np.int64)
    width = EDGE_COLUMNS + 2 * depth
    return Packed(
        tasks=tasks,
        reads=np.array([reads[i] for i in by_consumer], np.int64).reshape(-1, width),
        writes=np.array([writes[i] for i in by_producer], np.int64).reshape(-1, width),
        edges=tuple(kept),
        rings=rings,
        tokens=tokens,
        lower=np.array([_affine(x.lower, 0, x.trips, depth) for x in phase.loops], np.int64),
        upper=np.array([_affine(x.upper, x.trips, x.trips, depth) for x in phase.loops], np.int64),
        deepest=deepest,
    )


def _row(phase: Phase, edge: Edge, base: int, deepest: int, depth: int) -> tuple[list[int], int]:
    """An edge row with SHIFT left open, and how many places its ring takes.

    A producer may be ahead of the reader by as many tiles as stages are deep.
    """
    ring = 1 << (edge.distance + deepest + 1).bit_length()
    size = 1
    pairs: list[int] = []
    for loop in sorted(edge.matched, reverse=True):  # coordinates of inner loops lie together
        pairs += [depth + 1 + loop, size]
        size *= phase.loops[loop].trips
    loop = depth if edge.loop == ROOT else edge.loop
    reset = edge.distance if edge.reset and edge.loop != ROOT else 0
    row = [base, loop, 0, ring - 1, size, CAUSES.index(edge.cause), reset, len(edge.matched), 0]
    return [*row, *pairs, *[0] * (2 * depth - len(pairs))], ring * size


def _only(phase: Phase, edge: Edge, depth: int) -> tuple[int, int]:
    """Loops at whose first coordinates reading, at whose last ones writing, is enough.

    Inside the edge's loop a reader finds the same token at every coordinate of a loop that is not
    matched, once all writing is done: the first reading is the one that can hold it up. And when
    all writing is done before any reading, the last token written is the only one read.
    """
    producer, consumer = phase.tasks[edge.producer], phase.tasks[edge.consumer]
    free = {loop for loop in range(edge.loop + 1, depth) if loop not in edge.matched}
    bounds = [b for m in edge.matched for b in (phase.loops[m].lower, phase.loops[m].upper) if b]
    if any(outer in free for bound in bounds for outer, _ in bound.terms):
        return 0, 0  # a matched coordinate may be there in some iterations only
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


def _affine(affine: Affine | None, default: int, trips: int, depth: int) -> list[int]:
    row = [0] * (1 + depth) + [trips]
    row[0] = default if affine is None else affine.constant
    for loop, coefficient in affine.terms if affine is not None else ():
        row[1 + loop] += coefficient
    return row
