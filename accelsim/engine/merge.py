"""Fewer loops with the same meaning: what nothing in a phase tells apart is one loop.

Each level of loops costs the steady engine its own transient, so b, h, p2 as one loop of all their
iterations is cheaper than three. Two neighbours are merged when no bound, guard or edge treats them
differently; a loop of one iteration goes away.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from accelsim.program import Edge, Guard, Loop, Phase
from accelsim.program.rows import renumbered
from accelsim.results import Record

MASKS = ("first", "last", "not_first", "not_last")


@dataclass(frozen=True)
class Merged:
    """A phase with fewer loops. groups: for each loop left, the loops of the original in it."""

    phase: Phase
    groups: tuple[tuple[int, ...], ...]
    trips: tuple[int, ...]

    def restore(self, record: Record) -> Record:
        """A record of the merged phase with the coordinates of the original loops."""
        out = np.zeros((len(record.task), len(self.trips)), np.int32)
        for column, group in enumerate(self.groups):
            rest = record.coordinates[:, column]
            for loop in reversed(group):
                rest, out[:, loop] = np.divmod(rest, self.trips[loop])
        return dataclasses.replace(record, coordinates=out)


def merge(phase: Phase) -> Merged:
    """The phase with as few loops as its meaning allows, at least one."""
    groups: list[tuple[int, ...]] = [(loop,) for loop in range(len(phase.loops))]
    trips = tuple(loop.trips for loop in phase.loops)
    level = len(phase.loops) - 1
    while level >= 0:
        single = phase.loops[level]
        if len(phase.loops) > 1 and single.trips == 1 and _free(phase, level):
            phase = _drop(phase, level)
            groups.pop(level)
        elif level + 1 < len(phase.loops) and _alike(phase, level):
            phase = _join(phase, level)
            groups[level : level + 2] = [groups[level] + groups[level + 1]]
        level -= 1
    return Merged(phase, tuple(groups), trips)


def _free(phase: Phase, level: int) -> bool:
    """Whether neither the loop nor any inner loop is bounded by, or by means of, this one."""
    return (
        phase.loops[level].rows is None
        and not any(level in loop.rows.loops for loop in phase.loops if loop.rows)
        # A task that runs only where not all of these loops are at an end: left to the engine.
        and not any(
            set(mask) == {level}
            for task in phase.tasks
            for mask in (task.guard.not_first, task.guard.not_last)
        )
        and not any(edge.loop == level and edge.reset for edge in phase.edges)
    )


def _alike(phase: Phase, level: int) -> bool:
    """Whether nothing tells the iterations of two neighbours from those of one loop."""
    if not (_free(phase, level) and _free(phase, level + 1)):
        return False
    masks = [set(getattr(task.guard, name)) for task in phase.tasks for name in MASKS]
    masks += [set(edge.matched) for edge in phase.edges]
    return all((level in mask) == (level + 1 in mask) for mask in masks) and not any(
        edge.loop == level for edge in phase.edges
    )


def _drop(phase: Phase, level: int) -> Phase:
    return _renumbered(
        phase,
        phase.loops[:level] + phase.loops[level + 1 :],
        # An iteration of the loop is one of the loop around it.
        [i if i < level else i - 1 for i in range(len(phase.loops))],
        gone=level,
    )


def _join(phase: Phase, level: int) -> Phase:
    one, two = phase.loops[level : level + 2]
    joined = Loop(f"{one.name} x {two.name}", one.trips * two.trips)
    return _renumbered(
        phase,
        (*phase.loops[:level], joined, *phase.loops[level + 2 :]),
        [i if i <= level else i - 1 for i in range(len(phase.loops))],
        gone=level,
    )


def _renumbered(phase: Phase, loops: tuple[Loop, ...], new: list[int], gone: int) -> Phase:
    """The phase with other loops; `new` number of each old loop, `gone` left out of sets."""

    def kept(old: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(new[i] for i in old if i != gone)

    def moved(loop: Loop) -> Loop:
        return dataclasses.replace(loop, rows=loop.rows and renumbered(loop.rows, new))

    def guard(old: Guard) -> Guard:
        masks = {name: kept(getattr(old, name)) for name in MASKS}
        return dataclasses.replace(old, **masks)

    def edge(old: Edge) -> Edge:
        loop = new[old.loop] if old.loop >= 0 else old.loop
        return dataclasses.replace(old, loop=loop, matched=kept(old.matched))

    return dataclasses.replace(
        phase,
        loops=tuple(moved(loop) for loop in loops),
        tasks=tuple(dataclasses.replace(t, guard=guard(t.guard)) for t in phase.tasks),
        edges=tuple(edge(e) for e in phase.edges),
    )
