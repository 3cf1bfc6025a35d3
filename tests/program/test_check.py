"""The invariants of a Program: what is right passes, each thing out of range is named."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings

from accelsim import spec, verbs
from accelsim.program import (
    Edge,
    Guard,
    Loop,
    Phase,
    Program,
    Reservation,
    Server,
    Task,
    rows_of,
)
from accelsim.program.check import check
from tests.bounds import bounded
from tests.launches.drawn import built
from tests.shipped import LAUNCHED, MAPPINGS, RUNS
from tests.strategies import programs

TASKS = (Task("load", "load", "K", 0, 5), Task("use", "einsum", "Z", 0, 8))
M = Loop("M", 3)
LOOPS = (M, Loop("P", 3, bounded([M], 3, upper=(1, ((0, 1),)))))
PHASE = Phase("only", LOOPS, TASKS, (Edge(0, 1, 0, matched=(1,)),))
GOOD = Program("good", Fraction(1), 1, (Server("dram", "channel"),), (PHASE,))


@given(programs())
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
def test_random_programs_pass(drawn: Program) -> None:
    check(drawn)


@pytest.mark.parametrize("model", ["bert", "xlm"])
@pytest.mark.parametrize("name", MAPPINGS)
def test_shipped_mappings_pass(name: str, model: str) -> None:
    small = ("workload.ranks.B=1", "workload.ranks.H=2")
    check(verbs.simulate(name, model, 512, settings=small).program)


@pytest.mark.parametrize("name", RUNS)
def test_other_shipped_mappings_pass(name: str) -> None:
    model, length, settings = RUNS[name]
    check(verbs.simulate(name, model, length, settings=settings).program)


@pytest.mark.parametrize("name", LAUNCHED)
def test_launched_mappings_pass(name: str) -> None:
    check(built(LAUNCHED[name])[1])


def test_every_shipped_mapping_is_run() -> None:
    assert {*MAPPINGS, *RUNS, *LAUNCHED} == set(spec.names("mapping"))


def phase(**change: Any) -> Program:
    return replace(GOOD, phases=(replace(PHASE, **change),))


def rows(outer: list[int], runs: list[list[tuple[int, ...]]]) -> Program:
    return phase(loops=(M, Loop("P", 3, rows_of(outer, runs))))


def task(**change: Any) -> Program:
    return phase(tasks=(TASKS[0], replace(TASKS[1], **change)))


def edge(**change: Any) -> Program:
    return phase(edges=(replace(PHASE.edges[0], **change),))


def held(**change: Any) -> Program:
    return phase(reservations=(replace(Reservation("buffer", "K", 2, 64, (0,)), **change),))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (replace(GOOD, ticks_per_cycle=0), "tick"),
        (replace(GOOD, clock_hz=Fraction(0)), "clock"),
        (replace(GOOD, servers=()), "no servers"),
        (replace(GOOD, servers=(Server("dram", "unit", 0),)), "no instances"),
        (phase(loops=(), edges=()), "no loops"),
        (phase(loops=(Loop("M", 0), LOOPS[1])), "loop M: no trips"),
        (rows([1], [[(0, 1)]] * 3), "loop P: rows of loop 1, not outer"),
        (rows([0], [[(0, 1)]] * 2), "loop P: 2 of 3 rows"),
        (rows([0], [[(0, 1)], [], [(0, 1)]]), "loop P: an empty row"),
        (rows([0], [[(0, 0)]] * 3), "loop P: an empty run"),
        (rows([0], [[(-1, 2)]] * 3), "loop P: coordinates below 0"),
        (rows([0], [[(2, 2)]] * 3), "loop P: coordinates beyond its trips"),
        (rows([0], [[(1, 1), (0, 1)]] * 3), "loop P: runs out of order"),
        (rows([0], [[(0, 1, 256)]] * 3), "loop P: more than 8 marks"),
        (task(guard=Guard(marked=(8,))), "guard on mark 8"),
        (task(server=1), "task use: no server 1"),
        (task(server=-1), "task use: no server -1"),
        (task(occupancy=-1), "occupancy -1"),
        (task(lag=-1), "lag -1"),
        (task(active=Fraction(3, 2)), "active 3/2"),
        (task(guard=Guard(not_last=(2,))), "guard on loop 2"),
        (edge(producer=2), "edge 0: no task 2"),
        (edge(consumer=-1), "edge 0: no task -1"),
        (edge(loop=2), "edge 0: no loop 2"),
        (edge(loop=-2), "edge 0: no loop -2"),
        (edge(matched=(2,)), "matched on loop 2"),
        (edge(matched=(1, 1)), "a loop matched twice"),
        (edge(distance=-1), "distance -1"),
        (edge(latency=-1), "latency -1"),
        (edge(cause="luck"), "cause luck"),
        (held(slots=-1), "-1 slots"),
        (held(tile_bytes=-1), "-1 bytes"),
        (held(takes=(2,)), "no task 2"),
        (held(gives=((1, Guard(first=(2,))),)), "guard on loop 2"),
    ],
)
def test_each_fault_is_named(bad: Program, message: str) -> None:
    check(GOOD)
    with pytest.raises(AssertionError, match=message):
        check(bad)
