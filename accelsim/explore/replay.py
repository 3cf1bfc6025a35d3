"""A function of numbers for many points: run in Python once for each way that it decides.

The tapes of what was run (accelsim.traced) hang together as a tree: they are alike up to the first
decision that went another way. Points go down the tree together and part where they decide
differently; where no tape goes on, one of the points is run, and the others follow its tape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
    """Points on their way down: rows of all points, and columns of the nodes so far."""

    rows: Array
    nodes: list[Column]
    branch: _Branch | None
    parent: _Branch | None
    outcome: Any

    def part(self, rows: Array) -> list[Column]:
        return [node.at(rows) for node in self.nodes]


class Replay:
    """A function, and the tapes of it so far."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.root: _Branch | None = None
        self.runs = 0

    def __call__(
        self, inputs: dict[str, list[Any]], number: int
    ) -> Iterator[tuple[Array, Values, list[Column]]]:
        """Results of `number` points, in groups: their rows, and for each result a column of
        them, or what is the same for all; and the columns of all nodes, for marks in texts."""
        given = {name: arrays.of_values(values) for name, values in inputs.items()}
        every = np.arange(number)
        waiting = [_Group(every, [], self.root, None, None)]
        while waiting:
            group = waiting.pop()
            branch = group.branch
            if branch is None:
                first = int(group.rows[0])
                branch = self._run({name: values[first] for name, values in inputs.items()}, group)
            for event in branch.events:
                self._event(event, group, given)
            if branch.about is None:
                yield (
                    group.rows,
                    {
                        name: group.nodes[result.node] if isinstance(result, Traced) else result
                        for name, result in branch.results.items()
                    },
                    group.nodes,
                )
                continue
            waiting += _parted(group, branch)

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

    def _event(self, event: tuple[Any, ...], group: _Group, given: dict[str, Column]) -> None:
        nodes = group.nodes
        if event[0] == "input":
            nodes.append(given[event[1]].at(group.rows))
        elif event[0] == "constant":
            nodes.append(arrays.constant(event[2]))
        elif event[0] == "call":
            _, function, about, _ = event
            asked = np.empty((len(group.rows), len(about)), np.int64)
            for place, node in enumerate(about):
                column = nodes[node]
                assert isinstance(column, Whole)
                asked[:, place] = column.values
            found = function(asked)
            nodes += [arrays.of_whole(found[:, place]) for place in range(found.shape[1])]
        else:
            nodes.append(arrays.apply(event[0], [nodes[node] for node in event[1]]))


def _parted(group: _Group, branch: _Branch) -> Iterator[_Group]:
    assert branch.about is not None
    about = group.nodes[branch.about]
    if isinstance(about, arrays.Ratio):
        about = arrays.lowest(about)
        numbers = np.broadcast_arrays(about.numerator.values, about.denominator.values)
        from fractions import Fraction

        keys = np.empty(len(numbers[0]), object)
        keys[:] = [Fraction(int(a), int(b)) for a, b in zip(*numbers, strict=True)]
    else:
        keys = about.values
    if len(keys) == 1 or (keys == keys[0]).all():
        outcome = keys[0]
        yield _Group(group.rows, group.nodes, branch.follows.get(outcome), branch, outcome)
        return
    for outcome in np.unique(keys):
        rows = np.flatnonzero(keys == outcome)
        nodes = group.part(rows)
        yield _Group(group.rows[rows], nodes, branch.follows.get(outcome), branch, outcome)
