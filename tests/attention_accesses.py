"""Accesses of a one-pass attention kernel, for the cache model.

The grid is blocks of queries and heads. An instance loads its tile of Q, then in each step one tile
of K and one of V, and stores its tile of O in the last step. Tiles are whole.
"""

from __future__ import annotations

import numpy as np

from accelsim.engine.cache import Accesses

ROW = 256
"""Bytes of a query, key or value: width 128 in a format of two bytes."""
Q, K, V, O = range(4)


def attention(
    length: int,
    heads: int,
    *,
    groups: int | None = None,
    order: str = "rows",
    causal: bool = False,
    block: int = 128,
) -> Accesses:
    """length queries and keys; order: "rows", blocks of queries fastest in the grid, or "heads"."""
    groups = groups or heads
    blocks = length // block
    across = (heads, blocks) if order == "rows" else (blocks, heads)
    slow, fast = (axis.ravel() for axis in np.indices(across))
    head, row = (slow, fast) if order == "rows" else (fast, slow)
    trips = row + 1 if causal else np.full(len(row), blocks)
    instances = np.concatenate(([0], trips.cumsum()))
    key = np.arange(instances[-1]) - np.repeat(instances[:-1], trips)
    tile = np.repeat(head * groups // heads * blocks, trips) + key
    first, last = instances[:-1], instances[1:] - 1
    count = np.full(len(key), 2)
    count[first] += 1
    count[last] += 1
    steps = np.concatenate(([0], count.cumsum()))
    k = steps[:-1].copy()
    k[first] += 1
    of = np.repeat((Q, K, V, O), np.array((heads, groups, groups, heads)) * blocks)
    begin = np.searchsorted(of, (Q, K, V, O))
    chunk = np.empty(steps[-1], np.int64)
    chunk[steps[first]] = begin[Q] + head * blocks + row
    chunk[k] = begin[K] + tile
    chunk[k + 1] = begin[V] + tile
    chunk[steps[last + 1] - 1] = begin[O] + head * blocks + row
    write = np.zeros(len(chunk), np.bool_)
    write[steps[last + 1] - 1] = True
    return Accesses(instances, steps, chunk, write, np.full(len(of), block * ROW), of)
