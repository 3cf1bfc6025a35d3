"""What a compiled engine works in, and what is made of it at the end of a phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from accelsim.engine.kernel import CLOCK, COORDINATE, N_CAUSES, RECORDED, STATE
from accelsim.engine.pack import Int, Packed
from accelsim.program import CAUSES, Phase, Program
from accelsim.results import Execution, Extrapolation, PhaseExecution, Record

RunPhase = Callable[
    [Program, Phase, int, int | None, Callable[[float], None]],
    PhaseExecution,
]


def run_phases(
    engine: str,
    program: Program,
    record: int | None,
    progress: Callable[[float], None] | None,
    run_phase: RunPhase,
) -> Execution:
    """Run phases one after another: each starts when the one before has ended."""
    phases: list[PhaseExecution] = []
    begin = 0
    for number, phase in enumerate(program.phases):

        def report(share: float, number: int = number) -> None:
            if progress is not None:
                progress((number + share) / len(program.phases))

        if phase.launch is None:
            done = run_phase(program, phase, begin, record, report)
        else:
            from accelsim.engine import coarse, launched

            most = coarse.at_once(phase) if engine == "steady" else 1
            taken = partial(coarse.sizes, most=most) if most > 1 else None
            done = launched.run_phase(program, phase, begin, record, report, taken)
        phases.append(done)
        begin = phases[-1].end
    return Execution(engine, tuple(phases))


@dataclass(frozen=True)
class Workspace:
    """Arrays of a phase being run; layouts in kernel.py."""

    tiles: Int
    state: Int
    clock: Int
    free: Int
    totals: Int
    kept: Int

    @staticmethod
    def make(
        program: Program, phase: Phase, packed: Packed, begin: int, record: int | None
    ) -> Workspace:
        depth, servers = len(phase.loops), len(program.servers)
        room = prod(loop.trips for loop in phase.loops) * len(phase.tasks)
        room = room if record is None else min(record, room)
        ring = 1 << (packed.deepest + 1).bit_length()
        return Workspace(
            tiles=np.zeros((ring, 3 * depth + 3), np.int64),
            state=np.zeros((STATE, depth), np.int64),
            clock=np.zeros(CLOCK, np.int64),
            free=np.full(servers, begin, np.int64),
            totals=np.zeros(len(phase.tasks) + N_CAUSES * servers + 2, np.int64),
            kept=np.zeros((room, 3 + depth), np.int64),
        )

    @property
    def arrays(self) -> tuple[Int, ...]:
        return (self.tiles, self.state, self.clock, self.free, self.totals, self.kept)

    def share(self, phase: Phase) -> float:
        """Share of the phase done, by the coordinates that its loops have reached."""
        share, scale = 0.0, 1.0
        for level, loop in enumerate(phase.loops):
            share += scale * int(self.state[COORDINATE, level]) / loop.trips
            scale /= loop.trips
        return min(1.0, share)

    def finish(
        self,
        program: Program,
        packed: Packed,
        begin: int,
        extrapolation: Extrapolation | None = None,
    ) -> PhaseExecution:
        n, servers, depth = len(packed.tasks), len(program.servers), len(packed.loops)
        count = int(self.clock[RECORDED])
        executed = self.totals[:n].copy()
        end = int(self.free.max())
        busy = np.zeros(servers, np.int64)
        np.add.at(busy, packed.tasks.server, executed * packed.tasks.occupancy)
        return PhaseExecution(
            begin=begin,
            end=end,
            executed=executed,
            busy=busy,
            waits=self.totals[n : n + N_CAUSES * servers].reshape(servers, len(CAUSES)).copy(),
            tail=end - self.free,
            record=Record(
                task=self.kept[:count, 0].astype(np.int32),
                start=self.kept[:count, 1].copy(),
                end=self.kept[:count, 2].copy(),
                coordinates=self.kept[:count, 3 : 3 + depth].astype(np.int32),
                truncated=count < int(executed.sum()),
            ),
            extrapolation=extrapolation,
        )
