"""The reference engine: SimPy, one process per server. It is the specification of time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import prod
from typing import Any

import numpy as np
import simpy

from accelsim.engine import launched_reference
from accelsim.errors import AccelsimError
from accelsim.program import CAUSES, Phase, Program
from accelsim.program.unroll import Instance, instances
from accelsim.results import Execution, PhaseExecution, Record

MAX_INSTANCES = 5_000_000


def run(
    program: Program,
    record: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Execution:
    """Run a program event by event. record: instances kept per phase (None: all).

    Raises AccelsimError when the program may have more than MAX_INSTANCES: every one is a Python
    object here.
    """
    most = sum(prod(loop.trips for loop in p.loops) * len(p.tasks) for p in program.phases)
    if most > MAX_INSTANCES:
        raise AccelsimError(
            f"engine reference keeps every task in memory: up to {most:,} of them, at most "
            f"{MAX_INSTANCES:,} are run; engine compiled gives the same times"
        )
    phases: list[PhaseExecution] = []
    begin = 0
    for number, phase in enumerate(program.phases):
        run_phase = _run_phase if phase.launch is None else launched_reference.run_phase
        phases.append(run_phase(program, phase, begin, record))
        begin = phases[-1].end
        if progress is not None:
            progress((number + 1) / len(program.phases))
    return Execution("reference", tuple(phases))


def _run_phase(program: Program, phase: Phase, begin: int, record: int | None) -> PhaseExecution:
    env = simpy.Environment(initial_time=begin)
    todo = instances(phase)
    ended = [env.event() for _ in todo]
    start = np.zeros(len(todo), np.int64)
    end = np.zeros(len(todo), np.int64)
    servers = len(program.servers)
    busy = np.zeros(servers, np.int64)
    waits = np.zeros((servers, len(CAUSES)), np.int64)
    free = np.full(servers, begin, np.int64)

    def available(edge: int, producer: int) -> Generator[Any, Any, None]:
        """The result of a producer instance, its edge's latency after its end."""
        yield ended[producer]
        yield env.timeout(max(0, int(end[producer]) + phase.edges[edge].latency - env.now))

    def serve(server: int, own: list[int]) -> Generator[Any, Any, None]:
        for i in own:
            instance = todo[i]
            yield env.all_of([env.process(available(e, p)) for e, p in instance.waits])
            if env.now > free[server]:
                cause = phase.edges[_binding(phase, instance, end)].cause
                waits[server, CAUSES.index(cause)] += env.now - free[server]
            start[i] = env.now
            yield env.timeout(phase.tasks[instance.task].occupancy)
            end[i] = free[server] = env.now
            busy[server] += end[i] - start[i]
            ended[i].succeed()

    for server in range(servers):
        own = [i for i, x in enumerate(todo) if phase.tasks[x.task].server == server]
        if own:
            env.process(serve(server, own))
    env.run()
    stop = max((int(e) for e in end), default=begin)
    kept = len(todo) if record is None else min(record, len(todo))
    return PhaseExecution(
        begin=begin,
        end=stop,
        executed=np.bincount([x.task for x in todo], minlength=len(phase.tasks)).astype(np.int64),
        busy=busy,
        waits=waits,
        tail=stop - free,
        record=Record(
            task=np.array([x.task for x in todo[:kept]], np.int32),
            start=start[:kept],
            end=end[:kept],
            coordinates=np.array([x.tile.coordinates for x in todo[:kept]], np.int32).reshape(
                kept, len(phase.loops)
            ),
            truncated=kept < len(todo),
        ),
    )


def _binding(phase: Phase, instance: Instance, end: Any) -> int:
    """The edge whose wait ended last; of several, the first."""
    return max(
        (e for e, _ in instance.waits),
        key=lambda e: (
            max(int(end[p]) + phase.edges[e].latency for x, p in instance.waits if x == e),
            -e,
        ),
    )
