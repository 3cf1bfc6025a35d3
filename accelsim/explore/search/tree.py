"""The tree of decisions, walked best bound first.

A node is a candidate of which the first decisions are made. Its bound is no more than the cycles
of any candidate under it. Nodes are taken in the order of (bound, place), so the walk is the same
every time. Under the nodes that are left when no bound is below the best nothing is ever looked at.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from accelsim.explore.search.bounds import Bounds, group_of
from accelsim.explore.search.space import Candidate, Group, Layout, Space


@dataclass(frozen=True)
class Node:
    """groups: phases that are decided. fixed: bound of these. open: Einsums of the next one, or
    none; chosen: their first units."""

    tiling: int
    groups: tuple[Group, ...] = ()
    fixed: float = 0.0
    open: tuple[str, ...] = ()
    layout: Layout | None = None
    chosen: tuple[str, ...] = ()

    @property
    def done(self) -> int:
        """Einsums in phases that are decided, and in the open one."""
        return sum(len(group.einsums) for group in self.groups) + len(self.open)


Place = tuple[int, ...]
Entry = tuple[float, Place, Node]


class Tree:
    """All nodes that are not yet looked at, of a space."""

    def __init__(self, space: Space, bounds: Bounds) -> None:
        self.space = space
        self.bounds = bounds
        self.made = 0
        self.last = 0.0
        """Bound of the last candidate that was given out."""
        self._heap: list[Entry] = []
        for tiling, cut in enumerate(space.problem.tilings):
            if cut.wrong is None:
                self._heap.append((bounds.rest(tiling, 0), (tiling,), Node(tiling)))
        heapq.heapify(self._heap)

    @property
    def least(self) -> float:
        """No candidate that is not yet looked at takes fewer cycles."""
        return self._heap[0][0] if self._heap else float("inf")

    def settled(self, below: float) -> bool:
        """Whether no node is left with a bound below that."""
        return not self._heap or self._heap[0][0] >= below

    def leaves(
        self, most: int, below: float, nodes: int, over: Callable[[], bool]
    ) -> list[Candidate]:
        """The next candidates, up to so many, of which all is decided but the last pipeline.

        below: a bound of that or more is of no use. nodes: that may be made, in all. over: asked
        at each node, whether the walk ends here; what it would have looked at next is left.
        """
        out: list[Candidate] = []
        while len(out) < most and self.made < nodes and not self.settled(below) and not over():
            bound, place, node = heapq.heappop(self._heap)
            if self._is_leaf(node):
                out.append(self._candidate(node))
                self.last = bound
                continue
            entries: list[Entry] = []
            for number, (child, child_bound) in enumerate(self._children(node)):
                entries.append((max(bound, child_bound), (*place, number), child))
                if over():
                    heapq.heappush(self._heap, (bound, place, node))
                    return out
            for entry in entries:
                heapq.heappush(self._heap, entry)
            self.made += len(entries)
        return out

    def _is_leaf(self, node: Node) -> bool:
        whole = node.done == len(self.space.problem.names)
        return whole and bool(node.open) and len(node.chosen) == len(node.open)

    def _candidate(self, node: Node) -> Candidate:
        assert node.layout is not None  # it is a leaf
        last = group_of(self.bounds, node.tiling, node.open, node.layout, node.chosen, (0, 0))
        return Candidate(node.tiling, (*node.groups, last))

    def _children(self, node: Node) -> Iterator[tuple[Node, float]]:
        tiling, bounds = node.tiling, self.bounds
        if not node.open:
            for einsums in self.space.groups(node.done):
                left = bounds.rest(tiling, node.done + len(einsums))
                own = bounds.phase(tiling, einsums)
                child = Node(tiling, node.groups, node.fixed, einsums)
                yield child, node.fixed + own + left
            return
        left = bounds.rest(tiling, node.done)
        if node.layout is None:
            for layout in self.space.layouts(tiling, node.open):
                own = bounds.phase(tiling, node.open, layout)
                child = Node(tiling, node.groups, node.fixed, node.open, layout)
                yield child, node.fixed + own + left
        elif len(node.chosen) < len(node.open):
            number = bounds.order(tiling, node.open)[len(node.chosen)]
            for unit in self.space.problem.able[node.open[number]]:
                chosen = (*node.chosen, unit)
                own = bounds.phase(tiling, node.open, node.layout, chosen)
                child = Node(tiling, node.groups, node.fixed, node.open, node.layout, chosen)
                yield child, node.fixed + own + left
        else:
            own = bounds.phase(tiling, node.open, node.layout, node.chosen)
            for pipeline in self.space.pipelines:
                last = group_of(bounds, tiling, node.open, node.layout, node.chosen, pipeline)
                groups = (*node.groups, last)
                yield Node(tiling, groups, node.fixed + own), node.fixed + own + left
