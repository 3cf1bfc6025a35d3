"""The space of a search: all mappings that its choices make, and how many they are.

A candidate is chosen in this order: a tiling; groups of Einsums that follow one another in the
cascade, each a phase; for every phase its layout (the order of its loops, which loaded tensors are
kept over which loops, slots of what is loaded), a unit for each Einsum, and a pipeline, which is

* for every unit, whether what comes to it from another unit is used a tile later (`late`);
* for every unit, whether it takes earlier tiles first in an epoch, or later ones (`newest`).

Stages and orders follow from these (pipeline.py). Loops are over ranks along which all is read and
written, outermost and in the order of the cascade, and over all parts but the innermost of ranks
that are cut: those of one iteration first, the others in any order that keeps parts in theirs.
All other ranks lie whole in the tile. A tile is kept over loops of more than one iteration.
Of spatial dimensions those are taken with which a tile takes least time (bounds.py). A tiling whose
parts do not fit together counts as one candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product
from math import prod

from accelsim.explore.search.problem import Problem, Tiling, used_parts


@dataclass(frozen=True)
class Layout:
    """loops: outermost first. keep: (tensor that is loaded, loops over which its tile stays)."""

    loops: tuple[str, ...]
    keep: tuple[tuple[str, tuple[str, ...]], ...]
    slots: int


@dataclass(frozen=True)
class Group:
    """A phase. units: of its Einsums, in their order. late, newest: sets of units, as bits."""

    einsums: tuple[str, ...]
    layout: Layout
    units: tuple[str, ...]
    late: int
    newest: int


@dataclass(frozen=True)
class Candidate:
    """tiling: number of one of the problem's."""

    tiling: int
    groups: tuple[Group, ...]


class Space:
    """The choices of a problem, each in a fixed order."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.layouts = cache(self._layouts)
        """(tiling, einsums) -> layouts"""
        sets = range(1 << len(problem.units))
        self.pipelines = tuple((late, newest) for late in sets for newest in sets)
        """(late, newest)"""

    def groups(self, first: int) -> Iterator[tuple[str, ...]]:
        """Groups of Einsums that begin with the one of that number, longest first."""
        names = self.problem.names
        shortest = len(names) if self.problem.spec.phases == "one" else first + 1
        for end in range(len(names), shortest - 1, -1):
            yield names[first:end]

    def loaded(self, einsums: tuple[str, ...]) -> tuple[str, ...]:
        """Tensors that a phase of these Einsums loads, in the order of their first use."""
        accesses = (a for name in einsums for a in self.problem.cascade.einsum(name).inputs)
        return tuple(dict.fromkeys(a.tensor for a in accesses if a.tensor not in einsums))

    def _layouts(self, tiling: int, einsums: tuple[str, ...]) -> tuple[Layout, ...]:
        cut = self.problem.tilings[tiling]
        out = []
        for loops in self._orders(cut, einsums):
            free = [(t, kept) for t in self.loaded(einsums) if (kept := self._free(cut, t, loops))]
            for chosen in product((True, False), repeat=len(free)):
                keep = tuple(one for one, stays in zip(free, chosen, strict=True) if stays)
                out += [Layout(loops, keep, slots) for slots in self.problem.spec.slots]
        return tuple(out)

    def _orders(self, cut: Tiling, einsums: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Orders of the loops of a phase."""
        problem = self.problem
        used = used_parts(problem, cut, einsums)
        if problem.spec.loops:
            yield tuple(loop for loop in problem.spec.loops if loop in used)
            return
        roots = [parts[:-1] for parts in self._cut_ranks(cut) if len(parts) > 1]
        outer = [rank for rank in problem.outer if rank in used]
        inner = [part for parts in roots for part in parts if part in used and part not in outer]
        alone = tuple(part for part in inner if cut.extents[part] == 1)
        inner = [part for part in inner if cut.extents[part] > 1]
        before = {part: parts[: parts.index(part)] for parts in roots for part in parts}
        for order in permutations(inner):
            if all(
                order.index(other) < order.index(part)
                for part in order
                for other in before[part]
                if other in order
            ):
                yield (*outer, *alone, *order)

    def _cut_ranks(self, cut: Tiling) -> list[tuple[str, ...]]:
        """Parts of every root rank that is cut, outermost first."""
        return [tuple(parts) for parts in cut.sizes.values()]

    def _free(self, cut: Tiling, tensor: str, loops: tuple[str, ...]) -> tuple[str, ...]:
        """Loops over which a tile of a tensor can be kept: not its own, outside its innermost."""
        ranks = self.problem.cascade.tensor(tensor).ranks
        own = {part for rank in ranks for part in cut.parts[rank]}
        inside = [i for i, loop in enumerate(loops) if loop in own]
        last = inside[-1] if inside else -1
        return tuple(
            loop
            for i, loop in enumerate(loops)
            if i < last and loop not in own and cut.extents[loop] > 1
        )

    def size(self) -> int:
        """How many candidates there are."""
        return sum(self.size_from(tiling, 0) for tiling in range(len(self.problem.tilings)))

    def size_from(self, tiling: int, first: int) -> int:
        """How many ways a tiling leaves for the Einsums from the one of that number on."""
        if first == 0 and self.problem.tilings[tiling].wrong is not None:
            return 1
        return self._sizes(tiling)[first]

    @cache  # noqa: B019  (a space lives as long as its search)
    def _sizes(self, tiling: int) -> list[int]:
        names = self.problem.names
        sizes = [0] * len(names) + [1]
        for first in reversed(range(len(names))):
            for group in self.groups(first):
                sizes[first] += self.size_of(tiling, group) * sizes[first + len(group)]
        return sizes

    def size_of(self, tiling: int, einsums: tuple[str, ...]) -> int:
        """How many ways a phase of these Einsums can run."""
        units = prod(len(self.problem.able[name]) for name in einsums)
        return len(self.layouts(tiling, einsums)) * units * len(self.pipelines)

    def every(self) -> Iterator[Candidate]:
        """All candidates, one after the other, but for tilings that are wrong."""
        for tiling, cut in enumerate(self.problem.tilings):
            if cut.wrong is None:
                yield from (Candidate(tiling, groups) for groups in self._from(tiling, 0))

    def _from(self, tiling: int, first: int) -> Iterator[tuple[Group, ...]]:
        if first == len(self.problem.names):
            yield ()
            return
        for einsums in self.groups(first):
            able = (self.problem.able[name] for name in einsums)
            ways = product(self.layouts(tiling, einsums), product(*able), self.pipelines)
            for layout, units, (late, newest) in ways:
                group = Group(einsums, layout, units, late, newest)
                for rest in self._from(tiling, first + len(einsums)):
                    yield (group, *rest)
