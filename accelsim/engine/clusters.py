"""Clusters that draw instances of a launch, event by event: the compiled part of `launched.py`.

What is asked of a cluster's own servers is served as far as its next transfer, or the end of an
instance: these concern all clusters and wait in one heap, in the order of (time, order), where the
order of an instance's end is its slot and that of a transfer comes behind, by slot and lane. So
all that ask are served in the order that program/launch.py states.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from accelsim.engine.heap import before, pop, push
from accelsim.engine.jit import compiled_code
from accelsim.engine.kernel import at
from accelsim.engine.launch_tables import (
    ASKS,
    BEGAN,
    BEGUN,
    CACHE_LATENCY,
    CLUSTERS,
    DONE,
    EINSUM,
    ENDED,
    FOLLOWING,
    FREE,
    GRID,
    GRID_ORDER,
    HEAP,
    IDLE,
    INSTANCE,
    INSTANCES,
    LANES,
    LAST,
    LATEST,
    LAUNCH,
    LEFT,
    LEFT_OUTSIDE,
    MISSED,
    NEVER,
    NEXT,
    ORDER,
    OUTER,
    OVER,
    PARKED,
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
    TILE,
    TRANSFERS,
    UNITS,
    WAITING,
    WHY,
    State,
    Tables,
)
from accelsim.engine.pack import Int, Records
from accelsim.engine.transfers import ask_cache, bytes_of, chunk_of, inside, locate, occupy, outside


@compiled_code
def advance(t: Tables, s: State, limit: int) -> bool:
    """Serve up to about `limit` tasks from where the clock stands; whether the phase has ended."""
    # Each array of a tuple is counted as in use whenever it is looked at: here that is once.
    heap, clock, slots, lanes, ready, at_ = s.heap, s.clock, s.slots, s.lanes, s.ready, s.at
    free, last, busy, waits, executed = s.free, s.last, s.busy, s.waits, s.executed
    links, dirty, fetched, totals = s.links, s.dirty, s.fetched, s.totals
    sizes, homes, arrives, comes = s.size, s.homes, s.arrives, s.comes
    moves, asking = s.moves, s.asking
    settings, script, tasks, holds, task_of, tile_of = (
        t.settings, t.script, t.tasks, t.holds, t.task, t.tile,
    )  # fmt: skip
    moved, ends, channels, inner, strides = t.moved, t.ends, t.channels, t.inner, t.strides
    names, kept, coordinates, shift = t.names, t.kept, t.coordinates, t.shift
    waits_of, from_entry, latency, cause = t.waits_of, t.from_entry, t.latency, t.cause
    begins, entries = t.lane_begins, t.lane_entries
    clusters, resident, n_lanes = settings[CLUSTERS], settings[RESIDENT], settings[LANES]
    n_slots, transfers = clusters * resident, settings[TRANSFERS]
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
            place = at(_entry(slots, lanes, script, begins, entries, slot, lane))
            task = tasks[at(task_of[place])]
            lanes[slot, lane, QUEUED] = 0
            transfer = task.kind != EINSUM
            if transfer and lanes[slot, lane, LEFT_OUTSIDE] == 0:
                locate(settings, script, tile_of, coordinates, shift, slots, at_, slot, place)
                size = bytes_of(moved[at(task.moved)], ends, kept, strides, at_, slot)
                moves[at(task.moved), int(task.kind == STORE)] += task.times * size
                usable = inside(
                    settings, channels, inner, lanes, free, last, busy, waits,
                    moved[at(task.moved)], size, task.times, slot, lane, cluster, now,
                )  # fmt: skip
                if size > 0 and settings[ROOM] > 0:
                    usable = ask_cache(
                        settings, channels, lanes, free, last, busy, waits, clock, links, dirty,
                        fetched, totals, sizes, homes, arrives, comes, strides, names, at_,
                        moved[at(task.moved)], task.kind == STORE, size, task.times, slot, lane,
                        now,
                    )  # fmt: skip
                    if (
                        lanes[slot, lane, LEFT_OUTSIDE] == PARKED
                        and comes[at(lanes[slot, lane, TILE])] < LAST
                    ):
                        again = lanes[slot, lane, ASKS]
                        _queue(heap, clock, lanes, slot, lane, order, cluster, again)
                elif size > 0:
                    lanes[slot, lane, LEFT_OUTSIDE] = size
                    lanes[slot, lane, MISSED] = task.times
            elif transfer and lanes[slot, lane, LEFT_OUTSIDE] == PARKED:
                lanes[slot, lane, LEFT_OUTSIDE] = 0
                lanes[slot, lane, SO_FAR] = max(lanes[slot, lane, SO_FAR], now)
                usable = lanes[slot, lane, SO_FAR] + task.times * settings[CACHE_LATENCY]
                usable = max(usable, arrives[at(lanes[slot, lane, TILE])])
                if task.times > 1:
                    usable = _several(t, s, int(slot), int(lane), int(place), now, usable)
            if transfer and lanes[slot, lane, LEFT_OUTSIDE] > 0:
                end = outside(settings, channels, lanes, free, last, busy, waits, slot, lane, now)
                if lanes[slot, lane, LEFT_OUTSIDE] > 0:
                    _queue(heap, clock, lanes, slot, lane, order, cluster, end)
                    if not asking[at(cluster)]:
                        continue  # nothing else here asks for anything meanwhile
                else:
                    usable = settings[CACHE_LATENCY] + channels[OUTER].latency
                    usable = lanes[slot, lane, SO_FAR] + task.times * usable
                    if settings[ROOM] > 0 and task.times > 1:
                        usable = _several(t, s, int(slot), int(lane), int(place), end, usable)
                    elif settings[ROOM] > 0:
                        chunk = at(lanes[slot, lane, TILE])
                        if comes[chunk] == LAST + (order - n_slots) // n_lanes:
                            comes[chunk], arrives[chunk] = end, usable
                            _wake(settings, heap, clock, slots, lanes, int(chunk), end)
            if transfer and lanes[slot, lane, LEFT_OUTSIDE] == 0:
                number, end = at(task_of[place]), lanes[slot, lane, SO_FAR]
                if task.kind == STORE:
                    usable = end
                _done(
                    slots, lanes, ready, clock, executed, script, slot, lane, place, number, end,
                    usable,
                )  # fmt: skip
                if cluster == 0 and clock[RECORDED] < records:
                    _record(t, s, int(slot), int(place), min(lanes[slot, lane, BEGUN], end), end)
        # Serve what this cluster asks of its own servers, up to what concerns all.
        while True:
            now, order, until, upto, parked = LAST, 0, LAST, 0, False
            slot = lane = at(0)
            for number in range(resident):
                mine = number * clusters + cluster
                own = at(mine)
                if slots[own, STATE] != RUNNING:
                    if slots[own, STATE] == OVER:
                        push(heap, clock[HEAP], slots[own, ENDED], mine, cluster)
                        clock[HEAP] += 1
                        slots[own, STATE] = QUEUED_OVER
                    over = slots[own, STATE] == QUEUED_OVER
                    if over and before(slots[own, ENDED], mine, until, upto):
                        until, upto = slots[own, ENDED], mine
                    continue
                mine = n_slots + mine * n_lanes
                for which in range(n_lanes):
                    that = at(which)
                    asks = lanes[own, that, ASKS]
                    if asks == NEVER:
                        asks = _asks(
                            slots, lanes, ready, script, begins, entries, waits_of, from_entry,
                            latency, cause, own, that,
                        )  # fmt: skip
                        if asks == NEVER:
                            continue
                        if asks < LAST and which < transfers:
                            push(heap, clock[HEAP], asks, mine + which, cluster)
                            clock[HEAP] += 1
                            lanes[own, that, QUEUED] = 1
                    if lanes[own, that, QUEUED]:
                        parked |= asks == LAST
                        if before(asks, mine + which, until, upto):
                            until, upto = asks, mine + which
                    elif before(asks, mine + which, now, order):
                        now, order, slot, lane = asks, mine + which, own, that
            if now == LAST or not before(now, order, until, upto):
                asking[at(cluster)] = now < LAST
                break
            over = False
            if slots[slot, LEFT] == 1 and clock[HEAP] > 0:
                place = at(_entry(slots, lanes, script, begins, entries, slot, lane))
                over = tasks[at(task_of[place])].occupancy == 0
            if (parked or over) and not before(now, order, heap[0, 0], heap[0, 1]):
                # Who brings what is waited for here may end before, and what takes no time may free
                # its slot now, which others see before they ask: ask behind what all ask.
                push(heap, clock[HEAP], now, order, cluster)
                clock[HEAP] += 1
                lanes[slot, lane, QUEUED] = 1
                asking[at(cluster)] = True
                break
            place = at(_entry(slots, lanes, script, begins, entries, slot, lane))
            number = at(task_of[place])
            task, why = tasks[number], at(lanes[slot, lane, WHY])
            row, server = at(cluster), at(task.server)
            begin = occupy(free, last, busy, waits, row, server, now, task.occupancy, why)
            end = begin + task.occupancy
            for k in range(task.also_from, task.also_to):
                server, ticks = at(holds[at(k)].server), holds[at(k)].ticks
                held = occupy(free, last, busy, waits, row, server, now, ticks, why)
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
def _several(t: Tables, s: State, slot: int, lane: int, place: int, now: int, usable: int) -> int:
    """What a transfer of several tiles brings itself has come; others may still be on their way.

    Returns when all that have come can be used.
    """
    lanes, comes = s.lanes, s.comes
    task = t.tasks[t.task[place]]
    locate(t.settings, t.script, t.tile, t.coordinates, t.shift, s.slots, s.at, slot, place)
    arrived, awaited = usable, -1
    for _ in range(task.times):
        chunk = chunk_of(t.strides, t.names, t.moved[task.moved], s.at, slot)
        if comes[chunk] == LAST + slot:
            comes[chunk], s.arrives[chunk] = now, usable
            _wake(t.settings, s.heap, s.clock, s.slots, lanes, chunk, now)
        arrived = max(arrived, s.arrives[chunk])
        if awaited < 0 or comes[chunk] > comes[awaited]:
            awaited = chunk
        s.at[slot, t.settings[GRID]] += 1
    lanes[slot, lane, TILE] = awaited
    if comes[awaited] > now:
        lanes[slot, lane, LEFT_OUTSIDE] = PARKED
        lanes[slot, lane, ASKS], lanes[slot, lane, QUEUED] = LAST, 1
        s.clock[WAITING] += 1
        if comes[awaited] < LAST:
            _wake(t.settings, s.heap, s.clock, s.slots, lanes, awaited, comes[awaited])
    return arrived


@compiled_code
def _record(t: Tables, s: State, slot: int, place: int, begin: int, end: int) -> None:
    locate(t.settings, t.script, t.tile, t.coordinates, t.shift, s.slots, s.at, slot, place)
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
def _queue(
    heap: Int, clock: Int, lanes: Int, slot: Any, lane: Any, order: int, cluster: int, now: int
) -> None:
    """Let a lane ask again, of what concerns all clusters."""
    lanes[slot, lane, ASKS], lanes[slot, lane, QUEUED] = now, 1
    push(heap, clock[HEAP], now, order, cluster)
    clock[HEAP] += 1


@compiled_code
def _wake(
    settings: Int, heap: Int, clock: Int, slots: Int, lanes: Int, chunk: int, now: int
) -> None:
    """Let those ask again that wait for a tile."""
    if clock[WAITING] == 0:
        return
    n_lanes = settings[LANES]
    n_slots = settings[CLUSTERS] * settings[RESIDENT]
    for slot in range(n_slots):
        for lane in range(n_lanes):
            parked = lanes[slot, lane, LEFT_OUTSIDE] == PARKED and lanes[slot, lane, ASKS] == LAST
            if parked and lanes[slot, lane, TILE] == chunk:
                order = n_slots + slot * n_lanes + lane
                _queue(heap, clock, lanes, slot, lane, order, slot % settings[CLUSTERS], now)
                clock[WAITING] -= 1
