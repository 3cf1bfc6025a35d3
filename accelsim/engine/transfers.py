"""What transfers of a launch do when they are served: inlined into `clusters.py`."""

from __future__ import annotations

from typing import Any

from numba import njit

from accelsim.engine import cache
from accelsim.engine.cache import Bool
from accelsim.engine.kernel import at
from accelsim.engine.launch_tables import (
    ASKS,
    BEGUN,
    CACHE,
    CACHE_LATENCY,
    CLUSTERS,
    GRAIN,
    GRID,
    INSTANCE,
    ISSUE,
    LAST,
    LATEST,
    LEFT_OUTSIDE,
    MISSED,
    OUTER,
    PARKED,
    PARTITIONS,
    PORT,
    QUEUED,
    ROOM,
    SCRIPT_OF,
    SO_FAR,
    TILE,
    WAITING,
    WHY,
)
from accelsim.engine.pack import Int, Records


@njit(inline="always")
def occupy(
    free: Int, last: Int, busy: Int, waits: Int, row: Any, server: Any, asked: int, ticks: int,
    why: Any,
) -> Any:  # fmt: skip
    """Give a server for some ticks from when it is free; when that begins."""
    begin = max(free[row, server], asked)
    ended = last[row, server]
    if begin > ended:
        by_itself = max(asked, ended)
        waits[server, why] += by_itself - ended
        waits[server, at(ISSUE)] += begin - by_itself
    free[row, server] = last[row, server] = begin + ticks
    busy[server] += ticks
    return begin


@njit(inline="always")
def key_of(strides: Int, begin: int, at_: Int, slot: Any) -> Any:
    """A number made of a slot's coordinates with a row of strides."""
    key = 0
    for loop in range(at_.shape[1]):
        key += strides[at(begin + loop)] * at_[slot, at(loop)]
    return key


@njit(inline="always")
def locate(
    settings: Int, script: Records, tile_of: Int, coordinates: Int, shift: Int, slots: Int,
    at_: Int, slot: Any, place: Any,
) -> None:  # fmt: skip
    """Put the coordinates of an entry's tile into `at_`."""
    tile = script[at(slots[slot, SCRIPT_OF])].tiles + tile_of[place]
    outer, instance = settings[GRID], slots[slot, INSTANCE]
    for loop in range(coordinates.shape[1]):
        at_[slot, at(outer + loop)] = (
            coordinates[at(tile), at(loop)] + shift[at(instance), at(loop)]
        )


@njit(inline="always")
def ticks_of(channel: Any, size: int) -> Any:
    return (size * channel.numerator + channel.denominator - 1) // channel.denominator


@njit(inline="always")
def bytes_of(tensor: Any, ends: Records, kept: Int, strides: Int, at_: Int, slot: Any) -> Any:
    """What there is of a tile."""
    size = tensor.elements
    for number in range(tensor.ends_from, tensor.ends_to):
        rank = ends[at(number)]
        there = kept[at(rank.kept_from + key_of(strides, rank.strides_from, at_, slot))]
        size = size // rank.size * there
    return size * tensor.numerator // tensor.denominator


@njit(inline="always")
def inside(
    settings: Int, channels: Records, inner: Records, lanes: Int, free: Int, last: Int, busy: Int,
    waits: Int, tensor: Any, size: int, times: int, slot: Any, lane: Any, cluster: int, now: int,
) -> Any:  # fmt: skip
    """A transfer occupies all but the outermost channel; when what comes so far can be used."""
    why = at(lanes[slot, lane, WHY])
    begin, end = LAST, now
    if size > 0 and tensor.channel >= 0:
        channel = inner[at(tensor.channel)]
        ticks = times * ticks_of(channel, size)
        held = occupy(free, last, busy, waits, at(cluster), at(channel.server), now, ticks, why)
        begin, end = held, max(end, held + ticks)
    for number in range(CACHE + 1):
        channel = channels[number]
        if size > 0 and channel.server >= 0:
            ticks = times * ticks_of(channel, size)
            row = at(cluster) if number == PORT else at(settings[CLUSTERS])
            held = occupy(free, last, busy, waits, row, at(channel.server), now, ticks, why)
            begin, end = min(begin, held), max(end, held + ticks)
    lanes[slot, lane, BEGUN], lanes[slot, lane, SO_FAR] = begin, end
    return now if size == 0 else end + times * settings[CACHE_LATENCY]


@njit(inline="always")
def chunk_of(strides: Int, names: Int, tensor: Any, at_: Int, slot: Any) -> Any:
    """The tile at a slot's coordinates."""
    chunk = tensor.first + key_of(strides, tensor.own_from, at_, slot) * tensor.names
    if tensor.names_from >= 0:
        chunk += names[at(tensor.names_from + key_of(strides, tensor.computed_from, at_, slot))]
    return chunk


@njit(inline="always")
def ask_cache(
    settings: Int, channels: Records, lanes: Int, free: Int, last: Int, busy: Int, waits: Int,
    clock: Int, links: Int, dirty: Bool, fetched: Int, totals: Int, sizes: Int, homes: Int,
    arrives: Int, comes: Int, strides: Int, names: Int, at_: Int, tensor: Any, stores: bool,
    size: int, times: int, slot: Any, lane: Any, now: int,
) -> Any:  # fmt: skip
    """A transfer asks the cache: it may have to go on outside, or to wait for who does."""
    partitions, missed, arrived = settings[PARTITIONS], 0, 0
    for number in range(times):
        chunk = chunk_of(strides, names, tensor, at_, slot)
        if sizes[chunk] == 0:
            sizes[chunk] = size
        fresh, left = fetched[chunk], totals[cache.DRAM_WRITTEN]
        cache.ask(
            links, dirty, sizes, totals, fetched, homes[chunk], partitions,
            slot & (partitions - 1), chunk, stores, settings[ROOM],
        )  # fmt: skip
        left = totals[cache.DRAM_WRITTEN] - left
        if left > 0:
            # Nobody waits for what leaves the cache.
            outer, why = channels[OUTER], at(lanes[slot, lane, WHY])
            row, server = at(settings[CLUSTERS]), at(outer.server)
            ticks = ticks_of(outer, left)
            begin = occupy(free, last, busy, waits, row, server, now, ticks, why)
            clock[LATEST] = max(clock[LATEST], begin + ticks)
        if fetched[chunk] > fresh:
            missed += 1
            if comes[chunk] <= now:
                comes[chunk] = LAST + slot
        arrived = max(arrived, arrives[chunk])
        if number == 0 or comes[chunk] > comes[lanes[slot, lane, TILE]]:
            lanes[slot, lane, TILE] = chunk
        if times > 1:
            at_[slot, at(settings[GRID])] += 1
    if missed > 0:
        lanes[slot, lane, LEFT_OUTSIDE], lanes[slot, lane, MISSED] = size, missed
    elif not stores and comes[lanes[slot, lane, TILE]] > now:
        # It is on its way; until its last grain moves, who fetches it has to call this lane.
        awaited = comes[lanes[slot, lane, TILE]]
        lanes[slot, lane, LEFT_OUTSIDE] = PARKED
        lanes[slot, lane, ASKS], lanes[slot, lane, QUEUED] = min(awaited, LAST), 1
        clock[WAITING] += awaited >= LAST
    return max(lanes[slot, lane, SO_FAR] + times * settings[CACHE_LATENCY], arrived)


@njit(inline="always")
def outside(
    settings: Int, channels: Records, lanes: Int, free: Int, last: Int, busy: Int, waits: Int,
    slot: Any, lane: Any, now: int,
) -> Any:  # fmt: skip
    """The next grain of a transfer on the outermost channel; when it ends."""
    outer, why = channels[OUTER], at(lanes[slot, lane, WHY])
    size = min(lanes[slot, lane, LEFT_OUTSIDE], settings[GRAIN])
    ticks = lanes[slot, lane, MISSED] * ticks_of(outer, size)
    row = at(settings[CLUSTERS])
    begin = occupy(free, last, busy, waits, row, at(outer.server), now, ticks, why)
    lanes[slot, lane, BEGUN] = min(lanes[slot, lane, BEGUN], begin)
    lanes[slot, lane, LEFT_OUTSIDE] -= size
    lanes[slot, lane, SO_FAR] = max(lanes[slot, lane, SO_FAR], begin + ticks)
    return begin + ticks
