"""The steady engine: the compiled engine plus exact extrapolation at every loop level.

Its cost does not grow with trip counts once a loop repeats itself; every instance that it does
execute has the times that the other engines give it, and counts, busy times and waits are those of
the whole run. extrapolate.py has the rules; here is when they are applied. Launches are another
matter: coarse.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from numba import njit

from accelsim.engine.extrapolate import (
    COMPONENTS,
    FAILED,
    FAILURES,
    FROM,
    HISTORY,
    JUMP,
    LAST_PERIOD,
    LIMIT,
    NO_PERIOD,
    PERIOD,
    PERIODS,
    PROBE_AT,
    PROBE_END,
    RAN,
    REACHED,
    RESUME,
    S_AT,
    S_FIRST,
    S_MANY,
    S_PLACE,
    S_TAG,
    SEEN,
    SETTLED,
    SHORT,
    SKIPPED,
    SNAPSHOTS,
    SPANS,
    TO,
    TRANSIENT,
    UNEVEN,
    UNSETTLED,
    components,
    enter,
    excess,
    fill,
    move,
    on_a_line,
    repeats,
    settled,
    snapshot,
    window,
)
from accelsim.engine.jit import compiled_code
from accelsim.engine.kernel import (
    BEGIN,
    COORDINATE,
    ENDED,
    EPOCH,
    N_CAUSES,
    PROBES,
    PROBING,
    RECORDED,
    SERIAL,
    TILES,
    ends,
    next_tile,
    remember,
    run_epoch,
)
from accelsim.engine.kernel import END as STOP
from accelsim.engine.merge import merge
from accelsim.engine.pack import NEVER, Int, Records, pack
from accelsim.engine.skipping import WORTH_IT, Skipping
from accelsim.engine.workspace import Workspace, run_phases
from accelsim.program import Phase, Program
from accelsim.results import Execution, PhaseExecution

SLICE = 1_000_000
"""Epochs between two calls of `progress`."""


def run(
    program: Program,
    record: int | None = 0,
    progress: Callable[[float], None] | None = None,
) -> Execution:
    """Run a program. record: instances kept per phase, progress: share done.

    The first `record` instances are kept without a gap: skipping starts behind them. None keeps
    every instance that is executed while skipping.
    """
    return run_phases("steady", program, record, progress, _run_phase)


def _run_phase(
    program: Program,
    phase: Phase,
    begin: int,
    record: int | None,
    report: Callable[[float], None],
) -> PhaseExecution:
    merged = merge(phase)
    phase = merged.phase
    packed = pack(phase)
    work = Workspace.make(program, phase, packed, begin, record)
    skip = Skipping.make(phase, packed, work)
    hold = record is not None
    arrays = (*packed.arrays, *work.arrays, *skip.arrays)
    everything: list[Any] = [*arrays, packed.deepest, hold, SLICE]
    while not _advance(*everything):
        report(work.share(phase))
    report(1.0)
    done = work.finish(program, packed, begin, skip.report(phase, work))
    return dataclasses.replace(done, record=merged.restore(done.record))


@compiled_code
def _advance(
    tasks: Records,
    reads: Records,
    writes: Records,
    strides: Records,
    tokens: Records,
    loops: Int,
    offsets: Int,
    runs: Int,
    tiles: Int,
    state: Int,
    clock: Int,
    free: Int,
    totals: Int,
    kept: Int,
    stamps: Int,
    undo: Int,
    undone: Int,
    marks: Int,
    levels: Int,
    edges: Int,
    inner: Int,
    used: Int,
    slot_of: Int,
    spans: Int,
    history: Int,
    saved_free: Int,
    saved_tiles: Int,
    saved_state: Int,
    saved_totals: Int,
    saved_clock: Int,
    depends: Int,
    until: Int,
    deepest: int,
    hold: bool,
    epochs: int,
) -> bool:
    """Run up to `epochs` epochs from where `clock` stands; whether the phase has ended."""
    depth = loops.shape[0]
    ran = 0
    while ran < epochs:
        ran += 1
        if clock[ENDED] == 0:
            made = clock[TILES]
            entered = next_tile(loops, offsets, runs, tiles, state, made)
            if entered < 0:
                clock[ENDED] = 1
            else:
                made += 1
                clock[TILES] = made
                for level in range(max(entered - 1, 0), depth):
                    if level >= entered:
                        enter(level, made, levels)
                    if level >= entered or state[COORDINATE, level] >= levels[level, TO]:
                        window(level, state, levels, depends, until)
                    if (
                        levels[level, REACHED] < 0
                        and state[COORDINATE, level] >= levels[level, FROM]
                    ):
                        levels[level, REACHED] = made - 1
        if clock[ENDED] == 1 and clock[EPOCH] >= clock[TILES] + deepest:
            return True
        recorded = run_epoch(
            tasks, reads, writes, strides, tokens, tiles, free, totals, kept, clock[EPOCH],
            clock[TILES], clock[RECORDED], 1, stamps, clock, undo, undone, marks, levels,
        )  # fmt: skip
        clock[RECORDED] = recorded
        clock[EPOCH] += 1
        if clock[ENDED] == 1 or (hold and recorded < kept.shape[0]):
            continue
        # Which loops end an iteration with this tile; a jump may make it the last of its run.
        level = depth - 1
        while level >= 0:
            levels[level, RAN] += 1
            if state[STOP, level] - state[BEGIN, level] >= WORTH_IT:
                _at_end(
                    level, tasks, tokens, tiles, state, clock, free, totals, stamps, undo, undone,
                    marks, levels, edges, inner, used, slot_of, spans, history, saved_free,
                    saved_tiles, saved_state, saved_totals, saved_clock, deepest,
                )  # fmt: skip
            if not ends(level, state):
                break
            level -= 1
    return False


@compiled_code
def _at_end(
    level: int,
    tasks: Records,
    tokens: Records,
    tiles: Int,
    state: Int,
    clock: Int,
    free: Int,
    totals: Int,
    stamps: Int,
    undo: Int,
    undone: Int,
    marks: Int,
    levels: Int,
    edges: Int,
    inner: Int,
    used: Int,
    slot_of: Int,
    spans: Int,
    history: Int,
    saved_free: Int,
    saved_tiles: Int,
    saved_state: Int,
    saved_totals: Int,
    saved_clock: Int,
    deepest: int,
) -> None:
    """At the end of an iteration of a loop: finish a probe, or look for something to skip."""
    n, many = levels[level, COMPONENTS], levels[level, SPANS]
    n_state = n + used.shape[0]
    n_totals = totals.shape[0]
    n_tasks = n_totals - 2 - N_CAUSES * free.shape[0]
    width = n_state + n_totals
    rows = levels[level, HISTORY]
    extra = rows + SNAPSHOTS * width
    point = history[extra : extra + n_state]
    slope = history[extra + width : extra + width + n_state]
    form = history[extra + 2 * width : extra + 2 * width + n_state]
    each = history[extra + 3 * width : extra + 3 * width + n_totals]
    grows = history[extra + 3 * width + n_totals : extra + 3 * width + 2 * n_totals]
    here = state[COORDINATE, level]
    made = clock[TILES]
    if levels[level, PROBING]:
        if here != levels[level, PROBE_END]:
            return
        jump, period = levels[level, JUMP], levels[level, PERIOD]
        components(level, edges, inner, state, levels, spans)
        shorter = excess(n, many, jump, spans, tokens, stamps, free, used, point, slope, form)
        if shorter < 0:
            # All ends on the line. So is all between, if the sum of all start times is too (each
            # is convex): then waits are, and what must be added for skipped periods is known.
            for i in range(n_totals):
                if totals[i] - saved_totals[level, i] != each[i] + jump * grows[i]:
                    shorter = jump // 2
        if shorter < 0:
            levels[level, PROBING] = 0
            clock[PROBES] -= 1
            for i in range(n_totals):
                totals[i] += (jump - 1) * each[i] + (jump - 1) * jump // 2 * grows[i]
            fill(
                level, levels[level, PROBE_AT], here, period, jump - 1, NEVER, tasks, edges, inner,
                tokens, stamps, tiles, state, clock, undo, undone, marks, levels,
            )  # fmt: skip
            _note_jump(level, jump - 1, period, levels[level, PROBE_AT], state, levels)
            return
        # Take the probe back.
        levels[level, FAILED] += 1
        levels[level, FAILURES] += 1
        for i in range(undone[level]):
            place = undo[level, i, 0]
            tokens[place].value = undo[level, i, 1]
            tokens[place].tag = undo[level, i, 2]
            stamps[place] = undo[level, i, 3]
        free[:] = saved_free[level]
        tiles[:] = saved_tiles[level]
        state[:] = saved_state[level]
        totals[:] = saved_totals[level]
        for i in (EPOCH, TILES, RECORDED):
            clock[i] = saved_clock[level, i]
        if levels[level, FAILURES] > 2:
            shorter = min(shorter, jump // 2)
        shorter = min(shorter, jump - 1)
        if shorter < _least(period, deepest):
            levels[level, PROBING] = 0
            clock[PROBES] -= 1
            # Where rates drift slowly every probe of a long loop may fail: ask ever less often.
            gone = state[COORDINATE, level] - state[BEGIN, level]
            levels[level, RESUME] = state[COORDINATE, level] + 2 * period + gone // 2
            levels[level, SEEN] = 0
            return
        _leap(
            level, shorter, n, width, tokens, tiles, state, clock, free, stamps, undo, undone,
            marks, levels, edges, inner, used, spans, history, point, slope, deepest,
        )  # fmt: skip
        return

    left = levels[level, TO] - 1 - here
    if left < 1:
        levels[level, SHORT] += 1
        return
    if levels[level, REACHED] < 0 or made - deepest < levels[level, REACHED]:
        levels[level, UNEVEN] += 1
        return
    if here < levels[level, RESUME]:
        return
    if not levels[level, SETTLED]:
        if not settled(level, edges, inner, tokens, stamps, state, free, levels):
            levels[level, UNSETTLED] += 1
            return
        levels[level, SETTLED] = 1
    components(level, edges, inner, state, levels, spans)
    seen = levels[level, SEEN]
    at = rows + seen % SNAPSHOTS * width
    now = history[at : at + width]
    snapshot(now, n, many, spans, tokens, stamps, free, used, totals)
    levels[level, SEEN] = seen + 1
    for period in range(1, PERIODS + 1):
        jump = left // period
        if seen < period or jump < 1:
            break
        at = rows + (seen - period) % SNAPSHOTS * width
        past = history[at : at + width]
        if repeats(n, many, now, past, spans, used, slot_of):
            shift = now[n] - past[n]
            fill(
                level, here, here, period, jump, shift, tasks, edges, inner, tokens, stamps,
                tiles, state, clock, undo, undone, marks, levels,
            )  # fmt: skip
            move(level, jump * period, made, deepest, tiles, state)
            components(level, edges, inner, state, levels, spans)
            point[:] = now[:n_state]
            slope[:] = shift
            _put(
                level, jump, n, now, point, slope, made, tokens, free, stamps, undo, undone, marks,
                levels, used, spans, clock[PROBES],
            )  # fmt: skip
            count = 0
            for i in range(n_totals):
                change = now[n_state + i] - past[n_state + i]
                totals[i] += jump * change
                if i < n_tasks:
                    count += change
            totals[n_totals - 2] += jump * (jump + 1) // 2 * (count * shift)
            _note_jump(level, jump, period, here, state, levels)
            return
        if seen < 2 * period or jump < _least(period, deepest):
            continue
        at = rows + (seen - 2 * period) % SNAPSHOTS * width
        older = history[at : at + width]
        if on_a_line(n, many, now, past, older, spans, used, slot_of, point, slope, form):
            steepest = 1
            for i in range(n_state):
                steepest = max(steepest, abs(slope[i]))
            jump = min(jump, LIMIT // 4 // steepest)
            for i in range(n_totals):
                each[i] = now[n_state + i] - past[n_state + i]
                grows[i] = each[i] - (past[n_state + i] - older[n_state + i])
            if grows[n_totals - 1] != 0 or jump < _least(period, deepest):
                continue  # other ties: a cause may change, and the probe would fail
            saved_free[level] = free
            saved_tiles[level] = tiles
            saved_state[level] = state
            saved_totals[level] = totals
            saved_clock[level] = clock
            levels[level, PROBING] = 1
            levels[level, PROBE_AT] = here
            levels[level, PERIOD] = period
            levels[level, FAILURES] = 0
            clock[PROBES] += 1
            _leap(
                level, jump, n, width, tokens, tiles, state, clock, free, stamps, undo, undone,
                marks, levels, edges, inner, used, spans, history, point, slope, deepest,
            )  # fmt: skip
            return
    levels[level, NO_PERIOD] += 1


@njit(inline="always")
def _least(period: int, deepest: int) -> int:
    """Shortest jump worth a probe: what is put behind it must not lie on what it goes out from."""
    return 2 + (deepest - 1) // period if deepest > 0 else 2


@compiled_code
def _leap(
    level: int,
    jump: int,
    n: int,
    width: int,
    tokens: Records,
    tiles: Int,
    state: Int,
    clock: Int,
    free: Int,
    stamps: Int,
    undo: Int,
    undone: Int,
    marks: Int,
    levels: Int,
    edges: Int,
    inner: Int,
    used: Int,
    spans: Int,
    history: Int,
    point: Int,
    slope: Int,
    deepest: int,
) -> None:
    """Go to one period before the end of a jump, from where the loop stands, to run that one."""
    levels[level, SERIAL] += 1
    undone[level] = 0
    levels[level, JUMP] = jump
    levels[level, PROBE_END] = levels[level, PROBE_AT] + jump * levels[level, PERIOD]
    at = levels[level, HISTORY] + (levels[level, SEEN] - 1) % SNAPSHOTS * width
    move(level, (jump - 1) * levels[level, PERIOD], clock[TILES], deepest, tiles, state)
    components(level, edges, inner, state, levels, spans)
    _put(
        level, jump - 1, n, history[at : at + width], point, slope, clock[TILES], tokens, free,
        stamps, undo, undone, marks, levels, used, spans, clock[PROBES],
    )  # fmt: skip


@compiled_code
def _put(
    level: int,
    times: int,
    n: int,
    now: Int,
    point: Int,
    slope: Int,
    made: int,
    tokens: Records,
    free: Int,
    stamps: Int,
    undo: Int,
    undone: Int,
    marks: Int,
    levels: Int,
    used: Int,
    spans: Int,
    probes: int,
) -> None:
    """Set the state of a loop to point + times * slope. now: which tokens there are."""
    for s in range(levels[level, SPANS]):
        for q in range(spans[s, S_MANY]):
            i, place = spans[s, S_AT] + q, spans[s, S_PLACE] + q
            if now[i] == NEVER:
                continue
            if probes > 0:
                remember(tokens, stamps, place, undo, undone, marks, levels)
            tokens[place].value = point[i] + times * slope[i]
            tokens[place].tag = spans[s, S_TAG]
            stamps[place] = max(stamps[place], spans[s, S_FIRST])
    for s in range(used.shape[0]):
        free[used[s]] = point[n + s] + times * slope[n + s]


@compiled_code
def _note_jump(level: int, jump: int, period: int, at: int, state: Int, levels: Int) -> None:
    """Forget the history of a loop, and count the jump."""
    if levels[level, SEEN] > 0 and levels[level, TRANSIENT] < at + 1 - state[BEGIN, level]:
        levels[level, TRANSIENT] = at + 1 - state[BEGIN, level]
    levels[level, SEEN] = 0
    levels[level, SKIPPED] += jump * period
    levels[level, LAST_PERIOD] = period
