"""What is true for every mapping: passes, footprints, operation counts, bounds."""

from accelsim.analysis.bounds import Bounds, MachineRates, bounds

__all__ = ["Bounds", "MachineRates", "bounds"]
