"""One epoch of a phase in compiled code: the same lines for every fast engine.

These functions are inlined where they are used (numba copies their bodies), so that an engine is
one loop without calls. `track` is a constant there: what is under `if track` costs the compiled
engine nothing.

Arrays: see pack.py for tasks, reads, writes, tokens, loops, runs. tiles [ring, 3L+3] holds the
tiles still in the pipeline. state [11, L]: see below.
totals [T + 4S + 2]: instances per task, waits per server and cause, and what `steady` adds up.
kept [N, 3+L]: task, start, end, coordinates of recorded instances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from accelsim.engine.jit import compiled_code
from accelsim.engine.pack import Int, Records
from accelsim.program import MOST_MARKS

# Rows of `state`. BEGIN, END: of the present run of coordinates; RUN, LAST_RUN: which of `runs` it
# is, and which is the last of this row; STEP: iterations since the loop was entered; ROW_END: one
# past its last coordinate.
# FIRSTS, LASTS, MARKED: bits of a tile from this loop and those around it.
COORDINATE, BEGIN, END, COUNT, STEP, RUN, LAST_RUN, ROW_END, FIRSTS, LASTS, MARKED = range(11)
STATE = 11
# Places of `clock`: next epoch, tiles made, whether the loops have ended, instances recorded,
# instances really executed (never taken back), number of active probes.
EPOCH, TILES, ENDED, RECORDED, WORK, PROBES = range(6)
CLOCK = 6
N_CAUSES = 4


@njit(inline="always")
def at(index: int) -> Any:
    """An index that is never negative: nothing to wrap around (a quarter of the time)."""
    return np.uint64(index)


@njit(inline="always")
def ends(level: int, state: Int) -> bool:
    """Whether a loop stands at the last coordinate of its row."""
    loop = at(level)
    return bool(
        state[COORDINATE, loop] + 1 == state[END, loop]
        and state[RUN, loop] == state[LAST_RUN, loop]
    )


@njit(inline="always")
def next_tile(loops: Int, offsets: Int, runs: Int, tiles: Int, state: Int, made: int) -> int:
    """Make tile `made`. The outermost loop entered anew (depth: none was), or -1 at the end."""
    depth = loops.shape[0]
    entered = 0
    if made > 0:
        level = depth - 1
        while level >= 0 and ends(level, state):
            level -= 1
        entered = level + 1
        if level >= 0:
            state[COORDINATE, level] += 1
            if state[COORDINATE, level] == state[END, level]:
                state[RUN, level] += 1
                run = state[RUN, level]
                state[COORDINATE, level] = state[BEGIN, level] = runs[run, 0]
                state[END, level] = runs[run, 0] + runs[run, 1]
            state[COUNT, level] += 1
            state[STEP, level] += 1
        else:
            entered = -1
    if entered >= 0:
        for level in range(entered, depth):
            state[STEP, level] = 0
            if made > 0:
                state[COUNT, level] += 1
            row = loops[level, 1]
            if row < 0:
                state[COORDINATE, level] = state[BEGIN, level] = 0
                state[END, level] = state[ROW_END, level] = loops[level, 0]
                continue
            for outer in range(level):
                row += loops[level, 2 + outer] * state[COORDINATE, outer]
            run, last = offsets[row], offsets[row + 1] - 1
            state[RUN, level], state[LAST_RUN, level] = run, last
            state[COORDINATE, level] = state[BEGIN, level] = runs[run, 0]
            state[END, level] = runs[run, 0] + runs[run, 1]
            state[ROW_END, level] = runs[last, 0] + runs[last, 1]
        changed = max(entered - 1, 0)
        first = last = marks = 0
        if changed > 0:
            first, last = state[FIRSTS, changed - 1], state[LASTS, changed - 1]
            marks = state[MARKED, changed - 1]
        for level in range(changed, depth):
            first |= (state[STEP, level] == 0) << level
            last |= ends(level, state) << level
            if loops[level, 1] >= 0:
                marks |= runs[state[RUN, level], 2]
            state[FIRSTS, level], state[LASTS, level], state[MARKED, level] = first, last, marks
        tile = at(made & tiles.shape[0] - 1)
        for level in range(depth):
            tiles[tile, at(level)] = state[COUNT, level]
            tiles[tile, at(depth + 1 + level)] = state[COORDINATE, level]
            tiles[tile, at(2 * depth + 1 + level)] = state[STEP, level]
        tiles[tile, at(3 * depth + 1)] = first | marks << depth
        tiles[tile, at(3 * depth + 2)] = last | ((1 << MOST_MARKS) - 1 & ~marks) << depth
    return entered


@njit(inline="always")
def fires(task: Any, at_first: int, at_last: int) -> bool:
    """Whether the guard of a task holds at a tile with these bits (one per loop)."""
    other, end = task.not_first, task.not_last
    return (
        (at_first & task.first) == task.first
        and (at_last & task.last) == task.last
        and not (other != 0 and (at_first & other) == other)
        and not (end != 0 and (at_last & end) == end)
    )


# Columns of `levels` (extrapolate.py) that taking a probe back needs.
PROBING, SERIAL = 7, 13


@compiled_code
def remember(
    tokens: Records, stamps: Int, place: int, undo: Int, undone: Int, marks: Int, levels: Int
) -> None:
    """Note a token before its first change in each active probe."""
    for level in range(levels.shape[0]):
        if levels[level, PROBING] and marks[level, place] != levels[level, SERIAL]:
            marks[level, place] = levels[level, SERIAL]
            free = undone[level]
            undo[level, free, 0] = place
            undo[level, free, 1] = tokens[place].value
            undo[level, free, 2] = tokens[place].tag
            undo[level, free, 3] = stamps[place]
            undone[level] = free + 1


@njit(inline="always")
def run_epoch(
    tasks: Records,
    reads: Records,
    writes: Records,
    strides: Records,
    tokens: Records,
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
    starts = ties = ran = 0
    probed = track and clock[PROBES] > 0
    for t in range(n_tasks):
        task = tasks[at(t)]
        index = epoch - task.lag
        if index < 0 or index >= made:
            continue
        row = at(index & ring)
        at_first, at_last = tiles[row, at(3 * depth + 1)], tiles[row, at(3 * depth + 2)]
        if task.guarded and not fires(task, at_first, at_last):
            continue
        server = at(task.server)
        was_free = free[server]
        start = was_free
        cause = -1
        for k in range(task.in_from, task.in_to):
            read = reads[at(k)]
            if read.sometimes:
                if at_first & read.only != read.only:
                    continue
                if tiles[row, at(2 * depth + 1 + read.loop)] < read.reset:
                    continue
            count = tiles[row, at(read.loop)] - read.shift
            place = read.base + (count & read.mask) * read.size
            for m in range(read.strides_from, read.strides_to):
                place += tiles[row, at(strides[at(m)].column)] * strides[at(m)].stride
            token = tokens[at(place)]
            if token.tag == count:
                value = token.value
                if value > start:
                    start = value
                    cause = read.cause
                elif track and value == start and cause >= 0 and read.cause != cause:
                    ties += 1
        end = start + task.occupancy
        free[server] = end
        totals[at(t)] += 1
        if cause >= 0:
            totals[at(n_tasks + N_CAUSES * task.server + cause)] += start - was_free
        if track:
            starts += start
            ran += 1
        for k in range(task.out_from, task.out_to):
            write = writes[at(k)]
            if at_last & write.only != write.only:
                continue
            count = tiles[row, at(write.loop)]
            place = write.base + (count & write.mask) * write.size
            for m in range(write.strides_from, write.strides_to):
                place += tiles[row, at(strides[at(m)].column)] * strides[at(m)].stride
            if track:
                if probed:
                    remember(tokens, stamps, place, undo, undone, marks, levels)
                stamps[place] = index
            token = tokens[at(place)]
            token.value = end + write.shift
            token.tag = count
        if recorded < kept.shape[0]:
            kept[recorded, 0] = t
            kept[recorded, 1] = start
            kept[recorded, 2] = end
            for level in range(depth):
                kept[recorded, 3 + level] = tiles[row, depth + 1 + level]
            recorded += 1
    if track:
        totals[n_tasks + n_waits] += starts
        totals[n_tasks + n_waits + 1] += ties
        clock[WORK] += ran
    return recorded
