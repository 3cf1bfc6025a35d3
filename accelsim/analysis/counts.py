"""Operations and points: of one point of an Einsum's iteration space, and of whole Einsums."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from accelsim.analysis.formulas import Formula, Product, total
from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Cascade,
    Comparison,
    Einsum,
    Term,
    calls,
    iteration_variables,
    reduced_variables,
)
from accelsim.errors import AccelsimError

MAX_GRID = 20_000_000
"""Points that are looked at one by one when a predicate is counted."""


def point_operations(einsum: Einsum) -> dict[str, int]:
    """Operations of one point: operation -> how many.

    Every map operator counts once, a reduction adds one of its operator. An outermost product
    that is reduced by a sum is one `mac`. Negation is part of what takes its result.
    """
    out: dict[str, int] = {}
    for call in calls(einsum.expression):
        if call.operator != "neg":
            out[call.operator] = out.get(call.operator, 0) + 1
    if reduced_variables(einsum):
        outermost = einsum.expression
        if einsum.reduce == "add" and isinstance(outermost, Call) and outermost.operator == "mul":
            out["mul"] -= 1
            if not out["mul"]:
                del out["mul"]
            out["mac"] = 1
        else:
            out[einsum.reduce] = out.get(einsum.reduce, 0) + 1
    return out


def point_ranks(cascade: Cascade, einsum: Einsum) -> tuple[str, ...]:
    """Ranks whose shapes multiply to the points of an Einsum; all parts of a rank as the rank."""
    return fold_parts(cascade, [cascade.rank_of(v) for v in iteration_variables(einsum)])


def fold_parts(cascade: Cascade, ranks: list[str]) -> tuple[str, ...]:
    """The ranks, with the parts of a root replaced by the root where all are there; sorted."""
    left = list(ranks)
    for root, parts in cascade.partitions:
        while all(part in left for part in parts):
            for part in parts:
                left.remove(part)
            left.append(root)
    return tuple(sorted(left))


def shape_of(cascade: Cascade, rank: str, shapes: Mapping[str, int]) -> int | None:
    """The shape of a rank or part, as far as `shapes` tells."""
    if rank in shapes:
        return shapes[rank]
    root = cascade.root(rank)
    siblings = [part for part in cascade.parts(root) if part != rank]
    if rank != root and root in shapes and all(part in shapes for part in siblings):
        return -(-shapes[root] // prod(shapes[part] for part in siblings))
    if rank == root and rank in dict(cascade.partitions):
        known = [shapes.get(part) for part in cascade.parts(rank)]
        return None if None in known else prod(k for k in known if k is not None)
    return None


def points(cascade: Cascade, einsum: Einsum, shapes: Mapping[str, int]) -> int | None:
    """Points of the iteration space, predicate included; None when a shape is not known.

    Raises AccelsimError when a predicate ties too many coordinates to be counted.
    """
    if not einsum.predicate:
        extents = [shape_of(cascade, rank, shapes) for rank in point_ranks(cascade, einsum)]
        return None if None in extents else prod(e for e in extents if e is not None)
    return _distinct(cascade, einsum, iteration_variables(einsum), shapes)


def touched(
    cascade: Cascade, einsum: Einsum, access: Access, shapes: Mapping[str, int]
) -> int | None:
    """Different elements of a tensor that one access of an Einsum means; None as for `points`."""
    over = tuple(dict.fromkeys(i.variable for i in access.indices if isinstance(i, At)))
    if not einsum.predicate:
        ranks = fold_parts(cascade, [cascade.rank_of(v) for v in over])
        extents = [shape_of(cascade, rank, shapes) for rank in ranks]
        return None if None in extents else prod(e for e in extents if e is not None)
    return _distinct(cascade, einsum, over, shapes)


def _distinct(
    cascade: Cascade, einsum: Einsum, kept: tuple[str, ...], shapes: Mapping[str, int]
) -> int | None:
    """Combinations of the kept variables for which some point satisfies the predicate."""
    shapes = _settled(cascade, einsum, kept, shapes)
    over = {v: shape_of(cascade, cascade.rank_of(v), shapes) for v in iteration_variables(einsum)}
    if any(extent is None for extent in over.values()):
        return None
    sizes = {v: extent for v, extent in over.items() if extent is not None}
    tied = sorted(_tied(einsum))
    free = prod(extent for v, extent in sizes.items() if v not in tied and v in kept)
    return free * _count(cascade, einsum, tied, sizes, shapes, kept)


def _tied(einsum: Einsum) -> set[str]:
    """Variables that a predicate compares."""
    return {
        term.variable
        for comparison in einsum.predicate
        for term in (*comparison.left, *comparison.right)
        if term.variable is not None
    }


def _settled(
    cascade: Cascade, einsum: Einsum, kept: tuple[str, ...], shapes: Mapping[str, int]
) -> Mapping[str, int]:
    """The shapes, one tile for a cut rank whose parts are compared only as M0*m1 + m0.

    Points are then those of the whole rank, however a mapping cuts it.
    """
    out = dict(shapes)
    over = {cascade.rank_of(v): v for v in iteration_variables(einsum)}
    for root, parts in cascade.partitions:
        if root not in shapes or len(parts) != 2 or not all(part in over for part in parts):
            continue
        outer, inner = (over[part] for part in parts)
        together = (outer in kept) == (inner in kept)
        if together and all(_as_root(c, outer, inner, parts[1]) for c in einsum.predicate):
            out |= {parts[0]: 1, parts[1]: shapes[root]}
    return out


def _as_root(comparison: Comparison, outer: str, inner: str, shape: str) -> bool:
    """Whether every part is compared as coefficient * (shape*outer + inner)."""
    slopes = {(outer, shape): 0, (inner, None): 0}
    for sign, terms in ((1, comparison.left), (-1, comparison.right)):
        for term in terms:
            key = (term.variable or "", term.shape)
            if key in slopes:
                slopes[key] += sign * term.coefficient
            elif term.variable in {outer, inner} or term.shape == shape:
                return False
    return slopes[outer, shape] == slopes[inner, None]


def _count(
    cascade: Cascade,
    einsum: Einsum,
    tied: list[str],
    sizes: Mapping[str, int],
    shapes: Mapping[str, int],
    kept: tuple[str, ...],
) -> int:
    """Combinations of the tied and kept variables for which the predicate holds.

    One variable, the widest, is counted as an interval for each combination of the others;
    of one that is not kept it only matters whether there is such a coordinate.
    """
    rows = [_linear(cascade, comparison, shapes) for comparison in einsum.predicate]
    relations = [comparison.relation for comparison in einsum.predicate]
    dropped = [v for v in tied if v not in kept]
    inner = max(dropped or tied, key=lambda v: (sizes[v], v))
    if any(r == "!=" for r in relations):
        inner = ""
    others = [v for v in tied if v != inner]
    grid = prod(sizes[v] for v in others)
    if grid > MAX_GRID:
        raise AccelsimError(f"{einsum.name}: its predicate ties {grid:,} points; too many to count")
    axes = np.meshgrid(*(np.arange(sizes[v], dtype=np.int64) for v in others), indexing="ij")
    value = dict(zip(others, axes, strict=True))
    low = np.zeros([sizes[v] for v in others], np.int64)
    high = np.full([sizes[v] for v in others], sizes[inner] if inner else 1, np.int64)
    for (constant, slopes), relation in zip(rows, relations, strict=True):
        rest = constant + sum((s * value[v] for v, s in slopes.items() if v != inner), low * 0)
        slope = slopes.get(inner, 0)
        for sense in {"<": (1,), "<=": (1,), ">": (-1,), ">=": (-1,)}.get(relation, (1, -1)):
            # sense * (rest + slope * inner) <= limit
            limit = -1 if relation in {"<", ">"} else 0
            a, c = sense * slope, sense * rest
            if relation == "!=":
                high = np.where(c == 0, 0, high)
            elif a == 0:
                high = np.where(c <= limit, high, 0)
            elif a > 0:
                high = np.minimum(high, (limit - c) // a + 1)
            else:
                low = np.maximum(low, -((limit - c) // -a))
    ways = np.maximum(high - low, 0)
    gone = tuple(i for i, v in enumerate(others) if v in dropped)
    if not dropped:
        return int(ways.sum())
    return int((ways > 0).any(axis=gone).sum()) if gone else int((ways > 0).sum())


def _linear(
    cascade: Cascade, comparison: Comparison, shapes: Mapping[str, int]
) -> tuple[int, dict[str, int]]:
    """left - right as (constant, variable -> coefficient)."""
    constant = 0
    slopes: dict[str, int] = {}
    sides: tuple[tuple[int, tuple[Term, ...]], ...] = ((1, comparison.left), (-1, comparison.right))
    for sign, terms in sides:
        for term in terms:
            factor = sign * term.coefficient
            if term.shape is not None:
                factor *= shape_of(cascade, term.shape, shapes) or 0
            if term.variable is None:
                constant += factor
            else:
                slopes[term.variable] = slopes.get(term.variable, 0) + factor
    return constant, slopes


def operation_counts(
    cascade: Cascade, shapes: Mapping[str, int] | None
) -> dict[str, dict[str, dict[str, object]]]:
    """Einsum -> operation -> formula in rank shapes (and count, where shapes tell)."""
    out: dict[str, dict[str, dict[str, object]]] = {}
    for einsum in cascade.einsums:
        ranks = point_ranks(cascade, einsum)
        count = points(cascade, einsum, shapes) if shapes is not None else None
        out[einsum.name] = {}
        for operation, times in sorted(point_operations(einsum).items()):
            row: dict[str, object] = {"formula": str(Product(times, ranks))}
            if einsum.predicate:
                row["of"] = "points of the predicate only; the formula counts all"
            if count is not None:
                row["count"] = times * count
            out[einsum.name][operation] = row
    return out


def total_formulas(cascade: Cascade) -> dict[str, Formula]:
    """Operation -> how many in all, as a formula; predicates left out."""
    terms: dict[str, list[Product]] = {}
    for einsum in cascade.einsums:
        for operation, times in point_operations(einsum).items():
            terms.setdefault(operation, []).append(Product(times, point_ranks(cascade, einsum)))
    return {operation: total(products) for operation, products in sorted(terms.items())}


def total_counts(cascade: Cascade, shapes: Mapping[str, int]) -> dict[str, int]:
    """Operation -> how many in all; without those that take part in points of unknown number."""
    counted: dict[str, int] = {}
    unknown: set[str] = set()
    for einsum in cascade.einsums:
        count = points(cascade, einsum, shapes)
        for operation, times in point_operations(einsum).items():
            if count is None:
                unknown.add(operation)
            else:
                counted[operation] = counted.get(operation, 0) + times * count
    return {operation: n for operation, n in sorted(counted.items()) if operation not in unknown}
