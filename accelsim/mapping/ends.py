"""What there is of the tiles at the end of a rank, where a mapping's edges are masked."""

from __future__ import annotations

from math import prod

import numpy as np

from accelsim.analysis.pieces import Numbers
from accelsim.cascade.nodes import Access, At, Computed
from accelsim.cascade.whole import Whole, evaluate, variables
from accelsim.errors import AccelsimError
from accelsim.mapping.depend import Nesting
from accelsim.mapping.nest import End, Int


def ends(
    nesting: Nesting, access: Access, extents: dict[str, int], numbers: Numbers
) -> tuple[End, ...]:
    """Ends of the tiles of a tensor, one per rank whose last tile is not whole.

    extents: of parts. numbers: shapes and tables. Raises AccelsimError.
    """
    cascade = nesting.cascade
    ranks = cascade.tensor(access.tensor).ranks
    index_of = dict(zip(ranks, access.indices, strict=True))
    found = []
    for rank in ranks:
        part = dict(cascade.alike).get(rank, rank)
        root = cascade.root(part)
        outer = cascade.parts(root)[:-1]
        shape = numbers.named.get(root)
        if part != cascade.parts(root)[-1] or shape is None:
            continue  # coordinates of an outer part are tiles, not elements
        if not isinstance(index_of[rank], At):
            continue  # computed: every tile reads as many (computed.py)
        loops: list[int] = []
        start: Int = np.zeros(1, np.int64)
        for name in (*outer, part):
            inside = prod(extents[p] for p in _within(nesting, root, name))
            index = index_of.get(name)
            if isinstance(index, Computed):
                own, begins = _looked_up(nesting, index.whole, numbers)
                loops += own
                start = np.add.outer(start, begins * inside).reshape(-1)
                continue
            parts = nesting.parts[name]
            for number, loop in enumerate(nesting.loops):
                if loop.rank in parts:
                    step = inside * prod(extents[p] for p in parts[parts.index(loop.rank) + 1 :])
                    loops.append(number)
                    start = np.add.outer(start, np.arange(loop.trips) * step).reshape(-1)
        looped = {loop.rank for loop in nesting.loops}
        size = prod(extents[p] for p in nesting.parts[part] if p not in looped)
        kept = np.clip(shape - start, 0, size)
        if (kept < size).any():
            found.append(End(tuple(loops), size, kept))
    return tuple(found)


def _within(nesting: Nesting, root: str, name: str) -> list[str]:
    """Parts of a root rank inside one of the parts that the cascade cuts it into."""
    cut = nesting.cascade.parts(root)
    return [p for inner in cut[cut.index(name) + 1 :] for p in nesting.parts[inner]]


def _looked_up(nesting: Nesting, whole: Whole, numbers: Numbers) -> tuple[list[int], Int]:
    """Loops that a computed index depends on, and its values, row-major over their coordinates."""
    loops, grids = [], {}
    over = variables(whole)
    for axis, variable in enumerate(over):
        rank = nesting.cascade.rank_of(variable)
        own = [i for i, loop in enumerate(nesting.loops) if loop.rank == rank]
        if not own:
            message = f"with masked edges its tiles end where {rank} tells"
            raise AccelsimError(f"{message}: {rank} has to be a loop, uncut")
        loops.append(own[0])
        trips = nesting.loops[own[0]].trips
        grids[variable] = np.arange(trips).reshape(
            [-1 if a == axis else 1 for a in range(len(over))]
        )
    values = np.asarray(evaluate(whole, grids, numbers.named, numbers.tables), np.int64)
    shape = [nesting.loops[i].trips for i in loops]
    return loops, np.broadcast_to(values, shape).reshape(-1)
