"""The steady engine: exact under skipping, at a cost that does not grow."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from accelsim import engine, spec, verbs
from accelsim.engine import compiled, steady
from accelsim.engine.merge import merge
from accelsim.program import Edge, Guard, Loop, Phase, Program, Server, Task
from accelsim.results import Execution, PhaseExecution
from tests.bounds import Bound, bounded
from tests.launches.drawn import built, with_slots
from tests.random_programs import random_program
from tests.shipped import LAUNCHED, MAPPINGS, RUNS

DRAWN = 2000
DRAWN_LONG = 50_000

Line = tuple[int, int]


def assert_same(drawn: Program, full: Execution, skipped: Execution) -> None:
    """Equal ends, counts, busy times and waits, and every instance really executed."""
    assert len(full.phases) == len(skipped.phases)
    for phase, a, b in zip(drawn.phases, full.phases, skipped.phases, strict=True):
        assert (a.begin, a.end) == (b.begin, b.end), drawn.name
        for field in ("executed", "busy", "waits", "tail"):
            np.testing.assert_array_equal(
                getattr(a, field), getattr(b, field), f"{drawn.name}: {field}"
            )
        where = np.argsort(_keys(phase, a))
        found = np.searchsorted(_keys(phase, a)[where], _keys(phase, b))
        for field in ("start", "end"):
            np.testing.assert_array_equal(
                getattr(a.record, field)[where[found]], getattr(b.record, field), drawn.name
            )


def _keys(phase: Phase, run: PhaseExecution) -> np.ndarray:
    """One number per (task, coordinates)."""
    key = run.record.task.astype(np.int64)
    for level, loop in enumerate(phase.loops):
        key = key * loop.trips + run.record.coordinates[:, level]
    return key


def both(drawn: Program) -> tuple[Execution, Execution]:
    full, skipped = compiled.run(drawn, None), steady.run(drawn, None)
    assert_same(drawn, full, skipped)
    return full, skipped


def executed(run: Execution) -> int:
    return sum(p.extrapolation.executed for p in run.phases if p.extrapolation)


def jumps(run: Execution) -> int:
    return sum(
        loop.skipped > 0 for p in run.phases if p.extrapolation for loop in p.extrapolation.loops
    )


def test_random_programs() -> None:
    tasks = ran = with_jumps = 0
    for seed in range(DRAWN):
        full, skipped = both(random_program(seed))
        tasks += full.tasks
        ran += executed(skipped)
        with_jumps += jumps(skipped) > 0
    assert with_jumps > DRAWN // 2
    assert ran < tasks / 5


@pytest.mark.parametrize("seed", [494, 2182, 3529, 6298, 11895, 17636])
def test_programs_that_once_were_wrong(seed: int) -> None:
    """Each of these took thousands of others to find: fills and windows of stages, mostly."""
    both(random_program(seed))


@pytest.mark.long
def test_many_random_programs() -> None:
    for seed in range(DRAWN, DRAWN + DRAWN_LONG):
        both(random_program(seed))


@pytest.mark.parametrize("name", MAPPINGS)
@pytest.mark.parametrize("settings", [(), ("arch.levels.dram.bandwidth=57 GiB/s",)])
def test_shipped_mappings(name: str, settings: tuple[str, ...]) -> None:
    for model in ("bert", "xlm"):
        smaller = ("workload.ranks.B=2", "workload.ranks.H=3", "workload.ranks.T=9472")
        run = verbs.simulate(name, model, 2048, settings=(*settings, *smaller))
        both(run.program)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("slower", [1, 9])
def test_other_shipped_mappings(name: str, slower: int) -> None:
    model, length, settings = RUNS[name]
    machine = spec.load(spec.load(name, "mapping").spec.arch, "arch").spec
    level = next(n for n, one in machine.levels.items() if one.bandwidth is not None)
    rate = f"{float(machine.levels[level].bandwidth / slower)} B/s"
    settings = (*settings, f"arch.levels.{level}.bandwidth={rate}")
    made = verbs.simulate(name, model, length, settings=settings).program
    both(made)
    if sum(p.tasks for p in [engine.run(made, "compiled")]) < 20_000:
        assert engine.run(made, "reference").ticks == engine.run(made, "compiled").ticks


@pytest.mark.parametrize("name", LAUNCHED)
@pytest.mark.parametrize("slots", [1, 2])
def test_launched_mappings(name: str, slots: int) -> None:
    """Their order of tasks on one cluster, though no run on all of them is simulated."""
    drawn = with_slots(LAUNCHED[name], slots)
    full, _ = both(built(drawn)[1])
    assert engine.run(built(drawn)[1], "reference").ticks == full.ticks


def test_the_shipped_matrix_product() -> None:
    for timing in ("ideal", "systolic"):
        settings = (f"arch.units.array_2d.timing={timing}",)
        both(verbs.simulate("fusemax__gemm", "gemm", settings=settings).program)


def chain(
    trips: tuple[int, ...],
    tasks: list[Task],
    edges: list[Edge],
    uppers: dict[int, Bound] | None = None,
) -> Program:
    loops: list[Loop] = []
    for i, n in enumerate(trips):
        upper = (uppers or {}).get(i)
        loops.append(Loop(f"L{i}", n, upper and bounded(loops, n, upper=upper)))
    servers = tuple(Server(f"s{i}", "unit") for i in range(1 + max(t.server for t in tasks)))
    phase = Phase("only", tuple(loops), tuple(tasks), tuple(edges))
    return Program("directed", Fraction(1), 1, servers, (phase,))


def work(server: int, occupancy: int, lag: int = 0, **guard: tuple[int, ...]) -> Task:
    return Task(f"s{server}x{occupancy}", "einsum", "T", server, occupancy, Guard(**guard), lag)


@pytest.mark.parametrize("lag", [1, 2, 3])
@pytest.mark.parametrize("inner", [1, 2, 5, 40])
def test_fill_with_stages_over_two_loops(lag: int, inner: int) -> None:
    """What a stage behind has not yet written is not taken for its last value."""
    tasks = [work(0, 5), work(1, 7, lag), work(2, 6, lag)]
    edges = [
        Edge(0, 1, 2),
        Edge(1, 2, 2),
        Edge(1, 0, 0, 1, (1,), latency=4000),
        Edge(2, 0, 0, 1, (1, 2), latency=3000),
    ]
    _, skipped = both(chain((7, 30, inner), tasks, edges))
    assert jumps(skipped)


def test_a_carried_value_that_still_acts_stops_skipping() -> None:
    """Latency longer than a run of the inner loop: inputs are ahead of their readers."""
    drawn = chain((9, 50), [work(0, 3), work(1, 4)], [Edge(1, 0, 0, 1, (1,), latency=5000)])
    _, skipped = both(drawn)
    inner = skipped.phases[0].extrapolation.loops[1]  # type: ignore[union-attr]
    assert inner.executed > 100


def test_a_slow_drift_that_crosses_in_mid_loop() -> None:
    """The producer gains one tick per tile until its 300 buffers are full: found by probes."""
    drawn = chain(
        (100_000,), [work(0, 999), work(1, 1000)], [Edge(0, 1, 0), Edge(1, 0, 0, 300, cause="slot")]
    )
    _, skipped = both(drawn)
    assert executed(skipped) < 5_000


def test_a_part_that_runs_ahead_for_ever() -> None:
    drawn = chain((50_000,), [work(0, 3), work(1, 10)], [Edge(0, 1, 0)])
    _, skipped = both(drawn)
    assert executed(skipped) < 50


@pytest.mark.parametrize("slots", [2, 3, 4])
def test_periods_of_several_iterations(slots: int) -> None:
    drawn = chain(
        (4000,),
        [work(0, 7), work(1, 5)],
        [Edge(0, 1, 0), Edge(1, 0, 0, slots, latency=100, cause="slot")],
    )
    _, skipped = both(drawn)
    assert skipped.phases[0].extrapolation.loops[0].period == slots  # type: ignore[union-attr]
    assert executed(skipped) < 60


@pytest.mark.parametrize("p", [1, 4, 16])
def test_a_triangle_costs_its_diagonal(p: int) -> None:
    """Causal: key blocks up to the query block's."""
    tasks = [work(0, 9, first=(2,)), work(1, 10), work(2, 8, 1)]
    edges = [
        Edge(0, 1, 1),
        Edge(1, 0, 1, 2, cause="slot"),
        Edge(1, 2, 2),
        Edge(2, 1, 2, 2, cause="slot"),
    ]
    upper: dict[int, Bound] = {1: (1, ((0, 1),))}
    full, skipped = both(chain((300, 300, p), tasks, edges, upper))
    assert executed(skipped) < full.tasks / 6


def test_a_guard_of_all_loops_at_once() -> None:
    tasks = [
        work(0, 9, not_first=(0, 1)),
        work(1, 10),
        work(0, 4, not_last=(0, 1)),
        work(1, 3, last=(0,)),
    ]
    both(chain((40, 41), tasks, [Edge(0, 1, 1), Edge(1, 2, 1, 1), Edge(2, 0, 1, 1)]))


def test_waits_are_exact_where_the_cause_changes_within_a_period() -> None:
    """Two edges of different causes drift past each other while the state stays on a line."""
    tasks = [work(0, 10), work(1, 11), work(2, 3), work(2, 20)]
    edges = [
        Edge(0, 2, 0, cause="data"),
        Edge(1, 2, 0, cause="bandwidth", latency=5),
        Edge(1, 3, 0, latency=4000, cause="order"),
    ]
    both(chain((9000,), tasks, edges))


def test_cost_does_not_grow_with_trips() -> None:
    runs = [verbs.simulate("fusemax__attention_1pass", "bert", n).execution for n in (2**18, 2**20)]
    assert executed(runs[0]) == executed(runs[1]) < 2000


def test_the_first_instances_are_recorded_without_a_gap() -> None:
    program = verbs.simulate("fusemax__attention_1pass", "bert", 4096).program
    full, skipped = compiled.run(program, 5000), steady.run(program, 5000)
    for field in ("task", "start", "end", "coordinates"):
        np.testing.assert_array_equal(
            getattr(full.phases[0].record, field), getattr(skipped.phases[0].record, field)
        )
    assert full.ticks == skipped.ticks


def test_merged_loops_mean_the_same() -> None:
    program = verbs.simulate(
        "fusemax__attention_1pass", "bert", 2048, settings=("workload.ranks.B=2",)
    ).program
    merged = merge(program.phases[0])
    assert [loop.name for loop in merged.phase.loops] == ["B x H", "M1", "P1"]
    smaller = dataclasses.replace(program, phases=(merged.phase,))
    one, two = compiled.run(program, None).phases[0], compiled.run(smaller, None).phases[0]
    restored = merged.restore(two.record)
    for field in ("task", "start", "end", "coordinates"):
        np.testing.assert_array_equal(getattr(one.record, field), getattr(restored, field))


def test_what_could_not_be_skipped_is_said() -> None:
    drawn = chain((3, 200), [work(0, 3)], [Edge(0, 0, 0, 1, (1,), latency=50_000)])
    run = steady.run(drawn)
    assert run.phases[0].extrapolation is not None
    loops = run.phases[0].extrapolation.loops
    assert loops[0].reason == "too few iterations"
    assert engine.ENGINES[0] == "steady"


@pytest.mark.parametrize("seed", range(40))
def test_plain_python_twin(seed: int) -> None:
    """The same code without numba, and in slices of three epochs."""
    drawn = random_program(seed, most_tiles=60)
    jitted = steady.run(drawn, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steady, "_advance", steady._advance.py_func)
        patch.setattr(steady, "SLICE", 3)
        plain = steady.run(drawn, None)
    assert_same(drawn, jitted, plain)
    assert executed(jitted) == executed(plain)


def test_the_result_says_what_was_executed() -> None:
    result = verbs.simulate("fusemax__attention_1pass", "bert", 2**20).result
    done = result.phases[0]["extrapolation"]
    assert result.tasks > 10**11 > 10**4 > done["executed"]
    names = ("name", "executed", "skipped", "period", "transient", "failed_probes", "reason")
    assert [tuple(loop) for loop in done["loops"]] == [(*names, "at_once")] * 3
    assert [loop["at_once"] for loop in done["loops"]] == [1, 1, 1]
    assert [loop["period"] for loop in done["loops"]] == [1, 1, 1]


@pytest.mark.parametrize(
    ("trips", "a", "b", "c", "d", "busy"),
    [
        (8, (12, 192), (10, 194), (12, 201), (14, 193), (5, 1)),
        (16, (7, 171), (5, 187), (7, 176), (10, 143), (3, 1)),
    ],
)
def test_a_tie_at_either_end_of_a_jump_moves_waits_between_causes(
    trips: int, a: Line, b: Line, c: Line, d: Line, busy: Line
) -> None:
    """Two inputs each: A and B meet where a jump would begin, C and D where it would end.

    Waits add up to the same there as everywhere, but for other causes; only the count of ties
    tells. An input is a line: ends at slope * iteration + first.
    """
    inputs = [a, b, c, d]
    tasks = [work(server, slope) for server, (slope, _) in enumerate(inputs)]
    tasks += [work(4, occupancy) for occupancy in busy]
    edges = [
        Edge(1, 4, 0, latency=b[1] - b[0], cause="slot"),
        Edge(0, 4, 0, latency=a[1] - a[0]),
        Edge(3, 5, 0, latency=d[1] - d[0]),
        Edge(2, 5, 0, latency=c[1] - c[0], cause="slot"),
    ]
    both(chain((trips,), tasks, edges))
