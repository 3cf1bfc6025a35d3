"""Plain records that engines return, and the Result made of them."""

from accelsim.results.execution import (
    Execution,
    Extrapolation,
    LoopExtrapolation,
    PhaseExecution,
    Record,
)
from accelsim.results.result import Result
from accelsim.results.run import Run

__all__ = [
    "Execution",
    "Extrapolation",
    "LoopExtrapolation",
    "PhaseExecution",
    "Record",
    "Result",
    "Run",
]
