"""Stages, orders within an epoch and slots of a phase: what follows from its pipeline.

Each Einsum has the least stage at which all that it reads is there: a value of its own tile at the
stage of the one that makes it, or a tile later if it comes from another unit and the pipeline says
so; a value from beyond a pass boundary a whole run of the loop that it crosses later. Einsums stand
in the order of their stages, unless one has to come before another. Of what is made, as many tiles
are held as are under way, and one more if another unit reads it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from accelsim.cascade.nodes import At
from accelsim.errors import MappingError
from accelsim.explore.search.problem import Problem, Tiling
from accelsim.explore.search.space import Group
from accelsim.mapping import Dependence, Loop, span
from accelsim.mapping.depend import Nesting, dependences, in_loops
from accelsim.mapping.place import REGISTERS

LATE = 1 << 40
"""More epochs than any loop has: so far apart, nothing crosses a pass boundary too early."""


@dataclass(frozen=True)
class Wait:
    """`consumer` is at least `least` epochs behind `producer`; at `tie`, after it in an epoch.

    whole: the loop of which that is an iteration, at a pass boundary.
    """

    producer: str
    consumer: str
    least: int
    tie: int
    whole: int | None = None


@dataclass(frozen=True)
class Structure:
    """What of a phase depends on its loops alone."""

    nesting: Nesting
    first: dict[str, tuple[int, ...]]
    last: dict[str, tuple[int, ...]]
    dependences: tuple[Dependence, ...]
    waits: tuple[Wait, ...]
    strides: tuple[int, ...]
    extents: dict[str, int]


def structure(
    problem: Problem, tiling: Tiling, einsums: Sequence[str], loops: Sequence[str]
) -> Structure | str:
    """The dependences of a phase, or why there can be none."""
    own = tuple(Loop(rank, tiling.extents[rank]) for rank in loops)
    every = tuple(problem.cascade.einsum(name) for name in einsums)
    nesting = Nesting(problem.cascade, own, tiling.parts, every)
    wrong: list[str] = []

    def complain(einsum: str, message: str, help: tuple[str, ...] = ()) -> None:
        wrong.append(f"{message} ({einsum})")

    stages = {name: number * LATE for number, name in enumerate(einsums)}
    found, first, last = dependences(nesting, stages, complain)
    crossings = {(c.producer, c.consumer): c.loop for c in in_loops(nesting)[2]}
    if any(loop == 0 for loop in crossings.values()):
        wrong.append("fused across a pass boundary: no loop stands outside it")
    if wrong:
        return wrong[0]
    strides = tuple(prod(loop.trips for loop in own[i + 1 :]) for i in range(len(own)))
    waits = []
    for dep in found:
        tie = -_tiles_between(dep, strides, own, first, last)
        crossed = crossings.get((dep.producer, dep.consumer))
        # What an iteration before has made may be read by an earlier stage: the least is below 0.
        run = tie if crossed is None else strides[crossed] * own[crossed].trips
        whole = None if crossed is None or run < tie else crossed - 1
        waits.append(Wait(dep.producer, dep.consumer, max(tie, run), tie, whole))
    return Structure(nesting, first, last, found, tuple(waits), strides, tiling.extents)


def _tiles_between(
    dep: Dependence,
    strides: tuple[int, ...],
    loops: tuple[Loop, ...],
    first: dict[str, tuple[int, ...]],
    last: dict[str, tuple[int, ...]],
) -> int:
    """How many tiles at least lie from one that is read to its reader's (program/order.py)."""
    tiles = dep.distance * strides[dep.loop] if dep.loop >= 0 else 0
    for i in range(dep.loop + 1, len(loops)):
        if i not in dep.matched:
            latest = 0 if i in first[dep.producer] else loops[i].trips - 1
            earliest = loops[i].trips - 1 if i in last[dep.consumer] else 0
            tiles += (earliest - latest) * strides[i]
    return tiles


def phase(
    problem: Problem, shape: Structure, group: Group, spatial: dict[str, dict[str, list[str]]]
) -> dict[str, Any] | None:
    """A phase as a mapping file says it, or None where its recurrences cannot be so late.

    spatial: of each Einsum. Raises MappingError where registers are too few.
    """
    unit = dict(zip(group.einsums, group.units, strict=True))
    bit = {name: 1 << i for i, name in enumerate(problem.units)}
    lag = _lags(shape, unit, {name for name in unit if group.late & bit[unit[name]]})
    if lag is None:
        return None
    whole = _whole(shape, unit, lag)
    loops = [loop.rank for loop in shape.nesting.loops]
    einsums: dict[str, Any] = {}
    for name in _order(shape, lag, unit, {u for u in bit if group.newest & bit[u]}):
        einsums[name] = {"unit": unit[name]}
        if spatial[name]:
            einsums[name]["spatial"] = {
                d: r if len(r) > 1 else r[0] for d, r in spatial[name].items()
            }
        if lag[name]:
            names = dict(enumerate(loops))
            einsums[name]["stage"] = _steps(lag[name], whole[name], names, shape.strides)
    return {
        "loops": loops,
        "einsums": einsums,
        "storage": _storage(problem, shape, group, unit, lag, whole),
    }


def _lags(shape: Structure, unit: dict[str, str], late: set[str]) -> dict[str, int] | None:
    """Epochs of each Einsum behind the first: the least that all waits allow."""
    lag = dict.fromkeys(unit, 0)
    for _ in range(len(unit) + 1):
        settled = True
        for wait in shape.waits:
            crosses = unit[wait.producer] != unit[wait.consumer] and wait.consumer in late
            needed = lag[wait.producer] + wait.least + int(crosses)
            if lag[wait.consumer] < needed:
                lag[wait.consumer], settled = needed, False
        if settled:
            return lag
    return None


def _whole(
    shape: Structure, unit: dict[str, str], lag: dict[str, int]
) -> dict[str, dict[int, int]]:
    """Of the lag of each Einsum what is whole iterations of a loop: loop -> how many.

    Any reason for a lag will do; one that crosses no pass boundary is the best.
    """
    whole: dict[str, dict[int, int]] = {name: {} for name in unit}
    for name in sorted(unit, key=lambda one: lag[one]):
        for wait in shape.waits:
            reached = lag[wait.producer] + wait.least
            if wait.consumer != name or wait.whole is None or lag[name] < reached:
                continue
            found = dict(whole[wait.producer])
            found[wait.whole] = found.get(wait.whole, 0) + 1
            if sum(found.values()) > sum(whole[name].values()):
                whole[name] = found
        for wait in shape.waits:
            behind = lag[name] - lag[wait.producer]
            if wait.consumer == name and behind >= 0 and not whole[name]:
                whole[name] = whole[wait.producer]
    return whole


def _order(
    shape: Structure, lag: dict[str, int], unit: dict[str, str], newest: set[str]
) -> list[str]:
    """Einsums by stage, on some units the newest tile first; producers before their readers."""
    place = {name: i for i, name in enumerate(unit)}
    before: dict[str, set[str]] = {name: set() for name in unit}
    for wait in shape.waits:
        if lag[wait.consumer] - lag[wait.producer] == wait.tie:
            before[wait.consumer].add(wait.producer)
    key = {name: (lag[name] if unit[name] in newest else -lag[name], place[name]) for name in unit}
    out: list[str] = []
    ready = [(key[name], name) for name in unit if not before[name]]
    heapq.heapify(ready)
    while ready:
        _, name = heapq.heappop(ready)
        out.append(name)
        for other, needed in before.items():
            if name in needed:
                needed.discard(name)
                if not needed and other not in out:
                    heapq.heappush(ready, (key[other], other))
    # What waits for itself in a circle comes last: the program refuses it.
    return [*out, *(name for name in unit if name not in out)]


def _steps(
    number: int, whole: dict[int, int], names: dict[int, str], strides: Sequence[int]
) -> int | dict[str, int]:
    """A number of tiles: some in whole iterations of loops, what is left in the innermost.

    names: of the loops that count, by their numbers.
    """
    left = number - sum(times * strides[loop] for loop, times in whole.items())
    if not whole or left < 0 or not set(whole) <= set(names):
        return number
    out = dict(whole)
    innermost = max(names)
    out[innermost] = out.get(innermost, 0) + left
    return {names[loop]: times for loop, times in sorted(out.items()) if times}


def _storage(
    problem: Problem,
    shape: Structure,
    group: Group,
    unit: dict[str, str],
    lag: dict[str, int],
    whole: dict[str, dict[int, int]],
) -> dict[str, Any]:
    """Where the tensors of a phase live. Raises MappingError where registers are too few."""
    held: dict[str, int] = {}
    nesting, keep = shape.nesting, dict(group.layout.keep)
    accesses = [(e.name, a) for e in nesting.einsums for a in e.inputs]
    out: dict[str, Any] = {}
    for tensor in dict.fromkeys(access.tensor for _, access in accesses):
        readers = list(dict.fromkeys(name for name, a in accesses if a.tensor == tensor))
        own = nesting.loops_of(problem.cascade.tensor(tensor).ranks)
        if tensor not in unit:
            lags = [lag[name] for name in readers]
            out[tensor] = {"level": problem.level}
            iterated = _loaded(own, keep.get(tensor, ()), [loop.rank for loop in nesting.loops])
            spread = _tiles(max(lags) - min(lags), iterated, shape)
            out[tensor]["slots"] = group.layout.slots + spread
            if tensor in keep:
                out[tensor]["keep"] = list(keep[tensor])
            continue
        other = any(unit[name] != unit[tensor] for name in readers)
        is_state = problem.cascade.tensor(tensor).initial is not None
        iterated = tuple(i for i in own if i not in _moving(shape, tensor)) if is_state else own
        stored = tensor in problem.cascade.outputs
        last = max(readers, key=lambda name: _needed(shape, tensor, name, iterated, lag))
        slots = _needed(shape, tensor, last, iterated, lag) + int(other)
        level = problem.level if is_state else problem.between if other else REGISTERS
        names = {i: nesting.loops[i].rank for i in iterated}
        more = {
            loop: times - whole[tensor].get(loop, 0)
            for loop, times in whole[last].items()
            if times > whole[tensor].get(loop, 0)
        }
        # Where the tiles of a tensor are those of the innermost loops, they are epochs.
        more = more if len(names) == len(nesting.loops) else {}
        slots = max(slots, 1 + int(stored))
        if level == REGISTERS:
            held[unit[tensor]] = held.get(unit[tensor], 0) + slots * _values(shape, tensor, own)
        out[tensor] = {"level": level}
        out[tensor]["slots"] = _steps(slots, more, names, shape.strides)
    for name, most in problem.spec.registers.items():
        if held.get(name, 0) > most * problem.elements[name]:
            raise MappingError("what is held does not fit the registers of a unit")
    return out


def _values(shape: Structure, tensor: str, own: tuple[int, ...]) -> int:
    """Values held of a tensor in each of its slots: a tile for each iteration of inner loops."""
    nesting = shape.nesting
    looped = {loop.rank for loop in nesting.loops}
    parts = [p for r in nesting.cascade.tensor(tensor).ranks for p in nesting.parts[r]]
    tile = prod(shape.extents[part] for part in parts if part not in looped)
    return tile * prod(nesting.loops[i].trips for i in span(own)[1])


def _loaded(own: tuple[int, ...], keep: Sequence[str], loops: Sequence[str]) -> tuple[int, ...]:
    """Loops in whose every iteration a tensor is loaded."""
    return tuple(i for i in range(max(own, default=-1) + 1) if loops[i] not in keep)


def _moving(shape: Structure, tensor: str) -> tuple[int, ...]:
    """Loops along which a recurrence runs."""
    einsum = shape.nesting.cascade.einsum(tensor)
    ranks = shape.nesting.cascade.tensor(tensor).ranks
    moving = [
        rank
        for rank, index in zip(ranks, einsum.output.indices, strict=True)
        if isinstance(index, At) and index.offset
    ]
    return shape.nesting.loops_of(tuple(moving))


def _tiles(epochs: int, iterated: tuple[int, ...], shape: Structure) -> int:
    """So many epochs as tiles of what is loaded in these loops, rounded up."""
    loop = span(iterated)[0]
    return -(-epochs // shape.strides[loop]) if loop >= 0 else 0


def _needed(
    shape: Structure, tensor: str, reader: str, iterated: tuple[int, ...], lag: dict[str, int]
) -> int:
    """Tiles after which a producer may write again without waiting for a later task."""
    loop, matched = span(iterated)
    if loop < 0:
        return 1
    loops, slack = shape.nesting.loops, 0
    for i in range(loop + 1, len(loops)):
        if i not in matched:
            latest = 0 if i in shape.first[reader] else loops[i].trips - 1
            earliest = loops[i].trips - 1 if i in shape.last[tensor] else 0
            slack += (latest - earliest) * shape.strides[i]
    return max(1, -(-(1 + lag[reader] - lag[tensor] + slack) // shape.strides[loop]))
