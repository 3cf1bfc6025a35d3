"""The Program: what engines run. A sequence of phases, each a loop nest with a cyclic task graph.

Meaning (the same for every engine; `unroll.py` states it as code):

* A phase has loops, outermost first. Loop l visits the coordinates 0..trips-1, or those that its
  Rows list for the coordinates of outer loops (a mask: causal, a window, a list of blocks); never
  none. The innermost iterations, in order, are the tiles 0..n-1 of the phase.
* Epoch e runs, in the order of `tasks`, each task t on tile e - lag[t]; a task without such a tile
  (before the first, after the last), or whose guard does not hold at it, does nothing. After the
  last tile, max(lag) more epochs empty the pipeline. A server serves its task instances in exactly
  this order: epochs, then task order.
* count(l, tile) is the number of iterations of loop l begun before the tile's, over all outer
  loops: it runs on across outer iterations.
* An edge (producer, consumer, loop l, distance d, matched loops, all inside l): a consumer instance
  on tile i waits for the latest producer instance *preceding it in that order* whose tile j has
  count(l, j) == count(l, i) - d and the coordinates of i in every matched loop; if there is none it
  does not wait. With `reset` it does not wait either in the first d iterations of a run of l (a
  value that starts afresh). l = ROOT means the whole phase, with count 0.
* start = max(end of the server's previous instance, end + latency of every edge's producer);
  end = start + occupancy.
* A phase starts when everything before it has ended.

A phase that is launched runs on the clusters of a machine; `launch.py` has what that means.

Time is in integer ticks, `ticks_per_cycle` of them to one cycle of `clock`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelsim.program.launch import Hold, Launch, Memory, Moved

ROOT = -1
MOST_MARKS = 8
"""Marks that a tile may have."""

TaskKind = Literal["einsum", "load", "store"]
Cause = Literal["data", "slot", "bandwidth", "order"]
CAUSES: tuple[Cause, ...] = ("data", "slot", "bandwidth", "order")


@dataclass(frozen=True)
class Server:
    """Something that serves one task at a time, in program order.

    kind: "unit" performs operations, "channel" moves bits.
    instances: processing elements or lanes of a unit; 1 for a channel. shared: there is one for
    all clusters, not one in each.
    """

    name: str
    kind: Literal["unit", "channel"]
    instances: int = 1
    shared: bool = True


@dataclass(frozen=True, eq=False)
class Rows:
    """The coordinates that a loop visits, where they depend on outer loops or have gaps.

    loops: outer loops that choose the row, outermost first; rows are numbered row-major over all
    their coordinates. offsets [N+1]: row r has the runs offsets[r] to offsets[r+1], at least one.
    runs [R, 3]: first coordinate, length (at least 1), bits of marks; ascending within a row.
    """

    loops: tuple[int, ...]
    offsets: npt.NDArray[np.int64]
    runs: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Loop:
    """A loop over the coordinates of one rank (or part): all of 0..trips-1, or those of rows."""

    name: str
    trips: int
    rows: Rows | None = None


@dataclass(frozen=True)
class Guard:
    """Whether a task runs on a tile, by the tile's place in the loops (indices of loops).

    Runs iff every loop of `first` is at its first coordinate, every loop of `last` at its last,
    not all loops of `not_first` (when any) are at their first, and not all of `not_last` at
    their last; iff the tile has every mark of `marked` and none of `unmarked` (of the Rows of its
    loops).
    """

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    not_first: tuple[int, ...] = ()
    not_last: tuple[int, ...] = ()
    marked: tuple[int, ...] = ()
    unmarked: tuple[int, ...] = ()

    def holds(self, is_first: tuple[bool, ...], is_last: tuple[bool, ...], marks: int = 0) -> bool:
        return (
            all(marks >> mark & 1 for mark in self.marked)
            and not any(marks >> mark & 1 for mark in self.unmarked)
            and all(is_first[l] for l in self.first)
            and all(is_last[l] for l in self.last)
            and not (self.not_first and all(is_first[l] for l in self.not_first))
            and not (self.not_last and all(is_last[l] for l in self.not_last))
        )


@dataclass(frozen=True)
class Action:
    """Something hardware does that costs energy, per task instance.

    part: level or unit. action: "read", "write" or an operation. tensor: what moves, or the
    tensor that the Einsum writes. count: how many. size_bytes: bytes moved (0 for operations).
    outside_bytes: of all instances of the phase together, those beyond the end of a rank, which
    are not moved.
    """

    part: str
    action: str
    tensor: str
    count: Fraction
    size_bytes: Fraction = Fraction(0)
    outside_bytes: Fraction = Fraction(0)


@dataclass(frozen=True)
class Task:
    """One kind of work of an epoch: an Einsum's tile, a load, a store.

    server: index into Program.servers. occupancy: ticks that the server is busy.
    lag: stage; the task works on the tile `lag` epochs back.
    active: share of the server's instances that work during the occupancy.
    Of a launched phase only: also, what it occupies beside its server; slows, what it takes from
    other servers; moved, which of the phase's tensors a transfer moves (it has no occupancy, its
    bytes tell); next_of, (loop, matched loops) in whose next iteration the tile is that it moves,
    None for its own.
    """

    name: str
    kind: TaskKind
    tensor: str
    server: int
    occupancy: int
    guard: Guard = field(default_factory=Guard)
    lag: int = 0
    actions: tuple[Action, ...] = ()
    active: Fraction = Fraction(1)
    also: tuple[Hold, ...] = ()
    slows: tuple[Hold, ...] = ()
    moved: int | None = None
    next_of: tuple[int, tuple[int, ...]] | None = None


@dataclass(frozen=True)
class Edge:
    """A wait of one task for another; indices into tasks and loops. Latency in ticks."""

    producer: int
    consumer: int
    loop: int
    distance: int = 0
    matched: tuple[int, ...] = ()
    reset: bool = False
    latency: int = 0
    cause: Cause = "data"


@dataclass(frozen=True)
class Reservation:
    """Room that one tensor takes in a level for the whole phase: `slots` tiles of `tile_bytes`.

    takes: task whose start occupies a slot, or None when the slots are held throughout.
    gives: (task, guard) pairs; the end of an instance at which the guard holds frees one.
    """

    level: str
    tensor: str
    slots: int
    tile_bytes: int
    takes: tuple[int, ...] = ()
    gives: tuple[tuple[int, Guard], ...] = ()

    @property
    def size_bytes(self) -> int:
        return self.slots * self.tile_bytes


@dataclass(frozen=True)
class Phase:
    """A loop nest and the tasks of one of its epochs, in program order."""

    name: str
    loops: tuple[Loop, ...]
    tasks: tuple[Task, ...]
    edges: tuple[Edge, ...]
    reservations: tuple[Reservation, ...] = ()
    launch: Launch | None = None
    moved: tuple[Moved, ...] = ()


@dataclass(frozen=True)
class Program:
    """What runs: servers, phases, and the unit of time. notes: what the reader must know.

    Of launches: clusters, and memory, through which transfers go. warm: the cache begins each phase
    as the same phase, run before, has left it; else empty.
    """

    name: str
    clock_hz: Fraction
    ticks_per_cycle: int
    servers: tuple[Server, ...]
    phases: tuple[Phase, ...]
    notes: tuple[str, ...] = ()
    clusters: int = 1
    memory: Memory | None = None
    warm: bool = False
