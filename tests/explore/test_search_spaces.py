"""What a search finds is what brute force finds, and no bound is more than a simulation."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from accelsim.errors import AccelsimError
from accelsim.explore import search
from accelsim.explore.search import drive
from accelsim.explore.search.bounds import Bounds
from accelsim.explore.search.problem import Problem
from accelsim.explore.search.space import Candidate, Group, Space
from tests.explore.searches import brute_force, files, random_search

SPACES = 200


def test_the_optimum_is_that_of_brute_force_and_bounds_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "ROUND", 1)  # else a small space is one round: nothing is pruned
    files(tmp_path)
    chance = random.Random(0)
    pruned = illegal = split = 0
    for _ in range(SPACES):
        problem = random_search(tmp_path, chance)
        every = brute_force(problem)
        size = Space(problem).size()
        assert len(every) == size - sum(cut.wrong is not None for cut in problem.tilings)
        legal = [(candidate, cycles) for candidate, cycles in every if cycles is not None]
        illegal += len(every) - len(legal)
        if not legal:
            with pytest.raises(AccelsimError, match="no legal mapping"):
                search.run(problem)
            continue
        found = search.run(problem)
        assert found.settled == "optimal"
        best = min(cycles for _, cycles in legal)
        assert found.front[0][0] == [best]
        pruned += size - found.counts.tried - found.counts.same
        split += len(found.front[0][1]["phases"]) > 1
        for candidate, cycles in legal:
            check_bounds(problem, candidate, cycles)
    # Else these spaces would not try the search.
    assert pruned > SPACES
    assert illegal > SPACES
    assert split


def test_bounds_hold_where_the_last_task_is_not_that_of_the_longest_end(tmp_path: Path) -> None:
    """S and Z on one unit, S first: what follows S on the other is longer than Z."""
    files(tmp_path)
    text = """
search: forked
source: tests
arch: fusemax
cascade: forked.yaml
workload: small.yaml
set: ["arch.units.array_2d.shape={rows: 8, cols: 8}", "arch.units.array_1d.shape={lanes: 8}"]
partition: {M: {M1: rest, M0: [16, 32]}, P: {P1: rest, P0: [16, 32]}}
units: {S: array_2d, Z: array_2d, T: array_1d}
phases: one
"""
    problem = search.load_text(text, str(tmp_path / "s.yaml"))
    legal = [(one, cycles) for one, cycles in brute_force(problem) if cycles is not None]
    assert legal
    for candidate, cycles in legal:
        check_bounds(problem, candidate, cycles)


def check_bounds(problem: Problem, candidate: Candidate, cycles: float) -> None:
    """Of a candidate and of all nodes above it."""
    bounds = Bounds(problem, Space(problem))
    fixed, done = 0.0, 0
    for group in candidate.groups:
        left = bounds.rest(candidate.tiling, done)
        assert fixed + left <= cycles
        done += len(group.einsums)
        left = bounds.rest(candidate.tiling, done)
        for own in of_group(bounds, candidate.tiling, group):
            assert fixed + own + left <= cycles
        fixed += own
    assert fixed > 0


def of_group(bounds: Bounds, tiling: int, group: Group) -> list[float]:
    """Bounds of a phase as its decisions are made, least first."""
    order = bounds.order(tiling, group.einsums)
    units = tuple(group.units[number] for number in order)
    out = [bounds.phase(tiling, group.einsums)]
    for many in range(len(units) + 1):
        out.append(bounds.phase(tiling, group.einsums, group.layout, units[:many]))
    return out
