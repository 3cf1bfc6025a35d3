"""Clusters that draw instances of a launch, event by event: the compiled part of `launched.py`.

What is asked of a cluster's own servers is served as far as its next transfer, or the end of an
instance: these concern all clusters and wait in one heap, in the order of (time, order), where the
order of an instance's end is its slot and that of a transfer comes behind, by slot and lane. So
all that ask are served in the order that program/launch.py states.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from accelsim.engine import cache
from accelsim.engine.heap import before, pop, push
from accelsim.engine.jit import compiled_code
from accelsim.engine.kernel import at
from accelsim.engine.launch_tables import (
    ASKS,
    BEGAN,
    BEGUN,
    CACHE,
    CACHE_LATENCY,
    CLUSTERS,
    DONE,
    EINSUM,
    ENDED,
    FOLLOWING,
    FREE,
    GRAIN,
    GRID,
    GRID_ORDER,
    HEAP,
    IDLE,
    INSTANCE,
    INSTANCES,
    ISSUE,
    LANES,
    LAST,
    LATEST,
    LAUNCH,
    LEFT,
    LEFT_OUTSIDE,
    NEVER,
    NEXT,
    ORDER,
    OUTER,
    OVER,
    PARKED,
    PARTITIONS,
    PORT,
    QUEUED,
    QUEUED_OVER,
    RAN,
    RECORDED,
    RESIDENT,
    ROOM,
    RUNNING,
    SCHEDULE,
    SCRIPT_OF,
    SERVED,
    SO_FAR,
    START,
    STATE,
    STATIC,
    STORE,
    UNITS,
    WHY,
    State,
    Tables,
)
from accelsim.engine.pack import Int, Records


@compiled_code
def advance(t: Tables, s: State, limit: int) -> bool:
    """Serve up to about `limit` tasks from where the clock stands; whether the phase has ended."""
    # Each array of a tuple is counted as in use whenever it is looked at: here that is once.
    heap, clock, slots, lanes, ready = s.heap, s.clock, s.slots, s.lanes, s.ready
    free, last, busy, waits, executed = s.free, s.last, s.busy, s.waits, s.executed
    script, tasks, holds, task_of = t.script, t.tasks, t.holds, t.task
    waits_of, from_entry, latency, cause = t.waits_of, t.from_entry, t.latency, t.cause
    begins, entries = t.lane_begins, t.lane_entries
    clusters, resident, n_lanes = t.settings[CLUSTERS], t.settings[RESIDENT], t.settings[LANES]
    n_slots = clusters * resident
    records = s.recorded.shape[0]
    stop = clock[SERVED] + limit
    while clock[HEAP] > 0:
        if clock[SERVED] >= stop:
            return False
        now, order, cluster = heap[0, 0], heap[0, 1], heap[0, 2]
        pop(heap, clock[HEAP])
        clock[HEAP] -= 1
        if order < n_slots:
            _take(t, s, order, now)
        else:
            slot, lane = at((order - n_slots) // n_lanes), at((order - n_slots) % n_lanes)
            lanes[slot, lane, QUEUED] = 0
            place = _entry(slots, lanes, script, begins, entries, slot, lane)
            if tasks[at(task_of[at(place)])].kind != EINSUM:
                _transfer(t, s, int(slot), int(lane), now)
        # Serve what this cluster asks of its own servers, up to what concerns all.
        while True:
            now, order = LAST, 0
            until, upto, parked = LAST, 0, False
            for number in range(resident):
                mine = number * clusters + cluster
                slot = at(mine)
                if slots[slot, STATE] == OVER:
                    push(heap, clock[HEAP], slots[slot, ENDED], mine, cluster)
                    clock[HEAP] += 1
                    slots[slot, STATE] = QUEUED_OVER
                if slots[slot, STATE] != RUNNING:
                    over = slots[slot, STATE] == QUEUED_OVER
                    if over and before(slots[slot, ENDED], mine, until, upto):
                        until, upto = slots[slot, ENDED], mine
                    continue
                for lane in range(n_lanes):
                    asks = lanes[slot, at(lane), ASKS]
                    mine = n_slots + (number * clusters + cluster) * n_lanes + lane
                    if asks == NEVER:
                        asks = _asks(
                            slots, lanes, ready, script, begins, entries, waits_of, from_entry,
                            latency, cause, slot, at(lane),
                        )  # fmt: skip
                        if asks == NEVER:
                            continue
                        if asks < LAST:
                            place = _entry(slots, lanes, script, begins, entries, slot, at(lane))
                            if tasks[at(task_of[at(place)])].kind != EINSUM:
                                push(heap, clock[HEAP], asks, mine, cluster)
                                clock[HEAP] += 1
                                lanes[slot, at(lane), QUEUED] = 1
                    if lanes[slot, at(lane), QUEUED]:
                        parked |= asks == LAST
                        if before(asks, mine, until, upto):
                            until, upto = asks, mine
                    elif before(asks, mine, now, order):
                        now, order = asks, mine
            if now == LAST or not before(now, order, until, upto):
                break
            slot, lane = at((order - n_slots) // n_lanes), at((order - n_slots) % n_lanes)
            if parked and not before(now, order, heap[0, 0], heap[0, 1]):
                # Who brings what is waited for here may end before: ask behind what all ask.
                push(heap, clock[HEAP], now, order, cluster)
                clock[HEAP] += 1
                lanes[slot, lane, QUEUED] = 1
                break
            place = at(_entry(slots, lanes, script, begins, entries, slot, lane))
            number = at(task_of[place])
            task, why = tasks[number], at(lanes[slot, lane, WHY])
            row, server = at(cluster), at(task.server)
            begin = _occupy(free, last, busy, waits, row, server, now, task.occupancy, why)
            end = begin + task.occupancy
            for k in range(task.also_from, task.also_to):
                server, ticks = at(holds[at(k)].server), holds[at(k)].ticks
                held = _occupy(free, last, busy, waits, row, server, now, ticks, why)
                end = max(end, held + ticks)
            for k in range(task.slows_from, task.slows_to):
                server, ticks = at(holds[at(k)].server), holds[at(k)].ticks
                free[row, server] = max(free[row, server], begin) + ticks
            _done(slots, lanes, ready, clock, executed, script, slot, lane, place, number, end, end)
            if cluster == 0 and clock[RECORDED] < records:
                _record(t, s, int(slot), int(place), begin, end)
    return True


@njit(inline="always")
def _entry(
    slots: Int, lanes: Int, script: Records, begins: Int, entries: Int, slot: Any, lane: Any
) -> Any:
    """Where the entry that a lane has come to stands in the arrays of all scripts."""
    mine = script[at(slots[slot, SCRIPT_OF])]
    place = mine.entries + begins[at(mine.lanes + lane)] + lanes[slot, lane, DONE]
    return mine.entries + entries[at(place)]


@njit(inline="always")
def _asks(
    slots: Int,
    lanes: Int,
    ready: Int,
    script: Records,
    begins: Int,
    entries: Int,
    waits_of: Int,
    from_entry: Int,
    latency: Int,
    cause: Int,
    slot: Any,
    lane: Any,
) -> int:
    """When a lane's next entry asks: LAST if there is none, NEVER as long as that is not known."""
    kind = slots[slot, SCRIPT_OF]
    mine = script[at(kind)]
    done = lanes[slot, lane, DONE]
    asks, why = LAST, 0
    if done < begins[at(mine.lanes + lane + 1)] - begins[at(mine.lanes + lane)]:
        asks, why = lanes[slot, lane, FREE], ORDER
        if done == 0:
            asks, why = slots[slot, BEGAN], LAUNCH
        # Each script has one more place in `waits_of` than entries.
        place = _entry(slots, lanes, script, begins, entries, slot, lane) + kind
        for k in range(mine.found + waits_of[at(place)], mine.found + waits_of[at(place + 1)]):
            there = ready[slot, at(from_entry[at(k)])]
            if there == NEVER:
                asks = NEVER
                break
            if there + latency[at(k)] > asks:
                asks, why = there + latency[at(k)], cause[at(k)]
    lanes[slot, lane, ASKS], lanes[slot, lane, WHY] = asks, why
    return asks


@njit(inline="always")
def _occupy(
    free: Int, last: Int, busy: Int, waits: Int, row: Any, server: Any, asked: int, ticks: int,
    why: Any,
) -> int:  # fmt: skip
    """Give a server for some ticks from when it is free; when that begins."""
    begin: int = max(free[row, server], asked)
    ended = last[row, server]
    if begin > ended:
        by_itself = max(asked, ended)
        waits[server, why] += by_itself - ended
        waits[server, at(ISSUE)] += begin - by_itself
    free[row, server] = last[row, server] = begin + ticks
    busy[server] += ticks
    return begin


@njit(inline="always")
def _done(
    slots: Int, lanes: Int, ready: Int, clock: Int, executed: Int, script: Records, slot: Any,
    lane: Any, place: Any, number: Any, end: int, usable: int,
) -> None:  # fmt: skip
    """Note that an entry was served: until when, and from when its result can be used."""
    ready[slot, at(place - script[at(slots[slot, SCRIPT_OF])].entries)] = usable
    lanes[slot, lane, DONE] += 1
    lanes[slot, lane, FREE] = end
    lanes[slot, lane, ASKS] = NEVER
    slots[slot, ENDED] = max(slots[slot, ENDED], end)
    slots[slot, LEFT] -= 1
    if slots[slot, LEFT] == 0:
        slots[slot, STATE] = OVER
    clock[LATEST] = max(clock[LATEST], end)
    clock[SERVED] += 1
    executed[number] += 1


@compiled_code
def _record(t: Tables, s: State, slot: int, place: int, begin: int, end: int) -> None:
    _locate(t, s, slot, place)
    row = s.clock[RECORDED]
    s.recorded[row, 0], s.recorded[row, 1], s.recorded[row, 2] = t.task[place], begin, end
    for loop in range(s.at.shape[1]):
        s.recorded[row, 3 + loop] = s.at[slot, loop]
    s.clock[RECORDED] += 1


@compiled_code
def _take(t: Tables, s: State, slot: int, now: int) -> None:
    """Give a slot whose instance is over the next one, if there is one for it."""
    number, ran = s.clock[FOLLOWING], s.slots[slot, RAN]
    if t.settings[SCHEDULE] == STATIC:
        number = slot + ran * t.settings[CLUSTERS] * t.settings[RESIDENT]
    if number >= t.settings[INSTANCES]:
        s.slots[slot, STATE] = IDLE
        return
    stays = ran > 0 and t.settings[SCHEDULE] != GRID_ORDER
    kind = t.script_of[number]
    entries = t.script[kind + 1].entries - t.script[kind].entries
    s.clock[FOLLOWING] += 1
    cluster = slot % t.settings[CLUSTERS]
    takes = t.settings[NEXT] if stays else t.settings[START]
    for unit in range(t.settings[UNITS]):
        s.free[cluster, unit] = max(s.free[cluster, unit], now) + takes
    s.slots[slot, STATE] = RUNNING if entries else OVER
    s.slots[slot, INSTANCE] = number
    s.slots[slot, SCRIPT_OF] = kind
    s.slots[slot, BEGAN] = now
    s.slots[slot, ENDED] = s.slots[slot, BEGAN]
    s.slots[slot, LEFT] = entries
    s.slots[slot, RAN] = ran + 1
    for entry in range(entries):
        s.ready[slot, entry] = NEVER
    for lane in range(t.settings[LANES]):
        s.lanes[slot, lane, DONE] = 0
        s.lanes[slot, lane, ASKS] = NEVER
    for loop in range(t.settings[GRID] - 1, -1, -1):
        s.at[slot, loop] = number % t.grid[loop]
        number //= t.grid[loop]


@njit(inline="always")
def _key(t: Tables, s: State, begin: int, slot: int) -> int:
    """A number made of a slot's coordinates with a row of strides."""
    key = 0
    for loop in range(s.at.shape[1]):
        key += t.strides[begin + loop] * s.at[slot, loop]
    return key


@njit(inline="always")
def _locate(t: Tables, s: State, slot: int, place: int) -> None:
    """Put the coordinates of an entry's tile into `at`."""
    tile = t.script[s.slots[slot, SCRIPT_OF]].tiles + t.tile[place]
    outer, instance = t.settings[GRID], s.slots[slot, INSTANCE]
    for loop in range(t.coordinates.shape[1]):
        s.at[slot, outer + loop] = t.coordinates[tile, loop] + t.shift[instance, loop]


@njit(inline="always")
def _ticks(channel: Any, size: int) -> Any:
    return (size * channel.numerator + channel.denominator - 1) // channel.denominator


@compiled_code
def _transfer(t: Tables, s: State, slot: int, lane: int, now: int) -> None:
    """Serve the transfer that a lane asks for, or what is left of it."""
    slots, lanes, script = s.slots, s.lanes, t.script
    place = _entry(slots, lanes, script, t.lane_begins, t.lane_entries, slot, lane)
    if lanes[slot, lane, LEFT_OUTSIDE] == 0:
        _locate(t, s, slot, place)
        _begin(t, s, slot, lane, place, now)
        return
    if lanes[slot, lane, LEFT_OUTSIDE] == PARKED:
        tensor = t.moved[t.tasks[t.task[place]].moved]
        _locate(t, s, slot, place)
        lanes[slot, lane, LEFT_OUTSIDE] = 0
        end = max(lanes[slot, lane, SO_FAR], now)
        lanes[slot, lane, SO_FAR] = end
        usable = max(end + t.settings[CACHE_LATENCY], s.arrives[_chunk(t, s, tensor, slot)])
        _end(t, s, slot, lane, place, usable)
        return
    _outside(t, s, slot, lane, place, now)


@njit(inline="always")
def _chunk(t: Tables, s: State, tensor: Any, slot: int) -> Any:
    chunk = tensor.first + _key(t, s, tensor.own_from, slot) * tensor.names
    if tensor.names_from >= 0:
        chunk += t.names[tensor.names_from + _key(t, s, tensor.computed_from, slot)]
    return chunk


@compiled_code
def _begin(t: Tables, s: State, slot: int, lane: int, place: int, now: int) -> None:
    """A transfer asks for the first time: of all but the outermost channel, and of the cache."""
    clusters, partitions = t.settings[CLUSTERS], t.settings[PARTITIONS]
    cluster = slot % clusters
    task, why = t.tasks[t.task[place]], s.lanes[slot, lane, WHY]
    free, last, busy, waits = s.free, s.last, s.busy, s.waits
    tensor = t.moved[task.moved]
    size = tensor.elements
    for number in range(tensor.ends_from, tensor.ends_to):
        rank = t.ends[number]
        size = size // rank.size * t.kept[rank.kept_from + _key(t, s, rank.strides_from, slot)]
    size = size * tensor.numerator // tensor.denominator
    stores = task.kind == STORE
    s.moves[task.moved, int(stores)] += size
    if size == 0:
        s.lanes[slot, lane, BEGUN], s.lanes[slot, lane, SO_FAR] = now, now
        _end(t, s, slot, lane, place, now)
        return
    begin, end = LAST, now
    if tensor.channel >= 0:
        channel = t.inner[tensor.channel]
        ticks = _ticks(channel, size)
        begin = _occupy(free, last, busy, waits, cluster, channel.server, now, ticks, why)
        end = max(end, begin + ticks)
    for number in range(CACHE + 1):
        channel = t.channels[number]
        if channel.server >= 0:
            ticks = _ticks(channel, size)
            row = cluster if number == PORT else clusters
            held = _occupy(free, last, busy, waits, row, channel.server, now, ticks, why)
            begin, end = min(begin, held), max(end, held + ticks)
    s.lanes[slot, lane, BEGUN], s.lanes[slot, lane, SO_FAR] = begin, end
    if t.settings[ROOM] == 0:
        s.lanes[slot, lane, LEFT_OUTSIDE] = size
        _outside(t, s, slot, lane, place, now)
        return
    outer, chunk = t.channels[OUTER], _chunk(t, s, tensor, slot)
    if s.size[chunk] == 0:
        s.size[chunk] = size
    fetched, written = s.fetched[chunk], s.totals[cache.DRAM_WRITTEN]
    cache.ask(
        s.links, s.dirty, s.size, s.totals, s.fetched, s.homes[chunk], partitions,
        slot & (partitions - 1), chunk, stores, t.settings[ROOM],
    )  # fmt: skip
    written = s.totals[cache.DRAM_WRITTEN] - written
    if written > 0:
        ticks = _ticks(outer, written)
        held = _occupy(free, last, busy, waits, clusters, outer.server, now, ticks, why)
        begin, end = min(begin, held), max(end, held + ticks)
        s.lanes[slot, lane, BEGUN], s.lanes[slot, lane, SO_FAR] = begin, end
    if s.fetched[chunk] > fetched:
        if s.comes[chunk] <= now:
            s.comes[chunk] = LAST + slot
        s.lanes[slot, lane, LEFT_OUTSIDE] = size
        _outside(t, s, slot, lane, place, now)
    elif not stores and s.comes[chunk] > now:
        s.lanes[slot, lane, LEFT_OUTSIDE] = PARKED
        if s.comes[chunk] < LAST:
            _queue(t, s, slot, lane, s.comes[chunk])
        else:  # `_outside` of who brings it calls this lane again
            s.lanes[slot, lane, ASKS], s.lanes[slot, lane, QUEUED] = LAST, 1
    else:
        _end(t, s, slot, lane, place, max(end + t.settings[CACHE_LATENCY], s.arrives[chunk]))


@compiled_code
def _outside(t: Tables, s: State, slot: int, lane: int, place: int, now: int) -> None:
    """The next grain of a transfer on the outermost channel; others may come between two."""
    outer, clusters = t.channels[OUTER], t.settings[CLUSTERS]
    left = s.lanes[slot, lane, LEFT_OUTSIDE]
    size = min(left, t.settings[GRAIN])
    ticks = _ticks(outer, size)
    why = s.lanes[slot, lane, WHY]
    begin = _occupy(s.free, s.last, s.busy, s.waits, clusters, outer.server, now, ticks, why)
    end = begin + ticks
    s.lanes[slot, lane, BEGUN] = min(s.lanes[slot, lane, BEGUN], begin)
    s.lanes[slot, lane, LEFT_OUTSIDE] = left - size
    if left > size:
        _queue(t, s, slot, lane, end)
        return
    s.lanes[slot, lane, SO_FAR] = max(s.lanes[slot, lane, SO_FAR], end)
    _locate(t, s, slot, place)
    task = t.tasks[t.task[place]]
    usable = s.lanes[slot, lane, SO_FAR] + t.settings[CACHE_LATENCY] + outer.latency
    chunk = _chunk(t, s, t.moved[task.moved], slot) if t.settings[ROOM] > 0 else NEVER
    if chunk != NEVER and s.comes[chunk] == LAST + slot:
        s.comes[chunk], s.arrives[chunk] = end, usable
        for other in range(s.lanes.shape[0]):
            for waiting in range(s.lanes.shape[1]):
                if (
                    s.lanes[other, waiting, LEFT_OUTSIDE] == PARKED
                    and s.slots[other, STATE] == RUNNING
                ):
                    there = _entry(
                        s.slots, s.lanes, t.script, t.lane_begins, t.lane_entries, other, waiting
                    )
                    tensor = t.tasks[t.task[there]].moved
                    if tensor == task.moved and s.lanes[other, waiting, ASKS] == LAST:
                        _locate(t, s, other, there)
                        if _chunk(t, s, t.moved[tensor], other) == chunk:
                            _queue(t, s, other, waiting, end)
    _end(t, s, slot, lane, place, usable)


@njit(inline="always")
def _queue(t: Tables, s: State, slot: int, lane: int, now: int) -> None:
    """Let a lane ask again, of what concerns all clusters."""
    clusters = t.settings[CLUSTERS]
    order = clusters * t.settings[RESIDENT] + slot * t.settings[LANES] + lane
    s.lanes[slot, lane, ASKS], s.lanes[slot, lane, QUEUED] = now, 1
    push(s.heap, s.clock[HEAP], now, order, slot % clusters)
    s.clock[HEAP] += 1


@compiled_code
def _end(t: Tables, s: State, slot: int, lane: int, place: int, usable: int) -> None:
    """A transfer has had all channels. usable: when what it loads is."""
    number, end = t.task[place], s.lanes[slot, lane, SO_FAR]
    begin = min(s.lanes[slot, lane, BEGUN], end)
    if t.tasks[number].kind == STORE:
        usable = end
    slots, lanes = s.slots, s.lanes
    _done(
        slots, lanes, s.ready, s.clock, s.executed, t.script, slot, lane, place, number, end, usable
    )
    if slot % t.settings[CLUSTERS] == 0 and s.clock[RECORDED] < s.recorded.shape[0]:
        _record(t, s, slot, place, begin, end)
