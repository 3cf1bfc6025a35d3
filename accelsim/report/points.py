"""The points of a sweep as the report page takes them: one row per point, columns by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.errors import AccelsimError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Results of a sweep; N points.

    objectives: measure -> which end of it is best, `min` or `max`. breakdown: which columns are
    parts of one thing: `utilization` unit -> Einsum -> column, `traffic` level -> tensor -> `read`
    and `write` -> column, `energy` part -> column, `waits` unit -> cause -> column.
    point: [N] how points are called. axes: [N] values each. measures: [N] each, not a number where
    a point has none. error: [N] why a point failed, None where it did not.
    feasible: [N] whether a point keeps the study's constraints.
    measured: column -> its measure (docs/studies.md), where that is told.
    """

    name: str
    description: str
    objectives: dict[str, str]
    point: npt.NDArray[np.int64]
    axes: dict[str, list[Any]]
    measures: dict[str, Floats]
    error: list[str | None]
    feasible: npt.NDArray[np.bool_]
    breakdown: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """How many points failed."""
        return sum(message is not None for message in self.error)

    def row(self, point: int) -> int:
        """The row of a point. Raises AccelsimError."""
        (rows,) = np.nonzero(self.point == point)
        if not len(rows):
            least, most = int(self.point.min()), int(self.point.max())
            message = f"no point {point}: {self.name} has {least} to {most}"
            if least < point < most:
                message += ", but no row of this one: a constraint leaves it out, or it has not run"
            raise AccelsimError(message)
        return int(rows[0])
