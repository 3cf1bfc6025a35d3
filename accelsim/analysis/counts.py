"""Operations and points: of one point of an Einsum's iteration space, and of whole Einsums."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.analysis.formulas import Formula, Product, total
from accelsim.analysis.pieces import Numbers
from accelsim.analysis.space import count
from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Cascade,
    Computed,
    Einsum,
    accesses,
    calls,
    iteration_variables,
    reduced_variables,
    with_parameters,
)
from accelsim.cascade.operators import OPERATORS
from accelsim.cascade.whole import (
    Whole,
    evaluate,
    joined_parts,
    names,
    split_coordinate,
    substitute,
    tables,
    variables,
)
from accelsim.errors import AccelsimError

MOST_VALUES = 1 << 22


def point_operations(einsum: Einsum) -> dict[str, int]:
    """Operations of one point: operation -> how many.

    Every map operator counts once, a reduction adds one of its operator. An outermost product
    that is reduced by a sum is one `mac`. Negation is part of what takes its result; what
    depends on coordinates alone is a constant, and what such a constant chooses is known before.
    """
    out: dict[str, int] = {}
    for call in calls(einsum.expression):
        if call.operator == "neg" or not any(accesses(call)):
            continue
        if call.operator == "where" and not any(accesses(call.arguments[0])):
            continue  # coordinates alone choose
        for operation in OPERATORS[call.operator].counts or (call.operator,):
            out[operation] = out.get(operation, 0) + 1
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


def points(
    cascade: Cascade,
    einsum: Einsum,
    shapes: Mapping[str, int],
    tables: Mapping[str, Any] | None = None,
) -> int | None:
    """Points of the iteration space, predicate included; None when a shape or table is not known.

    Raises AccelsimError when a predicate ties too many coordinates to be counted.
    """
    if not einsum.predicate:
        extents = [shape_of(cascade, rank, shapes) for rank in point_ranks(cascade, einsum)]
        return None if None in extents else prod(e for e in extents if e is not None)
    return _distinct(cascade, einsum, iteration_variables(einsum), shapes, tables or {})


def touched(
    cascade: Cascade,
    einsum: Einsum,
    access: Access,
    shapes: Mapping[str, int],
    tables: Mapping[str, Any] | None = None,
) -> int | None:
    """Different elements of a tensor that one access of an Einsum means; None as for `points`.

    Of a computed index that depends on variables of other indices or of the predicate, one
    coordinate is counted: the elements are at least so many.
    """
    over = tuple(dict.fromkeys(i.variable for i in access.indices if isinstance(i, At)))
    tied = {*over, *(v for condition in einsum.predicate for v in variables(condition))}
    number = 1
    for rank, index in zip(cascade.tensor(access.tensor).ranks, access.indices, strict=True):
        if isinstance(index, Computed) and tied.isdisjoint(variables(index.whole)):
            found = index_values(cascade, index.whole, shapes, tables or {})
            extent = shape_of(cascade, rank, shapes)
            number *= 1 if found is None else min(len(found), extent or len(found))
            tied |= set(variables(index.whole))
    if einsum.predicate:
        kept = _distinct(cascade, einsum, over, shapes, tables or {})
        return None if kept is None else number * kept
    ranks = fold_parts(cascade, [cascade.rank_of(v) for v in over])
    extents = [shape_of(cascade, rank, shapes) for rank in ranks]
    return None if None in extents else number * prod(e for e in extents if e is not None)


def index_values(
    cascade: Cascade, whole: Whole, shapes: Mapping[str, int], given: Mapping[str, Any]
) -> npt.NDArray[np.int64] | None:
    """The values that an index takes; None when it reads what is not known, or has too many."""
    named = with_parameters(cascade, shapes)
    extents = [named.get(cascade.rank_of(v)) for v in variables(whole)]
    known = [extent for extent in extents if extent is not None]
    if len(known) < len(extents) or any(name not in named for name in names(whole)):
        return None
    if not set(tables(whole)) <= set(given) or prod(known) > MOST_VALUES:
        return None
    grid = np.meshgrid(*(np.arange(int(n)) for n in known), indexing="ij")
    at = dict(zip(variables(whole), grid, strict=True))
    return np.unique(evaluate(whole, at, named, given))


def _distinct(
    cascade: Cascade,
    einsum: Einsum,
    kept: tuple[str, ...],
    shapes: Mapping[str, int],
    given: Mapping[str, Any],
) -> int | None:
    """Combinations of the kept variables for which some point satisfies the predicate."""
    if any(table not in given for condition in einsum.predicate for table in tables(condition)):
        return None
    over = {v: cascade.rank_of(v) for v in iteration_variables(einsum)}
    conditions = list(einsum.predicate)
    chosen = set(kept)
    for root, parts in cascade.partitions:
        own = [v for part in parts for v, rank in over.items() if rank == part]
        if len(own) != len(parts):
            continue
        # Parts that stay together are counted as the rank that they make up.
        whole = all(v in chosen for v in own) or not any(v in chosen for v in own)
        joined = [joined_parts(c, own, parts, root.lower()) for c in conditions]
        if whole and root in shapes and all(set(own).isdisjoint(variables(c)) for c in joined):
            conditions = joined
            over = {v: rank for v, rank in over.items() if v not in own} | {root.lower(): root}
            if own[0] in chosen:
                chosen = chosen - set(own) | {root.lower()}
        else:
            place = split_coordinate(own, parts)
            conditions = [substitute(c, {root.lower(): place}) for c in conditions]
    extents = {v: shape_of(cascade, rank, shapes) for v, rank in over.items()}
    known = {v: extent for v, extent in extents.items() if extent is not None}
    if len(known) < len(extents):
        return None
    named = with_parameters(cascade, shapes)
    for condition in conditions:
        for name in names(condition):
            if name not in named:
                settled = shape_of(cascade, name, shapes)
                if settled is None:
                    return None
                named[name] = settled
    try:
        if given:
            return count(conditions, known, Numbers(named, given), sorted(chosen))
        items = tuple(known.items()), tuple(sorted(named.items()))
        return _counted_once(tuple(conditions), *items, tuple(sorted(chosen)))
    except AccelsimError as error:
        raise error.at(einsum.position) from None


@lru_cache(maxsize=256)
def _counted_once(
    conditions: tuple[Whole, ...],
    extents: tuple[tuple[str, int], ...],
    named: tuple[tuple[str, int], ...],
    kept: tuple[str, ...],
) -> int:
    """As `count`: Einsums of a cascade ask for the same again and again."""
    return count(conditions, dict(extents), Numbers(dict(named), {}), kept)


def operation_counts(
    cascade: Cascade, shapes: Mapping[str, int] | None, tables: Mapping[str, Any] | None = None
) -> dict[str, dict[str, dict[str, object]]]:
    """Einsum -> operation -> formula in rank shapes (and count, where shapes tell)."""
    out: dict[str, dict[str, dict[str, object]]] = {}
    for einsum in cascade.einsums:
        ranks = point_ranks(cascade, einsum)
        count = points(cascade, einsum, shapes, tables) if shapes is not None else None
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


def total_counts(
    cascade: Cascade, shapes: Mapping[str, int], tables: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """Operation -> how many in all; without those that take part in points of unknown number."""
    counted: dict[str, int] = {}
    unknown: set[str] = set()
    for einsum in cascade.einsums:
        count = points(cascade, einsum, shapes, tables)
        for operation, times in point_operations(einsum).items():
            if count is None:
                unknown.add(operation)
            else:
                counted[operation] = counted.get(operation, 0) + times * count
    return {operation: n for operation, n in sorted(counted.items()) if operation not in unknown}
