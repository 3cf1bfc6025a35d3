"""(mapping file, cascade, machine, shapes) -> Mapping: the only place that can reject a mapping.

The legality rules, each with its message:
1. every Einsum is bound once, to a unit that can do its operations, in some phase;
2. every rank is covered: what is no loop lies whole in the tile; a loop cuts some Einsum;
3. dependence: what a phase reads was made before, and nothing is fused across a pass boundary;
4. what is held fits its level (CapacityError names level, tensor, need and limit).
The order within an epoch is checked on the Program's edges (program/lower.py).
"""

from __future__ import annotations

import dataclasses
from collections import abc
from fractions import Fraction
from typing import Any

from accelsim.analysis.counts import point_operations
from accelsim.analysis.pieces import Numbers
from accelsim.arch import Instruction, Machine, Unit
from accelsim.cascade import Cascade, Einsum, with_parameters
from accelsim.cascade.nodes import iteration_variables
from accelsim.errors import CapacityError, Fault, MappingError, nearest
from accelsim.mapping import launching, place
from accelsim.mapping.all_phases import coverage, cut_alike, formats
from accelsim.mapping.depend import Nesting, dependences
from accelsim.mapping.ends import outside
from accelsim.mapping.mask import masks
from accelsim.mapping.nest import Binding, Loop, Mapping, Nest, slot_count, span
from accelsim.mapping.partition import Partition, dimension_size, partition
from accelsim.spec import Document
from accelsim.spec.mappings import MappingSpec, PhaseSpec
from accelsim.units import show_bytes


def build(
    document: Document[MappingSpec],
    cascade: Cascade,
    machine: Machine,
    shapes: dict[str, int],
    tables: abc.Mapping[str, Any] | None = None,
) -> Mapping:
    """The mapping for these shapes, parameters (those without a default must be there), tables.

    Raises MappingError (CapacityError) with all faults.
    """
    shapes = with_parameters(cascade, shapes)
    faults: list[Fault] = []
    cuts = {
        phase: partition(document, phase, cascade, machine, shapes, faults)
        for phase in document.spec.phases
    }
    faults += coverage(document, cascade)
    faults += formats(document, cascade)
    if faults:
        raise MappingError(tuple(dict.fromkeys(faults)))
    numbers = Numbers(shapes, tables or {})
    nests = tuple(
        _masked(
            document,
            cascade,
            numbers,
            cut,
            _fitting(document, cascade, machine, numbers, phase, cut),
        )
        for phase, cut in cuts.items()
    )
    faults = cut_alike(document, cascade, {nest.name: dict(nest.extents) for nest in nests})
    if faults:
        raise MappingError(faults)
    notes = [note for cut in cuts.values() for note in cut.notes]
    notes += [note for nest in nests for note in _overbooked(machine, nest)]
    notes += [note for nest in nests for note in _free_masking(nest)]
    notes += [note for nest in nests for note in launching.crowded(machine, nest)]
    return Mapping(
        document.spec.mapping,
        machine,
        cascade,
        nests,
        tuple(dict.fromkeys(notes)),
        document.source,
    )


def _masked(
    document: Document[MappingSpec],
    cascade: Cascade,
    numbers: Numbers,
    cut: Partition,
    nest: Nest,
) -> Nest:
    """The nest with what predicates leave of it."""
    faults: list[Fault] = []

    def complain(einsum: str, message: str) -> None:
        at = ("phases", nest.name, "einsums", einsum)
        faults.append(document.source.fault(at, f"{einsum}: {message}", key=True))

    found = masks(
        cascade, cut.parts, dict(nest.extents), numbers, nest.loops, nest.bindings, complain
    )
    einsums = tuple(binding.einsum for binding in nest.bindings)
    nesting = Nesting(cascade, nest.loops, cut.parts, einsums)
    named = Numbers({**numbers.named, **dict(nest.extents)}, numbers.tables)
    for mask in found:
        visited = {loop: mask.tiles[:, i] for i, loop in enumerate(mask.loops)}
        for einsum in einsums:
            for access in einsum.inputs:
                wrong = outside(nesting, access, named, visited)
                if wrong is not None and not faults:
                    complain(einsum.name, f"{access.tensor}: {wrong}")
    for mask in found if nest.launch is not None else ():
        assert nest.launch is not None  # as just said
        none = mask.missing(tuple(range(nest.launch.grid)), nest.loops)
        if none is not None:
            message = f"the mask leaves nothing of instance {none}, which a launch has all the same"
            complain(nest.bindings[0].einsum.name, message)
            break
    for mask in found:
        carried = [
            dep
            for dep in nest.dependences
            if dep.kind == "carried"
            and dep.loop in mask.loops
            and set(dep.matched) & set(mask.loops)
        ]
        leaping = {loop for loop in {dep.loop for dep in carried} if mask.leaps(loop)}
        for dep in (dep for dep in carried if dep.loop in leaping):
            loops = [nest.loops[i].rank for i in (dep.loop, *dep.matched)]
            message = (
                f"a tile of {', '.join(loops[1:])} is left out by the mask and visited again "
                f"later in {loops[0]}: put the loop over {loops[0]} inside"
            )
            complain(dep.consumer, message)
            break
    for placement in (p for p in nest.placements if p.role == "load"):
        loop, inside = span(placement.iterated)
        if any(mask.varies(loop, inside) for mask in found):
            names = ", ".join(nest.loops[i].rank for i in inside)
            message = (
                f"{placement.tensor}: iterations of {nest.loops[loop].rank}, in each of which the "
                f"tiles of {names} for the next are loaded, do not visit the same: the mask differs"
            )
            at = ("phases", nest.name, "storage", placement.tensor)
            faults.append(document.source.fault(at, message, key=True))
    if faults:
        raise MappingError(faults)
    return dataclasses.replace(nest, masks=found)


def _free_masking(nest: Nest) -> list[str]:
    """Units on which tiles that a predicate leaves in part cost no more than whole ones."""
    units = {nest.binding(by).unit for m in nest.masks if m.partial.any() for _, by in m.done}
    return [
        f"{unit.name} declares no operation mask: leaving points out of a tile costs nothing"
        for unit in units
        if unit.operation("mask") is None
    ]


def _overbooked(machine: Machine, nest: Nest) -> list[str]:
    """What the mapping leaves out of a capacity that would not hold it."""
    notes = []
    for level in machine.levels[1:]:
        held = [p for p in nest.placements if p.level is level]
        sizes = [p.tile_bytes * slot_count(p, nest.loops) for p in held]
        names = [p.tensor for p in held if p.overbook]
        need = sum(sizes, Fraction(0))
        if names and level.capacity_bytes is not None and need > level.capacity_bytes:
            notes.append(
                f"overbooked by the mapping: phase {nest.name} has {show_bytes(need)} in "
                f"{level.name} of {show_bytes(level.capacity_bytes)} ({', '.join(names)})"
            )
    return notes


def _fitting(
    document: Document[MappingSpec],
    cascade: Cascade,
    machine: Machine,
    numbers: Numbers,
    phase: str,
    cut: Partition,
) -> Nest:
    """The nest of a phase with the largest fitted part that the levels can hold."""
    home = {einsum: name for name, spec in document.spec.phases.items() for einsum in spec.einsums}
    spec = document.spec.phases[phase]
    over: CapacityError | None = None
    for extents in cut.candidates():
        builder = _Builder(document, cascade, machine, numbers, cut, extents, home, phase, spec)
        nest = builder.nest()
        over = _over_capacity(document, machine, nest, cut)
        if over is None:
            return builder.settled(nest)
    assert over is not None  # there is always a candidate
    raise over


class _Builder:
    """Builds one nest; raises MappingError with all faults of a stage of it."""

    def __init__(
        self,
        document: Document[MappingSpec],
        cascade: Cascade,
        machine: Machine,
        numbers: Numbers,
        cut: Partition,
        extents: dict[str, int],
        home: dict[str, str],
        name: str,
        spec: PhaseSpec,
    ) -> None:
        self.document = document
        self.source = document.source
        self.cascade = cascade
        self.machine = machine
        self.numbers = numbers
        self.cut = cut
        self.extents = extents
        self.home = home
        self.name = name
        self.spec = spec
        self.at = ("phases", name)
        self.faults: list[Fault] = []

    def nest(self) -> Nest:
        loops = self._loops()
        self._stop()
        einsums = [self.cascade.einsum(name) for name in self.spec.einsums]
        launch = launching.launch(self.spec.launch, loops, self._fault_at_value)
        self._stop()
        grid = launch.grid if launch is not None else 0
        nesting = Nesting(self.cascade, loops, self.cut.parts, tuple(einsums), grid)
        self.stages = self._stages(loops)
        self._stop()
        edges, first, last = dependences(nesting, self.stages, self._fault_at_einsum)
        self._stop()
        bindings = tuple(self._binding(e, nesting, first, last) for e in einsums)
        if launch is not None:
            bindings = launching.with_threads(launch, bindings, nesting, self._fault_at)
        self._stop()
        placements = place.placements(
            self.cascade,
            self.machine,
            nesting,
            self.extents,
            self.numbers,
            self.home,
            self.name,
            self.spec,
            self.document.spec,
            self._fault_at,
        )
        self._stop()
        serial, beside = self._serial(loops)
        self._stop()
        sizes = tuple(self.extents.items())
        return Nest(
            self.name,
            loops,
            bindings,
            placements,
            edges,
            serial,
            beside,
            sizes,
            tuple(self.cut.parts.items()),
            launch=launch,
        )

    def settled(self, nest: Nest) -> Nest:
        """The nest with as many instances on a cluster as there are to be."""
        if nest.launch is None:
            return nest
        most = launching.fitting_instances(self.machine, nest.launch, nest.placements, nest.loops)
        launch = launching.resident(nest.launch, self.spec.launch, most, self._fault_at)
        self._stop()
        return dataclasses.replace(nest, launch=launch)

    def _stages(self, loops: tuple[Loop, ...]) -> dict[str, int]:
        """Epochs by which each Einsum is behind the first stage."""
        ranks = [loop.rank for loop in loops]
        out = {}
        for name, spec in self.spec.einsums.items():
            epochs = place.steps(spec.stage, ranks, loops)
            if epochs is None:
                message = f"{name}.stage: expected loops of this phase: {', '.join(ranks)}"
                self._fault_at(("einsums", name, "stage"), message)
            out[name] = epochs or 0
        return out

    def _stop(self) -> None:
        if self.faults:
            raise MappingError(self.faults)

    def _fault_at(
        self,
        path: tuple[str | int, ...],
        message: str,
        *,
        known: list[str] | None = None,
        help: tuple[str, ...] = (),
    ) -> None:
        help = help or (nearest(str(path[-1]), known) if known else ())
        self.faults.append(self.source.fault((*self.at, *path), message, help=help, key=True))

    def _fault_at_value(self, path: tuple[str | int, ...], message: str) -> None:
        self.faults.append(self.source.fault((*self.at, *path), message))

    def _fault_at_einsum(self, einsum: str, message: str, help: tuple[str, ...] = ()) -> None:
        self._fault_at(("einsums", einsum), message, help=help)

    def _loops(self) -> tuple[Loop, ...]:
        """Rule 2: loops name parts, once each, and cut something."""
        used = {
            part
            for name in self.spec.einsums
            for variable in iteration_variables(self.cascade.einsum(name))
            for part in self.cut.parts[self.cascade.rank_of(variable)]
        }
        loops = []
        for index, rank in enumerate(self.spec.loops):
            place_ = (*self.at, "loops", index)
            if rank not in self.extents:
                message = f"loop over unknown rank {rank}"
                for root, parts in self.cut.parts.items():
                    if rank == root and parts != (root,):
                        message = f"{rank} is cut into {', '.join(parts)}: loop over these"
                help = nearest(rank, self.extents)
                self.faults.append(self.source.fault(place_, message, help=help))
            elif rank in self.spec.loops[:index]:
                self.faults.append(self.source.fault(place_, f"{rank} is looped over twice"))
            elif rank not in used:
                message = f"no Einsum of this phase has rank {rank}: the loop would repeat work"
                self.faults.append(self.source.fault(place_, message))
            else:
                loops.append(Loop(rank, self.extents[rank]))
        if not self.spec.loops:
            message = "expected at least one loop; a rank of one coordinate will do"
            self.faults.append(self.source.fault((*self.at, "loops"), message))
        looped = set(self.spec.loops)
        for parts in self.cut.parts.values():
            inside = [part for part in parts if part not in looped and part in used]
            if not self.faults and inside and parts[-len(inside) :] != tuple(inside):
                message = f"rank not covered: {inside[0]} is no loop, yet a part inside it is"
                self.faults.append(self.source.fault((*self.at, "loops"), message))
            if not self.faults and len(inside) > 1 and len(parts) > 1:
                message = f"rank not covered: loops leave out {', '.join(inside[:-1])}"
                self.faults.append(self.source.fault((*self.at, "loops"), message))
        return tuple(loops)

    def _binding(
        self,
        einsum: Einsum,
        nesting: Nesting,
        first: dict[str, tuple[int, ...]],
        last: dict[str, tuple[int, ...]],
    ) -> Binding:
        """Rule 1: the unit exists, can do the operations, and has the dimensions asked for."""
        spec = self.spec.einsums[einsum.name]
        at = ("einsums", einsum.name)
        unit = self.machine.unit(spec.unit)
        if unit is None:
            known = [u.name for u in self.machine.units]
            message = f"{self.machine.name} has no unit {spec.unit!r}"
            help = nearest(spec.unit, known)
            self.faults.append(self.source.fault((*self.at, *at, "unit"), message, help=help))
            spec, unit = spec.model_copy(update={"spatial": {}}), self.machine.units[0]
        else:
            for operation in point_operations(einsum):
                if unit.operation(operation) is None:
                    can = ", ".join(op.name for op in unit.operations)
                    message = f"{unit.name} cannot do {operation}, which {einsum.name} needs"
                    fault = self.source.fault(
                        (*self.at, *at, "unit"), message, help=(f"it can do: {can}",)
                    )
                    self.faults.append(fault)
        tile = nesting.tile(einsum)
        taken: list[str] = []
        spatial = [
            (dimension, rank)
            for dimension, ranks in spec.spatial.items()
            for rank in ([ranks] if isinstance(ranks, str) else ranks)
        ]
        for dimension, rank in spatial:
            path: tuple[str | int, ...] = (*self.at, *at, "spatial", dimension)
            if dimension not in dict(unit.shape):
                known_dims = [name for name, _ in unit.shape]
                message = f"{unit.name} has no dimension {dimension!r}"
                help = nearest(dimension, known_dims)
                self.faults.append(self.source.fault(path, message, help=help, key=True))
            if rank not in tile or rank in taken:
                message = (
                    f"{rank} is not in the tile of {einsum.name} ({', '.join(tile) or 'none'})"
                )
                self.faults.append(self.source.fault(path, message, help=nearest(rank, tile)))
            taken.append(rank)
        drain = 0
        try:
            drain = dimension_size(spec.drain, self.machine)
        except ValueError as error:
            self.faults.append(self.source.fault((*self.at, *at, "drain"), f"drain: {error}"))
        return Binding(
            einsum=einsum,
            unit=unit,
            stage=self.stages[einsum.name],
            drain=drain,
            iterated=nesting.iterated(einsum),
            first=first[einsum.name],
            last=last[einsum.name],
            tile=tuple((part, self.extents[part]) for part in tile),
            reduced=nesting.reduced_parts(einsum),
            spatial=tuple(spatial),
            copies=spec.copies,
            instruction=self._instruction(einsum, spec.instruction, unit),
            place=self.source.fault((*self.at, *at), "", key=True),
        )

    def _instruction(self, einsum: Einsum, name: str | None, unit: Unit) -> Instruction | None:
        if name is None:
            return next(iter(unit.instructions), None)
        known = {one.name: one for one in unit.instructions}
        if name not in known:
            path = (*self.at, "einsums", einsum.name, "instruction")
            message = f"{unit.name} has no instruction {name!r}"
            self.faults.append(self.source.fault(path, message, help=nearest(name, known)))
        return known.get(name)

    def _serial(self, loops: tuple[Loop, ...]) -> tuple[int | None, tuple[str, ...]]:
        spec = self.spec.serial
        if spec is None:
            return None, ()
        ranks = [loop.rank for loop in loops]
        if spec.loop not in ranks:
            message = f"serial: {spec.loop} is no loop of this phase"
            path = (*self.at, "serial", "loop")
            self.faults.append(self.source.fault(path, message, help=nearest(spec.loop, ranks)))
            return None, ()
        for index, name in enumerate(spec.beside):
            if name not in self.spec.einsums:
                entry = (*self.at, "serial", "beside", index)
                help = nearest(name, self.spec.einsums)
                message = f"serial: {name} is no Einsum of this phase"
                self.faults.append(self.source.fault(entry, message, help=help))
        return ranks.index(spec.loop), tuple(spec.beside)


def _over_capacity(
    document: Document[MappingSpec], machine: Machine, nest: Nest, cut: Partition
) -> CapacityError | None:
    """Rule 4. The fault names the tensor that takes most of the level that overflows."""
    for level in machine.levels[1:]:
        held = [
            (p.tile_bytes * slot_count(p, nest.loops), p.tensor)
            for p in nest.placements
            if p.level is level and not p.overbook
        ]
        need = sum((size for size, _ in held), Fraction(0))
        if level.capacity_bytes is None:
            continue
        fitted = cut.fit is not None and cut.fit.level == level.name
        share = cut.fit.share if fitted and cut.fit else Fraction(1)
        if need <= level.capacity_bytes * share:
            continue
        largest, tensor = max(held)
        of_it = f", {share} of it to be used" if share < 1 else ""
        message = (
            f"{level.name} holds {show_bytes(level.capacity_bytes)}{of_it}, but phase {nest.name} "
            f"needs {show_bytes(need)} of it; {tensor} takes most, {show_bytes(largest)}"
        )
        at = ("phases", nest.name, "storage", tensor)
        help = (f"give {tensor} fewer slots, cut its ranks into smaller parts, or loop over more",)
        return CapacityError(document.source.fault(at, message, help=help, key=True))
    return None
