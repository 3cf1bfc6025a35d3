"""accelsim: attention as cascades of Einsums, simulated on accelerators described in YAML.

    import accelsim
    run = accelsim.simulate("fusemax__attention_1pass", "bert", 16384)
    run.result.seconds

Layers, imports only ever point left:

    errors, units, files, shipped < spec < cascade | arch | workload < analysis < mapping < program
    < results < engine < execute < report < verbs < explore | validate < cli

The verbs are imported when first used: `import accelsim` alone loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accelsim.errors import AccelsimError, CapacityError, MappingError, SpecError

if TYPE_CHECKING:
    from accelsim.verbs import Run, check, load_cascade, simulate, traffic

__all__ = [
    "AccelsimError",
    "CapacityError",
    "MappingError",
    "Run",
    "SpecError",
    "check",
    "load_cascade",
    "simulate",
    "traffic",
]


def __getattr__(name: str) -> Any:
    if name in {"Run", "check", "load_cascade", "simulate", "traffic"}:
        from accelsim import verbs

        return getattr(verbs, name)
    raise AttributeError(f"module 'accelsim' has no attribute {name!r}")
