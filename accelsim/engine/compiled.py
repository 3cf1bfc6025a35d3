"""The compiled engine: the same integers as the reference, tens of millions of tasks a second."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from numba import njit

from accelsim.engine.pack import (
    BASE,
    CAUSE,
    EDGE_COLUMNS,
    FIRST,
    GUARDED,
    IN_FROM,
    IN_TO,
    LAG,
    LAST,
    LOOP,
    MASK,
    MATCHED,
    NOT_FIRST,
    NOT_LAST,
    OCCUPANCY,
    OUT_FROM,
    OUT_TO,
    RESET,
    SERVER,
    SHIFT,
    SIZE,
    Int,
    Packed,
    pack,
)
from accelsim.program import CAUSES, Phase, Program
from accelsim.results import Execution, PhaseExecution, Record

SLICE = 2_000_000
"""Epochs between two calls of `progress`."""

# Places of `clock`: next epoch, tiles made, whether the loops have ended, instances recorded.
EPOCH, TILES, ENDED, RECORDED = range(4)


def run(
    program: Program,
    record: int | None = 0,
    progress: Callable[[float], None] | None = None,
) -> Execution:
    """Run a program. record: instances kept per phase (None: all). progress: share done."""
    phases: list[PhaseExecution] = []
    begin = 0
    for number, phase in enumerate(program.phases):

        def report(share: float, number: int = number) -> None:
            if progress is not None:
                progress((number + share) / len(program.phases))

        phases.append(_run_phase(program, phase, begin, record, report))
        begin = phases[-1].end
    return Execution("compiled", tuple(phases))


def _run_phase(
    program: Program,
    phase: Phase,
    begin: int,
    record: int | None,
    report: Callable[[float], None],
) -> PhaseExecution:
    packed = pack(phase)
    depth, servers = len(phase.loops), len(program.servers)
    most = prod(loop.trips for loop in phase.loops)
    room = most * len(phase.tasks)
    room = room if record is None else min(record, room)
    free = np.full(servers, begin, np.int64)
    waits = np.zeros((servers, len(CAUSES)), np.int64)
    executed = np.zeros(len(phase.tasks), np.int64)
    ring = 1 << (packed.deepest + 1).bit_length()
    tiles = np.zeros((ring, 3 * depth + 3), np.int64)
    kept = np.zeros((room, 3 + depth), np.int64)
    state = np.zeros((4, max(1, depth)), np.int64)  # coordinate, first, end, count
    clock = np.zeros(4, np.int64)
    arrays = (packed.tasks, packed.reads, packed.writes, packed.tokens, packed.lower, packed.upper)
    while not _advance(*arrays, tiles, state, clock, free, waits, executed, kept, SLICE):
        report(min(1.0, int(clock[EPOCH]) / most))
    report(1.0)
    return _finish(program, packed, begin, free, waits, executed, kept, clock, depth)


def _finish(
    program: Program,
    packed: Packed,
    begin: int,
    free: Int,
    waits: Int,
    executed: Int,
    kept: Int,
    clock: Int,
    depth: int,
) -> PhaseExecution:
    count = int(clock[RECORDED])
    end = int(free.max())
    servers = len(program.servers)
    busy = np.zeros(servers, np.int64)
    np.add.at(busy, packed.tasks[:, SERVER], executed * packed.tasks[:, OCCUPANCY])
    return PhaseExecution(
        begin=begin,
        end=end,
        executed=executed,
        busy=busy,
        waits=waits,
        tail=end - free,
        record=Record(
            task=kept[:count, 0].astype(np.int32),
            start=kept[:count, 1].copy(),
            end=kept[:count, 2].copy(),
            coordinates=kept[:count, 3 : 3 + depth].astype(np.int32),
            truncated=count < int(executed.sum()),
        ),
    )


@njit(cache=True)
def _advance(
    tasks: Int,
    reads: Int,
    writes: Int,
    tokens: Int,
    lower: Int,
    upper: Int,
    tiles: Int,
    state: Int,
    clock: Int,
    free: Int,
    waits: Int,
    executed: Int,
    kept: Int,
    epochs: int,
) -> bool:
    """Run up to `epochs` epochs from where `clock` stands; whether the phase has ended.

    Array layouts: pack.py. tiles [ring, 3L+3]; state [4, L]: coordinate, first, end and count of
    each loop; kept [N, 3+L]: task, start, end, coordinates.
    """
    depth = lower.shape[0]
    n_tasks = tasks.shape[0]
    ring = tiles.shape[0] - 1
    first_bits, last_bits = 3 * depth + 1, 3 * depth + 2
    deepest = 0
    for t in range(n_tasks):
        deepest = max(deepest, tasks[t, LAG])
    epoch = clock[EPOCH]
    made = clock[TILES]
    ended = clock[ENDED]
    recorded = clock[RECORDED]
    stop = epoch + epochs
    while epoch < stop and (ended == 0 or epoch < made + deepest):
        # The next tile: advance the innermost loop that has a coordinate left.
        if ended == 0:
            changed = -1
            if epoch == 0:
                changed = 0
            else:
                level = depth - 1
                while level >= 0 and state[0, level] + 1 >= state[2, level]:
                    level -= 1
                if level >= 0:
                    state[0, level] += 1
                    state[3, level] += 1
                    changed = level + 1
            if changed < 0 or (epoch > 0 and changed == 0):
                ended = 1
            else:
                for level in range(changed, depth):
                    low, high = lower[level, 0], upper[level, 0]
                    for outer in range(level):
                        low += lower[level, 1 + outer] * state[0, outer]
                        high += upper[level, 1 + outer] * state[0, outer]
                    low, high = max(low, 0), min(high, upper[level, 1 + depth])
                    state[0, level] = low
                    state[1, level] = low
                    state[2, level] = high
                    if epoch > 0:
                        state[3, level] += 1
                row = made & ring
                at_first = 0
                at_last = 0
                for level in range(depth):
                    coordinate = state[0, level]
                    tiles[row, level] = state[3, level]
                    tiles[row, depth + 1 + level] = coordinate
                    tiles[row, 2 * depth + 1 + level] = coordinate - state[1, level]
                    if coordinate == state[1, level]:
                        at_first |= 1 << level
                    if coordinate + 1 == state[2, level]:
                        at_last |= 1 << level
                tiles[row, first_bits] = at_first
                tiles[row, last_bits] = at_last
                made += 1
        if ended == 1 and epoch >= made + deepest:
            break
        for t in range(n_tasks):
            index = epoch - tasks[t, LAG]
            if index < 0 or index >= made:
                continue
            row = index & ring
            if tasks[t, GUARDED]:
                at_first, at_last = tiles[row, first_bits], tiles[row, last_bits]
                if (at_first & tasks[t, FIRST]) != tasks[t, FIRST]:
                    continue
                if (at_last & tasks[t, LAST]) != tasks[t, LAST]:
                    continue
                if tasks[t, NOT_FIRST] and (at_first & tasks[t, NOT_FIRST]) == tasks[t, NOT_FIRST]:
                    continue
                if tasks[t, NOT_LAST] and (at_last & tasks[t, NOT_LAST]) == tasks[t, NOT_LAST]:
                    continue
            server = tasks[t, SERVER]
            was_free = free[server]
            start = was_free
            cause = -1
            for k in range(tasks[t, IN_FROM], tasks[t, IN_TO]):
                if reads[k, RESET] and tiles[row, 2 * depth + 1 + reads[k, LOOP]] < reads[k, RESET]:
                    continue
                count = tiles[row, reads[k, LOOP]] - reads[k, SHIFT]
                place = reads[k, BASE] + (count & reads[k, MASK]) * reads[k, SIZE]
                for m in range(EDGE_COLUMNS, EDGE_COLUMNS + 2 * reads[k, MATCHED], 2):
                    place += tiles[row, reads[k, m]] * reads[k, m + 1]
                if tokens[place, 1] == count and tokens[place, 0] > start:
                    start = tokens[place, 0]
                    cause = reads[k, CAUSE]
            end = start + tasks[t, OCCUPANCY]
            free[server] = end
            executed[t] += 1
            if cause >= 0:
                waits[server, cause] += start - was_free
            for k in range(tasks[t, OUT_FROM], tasks[t, OUT_TO]):
                count = tiles[row, writes[k, LOOP]]
                place = writes[k, BASE] + (count & writes[k, MASK]) * writes[k, SIZE]
                for m in range(EDGE_COLUMNS, EDGE_COLUMNS + 2 * writes[k, MATCHED], 2):
                    place += tiles[row, writes[k, m]] * writes[k, m + 1]
                tokens[place, 0] = end + writes[k, SHIFT]
                tokens[place, 1] = count
            if recorded < kept.shape[0]:
                kept[recorded, 0] = t
                kept[recorded, 1] = start
                kept[recorded, 2] = end
                for level in range(depth):
                    kept[recorded, 3 + level] = tiles[row, depth + 1 + level]
                recorded += 1
        epoch += 1
    clock[EPOCH] = epoch
    clock[TILES] = made
    clock[ENDED] = ended
    clock[RECORDED] = recorded
    return bool(ended == 1 and epoch >= made + deepest)
