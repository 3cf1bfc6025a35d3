"""What it means to launch a phase on the clusters of a machine.

* **Instances.** The first `grid` loops choose an instance: the phase of the loops inside, at those
  coordinates, with counts, epochs and edges of its own (`instance.py`). Each runs in one slot of a
  cluster; slot s is in cluster s modulo the number of clusters. Instances share nothing.
* **Which slot.** All slots are free `cost` ticks after the phase began, and again when their
  instance is over: when its last task has ended. Slots that are free are served in the order of
  (time, slot). Under `grid` and `dynamic` each takes the next instance in the order of the loops;
  under `static` slot s takes s, s + n, s + 2 n... of n slots in all. An instance begins when its
  slot takes it, and that takes something of its cluster: every unit there is free so many ticks
  later, from then or from when it is free: `start`, but `next` under `static` and `dynamic` where
  an instance ran before in the slot (a kernel that stays). Without tasks it is over when it begins.
* **Lanes.** The tasks of an instance stand in lanes and are taken one at a time in program order
  within each: transfers in one; all Einsums in one (`in_order`), or else those of each unit. Lanes
  of an instance are numbered: transfers first, then Einsums, by server. The first task of a lane
  *asks* when the one before it has ended, its waits are over and the instance has begun.
* **Who is served.** All that ask are served in the order of (time, slot, lane), slots that are free
  before all others, each at once: a server that it occupies is its own from the time it is free, or
  it asks, for the ticks named; the task ends when it has had the last of them. A cluster has
  servers of its own; those that are `shared` serve all clusters: the cache's channel and the
  outermost one. An Einsum occupies and slows servers of its cluster.
* **Slowed.** An Einsum that starts on its unit makes each server that it slows free later, by the
  ticks named, from then or from when it is free: two units of a cluster that work at a time are not
  independent.
* **Transfers** occupy servers by their bytes (`Memory`, ticks rounded up): the channel of the level
  inside, the port, the cache's channel, all from when they ask. Without a cache, all of it comes
  from outside or goes there. Through one, the cache of `engine/cache.py` is asked in the order in
  which transfers are served (slot s near to partition s modulo their number). What leaves it then
  occupies the outermost channel, as a whole, and nobody waits for that; what misses it comes from
  outside.
* **Outside.** What comes from outside or goes there occupies the outermost channel a grain at a
  time, the first when the transfer asks; the next one asks when the one before has ended, in the
  order as above. So several share the channel. A tile is under way from when a transfer misses it
  until the last grain of that transfer has ended; what misses it meanwhile comes from outside too,
  but a load that finds it in the cache has what it occupies, waits for that end and asks again, in
  the order as above, for nothing: it ends there.
* A transfer ends when it has had all of this. What it loads can be used `cache_latency` later; what
  comes from outside, that of the outermost channel later still; what is found in the cache, not
  before it can be used where it was under way. A transfer of no bytes occupies nothing, asks
  nothing of the cache, and can be used when it ends.
* A phase ends when its last task has ended, and what has left the cache is outside; without any
  task, when its slots are free.
* A record has tasks of cluster 0, Einsums as they are served, transfers as they are served last:
  from when they first have a server (Einsums: their unit; what needs none: the end), with the
  coordinates of the tile that moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from accelsim.mapping.nest import End, Identity

Schedule = Literal["grid", "static", "dynamic"]


@dataclass(frozen=True)
class Hold:
    """A server, and for how many ticks."""

    server: int
    ticks: int


@dataclass(frozen=True)
class Launch:
    """grid: loops that choose an instance. slots: instances on a cluster at a time.

    cost, start, next: ticks. in_order: an instance does its Einsums one at a time.
    """

    grid: int
    slots: int
    schedule: Schedule = "grid"
    in_order: bool = True
    cost: int = 0
    start: int = 0
    next: int = 0


@dataclass(frozen=True, eq=False)
class Moved:
    """Tiles of a tensor that move: which they are, and how many bytes there are of each.

    identity: which tile an iteration works on. first: number of its first tile, of all in the
    phase; tiles: how many. elements, word_bytes, ends: as of a mapping.Placement. server: of the
    level that they are written to, if it has a channel. A tile has one size: ends are
    of loops that tell which it is.
    """

    tensor: str
    identity: Identity
    first: int
    tiles: int
    elements: int
    word_bytes: Fraction
    ends: tuple[End, ...] = ()
    server: int | None = None


@dataclass(frozen=True)
class Channel:
    """A server that transfers occupy for ticks_per_byte (rounded up), and the latency behind it."""

    server: int
    ticks_per_byte: Fraction
    latency: int = 0


@dataclass(frozen=True)
class Memory:
    """Channels that a transfer occupies at the same time.

    inner: of levels inside. port: of one cluster. cache: of the cache; None where none is. outer:
    the outermost; through a cache, of what misses it only; grain_bytes of it at a time.
    capacity_bytes (None without a cache), partitions, cache_latency: of the cache.
    """

    outer: Channel
    inner: tuple[Channel, ...] = ()
    port: Channel | None = None
    cache: Channel | None = None
    grain_bytes: int = 4096
    capacity_bytes: int | None = None
    partitions: int = 1
    cache_latency: int = 0
