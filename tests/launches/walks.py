"""Kernels as plain loops: what their instances load and store, tile by tile, in order.

Written from what the kernels' mappings say in words, not from accelsim: a block of queries visits a
tile of keys if one of its queries sees one of its keys; a tile is loaded in each step of the loop
that chooses it; of a tile at the end of a rank, or of a sequence, only what is there is moved, but
of a tile that a mask leaves in part, all of it. In a step, tables come first, then tensors as they
are needed, then stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple


class Access(NamedTuple):
    """step: coordinates of the loops. tile: which of the tensor. size: bytes."""

    step: tuple[int, ...]
    tensor: str
    tile: tuple[int, ...]
    size: int
    write: bool = False


@dataclass(frozen=True)
class Walk:
    """A mapping with its settings, shapes and tables, and what each of its launches moves.

    grid: how many of the loops choose an instance, of each launch. word: bytes of a value.
    """

    mapping: str
    settings: Mapping[str, Any]
    shapes: Mapping[str, int]
    launches: Sequence[Sequence[Access]]
    grid: Sequence[int]
    tables: Mapping[str, Any] = field(default_factory=dict)
    word: int = 2


@dataclass(frozen=True)
class Seen:
    """Which keys a query sees: those up to its own, of a window, and the first ones."""

    offset: int
    window: int = 1 << 60
    sinks: int = 0

    def __call__(self, p: int, m: int) -> bool:
        position = p + self.offset
        return m <= position and (position - m < self.window or m < self.sinks)

    def meets(self, queries: range, keys: range) -> bool:
        return any(self(p, m) for p in queries for m in keys)


def tiles(extent: int, size: int) -> list[range]:
    """A rank cut into tiles; the last has what is left."""
    return [range(at, min(at + size, extent)) for at in range(0, extent, size)]


def _cut(m0: int, p0: int) -> dict[str, int]:
    return {"partition.M.M0": m0, "partition.P.P0": p0}


def flash_fwd(
    *,
    b: int,
    h: int,
    g: int,
    p: int,
    m: int,
    d: int,
    p0: int,
    m0: int,
    seen: Seen,
    heads_first: bool = False,
    word: int = 2,
) -> Walk:
    """An instance has a block of queries of a head; it passes over the tiles of keys they see."""
    blocks, passing = tiles(p, p0), tiles(m, m0)
    outer = [range(h), range(len(blocks))]
    found: list[Access] = []
    for batch, one, other in product(range(b), *(outer[::-1] if heads_first else outer)):
        head, i = (other, one) if heads_first else (one, other)
        block, group, rows = (batch, head, i), head * g // h, len(blocks[i])
        visited = [j for j, keys in enumerate(passing) if seen.meets(blocks[i], keys)]
        for j in visited:
            step, size = (batch, one, other, j), len(passing[j]) * d * word
            if j == visited[0]:
                found.append(Access(step, "Q", block, rows * d * word))
            found += [Access(step, tensor, (batch, group, j), size) for tensor in "KV"]
            if j == visited[-1]:
                found.append(Access(step, "AV", block, rows * d * word, write=True))
                found.append(Access(step, "LSE", block, rows * 4, write=True))
    return Walk(
        "h200__flash_fwd" + ("_heads" if heads_first else ""),
        _cut(m0, p0),
        {"B": b, "H": h, "G": g, "P": p, "M": m, "E": d, "F": d, **vars(seen)},
        [found],
        [3],
        word=word,
    )


def pingpong(*, b: int, h: int, p: int, m: int, d: int, p0: int, m0: int, offset: int) -> Walk:
    """Two teams of an instance take turns on each tile of keys, each with its block of queries."""
    seen, blocks, passing = Seen(offset), tiles(p, p0), tiles(m, m0)
    found: list[Access] = []
    for batch, head, pair in product(range(b), range(h), range(len(blocks) // 2)):
        two = blocks[2 * pair : 2 * pair + 2]
        visited = [
            (j, team)
            for j, keys in enumerate(passing)
            for team, rows in enumerate(two)
            if seen.meets(rows, keys)
        ]
        loaded: set[int] = set()
        for j, team in visited:
            step, block = (batch, head, pair, j, team), (batch, head, 2 * pair + team)
            if (j, team) == min(v for v in visited if v[1] == team):
                found.append(Access(step, "Q", block, p0 * d * 2))
            if j not in loaded:
                size = len(passing[j]) * d * 2
                found += [Access(step, tensor, (batch, head, j), size) for tensor in "KV"]
                loaded.add(j)
            if (j, team) == max(v for v in visited if v[1] == team):
                found.append(Access(step, "AV", block, p0 * d * 2, write=True))
                found.append(Access(step, "LSE", block, p0 * 4, write=True))
    settings = {"partition.P.P0": p0, "partition.M.M0": m0}
    shapes = {"B": b, "H": h, "G": h, "P": p, "M": m, "E": d, "F": d, **vars(seen)}
    return Walk("h100__fa3_pingpong", settings, shapes, [found], [3])


def flash1(
    *, b: int, h: int, p: int, m: int, d: int, p0: int, m0: int, offset: int, word: int = 2
) -> Walk:
    """An instance has a head; a tile of keys stays while the blocks that see it pass.

    Their states come back but for the first time, and go out again but for the last.
    """
    seen, blocks, passing = Seen(offset), tiles(p, p0), tiles(m, m0)
    of = [[j for j, keys in enumerate(passing) if seen.meets(own, keys)] for own in blocks]
    found: list[Access] = []
    for batch, head, j in product(range(b), range(h), range(len(passing))):
        visited = [i for i in range(len(blocks)) if j in of[i]]
        for i in visited:
            step, block, rows = (batch, head, j, i), (batch, head, i), len(blocks[i])
            found.append(Access(step, "Q", block, rows * d * word))
            if i == visited[0]:
                size = len(passing[j]) * d * word
                found += [Access(step, tensor, (batch, head, j), size) for tensor in "KV"]
            states = {"RM": rows * 4, "RD": rows * 4, "O": rows * d * 4}
            if j != of[i][0]:
                found += [Access(step, name, block, size) for name, size in states.items()]
            if j != of[i][-1]:
                found += [Access(step, n, block, size, write=True) for n, size in states.items()]
            else:
                found.append(Access(step, "AV", block, rows * d * word, write=True))
    shapes = {"B": b, "H": h, "P": p, "M": m, "E": d, "F": d, "offset": offset}
    return Walk("h200__flash1", _cut(m0, p0), shapes, [found], [2], word=word)


def flash1_saved(
    *, b: int, h: int, p: int, m: int, d: int, p0: int, m0: int, word: int = 2
) -> Walk:
    """Every block of queries passes every tile of keys; its output is kept in words.

    The last maximum and denominator of a query are kept for the backward pass.
    """
    blocks, passing, found = tiles(p, p0), tiles(m, m0), list[Access]()
    every = (range(b), range(h), range(len(passing)), range(len(blocks)))
    for step in product(*every):
        batch, head, j, i = step
        rows, block, keys = len(blocks[i]), (batch, head, i), (batch, head, j)
        found.append(Access(step, "Q", block, rows * d * word))
        if i == 0:
            found += [Access(step, tensor, keys, len(passing[j]) * d * word) for tensor in "KV"]
        states = {"RM": rows * 4, "RD": rows * 4, "O": rows * d * word}
        ends = {"AV": rows * d * word, "GM": rows * 4, "SD": rows * 4}
        if j != 0:
            found += [Access(step, name, block, size) for name, size in states.items()]
        out = ends if j == len(passing) - 1 else states
        found += [Access(step, name, block, size, write=True) for name, size in out.items()]
    shapes = {"B": b, "H": h, "P": p, "M": m, "E": d, "F": d}
    return Walk("a100__flash1", _cut(m0, p0), shapes, [found], [2], word=word)


def flash1_backward(
    *, b: int, h: int, p: int, m: int, d: int, p0: int, m0: int, word: int = 2
) -> Walk:
    """A tile of keys and its gradients stay; every block of queries passes it, with its own.

    The gradient of a block comes back but for the first time, and goes out each time, first of all.
    """
    blocks, passing, found = tiles(p, p0), tiles(m, m0), list[Access]()
    every = (range(b), range(h), range(len(passing)), range(len(blocks)))
    for step in product(*every):
        batch, head, j, i = step
        block, keys = (batch, head, i), (batch, head, j)
        rows, own = len(blocks[i]), len(passing[j]) * d * word
        sizes = {"GM": rows * 4, "SD": rows * 4}
        first, last, whole = i == 0, i == len(blocks) - 1, rows * d * word
        found.append(Access(step, "Q", block, whole))
        found += [Access(step, "K", keys, own)] * first
        found += [Access(step, name, block, size) for name, size in sizes.items()]
        found.append(Access(step, "DAV", block, whole))
        found += [Access(step, "V", keys, own)] * first
        found.append(Access(step, "AV", block, whole))
        found += [Access(step, "RQ", block, whole)] * (j != 0)
        done = j == len(passing) - 1
        found += [Access(step, "RQ", block, whole, write=True)] * (not done)
        found += [Access(step, "DV", keys, own, write=True)] * last
        found += [Access(step, "DQ", block, whole, write=True)] * done
        found += [Access(step, "DK", keys, own, write=True)] * last
    shapes = {"B": b, "H": h, "P": p, "M": m, "E": d, "F": d}
    return Walk("a100__flash1_backward", _cut(m0, p0), shapes, [found], [2], word=word)


TRAINED = (flash1_saved, flash1_backward)


def unfused(
    *, b: int, h: int, p: int, m: int, d: int, p0: int, m0: int, rows: int, word: int = 2
) -> Walk:
    """Tiles of scores; whole rows of them to probabilities; blocks of these with all values."""
    scores: list[Access] = []
    softmax: list[Access] = []
    values: list[Access] = []
    blocks, passing = list(enumerate(tiles(p, p0))), list(enumerate(tiles(m, m0)))
    for head in product(range(b), range(h)):
        for (j, keys), (i, queries) in product(passing, blocks):
            step, pairs = (*head, j, i), len(queries) * len(keys)
            scores.append(Access(step, "Q", (*head, i), len(queries) * d * word))
            scores.append(Access(step, "K", (*head, j), len(keys) * d * word))
            scores.append(Access(step, "QK", (*head, j, i), pairs * 4, write=True))
        for i, queries in enumerate(tiles(p, rows)):
            step, pairs = (*head, i), len(queries) * m
            softmax.append(Access(step, "QK", (*head, i), pairs * 4))
            softmax.append(Access(step, "A", (*head, i), pairs * word, write=True))
        for (i, queries), (j, keys) in product(blocks, passing):
            step, pairs = (*head, i, j), len(queries) * len(keys)
            values.append(Access(step, "A", (*head, i, j), pairs * word))
            values.append(Access(step, "V", (*head, j), len(keys) * d * word))
            if j == len(passing) - 1:
                values.append(Access(step, "AV", (*head, i), len(queries) * d * word, write=True))
    return Walk(
        "h200__unfused",
        {**_cut(m0, p0), "phases.softmax.partition.P.P0": rows},
        {"B": b, "H": h, "P": p, "M": m, "E": d, "F": d},
        [scores, softmax, values],
        [4, 3, 3],
        word=word,
    )


_TRAINING = (  # loops inside those of heads: j over tiles of keys, i over blocks of queries
    ("ji", 2, ("Q", "K"), "QK"),
    ("ji", 2, ("KEEP", "QK"), "MK"),
    ("r", 1, ("MK",), "A"),
    ("ij", 1, ("A", "V"), "AV"),
    ("ji", 1, ("A", "DAV"), "DV"),
    ("ji", 2, ("DAV", "V"), "DA"),
    ("r", 1, ("A", "DA"), "DS"),
    ("ji", 2, ("KEEP", "DS"), "DM"),
    ("ij", 1, ("DM", "K"), "DQ"),
    ("ji", 1, ("DM", "Q"), "DK"),
)
"""Of each kernel: its loops, how many of them choose an instance, what it reads and writes."""


def unfused_training(
    *, b: int, h: int, p: int, m: int, d: int, p0: int, m0: int, rows: int, word: int = 2
) -> Walk:
    """Ten kernels; a result that some loop sums into is written in the last iteration of it."""
    cuts = {"i": tiles(p, p0), "j": tiles(m, m0), "r": tiles(p, rows)}
    launches: list[list[Access]] = []

    def access(step: tuple[int, ...], loops: str, tensor: str, write: bool = False) -> Access:
        at = dict(zip(loops, step[2:], strict=True))
        sizes = {name: len(cuts[name][n]) for name, n in at.items()}
        block = "r" if "r" in at else "i"
        if tensor == "KEEP":
            return Access(step, tensor, (step[0], at["j"]), sizes["j"] * word)
        own, size = (block,), sizes.get(block, 0) * d
        if tensor in {"K", "V", "DK", "DV"}:
            own, size = ("j",), sizes["j"] * d
        elif tensor not in {"Q", "AV", "DAV", "DQ"}:
            own, size = tuple(sorted(at)), sizes[block] * sizes.get("j", m)
        return Access(step, tensor, (*step[:2], *(at[n] for n in own)), size * word, write)

    for loops, chosen, read, written in _TRAINING:
        found = list[Access]()
        counts = [range(len(cuts[name])) for name in loops]
        for step in product(range(b), range(h), *counts):
            found += [access(step, loops, tensor) for tensor in read]
            summed = zip(step[2 + chosen :], counts[chosen:], strict=True)
            if all(n == own[-1] for n, own in summed):
                found.append(access(step, loops, written, write=True))
        launches.append(found)
    gradient = {f"phases.{name}.partition.P.P0": rows for name in ("softmax", "softmax_gradient")}
    return Walk(
        "a100__unfused_training",
        {**_cut(m0, p0), **gradient},
        {"B": b, "H": h, "P": p, "M": m, "E": d, "F": d},
        launches,
        [2 + chosen for _, chosen, *_ in _TRAINING],
        word=word,
    )


def splitk(
    *,
    h: int,
    g: int,
    m: int,
    d: int,
    m0: int,
    m1: int,
    pages: Sequence[Sequence[int]],
    lengths: Sequence[int],
    word: int = 2,
) -> Walk:
    """A part of a sequence's pages for the heads of a group; then all parts of a head together.

    Each part has a key of each sequence.
    """
    partial: list[Access] = []
    combine: list[Access] = []
    b, number, heads = len(lengths), len(pages[0]), h // g
    parts = tiles(number, m1)
    for batch, group, part in product(range(b), range(g), range(len(parts))):
        visited = [n for n in parts[part] if n * m0 < lengths[batch]]
        for n in visited:
            step, keys = (batch, group, part, n - parts[part].start), lengths[batch] - n * m0
            size = min(m0, keys) * d * word
            if n == visited[0]:
                partial.append(Access(step, "lengths", (batch,), 4))
            partial.append(Access(step, "pages", (batch, n), 4))
            if n == visited[0]:
                partial.append(Access(step, "Q", (batch, group), heads * d * word))
            page = pages[batch][n]
            partial += [Access(step, tensor, (page, group), size) for tensor in "KV"]
            if n == visited[-1]:
                own = (batch, group, part)
                partial.append(Access(step, "OP", own, heads * d * 4, write=True))
                partial.append(Access(step, "LSEP", own, heads * 4, write=True))
    for step in product(range(b), range(h)):
        combine.append(Access(step, "lengths", step[:1], 4))
        combine.append(Access(step, "LSEP", step, len(parts) * 4))
        combine.append(Access(step, "OP", step, len(parts) * d * 4))
        combine.append(Access(step, "AV", step, d * word, write=True))
        combine.append(Access(step, "LSE", step, 4, write=True))
    cut = {"M0": m0, "M1": m1}
    return Walk(
        "h200__splitk",
        {f"{where}partition.M.{k}": n for where in ("", "phases.combine.") for k, n in cut.items()},
        {
            **{"B": b, "H": h, "G": g, "M": m, "E": d, "F": d},
            **{"S": 1 + max(map(max, pages)), "N": number},
        },
        [partial, combine],
        [3, 2],
        {"pages": pages, "lengths": lengths},
        word,
    )


def block_sparse(
    *,
    b: int,
    h: int,
    g: int,
    p: int,
    m: int,
    d: int,
    p0: int,
    m0: int,
    lists: Sequence[Sequence[Sequence[int]]],
    offset: int | None,
    heads_first: bool = False,
    word: int = 2,
) -> Walk:
    """As flash_fwd, over a list of tiles of keys. offset: None where it is not causal."""
    seen = Seen(m if offset is None else offset)
    blocks, passing = tiles(p, p0), tiles(m, m0)
    outer = [range(h), range(len(blocks))]
    found: list[Access] = []
    for batch, one, other in product(range(b), *(outer[::-1] if heads_first else outer)):
        head, i = (other, one) if heads_first else (one, other)
        block, own, group, rows = (batch, head, i), lists[head][i], head * g // h, len(blocks[i])
        visited = [n for n, j in enumerate(own) if seen.meets(blocks[i], passing[j])]
        for n in visited:
            step, j = (batch, one, other, n), own[n]
            size = len(passing[j]) * d * word
            if n == visited[0]:
                found.append(Access(step, "counts", (head, i), 4))
            found.append(Access(step, "blocks", (head, i, n), 4))
            if n == visited[0]:
                found.append(Access(step, "Q", block, rows * d * word))
            found += [Access(step, tensor, (batch, group, j), size) for tensor in "KV"]
            if n == visited[-1]:
                found.append(Access(step, "AV", block, rows * d * word, write=True))
                found.append(Access(step, "LSE", block, rows * 4, write=True))
    longest = max(len(own) for of in lists for own in of)
    return Walk(
        "h200__block_sparse" + ("_heads" if heads_first else ""),
        _cut(m0, p0),
        {
            **{"B": b, "H": h, "G": g, "P": p, "M": m, "E": d, "F": d, "J": longest},
            **{"causal": int(offset is not None), "offset": offset or 0},
        },
        [found],
        [3],
        {
            "counts": [[len(own) for own in of] for of in lists],
            "blocks": [[[*own, *[-1] * (longest - len(own))] for own in of] for of in lists],
        },
        word,
    )


def lightning(
    *, b: int, h: int, t: int, e: int, f: int, chunk: int, f0: int, word: int = 2
) -> Walk:
    """An instance has some columns of a head's values; it passes over the chunks of positions."""
    chunks, columns = tiles(t, chunk), tiles(f, f0)
    found: list[Access] = []
    for step in product(range(b), range(h), range(len(columns)), range(len(chunks))):
        batch, head, column, n = step
        rows, width = len(chunks[n]), len(columns[column])
        found += [Access(step, tensor, (batch, head, n), rows * e * word) for tensor in "QK"]
        if n == 0:
            found.append(Access(step, "SLOPE", (head,), 4))
        tile = (batch, head, column, n)
        found.append(Access(step, "V", tile, rows * width * word))
        found.append(Access(step, "O", tile, rows * width * word, write=True))
    shapes = {"B": b, "H": h, "T": t, "E": e, "F": f, "I": chunk}
    return Walk("h200__lightning", {"partition.F.F0": f0}, shapes, [found], [3], word=word)
