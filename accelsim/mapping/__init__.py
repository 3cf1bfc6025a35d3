"""How a cascade runs on a machine: partitioning, loop order, binding, storage, stages."""

from accelsim.mapping.build import build
from accelsim.mapping.nest import (
    Binding,
    Dependence,
    Loop,
    Mapping,
    Nest,
    Placement,
    slot_count,
    span,
)

__all__ = [
    "Binding",
    "Dependence",
    "Loop",
    "Mapping",
    "Nest",
    "Placement",
    "build",
    "slot_count",
    "span",
]
