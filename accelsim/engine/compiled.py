"""The compiled engine: the same integers as the reference, tens of millions of tasks a second."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from accelsim.engine.jit import compiled_code
from accelsim.engine.kernel import ENDED, EPOCH, RECORDED, TILES, next_tile, run_epoch
from accelsim.engine.merge import merge
from accelsim.engine.pack import Int, Records, pack
from accelsim.engine.workspace import Workspace, run_phases
from accelsim.program import Phase, Program
from accelsim.results import Execution, PhaseExecution

SLICE = 2_000_000
"""Epochs between two calls of `progress`."""

NOTHING = np.zeros(0, np.int64)
NOTHING_2 = np.zeros((0, 0), np.int64)
NOTHING_3 = np.zeros((0, 0, 0), np.int64)


def run(
    program: Program,
    record: int | None = 0,
    progress: Callable[[float], None] | None = None,
) -> Execution:
    """Run a program. record: instances kept per phase (None: all). progress: share done."""
    return run_phases("compiled", program, record, progress, _run_phase)


def _run_phase(
    program: Program,
    phase: Phase,
    begin: int,
    record: int | None,
    report: Callable[[float], None],
) -> PhaseExecution:
    merged = merge(phase)
    phase = merged.phase
    packed = pack(phase, sparse=True)
    work = Workspace.make(program, phase, packed, begin, record)
    nothing = (NOTHING, NOTHING_3, NOTHING, NOTHING_2, NOTHING_2)
    everything: list[Any] = [*packed.arrays, *work.arrays, *nothing, SLICE]
    while not _advance(*everything):
        report(work.share(phase))
    report(1.0)
    done = work.finish(program, packed, begin)
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
    epochs: int,
) -> bool:
    """Run up to `epochs` epochs from where `clock` stands; whether the phase has ended.

    Array layouts: pack.py, kernel.py. The last five are what only `steady` uses, empty here.
    """
    deepest = 0
    for t in range(tasks.shape[0]):
        deepest = max(deepest, tasks[t].lag)
    epoch = clock[EPOCH]
    made = clock[TILES]
    ended = clock[ENDED]
    recorded = clock[RECORDED]
    stop = epoch + epochs
    while epoch < stop and (ended == 0 or epoch < made + deepest):
        if ended == 0:
            if next_tile(loops, offsets, runs, tiles, state, made) < 0:
                ended = 1
                if epoch >= made + deepest:
                    break
            else:
                made += 1
        recorded = run_epoch(
            tasks, reads, writes, strides, tokens, tiles, free, totals, kept, epoch, made, recorded,
            0, stamps, clock, undo, undone, marks, levels,
        )  # fmt: skip
        epoch += 1
    clock[EPOCH] = epoch
    clock[TILES] = made
    clock[ENDED] = ended
    clock[RECORDED] = recorded
    return bool(ended == 1 and epoch >= made + deepest)
