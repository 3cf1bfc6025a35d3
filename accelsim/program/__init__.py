"""(cascade, machine, mapping, workload) -> Program: the cyclic task graph and its actions."""

from accelsim.program.clusters import check_launched
from accelsim.program.lower import lower
from accelsim.program.program import (
    CAUSES,
    MOST_MARKS,
    ROOT,
    Action,
    Edge,
    Guard,
    Loop,
    Phase,
    Program,
    Reservation,
    Rows,
    Server,
    Task,
)
from accelsim.program.rows import rows_of

__all__ = [
    "CAUSES",
    "MOST_MARKS",
    "ROOT",
    "Action",
    "Edge",
    "Guard",
    "Loop",
    "Phase",
    "Program",
    "Reservation",
    "Rows",
    "Server",
    "Task",
    "check_launched",
    "lower",
    "rows_of",
]
