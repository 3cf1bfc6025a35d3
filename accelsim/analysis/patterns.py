"""Conditions whose comparisons tie variables in groups, though `and` and `or` tie the groups.

"An earlier block that is kept, or the same block up to the query": comparisons of blocks, and
comparisons inside of a block. Of one group each point is looked at; all that the others have to
know of it is which of its comparisons hold, its pattern.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from accelsim.analysis.pieces import Numbers
from accelsim.cascade.whole import Apply, Int, Whole, evaluate, variables

MOST_POINTS = 1 << 20
MOST_PATTERNS = 64
Held = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pattern:
    """What is left to ask of the other variables where the first group's comparisons hold so.

    points: how many of the group's points are so, in each tile of it.
    """

    conditions: tuple[Whole, ...]
    points: npt.NDArray[np.int64]


def patterns(
    conditions: Sequence[Whole],
    extents: Mapping[str, int],
    tiles: Mapping[str, int],
    numbers: Numbers,
) -> tuple[tuple[str, ...], list[Pattern]] | None:
    """A group of variables and its patterns; None where there is no such group, or too many.

    extents: of the variables of the conditions. tiles: as in space.tile_counts; the points of a
    pattern have an axis for each of the group's variables.
    """
    graph = nx.Graph()
    comparisons = list(
        dict.fromkeys(c for condition in conditions for c in _comparisons(condition))
    )
    for comparison in comparisons:
        nx.add_path(graph, variables(comparison))
    groups = [tuple(v for v in extents if v in found) for found in nx.connected_components(graph)]
    if len(groups) < 2:
        return None
    first = min(groups, key=lambda group: prod(extents[v] for v in group))
    if prod(extents[v] for v in first) > MOST_POINTS:
        return None
    own = [c for c in comparisons if set(variables(c)) <= set(first)]
    grid = np.meshgrid(*(np.arange(extents[v]) for v in first), indexing="ij")
    points = {v: axis.reshape(-1) for v, axis in zip(first, grid, strict=True)}
    held = np.stack([_held(c, points, numbers) for c in own])
    kinds, which = np.unique(held, axis=1, return_inverse=True)
    if kinds.shape[1] > MOST_PATTERNS:
        return None
    shape = [-(-extents[v] // tiles[v]) for v in first]
    tile = np.ravel_multi_index([points[v] // tiles[v] for v in first], shape)
    found = []
    for number in range(kinds.shape[1]):
        truth = {c: Int(int(t)) for c, t in zip(own, kinds[:, number], strict=True)}
        left = tuple(_replaced(condition, truth) for condition in conditions)
        here = np.bincount(tile[which.reshape(-1) == number], minlength=prod(shape))
        found.append(Pattern(left, here.reshape(shape)))
    return first, found


def _comparisons(whole: Whole) -> Iterator[Whole]:
    if isinstance(whole, Apply) and whole.operator in {"and", "or", "not"}:
        for part in whole.arguments:
            yield from _comparisons(part)
    else:
        yield whole


def _held(comparison: Whole, points: dict[str, Any], numbers: Numbers) -> Held:
    found = evaluate(comparison, points, numbers.named, numbers.tables)
    return np.broadcast_to(np.asarray(found, np.bool_), next(iter(points.values())).shape)


def _replaced(whole: Whole, truth: Mapping[Whole, Whole]) -> Whole:
    if whole in truth:
        return truth[whole]
    if isinstance(whole, Apply) and whole.operator in {"and", "or", "not"}:
        return Apply(whole.operator, tuple(_replaced(a, truth) for a in whole.arguments))
    return whole
