"""Launched phases: the compiled engine against the reference, and both against the words."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from accelsim.engine import compiled, reference
from accelsim.mapping.nest import Identity
from accelsim.program import Guard, Loop, Phase, Program, Task, rows_of
from accelsim.program.check import check
from accelsim.program.launch import Channel, Launch, Memory, Moved
from accelsim.results import Execution, PhaseExecution
from tests.engine.test_engines_agree import assert_equal
from tests.launched_programs import DRAM, SERVERS, launched_programs
from tests.launches.drawn import built
from tests.shipped import LAUNCHED

EVERYTHING = settings(max_examples=800, derandomize=True, deadline=None, database=None)
SOME = settings(max_examples=100, derandomize=True, deadline=None, database=None)


def agree(program: Program) -> Execution:
    """Both engines, to the tick and to the byte."""
    expected, found = reference.run(program), compiled.run(program, None)
    assert_equal(expected, found)
    for one, other in zip(expected.phases, found.phases, strict=True):
        assert one.moves == other.moves
    return expected


@given(launched_programs())
@EVERYTHING
def test_reference_and_compiled_agree_on_every_task(drawn: Program) -> None:
    check(drawn)
    agree(drawn)


@given(launched_programs())
@SOME
def test_no_time_is_lost_or_found(drawn: Program) -> None:
    of_each = np.array([1 if server.shared else drawn.clusters for server in drawn.servers])
    for phase in reference.run(drawn).phases:
        total = phase.busy + phase.waits.sum(axis=1) + phase.tail
        np.testing.assert_array_equal(total, (phase.end - phase.begin) * of_each)
        assert (phase.waits >= 0).all()
        assert (phase.tail >= 0).all()


@given(launched_programs())
@SOME
def test_bytes_are_conserved(drawn: Program) -> None:
    """What a cache passes on of what is asked of it, and the channel's time for these bytes."""
    memory = drawn.memory
    assert memory is not None
    exact = dataclasses.replace(memory, outer=Channel(DRAM, Fraction(2)))
    run = compiled.run(dataclasses.replace(drawn, memory=exact, warm=False))
    for phase in run.phases:
        moves = phase.moves
        assert moves is not None
        asked = {tensor: read for tensor, (read, _) in moves.requested.items()}
        wrote = sum(wrote for _, wrote in moves.requested.values())
        if not moves.through_cache:
            assert phase.busy[DRAM] == 2 * (sum(asked.values()) + wrote)
            continue
        assert all(read <= asked[tensor] for tensor, read in moves.read.items())
        assert moves.written + moves.dirty <= wrote
        assert (moves.fabric > 0) <= (memory.partitions == 2)
        assert phase.busy[DRAM] == 2 * (sum(moves.read.values()) + moves.written)


def test_nobody_waits_for_what_leaves_the_cache() -> None:
    store = Task("store", "store", "Z", DRAM, 0, moved=0)
    tiles = Moved("Z", Identity((1,)), 0, 2, elements=4, word_bytes=Fraction(1))
    loops = (Loop("P", 1), Loop("M", 2))
    phase = Phase("only", loops, (store,), (), launch=Launch(1, 1), moved=(tiles,))
    memory = Memory(Channel(DRAM, Fraction(3)), capacity_bytes=4)
    run = agree(Program("out", Fraction(1), 1, SERVERS, (phase,), memory=memory)).phases[0]
    assert happened(run) == [(0, 0, 0, 0, 0), (0, 0, 0, 0, 1)]
    assert (run.end, run.busy[DRAM], run.tail[DRAM]) == (12, 12, 0)


def test_instances_without_tasks_are_over_when_they_begin() -> None:
    use = Task("use", "einsum", "Z", 0, 5, guard=Guard(marked=(0,)))
    rows = rows_of((), [[(0, 1, 0), (1, 1, 1), (2, 1, 0), (3, 1, 1)]])
    phase = Phase("only", (Loop("P", 4, rows),), (use,), (), launch=Launch(1, 1, start=2))
    memory = Memory(Channel(DRAM, Fraction(1)))
    run = agree(Program("few", Fraction(1), 1, SERVERS, (phase,), memory=memory)).phases[0]
    # Each takes 2 ticks of the unit to start; the first has no task.
    assert happened(run) == [(0, 4, 9, 1), (0, 13, 18, 3)]
    assert run.waits[0, 4] == 8


def plain(phase: Phase) -> tuple[Phase, Phase]:
    """One instance that has its cluster to itself, and the same as a phase that is not launched."""
    assert phase.launch is not None
    grid = phase.launch.grid
    loops = tuple(dataclasses.replace(loop, rows=None) for loop in phase.loops)
    loops = tuple(
        dataclasses.replace(loop, trips=1) if number < grid else loop
        for number, loop in enumerate(loops)
    )
    whole = tuple(
        dataclasses.replace(moved, word_bytes=Fraction(1), ends=(), server=None)
        for moved in phase.moved
    )
    tasks = tuple(dataclasses.replace(task, also=(), slows=()) for task in phase.tasks)
    timed = tuple(
        task
        if task.moved is None
        else dataclasses.replace(task, occupancy=2 * whole[task.moved].elements)
        for task in tasks
    )
    alone = Launch(grid, 1, in_order=False)
    launched = dataclasses.replace(phase, loops=loops, tasks=tasks, moved=whole, launch=alone)
    return launched, dataclasses.replace(launched, tasks=timed, moved=(), launch=None)


def happened(run: PhaseExecution) -> list[tuple[int, ...]]:
    record = run.record
    columns = zip(record.task, record.start, record.end, record.coordinates, strict=True)
    return sorted((int(t), int(a), int(b), *map(int, at)) for t, a, b, at in columns)


@given(launched_programs())
@SOME
def test_an_instance_alone_is_a_phase(drawn: Program) -> None:
    memory = Memory(Channel(DRAM, Fraction(2)), grain_bytes=1 << 20)
    launched, phase = plain(drawn.phases[0])
    # Where the next tile moves, records differ: they have the coordinates of what moves.
    launched = dataclasses.replace(
        launched, tasks=tuple(dataclasses.replace(task, next_of=None) for task in launched.tasks)
    )
    alone = dataclasses.replace(drawn, clusters=1, memory=memory, phases=(launched,))
    ordinary = reference.run(dataclasses.replace(alone, phases=(phase,))).phases[0]
    for engine in (reference, compiled):
        found = engine.run(alone, None).phases[0]
        assert happened(found) == happened(ordinary)
        assert found.end == ordinary.end
        for name in ("executed", "busy", "tail"):
            np.testing.assert_array_equal(getattr(found, name), getattr(ordinary, name), name)
        np.testing.assert_array_equal(found.waits[:, :4], ordinary.waits)
        assert not found.waits[:, 4:].any()


@pytest.mark.parametrize("name", LAUNCHED)
def test_shipped_mappings_agree(name: str) -> None:
    """Cold and warm, and with a cache so small that tiles leave it."""
    lowered = built(LAUNCHED[name])[1]
    memory = lowered.memory
    assert memory is not None
    largest = max(int(m.elements * m.word_bytes) for p in lowered.phases for m in p.moved)
    small = dataclasses.replace(memory, capacity_bytes=memory.partitions * 3 * largest)
    agree(dataclasses.replace(lowered, warm=True))
    agree(dataclasses.replace(lowered, memory=small, clusters=3))
