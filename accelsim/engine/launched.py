"""A launched phase, compiled: its tables and its state, and what is made of them at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from accelsim.engine import cache, clusters, launch_tables
from accelsim.engine.coarse import Sizes
from accelsim.engine.launch_tables import State, Tables
from accelsim.engine.pack import Int, rows_of
from accelsim.engine.scripts import Scripts, lanes, scripts
from accelsim.errors import AccelsimError
from accelsim.program import Phase, Program
from accelsim.program.instance import instances
from accelsim.program.launch import Channel, Moved
from accelsim.results.execution import (
    LOSSES,
    Extrapolation,
    LoopExtrapolation,
    Moves,
    PhaseExecution,
    Record,
)

SLICE = 4_000_000
"""Tasks between two calls of `progress`."""
MOST_TILES = 1 << 27
"""Of all tensors of a launch: 5 GiB of what the cache knows about them."""


def run_phase(
    program: Program,
    phase: Phase,
    begin: int,
    record: int | None,
    report: Callable[[float], None],
    taken: Sizes | None = None,
) -> PhaseExecution:
    """Run a launched phase. Raises AccelsimError when it does not fit in memory.

    taken: the steps that alike iterations are taken in (coarse.py); None: all are executed.
    """
    made = scripts(phase, taken)
    tables = _tables(program, phase, made)
    state = _state(program, phase, made, begin, record)
    if program.warm:
        while not clusters.advance(tables, state, SLICE):
            report(int(state.clock[launch_tables.FOLLOWING]) / instances(phase) / 2)
        state = _again(state, _state(program, phase, made, begin, record))
    while not clusters.advance(tables, state, SLICE):
        share = int(state.clock[launch_tables.FOLLOWING]) / instances(phase)
        report((1 + share) / 2 if program.warm else share)
    report(1.0)
    return _finish(state, program, phase, made, begin)


def _tables(program: Program, phase: Phase, made: Scripts) -> Tables:
    """What stays as it is; layouts in launch_tables.py."""
    launch, memory = phase.launch, program.memory
    assert launch is not None
    assert memory is not None  # lowered together
    inner = [_channel(one) for one in memory.inner]
    moved = _MovedTables.make(phase, [one[0] for one in inner])
    tasks, holds = _tasks(phase, made.at_once)
    capacity = memory.capacity_bytes
    largest = max((int(one.elements * one.word_bytes) for one in phase.moved), default=0)
    if capacity is not None and capacity // memory.partitions < largest:
        raise AccelsimError(
            f"{phase.name}: a tile of {largest} bytes does not fit into a cache of "
            f"{capacity // memory.partitions}"
        )
    settings = {
        launch_tables.CLUSTERS: program.clusters,
        launch_tables.RESIDENT: launch.slots,
        launch_tables.SCHEDULE: launch_tables.SCHEDULES.index(launch.schedule),
        launch_tables.START: launch.start,
        launch_tables.NEXT: launch.next,
        launch_tables.INSTANCES: instances(phase),
        launch_tables.LANES: max(lanes(phase)) + 1,
        launch_tables.GRID: launch.grid,
        launch_tables.PARTITIONS: memory.partitions,
        launch_tables.ROOM: 0 if capacity is None else capacity // memory.partitions,
        launch_tables.CACHE_LATENCY: memory.cache_latency,
        launch_tables.GRAIN: memory.grain_bytes,
        launch_tables.TRANSFERS: int(any(task.kind != "einsum" for task in phase.tasks)),
        launch_tables.UNITS: sum(server.kind == "unit" for server in program.servers),
    }
    begins = [(0, 0, 0, 0)]
    for one in made.scripts:
        sizes = (len(one.task), len(one.coordinates), len(one.from_entry), len(one.lanes))
        begins.append(tuple(a + b for a, b in zip(begins[-1], sizes, strict=True)))  # type: ignore[arg-type]

    def joined(name: str) -> Any:
        return np.ascontiguousarray(np.concatenate([getattr(s, name) for s in made.scripts]))

    return Tables(
        settings=np.array([settings[key] for key in sorted(settings)], np.int64),
        grid=np.array([loop.trips for loop in phase.loops[: launch.grid]], np.int64),
        tasks=rows_of(launch_tables.TASK, tasks),
        holds=rows_of(launch_tables.HOLD, holds),
        moved=rows_of(launch_tables.MOVED, moved.rows),
        ends=rows_of(launch_tables.END, moved.ends),
        channels=rows_of(
            launch_tables.CHANNEL, [_channel(c) for c in (memory.port, memory.cache, memory.outer)]
        ),
        inner=rows_of(launch_tables.CHANNEL, inner),
        strides=np.array(moved.strides, np.int64),
        names=_joined(moved.names),
        kept=_joined(moved.kept),
        script=rows_of(launch_tables.SCRIPT, begins),
        task=joined("task"),
        tile=joined("tile"),
        waits_of=joined("waits"),
        from_entry=joined("from_entry"),
        latency=joined("latency"),
        cause=joined("cause"),
        coordinates=joined("coordinates"),
        lane_begins=joined("lanes"),
        lane_entries=joined("lane_entries"),
        script_of=made.of,
        shift=made.shift,
    )


def _joined(arrays: list[Int]) -> Int:
    return np.concatenate([np.zeros(0, np.int64), *arrays]).astype(np.int64)


def _width(phase: Phase) -> int:
    """Coordinates of a tile: an instance has a loop of its own, also where none is left for it."""
    assert phase.launch is not None
    return max(len(phase.loops), phase.launch.grid + 1)


def _channel(channel: Channel | None) -> tuple[int, int, int, int]:
    if channel is None:
        return (-1, 0, 1, 0)
    rate = channel.ticks_per_byte
    return (channel.server, rate.numerator, rate.denominator, channel.latency)


def _tasks(phase: Phase, at_once: int) -> tuple[list[tuple[int, ...]], list[tuple[int, int]]]:
    """Rows of launch_tables.TASK and of launch_tables.HOLD: all tasks for each power of two."""
    holds: list[tuple[int, int]] = []
    rows = []
    for times, task in product((1 << n for n in range(at_once.bit_length())), phase.tasks):
        spans: list[int] = []
        for held in (task.also, task.slows):
            spans.append(len(holds))
            holds += [(hold.server, times * hold.ticks) for hold in held]
            spans.append(len(holds))
        kind = ("einsum", "load", "store").index(task.kind)
        moved = -1 if task.moved is None else task.moved
        rows.append((times, task.server, times * task.occupancy, kind, moved, *spans))
    return rows, holds


@dataclass(frozen=True, eq=False)
class _MovedTables:
    """Rows of launch_tables.MOVED and launch_tables.END, and what they point into."""

    rows: list[tuple[int, ...]]
    ends: list[tuple[int, int, int]]
    strides: list[int]
    names: list[Int]
    kept: list[Int]

    @staticmethod
    def make(phase: Phase, inner: list[int]) -> _MovedTables:
        made = _MovedTables([], [], [], [], [])
        for one in phase.moved:
            made._add(phase, one, inner)
        return made

    def _add(self, phase: Phase, moved: Moved, inner: list[int]) -> None:
        identity = moved.identity
        names_from, names = -1, 1
        if identity.names is not None:
            names_from, names = sum(map(len, self.names)), int(identity.names.max()) + 1
            self.names.append(identity.names)
        own = self._strides(phase, identity.loops)
        computed = self._strides(phase, identity.computed)
        ends_from = len(self.ends)
        for end in moved.ends:
            self.ends.append((end.size, sum(map(len, self.kept)), self._strides(phase, end.loops)))
            self.kept.append(end.kept)
        word = moved.word_bytes
        channel = -1 if moved.server is None else inner.index(moved.server)
        self.rows.append(
            (
                *(moved.first, moved.elements, word.numerator, word.denominator, channel),
                *(own, computed, names_from, names, ends_from, len(self.ends)),
            )
        )

    def _strides(self, phase: Phase, loops: tuple[int, ...]) -> int:
        """Where the strides of a row-major number over these loops begin; one for each loop."""
        begin = len(self.strides)
        trips = [phase.loops[loop].trips for loop in loops]
        own = {loop: prod(trips[i + 1 :]) for i, loop in enumerate(loops)}
        self.strides.extend(own.get(loop, 0) for loop in range(_width(phase)))
        return begin


def _state(program: Program, phase: Phase, made: Scripts, begin: int, record: int | None) -> State:
    """An idle machine, when the launch has got there."""
    launch, memory = phase.launch, program.memory
    assert launch is not None
    assert memory is not None  # lowered together
    slots, servers = program.clusters * launch.slots, len(program.servers)
    entries = max(len(script.task) for script in made.scripts)
    tiles = max((one.first + one.tiles for one in phase.moved), default=0)
    if memory.capacity_bytes is None:
        tiles = 0
    if tiles > MOST_TILES:
        raise AccelsimError(
            f"{phase.name} moves {tiles:,} different tiles, more than {MOST_TILES:,}: take "
            "larger tiles or a shorter sequence"
        )
    room = sum(int(n) for n in np.bincount(made.of) * [len(s.task) for s in made.scripts])
    room = room if record is None else min(record, room)
    links, dirty, fetched, totals = cache.empty(tiles, memory.partitions)
    state = State(
        clock=np.zeros(6, np.int64),
        heap=np.zeros((slots * (max(lanes(phase)) + 2), 3), np.int64),
        slots=np.zeros((slots, 7), np.int64),
        lanes=np.zeros((slots, max(lanes(phase)) + 1, 10), np.int64),
        asking=np.zeros(program.clusters, np.bool_),
        ready=np.zeros((slots, entries), np.int64),
        at=np.zeros((slots, _width(phase)), np.int64),
        free=np.full((program.clusters + 1, servers), begin, np.int64),
        last=np.full((program.clusters + 1, servers), begin, np.int64),
        busy=np.zeros(servers, np.int64),
        waits=np.zeros((servers, len(LOSSES)), np.int64),
        executed=np.zeros(len(phase.tasks) * made.at_once.bit_length(), np.int64),
        recorded=np.zeros((room, 3 + _width(phase)), np.int64),
        links=links,
        dirty=dirty,
        fetched=fetched,
        totals=totals,
        size=np.zeros(tiles, np.int64),
        homes=cache.homes_of(tiles, memory.partitions),
        comes=np.zeros(tiles, np.int64),
        arrives=np.zeros(tiles, np.int64),
        moves=np.zeros((len(phase.moved), 2), np.int64),
    )
    # All slots are free when the launch has got there.
    state.slots[:, launch_tables.ENDED] = begin + launch.cost
    state.clock[launch_tables.LATEST] = begin + launch.cost
    state.slots[:, launch_tables.STATE] = launch_tables.QUEUED_OVER
    state.clock[launch_tables.HEAP] = slots
    for slot in range(slots):
        state.heap[slot] = begin + launch.cost, slot, slot % program.clusters
    return state


def _again(before: State, state: State) -> State:
    """A fresh state with the cache as a run has left it."""
    state.totals[cache.USED :] = before.totals[cache.USED :]
    return state._replace(links=before.links, dirty=before.dirty, size=before.size)


def _finish(
    state: State, program: Program, phase: Phase, made: Scripts, begin: int
) -> PhaseExecution:
    """Sums over all clusters."""
    end = int(state.clock[launch_tables.LATEST])
    count = int(state.clock[launch_tables.RECORDED])
    shared = np.array([server.shared for server in program.servers])
    tails = end - state.last
    tail = np.where(shared, tails[-1], tails[:-1].sum(axis=0))
    done = state.executed.reshape(-1, len(phase.tasks))
    return PhaseExecution(
        begin=begin,
        end=end,
        executed=(1 << np.arange(len(done))) @ done,
        busy=state.busy.copy(),
        waits=state.waits.copy(),
        tail=tail,
        record=Record(
            task=(state.recorded[:count, 0] % len(phase.tasks)).astype(np.int32),
            start=state.recorded[:count, 1].copy(),
            end=state.recorded[:count, 2].copy(),
            coordinates=state.recorded[:count, 3 : 3 + len(phase.loops)].astype(np.int32),
            truncated=count < int(done.sum()),
        ),
        extrapolation=_extrapolation(phase, made, int(done.sum())),
        moves=_moved_bytes(state, phase),
    )


def _extrapolation(phase: Phase, made: Scripts, executed: int) -> Extrapolation | None:
    """What was run of the first loop of all instances, where steps were taken."""
    if made.at_once == 1:
        return None
    assert phase.launch is not None
    steps = np.array([len(script.times) for script in made.scripts])[made.of].sum()
    iterations = np.array([script.times.sum() for script in made.scripts])[made.of].sum()
    loop = LoopExtrapolation(
        name=phase.loops[phase.launch.grid].name,
        executed=int(steps),
        skipped=int(iterations - steps),
        period=0,
        transient=0,
        failed_probes=0,
        reason="",
        at_once=made.at_once,
    )
    return Extrapolation(executed, (loop,))


def _moved_bytes(state: State, phase: Phase) -> Moves:
    read = state.fetched * state.size
    first = [moved.first for moved in phase.moved]
    cached = len(state.size) > 0
    per_tensor = np.add.reduceat(read, first) if cached else np.zeros(len(first), np.int64)
    names = [moved.tensor for moved in phase.moved]
    nodes = state.dirty.reshape(-1, len(state.size) + 1)[:, :-1] if cached else state.dirty[:0]
    return Moves(
        requested={name: (int(r), int(w)) for name, (r, w) in zip(names, state.moves, strict=True)},
        through_cache=cached,
        read={name: int(n) for name, n in zip(names, per_tensor, strict=True) if n},
        written=int(state.totals[cache.DRAM_WRITTEN]),
        dirty=int((nodes * state.size).sum()) if cached else 0,
        fabric=int(state.totals[cache.FABRIC]),
    )
