"""accelsim: attention as cascades of Einsums, simulated on accelerators described in YAML.

    import accelsim
    run = accelsim.simulate("fusemax__attention_1pass", "bert", 16384)
    run.seconds

Layers, imports only ever point left:

    errors, units, files, shipped, tables < spec < cascade | arch | workload < analysis < derive
    < mapping < program < results < engine < execute < report < verbs < explore | validate < api
    < cli

The calls are imported when first used: `import accelsim` alone loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from accelsim.errors import AccelsimError, CapacityError, MappingError, SpecError

if TYPE_CHECKING:
    from accelsim.api import load, simulate, sweep
    from accelsim.arch import Machine
    from accelsim.cascade import Cascade
    from accelsim.results import Result, Run
    from accelsim.verbs import check, load_cascade, traffic

__all__ = [
    "AccelsimError",
    "CapacityError",
    "Cascade",
    "Machine",
    "MappingError",
    "Result",
    "Run",
    "SpecError",
    "check",
    "load",
    "load_cascade",
    "simulate",
    "sweep",
    "traffic",
]

_WHERE = {
    **dict.fromkeys(("load", "simulate", "sweep"), "api"),
    **dict.fromkeys(("check", "load_cascade", "traffic"), "verbs"),
    **dict.fromkeys(("Result", "Run"), "results"),
    "Cascade": "cascade",
    "Machine": "arch",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"accelsim.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'accelsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
