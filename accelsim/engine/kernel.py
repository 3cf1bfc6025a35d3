"""One epoch of a phase in compiled code: the same lines for every fast engine.

These functions are inlined where they are used (numba copies their bodies), so that an engine is
one loop without calls. `track` is a constant there: what is under `if track` costs the compiled
engine nothing.

Arrays: see pack.py for tasks, reads, writes, tokens, lower, upper. tiles [ring, 3L+3] holds the
tiles still in the pipeline. state [4, L]: coordinate, first, end and running count of each loop.
totals [T + 4S + 2]: instances per task, waits per server and cause, and what `steady` adds up.
kept [N, 3+L]: task, start, end, coordinates of recorded instances.
"""

from __future__ import annotations

from numba import njit

from accelsim.engine.jit import compiled_code
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
    ONLY,
    OUT_FROM,
    OUT_TO,
    RESET,
    SERVER,
    SHIFT,
    SIZE,
    Int,
)

# Rows of `state`.
COORDINATE, BEGIN, END, COUNT = range(4)
# Places of `clock`: next epoch, tiles made, whether the loops have ended, instances recorded,
# instances really executed (never taken back), number of active probes.
EPOCH, TILES, ENDED, RECORDED, WORK, PROBES = range(6)
CLOCK = 6
N_CAUSES = 4


@njit(inline="always")
def next_tile(lower: Int, upper: Int, tiles: Int, state: Int, made: int) -> int:
    """Make tile `made`. The outermost loop entered anew (depth: none was), or -1 at the end."""
    depth = lower.shape[0]
    entered = 0
    if made > 0:
        level = depth - 1
        while level >= 0 and state[COORDINATE, level] + 1 >= state[END, level]:
            level -= 1
        entered = level + 1
        if level >= 0:
            state[COORDINATE, level] += 1
            state[COUNT, level] += 1
        else:
            entered = -1
    if entered >= 0:
        for level in range(entered, depth):
            low, high = lower[level, 0], upper[level, 0]
            for outer in range(level):
                low += lower[level, 1 + outer] * state[COORDINATE, outer]
                high += upper[level, 1 + outer] * state[COORDINATE, outer]
            low, high = max(low, 0), min(high, upper[level, 1 + depth])
            state[COORDINATE, level] = low
            state[BEGIN, level] = low
            state[END, level] = high
            if made > 0:
                state[COUNT, level] += 1
        row = made & (tiles.shape[0] - 1)
        at_first = 0
        at_last = 0
        for level in range(depth):
            coordinate = state[COORDINATE, level]
            tiles[row, level] = state[COUNT, level]
            tiles[row, depth + 1 + level] = coordinate
            tiles[row, 2 * depth + 1 + level] = coordinate - state[BEGIN, level]
            if coordinate == state[BEGIN, level]:
                at_first |= 1 << level
            if coordinate + 1 == state[END, level]:
                at_last |= 1 << level
        tiles[row, 3 * depth + 1] = at_first
        tiles[row, 3 * depth + 2] = at_last
    return entered


@njit(inline="always")
def fires(t: int, tasks: Int, at_first: int, at_last: int) -> bool:
    """Whether the guard of a task holds at a tile with these bits (one per loop)."""
    first, last = tasks[t, FIRST], tasks[t, LAST]
    other, end = tasks[t, NOT_FIRST], tasks[t, NOT_LAST]
    return (
        (at_first & first) == first
        and (at_last & last) == last
        and not (other != 0 and (at_first & other) == other)
        and not (end != 0 and (at_last & end) == end)
    )


# Columns of `levels` (extrapolate.py) that taking a probe back needs.
PROBING, SERIAL = 7, 13


@compiled_code
def remember(
    tokens: Int, stamps: Int, place: int, undo: Int, undone: Int, marks: Int, levels: Int
) -> None:
    """Note a token before its first change in each active probe."""
    for level in range(levels.shape[0]):
        if levels[level, PROBING] and marks[level, place] != levels[level, SERIAL]:
            marks[level, place] = levels[level, SERIAL]
            at = undone[level]
            undo[level, at, 0] = place
            undo[level, at, 1] = tokens[place, 0]
            undo[level, at, 2] = tokens[place, 1]
            undo[level, at, 3] = stamps[place]
            undone[level] = at + 1


@njit(inline="always")
def run_epoch(
    tasks: Int,
    reads: Int,
    writes: Int,
    tokens: Int,
    tiles: Int,
    free: Int,
    totals: Int,
    kept: Int,
    epoch: int,
    made: int,
    recorded: int,
    track: int,
    stamps: Int,
    clock: Int,
    undo: Int,
    undone: Int,
    marks: Int,
    levels: Int,
) -> int:
    """Run every task of one epoch; the number of instances recorded after it.

    undo, undone, marks, levels: what `steady` needs to take a probe back (see there).
    """
    n_tasks = tasks.shape[0]
    n_waits = free.shape[0] * N_CAUSES
    depth = (tiles.shape[1] - 3) // 3
    ring = tiles.shape[0] - 1
    for t in range(n_tasks):
        index = epoch - tasks[t, LAG]
        if index < 0 or index >= made:
            continue
        row = index & ring
        at_first, at_last = tiles[row, 3 * depth + 1], tiles[row, 3 * depth + 2]
        if tasks[t, GUARDED] and not fires(t, tasks, at_first, at_last):
            continue
        server = tasks[t, SERVER]
        was_free = free[server]
        start = was_free
        cause = -1
        for k in range(tasks[t, IN_FROM], tasks[t, IN_TO]):
            if at_first & reads[k, ONLY] != reads[k, ONLY]:
                continue
            if reads[k, RESET] and tiles[row, 2 * depth + 1 + reads[k, LOOP]] < reads[k, RESET]:
                continue
            count = tiles[row, reads[k, LOOP]] - reads[k, SHIFT]
            place = reads[k, BASE] + (count & reads[k, MASK]) * reads[k, SIZE]
            for m in range(EDGE_COLUMNS, EDGE_COLUMNS + 2 * reads[k, MATCHED], 2):
                place += tiles[row, reads[k, m]] * reads[k, m + 1]
            if tokens[place, 1] == count:
                value = tokens[place, 0]
                if value > start:
                    start = value
                    cause = reads[k, CAUSE]
                elif track and value == start and cause >= 0 and reads[k, CAUSE] != cause:
                    totals[n_tasks + n_waits + 1] += 1
        end = start + tasks[t, OCCUPANCY]
        free[server] = end
        totals[t] += 1
        if cause >= 0:
            totals[n_tasks + N_CAUSES * server + cause] += start - was_free
        if track:
            totals[n_tasks + n_waits] += start
            clock[WORK] += 1
        for k in range(tasks[t, OUT_FROM], tasks[t, OUT_TO]):
            if at_last & writes[k, ONLY] != writes[k, ONLY]:
                continue
            count = tiles[row, writes[k, LOOP]]
            place = writes[k, BASE] + (count & writes[k, MASK]) * writes[k, SIZE]
            for m in range(EDGE_COLUMNS, EDGE_COLUMNS + 2 * writes[k, MATCHED], 2):
                place += tiles[row, writes[k, m]] * writes[k, m + 1]
            if track:
                if clock[PROBES] > 0:
                    remember(tokens, stamps, place, undo, undone, marks, levels)
                stamps[place] = index
            tokens[place, 0] = end + writes[k, SHIFT]
            tokens[place, 1] = count
        if recorded < kept.shape[0]:
            kept[recorded, 0] = t
            kept[recorded, 1] = start
            kept[recorded, 2] = end
            for level in range(depth):
                kept[recorded, 3 + level] = tiles[row, depth + 1 + level]
            recorded += 1
    return recorded
