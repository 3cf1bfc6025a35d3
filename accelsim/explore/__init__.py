"""Many runs: sweeps over machines, mappings and workloads."""

from accelsim.explore.sweep import load, rows, write_csv

__all__ = ["load", "rows", "write_csv"]
