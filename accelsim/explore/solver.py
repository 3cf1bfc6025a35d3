"""Rows of points: what a point's axes, its measures and the study's constraints make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from accelsim.errors import AccelsimError
from accelsim.explore import columns, space
from accelsim.explore.columns import Row, Table
from accelsim.explore.constraint import Constraint
from accelsim.explore.pointwise import first_fault
from accelsim.explore.space import Axes, Space

Measure = Callable[[Sequence[Axes]], Sequence[Row]]
"""Points to measures by their names, or {"error": TEXT}, in their order."""
Rows = list[tuple[Any, ...]]
Renamed = Sequence[tuple[str, str]]
LONGEST_ERROR = 500


class Solver:
    """Rows of ranges of points, as tuples in the order of the study's columns.

    renamed: texts of errors, and what stands in the rows for them.
    """

    def __init__(
        self,
        points: Space,
        table: Table,
        evaluate: Measure,
        of_machines: Measure | None,
        renamed: Renamed = (),
    ) -> None:
        self.points = points
        self.table = table
        self._evaluate = evaluate
        self._of_machines = of_machines
        self._error = table.columns[-1]
        self._renamed = renamed
        self._early = [
            (constraint, sources)
            for constraint, sources in table.constraints
            if all(measure.startswith(columns.OF_MACHINE) for _, measure in sources)
        ]

    def __call__(self, first: int, last: int) -> Rows:
        """Rows of the points from first up to last; of one that fails, with why."""
        asked = list(self.points.walk(first, last))
        found: list[Row] = [{"error": first_fault(wrong)} if wrong else {} for _, _, wrong in asked]
        left = [index for index, (_, _, wrong) in enumerate(asked) if wrong is None]
        if self._early and self._of_machines is not None:
            known = _each(self._of_machines, [asked[index][1] for index in left])
            for index, row in zip(left, known, strict=True):
                if self._excluded(asked[index][1], row):
                    found[index] = {**row, "excluded": True}
            left = [index for index in left if "excluded" not in found[index]]
        results = _each(self._evaluate, [asked[index][1] for index in left])
        for index, row in zip(left, results, strict=True):
            found[index] = row
        return [
            self.row(number, axes, row) for (number, axes, _), row in zip(asked, found, strict=True)
        ]

    def failed(self, first: int, last: int, why: str) -> Rows:
        """Rows of points from first up to last that all failed."""
        return [
            self.row(number, axes, {"error": why})
            for number, axes in self.points.points(first, last)
        ]

    def row(self, number: int, axes: Axes, found: Row) -> tuple[Any, ...]:
        """One row out of a point's measures."""
        at = [columns.typed(c, axes[c.name]) for c in self.table.axes]
        measures: list[Any] = [None] * len(self.table.measures)
        feasible, error = None, found.get("error")
        if error is None:
            try:
                measures = self._measures(found)
                if self.table.feasible:
                    feasible = self._feasible(axes, found)
            except AccelsimError as wrong:
                measures, error = [None] * len(measures), first_fault(wrong)
        marks = [feasible] if self.table.feasible else []
        text = columns.typed(self._error, error)
        for old, new in self._renamed:
            text = text and text.replace(old, new)
        return (number, *at, *measures, *marks, text and text[:LONGEST_ERROR])

    def _measures(self, found: Row) -> list[Any]:
        out = []
        for column in self.table.measures:
            if column.measure not in found and column.asked and "excluded" not in found:
                raise columns.missing(column, found)
            out.append(columns.typed(column, found.get(column.measure)))
        return out

    def _feasible(self, axes: Axes, found: Row) -> bool | None:
        """Whether all constraints on measures hold; None where one names an empty measure."""
        if "excluded" in found:
            return False
        held = [_holds(c, sources, axes, found) for c, sources in self.table.constraints]
        return False if False in held else None if None in held else True

    def _excluded(self, axes: Axes, found: Row) -> bool:
        try:
            return any(_holds(c, s, axes, found) is False for c, s in self._early)
        except AccelsimError:
            return False  # its row says why


def _holds(
    constraint: Constraint, sources: Sequence[tuple[str, str]], axes: Axes, found: Row
) -> bool | None:
    values = {name: found.get(measure) for name, measure in sources}
    if None in values.values():
        return None
    return constraint.holds(values | space.numbers(axes, set(constraint.names)))


def _each(evaluate: Measure, points: Sequence[Axes]) -> Sequence[Row]:
    """What a function gives for points; of those that it cannot take together, one by one."""
    if not points:
        return []
    try:
        found = evaluate(points)
        if len(found) != len(points):
            raise ValueError(f"{len(found)} rows for {len(points)} points")
        return found
    except AccelsimError as error:
        wrong = first_fault(error)
    except Exception as error:
        # Whatever it is, it is one point's fault and must not take the others with it.
        wrong = f"{type(error).__name__}: {error}"
    if len(points) == 1:
        return [{"error": wrong}]
    return [row for point in points for row in _each(evaluate, [point])]
