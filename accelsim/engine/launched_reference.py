"""The reference engine for phases that are launched: SimPy, a process per slot and per lane.

It is written from the words of program/launch.py and of cache.py, a step for each.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import simpy

from accelsim.engine.cache import homes_of
from accelsim.program import Phase, Program, Task
from accelsim.program.instance import coordinates, instance
from accelsim.program.launch import Channel, Memory, Moved
from accelsim.program.unroll import Instance, Tile, instances, tiles
from accelsim.results import PhaseExecution, Record
from accelsim.results.execution import LOSSES, Moves

Waiting = Generator[Any, Any, Any]
FIRST = 2
"""Priority of the slot served first: behind those of SimPy's own, which are 0 and 1."""


def run_phase(program: Program, phase: Phase, begin: int, record: int | None) -> PhaseExecution:
    """One launch. record: instances of cluster 0 kept (None: all), in the order served."""
    memory = program.memory
    assert phase.launch is not None
    assert memory is not None  # lowering gives one to whatever is launched
    cache = _Cache(phase, memory) if memory.capacity_bytes is not None else None
    if cache is not None and program.warm:
        _Launched(program, phase, begin, cache).run(record)
        cache.forget_counts()
    return _Launched(program, phase, begin, cache).run(record)


class _Cache:
    """The L2 of cache.py: tile -> whether it is dirty, in each partition, used last comes last."""

    def __init__(self, phase: Phase, memory: Memory) -> None:
        assert memory.capacity_bytes is not None
        number = sum(moved.tiles for moved in phase.moved)
        self.home = homes_of(number, memory.partitions).tolist()
        self.room = memory.capacity_bytes // memory.partitions
        self.kept: list[OrderedDict[int, bool]] = [OrderedDict() for _ in range(memory.partitions)]
        self.size: dict[int, int] = {}
        self.forget_counts()

    def forget_counts(self) -> None:
        self.read: dict[str, int] = defaultdict(int)
        self.written = self.fabric = 0

    def dirty(self) -> int:
        return sum(self.size[tile] for one in self.kept for tile, dirty in one.items() if dirty)

    def load(self, near: int, tile: int, size: int, tensor: str) -> tuple[bool, int]:
        """Whether it misses; bytes that leave for the outermost level."""
        home, left, missed = self.home[tile], 0, False
        self.size[tile] = size
        if home != near and tile not in self.kept[near]:
            self.fabric += size
        if home == near or tile not in self.kept[near]:
            missed = tile not in self.kept[home]
            left += self._use(home, tile)
        if home != near:
            left += self._use(near, tile)
        if missed:
            self.read[tensor] += size
        return missed, left

    def store(self, near: int, tile: int, size: int) -> int:
        """Bytes that leave for the outermost level."""
        home = self.home[tile]
        self.size[tile] = size
        if home != near:
            self.fabric += size
        for partition, kept in enumerate(self.kept):
            if partition != home:
                kept.pop(tile, None)
        left = self._use(home, tile)
        self.kept[home][tile] = True
        return left

    def _use(self, partition: int, tile: int) -> int:
        kept, left = self.kept[partition], 0
        if tile not in kept:
            while kept and sum(self.size[t] for t in kept) + self.size[tile] > self.room:
                victim, dirty = kept.popitem(last=False)
                left += self.size[victim] * dirty
            kept[tile] = False
        kept.move_to_end(tile)
        self.written += left
        return left


class _Launched:
    def __init__(self, program: Program, phase: Phase, begin: int, cache: _Cache | None) -> None:
        assert phase.launch is not None
        assert program.memory is not None
        self.program, self.phase, self.launch = program, phase, phase.launch
        self.memory, self.cache, self.begin = program.memory, cache, begin
        self.env = simpy.Environment(initial_time=begin)
        self.slots = program.clusters * self.launch.slots
        servers = len(program.servers)
        self.free = np.full((program.clusters, servers), begin, np.int64)
        self.ended = self.free.copy()  # of what the server itself did
        self.busy = np.zeros(servers, np.int64)
        self.waits = np.zeros((servers, len(LOSSES)), np.int64)
        self.executed = np.zeros(len(phase.tasks), np.int64)
        self.end = begin + phase.launch.cost
        self.rows: list[list[Any]] = []  # of the record: task, start, end, coordinates
        self.under_way: dict[int, simpy.Event] = {}
        self.arrived: dict[int, int] = {}  # tile -> when it can be used where it came first
        self.requested = {moved.tensor: [0, 0] for moved in phase.moved}

    def run(self, record: int | None) -> PhaseExecution:
        every = list(coordinates(self.phase))
        queue = iter(every)
        for slot in range(self.slots):
            static = self.launch.schedule == "static"
            todo = iter(every[slot :: self.slots]) if static else queue
            self.env.process(self._slot(slot, todo))
        self.env.run()
        count = len(self.rows) if record is None else min(record, len(self.rows))
        kept = self.rows[:count]
        tail = self.end - self.ended
        one = [server.shared for server in self.program.servers]
        return PhaseExecution(
            begin=self.begin,
            end=self.end,
            executed=self.executed,
            busy=self.busy,
            waits=self.waits,
            tail=np.where(one, tail[0], tail.sum(axis=0)),
            record=Record(
                task=np.array([row[0] for row in kept], np.int32),
                start=np.array([row[1] for row in kept], np.int64),
                end=np.array([row[2] for row in kept], np.int64),
                coordinates=np.array([row[3] for row in kept], np.int32).reshape(
                    count, len(self.phase.loops)
                ),
                truncated=count < self.executed.sum(),
            ),
            moves=self._moves(),
        )

    def _moves(self) -> Moves:
        requested = {tensor: (read, wrote) for tensor, (read, wrote) in self.requested.items()}
        cache = self.cache
        if cache is None:
            return Moves(requested, False, {}, 0, 0, 0)
        return Moves(requested, True, dict(cache.read), cache.written, cache.dirty(), cache.fabric)

    # Who is served ----------------------------------------------------------------------------

    def _turn(self, slot: int, lane: int | None = None) -> simpy.Event:
        """When it is served, of all that ask now: a lane of a slot, or (None) a free slot."""
        event = self.env.event()
        event._ok, event._value = True, None
        lanes = 1 + len(self.program.servers)
        place = slot if lane is None else self.slots + slot * lanes + lane
        self.env.schedule(event, priority=FIRST + place)  # type: ignore[arg-type]
        return event

    @property
    def now(self) -> int:
        return int(self.env.now)

    def _until(self, time: int) -> simpy.Event:
        return self.env.timeout(max(0, time - self.now))

    def _server(self, server: int, cluster: int) -> tuple[int, int]:
        return (0 if self.program.servers[server].shared else cluster), server

    def _occupy(self, server: int, cluster: int, ticks: int, cause: str) -> int:
        """Take a server from the time it is free, or from now. Returns the end."""
        at = self._server(server, cluster)
        free = int(self.free[at])
        start = max(free, self.now)
        itself = max(int(self.ended[at]), self.now)  # when it could have begun
        self.waits[server, LOSSES.index(cause)] += itself - self.ended[at]
        self.waits[server, LOSSES.index("issue")] += start - itself
        self.busy[server] += ticks
        self.free[at] = self.ended[at] = start + ticks
        return start + ticks

    def _later(self, server: int, cluster: int, time: int, ticks: int) -> None:
        at = self._server(server, cluster)
        self.free[at] = max(int(self.free[at]), time) + ticks

    # Instances --------------------------------------------------------------------------------

    def _slot(self, slot: int, todo: Iterator[tuple[int, ...]]) -> Waiting:
        cluster = slot % self.program.clusters
        ticks = self.launch.start
        yield self._until(self.begin + self.launch.cost)
        yield self._turn(slot)
        for at in todo:
            for number, server in enumerate(self.program.servers):
                if server.kind == "unit" and not server.shared:
                    self._later(number, cluster, self.now, ticks)
            yield self.env.all_of(list(_Instance(self, slot, at).lanes()))
            if self.launch.schedule != "grid":
                ticks = self.launch.next
            yield self._turn(slot)


class _Instance:
    """An instance in a slot."""

    def __init__(self, run: _Launched, slot: int, at: tuple[int, ...]) -> None:
        self.run, self.slot, self.at = run, slot, at
        self.cluster = slot % run.program.clusters
        self.phase = instance(run.phase, at)
        self.todo = instances(self.phase)
        self.tiles = list(tiles(self.phase))
        self.done = [run.env.event() for _ in self.todo]
        self.usable = [0] * len(self.todo)

    def lanes(self) -> Iterator[simpy.Event]:
        lanes: dict[int, list[int]] = defaultdict(list)
        for i, one in enumerate(self.todo):
            task = self.phase.tasks[one.task]
            of_unit = 1 if self.run.launch.in_order else 1 + task.server
            lanes[of_unit if task.kind == "einsum" else 0].append(i)
        for lane, own in lanes.items():
            yield self.run.env.process(self._lane(lane, own))

    def _lane(self, lane: int, own: Sequence[int]) -> Waiting:
        run = self.run
        before = "launch"
        for i in own:
            one, since = self.todo[i], run.now
            yield run.env.all_of([run.env.process(self._available(e, p)) for e, p in one.waits])
            cause = before if run.now == since else self._binding(one)
            yield run._turn(self.slot, lane)
            task = self.phase.tasks[one.task]
            if task.kind == "einsum":
                start, end = self._einsum(task, cause)
                self._record(one.task, one.tile, start, end)
                usable = end
            else:
                end, usable = yield from self._transfer(one, lane, cause)
            yield run._until(end)
            before = "order"
            run.executed[one.task] += 1
            run.end = max(run.end, end)
            self.usable[i] = usable
            self.done[i].succeed()

    def _available(self, edge: int, producer: int) -> Waiting:
        yield self.done[producer]
        yield self.run._until(self.usable[producer] + self.phase.edges[edge].latency)

    def _binding(self, one: Instance) -> str:
        edge = max(
            one.waits, key=lambda w: (self.usable[w[1]] + self.phase.edges[w[0]].latency, -w[0])
        )[0]
        return self.phase.edges[edge].cause

    def _full(self, tile: Tile) -> tuple[int, ...]:
        """Coordinates of all loops of the phase."""
        return (*self.at, *tile.coordinates)[: len(self.run.phase.loops)]

    def _record(self, task: int, tile: Tile, start: int, end: int) -> None:
        if self.cluster == 0:
            self.run.rows.append([task, start, end, self._full(tile)])

    def _einsum(self, task: Task, cause: str) -> tuple[int, int]:
        run, cluster = self.run, self.cluster
        start = max(run.now, int(run.free[run._server(task.server, cluster)]))
        end = run._occupy(task.server, cluster, task.occupancy, cause)
        for hold in task.also:
            end = max(end, run._occupy(hold.server, cluster, hold.ticks, cause))
        for hold in task.slows:
            run._later(hold.server, cluster, start, hold.ticks)
        return start, end

    # Transfers --------------------------------------------------------------------------------

    def _transfer(self, one: Instance, lane: int, cause: str) -> Waiting:
        """Returns when it has ended and when what it loads can be used."""
        run, memory, now = self.run, self.run.memory, self.run.now
        task = self.phase.tasks[one.task]
        assert task.moved is not None
        moved, load = run.phase.moved[task.moved], task.kind == "load"
        where = self._where(task, one.tile)
        tile, size = self._what(moved, self._full(where))
        if not size:
            self._record(one.task, where, now, now)
            return now, now
        run.requested[moved.tensor][0 if load else 1] += size
        inner = tuple(channel for channel in memory.inner if channel.server == moved.server)
        held = [
            self._through(channel, size, cause)
            for channel in (*inner, memory.port, memory.cache)
            if channel is not None
        ]
        near, outside, left = self.slot % memory.partitions, True, 0
        if run.cache is not None and load:
            outside, left = run.cache.load(near, tile, size, moved.tensor)
        elif run.cache is not None:
            outside, left = False, run.cache.store(near, tile, size)
        if left:
            run.end = max(run.end, self._through(memory.outer, left, cause)[1])
        usable, brings = 0, False
        if outside:
            if brings := run.cache is not None and tile not in run.under_way:
                run.under_way[tile] = run.env.event()
            held += yield from self._grains(size, lane, cause)
            usable = max(end for _, end in held) + memory.cache_latency + memory.outer.latency
        elif load and tile in run.under_way:
            yield run.under_way[tile]
            yield run._turn(self.slot, lane)
        start = min((start for start, _ in held), default=run.now)
        end = max((run.now, *(end for _, end in held)))
        self._record(one.task, where, start, end)
        if outside:
            # Of the last grain: others that wait for the tile ask when it ends.
            yield run._until(held[-1][1])
            if brings:
                run.arrived[tile] = usable
                run.under_way.pop(tile).succeed()
        elif load:
            usable = max(end + memory.cache_latency, run.arrived.get(tile, 0))
        return end, usable if load else end

    def _grains(self, size: int, lane: int, cause: str) -> Waiting:
        """All that comes from outside or goes there, up to the last grain: (start, end) of each."""
        held = []
        while size:
            grain = min(size, self.run.memory.grain_bytes)
            held.append(self._through(self.run.memory.outer, grain, cause))
            size -= grain
            if size:
                yield self.run._until(held[-1][1])
                yield self.run._turn(self.slot, lane)
        return held

    def _through(self, channel: Channel, size: int, cause: str) -> tuple[int, int]:
        """Start and end."""
        ticks = ceil(size * channel.ticks_per_byte)
        end = self.run._occupy(channel.server, self.cluster, ticks, cause)
        return end - ticks, end

    def _where(self, task: Task, here: Tile) -> Tile:
        """The iteration whose tile moves: of those that come next, the first."""
        if task.next_of is None:
            return here
        loop, matched = task.next_of
        return next(
            other
            for other in self.tiles
            if other.count[loop] == here.count[loop] + 1
            and all(other.coordinates[m] == here.coordinates[m] for m in matched)
        )

    def _what(self, moved: Moved, at: Sequence[int]) -> tuple[int, int]:
        """Which tile moves, and how many bytes there are of it."""
        number = self._key(moved.identity.loops, at)
        if (names := moved.identity.names) is not None:
            own = int(names[self._key(moved.identity.computed, at)])
            number = number * (int(names.max()) + 1) + own
        elements = moved.elements
        for end in moved.ends:
            elements = elements // end.size * int(end.kept[self._key(end.loops, at)])
        return moved.first + number, int(Fraction(elements) * moved.word_bytes)

    def _key(self, loops: Sequence[int], at: Sequence[int]) -> int:
        number = 0
        for loop in loops:
            number = number * self.run.phase.loops[loop].trips + at[loop]
        return number
