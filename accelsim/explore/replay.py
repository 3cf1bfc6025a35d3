"""A function of numbers for many points: run in Python once for each way that it decides.

The tapes of what was run (accelsim.traced) hang together as a tree: they are alike up to the first
decision that went another way. Points go down the tree together and part where they decide
differently; where no tape goes on, one of the points is run, and the others follow its tape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from accelsim.explore import arrays
from accelsim.explore.arrays import Array, Column, Whole
from accelsim.traced import Tape, Traced

Values = dict[str, Any]
Function = Callable[[Values], dict[str, Any]]
"""Of numbers by name, plain or traced, to results by name: numbers, or anything else."""


@dataclass
class _Branch:
    """Events up to a decision, and what follows for each outcome; or to the end, and results.

    passed: how many events stand before these.
    """

    passed: int
    events: list[tuple[Any, ...]]
    about: int | None = None
    follows: dict[Any, _Branch] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Group:
    """Points on their way down: rows of all points; the event of each node, and which of its
    numbers it is; columns of the nodes that were needed so far.
    """

    rows: Array
    made: list[tuple[tuple[Any, ...], int]]
    known: dict[int, Column]
    branch: _Branch | None
    parent: _Branch | None = None
    outcome: Any = None

    def column(self, node: int, given: dict[str, Column]) -> Column:
        """The numbers of a node. given: the inputs, of all points."""
        waiting = [node]
        while waiting:
            last = waiting[-1]
            if last in self.known:
                waiting.pop()
                continue
            event, place = self.made[last]
            about = event[2] if event[0] == "call" else event[1]
            needs = () if event[0] in {"input", "constant"} else about
            missing = [one for one in needs if one not in self.known]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            if event[0] == "input":
                self.known[last] = given[event[1]].at(self.rows)
            elif event[0] == "constant":
                self.known[last] = arrays.constant(event[2])
            elif event[0] == "call":
                self._called(event, last - place)
            else:
                self.known[last] = arrays.apply(event[0], [self.known[one] for one in about])
        return self.known[node]

    def _called(self, event: tuple[Any, ...], first: int) -> None:
        _, function, about, _ = event
        asked = np.empty((len(self.rows), len(about)), np.int64)
        for place, node in enumerate(about):
            column = self.known[node]
            assert isinstance(column, Whole)
            asked[:, place] = column.values
        found = function(asked)
        for place in range(found.shape[1]):
            self.known[first + place] = arrays.of_whole(found[:, place])

    def add(self, events: list[tuple[Any, ...]]) -> None:
        for event in events:
            many = event[3] if event[0] == "call" else 1
            self.made += [(event, place) for place in range(many)]

    def parted(self, given: dict[str, Column]) -> Iterator[_Group]:
        """The groups that decide alike at the end of the branch."""
        branch = self.branch
        assert branch is not None
        assert branch.about is not None
        keys = _keys(self.column(branch.about, given))
        if len(keys) == 1 or (keys == keys[0]).all():
            outcome = keys[0]
            follows = branch.follows.get(outcome)
            yield _Group(self.rows, self.made, self.known, follows, branch, outcome)
            return
        for outcome in np.unique(keys):
            rows = np.flatnonzero(keys == outcome)
            known = {node: column.at(rows) for node, column in self.known.items()}
            follows = branch.follows.get(outcome)
            yield _Group(self.rows[rows], list(self.made), known, follows, branch, outcome)


@dataclass(frozen=True)
class Found:
    """Results of a group of points. rows: theirs, of all points that were asked for."""

    rows: Array
    results: dict[str, Any]
    _group: _Group
    _given: dict[str, Column]

    def __getitem__(self, name: str) -> Any:
        """A column of a result; what is no number, or the same for all, as it is."""
        result = self.results[name]
        return self.column(result.node) if isinstance(result, Traced) else result

    def column(self, node: int) -> Column:
        return self._group.column(node, self._given)


class Replay:
    """A function, and the tapes of it so far."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.root: _Branch | None = None
        self.runs = 0

    def __call__(self, inputs: dict[str, list[Any]], number: int) -> Iterator[Found]:
        """Results of `number` points, in groups that decide alike."""
        given = {name: arrays.of_values(values) for name, values in inputs.items()}
        waiting = [_Group(np.arange(number), [], {}, self.root)]
        while waiting:
            group = waiting.pop()
            if group.branch is None:
                first = int(group.rows[0])
                values = {name: column[first] for name, column in inputs.items()}
                group.branch = self._run(values, group)
            group.add(group.branch.events)
            if group.branch.about is None:
                yield Found(group.rows, group.branch.results, group, given)
            else:
                waiting += group.parted(given)

    def _run(self, values: Values, group: _Group) -> _Branch:
        """Run the function for one point; its tape goes on where the group stands."""
        self.runs += 1
        tape = Tape()
        results = self.function({name: tape.input(name, one) for name, one in values.items()})
        passed = 0
        if group.parent is not None:
            passed = group.parent.passed + len(group.parent.events) + 1
        top = here = _Branch(passed, [])
        for event in tape.events[passed:]:
            passed += 1
            if event[0] != "decide":
                here.events.append(event)
                continue
            here.about = event[1]
            following = _Branch(passed, [])
            here.follows[event[2]] = following
            here = following
        here.results = results
        if group.parent is None:
            self.root = top
        else:
            group.parent.follows[group.outcome] = top
        return top


def _keys(about: Column) -> Array:
    """Numbers that tell outcomes apart."""
    if not isinstance(about, arrays.Ratio):
        return about.values
    about = arrays.lowest(about)
    numbers = np.broadcast_arrays(about.numerator.values, about.denominator.values)
    keys = np.empty(len(numbers[0]), object)
    keys[:] = [Fraction(int(a), int(b)) for a, b in zip(*numbers, strict=True)]
    return keys
