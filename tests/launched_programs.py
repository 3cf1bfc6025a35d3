"""Random Programs whose phases are launched. They need not make sense, as in strategies.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from math import prod

import numpy as np
from hypothesis import strategies as st

from accelsim.mapping.nest import End, Identity
from accelsim.program import Guard, Loop, Phase, Program, Server, Task, rows_of
from accelsim.program.instance import inner_guard
from accelsim.program.launch import Channel, Hold, Launch, Memory, Moved
from accelsim.program.program import TaskKind
from tests.strategies import edges_between, guards, loop_nests, subsets

SERVERS = (
    Server("array", "unit", shared=False),
    Server("vector", "unit", shared=False),
    Server("scratch", "channel", shared=False),
    Server("registers", "channel", shared=False),
    Server("port", "channel", shared=False),
    Server("l2", "channel"),
    Server("dram", "channel"),
)
UNITS, INNER, PORT, L2, DRAM = (0, 1), (2, 3), 4, 5, 6
TICKS = st.sampled_from((0, 0, 1, 3, 9))


@st.composite
def nests(draw: st.DrawFn) -> tuple[tuple[Loop, ...], int]:
    """Loops, and how many of them are the grid's: those visit all coordinates, with any marks."""
    loops = list(draw(loop_nests()))
    grid = draw(st.integers(1, len(loops)))
    for level in range(grid):
        rows = None
        if draw(st.integers(0, 3)) == 0:
            rows = rows_of(
                (), [[(c, 1, draw(st.integers(0, 3))) for c in range(loops[level].trips)]]
            )
        loops[level] = Loop(loops[level].name, loops[level].trips, rows)
    return tuple(loops), grid


@st.composite
def tensors(draw: st.DrawFn, loops: tuple[Loop, ...], first: int) -> Moved:
    """Ends are of loops that tell which tile it is: a tile has one size."""
    depth = len(loops)
    trips = [loop.trips for loop in loops]
    own = draw(subsets(depth))
    computed: tuple[int, ...] = ()
    names = None
    tiles = prod(trips[loop] for loop in own)
    if draw(st.integers(0, 2)) == 0:
        computed = draw(subsets(depth))
        number = prod(trips[loop] for loop in computed)
        found = draw(st.lists(st.integers(0, 2), min_size=number, max_size=number))
        names = np.array(found, np.int64)
        tiles *= max(found) + 1
    ends = []
    for loop in own:
        if draw(st.integers(0, 2)) == 0:
            size = draw(st.integers(1, 3))
            kept = st.lists(st.integers(0, size), min_size=trips[loop], max_size=trips[loop])
            ends.append(End((loop,), size, np.array(draw(kept), np.int64)))
    return Moved(
        tensor=f"T{first}",
        identity=Identity(own, computed, names),
        first=first,
        tiles=tiles,
        elements=draw(st.integers(1, 6)) * prod(end.size for end in ends),
        word_bytes=draw(st.sampled_from((Fraction(1, 2), Fraction(1), Fraction(3)))),
        ends=tuple(ends),
        server=draw(st.sampled_from((None, *INNER))),
    )


@st.composite
def transfers(
    draw: st.DrawFn, name: str, loops: tuple[Loop, ...], grid: int, moved: Sequence[Moved]
) -> Task:
    which = draw(st.integers(0, len(moved) - 1))
    kind: TaskKind = draw(st.sampled_from(("load", "load", "store")))
    task = Task(name, kind, moved[which].tensor, DRAM, 0, moved=which)
    identity = moved[which].identity
    deepest = max((*identity.loops, *identity.computed, grid))
    if deepest < len(loops) and draw(st.integers(0, 2)) == 0:
        loop = draw(st.integers(grid, deepest))
        matched = tuple(range(loop + 1, deepest + 1))
        if all(loops[other].rows is None for other in matched):
            ahead = Guard(not_last=tuple(range(grid, loop + 1)))
            return dataclasses.replace(task, guard=ahead, next_of=(loop, matched))
    return task


@st.composite
def einsums(draw: st.DrawFn, name: str) -> Task:
    of_cluster = st.sampled_from((*UNITS, *INNER, PORT))
    hold, slow = (st.builds(Hold, of_cluster, st.integers(0, most)) for most in (9, 5))
    also = draw(st.one_of(st.just([]), st.lists(hold, max_size=2)))
    slows = draw(st.one_of(st.just([]), st.lists(slow, max_size=2)))
    unit, ticks = draw(st.sampled_from(UNITS)), draw(st.integers(0, 9))
    return Task(name, "einsum", name, unit, ticks, also=tuple(also), slows=tuple(slows))


@st.composite
def launched_phases(draw: st.DrawFn) -> Phase:
    loops, grid = draw(nests())
    depth = len(loops)
    moved: list[Moved] = []
    for _ in range(draw(st.integers(1, 3))):
        moved.append(draw(tensors(loops, sum(one.tiles for one in moved))))
    tasks: list[Task] = []
    for i in range(draw(st.integers(1, 6))):
        transfer = draw(st.booleans())
        task = draw(transfers(f"t{i}", loops, grid, moved) if transfer else einsums(f"t{i}"))
        if task.next_of is None:
            guard = inner_guard(draw(guards(depth)), grid)
            task = dataclasses.replace(task, guard=guard or Guard())
        lag = draw(st.sampled_from((0, 0, 0, 1, 2)))
        task = dataclasses.replace(task, lag=lag)
        if task.kind == "einsum" and draw(st.integers(0, 3)) == 0:
            # Of no time, as copies are: what follows it in its lane takes some.
            tasks.append(dataclasses.replace(task, name=f"v{i}", tensor=f"v{i}", occupancy=0))
        tasks.append(task)
    edges = draw(edges_between(len(tasks), depth, 6))
    launch = Launch(
        grid=grid,
        slots=draw(st.integers(1, 3)),
        schedule=draw(st.sampled_from(("grid", "static", "dynamic"))),
        in_order=draw(st.booleans()),
        cost=draw(TICKS),
        start=draw(TICKS),
        next=draw(TICKS),
    )
    return Phase("phase", loops, tuple(tasks), edges, launch=launch, moved=tuple(moved))


@st.composite
def memories(draw: st.DrawFn, largest: int) -> Memory:
    """largest: bytes of a tile, which fits into a partition, often alone."""
    rate = st.sampled_from((Fraction(1, 3), Fraction(1), Fraction(5, 2), Fraction(7)))

    def channel(server: int, latency: int = 0) -> Channel:
        return Channel(server, draw(rate), latency)

    memory = Memory(
        outer=channel(DRAM, draw(st.sampled_from((0, 4, 30)))),
        inner=tuple(channel(server) for server in INNER),
        grain_bytes=draw(st.sampled_from((1, 2, 3, 5, 8, 4096))),
    )
    if draw(st.integers(0, 3)) == 0:
        return memory
    partitions = draw(st.sampled_from((1, 2)))
    room = max(1, largest) + draw(st.sampled_from((0, 5, 20, 1000)))
    return dataclasses.replace(
        memory,
        port=draw(st.sampled_from((None, channel(PORT)))),
        cache=draw(st.sampled_from((None, channel(L2)))),
        capacity_bytes=partitions * room + draw(st.integers(0, partitions - 1)),
        partitions=partitions,
        cache_latency=draw(st.sampled_from((0, 2, 11))),
    )


@st.composite
def launched_programs(draw: st.DrawFn) -> Program:
    phases = tuple(draw(launched_phases()) for _ in range(draw(st.sampled_from((1, 1, 1, 2)))))
    largest = max(int(m.elements * m.word_bytes) for phase in phases for m in phase.moved)
    return Program(
        "launched",
        Fraction(1_000_000_000),
        1,
        SERVERS,
        phases,
        clusters=draw(st.integers(1, 5)),
        memory=draw(memories(largest)),
        warm=draw(st.booleans()),
    )
