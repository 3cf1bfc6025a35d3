"""Points to measures, one after the other: the plain way, which faster ones are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.errors import AccelsimError
from accelsim.explore import sweep
from accelsim.explore.columns import OF_MACHINE, Row
from accelsim.explore.measures import measures
from accelsim.explore.reading import Document
from accelsim.explore.space import Axes
from accelsim.results import Result


@dataclass(frozen=True)
class Pointwise:
    """Measures of points, by their names; {"error": TEXT} for a point that fails.

    by_run: also RUN.MEASURE, of each run alone.
    """

    document: Document
    by_run: bool

    def __call__(self, points: Sequence[Axes]) -> list[Row]:
        return [self._row(axes) for axes in points]

    def _row(self, axes: Axes) -> Row:
        try:
            if self.document.spec.execute is not None:
                return sweep.executed_point(self.document, axes)
            results = sweep.point(self.document, axes)
        except AccelsimError as error:
            return {"error": first_fault(error)}
        return measures_of(results, by_run=self.by_run)


@dataclass(frozen=True)
class OfMachines:
    """Measures of points that depend on their machines alone; none for a point that fails."""

    document: Document

    def __call__(self, points: Sequence[Axes]) -> list[Row]:
        return [self._row(axes) for axes in points]

    def _row(self, axes: Axes) -> Row:
        try:
            area = sweep.machine_of(self.document, axes).area_um2
        except AccelsimError:
            return {}  # its simulation says why
        parts = {name: float(um2) for name, um2 in area.items()}
        row = {f"{OF_MACHINE}_{name}": um2 for name, um2 in parts.items()}
        return row | {OF_MACHINE: sum(parts.values())}


def measures_of(results: dict[str, Result], *, by_run: bool) -> Row:
    """All measures of a point; by_run: of each run alone, too."""
    row = measures(results)
    for run in results if by_run else ():
        alone = measures({run: results[run]})
        row |= {f"{run}.{name}": value for name, value in alone.items()}
    return row


def first_fault(error: AccelsimError) -> str:
    """The first line of an error: where, and what was expected."""
    return error.faults[0].render().split("\n", 1)[0]
