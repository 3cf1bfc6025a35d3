"""What candidates come to: built, lowered and run, in this process or in others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from accelsim import engine, program, verbs
from accelsim.errors import AccelsimError
from accelsim.explore.measures import measures
from accelsim.explore.search.bounds import Bounds
from accelsim.explore.search.problem import Problem
from accelsim.explore.search.space import Candidate, Space
from accelsim.explore.search.writing import Writer


@dataclass
class Found:
    """What came of candidates that are alike but for the pipeline of their last phase.

    front: (values of the objectives, number of the pipeline): none is as good as another in all
    values; of equals, the first. simulated, same: how many were run, and were the same mapping as
    one before. illegal: reason -> how many.
    """

    front: list[tuple[list[float], int]] = field(default_factory=list)
    simulated: int = 0
    same: int = 0
    illegal: dict[str, int] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        return self.simulated + sum(self.illegal.values())

    def as_json(self) -> list[Any]:
        return [self.front, self.simulated, self.same, self.illegal]

    @staticmethod
    def from_json(values: list[Any]) -> Found:
        front, simulated, same, illegal = values
        return Found([(list(v), number) for v, number in front], simulated, same, illegal)

    def add(self, values: list[float], number: int) -> None:
        """One more that was simulated."""
        self.simulated += 1
        if not any(no_worse(known, values) for known, _ in self.front):
            self.front = [one for one in self.front if not no_worse(values, one[0])]
            self.front.append((values, number))


def no_worse(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether it is at least as good in all values."""
    return all(a <= b for a, b in zip(one, other, strict=True))


class Evaluate:
    """Candidates to values of the objectives."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.space = Space(problem)
        self.bounds = Bounds(problem, self.space)
        self.writer = Writer(problem, self.bounds)
        self._wanted = tuple(problem.spec.objectives)

    def all_pipelines(self, candidate: Candidate, most: int) -> Found:
        """The best of a candidate with any pipeline of its last phase. Of equals, the first.

        most: pipelines that are tried; the same as one before is not.
        """
        found = Found()
        illegal: Counter[str] = Counter()
        seen: set[str] = set()
        last = candidate.groups[-1]
        for number, (late, newest) in enumerate(self.space.pipelines):
            if found.simulated + illegal.total() == most:
                break
            groups = (*candidate.groups[:-1], replace(last, late=late, newest=newest))
            try:
                values = self.writer.values(replace(candidate, groups=groups))
                text = json.dumps(values["phases"])
                if text in seen:
                    found.same += 1
                    continue
                seen.add(text)
                numbers = self.measured(values)
            except Exception as error:
                illegal[rule(error)] += 1
                continue
            found.add(numbers, number)
        found.illegal = dict(sorted(illegal.items()))
        return found

    def just(self, candidate: Candidate) -> Found:
        """What comes of a candidate as it is."""
        last = candidate.groups[-1]
        found = Found()
        try:
            values = self.measured(self.writer.values(candidate))
        except Exception as error:
            return Found(illegal={rule(error): 1})
        found.add(values, self.space.pipelines.index((last.late, last.newest)))
        return found

    def measured(self, values: dict[str, Any]) -> list[float]:
        """Values of the objectives of a mapping. Raises AccelsimError where it is illegal."""
        mapped = self.writer.built(values)
        lowered = program.lower(mapped)
        execution = engine.run(lowered)
        if self._wanted == ("cycles",):
            return [execution.ticks / lowered.ticks_per_cycle]
        loaded = verbs.Loaded(mapped, self.problem.shapes, self.problem.tables, {}, [])
        result = verbs.measured(loaded, lowered, execution)
        known = measures({"run": result}) | {"cycles": result.ticks / result.ticks_per_cycle}
        return [float(known[name]) for name in self._wanted]


def rule(error: Exception) -> str:
    """Which rule refused a mapping: its message without names and numbers.

    What is no AccelsimError is a fault of the code. It costs that candidate, not the search.
    """
    if not isinstance(error, AccelsimError):
        first = next(iter(str(error).splitlines()), "")
        return f"internal error: {type(error).__name__}: {first}"
    message = error.faults[0].message
    for mark, said in RULES:
        if mark in message:
            return said
    return message


RULES = (
    (" holds ", "what is held does not fit its level"),
    ("pass boundary", "fused across a pass boundary"),
    ("deadlocks", "the order within an epoch deadlocks"),
    ("does not divide", "a part does not divide its rank's tiles"),
    ("offset", "read at an offset, which no tile of the phase is at"),
    ("iterative", "a recurrence needs all parts of its rank as loops"),
    ("recurrence", "a recurrence in a loop or a stage that it cannot have"),
    ("more than a mapping file can say", "more tiles held than a mapping file can say"),
    ("told apart", "more tiles to tell apart than the engines hold"),
    ("expected at least one loop", "a phase without a loop"),
    ("reads", "read at a coordinate that no tile of the phase is at"),
)
