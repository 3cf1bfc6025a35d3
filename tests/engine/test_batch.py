"""A batch is the same as its rows, one by one."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from accelsim import verbs
from accelsim.engine import compiled
from accelsim.engine.batch import batch
from accelsim.errors import AccelsimError
from accelsim.program import Program
from tests.random_programs import random_program


def changed(
    program: Program, occupancies: list[int], trips: list[int], latencies: list[int]
) -> Program:
    phase = program.phases[0]
    tasks = [
        dataclasses.replace(t, occupancy=o) for t, o in zip(phase.tasks, occupancies, strict=True)
    ]
    loops = [dataclasses.replace(x, trips=n) for x, n in zip(phase.loops, trips, strict=True)]
    edges = [dataclasses.replace(e, latency=n) for e, n in zip(phase.edges, latencies, strict=True)]
    only = dataclasses.replace(phase, tasks=tuple(tasks), loops=tuple(loops), edges=tuple(edges))
    return dataclasses.replace(program, phases=(only,))


@pytest.mark.parametrize("seed", range(150))
def test_rows_are_runs(seed: int) -> None:
    program = random_program(seed, most_tiles=800)
    program = dataclasses.replace(program, phases=program.phases[:1])
    phase, rng = program.phases[0], random.Random(seed)
    bounded = any(loop.rows for loop in phase.loops)
    rows = [[rng.randint(0, 30) for _ in phase.tasks] for _ in range(4)]
    trips = [
        [x.trips if bounded else rng.randint(1, x.trips + 1) for x in phase.loops] for _ in rows
    ]
    late = [[rng.choice((0, 0, 1, 9)) for _ in phase.edges] for _ in rows]
    done = batch(program, rows, trips, late)
    for n, (row, length, waits) in enumerate(zip(rows, trips, late, strict=True)):
        run = compiled.run(changed(program, row, length, waits)).phases[0]
        assert done.ticks[n] == run.end
        for field in ("executed", "busy", "waits", "tail"):
            np.testing.assert_array_equal(getattr(done, field)[n], getattr(run, field))


def test_lengths_of_a_shipped_mapping_by_trips_alone() -> None:
    program = verbs.simulate("fusemax__attention_1pass", "bert", 16384).program
    phase = program.phases[0]
    row = [task.occupancy for task in phase.tasks]
    names = [loop.name for loop in phase.loops]
    trips = [[loop.trips for loop in phase.loops] for _ in range(3)]
    for n, heads in enumerate((1, 5, 12)):
        trips[n][names.index("H")] = heads
    done = batch(program, [row] * 3, trips)
    for n, heads in enumerate((1, 5, 12)):
        settings = (f"workload.ranks.H={heads}",)
        assert (
            done.ticks[n]
            == verbs.simulate(
                "fusemax__attention_1pass", "bert", 16384, settings=settings
            ).result.ticks
        )


@pytest.mark.parametrize(
    ("rows", "trips", "message"),
    [
        ([[1]], None, "tasks in every row"),
        ([[1, -1]], None, "0 or more"),
        ([[1, 1]], [[0]], "trips of 1 or more"),
    ],
)
def test_what_does_not_fit_is_said(
    rows: list[list[int]], trips: list[list[int]], message: str
) -> None:
    from tests.engine.test_engines_agree import pipeline

    with pytest.raises(AccelsimError, match=message):
        batch(pipeline(4), rows, trips)
