"""The invariants of a Program: what engines rely on and do not look at again."""

from __future__ import annotations

from math import prod
from typing import get_args

import numpy as np

from accelsim.mapping.ends import two_sizes
from accelsim.mapping.nest import Identity
from accelsim.program.launch import Channel, Launch, Memory, Moved, Schedule
from accelsim.program.program import (
    CAUSES,
    MOST_MARKS,
    ROOT,
    Edge,
    Guard,
    Phase,
    Program,
    Rows,
    Server,
    Task,
)


def check(program: Program) -> None:
    """Raise AssertionError if a Program has no meaning."""
    assert program.ticks_per_cycle >= 1, "less than one tick per cycle"
    assert program.clock_hz > 0, "the clock stands still"
    assert program.servers, "no servers"
    for server in program.servers:
        assert server.instances >= 1, f"server {server.name}: no instances"
    assert program.clusters >= 1, f"{program.clusters} clusters"
    if program.memory is not None:
        _check_memory(program.memory, program.servers)
    for phase in program.phases:
        assert phase.loops, f"phase {phase.name}: no loops"
        _check_loops(phase)
        for task in phase.tasks:
            _check_task(phase, task, len(program.servers))
        for number, edge in enumerate(phase.edges):
            _check_edge(phase, edge, f"phase {phase.name}, edge {number}")
        _check_reservations(phase)
        _check_launched(program, phase)


def _check_loops(phase: Phase) -> None:
    for level, loop in enumerate(phase.loops):
        assert loop.trips >= 1, f"loop {loop.name}: no trips"
        if loop.rows is not None:
            _check_rows(phase, level, loop.rows)


def _check_rows(phase: Phase, level: int, rows: Rows) -> None:
    where = f"loop {phase.loops[level].name}"
    for outer in rows.loops:
        assert 0 <= outer < level, f"{where}: rows of loop {outer}, not outer"
    assert list(rows.loops) == sorted(set(rows.loops)), f"{where}: rows of loops out of order"
    number = prod(phase.loops[outer].trips for outer in rows.loops)
    assert len(rows.offsets) == number + 1, f"{where}: {len(rows.offsets) - 1} of {number} rows"
    assert rows.offsets[0] == 0, f"{where}: rows begin at {rows.offsets[0]}"
    assert rows.offsets[-1] == len(rows.runs), f"{where}: runs without a row"
    assert (np.diff(rows.offsets) > 0).all(), f"{where}: an empty row"
    assert (rows.runs[:, 1] > 0).all(), f"{where}: an empty run"
    ends = rows.runs[:, 0] + rows.runs[:, 1]
    assert (rows.runs[:, 0] >= 0).all(), f"{where}: coordinates below 0"
    assert (ends <= phase.loops[level].trips).all(), f"{where}: coordinates beyond its trips"
    follows = np.ones(len(rows.runs), np.bool_)
    follows[rows.offsets[:-1]] = False
    later = np.flatnonzero(follows)
    assert (rows.runs[later, 0] >= ends[later - 1]).all(), f"{where}: runs out of order"
    assert (rows.runs[:, 2] >> MOST_MARKS == 0).all(), f"{where}: more than {MOST_MARKS} marks"


def _check_task(phase: Phase, task: Task, servers: int) -> None:
    where = f"task {task.name}"
    assert 0 <= task.server < servers, f"{where}: no server {task.server}"
    assert task.occupancy >= 0, f"{where}: occupancy {task.occupancy}"
    assert task.lag >= 0, f"{where}: lag {task.lag}"
    assert 0 <= task.active <= 1, f"{where}: active {task.active}"
    _check_guard(phase, task.guard, where)


def _check_guard(phase: Phase, guard: Guard, where: str) -> None:
    for loop in (*guard.first, *guard.last, *guard.not_first, *guard.not_last):
        assert 0 <= loop < len(phase.loops), f"{where}: guard on loop {loop}, which is not there"
    for mark in (*guard.marked, *guard.unmarked):
        assert 0 <= mark < MOST_MARKS, f"{where}: guard on mark {mark}, of {MOST_MARKS}"


def _check_edge(phase: Phase, edge: Edge, where: str) -> None:
    for task in (edge.producer, edge.consumer):
        assert 0 <= task < len(phase.tasks), f"{where}: no task {task}"
    assert edge.loop == ROOT or 0 <= edge.loop < len(phase.loops), f"{where}: no loop {edge.loop}"
    for loop in edge.matched:
        assert edge.loop < loop < len(phase.loops), f"{where}: matched on loop {loop}, not inside"
    assert len(set(edge.matched)) == len(edge.matched), f"{where}: a loop matched twice"
    assert edge.distance >= 0, f"{where}: distance {edge.distance}"
    assert edge.latency >= 0, f"{where}: latency {edge.latency}"
    assert edge.cause in CAUSES, f"{where}: cause {edge.cause}"


def _check_reservations(phase: Phase) -> None:
    for held in phase.reservations:
        where = f"reservation of {held.tensor} in {held.level}"
        assert held.slots >= 0, f"{where}: {held.slots} slots"
        assert held.tile_bytes >= 0, f"{where}: {held.tile_bytes} bytes"
        for task in (*held.takes, *(task for task, _ in held.gives)):
            assert 0 <= task < len(phase.tasks), f"{where}: no task {task}"
        for _, guard in held.gives:
            _check_guard(phase, guard, where)


def _check_launched(program: Program, phase: Phase) -> None:
    """What launch.py says of a phase that is launched, and of any other that it is not."""
    if phase.launch is None:
        assert not phase.moved, f"phase {phase.name}: tells what moves and is not launched"
        for task in phase.tasks:
            told = (*task.also, *task.slows) or task.moved is not None
            assert not told, f"task {task.name}: tells what only a launch needs"
        return
    memory = program.memory
    assert memory is not None, f"phase {phase.name}: launched on a machine without a memory"
    kinds = [server.kind for server in program.servers]
    assert kinds == sorted(kinds, reverse=True), "servers: units behind channels"
    for server in program.servers:
        assert server.kind != "unit" or not server.shared, f"unit {server.name}: shared by clusters"
    _check_launch(phase, phase.launch)
    assert phase.tasks, f"phase {phase.name}: launched without a task"
    assert phase.moved, f"phase {phase.name}: launched, and nothing moves"
    for task in phase.tasks:
        where = f"task {task.name}"
        guard = task.guard
        for loop in (*guard.first, *guard.last, *guard.not_first, *guard.not_last):
            assert loop >= phase.launch.grid, f"{where}: guard on loop {loop}, of the grid"
        if task.kind == "einsum":
            _check_einsum(program, task, where)
        else:
            _check_transfer(phase, phase.launch, task, where)
    assert len({one.tensor for one in phase.moved}) == len(phase.moved), "a tensor moves twice"
    first = 0
    for one in phase.moved:
        assert one.first == first, f"{one.tensor}: its tiles begin at {one.first}, not {first}"
        _check_moved(phase, memory, one)
        first += one.tiles


def _check_launch(phase: Phase, launch: Launch) -> None:
    where = f"phase {phase.name}"
    assert 1 <= launch.grid <= len(phase.loops), f"{where}: a grid of {launch.grid} loops"
    assert launch.slots >= 1, f"{where}: {launch.slots} slots"
    assert launch.schedule in get_args(Schedule), f"{where}: schedule {launch.schedule}"
    for ticks in (launch.cost, launch.start, launch.next):
        assert ticks >= 0, f"{where}: a launch takes {ticks}"
    for loop in phase.loops[: launch.grid]:
        if loop.rows is not None:
            visited = np.add.reduceat(loop.rows.runs[:, 1], loop.rows.offsets[:-1])
            assert (visited == loop.trips).all(), f"loop {loop.name}: of the grid, and leaves out"


def _check_einsum(program: Program, task: Task, where: str) -> None:
    """It occupies and slows servers of its cluster."""
    assert program.servers[task.server].kind == "unit", f"{where}: not on a unit"
    assert task.moved is None, f"{where}: an Einsum that moves tiles"
    assert task.next_of is None, f"{where}: an Einsum on the tile of a next iteration"
    for hold in (*task.also, *task.slows):
        assert 0 <= hold.server < len(program.servers), f"{where}: no server {hold.server}"
        server = program.servers[hold.server]
        assert not server.shared, f"{where}: holds or slows {server.name}, which clusters share"
        assert hold.ticks >= 0, f"{where}: holds or slows {server.name} for {hold.ticks}"


def _check_transfer(phase: Phase, launch: Launch, task: Task, where: str) -> None:
    """Its bytes tell what it occupies; the iteration whose tile moves is in its instance."""
    assert task.moved is not None, f"{where}: moves nothing"
    assert 0 <= task.moved < len(phase.moved), f"{where}: moves no tensor {task.moved}"
    tensor = phase.moved[task.moved].tensor
    assert tensor == task.tensor, f"{where}: moves {tensor}, not {task.tensor}"
    assert task.occupancy == 0, f"{where}: a transfer with an occupancy"
    assert not task.also, f"{where}: a transfer that holds"
    assert not task.slows, f"{where}: a transfer that slows"
    if task.next_of is None:
        return
    loop, matched = task.next_of
    assert launch.grid <= loop < len(phase.loops), f"{where}: next of loop {loop}, not inside"
    for other in matched:
        assert loop < other < len(phase.loops), f"{where}: matched on loop {other}, not inside"
    last = task.guard.not_last
    assert last, f"{where}: at the last iteration there is no next one"
    assert max(last) <= loop, f"{where}: at the last iteration there is no next one"


def _check_moved(phase: Phase, memory: Memory, moved: Moved) -> None:
    where, identity = f"tiles of {moved.tensor}", moved.identity
    assert moved.tiles == _numbers(phase, identity, where), f"{where}: not {moved.tiles}"
    assert moved.elements >= 0, f"{where}: {moved.elements} elements"
    assert moved.word_bytes > 0, f"{where}: words of {moved.word_bytes} bytes"
    for end in moved.ends:
        for loop in end.loops:
            assert 0 <= loop < len(phase.loops), f"{where}: no loop {loop}"
        number = prod(phase.loops[loop].trips for loop in end.loops)
        assert len(end.kept) == number, f"{where}: {len(end.kept)} of {number} ends"
        assert (end.kept >= 0).all(), f"{where}: less than none is kept"
        assert (end.kept <= end.size).all(), f"{where}: more than {end.size} are kept"
    trips = [loop.trips for loop in phase.loops]
    assert not two_sizes(identity, moved.ends, trips), f"{where}: of two sizes"
    inner = [None, *(channel.server for channel in memory.inner)]
    assert moved.server in inner, f"{where}: go through server {moved.server}, not inside"


def _numbers(phase: Phase, identity: Identity, where: str) -> int:
    """How many numbers an identity has."""
    for loop in (*identity.loops, *identity.computed):
        assert 0 <= loop < len(phase.loops), f"{where}: no loop {loop}"
    for loops in (identity.loops, identity.computed):
        assert len(set(loops)) == len(loops), f"{where}: a loop twice"
    own = prod(phase.loops[loop].trips for loop in identity.loops)
    if identity.names is None:
        return own
    number = prod(phase.loops[loop].trips for loop in identity.computed)
    assert len(identity.names) == number, f"{where}: {len(identity.names)} of {number} names"
    assert (identity.names >= 0).all(), f"{where}: names below 0"
    return own * (int(identity.names.max()) + 1)


def _check_memory(memory: Memory, servers: tuple[Server, ...]) -> None:
    _check_channel(memory.outer, servers, shared=True)
    for channel in (*memory.inner, memory.port):
        if channel is not None:
            _check_channel(channel, servers, shared=False)
    if memory.cache is not None:
        _check_channel(memory.cache, servers, shared=True)
    inside = [channel for channel in (*memory.inner, memory.port, memory.cache) if channel]
    for channel in inside:
        assert channel.latency == 0, f"{servers[channel.server].name}: a latency of its own"
    of_each = [channel.server for channel in (memory.outer, *inside)]
    assert len(set(of_each)) == len(of_each), "memory: a server twice"
    assert memory.grain_bytes >= 1, f"memory: grains of {memory.grain_bytes} bytes"
    assert memory.partitions in (1, 2), f"memory: {memory.partitions} partitions"
    assert memory.cache_latency >= 0, f"memory: cache latency {memory.cache_latency}"
    if memory.capacity_bytes is not None:
        assert memory.capacity_bytes >= 0, f"memory: a cache of {memory.capacity_bytes} bytes"


def _check_channel(channel: Channel, servers: tuple[Server, ...], *, shared: bool) -> None:
    assert 0 <= channel.server < len(servers), f"memory: no server {channel.server}"
    server = servers[channel.server]
    assert server.kind == "channel", f"memory: {server.name} is no channel"
    whose = "all clusters" if shared else "one cluster"
    assert server.shared == shared, f"memory: channel {server.name} is not of {whose}"
    assert channel.ticks_per_byte > 0, f"memory: {server.name} takes no time"
    assert channel.latency >= 0, f"memory: {server.name} with latency {channel.latency}"
