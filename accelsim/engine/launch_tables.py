"""What a launch looks like to compiled code: rows, columns, tables and state of `clusters.py`."""

from __future__ import annotations

from typing import NamedTuple

from accelsim.engine.cache import Bool
from accelsim.engine.pack import Int, Records, record_of
from accelsim.results.execution import LOSSES

NEVER = -1
LAST = 1 << 62
ORDER, ISSUE, LAUNCH = (LOSSES.index(name) for name in ("order", "issue", "launch"))

# times: iterations that the task stands for at once (coarse.py); its ticks are those of them all.
TASK = record_of("times server occupancy kind moved also_from also_to slows_from slows_to")
EINSUM, LOAD, STORE = range(3)
HOLD = record_of("server ticks")
# A tensor that moves. Its tile: `first` + key over strides[own_from..] times `names`, plus the name
# found at names_from + key over strides[computed_from..] where there are any. Bytes: elements,
# less what ends take, times numerator / denominator. channel: of the level inside, or -1.
MOVED = record_of(
    "first elements numerator denominator channel own_from computed_from names_from names "
    "ends_from ends_to"
)
END = record_of("size kept_from strides_from")
CHANNEL = record_of("server numerator denominator latency")  # server -1: none
PORT, CACHE, OUTER = range(3)
SCRIPT = record_of("entries tiles found lanes")  # where each begins in the arrays of all scripts
# Of `settings`. TRANSFERS: how many lanes of them an instance has, the first or none.
(
    CLUSTERS, RESIDENT, SCHEDULE, START, NEXT, INSTANCES, LANES, GRID,
    PARTITIONS, ROOM, CACHE_LATENCY, GRAIN, UNITS, TRANSFERS,
) = range(14)  # fmt: skip
SCHEDULES = ("grid", "static", "dynamic")
GRID_ORDER, STATIC = 0, 1
# Of `clock`. WAITING: lanes that are parked.
FOLLOWING, HEAP, SERVED, LATEST, RECORDED, WAITING = range(6)
# Of `slots`: RAN: instances that ran there before this one.
STATE, INSTANCE, SCRIPT_OF, BEGAN, ENDED, LEFT, RAN = range(7)
OVER, RUNNING, IDLE, QUEUED_OVER = range(4)
# Of `lanes` [slots, lanes]: entries done; end of the last; when the next asks, and why then;
# whether that stands in the heap. Of a transfer that goes on: its part from outside that is left,
# or PARKED; begin; end so far; its tile, or of several that which it waits for; how many of them
# come from outside.
DONE, FREE, ASKS, WHY, QUEUED, LEFT_OUTSIDE, BEGUN, SO_FAR, TILE, MISSED = range(10)
PARKED = -1


class Tables(NamedTuple):
    """What stays as it is during a run; arrays of scripts (scripts.py) one script after the other.

    settings: see above. grid [G]: trips of the loops that choose an instance. strides: rows of one
    number per loop. script_of, shift: of each instance.
    """

    settings: Int
    grid: Int
    tasks: Records
    holds: Records
    moved: Records
    ends: Records
    channels: Records
    inner: Records
    strides: Int
    names: Int
    kept: Int
    script: Records
    task: Int
    tile: Int
    waits_of: Int
    from_entry: Int
    latency: Int
    cause: Int
    coordinates: Int
    lane_begins: Int
    lane_entries: Int
    script_of: Int
    shift: Int


class State(NamedTuple):
    """What changes during a run.

    heap [N, 3]: time, order, cluster. asking [clusters]: whether units are asked for there. ready
    [slots, entries]: when each entry's result can be used, or NEVER. at [slots, loops]:
    coordinates, of the grid's loops those of the instance. free [clusters + 1, servers]: when
    servers are; the last row is of those that all clusters share. last: when each had ended what
    it did; others may have made it free later than that. recorded [N, 3 + loops]: task, start, end,
    coordinates, of the first cluster. links to totals: of the cache. size, homes: of each tile;
    comes, arrives: when the last grain of who brings it ends (LAST and its slot while that is not
    known) and when it can be used then. moves [tensors, 2]: bytes read and written.
    """

    clock: Int
    heap: Int
    slots: Int
    lanes: Int
    asking: Bool
    ready: Int
    at: Int
    free: Int
    last: Int
    busy: Int
    waits: Int
    executed: Int
    recorded: Int
    links: Int
    dirty: Bool
    fetched: Int
    totals: Int
    size: Int
    homes: Int
    comes: Int
    arrives: Int
    moves: Int
