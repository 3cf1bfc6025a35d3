"""Plain records that engines return, and the Result made of them."""

from accelsim.results.execution import Execution, PhaseExecution, Record
from accelsim.results.result import Result

__all__ = ["Execution", "PhaseExecution", "Record", "Result"]
