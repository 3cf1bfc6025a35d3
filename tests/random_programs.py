"""Random Programs by seed, with trip counts that give the steady engine something to skip.

Kinds that matter: triangular bounds, rows with gaps and marks, stages over several loops,
run-ahead parts, buffers of several slots, near-equal rates, latencies longer than a run, several
phases.
"""

from __future__ import annotations

import random
from fractions import Fraction
from math import prod

from accelsim.program import (
    CAUSES,
    ROOT,
    Edge,
    Guard,
    Loop,
    Phase,
    Program,
    Rows,
    Server,
    Task,
    rows_of,
)
from tests.bounds import bounded

MOST_TILES = 6000


def random_program(seed: int, most_tiles: int = MOST_TILES) -> Program:
    rng = random.Random(seed)
    servers = tuple(Server(f"s{i}", "unit") for i in range(rng.randint(1, 4)))
    phases = tuple(
        _phase(rng, len(servers), most_tiles) for _ in range(2 if rng.random() < 0.1 else 1)
    )
    return Program(f"random {seed}", Fraction(10**9), 1, servers, phases)


def _phase(rng: random.Random, servers: int, most_tiles: int) -> Phase:
    loops = _loops(rng, most_tiles)
    depth = len(loops)
    scale = rng.choice((1, 1, 7, 1000))
    deepest = rng.choice((0, 0, 1, 2, 3))
    tasks = tuple(
        Task(
            name=f"t{i}",
            kind="einsum",
            tensor=f"T{i}",
            server=rng.randrange(servers),
            occupancy=_occupancy(rng, scale),
            guard=_guard(rng, depth),
            lag=rng.randint(0, deepest),
        )
        for i in range(rng.randint(1, 6))
    )
    edges = tuple(_edge(rng, len(tasks), depth, scale) for _ in range(rng.randint(0, 9)))
    return Phase("phase", loops, tasks, edges)


def _occupancy(rng: random.Random, scale: int) -> int:
    """Near-equal rates and idle tasks are what makes transients long."""
    kind = rng.random()
    if kind < 0.1:
        return 0
    if kind < 0.4:
        return 10 * scale + rng.choice((-1, 0, 1))
    return rng.randint(1, 20 * scale)


def _loops(rng: random.Random, most_tiles: int) -> tuple[Loop, ...]:
    depth = rng.randint(1, 4)
    loops: list[Loop] = []
    room = most_tiles
    for level in range(depth):
        top = max(1, min(60, int(room ** (1.3 / (depth - level)))))
        trips = rng.choice((rng.randint(1, 3), rng.randint(1, top), top))
        room = max(1, room // trips)
        kind = rng.random() if level else 1.0
        rows = None
        if kind < 0.2:
            outer = rng.randrange(level)
            slope = rng.choice((1, 1, 1, 2))
            if rng.random() < 0.6:
                rows = bounded(loops, trips, upper=(rng.randint(1, 4), ((outer, slope),)))
            else:  # a band that moves up; its last coordinate is always inside
                trips = max(trips, slope * (loops[outer].trips - 1) + 1)
                rows = bounded(loops, trips, lower=(-rng.randint(0, 5), ((outer, slope),)))
        elif kind < 0.3:
            rows = _rows(rng, loops, trips)
        loops.append(Loop(f"L{level}", trips, rows))
    return tuple(loops)


def _rows(rng: random.Random, loops: list[Loop], trips: int) -> Rows:
    """A few different rows, many times each, with gaps and marks."""
    outer = sorted(rng.sample(range(len(loops)), rng.randint(1, min(2, len(loops)))))
    kinds = []
    for _ in range(rng.randint(1, 3)):
        runs: list[tuple[int, ...]] = []
        at = rng.randrange(trips)
        while at < trips:
            length = rng.randint(1, trips - at) if rng.random() < 0.7 else 1
            runs.append((at, length, rng.choice((0, 0, 1, 2, 3))))
            at += length + rng.choice((0, 0, 1, rng.randint(0, 5)))
            if rng.random() < 0.4:
                break
        kinds.append(runs)
    number = prod(loops[loop].trips for loop in outer)
    rows: list[list[tuple[int, ...]]] = []
    while len(rows) < number:
        rows += [rng.choice(kinds)] * rng.choice((1, 1, 2, rng.randint(1, number)))
    return rows_of(outer, rows[:number])


def _guard(rng: random.Random, depth: int) -> Guard:
    if rng.random() < 0.1:
        return Guard(**{rng.choice(("marked", "unmarked")): (rng.randrange(2),)})
    if rng.random() < 0.6:
        return Guard()
    fields = rng.sample(("first", "last", "not_first", "not_last"), rng.choice((1, 1, 2)))
    return Guard(
        **{f: tuple(sorted(rng.sample(range(depth), rng.randint(1, depth)))) for f in fields}
    )


def _edge(rng: random.Random, tasks: int, depth: int, scale: int) -> Edge:
    loop = rng.choice((ROOT, *range(depth), *range(depth), depth - 1))
    inside = list(range(loop + 1, depth))
    matched = tuple(sorted(rng.sample(inside, rng.randint(0, len(inside)))))
    return Edge(
        producer=rng.randrange(tasks),
        consumer=rng.randrange(tasks),
        loop=loop,
        distance=rng.choice((0, 0, 1, 1, 2, 3, 5)),
        matched=matched,
        reset=rng.random() < 0.3,
        latency=rng.choice((0, 0, 0, 1, 5 * scale, 60 * scale, 400 * scale)),
        cause=rng.choice(CAUSES),
    )
