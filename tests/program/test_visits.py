"""How often tasks run, and what of their tiles there is, counted without running anything."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim import engine, verbs
from accelsim.mapping.nest import End
from accelsim.program import Guard, Loop, Phase, Program
from accelsim.program.rows import renumbered
from accelsim.program.unroll import Tile
from accelsim.program.unroll import tiles as unrolled
from accelsim.program.visits import executed, visits
from tests.launches.drawn import built
from tests.random_programs import random_program
from tests.shipped import LAUNCHED, MAPPINGS, RUNS
from tests.strategies import listed_rows, loop_nests, programs, subsets

DRAWN = settings(max_examples=1000, derandomize=True, deadline=None, database=None)
Drawn = tuple[tuple[Loop, ...], Guard, list[End]]


def agree(made: Program) -> None:
    ran = engine.run(made, "compiled")
    for phase, run in zip(made.phases, ran.phases, strict=True):
        assert executed(phase) == run.executed.tolist(), made.name


@pytest.mark.parametrize("name", MAPPINGS)
def test_shipped_mappings(name: str) -> None:
    small = ("workload.ranks.B=2", "workload.ranks.H=3", "workload.ranks.T=4736")
    agree(verbs.simulate(name, "bert", 1024, settings=small).program)


@pytest.mark.parametrize("name", RUNS)
def test_other_shipped_mappings(name: str) -> None:
    model, length, changes = RUNS[name]
    agree(verbs.simulate(name, model, length, settings=changes).program)


@pytest.mark.parametrize("name", LAUNCHED)
def test_launched_mappings(name: str) -> None:
    agree(built(LAUNCHED[name])[1])


@given(programs())
@settings(max_examples=400, derandomize=True, deadline=None, database=None)
def test_random_programs(drawn: Program) -> None:
    agree(drawn)


def test_longer_random_programs() -> None:
    for seed in range(300):
        agree(random_program(seed))


@st.composite
def any_guards(draw: st.DrawFn, depth: int) -> Guard:
    """Every field at once, where guards of random programs have one or two."""
    one = st.one_of(st.just(()), subsets(depth))
    marks = st.one_of(st.just(()), subsets(2))
    return Guard(*(draw(one) for _ in range(4)), *(draw(marks) for _ in range(2)))


@st.composite
def all_ends(draw: st.DrawFn, loops: tuple[Loop, ...]) -> list[End]:
    """Of up to three ranks, each over no loop, one or more of them, in any order."""
    found = []
    for _ in range(draw(st.integers(0, 3))):
        own = draw(st.lists(st.integers(0, len(loops) - 1), max_size=2, unique=True))
        size = draw(st.integers(1, 5))
        number = prod(loops[loop].trips for loop in own)
        kept = draw(st.lists(st.integers(0, size), min_size=number, max_size=number))
        found.append(End(tuple(own), size, np.array(kept, np.int64)))
    return found


@st.composite
def two_nests(draw: st.DrawFn) -> tuple[Loop, ...]:
    """Two pairs of loops, each with rows of its own: only marks that both have tie them."""
    loops: list[Loop] = []
    for outer in (0, 2):
        loops.append(Loop(f"L{outer}", draw(st.integers(1, 3))))
        trips = draw(st.integers(1, 3))
        rows = renumbered(draw(listed_rows(loops[outer:], trips)), (outer,))
        loops.append(Loop(f"L{outer + 1}", trips, rows))
    return tuple(loops)


@st.composite
def nests_with_ends(draw: st.DrawFn) -> Drawn:
    loops = draw(st.one_of(loop_nests(), loop_nests(), two_nests()))
    return loops, draw(any_guards(len(loops))), draw(all_ends(loops))


def there(loops: tuple[Loop, ...], end: End, tile: Tile) -> int:
    at = [tile.coordinates[loop] for loop in end.loops]
    return int(end.kept.reshape([loops[loop].trips for loop in end.loops])[tuple(at)])


@given(nests_with_ends())
@DRAWN
def test_ends_of_tiles_are_summed(drawn: Drawn) -> None:
    """Against every tile: where the guard holds, the product of what there is of each rank."""
    loops, guard, ends = drawn
    every = [
        tile
        for tile in unrolled(Phase("phase", loops, (), ()))
        if guard.holds(tile.is_first, tile.is_last, tile.marks)
    ]
    assert visits(loops, guard) == len(every)
    expected = sum(prod(there(loops, end, tile) for end in ends) for tile in every)
    assert visits(loops, guard, ends) == expected
