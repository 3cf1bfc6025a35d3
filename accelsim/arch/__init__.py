"""The machine: levels, units, and the time, energy and area of what they do."""

from accelsim.arch.build import build
from accelsim.arch.machine import Level, Machine, Operation, Unit

__all__ = ["Level", "Machine", "Operation", "Unit", "build"]
