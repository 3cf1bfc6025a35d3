"""What the steady engine works in, besides what every engine does, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.engine.extrapolate import (
    COMPONENTS,
    EDGE_ROW,
    FAILED,
    GUARD_FIRST,
    GUARD_LAST,
    HISTORY,
    LAST_PERIOD,
    LEVEL_COLUMNS,
    NO_PERIOD,
    PERIODS,
    RAN,
    SHORT,
    SKIPPED,
    SNAPSHOTS,
    SPAN,
    SPANS,
    TRANSIENT,
    UNEVEN,
    UNSETTLED,
    count_components,
)
from accelsim.engine.kernel import CLOCK, WORK
from accelsim.engine.pack import Int, Packed, windows
from accelsim.engine.workspace import Workspace
from accelsim.program import Phase
from accelsim.results import Extrapolation, LoopExtrapolation

WORTH_IT = 4
"""Loops of fewer iterations are run: there would be nothing left to skip."""

REASONS = {
    SHORT: "too few iterations",
    UNEVEN: "iterations differ: inner bounds, guards or stages",
    UNSETTLED: "times from before the loop still act",
    NO_PERIOD: f"no period of up to {PERIODS} iterations",
}


MASKED = "the tiles that a mask leaves change before a few iterations are alike"


@dataclass(frozen=True)
class Skipping:
    """Arrays that skipping needs; layouts in extrapolate.py. `arrays` in the order of _advance."""

    levels: Int
    arrays: tuple[Int, ...]

    @staticmethod
    def make(phase: Phase, packed: Packed, work: Workspace) -> Skipping:
        depth = len(phase.loops)
        edges, inner = _edge_rows(phase, packed)
        used = np.unique(packed.tasks.server)
        slot_of = np.zeros(len(work.free), np.int64)
        slot_of[used] = np.arange(len(used))
        levels = np.zeros((depth, LEVEL_COLUMNS), np.int64)
        size = 0
        for level in range(depth):
            levels[level, GUARD_FIRST], levels[level, GUARD_LAST] = _differing(phase, level)
            levels[level, HISTORY] = size
            n, spans = count_components(level, edges, inner)
            levels[level, COMPONENTS], levels[level, SPANS] = n, spans
            size += (SNAPSHOTS + 3) * (n + len(used) + len(work.totals)) + 2 * len(work.totals)
        places = len(packed.tokens)
        most = int(levels[:, SPANS].max(initial=0))
        ring, width = work.tiles.shape
        return Skipping(
            levels,
            (
                np.full(places, -1, np.int64),  # stamps
                np.empty((depth, places, 4), np.int64),  # undo
                np.zeros(depth, np.int64),  # undone
                np.zeros((depth, places), np.int64),  # marks
                levels,
                edges,
                inner,
                used,
                slot_of,
                np.empty((max(1, most), SPAN), np.int64),  # spans of components
                np.empty(size, np.int64),  # history
                np.empty((depth, len(work.free)), np.int64),
                np.empty((depth, ring, width), np.int64),
                np.empty((depth, *work.state.shape), np.int64),
                np.empty((depth, len(work.totals)), np.int64),
                np.empty((depth, CLOCK), np.int64),
                *windows(phase),
            ),
        )

    def report(self, phase: Phase, work: Workspace) -> Extrapolation:
        loops = []
        for level, (loop, row) in enumerate(zip(phase.loops, self.levels, strict=True)):
            reason = ""
            if not row[SKIPPED]:
                why = max(REASONS, key=lambda why: int(row[why]))
                reason = REASONS[SHORT if loop.trips < WORTH_IT else why]
                ties = any(
                    x.rows and level in (i, *x.rows.loops) for i, x in enumerate(phase.loops)
                )
                if why == SHORT and loop.trips >= WORTH_IT and ties:
                    reason = MASKED
            loops.append(
                LoopExtrapolation(
                    name=loop.name,
                    executed=int(row[RAN]),
                    skipped=int(row[SKIPPED]),
                    period=int(row[LAST_PERIOD]),
                    transient=int(row[TRANSIENT]),
                    failed_probes=int(row[FAILED]),
                    reason=reason,
                )
            )
        return Extrapolation(int(work.clock[WORK]), tuple(loops))


def _edge_rows(phase: Phase, packed: Packed) -> tuple[Int, Int]:
    """Edges [E, 12] and, per edge and loop, the places of its matched loops inside [E, L+1]."""
    depth = len(phase.loops)
    edges = np.zeros((len(packed.edges), EDGE_ROW), np.int64)
    inner = np.ones((len(packed.edges), depth + 1), np.int64)
    for k, edge in enumerate(packed.edges):
        producer, consumer = phase.tasks[edge.producer], phase.tasks[edge.consumer]
        # A tile of its own for every place: nothing reads it in another run of a loop.
        one_tile = edge.distance == 0 and len(edge.matched) == depth - 1 - edge.loop
        same_epoch = producer.lag == consumer.lag and edge.producer < edge.consumer
        edges[k] = (
            *packed.rings[k],
            consumer.server,
            consumer.lag,
            edge.producer,
            producer.lag,
            one_tile and same_epoch,
            not one_tile,
            sum(1 << loop for loop in edge.matched),
        )
        for loop in range(depth - 1, -1, -1):
            more = phase.loops[loop].trips if loop in edge.matched else 1
            inner[k, loop] = inner[k, loop + 1] * more
    # inner[k, l]: of loops inside l.
    return edges, np.ascontiguousarray(inner[:, 1:])


def _differing(phase: Phase, level: int) -> tuple[int, int]:
    """How many first and last iterations of a loop differ from the others."""
    guards = [task.guard for task in phase.tasks]
    first = int(any(level in (*g.first, *g.not_first) for g in guards))
    last = int(any(level in (*g.last, *g.not_last) for g in guards))
    resets = [e.distance for e in phase.edges if e.reset and e.loop == level]
    return max([first, *resets]), last
