"""The engine on Programs whose durations, trips and latencies are traced: rows of many points."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np

from accelsim.engine.batch import batch
from accelsim.program import Phase, Program
from accelsim.results import Execution
from accelsim.results.execution import PhaseExecution, Record
from accelsim.traced import Traced


def run(lowered: Program) -> Execution:
    """The times of a Program with traced durations, trips and latencies."""
    phases = []
    begin: Any = 0
    for phase in lowered.phases:
        phases.append(_phase(lowered, phase, begin))
        begin = phases[-1].end
    return Execution("steady", tuple(phases))


def _phase(lowered: Program, phase: Phase, begin: Any) -> PhaseExecution:
    if phase.launch is not None or any(loop.rows for loop in phase.loops):
        raise AssertionError("launches and masks are run one by one")
    tasks, loops, edges = len(phase.tasks), len(phase.loops), len(phase.edges)
    given: list[Any] = [
        *(task.occupancy for task in phase.tasks),
        *(loop.trips for loop in phase.loops),
        *(edge.latency for edge in phase.edges),
    ]
    servers = len(lowered.servers)
    alone = _untraced(lowered, phase)

    def function(rows: Any) -> Any:
        durations, trips = rows[:, :tasks], rows[:, tasks : tasks + loops]
        late = rows[:, tasks + loops :]
        done = batch(alone, durations, trips, late if edges else None)
        waits = done.waits.reshape(len(rows), -1)
        return np.hstack([done.ticks[:, None], done.executed, done.busy, waits, done.tail])

    traced = next((one for one in given if isinstance(one, Traced)), None)
    found: Any = function(np.array([[_value(one) for one in given]], np.int64))[0].tolist()
    if traced is not None:
        found = traced.tape.call(function, given, found)
    numbers = np.empty(len(found), object)
    numbers[:] = found
    at = 1 + tasks
    return PhaseExecution(
        begin=begin,
        end=begin + numbers[0],
        executed=numbers[1:at],
        busy=numbers[at : at + servers],
        waits=numbers[at + servers : at + 5 * servers].reshape(servers, 4),
        tail=numbers[at + 5 * servers :],
        record=NOTHING,
    )


NOTHING = Record(
    *(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64)),
    np.zeros((0, 0), np.int32),
    truncated=True,
)


def _value(one: Any) -> int:
    return int(one.value if isinstance(one, Traced) else one)


def _untraced(lowered: Program, phase: Phase) -> Program:
    """The phase by itself, as it is at one point; what else than its times varies is decided."""
    return dataclasses.replace(
        lowered,
        clock_hz=Fraction(1),
        ticks_per_cycle=1,
        servers=tuple(dataclasses.replace(s, instances=1) for s in lowered.servers),
        phases=(
            dataclasses.replace(
                phase,
                loops=tuple(dataclasses.replace(x, trips=_value(x.trips)) for x in phase.loops),
                tasks=tuple(
                    dataclasses.replace(
                        t, occupancy=_value(t.occupancy), lag=int(t.lag), actions=()
                    )
                    for t in phase.tasks
                ),
                edges=tuple(
                    dataclasses.replace(e, latency=_value(e.latency), distance=int(e.distance))
                    for e in phase.edges
                ),
                reservations=(),
            ),
        ),
    )
