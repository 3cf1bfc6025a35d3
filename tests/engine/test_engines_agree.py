"""One meaning, several engines: the same integers for every task instance."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim import arch, cascade, engine, mapping, program, spec
from accelsim.engine import compiled, reference
from accelsim.errors import AccelsimError
from accelsim.program import Edge, Guard, Loop, Phase, Program, Server, Task
from accelsim.program.unroll import instances
from accelsim.results import Execution
from tests.launches.drawn import DRAWN, built, with_slots
from tests.shipped import MAPPINGS
from tests.strategies import programs

EVERYTHING = settings(max_examples=2000, derandomize=True, deadline=None, database=None)
SOME = settings(max_examples=150, derandomize=True, deadline=None, database=None)


def assert_equal(one: Execution, other: Execution) -> None:
    assert len(one.phases) == len(other.phases)
    for a, b in zip(one.phases, other.phases, strict=True):
        assert (a.begin, a.end) == (b.begin, b.end)
        for field in ("executed", "busy", "waits", "tail"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field), field)
        for field in ("task", "start", "end", "coordinates"):
            np.testing.assert_array_equal(getattr(a.record, field), getattr(b.record, field), field)
        assert a.record.truncated == b.record.truncated


@given(programs())
@EVERYTHING
def test_reference_and_compiled_agree_on_every_task(drawn: Program) -> None:
    assert_equal(reference.run(drawn), compiled.run(drawn, None))


@given(programs())
@SOME
def test_time_is_what_the_meaning_says(drawn: Program) -> None:
    """start = max(end of the server's previous instance, end + latency of each producer)."""
    run = compiled.run(drawn, None)
    for phase, done in zip(drawn.phases, run.phases, strict=True):
        free = [done.begin] * len(drawn.servers)
        for i, instance in enumerate(instances(phase)):
            task = phase.tasks[instance.task]
            ready = [int(done.record.end[p]) + phase.edges[e].latency for e, p in instance.waits]
            start = max([free[task.server], *ready])
            assert (done.record.task[i], done.record.start[i]) == (instance.task, start)
            free[task.server] = start + task.occupancy
            assert done.record.end[i] == free[task.server]
        assert done.end == max(free)


@given(programs())
@SOME
def test_no_time_is_lost_or_found(drawn: Program) -> None:
    for phase in compiled.run(drawn).phases:
        total = phase.busy + phase.waits.sum(axis=1) + phase.tail
        assert (total == phase.end - phase.begin).all()


@given(programs())
@SOME
def test_all_durations_times_seven_is_all_times_times_seven(drawn: Program) -> None:
    slower = dataclasses.replace(
        drawn,
        phases=tuple(
            dataclasses.replace(
                phase,
                tasks=tuple(dataclasses.replace(t, occupancy=7 * t.occupancy) for t in phase.tasks),
                edges=tuple(dataclasses.replace(e, latency=7 * e.latency) for e in phase.edges),
            )
            for phase in drawn.phases
        ),
    )
    fast, slow = compiled.run(drawn, None), compiled.run(slower, None)
    for a, b in zip(fast.phases, slow.phases, strict=True):
        np.testing.assert_array_equal(7 * a.record.end, b.record.end)


@given(programs())
@settings(max_examples=60, derandomize=True, deadline=None, database=None)
def test_compiled_code_has_a_plain_python_twin(drawn: Program) -> None:
    jitted = compiled.run(drawn, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_advance", compiled._advance.py_func)
        assert_equal(jitted, compiled.run(drawn, None))


@given(programs())
@SOME
def test_slices_change_nothing(drawn: Program) -> None:
    whole = compiled.run(drawn, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "SLICE", 3)
        assert_equal(whole, compiled.run(drawn, None))


def pipeline(trips: int, *, slots: int = 2, latency: int = 0) -> Program:
    """A load of 5 ticks and a use of 8, with `slots` buffers between them."""
    tasks = (
        Task("load", "load", "K", 0, 5),
        Task("use", "einsum", "Z", 1, 8),
    )
    edges = (
        Edge(0, 1, 0, latency=latency, cause="bandwidth"),
        Edge(1, 0, 0, slots, cause="slot"),
    )
    phase = Phase("only", (Loop("M", trips),), tasks, edges)
    servers = (Server("dram", "channel"), Server("array", "unit"))
    return Program("pipeline", Fraction(1), 1, servers, (phase,))


@pytest.mark.parametrize("name", engine.ENGINES)
def test_a_pipeline_by_hand(name: str) -> None:
    run = engine.run(pipeline(4), name, record=100).phases[0]

    rows = list(zip(run.record.task, run.record.start, run.record.end, strict=True))
    assert rows == [
        (0, 0, 5), (1, 5, 13), (0, 5, 10), (1, 13, 21), (0, 13, 18), (1, 21, 29), (0, 21, 26),
        (1, 29, 37),
    ]  # fmt: skip
    assert run.busy.tolist() == [20, 32]
    assert run.waits.tolist() == [[0, 6, 0, 0], [0, 0, 5, 0]]
    assert run.tail.tolist() == [11, 0]


@pytest.mark.parametrize("name", engine.ENGINES)
def test_one_slot_serialises(name: str) -> None:
    assert engine.run(pipeline(4, slots=1), name).ticks == 4 * (5 + 8)
    assert engine.run(pipeline(4, slots=1, latency=3), name).ticks == 4 * (5 + 3 + 8)


def test_a_guard_that_did_not_hold_leaves_no_result() -> None:
    """The use waits only in the iterations in which the load ran."""
    made = pipeline(3)
    phase = made.phases[0]
    tasks = (dataclasses.replace(phase.tasks[0], guard=Guard(first=(0,))), phase.tasks[1])
    guarded = dataclasses.replace(made, phases=(dataclasses.replace(phase, tasks=tasks),))
    assert engine.run(guarded).ticks == 5 + 3 * 8


def test_progress_and_record() -> None:
    seen: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "SLICE", 10)
        run = engine.run(pipeline(100), "compiled", record=7, progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) >= 9
    assert len(run.phases[0].record.task) == 7
    assert run.phases[0].record.truncated


def test_unknown_engine() -> None:
    with pytest.raises(AccelsimError, match=r"no engine 'compild'\n.*did you mean 'compiled'"):
        engine.run(pipeline(1), "compild")


@pytest.mark.parametrize("name", MAPPINGS)
@pytest.mark.parametrize("length", [256, 512, 768, 1280])
@pytest.mark.parametrize("bandwidth", [1, 9])
@pytest.mark.parametrize("width", [64, 128])  # of a head: BERT and XLM
def test_shipped_mappings_agree_at_small_shapes(
    name: str, length: int, bandwidth: int, width: int
) -> None:
    rate = f"{400 / bandwidth} GiB/s"
    override = ((("levels", "dram", "bandwidth"), rate),)
    document = spec.load(name, "mapping")
    machine = arch.build(spec.load(document.spec.arch, "arch", override))
    built = cascade.build(spec.load(document.spec.cascade, "cascade"))
    shapes = {"B": 2, "H": 2, "E": width, "F": width, "M": length, "P": length}
    shapes |= {"T": 2 * length, "D": 512, "N": 256, "S": 768}
    lowered = program.lower(mapping.build(document, built, machine, shapes))

    assert_equal(reference.run(lowered), compiled.run(lowered, None))


@pytest.mark.parametrize("kernel", DRAWN)
@given(data=st.data())
@settings(max_examples=25, derandomize=True, deadline=None, database=None)
def test_launches_agree(kernel: str, data: st.DataObject) -> None:
    """Among them states that are kept off chip, under causal masks."""
    walk = with_slots(data.draw(DRAWN[kernel]), data.draw(st.integers(1, 3)))
    lowered = built(walk)[1]
    full = compiled.run(lowered, None)
    assert_equal(reference.run(lowered), full)
    assert engine.run(lowered, "steady").ticks == full.ticks
