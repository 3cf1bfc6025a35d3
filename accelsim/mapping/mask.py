"""Which tiles of a nest the predicates of its Einsums leave, and which of them only in part.

A tile that no point of the predicates meets is left out for every Einsum of the nest, where what an
Einsum without a predicate would do there changes nothing (idle.py). Parts that a predicate ties
must stand in the nest as loops outside and tiles inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from accelsim.analysis.pieces import Numbers
from accelsim.analysis.space import components, count, settled_conditions, tile_counts
from accelsim.cascade import Cascade, Einsum
from accelsim.cascade.nodes import At, iteration_variables, reduced_variables
from accelsim.cascade.whole import Int as Number
from accelsim.cascade.whole import (
    Variable,
    Whole,
    joined_parts,
    substitute,
    variables,
)
from accelsim.errors import AccelsimError
from accelsim.mapping.depend import Complain
from accelsim.mapping.idle import not_idle
from accelsim.mapping.nest import Binding, Int, Loop, Mask


def masks(
    cascade: Cascade,
    parts: Mapping[str, tuple[str, ...]],
    extents: Mapping[str, int],
    numbers: Numbers,
    loops: tuple[Loop, ...],
    bindings: tuple[Binding, ...],
    complain: Complain,
) -> tuple[Mask, ...]:
    """The masks of a nest, one for each group of ranks that predicates tie.

    parts: rank of the cascade -> its parts here. extents: of parts. numbers: shapes of ranks,
    parameters and tables. complain: called with an Einsum and what is wrong with its predicate.
    """
    under = [b.einsum for b in bindings if b.einsum.predicate]
    if not under:
        return ()
    predicates = {whole_ranks(cascade, einsum): einsum for einsum in under}
    if len(predicates) > 1:
        one, other = list(predicates.values())[:2]
        complain(other.name, f"its predicate is not that of {one.name}, in the same phase")
        return ()
    conditions, einsum = next(iter(predicates.items()))
    own = {e.name for e in under}
    sources = [e.name for e in under if not any(a.tensor in own for a in e.inputs)]
    done = tuple((name, _selects(name, bindings)) for name in sources)
    named = {**numbers.named, **extents}
    numbers = Numbers(named, numbers.tables)
    missing = numbers.missing(conditions)
    if missing is not None:
        complain(einsum.name, f"its predicate needs {missing}, which the workload does not give")
        return ()
    wanted = [c for c in settled_conditions(conditions, numbers) if c != Number(1)]
    if Number(0) in wanted:
        complain(einsum.name, "its predicate leaves nothing")
        return ()
    found = []
    for group, together in components(wanted):
        try:
            place = _Group(cascade, parts, extents, numbers, loops, group)
            mask = place.mask(together, done)
        except AccelsimError as error:
            complain(einsum.name, error.faults[0].message)
            return ()
        left_out = set()
        for binding in bindings:
            over = {loops[i].rank for i in binding.iterated} | {part for part, _ in binding.tile}
            if all(over & own for own in place.parts):
                left_out.add(binding.einsum.name)
                continue
            tile = mask.missing(binding.iterated, loops)
            if tile is not None:
                message = f"its predicate leaves nothing of tile {tile}, which"
                complain(einsum.name, f"{message} {binding.einsum.name} is to make")
                return ()
        empty = place.without_a_point(together, under)
        if empty is not None:
            complain(*empty)
            return ()
        if len(mask.tiles) < prod(loops[i].trips for i in mask.loops):
            skipped = [e for e in cascade.einsums if e.name in left_out]
            fault = not_idle(cascade, skipped, group)
            if fault is not None:
                message = "the mask leaves out tiles in which it has something to do"
                complain(fault[0], f"{message}: {fault[1]}")
                return ()
        found.append(mask)
    return tuple(found)


def _selects(name: str, bindings: tuple[Binding, ...]) -> str:
    """The Einsum whose unit leaves points of a tensor out: its own, or the first reader's."""
    readers = [b for b in bindings if any(a.tensor == name for a in b.einsum.inputs)]
    own = [b for b in bindings if b.einsum.name == name]
    able = (b.einsum.name for b in (*own, *readers) if b.unit.operation("mask") is not None)
    return next(able, name)


def whole_ranks(cascade: Cascade, einsum: Einsum) -> tuple[Whole, ...]:
    """Its conditions, with m for M0*m1 + m0 wherever that can be."""
    over = iteration_variables(einsum)
    conditions = einsum.predicate
    for root, cut in cascade.partitions:
        own = [v for part in cut for v in over if cascade.rank_of(v) == part]
        if len(own) == len(cut):
            joined = tuple(joined_parts(c, own, cut, root.lower()) for c in conditions)
            if all(set(own).isdisjoint(variables(c)) for c in joined):
                conditions = joined
    # Rank variables under their rank's own name: two Einsums may call them differently.
    named = {v: Variable(cascade.rank_of(v).lower()) for v in over}
    return tuple(substitute(c, named) for c in conditions)


def _moving(cascade: Cascade, einsum: Einsum) -> set[str]:
    """The rank along which an Einsum is a recurrence, if it is one."""
    ranks = cascade.tensor(einsum.name).ranks
    indices = zip(ranks, einsum.output.indices, strict=True)
    return {rank for rank, index in indices if isinstance(index, At) and index.offset}


class _Group:
    """Rank variables that conditions tie, and where they are in the nest."""

    def __init__(
        self,
        cascade: Cascade,
        parts: Mapping[str, tuple[str, ...]],
        extents: Mapping[str, int],
        numbers: Numbers,
        loops: tuple[Loop, ...],
        group: tuple[str, ...],
    ) -> None:
        self.cascade = cascade
        self.loops = loops
        self.numbers = numbers
        ranks = {
            r.lower(): r for r in (*cascade.ranks, *(p for _, c in cascade.partitions for p in c))
        }
        looped = {loop.rank: i for i, loop in enumerate(loops)}
        self.of: dict[str, list[int]] = {}
        self.tile: dict[str, int] = {}
        self.extent: dict[str, int] = {}
        self.parts: list[set[str]] = []
        for variable in group:
            rank = ranks[variable]
            own = [p for part in cascade.parts(rank) for p in parts[part]]
            inside = [p for p in own if p not in looped]
            if len(inside) < len(own):
                self.parts.append(set(own))
            if own[: len(own) - len(inside)] != [p for p in own if p in looped]:
                raise AccelsimError(f"its predicate ties {rank}, whose loops are inside its tile")
            self.of[variable] = [looped[p] for p in own if p in looped]
            self.tile[variable] = prod(extents[p] for p in inside)
            whole = prod(extents[p] for p in own)
            self.extent[variable] = min(numbers.named.get(rank, whole), whole)

    def without_a_point(
        self, conditions: list[Whole], under: list[Einsum]
    ) -> tuple[str, str] | None:
        """A maximum or minimum that is of nothing somewhere, and what to say of it."""
        for einsum in (e for e in under if e.reduce in {"max", "min"}):
            readers = [
                r for r in self.cascade.einsums if any(a.tensor == einsum.name for a in r.inputs)
            ]
            if all(reader.predicate for reader in readers):
                continue  # which may leave the same out
            gone = {self.cascade.rank_of(v) for v in reduced_variables(einsum)}
            # A recurrence goes on to the next, and where there is none its tile is left out.
            gone |= {rank for reader in readers for rank in _moving(self.cascade, reader)}
            gone = {rank.lower() for r in gone for rank in (r, self.cascade.root(r))}
            kept = [v for v in self.extent if v not in gone]
            if not kept:
                continue
            # Over all tiles: parts of what is reduced may be looped over.
            every = prod(self.extent[v] for v in kept)
            try:
                found = count(conditions, self.extent, self.numbers, kept)
            except AccelsimError:
                continue  # too much to look at; no tile of them is empty, which is known
            if found < every:
                of = f"{every - found:,} of {every:,} coordinates of {', '.join(kept)}"
                return einsum.name, f"its predicate leaves nothing at {of}"
        return None

    def mask(self, conditions: list[Whole], done: tuple[tuple[str, str], ...]) -> Mask:
        counts = tile_counts(conditions, self.extent, self.tile, self.numbers)
        full: Int = np.ones((), np.int64)
        for axis, (variable, size) in enumerate(self.tile.items()):
            begins = np.arange(counts.shape[axis]) * size
            here = np.minimum(size, self.extent[variable] - begins)
            full = full * here.reshape([-1 if a == axis else 1 for a in range(counts.ndim)])
        # An axis per loop, in the order of the nest: what is found is in the order of visits.
        loops = [loop for own in self.of.values() for loop in own]
        trips = [self.loops[loop].trips for loop in loops]
        kept = (counts > 0).reshape(trips).transpose(np.argsort(loops))
        cut = (counts < full).reshape(trips).transpose(np.argsort(loops))
        tiles, partial = np.argwhere(kept), cut[kept]
        if not len(tiles):
            raise AccelsimError("its predicate leaves nothing")
        points = int(counts.sum()), prod(self.extent.values())
        return Mask(tuple(sorted(loops)), tiles, partial, done, points)
