"""What one simulation made."""

from __future__ import annotations

from dataclasses import dataclass, field

from accelsim.program import Program
from accelsim.results.execution import Execution
from accelsim.results.result import Result


@dataclass(frozen=True)
class Run:
    """What `simulate` made: the result, and what it came from. Shown as its result.

    What is asked for most of a result can be asked of the run (docs/results.md).
    """

    result: Result
    program: Program = field(repr=False)
    execution: Execution = field(repr=False)

    @property
    def seconds(self) -> float:
        return self.result.seconds

    @property
    def cycles(self) -> int:
        return self.result.cycles

    @property
    def energy_pj(self) -> float:
        return self.result.energy_pj

    @property
    def utilization(self) -> dict[str, float]:
        return self.result.utilization

    @property
    def bottleneck(self) -> str:
        return self.result.bottleneck

    @property
    def notes(self) -> list[str]:
        return self.result.notes

    def _repr_html_(self) -> str:
        return self.result._repr_html_()
