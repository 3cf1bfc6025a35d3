"""One structure, many rows of durations and trip counts: what sweeps of a Program need.

Packing, and the arrays that the engine works in, are made once; a row costs its simulation only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from accelsim.engine import steady
from accelsim.engine.jit import compiled_code
from accelsim.engine.kernel import N_CAUSES, SERIAL
from accelsim.engine.merge import merge
from accelsim.engine.pack import NEVER, Int, Records, pack
from accelsim.engine.skipping import Skipping
from accelsim.engine.workspace import Workspace
from accelsim.errors import AccelsimError
from accelsim.program import Phase, Program

advance: Any = steady._advance


@dataclass(frozen=True)
class Batch:
    """N rows; T tasks and S servers. ticks [N]: ends. executed [N, T]. busy [N, S].

    waits [N, S, 4]: by cause (program.CAUSES). tail [N, S]: from a server's last end to the end.
    """

    ticks: Int
    executed: Int
    busy: Int
    waits: Int
    tail: Int


def batch(program: Program, occupancies: Any, trips: Any = None, latencies: Any = None) -> Batch:
    """Run a program of one phase for every row.

    occupancies: [N, T] ticks of each task. trips: [N, L] of each loop; latencies: [N, E] ticks of
    each edge; None for those of the program. Raises AccelsimError when shapes or values do not fit,
    or where a loop lists what it visits and its trips are not the program's.
    """
    if len(program.phases) != 1:
        raise AccelsimError(f"batch: expected one phase, {program.name} has {len(program.phases)}")
    phase = program.phases[0]
    rows = _matrix("occupancies", occupancies, 0, "task", [t.occupancy for t in phase.tasks])
    limits = [loop.trips for loop in phase.loops]
    lengths = _matrix("trips", trips, 1, "loop", limits, len(rows))
    late = _matrix("latencies", latencies, 0, "edge", [e.latency for e in phase.edges], len(rows))
    if any(loop.rows for loop in phase.loops) and (lengths != limits).any():
        raise AccelsimError(f"batch: {program.name} lists what its loops visit; trips are fixed")
    servers = len(program.servers)
    out = Batch(
        ticks=np.zeros(len(rows), np.int64),
        executed=np.zeros((len(rows), len(phase.tasks)), np.int64),
        busy=np.zeros((len(rows), servers), np.int64),
        waits=np.zeros((len(rows), servers, N_CAUSES), np.int64),
        tail=np.zeros((len(rows), servers), np.int64),
    )
    # Rows that keep equally many tiles apart share the places of tokens.
    apart = sorted({loop for edge in phase.edges for loop in edge.matched})
    alike, which = np.unique(lengths[:, apart], axis=0, return_inverse=True)
    for number in range(len(alike)):
        own = np.flatnonzero(which.reshape(-1) == number)
        _run(program, phase, own, rows, lengths, late, out)
    return out


def _matrix(
    what: str, given: Any, least: int, each: str, own: Sequence[int], number: int = 1
) -> Int:
    """Rows of numbers, one for each task (loop, edge)."""
    if given is None:
        return np.broadcast_to(np.array(own, np.int64), (number, len(own)))
    found = np.ascontiguousarray(given, np.int64)
    right = found.ndim == 2 and found.shape[1] == len(own) and number in (1, len(found))
    if not right or (found < least).any():
        message = f"expected {what} of {least} or more for {len(own)} {each}s in every row"
        raise AccelsimError(f"batch: {message}, got shape {found.shape}")
    return found


def _run(
    program: Program, phase: Phase, own: Int, rows: Int, lengths: Int, late: Int, out: Batch
) -> None:
    """Rows `own`, in which edges match loops of the same length."""
    most = lengths[own].max(axis=0).tolist()
    loops = tuple(
        dataclasses.replace(loop, trips=trips) if loop.rows is None else loop
        for loop, trips in zip(phase.loops, most, strict=True)
    )
    latest = late[own].max(axis=0).tolist()
    edges = tuple(
        dataclasses.replace(edge, latency=latency)
        for edge, latency in zip(phase.edges, latest, strict=True)
    )
    merged = merge(dataclasses.replace(phase, loops=loops, edges=edges))
    trips = np.empty((len(own), len(merged.groups)), np.int64)
    for column, group in enumerate(merged.groups):
        trips[:, column] = prod((lengths[own][:, loop] for loop in group), start=1)
    packed = pack(merged.phase)
    work = Workspace.make(program, merged.phase, packed, 0, 0)
    skip = Skipping.make(merged.phase, packed, work)
    place = {id(edge): number for number, edge in enumerate(merged.phase.edges)}
    of = [place[id(edge)] for edge in packed.edges]
    by_producer = sorted(range(len(of)), key=lambda i: (packed.edges[i].producer, i))
    shifts = np.ascontiguousarray(late[own][:, [of[i] for i in by_producer]])
    ticks, executed = np.zeros(len(own), np.int64), np.zeros((len(own), len(phase.tasks)), np.int64)
    waits = np.zeros((len(own), len(program.servers) * N_CAUSES), np.int64)
    tail = np.zeros((len(own), len(program.servers)), np.int64)
    _rows(
        *packed.arrays, *work.arrays, *skip.arrays, packed.deepest, steady.SLICE,
        np.ascontiguousarray(rows[own]), trips, shifts, ticks, executed, waits, tail,
    )  # fmt: skip
    out.ticks[own], out.executed[own], out.tail[own] = ticks, executed, tail
    out.waits[own] = waits.reshape(len(own), -1, N_CAUSES)
    busy = np.zeros((len(own), len(program.servers)), np.int64)
    for task, server in enumerate(packed.tasks.server.tolist()):
        busy[:, server] += executed[:, task] * rows[own, task]
    out.busy[own] = busy


@compiled_code
def _rows(
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
    epochs: int,
    occupancies: Int,
    trips: Int,
    latencies: Int,
    ticks: Int,
    executed: Int,
    waits: Int,
    tail: Int,
) -> None:
    """Run the phase with the durations and lengths of each row; fill the last four."""
    fresh = levels.copy()
    n_tasks = tasks.shape[0]
    for n in range(occupancies.shape[0]):
        for t in range(n_tasks):
            tasks[t].occupancy = occupancies[n, t]
        for level in range(loops.shape[0]):
            loops[level, 0] = trips[n, level]
            for column in range(levels.shape[1]):
                if column != SERIAL:  # runs on: marks of the row before are not ours
                    levels[level, column] = fresh[level, column]
        for k in range(writes.shape[0]):
            writes[k].shift = latencies[n, k]
        for k in range(tokens.shape[0]):
            tokens[k].tag = NEVER
            stamps[k] = -1
        clock[:] = 0
        free[:] = 0
        state[:] = 0
        totals[:] = 0
        while not advance(
            tasks, reads, writes, strides, tokens, loops, offsets, runs, tiles, state, clock, free,
            totals, kept, stamps, undo, undone, marks, levels, edges, inner, used, slot_of, spans,
            history, saved_free, saved_tiles, saved_state, saved_totals, saved_clock, depends,
            until, deepest, True, epochs,
        ):  # fmt: skip
            pass
        end = free.max()
        ticks[n] = end
        for t in range(n_tasks):
            executed[n, t] = totals[t]
        for i in range(waits.shape[1]):
            waits[n, i] = totals[n_tasks + i]
        for s in range(free.shape[0]):
            tail[n, s] = end - free[s]
