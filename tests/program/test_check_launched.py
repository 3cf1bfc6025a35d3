"""The invariants of a launched phase: each thing that engines do not look at again is named."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from accelsim.mapping.nest import End, Identity
from accelsim.program import Guard, Loop, Phase, Program, Server, Task, rows_of
from accelsim.program.check import check
from accelsim.program.launch import Channel, Hold, Launch, Memory, Moved

SERVERS = (
    Server("array", "unit", shared=False),
    Server("scratch", "channel", shared=False),
    Server("port", "channel", shared=False),
    Server("l2", "channel"),
    Server("dram", "channel"),
)
ARRAY, SCRATCH, PORT, L2, DRAM = range(5)
ONE = Fraction(1)
KEYS = Moved("K", Identity((1,)), 0, 3, elements=4, word_bytes=ONE, server=SCRATCH)
PAGES = Moved(
    "V", Identity((0,), (1,), np.array([0, 1, 0])), 3, 4, 4, ONE, (End((1,), 4, np.full(3, 4)),)
)
AHEAD = Task("load K ahead", "load", "K", DRAM, 0, Guard(not_last=(1,)), moved=0, next_of=(1, ()))
USE = Task("use", "einsum", "Z", ARRAY, 8, also=(Hold(SCRATCH, 2),), slows=(Hold(PORT, 1),))
LOAD = Task("load V", "load", "V", DRAM, 0, moved=1)
LOOPS = (Loop("P", 2), Loop("M", 3))
PHASE = Phase("only", LOOPS, (AHEAD, USE, LOAD), (), launch=Launch(1, 2), moved=(KEYS, PAGES))
MEMORY = Memory(
    Channel(DRAM, ONE, 4),
    (Channel(SCRATCH, ONE),),
    Channel(PORT, ONE),
    Channel(L2, ONE),
    capacity_bytes=64,
    partitions=2,
)
GOOD = Program("good", ONE, 1, SERVERS, (PHASE,), clusters=2, memory=MEMORY)


def phase(**change: Any) -> Program:
    return replace(GOOD, phases=(replace(PHASE, **change),))


def launch(**change: Any) -> Program:
    return phase(launch=replace(PHASE.launch, **change))


def ahead(**change: Any) -> Program:
    return phase(tasks=(replace(AHEAD, **change), USE, LOAD))


def use(**change: Any) -> Program:
    return phase(tasks=(AHEAD, replace(USE, **change), LOAD))


def keys(**change: Any) -> Program:
    return phase(moved=(replace(KEYS, **change), PAGES))


def pages(**change: Any) -> Program:
    return phase(moved=(KEYS, replace(PAGES, **change)))


def memory(**change: Any) -> Program:
    return replace(GOOD, memory=replace(MEMORY, **change))


def servers(number: int, **change: Any) -> Program:
    changed = replace(SERVERS[number], **change)
    return replace(GOOD, servers=(*SERVERS[:number], changed, *SERVERS[number + 1 :]))


def ends(loop: int, kept: list[int]) -> Program:
    return pages(ends=(End((loop,), 4, np.array(kept)),))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (replace(GOOD, clusters=0), "0 clusters"),
        (replace(GOOD, memory=None), "phase only: launched on a machine without a memory"),
        (servers(ARRAY, kind="channel"), "task use: not on a unit"),
        (servers(ARRAY, shared=True), "unit array: shared by clusters"),
        (replace(GOOD, servers=(*SERVERS, SERVERS[0])), "units behind channels"),
        (phase(launch=None), "phase only: tells what moves and is not launched"),
        (phase(launch=None, moved=()), "task load K ahead: tells what only a launch needs"),
        (phase(launch=None, moved=(), tasks=(USE,)), "task use: tells what only a launch needs"),
        (phase(tasks=()), "launched without a task"),
        (phase(moved=(), tasks=(USE,)), "launched, and nothing moves"),
        (launch(grid=0), "a grid of 0 loops"),
        (launch(grid=3), "a grid of 3 loops"),
        (launch(slots=0), "0 slots"),
        (launch(schedule="luck"), "schedule luck"),
        (launch(cost=-1), "a launch takes -1"),
        (launch(start=-1), "a launch takes -1"),
        (launch(next=-1), "a launch takes -1"),
        (
            phase(loops=(Loop("P", 2, rows_of((), [[(1, 1, 0)]])), LOOPS[1])),
            "loop P: of the grid, and leaves out",
        ),
        (use(guard=Guard(first=(0,))), "task use: guard on loop 0, of the grid"),
        (use(moved=0), "an Einsum that moves tiles"),
        (use(next_of=(1, ())), "an Einsum on the tile of a next iteration"),
        (use(also=(Hold(5, 1),)), "task use: no server 5"),
        (use(also=(Hold(L2, 1),)), "holds or slows l2, which clusters share"),
        (use(slows=(Hold(DRAM, 1),)), "holds or slows dram, which clusters share"),
        (use(also=(Hold(PORT, -1),)), "holds or slows port for -1"),
        (use(slows=(Hold(PORT, -1),)), "holds or slows port for -1"),
        (ahead(moved=None), "load K ahead: moves nothing"),
        (ahead(moved=2), "moves no tensor 2"),
        (ahead(moved=1), "moves V, not K"),
        (ahead(occupancy=1), "a transfer with an occupancy"),
        (ahead(also=(Hold(PORT, 1),)), "a transfer that holds"),
        (ahead(slows=(Hold(PORT, 1),)), "a transfer that slows"),
        (ahead(next_of=(0, (1,))), "next of loop 0, not inside"),
        (ahead(next_of=(1, (1,))), "matched on loop 1, not inside"),
        (ahead(guard=Guard()), "at the last iteration there is no next one"),
        (keys(tensor="V"), "moves V, not K"),
        (phase(moved=(KEYS, PAGES, replace(KEYS, first=7))), "a tensor moves twice"),
        (pages(first=4), "V: its tiles begin at 4, not 3"),
        (keys(tiles=2), "tiles of K: not 2"),
        (pages(tiles=3), "tiles of V: not 3"),
        (keys(identity=Identity((2,))), "tiles of K: no loop 2"),
        (keys(identity=Identity((1, 1))), "tiles of K: a loop twice"),
        (pages(identity=Identity((0,), (1,), np.array([0, 1]))), "tiles of V: 2 of 3 names"),
        (pages(identity=Identity((0,), (1,), np.array([0, -1, 1]))), "tiles of V: names below 0"),
        (keys(elements=-1), "-1 elements"),
        (keys(word_bytes=Fraction(0)), "words of 0 bytes"),
        (ends(2, [4]), "tiles of V: no loop 2"),
        (ends(1, [4, 4]), "tiles of V: 2 of 3 ends"),
        (ends(1, [4, -1, 4]), "less than none is kept"),
        (ends(1, [4, 5, 4]), "more than 4 are kept"),
        (ends(1, [4, 3, 2]), "tiles of V: of two sizes"),
        (keys(server=PORT), "tiles of K: go through server 2, not inside"),
        (memory(outer=Channel(5, ONE)), "memory: no server 5"),
        (memory(outer=Channel(ARRAY, ONE)), "memory: array is no channel"),
        (memory(outer=Channel(PORT, ONE)), "memory: channel port is not of all clusters"),
        (memory(cache=Channel(SCRATCH, ONE)), "memory: channel scratch is not of all clusters"),
        (memory(inner=(Channel(L2, ONE),)), "memory: channel l2 is not of one cluster"),
        (memory(port=Channel(L2, ONE)), "memory: channel l2 is not of one cluster"),
        (memory(cache=Channel(L2, Fraction(0))), "memory: l2 takes no time"),
        (memory(outer=Channel(DRAM, ONE, -1)), "memory: dram with latency -1"),
        (memory(port=Channel(PORT, ONE, 3)), "port: a latency of its own"),
        (memory(port=Channel(SCRATCH, ONE)), "memory: a server twice"),
        (memory(grain_bytes=0), "grains of 0 bytes"),
        (memory(partitions=3), "3 partitions"),
        (memory(cache_latency=-1), "cache latency -1"),
        (memory(capacity_bytes=-1), "a cache of -1 bytes"),
    ],
)
def test_each_fault_is_named(bad: Program, message: str) -> None:
    check(GOOD)
    with pytest.raises(AssertionError, match=message):
        check(bad)


def test_a_tile_that_ends_alike_for_all_who_share_it_passes() -> None:
    check(ends(1, [3, 4, 3]))
    check(ends(1, [3, 4, 0]))  # nothing of it is asked for there
