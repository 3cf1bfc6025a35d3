"""A search run: all mappings that could be better, or a bred part of them.

Candidates are dealt out in rounds of a fixed number, in the order of their bounds, and the best is
brought up to date between rounds. So what is tried, and what is found, does not depend on how many
processes try it, nor on stops.
"""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, Literal

from accelsim.errors import AccelsimError, Fault
from accelsim.explore.search.breed import breed, installed
from accelsim.explore.search.evaluate import Evaluate, Found
from accelsim.explore.search.pool import Pool, pool
from accelsim.explore.search.problem import Problem
from accelsim.explore.search.record import Record, merged
from accelsim.explore.search.space import Candidate
from accelsim.explore.search.tree import Tree
from accelsim.explore.search.writing import text
from accelsim.spec import is_path

ROUND = 16
"""Candidates of a round, each with all pipelines of its last phase; fewer at the budget's end."""
NODES, LEAST = 50, 1000
"""Nodes of the tree that may be made for each mapping that may be tried, or for the least number of
them: so a walk ends, and fits into memory, where bounds tell nothing apart."""
TOLD_SECONDS = 1.0
"""So often is told of a walk that comes to no candidate."""
INSTALL = "pip install 'accelsim[search]'"
Told = Callable[["Progress"], None]
Settled = Literal["optimal", "budget", "bred", "unbred", "stopped"]
"""unbred: breeding would go on, but pymoo is not installed."""


@dataclass
class Counts:
    """Candidates: tried, of which simulated; the same as another; refused, by rule."""

    simulated: int = 0
    same: int = 0
    illegal: Counter[str] = field(default_factory=Counter)

    def add(self, found: Found) -> None:
        self.simulated += found.simulated
        self.same += found.same
        self.illegal.update(found.illegal)

    @property
    def tried(self) -> int:
        return self.simulated + self.illegal.total()


@dataclass(frozen=True)
class Progress:
    """What is told after each round, and of a long walk between two. least: no mapping that is left
    is faster, where known."""

    tried: int
    budget: int
    best: list[float] | None
    least: float | None
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a search came to. front: (values of the objectives, mapping as the keys of its file),
    best first; one where there is one objective. size: candidates of the space. least: in cycles;
    no mapping that was not tried is faster, where that is known."""

    problem: Problem
    settled: Settled
    front: list[tuple[list[float], dict[str, Any]]]
    size: int
    counts: Counts
    least: float | None
    method: str

    def as_json(self) -> dict[str, Any]:
        counts, spec = self.counts, self.problem.spec
        refused = sum(counts.illegal.values())
        return {
            "search": spec.search,
            "seq_len": self.problem.seq_len,
            "method": self.method,
            "settled": self.settled,
            "claim": self.claim,
            "front": [self._values(v) | {"mapping": mapping} for v, mapping in self.front],
            "no_other_below_cycles": self.least,
            "candidates": self.size,
            "simulated": counts.simulated,
            "same_as_another": counts.same,
            "illegal": dict(sorted(counts.illegal.items())),
            "never_looked_at": self.size - counts.simulated - counts.same - refused,
            "inputs": self.problem.inputs,
        }

    def _values(self, values: list[float]) -> dict[str, float]:
        """Values of the objectives by name; cycles as a Result has them, rounded up."""
        named = dict(zip(self.problem.spec.objectives, values, strict=True))
        if "cycles" in named:
            named["cycles"] = ceil(named["cycles"])
        return named

    @property
    def claim(self) -> str:
        """What is known of the result."""
        within = self.problem.spec.within
        if self.settled == "optimal" and within is not None:
            return f"optimal in this space, to within {float(within):.3g} of it"
        if self.settled == "optimal":
            what = "optimal in this space" if len(self.problem.spec.objectives) == 1 else None
            return what or "all of this space was tried: no other mapping is better in every way"
        if self.settled == "bred":
            return "the best of those that were bred; others may be better"
        if not self.front:
            return "nothing was found before the search was stopped"
        if self.settled == "unbred":
            return f"the best so far, not proved best; NSGA-II would go on: {INSTALL}"
        why = "the search was stopped" if self.settled == "stopped" else "the budget was spent"
        return f"the best so far, not proved best: {why}"

    def command(self, path: Path) -> str:
        """The command that gives the same numbers for a file that was written at a path."""
        spec = self.problem.spec
        model: str = spec.workload
        if is_path(model, "workload"):
            model = os.path.relpath((self.problem.folder / model).resolve())
        words = ["accelsim", "run", "--mapping", str(path), "--model", model]
        if self.problem.seq_len is not None:
            words += ["--seq-len", str(self.problem.seq_len)]
        for setting in spec.set:
            words += ["--set", setting]
        return shlex.join(words)

    def file(self, path: Path, number: int = 0) -> str:
        """The text of a mapping file of the front, to be written to a path."""
        values, mapping = self.front[number]
        spec = self.problem.spec
        said = ", ".join(f"{value:,} {name}" for name, value in self._values(values).items())
        about = (
            f"found by `accelsim search` ({spec.search}; {self.claim}; {said}) among "
            f"{self.size:,} mappings"
        )
        if spec.set:
            about += "; with " + " ".join(f"--set '{setting}'" for setting in spec.set)
        return text(mapping, self.problem, path, about)


def run(
    problem: Problem,
    *,
    out: Path | None = None,
    resume: bool = False,
    workers: int = 1,
    told: Told | None = None,
) -> Outcome:
    """Search. out: folder that keeps what is found out; resume: go on with it.

    After KeyboardInterrupt the outcome is what was found so far (`stopped`). Raises AccelsimError,
    also where no mapping of the space is legal, or `method: nsga2` has no pymoo.
    """
    if problem.spec.method == "nsga2" and not installed():
        raise AccelsimError(f"method: nsga2 needs pymoo: {INSTALL}")
    evaluate = Evaluate(problem)
    record = Record(problem, out, resume=resume)
    searching = _Search(problem, evaluate, record, told)
    try:
        with pool(evaluate, workers) as asked:
            searching.run(asked)
    except KeyboardInterrupt:
        searching.settled = "stopped"
    finally:
        record.flush()
    return searching.outcome()


class _Search:
    def __init__(
        self, problem: Problem, evaluate: Evaluate, record: Record, told: Told | None
    ) -> None:
        self.problem = problem
        self.evaluate = evaluate
        self.record = record
        self.told = told
        self.space = evaluate.space
        self.begin = time.monotonic()
        self.last_told = self.begin
        self.size = self.space.size()
        self.counts = Counts()
        self.front: list[tuple[list[float], Candidate]] = []
        self.settled: Settled = "budget"
        self.least: float | None = None
        self.method = "exhaustive"
        self.wrong = sum(cut.wrong is not None for cut in problem.tilings)
        if self.wrong:
            self.counts.illegal["a part does not divide its rank's tiles"] = self.wrong

    @property
    def tried(self) -> int:
        """Mappings that cost budget: tilings that are wrong were none."""
        return self.counts.tried - self.wrong

    def run(self, asked: Pool) -> None:
        spec = self.problem.spec
        points = spec.budget.points
        breeds = spec.method != "exhaustive" and installed()
        # Without bounds every candidate is looked at: no use to begin with what cannot end.
        hopeless = not self.evaluate.bounds.holds and self.size > points
        if spec.method != "nsga2" and not (breeds and hopeless):
            self.all(asked, -(-points // 2) if breeds else points)
        if self.settled != "optimal" and breeds and self.left(points):
            self.method = "nsga2"
            breed(self, asked)
            self.prove()
        elif self.settled != "optimal" and spec.method == "auto" and not breeds:
            self.settled = "budget" if self.late() else "unbred"

    def all(self, asked: Pool, points: int) -> None:
        """Every candidate that could be better than the best so far."""
        tree = Tree(self.space, self.evaluate.bounds)
        within = float(self.problem.spec.within or 0)
        every = len(self.space.pipelines)
        cut = float("inf")
        while self.left(points):
            below = float("inf")
            if self.front and self.evaluate.bounds.holds:
                below = self.front[0][0][0] * (1 - within)
            # A round fits into what is left of the budget; the last candidate may be cut.
            rest = points - self.tried
            most = min(ROUND, max(1, rest // every))
            watch = partial(self.over, tree)
            candidates = tree.leaves(most, below, NODES * max(points, LEAST), watch)
            if not candidates:
                break
            ask = partial(asked.pipelines, most=min(every, rest))
            for candidate, found in zip(
                candidates, self.record.answers(candidates, ask), strict=True
            ):
                self.add(candidate, found)
                if found.tried + found.same < every:
                    cut = min(cut, tree.last)
            self.tell(tree.least)
        least = min(tree.least, cut)
        if least == float("inf"):
            self.settled = "optimal"
        elif self.evaluate.bounds.holds:
            self.least = least if least < 1e300 else None
            self.prove()

    def prove(self) -> None:
        """Optimal is what nothing left can beat, in whole cycles, whatever ended the search."""
        if self.least is not None and self.front:
            within = float(self.problem.spec.within or 0)
            best = self.front[0][0][0]
            if self.least >= best * (1 - within) or ceil(self.least) >= ceil(best):
                self.settled = "optimal"

    def left(self, points: int) -> bool:
        """Whether anything of the budget is left."""
        return not self.late() and self.tried < points

    def late(self) -> bool:
        """Whether the seconds of the budget are spent."""
        seconds = self.problem.spec.budget.seconds
        return seconds is not None and time.monotonic() - self.begin >= seconds

    def over(self, tree: Tree) -> bool:
        """Asked by a walk that may be long: whether it is late. Tells of it, too."""
        if time.monotonic() - self.last_told >= TOLD_SECONDS:
            self.tell(tree.least)
        return self.late()

    def add(self, candidate: Candidate, found: Found) -> None:
        self.counts.add(found)
        self.front = merged(self.front, found, candidate, self.space.pipelines)

    def tell(self, least: float | None) -> None:
        self.last_told = time.monotonic()
        if self.told is not None:
            best = min((values for values, _ in self.front), default=None)
            known = least if least is not None and 0 < least < 1e300 else None
            spent = time.monotonic() - self.begin
            budget = self.problem.spec.budget.points
            self.told(Progress(self.tried, budget, best, known, spent))

    def outcome(self) -> Outcome:
        if not self.front and self.settled != "stopped":
            raise AccelsimError(self.nothing())
        self.front.sort(key=lambda one: one[0])
        front = [(values, self.evaluate.writer.values(c)) for values, c in self.front]
        least, method = self.least, self.method
        return Outcome(self.problem, self.settled, front, self.size, self.counts, least, method)

    def nothing(self) -> Fault:
        """Why nothing was found."""
        name = self.problem.spec.search
        if self.counts.tried:
            reasons = ", ".join(f"{n:,} x {why}" for why, n in self.counts.illegal.most_common())
            more = (f"NSGA-II would go on: {INSTALL}",) if self.settled == "unbred" else ()
            return Fault(f"{name}: no legal mapping among those tried: {reasons}", help=more)
        if self.late():
            seconds = float(self.problem.spec.budget.seconds or 0)
            message = f"{name}: no mapping was tried in the {seconds:g} s of budget.seconds"
        else:
            message = f"{name}: no mapping was tried: too many have bounds that are alike"
        return Fault(message, help=("give more, or `method: nsga2`, which begins without bounds",))
