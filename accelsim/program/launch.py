"""What it means to launch a phase on the clusters of a machine.

* **Instances.** The first `grid` loops choose an instance: the phase of the loops inside, at those
  coordinates, with counts, epochs and edges of its own (`instance.py`). Each runs in one slot of a
  cluster; slot s is in cluster s modulo the number of clusters. Instances share nothing.
* **Which slot.** `grid`, `dynamic`: whenever slots are free, the next instance in the order of the
  loops goes to the one that is free since longest, of several to the first. `static`: slot s runs
  the instances s, s + slots, s + 2 slots... An instance begins `start` ticks after its slot was
  free, or `next` ticks where one before it ran there under `static` or `dynamic` (a kernel that
  stays); the first ones `cost` ticks after the phase began. It ends when its last task has ended.
* **Lanes.** The tasks of an instance stand in lanes and are taken one at a time in program order
  within each: transfers in one, and all Einsums in one (`in_order`) or those of each unit. The
  first task of a lane *asks* when the one before it has ended and its waits are over.
* **Who is served.** All that ask are served in the order of (time, slot, lane), each at once: a
  server that it occupies is its own from the time it is free, or it asks, for the ticks named; the
  task ends when it has had the last of them. A cluster has servers of its own; those that are
  `shared` serve all clusters.
* **Slowed.** An Einsum that starts on its unit makes each server that it slows free later, by the
  ticks named: two units of a cluster that work at a time are not independent.
* **Transfers.** They occupy servers by their bytes (`Memory`). Through a cache, a tile that is not
  there occupies the outermost channel, too, and so does one that has to leave it; the cache is that
  of `engine/cache.py`, asked in the order in which transfers are served. What comes from outside
  comes a grain at a time: the next one asks when the one before has ended, so that several share
  the channel. A tile on its way from outside is waited for, not asked for again. What is loaded can
  be used a latency after the transfer has ended.
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
    level that they are written to, if it has a channel. store: whether some task stores them.
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
    the outermost; through a cache, of what misses it only; grain_bytes of it at a time. capacity_bytes (None without a cache),
    partitions, cache_latency: of the cache.
    """

    outer: Channel
    inner: tuple[Channel, ...] = ()
    port: Channel | None = None
    cache: Channel | None = None
    grain_bytes: int = 4096
    capacity_bytes: int | None = None
    partitions: int = 1
    cache_latency: int = 0
