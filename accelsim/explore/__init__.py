"""Many runs: sweeps over machines, mappings and workloads; times beside published ones."""

from accelsim.explore.published import load as load_published
from accelsim.explore.reading import load
from accelsim.explore.study import check_figures, study_figures
from accelsim.explore.sweep import check_points, rows, write_csv

__all__ = [
    "check_figures",
    "check_points",
    "load",
    "load_published",
    "rows",
    "study_figures",
    "write_csv",
]
