"""Launches of very many tasks: alike iterations taken several at a time."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim import verbs
from accelsim.engine import coarse, compiled, launched, steady
from accelsim.engine.coarse import sizes
from accelsim.mapping.nest import Identity
from accelsim.program import Edge, Guard, Loop, Phase, Program, Rows, Task, rows_of
from accelsim.program.check import check
from accelsim.program.launch import Channel, Launch, Memory, Moved
from accelsim.results import PhaseExecution
from tests.engine.test_engines_agree import assert_equal
from tests.launched_programs import DRAM, SERVERS, launched_programs

SOME = settings(max_examples=150, derandomize=True, deadline=None, database=None)
TIMES = st.sampled_from((2, 4))


def stretched(phase: Phase, times: int) -> Phase:
    """The first loop of an instance with each of its iterations that often, one after the other."""
    assert phase.launch is not None
    own = phase.launch.grid
    trips = [loop.trips for loop in phase.loops]

    def repeat(values: NDArray[Any], loops: tuple[int, ...]) -> NDArray[Any]:
        """Numbers that are row-major over the coordinates of loops."""
        if own not in loops:
            return values
        shaped = values.reshape([trips[loop] for loop in loops])
        return np.repeat(shaped, times, axis=loops.index(own)).reshape(-1)

    loops = []
    for number, loop in enumerate(phase.loops):
        rows = loop.rows
        if rows is not None and number == own:
            rows = Rows(rows.loops, rows.offsets, rows.runs * [times, times, 1])
        elif rows is not None:
            chosen = repeat(np.arange(len(rows.offsets) - 1), rows.loops)
            runs = [rows.runs[rows.offsets[row] : rows.offsets[row + 1]] for row in chosen]
            ends = np.cumsum([0, *map(len, runs)])
            rows = Rows(rows.loops, ends, np.concatenate(runs))
        loops.append(Loop(loop.name, loop.trips * (times if number == own else 1), rows))
    moved: list[Moved] = []
    for one in phase.moved:
        identity, tiles = one.identity, one.tiles
        if identity.names is not None:
            names = repeat(identity.names, identity.computed)
            identity = dataclasses.replace(identity, names=names)
        if own in identity.loops:
            tiles *= times
        ends = [dataclasses.replace(end, kept=repeat(end.kept, end.loops)) for end in one.ends]
        first = sum(each.tiles for each in moved)
        changed = {"identity": identity, "tiles": tiles, "ends": tuple(ends), "first": first}
        moved.append(dataclasses.replace(one, **changed))
    return dataclasses.replace(phase, loops=tuple(loops), moved=tuple(moved))


def own_tiles(phase: Phase) -> Phase:
    """Each iteration of an instance's first loop moves tiles of its own."""
    assert phase.launch is not None
    own, moved = phase.launch.grid, list[Moved]()
    for one in phase.moved:
        old = one.identity
        identity = Identity(tuple(sorted({*old.loops, own})), old.computed, old.names)
        tiles = one.tiles * (1 if own in old.loops else phase.loops[own].trips)
        first = sum(each.tiles for each in moved)
        moved.append(dataclasses.replace(one, identity=identity, tiles=tiles, first=first))
    return dataclasses.replace(phase, moved=tuple(moved))


def first_phase(drawn: Program) -> Phase:
    """With a loop inside the grid's."""
    phase = drawn.phases[0]
    assert phase.launch is not None
    assume(phase.launch.grid < len(phase.loops))
    return phase


def run(program: Program, phase: Phase, taken: coarse.Sizes | None = None) -> PhaseExecution:
    check(dataclasses.replace(program, phases=(phase,)))
    return launched.run_phase(program, phase, 0, None, lambda share: None, taken)


@given(launched_programs(), TIMES, st.booleans())
@SOME
def test_steps_of_one_size_are_a_launch_in_larger_units(
    drawn: Program, times: int, cached: bool
) -> None:
    """Without a cache, or with room for everything, each iteration with tiles of its own."""
    phase = first_phase(drawn)
    memory = drawn.memory
    assert memory is not None
    launch = phase.launch
    assert launch is not None
    if cached and memory.capacity_bytes is not None:
        phase = own_tiles(phase)
        memory = dataclasses.replace(memory, capacity_bytes=1 << 20)
    else:
        memory = dataclasses.replace(memory, cache=None, port=None, capacity_bytes=None)
    drawn = dataclasses.replace(drawn, memory=memory, warm=False)
    begins = {name: times * getattr(launch, name) for name in ("cost", "start", "next")}
    larger = dataclasses.replace(
        stretched(phase, times), launch=dataclasses.replace(launch, **begins)
    )
    few = run(drawn, phase)
    many = run(drawn, larger, lambda number: [times] * (number // times))
    assert many.end == times * few.end
    for name in ("executed", "busy", "waits", "tail"):
        np.testing.assert_array_equal(getattr(many, name), times * getattr(few, name), name)
    np.testing.assert_array_equal(many.record.start, times * few.record.start)
    np.testing.assert_array_equal(many.record.end, times * few.record.end)
    assert many.moves is not None
    assert few.moves is not None
    for name in ("requested", "read"):
        found, expected = getattr(many.moves, name), getattr(few.moves, name)
        assert {tensor: np.sum(n) for tensor, n in found.items()} == {
            tensor: times * np.sum(n) for tensor, n in expected.items()
        }


def test_a_step_waits_for_each_tile_that_others_bring() -> None:
    """Two blocks bring a tile of two grains each, one a tick later; the first has use for both."""
    rows = rows_of((), [[(0, 1, 2), (1, 1, 1), (2, 1, 0)]])
    blocks = Loop("P", 3, rows)
    keys = Loop("M", 2, rows_of((0,), [[(0, 2)], [(1, 1)], [(0, 1)]]))
    tasks = (
        Task("late", "einsum", "A", 0, 1, guard=Guard(marked=(0,))),
        Task("later", "einsum", "B", 0, 2, guard=Guard(marked=(1,))),
        Task("load", "load", "K", DRAM, 0, moved=0),
        Task("use", "einsum", "Z", 0, 1),
        Task("again", "load", "K", DRAM, 0, moved=0),
        Task("end", "einsum", "Y", 0, 1),
    )
    edges = tuple(Edge(*ends, loop=1) for ends in ((0, 2), (1, 2), (2, 3), (3, 4), (4, 5)))
    tiles = Moved("K", Identity((1,)), 0, 2, elements=2, word_bytes=Fraction(1))
    phase = Phase("only", (blocks, keys), tasks, edges, launch=Launch(1, 1), moved=(tiles,))
    channel = Channel(DRAM, Fraction(10), latency=7)
    memory = Memory(channel, grain_bytes=1, capacity_bytes=100, cache_latency=3)
    program = Program("mixed", Fraction(1), 1, SERVERS, (phase,), clusters=3, memory=memory)
    found = run(program, phase, lambda number: [number])
    record = found.record
    # Grains end at 10 and 30 of tile 0, at 20 and 40 of tile 1, which can be used 10 later. All is
    # for two iterations: also the latency of the second load, which finds both.
    assert list(zip(record.task, record.start, record.end, strict=True)) == [
        (1, 0, 4),
        (2, 40, 40),
        (3, 50, 52),
        (4, 52, 52),
        (5, 58, 60),
    ]
    assert found.executed.tolist() == [1, 2, 4, 4, 4, 4]


@given(launched_programs(), TIMES)
@SOME
def test_counts_are_exact(drawn: Program, most: int) -> None:
    """Of tasks, bytes and times at work, but what passes between a cache and the outermost level.

    What differs from iteration to iteration is not taken as one.
    """
    phase = stretched(first_phase(drawn), 8 * most)
    every, some = run(drawn, phase), run(drawn, phase, partial(sizes, most=most))
    np.testing.assert_array_equal(some.executed, every.executed)
    assert every.moves is not None
    assert some.moves is not None
    assert some.moves.requested == every.moves.requested
    own = slice(None, DRAM) if every.moves.through_cache else slice(None)
    np.testing.assert_array_equal(some.busy[own], every.busy[own])
    assert some.extrapolation is not None
    assert some.extrapolation.executed <= every.executed.sum()
    (loop,) = some.extrapolation.loops
    assert loop.executed + loop.skipped == iterations(phase)
    # Nothing is lost or found.
    of_each = np.array([1 if server.shared else drawn.clusters for server in drawn.servers])
    total = some.busy + some.waits.sum(axis=1) + some.tail
    np.testing.assert_array_equal(total, (some.end - some.begin) * of_each)
    for tensor, read in some.moves.read.items():
        assert read <= some.moves.requested[tensor][0]


def iterations(phase: Phase) -> int:
    """Of the first loop of all instances."""
    assert phase.launch is not None
    trips = [loop.trips for loop in phase.loops[: phase.launch.grid]]
    loop = phase.loops[phase.launch.grid]
    if loop.rows is None:
        return prod(trips) * loop.trips
    rows = prod(trips[outer] for outer in loop.rows.loops)
    return prod(trips) // rows * int(loop.rows.runs[:, 1].sum())


@given(launched_programs())
@SOME
def test_small_launches_are_run_in_full(drawn: Program) -> None:
    one, other = steady.run(drawn, None), compiled.run(drawn, None)
    assert_equal(one, other)
    for a, b in zip(one.phases, other.phases, strict=True):
        assert a.moves == b.moves
        assert a.extrapolation is None


@pytest.mark.parametrize("most", [1, 2, 8, 64])
@pytest.mark.parametrize("number", [1, 2, 15, 16, 47, 63, 64, 65, 500, 1024])
def test_steps_cover_all_iterations(number: int, most: int) -> None:
    steps = sizes(number, most)
    assert sum(steps) == number
    assert (steps[0], steps[-1]) == (1, 1)
    assert max(steps) <= most
    for one, other in pairwise(steps):
        assert other <= 2 * one


def attention(mapping: str, kind: str, length: int, engine: str, heads: int = 16) -> verbs.Run:
    given = [f"workload.kind={kind}", f"workload.ranks.H={heads}", f"workload.ranks.G={heads}"]
    return verbs.simulate(mapping, "flash_benchmark", length, engine_name=engine, settings=given)


def test_the_result_says_what_is_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    def notes(engine: str, limit: int) -> list[str]:
        monkeypatch.setattr(coarse, "MOST_TASKS", limit)
        run = attention("h200__flash_fwd", "dense", 4096, engine, heads=2)
        return [note for note in run.result.notes if "extrapolated" in note]

    tasks = attention("h200__flash_fwd", "dense", 4096, "compiled", heads=2).result.tasks
    (note,) = notes("steady", tasks - 1)
    assert "phase flash_fwd: up to 2 iterations of M1 are run as one, 2 times as long" in note
    assert "--engine compiled" in note
    assert notes("steady", tasks) == []
    assert notes("compiled", tasks - 1) == []


def test_as_few_iterations_as_will_do_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    run = attention("h200__flash_fwd", "dense", 8192, "compiled", heads=1)
    (phase,) = run.program.phases
    found = []
    for share in (1, 0.6, 0.4, 0.25, 0.01):
        monkeypatch.setattr(coarse, "MOST_TASKS", int(run.result.tasks * share))
        found.append(coarse.at_once(phase))
    assert found == [1, 2, 4, 8, 8]


TOLERANCE = 0.015
"""Of times, steps as large as they get; worst found 1.2 %. With two thread blocks on an SM that
advance by steps of different sizes, who ends first, and so which SM takes the last blocks, is
chance: causal FlashAttention-2 is held where there are many blocks for each SM."""


@pytest.mark.parametrize("length", [4096, 8192])
@pytest.mark.parametrize("kind", ["dense", "causal"])
@pytest.mark.parametrize("mapping", ["h200__flash_fwd", "h100__fa3", "h100__fa2", "a100__fa2"])
def test_shipped_kernels_take_nearly_the_same_time(
    mapping: str, kind: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = kind == "causal" and mapping.endswith("fa2")
    heads = 64 * 8192 // length if many else 16
    monkeypatch.setattr(coarse, "MOST_TASKS", 1)
    some, every = (
        attention(mapping, kind, length, engine, heads).result for engine in ("steady", "compiled")
    )
    (phase,) = some.phases
    assert phase["extrapolation"]["executed"] < every.tasks
    assert some.tasks == every.tasks
    assert some.actions == every.actions
    assert some.energy_pj == every.energy_pj
    for server, busy in every.busy_cycles.items():
        if server != "dram":
            assert some.busy_cycles[server] == busy
    assert some.seconds == pytest.approx(every.seconds, rel=TOLERANCE)
