"""Points of an iteration space under a predicate, counted without looking at each.

Variables of which only digits are looked at are cut into these (digits.py); conditions that share
no variable are counted apart, and so are parts of conditions that share none (patterns.py). Of a
group that is left, one variable is taken as the inner one; for each combination of the others the
coordinates at which the conditions hold are a few pieces (pieces.py). What cannot be brought into
this form (tables, draws, products of variables) is looked at point by point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from accelsim.analysis.digits import Digits, cut_into_digits, stride
from accelsim.analysis.patterns import patterns
from accelsim.analysis.pieces import NoPiecesError, Numbers, Piece, Rows, pieces, row_count
from accelsim.cascade.whole import (
    Apply,
    Int,
    Variable,
    Whole,
    conjuncts,
    evaluate,
    settled,
    substitute,
    variables,
)
from accelsim.errors import AccelsimError

MAX_POINTS = 1 << 29
"""Points that are looked at one by one."""
MAX_ROWS = 1 << 31
ROWS_AT_ONCE = 1 << 16
MAX_TILES = 1 << 26
"""Tiles of which each is counted."""


def prepared(
    conditions: Sequence[Whole],
    extents: Mapping[str, int],
    tiles: Mapping[str, int],
    numbers: Numbers,
) -> tuple[list[Whole] | None, dict[str, Digits]]:
    """The conditions with numbers for names and variables in digits; None when none can hold."""
    found, digits = cut_into_digits(
        settled_conditions(conditions, numbers), extents, tiles, numbers
    )
    wanted = [c for c in settled_conditions(found, numbers) if c != Int(1)]
    return None if Int(0) in wanted else wanted, digits


def settled_conditions(conditions: Sequence[Whole], numbers: Numbers) -> list[Whole]:
    """Conditions with numbers for names and tables as far as coordinates allow, split further."""
    found = (settled(c, numbers.named, numbers.tables) for c in conditions)
    return [part for condition in found for part in conjuncts(condition)]


def components(conditions: Sequence[Whole]) -> list[tuple[tuple[str, ...], list[Whole]]]:
    """Conditions that share variables, grouped: what one group asks, no other asks again."""
    graph = nx.Graph()
    for condition in conditions:
        nx.add_path(graph, variables(condition))
        graph.add_nodes_from(variables(condition))
    out = []
    for group in nx.connected_components(graph):
        own = [c for c in conditions if group & set(variables(c))]
        seen = dict.fromkeys(v for c in own for v in variables(c))
        out.append((tuple(seen), own))
    return out


def count(
    conditions: Sequence[Whole],
    extents: Mapping[str, int],
    numbers: Numbers,
    kept: Sequence[str] | None = None,
) -> int:
    """Combinations of the kept variables (None: all) for which some point meets all conditions.

    extents: of every variable of the space. Raises AccelsimError when there is too much to look at.
    """
    chosen = set(extents if kept is None else kept)
    if _all_by_example(conditions, extents, numbers, chosen):
        return prod(n for v, n in extents.items() if v in chosen)
    wanted, digits = prepared(conditions, extents, {}, numbers)
    if wanted is None:
        return 0
    for variable, own in digits.items():
        extents = {v: n for v, n in extents.items() if v != variable} | dict(own)
        if variable in chosen:
            chosen |= {name for name, _ in own}
    total = 1
    tied = set()
    for group, together in components(wanted):
        tied |= set(group)
        total *= _count_group(group, together, extents, numbers, chosen)
    return total * prod(n for v, n in extents.items() if v in chosen and v not in tied)


def _all_by_example(
    conditions: Sequence[Whole], extents: Mapping[str, int], numbers: Numbers, kept: set[str]
) -> bool:
    """Whether each combination of kept variables has a point for a plain reason.

    Such as the query at a key's own place: the others at the coordinate of one of the kept.
    """
    used = dict.fromkeys(v for c in conditions for v in variables(c))
    dropped = [v for v in used if v not in kept]
    if not dropped:
        return False
    own = {v: extents[v] for v in used if v in kept}
    for variable in sorted(own, key=lambda v: -own[v])[:2]:
        place = Variable(variable)
        at = {v: Apply("min", (place, Int(extents[v] - 1))) for v in dropped}
        try:
            found = count([substitute(c, at) for c in conditions], own, numbers)
        except AccelsimError:
            continue  # too much to look at
        if found == prod(own.values()):
            return True
    return False


def _count_group(
    group: tuple[str, ...],
    conditions: list[Whole],
    extents: Mapping[str, int],
    numbers: Numbers,
    kept: set[str],
) -> int:
    dropped = [v for v in group if v not in kept]
    if not dropped:
        own = {v: extents[v] for v in group}
        found_patterns = patterns(conditions, own, own, numbers)
        if found_patterns is not None:
            first, kinds = found_patterns
            others = {v: extents[v] for v in group if v not in first}
            return sum(int(k.points.sum()) * count(k.conditions, others, numbers) for k in kinds)
    inner = _inner(conditions, dropped or group, group, extents, numbers)
    rest = [v for v in dropped if v != inner]
    # Rows that differ in a dropped variable only come one after another.
    outer = [v for v in group if v in kept and v != inner]
    per = prod(extents[v] for v in rest)
    if inner in kept and rest:
        raise AssertionError("the inner variable is a dropped one when there is any")
    total = 0
    for rows in _rows([*outer, *rest], extents, per):
        found = _ways(conditions, inner, extents[inner], rows, numbers)
        if dropped:
            total += int((found > 0).reshape(-1, per).any(axis=1).sum())
        else:
            total += int(found.sum())
    return total


def _inner(
    conditions: Sequence[Whole],
    options: Sequence[str],
    group: Sequence[str],
    extents: Mapping[str, int],
    numbers: Numbers,
) -> str:
    """The longest variable along which the conditions are pieces; if there is none, the longest."""
    by_length = sorted(options, key=lambda v: (-extents[v], v))
    for variable in by_length:
        row = {v: np.zeros(1, np.int64) for v in group if v != variable}
        try:
            pieces(
                conditions, variable, extents[variable], row or {"": np.zeros(1, np.int64)}, numbers
            )
        except NoPiecesError:
            continue
        return variable
    return by_length[0]


def _rows(order: list[str], extents: Mapping[str, int], together: int) -> Iterator[dict[str, Rows]]:
    """Combinations of coordinates, the last variable running fastest, so many at once."""
    sizes = [extents[v] for v in order]
    total = prod(sizes)
    if total > MAX_ROWS:
        raise AccelsimError(f"a predicate ties {total:,} rows of coordinates; too many to count")
    at_once = max(1, ROWS_AT_ONCE // together) * together
    for start in range(0, total, at_once):
        number = np.arange(start, min(start + at_once, total), dtype=np.int64)
        found: dict[str, Rows] = {}
        for variable, size in zip(reversed(order), reversed(sizes), strict=True):
            found[variable] = number % size
            number = number // size
        yield found or {"": np.zeros(1, np.int64)}


def _ways(
    conditions: list[Whole], inner: str, extent: int, rows: dict[str, Rows], numbers: Numbers
) -> Rows:
    """In each row, how many coordinates of the inner variable meet all conditions."""
    try:
        found = pieces(conditions, inner, extent, rows, numbers)
    except NoPiecesError:
        out = np.zeros(row_count(rows), np.int64)
        for some, held in _look(conditions, inner, extent, rows, numbers):
            out[some] = held.sum(axis=1)
        return out
    return sum((piece.count for piece in found), np.zeros(row_count(rows), np.int64))


def _look(
    conditions: Sequence[Whole],
    inner: str,
    extent: int,
    rows: dict[str, Rows],
    numbers: Numbers,
) -> Iterator[tuple[slice, npt.NDArray[np.bool_]]]:
    """Whether all conditions hold, point by point: some rows, and [rows, extent] for these."""
    length = row_count(rows)
    if length * extent > MAX_POINTS:
        raise AccelsimError(
            f"a predicate has to be looked at in {length * extent:,} points; too many to count"
        )
    at_once = max(1, (1 << 22) // extent)
    for start in range(0, length, at_once):
        some = slice(start, min(start + at_once, length))
        part = {v: a[some, None] for v, a in rows.items()}
        part[inner] = np.arange(extent, dtype=np.int64)[None, :]
        holds: Any = np.ones((1, 1), np.bool_)
        for condition in conditions:
            holds = holds & evaluate(condition, part, numbers.named, numbers.tables)
        yield some, np.broadcast_to(holds, (some.stop - start, extent))


# Tiles --------------------------------------------------------------------------------------------


def tile_counts(
    conditions: Sequence[Whole],
    extents: Mapping[str, int],
    tiles: Mapping[str, int],
    numbers: Numbers,
) -> Rows:
    """How many points meet all conditions in each tile, an axis per variable of `tiles`.

    extents: of the variables. tiles: variable -> coordinates of a tile of it, at least 1; tiles
    begin at multiples of that. Raises AccelsimError when there is too much to look at.
    """
    shape = [-(-extents[v] // size) for v, size in tiles.items()]
    if prod(shape) > MAX_TILES:
        raise AccelsimError(f"a predicate ties {prod(shape):,} tiles; too many to count")
    wanted, digits = prepared(conditions, extents, tiles, numbers)
    if wanted is None:
        return np.zeros(shape, np.int64)
    sizes = dict(extents)
    inside = dict(tiles)
    for variable, own in digits.items():
        size = inside.pop(variable)
        for name, extent in own:
            sizes[name] = extent
            inside[name] = 1 if stride(own, name) >= size else extent
    # An axis per digit, in the order of the variables, of one tile for digits inside of tiles.
    axes = [d for v in tiles for d, _ in digits.get(v, ((v, 0),))]
    out: Rows = np.ones([1] * len(axes), np.int64)
    tied: set[str] = set()
    for group, own_conditions in components(wanted):
        tied |= set(group)
        found = _tile_counts(own_conditions, sizes, {v: inside[v] for v in group}, numbers)
        order = sorted(range(len(group)), key=lambda i: axes.index(group[i]))
        length = [-(-sizes[d] // inside[d]) if d in group else 1 for d in axes]
        out = out * found.transpose(order).reshape(length)
    for axis, digit in enumerate(axes):
        if digit not in tied:
            begins = np.arange(-(-sizes[digit] // inside[digit])) * inside[digit]
            here = np.minimum(inside[digit], sizes[digit] - begins)
            out = out * here.reshape([-1 if a == axis else 1 for a in range(len(axes))])
    return out.reshape(shape)


def _tile_counts(
    conditions: Sequence[Whole],
    extents: Mapping[str, int],
    tiles: Mapping[str, int],
    numbers: Numbers,
) -> Rows:
    """As tile_counts, of conditions that share their variables, all of which are in `tiles`."""
    found_patterns = patterns(conditions, {v: extents[v] for v in tiles}, tiles, numbers)
    if found_patterns is not None:
        first, kinds = found_patterns
        rest = {v: size for v, size in tiles.items() if v not in first}
        total: Any = 0
        for kind in kinds:
            others = tile_counts(kind.conditions, {v: extents[v] for v in rest}, rest, numbers)
            total = total + np.multiply.outer(kind.points, others)
        order = [*first, *rest]
        return np.asarray(total).transpose([order.index(v) for v in tiles])
    shape_of = {v: -(-extents[v] // size) for v, size in tiles.items()}
    inner = _inner(conditions, tuple(tiles), tuple(tiles), extents, numbers)
    outer = [v for v in tiles if v != inner]
    out = np.zeros((prod(shape_of[v] for v in outer), shape_of[inner]), np.int64)
    for rows in _rows(outer, extents, 1):
        number = np.zeros(row_count(rows), np.int64)
        for variable in outer:
            number = number * shape_of[variable] + rows[variable] // tiles[variable]
        low = int(number.min())
        part = out[low : int(number.max()) + 1]
        try:
            found = pieces(conditions, inner, extents[inner], rows, numbers)
        except NoPiecesError:
            begins = np.arange(0, extents[inner], tiles[inner])
            for some, held in _look(conditions, inner, extents[inner], rows, numbers):
                each = np.add.reduceat(held.astype(np.int64), begins, axis=1)
                np.add.at(part, number[some] - low, each)
            continue
        for piece in found:
            if piece.step == 1:
                _add_up_to(part, number - low, piece.low, tiles[inner], -1)
                _add_up_to(part, number - low, np.maximum(piece.high, piece.low), tiles[inner], 1)
            else:
                _add_each(part, number - low, piece, tiles[inner])
    every = out.reshape([shape_of[v] for v in outer] + [shape_of[inner]])
    return np.moveaxis(every, -1, list(tiles).index(inner))


def _add_up_to(counts: Rows, number: Rows, bound: Rows, size: int, sign: int) -> None:
    """Add the points below `bound` of each row to the tiles of its row of `counts`."""
    width = counts.shape[1] + 1
    tile, rest = bound // size, bound % size
    flat = np.bincount(number * width + tile, rest, len(counts) * width).astype(np.int64)
    whole = np.bincount(number * width + tile, minlength=len(counts) * width).astype(np.int64)
    whole = whole.reshape(-1, width)[:, ::-1].cumsum(axis=1)[:, ::-1]  # bounds in this tile or on
    counts += sign * (flat.reshape(-1, width)[:, :-1] + size * whole[:, 1:])


def _add_each(counts: Rows, number: Rows, piece: Piece, size: int) -> None:
    """Add the points of a piece with a step, one by one."""
    many = piece.count
    if int(many.sum()) > MAX_POINTS:
        raise AccelsimError(f"a predicate keeps {int(many.sum()):,} single points; too many")
    first = piece.low + (piece.residue - piece.low) % piece.step
    row = np.repeat(np.arange(len(many)), many)
    before = np.repeat(np.cumsum(many) - many, many)
    at = first[row] + (np.arange(len(row)) - before) * piece.step
    np.add.at(counts, (number[row], at // size), 1)
