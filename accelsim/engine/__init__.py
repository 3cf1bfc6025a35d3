"""Engines: one meaning of a Program, at several speeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accelsim.arch import Machine
from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.mapping import Nest
from accelsim.program import Phase, Program
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


def through_cache(machine: Machine, nest: Nest, phase: Phase) -> dict[str, Any]:
    """What of a launch's requests goes on to the outermost level, by the model of cache.py.

    Bytes: `read`, `written`, `dirty` (still in the cache at the end), `fabric` (between its
    partitions), `compulsory` (each tile read once), and `read_by_tensor`. The cache is empty at
    the beginning. Raises AccelsimError.
    """
    from accelsim.engine import cache, stream

    assert machine.cache is not None  # whoever asks has looked
    asked = stream.accesses(nest, phase)
    capacity = machine.cache.level.capacity_bytes
    assert capacity is not None  # arch.build asks for it
    resident = nest.launch.resident if nest.launch is not None else 1
    slots = machine.clusters * resident
    found = cache.run(asked, slots=slots, capacity=capacity, partitions=machine.cache.partitions)
    names = [placement.tensor for placement in nest.placements]
    by_tensor = {names[i]: n for i, n in enumerate(found.dram_read_of) if n}
    loaded = np.unique(asked.chunk[~asked.write])
    return {
        "level": machine.outermost.name,
        "slots": slots,
        "read": found.dram_read,
        "written": found.dram_written,
        "dirty": found.dirty,
        "fabric": found.fabric,
        "compulsory": int(asked.size[loaded].sum()),
        "read_by_tensor": by_tensor,
    }
