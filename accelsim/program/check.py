"""The invariants of a Program: what engines rely on and do not look at again."""

from __future__ import annotations

from math import prod

import numpy as np

from accelsim.program.program import (
    CAUSES,
    MOST_MARKS,
    ROOT,
    Edge,
    Guard,
    Phase,
    Program,
    Rows,
    Task,
)


def check(program: Program) -> None:
    """Raise AssertionError if a Program has no meaning."""
    assert program.ticks_per_cycle >= 1, "less than one tick per cycle"
    assert program.clock_hz > 0, "the clock stands still"
    assert program.servers, "no servers"
    for server in program.servers:
        assert server.instances >= 1, f"server {server.name}: no instances"
    for phase in program.phases:
        assert phase.loops, f"phase {phase.name}: no loops"
        _check_loops(phase)
        for task in phase.tasks:
            _check_task(phase, task, len(program.servers))
        for number, edge in enumerate(phase.edges):
            _check_edge(phase, edge, f"phase {phase.name}, edge {number}")
        _check_reservations(phase)


def _check_loops(phase: Phase) -> None:
    for level, loop in enumerate(phase.loops):
        assert loop.trips >= 1, f"loop {loop.name}: no trips"
        if loop.rows is not None:
            _check_rows(phase, level, loop.rows)


def _check_rows(phase: Phase, level: int, rows: Rows) -> None:
    where = f"loop {phase.loops[level].name}"
    for outer in rows.loops:
        assert 0 <= outer < level, f"{where}: rows of loop {outer}, not outer"
    assert list(rows.loops) == sorted(set(rows.loops)), f"{where}: rows of loops out of order"
    number = prod(phase.loops[outer].trips for outer in rows.loops)
    assert len(rows.offsets) == number + 1, f"{where}: {len(rows.offsets) - 1} of {number} rows"
    assert rows.offsets[0] == 0, f"{where}: rows begin at {rows.offsets[0]}"
    assert rows.offsets[-1] == len(rows.runs), f"{where}: runs without a row"
    assert (np.diff(rows.offsets) > 0).all(), f"{where}: an empty row"
    assert (rows.runs[:, 1] > 0).all(), f"{where}: an empty run"
    ends = rows.runs[:, 0] + rows.runs[:, 1]
    assert (rows.runs[:, 0] >= 0).all(), f"{where}: coordinates below 0"
    assert (ends <= phase.loops[level].trips).all(), f"{where}: coordinates beyond its trips"
    follows = np.ones(len(rows.runs), np.bool_)
    follows[rows.offsets[:-1]] = False
    later = np.flatnonzero(follows)
    assert (rows.runs[later, 0] >= ends[later - 1]).all(), f"{where}: runs out of order"
    assert (rows.runs[:, 2] >> MOST_MARKS == 0).all(), f"{where}: more than {MOST_MARKS} marks"


def _check_task(phase: Phase, task: Task, servers: int) -> None:
    where = f"task {task.name}"
    assert 0 <= task.server < servers, f"{where}: no server {task.server}"
    assert task.occupancy >= 0, f"{where}: occupancy {task.occupancy}"
    assert task.lag >= 0, f"{where}: lag {task.lag}"
    assert 0 <= task.active <= 1, f"{where}: active {task.active}"
    _check_guard(phase, task.guard, where)


def _check_guard(phase: Phase, guard: Guard, where: str) -> None:
    for loop in (*guard.first, *guard.last, *guard.not_first, *guard.not_last):
        assert 0 <= loop < len(phase.loops), f"{where}: guard on loop {loop}, which is not there"
    for mark in (*guard.marked, *guard.unmarked):
        assert 0 <= mark < MOST_MARKS, f"{where}: guard on mark {mark}, of {MOST_MARKS}"


def _check_edge(phase: Phase, edge: Edge, where: str) -> None:
    for task in (edge.producer, edge.consumer):
        assert 0 <= task < len(phase.tasks), f"{where}: no task {task}"
    assert edge.loop == ROOT or 0 <= edge.loop < len(phase.loops), f"{where}: no loop {edge.loop}"
    for loop in edge.matched:
        assert edge.loop < loop < len(phase.loops), f"{where}: matched on loop {loop}, not inside"
    assert len(set(edge.matched)) == len(edge.matched), f"{where}: a loop matched twice"
    assert edge.distance >= 0, f"{where}: distance {edge.distance}"
    assert edge.latency >= 0, f"{where}: latency {edge.latency}"
    assert edge.cause in CAUSES, f"{where}: cause {edge.cause}"


def _check_reservations(phase: Phase) -> None:
    for held in phase.reservations:
        where = f"reservation of {held.tensor} in {held.level}"
        assert held.slots >= 0, f"{where}: {held.slots} slots"
        assert held.tile_bytes >= 0, f"{where}: {held.tile_bytes} bytes"
        for task in (*held.takes, *(task for task, _ in held.gives)):
            assert 0 <= task < len(phase.tasks), f"{where}: no task {task}"
        for _, guard in held.gives:
            _check_guard(phase, guard, where)
