"""Random Programs. They need not make sense: the meaning is defined for all of them."""

from __future__ import annotations

from fractions import Fraction
from math import prod

from hypothesis import strategies as st

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

KINDS = ("einsum", "load", "store")


@st.composite
def loop_nests(draw: st.DrawFn) -> tuple[Loop, ...]:
    """One to four loops; some bounded by an outer coordinate, never empty."""
    loops: list[Loop] = []
    for level in range(draw(st.integers(1, 4))):
        trips = draw(st.integers(1, 4))
        rows = None
        kind = draw(st.integers(0, 3)) if level else 3
        if kind == 0:
            outer = draw(st.integers(0, level - 1))
            if draw(st.booleans()):  # a triangle that grows: coordinates 0..outer
                rows = bounded(loops, trips, upper=(1 + draw(st.integers(0, 2)), ((outer, 1),)))
            else:  # a band that moves up, its last coordinate always inside
                trips = max(trips, loops[outer].trips)
                rows = bounded(loops, trips, lower=(-draw(st.integers(0, 2)), ((outer, 1),)))
        elif kind == 1:
            rows = draw(listed_rows(loops, trips))
        loops.append(Loop(f"L{level}", trips, rows))
    return tuple(loops)


@st.composite
def listed_rows(draw: st.DrawFn, loops: list[Loop], trips: int) -> Rows:
    """Any coordinates in any row, with marks."""
    outer = sorted(draw(st.sets(st.integers(0, len(loops) - 1), min_size=1, max_size=2)))
    rows = []
    for _ in range(prod(loops[loop].trips for loop in outer)):
        seen = sorted(draw(st.sets(st.integers(0, trips - 1), min_size=1)))
        rows.append([(c, 1, draw(st.integers(0, 3))) for c in seen])
    return rows_of(outer, rows)


def subsets(size: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(0, size - 1), max_size=2, unique=True).map(
        lambda x: tuple(sorted(x))
    )


@st.composite
def guards(draw: st.DrawFn, depth: int) -> Guard:
    kind = draw(st.integers(0, 4))
    if kind == 4:
        return Guard(**{draw(st.sampled_from(("marked", "unmarked"))): (draw(st.integers(0, 1)),)})
    if kind:
        return Guard()
    one = st.sampled_from(("first", "last", "not_first", "not_last"))
    fields = draw(st.lists(one, min_size=1, max_size=2, unique=True))
    return Guard(**{field: draw(subsets(depth)) for field in fields})


@st.composite
def edges_between(draw: st.DrawFn, tasks: int, depth: int, most: int) -> tuple[Edge, ...]:
    """Up to `most` edges between tasks of a phase with `depth` loops."""
    return tuple(
        Edge(
            producer=draw(st.integers(0, tasks - 1)),
            consumer=draw(st.integers(0, tasks - 1)),
            loop=(loop := draw(st.sampled_from((ROOT, *range(depth), *range(depth))))),
            distance=draw(st.sampled_from((0, 0, 1, 1, 2, 3))),
            matched=tuple(l for l in draw(subsets(depth)) if l > loop),
            reset=draw(st.booleans()),
            latency=draw(st.sampled_from((0, 0, 0, 1, 5, 30))),
            cause=draw(st.sampled_from(CAUSES)),
        )
        for _ in range(draw(st.integers(0, most)))
    )


@st.composite
def phases(draw: st.DrawFn, servers: int) -> Phase:
    loops = draw(loop_nests())
    depth = len(loops)
    tasks = tuple(
        Task(
            name=f"t{i}",
            kind=draw(st.sampled_from(KINDS)),
            tensor=f"T{i}",
            server=draw(st.integers(0, servers - 1)),
            occupancy=draw(st.integers(0, 9)),
            guard=draw(guards(depth)),
            lag=draw(st.sampled_from((0, 0, 0, 1, 1, 2, 3))),
        )
        for i in range(draw(st.integers(1, 6)))
    )
    edges = draw(edges_between(len(tasks), depth, 8))
    return Phase("phase", loops, tasks, edges)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """One or two phases on one to four servers."""
    servers = tuple(
        Server(f"s{i}", draw(st.sampled_from(("unit", "channel"))))
        for i in range(draw(st.integers(1, 4)))
    )
    made = tuple(draw(phases(len(servers))) for _ in range(draw(st.sampled_from((1, 1, 1, 2)))))
    return Program("random", Fraction(1_000_000_000), 1, servers, made)
