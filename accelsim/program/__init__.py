"""(cascade, machine, mapping, workload) -> Program: the cyclic task graph and its actions."""

from accelsim.program.lower import lower
from accelsim.program.program import (
    CAUSES,
    ROOT,
    Action,
    Affine,
    Edge,
    Guard,
    Loop,
    Phase,
    Program,
    Reservation,
    Server,
    Task,
)

__all__ = [
    "CAUSES",
    "ROOT",
    "Action",
    "Affine",
    "Edge",
    "Guard",
    "Loop",
    "Phase",
    "Program",
    "Reservation",
    "Server",
    "Task",
    "lower",
]
