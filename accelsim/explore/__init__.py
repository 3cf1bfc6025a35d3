"""Many runs: sweeps over machines, mappings and workloads."""

from accelsim.explore.study import study_figures
from accelsim.explore.sweep import load, rows, write_csv

__all__ = ["load", "rows", "study_figures", "write_csv"]
