"""Many runs: sweeps over machines, mappings and workloads."""

from accelsim.explore.study import check_figures, study_figures
from accelsim.explore.sweep import check_points, load, rows, write_csv

__all__ = ["check_figures", "check_points", "load", "rows", "study_figures", "write_csv"]
