"""Rank shapes, parameters, tables: models, kinds of runs, sequence lengths."""

from accelsim.workload.workload import check, entry_fault, shapes, tables

__all__ = ["check", "entry_fault", "shapes", "tables"]
