"""One structure, many rows of durations and trip counts: what sweeps of a Program need.

Packing, and the arrays that the engine works in, are made once; a row costs its simulation only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.engine import steady
from accelsim.engine.kernel import N_CAUSES, SERIAL
from accelsim.engine.merge import merge
from accelsim.engine.pack import NEVER, Int, pack
from accelsim.engine.skipping import Skipping
from accelsim.engine.workspace import Workspace
from accelsim.errors import AccelsimError
from accelsim.program import Program


@dataclass(frozen=True)
class Batch:
    """N rows; T tasks and S servers. ticks [N]: ends. executed [N, T]. busy [N, S].

    waits [N, S, 4]: by cause (program.CAUSES).
    """

    ticks: Int
    executed: Int
    busy: Int
    waits: Int


def batch(program: Program, occupancies: Any, trips: Any = None) -> Batch:
    """Run a program of one phase for every row.

    occupancies: [N, T] ticks of each task. trips: [N, L] of each loop, at most those of the
    program, or None for those. Raises AccelsimError when shapes or values do not fit.
    """
    if len(program.phases) != 1:
        raise AccelsimError(f"batch: expected one phase, {program.name} has {len(program.phases)}")
    phase = program.phases[0]
    rows = np.ascontiguousarray(occupancies, np.int64)
    limits = np.array([loop.trips for loop in phase.loops], np.int64)
    lengths = np.broadcast_to(limits, (len(rows), len(limits))) if trips is None else trips
    lengths = np.ascontiguousarray(lengths, np.int64)
    if rows.ndim != 2 or rows.shape[1] != len(phase.tasks) or (rows < 0).any():
        message = f"occupancies of 0 or more for {len(phase.tasks)} tasks in every row"
        raise AccelsimError(f"batch: expected {message}, got shape {rows.shape}")
    if lengths.shape != (len(rows), len(limits)) or (lengths < 1).any() or (lengths > limits).any():
        message = f"trips from 1 to {limits.tolist()} in {len(rows)} rows"
        raise AccelsimError(f"batch: expected {message}, got shape {lengths.shape}")

    if any(loop.rows for loop in phase.loops) and (lengths != limits).any():
        raise AccelsimError(f"batch: {program.name} lists what its loops visit; trips are fixed")
    if trips is None:  # loops of one length each can be one loop
        phase = merge(phase).phase
        limits = np.array([loop.trips for loop in phase.loops], np.int64)
        lengths = np.broadcast_to(limits, (len(rows), len(limits)))
    packed = pack(phase)
    work = Workspace.make(program, phase, packed, 0, 0)
    skip = Skipping.make(phase, packed, work)
    stamps, levels = skip.arrays[0], skip.levels.copy()
    servers = len(program.servers)
    out = Batch(
        ticks=np.zeros(len(rows), np.int64),
        executed=np.zeros((len(rows), len(phase.tasks)), np.int64),
        busy=np.zeros((len(rows), servers), np.int64),
        waits=np.zeros((len(rows), servers, N_CAUSES), np.int64),
    )
    advance: Any = steady._advance
    everything: list[Any] = [*packed.arrays, *work.arrays, *skip.arrays, packed.deepest, True]
    for n, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        packed.tasks.occupancy[:] = row
        packed.loops[:, 0] = length
        packed.tokens.tag[:] = NEVER
        stamps[:] = -1
        levels[:, SERIAL] = skip.levels[:, SERIAL]  # runs on: marks of the row before are not ours
        skip.levels[:] = levels
        for array in (work.clock, work.free, work.state, work.totals):
            array[:] = 0
        while not advance(*everything, steady.SLICE):
            pass
        done = work.finish(program, packed, 0)
        out.ticks[n], out.executed[n] = done.end, done.executed
        out.busy[n], out.waits[n] = done.busy, done.waits
    return out
