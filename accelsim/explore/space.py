"""A design space: axes, some there only under a condition, and its points by their numbers.

Points are numbered in the order of the product of all axes, the last axis fastest, where an axis
whose condition does not hold counts once, as absent. Nothing is ever listed: how many points lie
below a choice of the first axes follows from which conditions of later axes that choice meets.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.errors import AccelsimError
from accelsim.explore.axes import Axis, axis_of
from accelsim.explore.constraint import Constraint, number_of, read
from accelsim.spec.studies import SweepSpec

Axes = dict[str, Any]
MAX_AXES = 100
MAX_POINTS = 1 << 62


@dataclass(frozen=True)
class _Condition:
    """on: index of the axis that it looks at. of: of the one that is there if it holds."""

    on: int
    of: int
    values: frozenset[Any]


class Space:
    """The points of a study. constraints: over axes alone; where one does not hold is no point."""

    def __init__(self, axes: Sequence[Axis], constraints: Sequence[Constraint] = ()) -> None:
        if len(axes) > MAX_AXES:
            raise AccelsimError(f"axes: more than {MAX_AXES}")
        self.axes = tuple(axes)
        self.constraints = tuple(constraints)
        self._names = [axis.name for axis in self.axes]
        place = {name: index for index, name in enumerate(self._names)}
        self._conditions = [
            _Condition(place[other], index, frozenset(values))
            for index, axis in enumerate(self.axes)
            for other, values in axis.when
        ]
        self._level: dict[tuple[int, tuple[bool, ...]], _Level] = {}
        self._seen = {name for constraint in constraints for name in constraint.names}
        self._length = self._below(0, ()).total
        if self._length > MAX_POINTS:
            raise AccelsimError("axes: more than 2^62 points")

    def __len__(self) -> int:
        """How many numbers points have; those that constraints leave out have one, too."""
        return self._length

    def points(self, first: int, last: int) -> list[tuple[int, Axes]]:
        """Numbers and axes (None: absent) of the points from first up to last, exclusive."""
        return [(number, axes) for number, axes, _ in self.walk(first, last)]

    def walk(self, first: int, last: int) -> Iterator[tuple[int, Axes, AccelsimError | None]]:
        """Points as `points` gives them, each with why a constraint has no value there."""
        for number, values in self._product((), (), 0, first, last):
            axes = dict(zip(self._names, values, strict=True))
            try:
                if self.constraints and not self._allowed(axes):
                    continue
            except AccelsimError as error:
                yield number, axes, error
            else:
                yield number, axes, None

    def _allowed(self, axes: Axes) -> bool:
        known = numbers(axes, self._seen)
        return all(constraint.holds(known) for constraint in self.constraints)

    def _product(
        self, chosen: tuple[Any, ...], met: tuple[bool, ...], base: int, first: int, last: int
    ) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Numbers and values of all axes, for numbers from first up to last.

        chosen: values of the axes so far. met: whether the conditions hold that those are for later
        axes. base: the number of the first point with these values.
        """
        depth = len(chosen)
        level = self._below(depth, met)
        if depth >= len(self.axes) - 1:
            for index in range(max(0, first - base), min(last - base, level.total)):
                yield base + index, (*chosen, *level.values[index : index + 1])
            return
        for index in range(level.holding(first - base), len(level.values)):
            start = base + level.before(index)
            if start >= last:
                return
            now = (*chosen, level.values[index])
            yield from self._product(now, level.met(index), start, first, last)

    def _below(self, depth: int, met: tuple[bool, ...]) -> _Level:
        """What the choices of an axis lead to, under the conditions met so far."""
        if (depth, met) not in self._level:
            self._level[depth, met] = self._made(depth, met)
        return self._level[depth, met]

    def _made(self, depth: int, met: tuple[bool, ...]) -> _Level:
        if depth == len(self.axes):
            return _Level((), [()], (), [1])
        conditions = list(enumerate(self._conditions))
        asked = [n for n, c in conditions if c.on < depth <= c.of]
        known = dict(zip(asked, met, strict=True))
        there = all(known[n] for n in asked if self._conditions[n].of == depth)
        values = self.axes[depth].values if there else (None,)
        later = [n for n, c in conditions if c.on <= depth < c.of]

        def next_met(value: Any) -> tuple[bool, ...]:
            at = self._conditions
            return tuple(known[n] if n in known else value in at[n].values for n in later)

        kind_of: tuple[int, ...] = ()
        if known.keys() >= set(later):
            kinds = [next_met(None)]
        else:
            numbered: dict[tuple[bool, ...], int] = {}
            kind_of = tuple(numbered.setdefault(next_met(v), len(numbered)) for v in values)
            kinds = list(numbered)
        counts = [self._below(depth + 1, kind).total for kind in kinds]
        return _Level(values, kinds, kind_of, counts)


class _Level:
    """The values of one axis and how many points each leads to.

    kinds: conditions met after it. kind_of: of each value; () when all are of the only kind.
    """

    def __init__(
        self,
        values: tuple[Any, ...],
        kinds: list[tuple[bool, ...]],
        kind_of: tuple[int, ...],
        counts: list[int],
    ) -> None:
        self.values = values
        self._kinds = kinds
        self._kind_of = kind_of
        self._each = counts[0] if len(set(counts)) == 1 else 0
        steps = () if self._each else (counts[kind] for kind in kind_of)
        self._ends = list(itertools.accumulate(steps))
        self.total = self._ends[-1] if self._ends else self._each * max(1, len(values))

    def holding(self, number: int) -> int:
        """Index of the value that leads to a point, counted from the first one here."""
        if number <= 0:
            return 0
        return number // self._each if self._each else bisect_right(self._ends, number)

    def before(self, index: int) -> int:
        """How many points the values before that at `index` lead to."""
        if self._each:
            return self._each * index
        return self._ends[index - 1] if index else 0

    def met(self, index: int) -> tuple[bool, ...]:
        return self._kinds[self._kind_of[index] if self._kind_of else 0]


def of(sweep: SweepSpec) -> Space:
    """The design space of a sweep that `load` has checked."""
    axes = [axis_of(name, form) for name, form in sweep.axes.items()]
    names = {axis.name for axis in axes}
    read_all = [read(text, lambda name: True, ()) for text in sweep.constraints]
    return Space(axes, [one for one in read_all if names.issuperset(one.names)])


def numbers(axes: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """What constraints compute with: the axes among `names` that are there, as numbers."""
    return {
        name: number_of(value)
        for name, value in axes.items()
        if name in names and value is not None
    }
