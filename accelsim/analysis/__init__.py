"""What is true for every mapping: passes, footprints, operation counts, bounds."""

from accelsim.analysis.analyze import Analysis, analyze
from accelsim.analysis.bounds import Bounds, MachineRates, bounds
from accelsim.analysis.passes import PassAnalysis, passes

__all__ = [
    "Analysis",
    "Bounds",
    "MachineRates",
    "PassAnalysis",
    "analyze",
    "bounds",
    "passes",
]
