"""What an engine returns: times and counts in ticks, before they are given a meaning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.traced import whole

Ticks = npt.NDArray[np.int64]
LOSSES = ("data", "slot", "bandwidth", "order", "issue", "launch")
"""Why servers of a launch stand idle: the causes of waits, and two more. issue: from when a task
asked and the server had ended what it did, until others let it begin: another unit of the cluster,
or the start of an instance, took that time. launch: an instance had yet to begin."""


@dataclass(frozen=True)
class Record:
    """The first instances of one phase, in program order; N of them, L loops.

    task: [N] index into Phase.tasks. start, end: [N] ticks since the start of the run.
    coordinates: [N, L] the tile's coordinates. truncated: whether there were more.
    """

    task: npt.NDArray[np.int32]
    start: Ticks
    end: Ticks
    coordinates: npt.NDArray[np.int32]
    truncated: bool


@dataclass(frozen=True)
class LoopExtrapolation:
    """What the steady engine did with one loop.

    executed, skipped: iterations really run and iterations extrapolated, as far as the loops around
    it were run. period: iterations after which it repeats itself (0: none found). transient: most
    iterations that a run of it took before the first jump. reason: why nothing was skipped, or "".
    at_once: of a launch, up to how many iterations were executed as one, so many times as long
    (engine/coarse.py): what is said of time then is no more than near.
    """

    name: str
    executed: int
    skipped: int
    period: int
    transient: int
    failed_probes: int
    reason: str
    at_once: int = 1


@dataclass(frozen=True)
class Extrapolation:
    """Task instances that the steady engine really executed, and what it did with each loop."""

    executed: int
    loops: tuple[LoopExtrapolation, ...]


@dataclass(frozen=True)
class Moves:
    """Bytes that a launch moved.

    requested: tensor -> read and written. Through a cache, what of it passed between that and the
    outermost level: read, by tensor; written; dirty: written, and still only in the cache at the
    end; fabric: what crossed between its partitions.
    """

    requested: dict[str, tuple[int, int]]
    through_cache: bool
    read: dict[str, int]
    written: int
    dirty: int
    fabric: int


@dataclass(frozen=True)
class PhaseExecution:
    """One phase, run. T tasks, S servers, 4 causes (program.CAUSES).

    begin, end: ticks since the start of the run. executed: [T] instances run.
    busy: [S] ticks each server was busy. waits: [S, 4] ticks each server stood idle before an
    instance, by the cause of the wait that ended last. tail: [S] ticks from its last end to the
    phase's end. busy + sum of waits + tail == end - begin, for every server.
    Of a launched phase, busy, waits (6 causes: LOSSES) and tail are sums over clusters, for servers
    that each has; moves: what went through the cache.
    """

    begin: int
    end: int
    executed: Ticks
    busy: Ticks
    waits: Ticks
    tail: Ticks
    record: Record
    extrapolation: Extrapolation | None = None
    moves: Moves | None = None


@dataclass(frozen=True)
class Execution:
    """A Program, run by `engine`."""

    engine: str
    phases: tuple[PhaseExecution, ...]

    @property
    def ticks(self) -> int:
        return self.phases[-1].end if self.phases else 0

    @property
    def tasks(self) -> int:
        return sum(whole(phase.executed.sum()) for phase in self.phases)
