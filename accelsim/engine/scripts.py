"""What the instances of a launch do, listed once for all that are alike: scripts of entries.

An entry is a task on a tile, in program order; what it waits for are earlier entries of the same
script. Instances are alike when their tiles are, but for where they begin.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from accelsim.engine.coarse import Sizes, coarse
from accelsim.engine.jit import compiled_code
from accelsim.engine.kernel import STATE, fires, next_tile
from accelsim.engine.pack import Int, Records, pack
from accelsim.errors import AccelsimError
from accelsim.program import Guard, Phase, Rows
from accelsim.program.instance import choosing, instance, instances
from accelsim.program.visits import visits

MOST_ENTRIES = 1 << 26
"""Of all scripts of a launch together: about 5 GiB."""


@dataclass(frozen=True, eq=False)
class Script:
    """One kind of instance: N entries, W waits, T tiles of L loops.

    task [N]: with so many more for each power of two of iterations that it stands for (coarse.py).
    tile [N]: the one that it works on or, of a transfer, moves; the first of them. waits [N+1]:
    where each entry's begin in from_entry [W], latency [W] (ticks), cause [W]. coordinates [T, L].
    lanes: lane k has the entries lane_entries[lanes[k]:lanes[k+1]], in program order.
    times: iterations that each step of the first loop stands for, where steps are taken.
    """

    task: Int
    tile: Int
    waits: Int
    from_entry: Int
    latency: Int
    cause: Int
    coordinates: Int
    lanes: Int
    lane_entries: Int
    times: Int


@dataclass(frozen=True, eq=False)
class Scripts:
    """of [instances]: which script each has. shift [instances, L]: what to add to coordinates."""

    scripts: tuple[Script, ...]
    of: Int
    shift: Int

    @property
    def at_once(self) -> int:
        """Most iterations that an entry stands for."""
        return max(int(script.times.max(initial=1)) for script in self.scripts)


def lanes(phase: Phase) -> list[int]:
    """The lane of each task (see program/launch.py), numbered from 0."""
    assert phase.launch is not None
    keys = [
        -1 if task.kind != "einsum" else 0 if phase.launch.in_order else 1 + task.server
        for task in phase.tasks
    ]
    order = sorted(set(keys))
    return [order.index(key) for key in keys]


def scripts(phase: Phase, taken: Sizes | None = None) -> Scripts:
    """The scripts of a launched phase. taken: the steps that alike iterations are taken in.

    Raises AccelsimError when they would not fit in memory.
    """
    assert phase.launch is not None
    grid = phase.launch.grid
    trips = [loop.trips for loop in phase.loops[:grid]]
    own = choosing(phase)
    shapes = [trips[loop] for loop in own]
    kinds: dict[tuple[bytes, ...], int] = {}
    made: list[Script] = []
    of: list[int] = []
    shifts: list[list[int]] = []
    entries = 0
    for chosen in np.ndindex(*shapes):
        at = [0] * grid
        for loop, coordinate in zip(own, chosen, strict=True):
            at[loop] = coordinate
        one, times = instance(phase, at), np.zeros(0, np.int64)
        if taken is not None:
            one, times = coarse(phase, one, taken)
        one, shift = _from_zero(one)
        key = tuple(
            array.tobytes()
            for loop in one.loops
            for array in (
                np.array([loop.trips]),
                *((loop.rows.offsets, loop.rows.runs) if loop.rows is not None else ()),
            )
        )
        if (key := (*key, times.tobytes())) not in kinds:
            kinds[key] = len(made)
            entries += visits(one.loops, Guard()) * len(one.tasks)
            if entries > MOST_ENTRIES:
                raise AccelsimError(
                    f"{phase.name}: its instances differ in more than {MOST_ENTRIES:,} tasks, "
                    "which are listed; take larger tiles or a shorter sequence"
                )
            made.append(_script(one, lanes(phase), times))
        of.append(kinds[key])
        shifts.append(shift)
    number = np.arange(instances(phase))
    where = np.unravel_index(number, trips) if trips else ()
    combined = np.zeros(len(number), np.int64)
    for loop in own:
        combined = combined * trips[loop] + where[loop]
    return Scripts(
        tuple(made),
        np.array(of, np.int64)[combined],
        np.ascontiguousarray(np.array(shifts, np.int64)[combined]),
    )


def _from_zero(phase: Phase) -> tuple[Phase, list[int]]:
    """The phase with loops that begin at 0 where others do not depend on them, and by how much."""
    loops, shift = [], []
    looked_at = {
        outer for loop in phase.loops if loop.rows is not None for outer in loop.rows.loops
    }
    for number, loop in enumerate(phase.loops):
        by = 0
        if loop.rows is not None and not loop.rows.loops and number not in looked_at:
            by = int(loop.rows.runs[0, 0])
            runs = loop.rows.runs - np.array([by, 0, 0])
            loop = dataclasses.replace(loop, rows=Rows((), loop.rows.offsets, runs))
        loops.append(loop)
        shift.append(by)
    return dataclasses.replace(phase, loops=tuple(loops)), shift


def _script(phase: Phase, lane_of: list[int], times: Int) -> Script:
    packed = pack(phase)
    depth = len(phase.loops)
    tiles = visits(phase.loops, Guard())
    most = tiles * len(phase.tasks)
    by_consumer = sorted(range(len(packed.edges)), key=lambda i: (packed.edges[i].consumer, i))
    latencies = np.array([packed.edges[i].latency for i in by_consumer], np.int64)
    many = np.bincount([e.consumer for e in packed.edges], minlength=len(phase.tasks))
    ring = 1 << (packed.deepest + 1).bit_length()
    task, tile = np.zeros(most, np.int64), np.zeros(most, np.int64)
    waits = np.zeros(most + 1, np.int64)
    room = tiles * int(many.sum())
    from_entry, latency, cause = (np.zeros(room, np.int64) for _ in range(3))
    coordinates, counts = (np.zeros((tiles, depth), np.int64) for _ in range(2))
    entries, found = _unroll(
        packed.tasks, packed.reads, packed.writes, packed.strides, packed.tokens,
        packed.loops, packed.offsets, packed.runs, latencies,
        np.zeros((ring, 3 * depth + 3), np.int64), np.zeros((STATE, depth), np.int64),
        task, tile, waits, from_entry, latency, cause,
        coordinates, counts,
    )  # fmt: skip
    task, tile, waits = task[:entries], tile[:entries], waits[: entries + 1]
    for number, one in enumerate(phase.tasks):
        if one.next_of is not None:
            mine = task == number
            tile[mine] = _following(phase, one.next_of, coordinates, counts)[tile[mine]]
    order = np.array(lane_of)[task]
    from_entry, latency = from_entry[:found].copy(), latency[:found].copy()
    rows = phase.loops[0].rows
    if len(times) and rows is not None:
        of_entry = times[np.searchsorted(rows.runs[:, 0], coordinates[tile, 0])]
        # What is waited for was there, and what waits begins, with the first or last iteration.
        latency *= np.minimum(of_entry[from_entry], np.repeat(of_entry, np.diff(waits)))
        task = task + len(phase.tasks) * np.log2(of_entry).astype(np.int64)
    return Script(
        task=task.astype(np.int64),
        tile=tile.astype(np.int64),
        waits=waits.copy(),
        from_entry=from_entry,
        latency=latency,
        cause=cause[:found].copy(),
        coordinates=coordinates,
        lanes=np.searchsorted(np.sort(order), np.arange(max(lane_of) + 2)).astype(np.int64),
        lane_entries=np.argsort(order, kind="stable").astype(np.int64),
        times=times,
    )


def _following(
    phase: Phase, next_of: tuple[int, tuple[int, ...]], coordinates: Int, counts: Int
) -> Int:
    """For each tile the first of the next iteration of a loop, with the same matched coordinates;
    the tile itself where there is none."""
    loop, matched = next_of
    trips = [phase.loops[other].trips for other in matched]
    size = int(np.prod(trips, dtype=np.int64))
    key = counts[:, loop] * size
    if matched:
        key = key + np.ravel_multi_index(tuple(coordinates[:, m] for m in matched), trips)
    known, first = np.unique(key, return_index=True)
    place = np.minimum(np.searchsorted(known, key + size), len(known) - 1)
    here = np.arange(len(key))
    return np.where(known[place] == key + size, first[place], here)


@compiled_code
def _unroll(
    tasks: Records,
    reads: Records,
    writes: Records,
    strides: Records,
    tokens: Records,
    loops: Int,
    offsets: Int,
    runs: Int,
    latencies: Int,
    tiles: Int,
    state: Int,
    task_of: Int,
    tile_of: Int,
    waits: Int,
    from_entry: Int,
    latency: Int,
    cause: Int,
    coordinates: Int,
    counts: Int,
) -> tuple[int, int]:
    """All entries of a phase, as `kernel.run_epoch` would run them: tokens hold entries here."""
    depth = loops.shape[0]
    ring = tiles.shape[0] - 1
    deepest = 0
    for t in range(tasks.shape[0]):
        deepest = max(deepest, tasks[t].lag)
    made = entries = found = epoch = 0
    ended = False
    while not ended or epoch < made + deepest:
        if not ended:
            if next_tile(loops, offsets, runs, tiles, state, made) < 0:
                ended = True
                if epoch >= made + deepest:
                    break
            else:
                row = made & ring
                for level in range(depth):
                    counts[made, level] = tiles[row, level]
                    coordinates[made, level] = tiles[row, depth + 1 + level]
                made += 1
        for t in range(tasks.shape[0]):
            task = tasks[t]
            index = epoch - task.lag
            if index < 0 or index >= made:
                continue
            row = index & ring
            if task.guarded and not fires(
                task, tiles[row, 3 * depth + 1], tiles[row, 3 * depth + 2]
            ):
                continue
            task_of[entries], tile_of[entries] = t, index
            for k in range(task.in_from, task.in_to):
                read = reads[k]
                if read.sometimes and tiles[row, 2 * depth + 1 + read.loop] < read.reset:
                    continue
                count = tiles[row, read.loop] - read.shift
                place = read.base + (count & read.mask) * read.size
                for m in range(read.strides_from, read.strides_to):
                    place += tiles[row, strides[m].column] * strides[m].stride
                if tokens[place].tag == count:
                    from_entry[found] = tokens[place].value
                    latency[found] = latencies[k]
                    cause[found] = read.cause
                    found += 1
            for k in range(task.out_from, task.out_to):
                write = writes[k]
                count = tiles[row, write.loop]
                place = write.base + (count & write.mask) * write.size
                for m in range(write.strides_from, write.strides_to):
                    place += tiles[row, strides[m].column] * strides[m].stride
                tokens[place].value = entries
                tokens[place].tag = count
            entries += 1
            waits[entries] = found
        epoch += 1
    return entries, found
