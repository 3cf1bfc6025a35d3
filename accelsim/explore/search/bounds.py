"""Cycles that no mapping under a node of the search can beat.

A unit serves one task at a time and a phase begins when the one before has ended, so a phase takes
at least what is bound to a unit and, on the channel to the outermost level, what is loaded and
stored. Where all units are chosen, two things are added: before its first task a unit waits for the
loads and the Einsums that this needs; after its last task come the Einsums that read what no other
Einsum of that unit reads, and the store. Work is counted with the functions that the lowering uses,
at the spatial dimensions with which a tile takes least time. No longer task makes anything earlier:
starts are maxima of ends, in an order that does not depend on them; so these are best of all.

Predicates leave tiles out and computed indices share them; with either, or where something else
than cycles is looked for, all bounds are 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import product
from math import prod

from accelsim.arch import Unit
from accelsim.cascade import Einsum
from accelsim.cascade.nodes import At, End, iteration_variables, reduced_variables
from accelsim.explore.search.problem import Problem
from accelsim.explore.search.space import Group, Layout, Space
from accelsim.mapping import Binding
from accelsim.program.lower import einsum_cycles

LESS = 1 - 1e-12
"""Sums of floats may be too large by less than that."""


class Bounds:
    """Lower bounds on cycles of the nodes of a space. Times in cycles."""

    def __init__(self, problem: Problem, space: Space) -> None:
        self.problem = problem
        self.space = space
        einsums = problem.cascade.einsums
        plain = all(isinstance(i, At | End) for e in einsums for a in e.inputs for i in a.indices)
        timed = tuple(problem.spec.objectives) == ("cycles",)
        self.holds = timed and plain and not any(e.predicate for e in einsums)
        self.work = cache(self._work)
        self.tile_cycles = cache(self._tile_cycles)
        self.elements = problem.elements
        self._tile_spatial = cache(self._best)
        self.rest = cache(self._rest)
        self.channel = cache(self._channel)
        self.order = cache(self._order)

    def spatial(self, tiling: int, name: str, unit: str) -> dict[str, list[str]]:
        """Dimension of a unit -> parts spread over it: the first way of least time for a tile."""
        return self._tile_spatial(tiling, name, unit)[1]

    def _looped(self, tiling: int) -> frozenset[str]:
        problem, cut = self.problem, self.problem.tilings[tiling]
        if problem.spec.loops:
            return frozenset(problem.spec.loops)
        inner = (part for parts in cut.sizes.values() for part in tuple(parts)[:-1])
        return frozenset({*problem.outer, *inner})

    def _parts(self, tiling: int, ranks: tuple[str, ...]) -> list[str]:
        return [part for rank in ranks for part in self.problem.tilings[tiling].parts[rank]]

    def _trips(self, tiling: int, ranks: tuple[str, ...]) -> int:
        """Iterations of all loops over some ranks."""
        extents, looped = self.problem.tilings[tiling].extents, self._looped(tiling)
        return prod(extents[part] for part in self._parts(tiling, ranks) if part in looped)

    def _best(self, tiling: int, name: str, unit: str) -> tuple[Fraction, dict[str, list[str]]]:
        problem = self.problem
        einsum, machine_unit = problem.cascade.einsum(name), problem.machine.unit(unit)
        assert machine_unit is not None
        ranks = tuple(problem.cascade.rank_of(v) for v in iteration_variables(einsum))
        extents, looped = problem.tilings[tiling].extents, self._looped(tiling)
        tile = tuple((p, extents[p]) for p in self._parts(tiling, ranks) if p not in looped)
        reduced = tuple(problem.cascade.rank_of(v) for v in reduced_variables(einsum))
        parts = tuple(self._parts(tiling, reduced))
        best: tuple[Fraction, dict[str, list[str]]] | None = None
        # Parts in one order for all Einsums: of equals, units that share tiles lay them out alike.
        spread = [p for p in extents if p in dict(tile) and extents[p] > 1]
        for spatial in _spreads(machine_unit, spread):
            cycles = einsum_cycles(_binding(einsum, machine_unit, tile, parts, spatial))
            if best is None or cycles < best[0]:
                found: dict[str, list[str]] = {}
                for dimension, part in spatial:
                    found.setdefault(dimension, []).append(part)
                best = cycles, found
        assert best is not None  # nothing spread is one way
        return best

    def _tile_cycles(self, tiling: int, name: str, unit: str) -> float:
        return float(self._tile_spatial(tiling, name, unit)[0])

    def _work(self, tiling: int, name: str, unit: str) -> float:
        """Cycles that all tiles of an Einsum keep a unit busy."""
        variables = iteration_variables(self.problem.cascade.einsum(name))
        ranks = tuple(self.problem.cascade.rank_of(v) for v in variables)
        return self._trips(tiling, ranks) * self.tile_cycles(tiling, name, unit)

    # Traffic ----------------------------------------------------------------------------------

    def tile_transfer(self, tiling: int, tensor: str) -> float:
        """Cycles to move one tile from or to the outermost level."""
        machine = self.problem.machine
        assert machine.outermost.bandwidth is not None  # arch.build asks for it
        size = self.tile_values(tiling, tensor) * machine.word_bytes
        return float(size / machine.outermost.bandwidth)

    def tile_values(self, tiling: int, tensor: str) -> int:
        """Values of one tile of a tensor."""
        ranks, looped = self.problem.cascade.tensor(tensor).ranks, self._looped(tiling)
        extents = self.problem.tilings[tiling].extents
        return prod(extents[p] for p in self._parts(tiling, ranks) if p not in looped)

    def _channel(self, tiling: int, einsums: tuple[str, ...], layout: Layout | None) -> float:
        """Cycles that loads and stores of a phase take; without a layout, each tile once."""
        problem, extents = self.problem, self.problem.tilings[tiling].extents
        total = 0.0
        for tensor in self.space.loaded(einsums):
            ranks = problem.cascade.tensor(tensor).ranks
            times = self._trips(tiling, ranks)
            if layout is not None:
                own = set(self._parts(tiling, ranks))
                kept = dict(layout.keep).get(tensor, ())
                inside = [i for i, loop in enumerate(layout.loops) if loop in own]
                outside = layout.loops[: max(inside, default=-1) + 1]
                times = prod(extents[loop] for loop in outside if loop not in kept)
            total += times * self.tile_transfer(tiling, tensor)
        for tensor in self._stored(einsums):
            ranks = self._standing(tensor)
            total += self._trips(tiling, ranks) * self.tile_transfer(tiling, tensor)
        return total

    def _stored(self, einsums: tuple[str, ...]) -> list[str]:
        """What a phase makes and others, or nobody else, read."""
        later = {
            access.tensor
            for einsum in self.problem.cascade.einsums
            if einsum.name not in einsums
            for access in einsum.inputs
        }
        outputs = {*self.problem.cascade.outputs, *later}
        return [name for name in einsums if name in outputs]

    def _standing(self, tensor: str) -> tuple[str, ...]:
        """Ranks of a tensor, without those along which it is a recurrence."""
        cascade = self.problem.cascade
        einsum = cascade.einsum(tensor)
        pairs = zip(cascade.tensor(tensor).ranks, einsum.output.indices, strict=True)
        return tuple(r for r, index in pairs if not (isinstance(index, At) and index.offset))

    # Phases -----------------------------------------------------------------------------------

    def _order(self, tiling: int, einsums: tuple[str, ...]) -> tuple[int, ...]:
        """Numbers of Einsums in the order in which units are chosen: most work first."""
        able = self.problem.able
        least = [min(self.work(tiling, name, u) for u in able[name]) for name in einsums]
        return tuple(sorted(range(len(einsums)), key=lambda i: (-least[i], i)))

    def compute(self, tiling: int, einsums: tuple[str, ...], chosen: tuple[str, ...]) -> float:
        """Of a phase whose first Einsums, in the order of `_order`, have their units."""
        order, able = self.order(tiling, einsums), self.problem.able
        busy = dict.fromkeys(self.elements, 0.0)
        for number, unit in zip(order, chosen, strict=False):
            busy[unit] += self.work(tiling, einsums[number], unit)
        whole = sum(self.elements[unit] * cycles for unit, cycles in busy.items())
        for number in order[len(chosen) :]:
            name = einsums[number]
            whole += min(self.elements[u] * self.work(tiling, name, u) for u in able[name])
            if len(able[name]) == 1:
                busy[able[name][0]] += self.work(tiling, name, able[name][0])
        return max(*busy.values(), whole / sum(self.elements[u] for u in self.problem.units))

    def phase(
        self,
        tiling: int,
        einsums: tuple[str, ...],
        layout: Layout | None = None,
        chosen: tuple[str, ...] = (),
    ) -> float:
        """Of a phase with what is decided of it: layout, units of its first Einsums by `_order`."""
        if not self.holds:
            return 0.0
        channel = self.channel(tiling, einsums, layout)
        if len(chosen) == len(einsums):
            return max(channel, self._with_ends(tiling, einsums, chosen)) * LESS
        return max(channel, self.compute(tiling, einsums, chosen)) * LESS

    def _rest(self, tiling: int, first: int) -> float:
        """Of Einsums from the one of that number on, in whatever phases."""
        names = self.problem.names[first:]
        if not names or not self.holds:
            return 0.0
        outputs = [n for n in names if n in self.problem.cascade.outputs]
        channel = sum(
            self._trips(tiling, self.problem.cascade.tensor(t).ranks)
            * self.tile_transfer(tiling, t)
            for t in self.space.loaded(names)
        )
        channel += sum(
            self._trips(tiling, self._standing(t)) * self.tile_transfer(tiling, t) for t in outputs
        )
        return max(channel, self.compute(tiling, names, ())) * LESS

    def _with_ends(self, tiling: int, einsums: tuple[str, ...], chosen: tuple[str, ...]) -> float:
        """Work of each unit, with what must come before its first and after its last task."""
        cascade, order = self.problem.cascade, self.order(tiling, einsums)
        unit = {einsums[number]: u for number, u in zip(order, chosen, strict=True)}
        takes = {name: self.tile_cycles(tiling, name, unit[name]) for name in einsums}
        reads = {name: _tile_reads(cascade.einsum(name), einsums, cascade) for name in einsums}
        stored = self._stored(einsums)
        begin: dict[str, float] = {}
        loads: dict[str, frozenset[str]] = {}
        for name in einsums:
            made = reads[name]
            own = {a.tensor for a in cascade.einsum(name).inputs if a.tensor not in einsums}
            loads[name] = frozenset(own).union(*(loads[other] for other in made))
            waits = sum(self.tile_transfer(tiling, tensor) for tensor in loads[name])
            begin[name] = max([waits, *(begin[other] + takes[other] for other in made)])
        tail: dict[str, float] = {}
        behind: dict[str, set[str]] = {}
        for name in reversed(einsums):
            after = [other for other in einsums if name in reads[other]]
            stores = self.tile_transfer(tiling, name) if name in stored else 0.0
            tail[name] = max([stores, *(takes[other] + tail[other] for other in after)])
            behind[name] = {u for other in after for u in (unit[other], *behind[other])}
        most = 0.0
        for used in set(unit.values()):
            own_names = [name for name in einsums if unit[name] == used]
            ends = [tail[name] for name in own_names if used not in behind[name]]
            busy = sum(self.work(tiling, name, used) for name in own_names)
            most = max(most, min(begin[name] for name in own_names) + busy + min(ends))
        return most


def _tile_reads(einsum: Einsum, einsums: tuple[str, ...], cascade: object) -> list[str]:
    """Einsums of a phase of which one reads the value of its own tile, or of the end of a loop."""
    out = []
    for access in einsum.inputs:
        if access.tensor not in einsums:
            continue
        producer = cascade.einsum(access.tensor)  # type: ignore[attr-defined]
        pairs = zip(producer.output.indices, access.indices, strict=True)
        earlier = any(
            isinstance(w, At) and isinstance(r, At) and w.offset != r.offset for w, r in pairs
        )
        if not earlier:
            out.append(access.tensor)
    return list(dict.fromkeys(out))


def _spreads(unit: Unit, parts: list[str]) -> Iterator[tuple[tuple[str, str], ...]]:
    """All ways to spread parts of a tile over the dimensions of a unit; first: none spread."""
    names = [name for name, _ in unit.shape]
    for where in product((None, *names), repeat=len(parts)):
        yield tuple((d, p) for d, p in zip(where, parts, strict=True) if d is not None)


def _binding(
    einsum: Einsum,
    unit: Unit,
    tile: tuple[tuple[str, int], ...],
    reduced: tuple[str, ...],
    spatial: tuple[tuple[str, str], ...],
) -> Binding:
    instruction = next(iter(unit.instructions), None)
    return Binding(einsum, unit, 0, 0, (), (), (), tile, reduced, spatial, instruction=instruction)


def group_of(
    bounds: Bounds,
    tiling: int,
    einsums: tuple[str, ...],
    layout: Layout,
    chosen: tuple[str, ...],
    pipeline: tuple[int, int],
) -> Group:
    """A phase. chosen: units in the order of `_order`."""
    unit = dict(zip(bounds.order(tiling, einsums), chosen, strict=True))
    return Group(einsums, layout, tuple(unit[i] for i in range(len(einsums))), *pipeline)
