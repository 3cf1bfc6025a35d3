"""Faults, planted one at a time: law 6 has to find each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from accelsim import cascade, program, spec
from accelsim.cascade import cascade_from_text
from accelsim.errors import AccelsimError
from accelsim.execute.check import error
from accelsim.execute.counts import differences, stated
from accelsim.execute.inputs import drawn
from accelsim.execute.run import execute, sizes
from accelsim.execute.tiles import BrokenProgramError
from accelsim.mapping import Mapping
from accelsim.program import Guard, Loop, Phase, Rows, Task
from tests.execute.small import Case, small
from tests.execute.test_law import obeys

ONE_PASS = "fusemax__attention_1pass"
CAUSAL = "fusemax__attention_1pass_window"
LAUNCHED = "h200__flash_fwd"
FOUND = (AssertionError, AccelsimError)


def caught(case: Case, of: str) -> None:
    obeys(small(of))
    with pytest.raises(FOUND):
        obeys(case, small(of))


def rewritten(name: str, right: str, wrong: str) -> Case:
    """A case whose cascade has one statement that is not what it should be."""
    mapped, *rest = small(name)
    path = spec.find(mapped.cascade.name, "cascade")
    text = path.read_text()
    assert text.count(right) == 1
    built = cascade_from_text(text.replace(right, wrong), str(path))
    return (replace(mapped, cascade=built), *rest)


def changed(name: str, change: Callable[[Phase], Phase]) -> Case:
    """A case whose Program has a changed first phase."""
    mapped, lowered, *rest = small(name)
    first, *others = lowered.phases
    return (mapped, replace(lowered, phases=(change(first), *others)), *rest)


def with_task(phase: Phase, name: str, **fields: object) -> Phase:
    assert any(task.name == name for task in phase.tasks)
    tasks = (replace(t, **fields) if t.name == name else t for t in phase.tasks)
    return replace(phase, tasks=tuple(tasks))


def with_loop(phase: Phase, name: str, change: Callable[[Loop], Loop]) -> Phase:
    assert any(loop.name == name for loop in phase.loops)
    return replace(phase, loops=tuple(change(l) if l.name == name else l for l in phase.loops))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("exp(RM[b,h,m1,p] - RM[b,h,m1+1,p])", "exp(RM[b,h,m1+1,p] - RM[b,h,m1,p])"),
        ("exp(RM[b,h,m1,p] - RM[b,h,m1+1,p])", "exp(RM[b,h,m1,p] - LM[b,h,m1,p])"),
        ("exp(QK[b,h,m1,m0,p] - RM[b,h,m1+1,p])", "exp(QK[b,h,m1,m0,p] - LM[b,h,m1,p])"),
    ],
)
def test_a_wrong_correction_factor(right: str, wrong: str) -> None:
    caught(rewritten(ONE_PASS, right, wrong), ONE_PASS)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("= RD[b,h,m1,p] * PRM[b,h,m1,p]", "= RD[b,h,m1,p]"),
        ("= RNV[b,h,f,m1,p] * PRM[b,h,m1,p]", "= RNV[b,h,f,m1,p]"),
    ],
)
def test_a_skipped_rescale(right: str, wrong: str) -> None:
    caught(rewritten(ONE_PASS, right, wrong), ONE_PASS)


@pytest.mark.parametrize("name", [ONE_PASS, LAUNCHED])
@pytest.mark.parametrize("task", ["SPD", "SPNV", "PRM"])
def test_a_rescale_that_does_not_run_at_some_tile(name: str, task: str) -> None:
    def change(phase: Phase) -> Phase:
        last = tuple(n for n, loop in enumerate(phase.loops) if loop.name == "M1")
        return with_task(phase, task, guard=Guard(not_last=last))

    caught(changed(name, change), name)


@pytest.mark.parametrize("loop", ["B", "H", "P2", "P1", "M1"])
def test_a_loop_that_is_one_tile_too_short(loop: str) -> None:
    def shorter(own: Loop) -> Loop:
        assert own.trips > 1
        return replace(own, trips=own.trips - 1)

    caught(changed(ONE_PASS, lambda phase: with_loop(phase, loop, shorter)), ONE_PASS)


@pytest.mark.parametrize("name", [CAUSAL, LAUNCHED])
def test_rows_that_end_one_tile_early(name: str) -> None:
    def shorter(own: Loop) -> Loop:
        assert own.rows is not None
        runs = own.rows.runs.copy()
        long = int(np.argmax(runs[:, 1]))
        assert runs[long, 1] > 1
        runs[long, 1] -= 1
        return replace(own, rows=Rows(own.rows.loops, own.rows.offsets, runs))

    def change(phase: Phase) -> Phase:
        tied = [loop.name for loop in phase.loops if loop.rows is not None]
        return with_loop(phase, tied[-1], shorter)

    caught(changed(name, change), name)


def with_edge(name: str, by: int) -> Case:
    """A case in which the first tensor that ends inside of a tile ends elsewhere."""
    mapped, *rest = small(name)
    (nest, *others) = mapped.nests
    place, own = next((n, p) for n, p in enumerate(nest.placements) if p.ends)
    end = own.ends[0]
    inside = (end.kept > 0) & (end.kept < end.size)
    kept = np.where(inside, end.kept + by, end.kept)
    placements = list(nest.placements)
    placements[place] = replace(own, ends=(replace(end, kept=kept), *own.ends[1:]))
    nests = (replace(nest, placements=tuple(placements)), *others)
    return (replace(mapped, nests=nests), *rest)


@pytest.mark.parametrize("name", [LAUNCHED, "h200__splitk"])
@pytest.mark.parametrize("by", [-1, 1])
def test_an_edge_that_is_off_by_one(name: str, by: int) -> None:
    caught(with_edge(name, by), name)


@pytest.mark.parametrize(
    ("name", "by", "said"),
    [
        (LAUNCHED, -1, "is not a number"),
        (LAUNCHED, 1, "more than there is moves"),
        ("h200__splitk", -1, "is not a number"),
    ],
)
def test_an_edge_that_is_off_by_one_in_the_program_too(name: str, by: int, said: str) -> None:
    """Counts agree then: what is not there is read, or more is moved than there is."""
    mapped, _, shapes, tables = with_edge(name, by)
    with pytest.raises(FOUND, match=said):
        obeys((mapped, program.lower(mapped), shapes, tables))


@pytest.mark.parametrize("task", ["load K ahead", "load Q ahead", "load V", "store AV"])
def test_a_transfer_that_does_not_run(task: str) -> None:
    def change(phase: Phase) -> Phase:
        return replace(phase, tasks=tuple(t for t in phase.tasks if t.name != task))

    caught(changed(ONE_PASS, change), ONE_PASS)


@pytest.mark.parametrize(("task", "lag"), [("QK", 1), ("SLN", 3), ("load K ahead", 3), ("AV", 0)])
def test_a_task_that_works_on_another_tile(task: str, lag: int) -> None:
    caught(changed(ONE_PASS, lambda phase: with_task(phase, task, lag=lag)), ONE_PASS)


def test_a_slot_too_few() -> None:
    """The next tile of keys would be written over the one in use."""
    mapped, *rest = small(ONE_PASS)
    (nest,) = mapped.nests
    placements = (replace(p, slots=1) if p.tensor == "K" else p for p in nest.placements)
    nests = (replace(nest, placements=tuple(placements)),)
    with pytest.raises(BrokenProgramError, match="replaced"):
        obeys((replace(mapped, nests=nests), *rest))


def _more(task: Task) -> Task:
    first, *others = task.actions
    return replace(task, actions=(replace(first, count=first.count + 1), *others))


@pytest.mark.parametrize("name", [ONE_PASS, LAUNCHED, "h200__flash1"])
def test_an_action_too_many(name: str) -> None:
    mapped, lowered, shapes, tables = small(name)
    inputs = drawn(sizes(mapped, shapes, tables), 0)
    counts = execute(mapped, lowered, shapes, inputs, tables=tables).counts
    assert differences(counts, stated(lowered)) == []
    (phase,) = lowered.phases
    for number, task in enumerate(phase.tasks):
        if task.actions:
            tasks = (*phase.tasks[:number], _more(task), *phase.tasks[number + 1 :])
            wrong = replace(lowered, phases=(replace(phase, tasks=tasks),))
            (said,) = differences(counts, stated(wrong))
            assert task.actions[0].part in said


def test_a_nan_is_a_failure() -> None:
    values = np.arange(6.0).reshape(2, 3)
    broken = values.copy()
    broken[1, 2] = np.nan
    assert error(values, values, ("F", "P")).wrong == 0
    assert error(broken, values, ("F", "P")).wrong == 1
    assert error(values, broken, ("F", "P")).wrong == 1
    assert error(broken, broken, ("F", "P")).wrong == 0
    infinite = values.copy()
    infinite[0, 1] = np.inf
    assert error(infinite, values, ("F", "P")).wrong == 1
    case = rewritten(
        ONE_PASS, "RNV[b,h,f,M1,p] / RD[b,h,M1,p]", "RNV[b,h,f,M1,p] * log(0 - RD[b,h,M1,p])"
    )
    with pytest.raises(AccelsimError, match="AV is not a number"):
        obeys(case, small(ONE_PASS))


def test_mapping_is_what_is_executed() -> None:
    """The plants change what they say they change: without one, all is well."""
    mapped, *rest = small(ONE_PASS)
    assert isinstance(mapped, Mapping)
    document = spec.load(mapped.cascade.name, "cascade")
    obeys((replace(mapped, cascade=cascade.build(document)), *rest))
