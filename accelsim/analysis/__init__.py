"""What is true for every mapping: passes, footprints, operation counts, bounds."""

from accelsim.analysis.analyze import Analysis, analyze
from accelsim.analysis.bounds import (
    Bounds,
    Intensity,
    MachineRates,
    Schedule,
    best_known_schedule,
    bounds,
    intensity,
)
from accelsim.analysis.counts import total_counts
from accelsim.analysis.formulas import Formula, Product, evaluate
from accelsim.analysis.passes import PassAnalysis, passes
from accelsim.analysis.summary import Summary, summary
from accelsim.analysis.tables import (
    Tables,
    WrongTable,
    indexing_tables,
    wrong_indices,
    wrong_tables,
)

__all__ = [
    "Analysis",
    "Bounds",
    "Formula",
    "Intensity",
    "MachineRates",
    "PassAnalysis",
    "Product",
    "Schedule",
    "Summary",
    "Tables",
    "WrongTable",
    "analyze",
    "best_known_schedule",
    "bounds",
    "evaluate",
    "indexing_tables",
    "intensity",
    "passes",
    "summary",
    "total_counts",
    "wrong_indices",
    "wrong_tables",
]
