"""Engines: one meaning of a Program, at several speeds."""

from __future__ import annotations

from collections.abc import Callable

from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.program import Program
from accelsim.results import Execution

ENGINES = ("steady", "compiled", "reference")


def run(
    program: Program,
    engine: str = "steady",
    *,
    record: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Execution:
    """Run a program. record: instances kept per phase. Raises AccelsimError on an unknown engine.

    Engines are imported when used: simpy and numba cost start-up time.
    """
    match engine:
        case "steady":
            from accelsim.engine import steady

            return steady.run(program, record, progress)
        case "compiled":
            from accelsim.engine import compiled

            return compiled.run(program, record, progress)
        case "reference":
            from accelsim.engine import reference

            return reference.run(program, record, progress)
    raise AccelsimError(Fault(f"no engine {engine!r}", help=nearest(engine, ENGINES)))
