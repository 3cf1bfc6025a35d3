"""The machine: levels, units, and the time, energy and area of what they do."""

from accelsim.arch.build import build
from accelsim.arch.machine import (
    Cache,
    Instruction,
    LaunchCost,
    Level,
    Limits,
    Machine,
    Operation,
    Unit,
)

__all__ = [
    "Cache",
    "Instruction",
    "LaunchCost",
    "Level",
    "Limits",
    "Machine",
    "Operation",
    "Unit",
    "build",
]
