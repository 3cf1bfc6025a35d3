"""Many runs: sweeps over machines, mappings and workloads; times beside published ones."""

from accelsim.explore.published import load as load_published
from accelsim.explore.study import check_figures, study_figures
from accelsim.explore.sweep import check_points, load, rows, timeline, write_csv

__all__ = [
    "check_figures",
    "check_points",
    "load",
    "load_published",
    "rows",
    "study_figures",
    "timeline",
    "write_csv",
]
