"""Mappings bred by NSGA-II, where there are too many to try all.

A genome is a number from 0 up to 1 for each decision: which of the choices that the decisions
before it leave. Source: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II",
2002, as pymoo has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelsim.explore.search.evaluate import Found
from accelsim.explore.search.pool import Pool
from accelsim.explore.search.space import Candidate, Group, Space

if TYPE_CHECKING:
    from accelsim.explore.search.drive import _Search

POPULATION = 48
PER_EINSUM = 4
"""Decisions on an Einsum: its unit; whether it begins a phase; of that, its layout and pipeline."""
BEGINS = 0.5
"""From here on an Einsum begins a phase."""
IDLE = 40
"""So many generations without a mapping that is new, and the search ends."""


def installed() -> bool:
    """Whether there is what breeding needs."""
    return find_spec("pymoo") is not None


def breed(searching: _Search, asked: Pool) -> None:
    """Breed until the budget is spent. What was found before takes part. Needs pymoo."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.problem import Problem
    from pymoo.problems.static import StaticProblem
    from pymoo.termination import get_termination

    space, spec = searching.space, searching.problem.spec
    many = 1 + PER_EINSUM * len(searching.problem.names)
    chance = np.random.default_rng(spec.seed)
    first = np.array([drawn(chance, many) for _ in range(POPULATION)])
    for row, (_, candidate) in zip(first, searching.front, strict=False):
        row[:] = genome(space, candidate)
    shape = Problem(
        n_var=many, n_obj=len(spec.objectives), n_ieq_constr=1, xl=np.zeros(many), xu=np.ones(many)
    )
    algorithm = NSGA2(pop_size=POPULATION, sampling=first)
    algorithm.setup(shape, termination=get_termination("n_gen", 1 << 30), seed=spec.seed)
    known: dict[Candidate, Found] = {}
    idle = 0
    while searching.left(spec.budget.points) and idle < IDLE:
        people = algorithm.ask()
        rows = people.get("X")
        candidates = [decoded(space, row) for row in rows]
        for number, candidate in enumerate(candidates):
            if candidate in known or candidate in candidates[:number]:
                # Genomes that differ may mean the same: a newcomer tells more.
                rows[number] = drawn(chance, many)
                candidates[number] = decoded(space, rows[number])
        people.set("X", rows)
        new = [one for one in dict.fromkeys(candidates) if one not in known]
        rest = spec.budget.points - searching.tried
        new, cut = new[:rest], len(new) > rest
        for candidate, found in zip(new, searching.record.answers(new, asked.one), strict=True):
            known[candidate] = found
            searching.add(candidate, found)
        if cut:
            break
        idle = 0 if new else idle + 1
        values, broken = _scores([known[one] for one in candidates], len(spec.objectives))
        Evaluator().eval(StaticProblem(shape, F=values, G=broken), people)
        algorithm.tell(infills=people)
        searching.tell(None)
    searching.settled = "bred"


def drawn(chance: np.random.Generator, many: int) -> npt.NDArray[np.float64]:
    """A genome by chance: of many phases or few, else few would ever be in one piece."""
    row = chance.random(many)
    begins = chance.random(len(row[2::PER_EINSUM])) < chance.random()
    row[2::PER_EINSUM] = (row[2::PER_EINSUM] + begins) / 2
    return row


def _scores(found: Sequence[Found], objectives: int) -> tuple[Any, Any]:
    """Values of the objectives, and by how much constraints are broken: an illegal mapping by 1."""
    values = np.zeros((len(found), objectives))
    broken = np.ones((len(found), 1))
    for row, one in enumerate(found):
        if one.front:
            values[row], broken[row] = one.front[0][0], 0
    return values, broken


def decoded(space: Space, row: Sequence[float]) -> Candidate:
    """The candidate of a genome."""
    problem = space.problem
    legal = [number for number, cut in enumerate(problem.tilings) if cut.wrong is None]
    tiling = legal[_which(row[0], len(legal))]
    names, groups, first = problem.names, [], 0
    while first < len(names):
        choices = list(space.groups(first))
        if len(choices) > 1:
            # Where the next phase begins: at the first Einsum that wants to.
            begins = [row[1 + PER_EINSUM * i + 1] for i in range(first + 1, len(names))]
            size = next((n + 1 for n, wish in enumerate(begins) if wish >= BEGINS), len(choices))
        else:
            size = len(choices[0])
        einsums = names[first : first + size]
        at = 1 + PER_EINSUM * first
        layouts = space.layouts(tiling, einsums)
        layout = layouts[_which(row[at + 2], len(layouts))]
        late, newest = space.pipelines[_which(row[at + 3], len(space.pipelines))]
        able = [problem.able[name] for name in einsums]
        units = tuple(
            one[_which(row[1 + PER_EINSUM * (first + i)], len(one))] for i, one in enumerate(able)
        )
        groups.append(Group(einsums, layout, units, late, newest))
        first += size
    return Candidate(tiling, tuple(groups))


def genome(space: Space, candidate: Candidate) -> list[float]:
    """A genome of a candidate."""
    problem = space.problem
    legal = [number for number, cut in enumerate(problem.tilings) if cut.wrong is None]
    row = [0.0] * (1 + PER_EINSUM * len(problem.names))
    row[0] = _middle(legal.index(candidate.tiling), len(legal))
    first = 0
    for group in candidate.groups:
        at = 1 + PER_EINSUM * first
        layouts = space.layouts(candidate.tiling, group.einsums)
        row[at + 2] = _middle(layouts.index(group.layout), len(layouts))
        pipeline = space.pipelines.index((group.late, group.newest))
        row[at + 3] = _middle(pipeline, len(space.pipelines))
        for i, (name, unit) in enumerate(zip(group.einsums, group.units, strict=True)):
            able = problem.able[name]
            row[1 + PER_EINSUM * (first + i)] = _middle(able.index(unit), len(able))
            row[1 + PER_EINSUM * (first + i) + 1] = (BEGINS + (i == 0)) / 2
        first += len(group.einsums)
    return row


def _which(share: float, number: int) -> int:
    return min(int(share * number), number - 1)


def _middle(number: int, of: int) -> float:
    return (number + 0.5) / of
