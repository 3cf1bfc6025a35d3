"""Rank shapes, parameters, tables: models, kinds of runs, lengths; calls of torch modules."""

from accelsim.workload.calls import Call, as_json, workload_of
from accelsim.workload.imported import import_model, import_torch
from accelsim.workload.workload import check, entry_fault, shapes, tables

__all__ = [
    "Call",
    "as_json",
    "check",
    "entry_fault",
    "import_model",
    "import_torch",
    "shapes",
    "tables",
    "workload_of",
]
