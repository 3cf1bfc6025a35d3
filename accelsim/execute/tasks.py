"""The tasks of a phase, or of an instance of a launch, each done on its tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from accelsim import mapping
from accelsim.analysis.counts import point_operations
from accelsim.arch import Machine
from accelsim.cascade import Cascade
from accelsim.cascade.nodes import Access, At, End, looked_up
from accelsim.cascade.overflow import Overflow
from accelsim.cascade.points import APPLY, Array, Grid, Mask, Points
from accelsim.errors import AccelsimError, Fault
from accelsim.execute.counts import Tally
from accelsim.execute.formats import beyond, rounded
from accelsim.execute.held import Held
from accelsim.execute.memory import Memory
from accelsim.execute.nest import Places
from accelsim.execute.tiles import BrokenProgramError, Tile, multiplied, read
from accelsim.execute.written import MADE, Formats, inner
from accelsim.mapping import Placement
from accelsim.program import Phase, Task

Progress = Callable[[float], None]
EPOCHS_PER_REPORT = 16


@dataclass(frozen=True)
class Bench:
    """What all phases share. cascade: with conditions at the ends of ranks."""

    machine: Machine
    cascade: Cascade
    points: Points
    memory: Memory
    tally: Tally
    formats: Formats

    def rounded(self, values: Array, tensor: str, place: str) -> Array:
        """Values of a tile as they are in a place; what has no room there is kept in mind.

        Raises AccelsimError: infinities as wholes.
        """
        overflows, written = self.points.overflows, self.formats.of(tensor, place)
        try:
            found = rounded(values, written)
        except AccelsimError as error:
            message = f"{tensor}: {error.faults[0].message}"
            raise AccelsimError(Fault(message, help=tuple(overflows.infinite))) from None
        worst = beyond(values, found, written)
        if worst is not None:
            overflows.add(Overflow(tensor, written.name, written.largest, *worst))
        return found


class Tasks:
    """One phase, or one instance of a launch, at some coordinates of its grid."""

    def __init__(
        self, bench: Bench, nest: mapping.Nest, phase: Phase, grid: tuple[int, ...]
    ) -> None:
        self.bench, self.nest, self.phase = bench, nest, phase
        self.held = Held(phase, grid)
        self.places = Places(nest, bench.cascade, bench.points, bench.memory.shapes)
        self.placements = {p.tensor: p for p in nest.placements}
        self.bindings = {b.einsum.name: b for b in nest.bindings}
        self.lags = {task.name: task.lag for task in phase.tasks}
        self.reads = {
            access.tensor: access
            for binding in reversed(nest.bindings)
            for access in reversed(bench.cascade.einsum(binding.einsum.name).inputs)
        }
        self.tables = {
            name: [self.placements[t] for t in looked_up(b.einsum) if t in self.placements]
            for name, b in self.bindings.items()
        }
        self.fetched: dict[tuple[str, int], int] = {}
        self.made_values: dict[str, int] = {}

    def run(self, progress: Progress | None) -> None:
        """All tasks, in program order. progress: called with the share done."""
        ahead = {
            task.name: self.held.following(self.placements[task.tensor])
            for task in self.phase.tasks
            if task.name == f"load {task.tensor} ahead"
        }
        every = self.held.every
        epochs = len(every) + max((task.lag for task in self.phase.tasks), default=0)
        for epoch in range(epochs):
            for task in self.phase.tasks:
                number = epoch - task.lag
                if not 0 <= number < len(every):
                    continue
                tile = every[number]
                if task.guard.holds(tile.is_first, tile.is_last, tile.marks):
                    of = ahead[task.name][number] if task.name in ahead else number
                    self._do(task, of)
            if progress is not None and epoch % EPOCHS_PER_REPORT == 0:
                progress(epoch / epochs)

    def _do(self, task: Task, number: int) -> None:
        """A task on the tile of an iteration."""
        placement = self.placements[task.tensor]
        match task.name.split(" ")[0]:
            case name if name == task.tensor:
                self._einsum(task, number)
            case "mask":
                self._mask(task)
            case "load":
                self._load(placement, number)
            case "store":
                self._store(placement, number)
            case "refill":
                self._refill(placement, number)
            case "spill":
                self._spill(placement, number)

    # Transfers --------------------------------------------------------------------------------

    def _load(self, placement: Placement, number: int) -> None:
        tensor, at = placement.tensor, self.held.at(number)
        outermost = self.bench.machine.outermost.name
        if tensor in self.reads:
            ranks = self.bench.cascade.tensor(tensor).ranks
            found = self.bench.memory.take(tensor, self.places.of(self.reads[tensor], ranks, at))
            clips = self._clips(placement, number)
            brought = found.values[clips]
            if tensor in self.bench.cascade.inputs:
                runs = all(isinstance(begin, int) for begin in found.at)
                if placement.ends and runs and np.isnan(brought).any():
                    raise BrokenProgramError(f"{tensor}: more than there is moves at {at}")
                brought = self.bench.rounded(brought, tensor, outermost)
            brought = self.bench.rounded(brought, tensor, inner(placement))
            values = np.full(found.values.shape, np.nan)
            values[clips] = brought
            tile = Tile(values, found.at)
        else:
            # An entry of a table, which is looked up where its coordinates are.
            brought = np.zeros(())
            tile = Tile(brought, ())
        self._outer(placement, "read", tile, brought.size)
        self._inner(placement, "write", tile)
        self.held.put(placement, number, tile, tile)

    def _store(self, placement: Placement, number: int) -> None:
        tile = self.held.get(placement, number).tile
        self._inner(placement, "read", tile)
        clips = self._clips(placement, number)
        moving = self._as_outside(placement, tile.values[clips])
        self.bench.memory.put(placement.tensor, Tile(moving, tile.at))
        self._outer(placement, "write", tile, moving.size)

    def _refill(self, placement: Placement, number: int) -> None:
        """Back from the outermost level: all of it, or the share that has no room."""
        if placement.off_chip:
            self.held.bring_back(placement, number)
        self._share(placement, "read", number)

    def _spill(self, placement: Placement, number: int) -> None:
        self._share(placement, "write", number)
        if placement.off_chip:
            tile = self.held.get(placement, number).tile
            outside = Tile(self._as_outside(placement, tile.values), tile.at)
            self.held.send_away(placement, number, outside)

    def _share(self, placement: Placement, action: str, number: int) -> None:
        tile = self.held.get(placement, number).tile
        moved = tile.values[self._clips(placement, number)].size
        share = Fraction(1) if placement.off_chip else placement.spilled
        self._outer(placement, action, tile, moved, share)

    def _as_outside(self, placement: Placement, values: Array) -> Array:
        outermost = self.bench.machine.outermost.name
        return self.bench.rounded(values, placement.tensor, outermost)

    def _clips(self, placement: Placement, number: int) -> tuple[slice, ...]:
        """Of each rank, what there is of a tile where edges are masked."""
        ranks = self.bench.cascade.tensor(placement.tensor).ranks
        found, at = [slice(None)] * len(ranks), self.held.at(number)
        for end in placement.ends:
            trips = [self.nest.loops[loop].trips for loop in end.loops]
            place = np.ravel_multi_index([at[loop] for loop in end.loops], trips)
            found[ranks.index(end.rank)] = slice(int(end.kept[place]))
        return tuple(found)

    def _outer(
        self,
        placement: Placement,
        action: str,
        tile: Tile,
        moved: int,
        share: Fraction | None = None,
    ) -> None:
        """An access of the level that all clusters share."""
        machine = self.bench.machine
        written = self.bench.formats.written(placement, machine.outermost.name)
        key = (machine.shared.name, action, placement.tensor)
        self.bench.tally.move(key, tile.values.size, moved, written, share)

    def _inner(self, placement: Placement, action: str, tile: Tile) -> None:
        """An access of the level that a tensor is in; none of registers."""
        if placement.level is not None:
            written = self.bench.formats.written(placement, placement.level.name)
            key = (placement.level.name, action, placement.tensor)
            self.bench.tally.move(key, tile.values.size, tile.values.size, written)

    # Einsums ----------------------------------------------------------------------------------

    def _einsum(self, task: Task, number: int) -> None:
        binding, points = self.bindings[task.name], self.bench.points
        einsum = self.bench.cascade.einsum(task.name)
        grid = self.places.grid(einsum, self.held.at(number))
        known: dict[Access, Tile] = {}

        def reading(access: Access, inside: Mask | None) -> Array:
            if access not in known:
                known[access] = self._input(access, task, number, grid)
            return read(known[access], access, grid, points, inside)

        for table in self.tables[task.name]:
            self.held.get(table, number)
        try:
            values, defined = points.evaluated(
                einsum, grid, reading, lambda inside: multiplied(einsum, grid, reading, inside)
            )
        except AccelsimError as error:
            where = ", ".join(f"{v} = {grid.start(v)}" for v in grid.variables)
            message = f"{error.faults[0].message}; in the tile from {where} on"
            raise type(error)(message).at(einsum.position) from None
        if defined is not None:
            values = np.where(defined, values, np.nan)
        for operation, times in point_operations(binding.einsum).items():
            done = binding.unit.operation(operation)
            assert done is not None  # rule 1 of the mapping
            for primitive, each in done.primitives:
                key = (binding.unit.name, primitive, task.name)
                self.bench.tally.operate(key, prod(grid.shape) * binding.copies * times * each)
        made = [index for index in einsum.output.indices if isinstance(index, At)]
        order = [grid.axis(index.variable) for index in made]
        rest = [axis for axis in range(len(grid.shape)) if axis not in order]
        values = values.transpose(order + rest).reshape([values.shape[axis] for axis in order])
        values = np.broadcast_to(values, [grid.shape[axis] for axis in order])
        self.made_values[task.name] = values.size
        near = Tile(
            self.bench.rounded(values, task.name, MADE),
            tuple(grid.start(index.variable) + index.offset for index in made),
        )
        self._make(task.name, near, number)

    def _make(self, tensor: str, near: Tile, number: int) -> None:
        """What an Einsum has made, into its slot; added to what is there of a reduction."""
        placement, binding = self.placements[tensor], self.bindings[tensor]
        partial = set(binding.iterated) - set(placement.iterated)
        if placement.role == "made" and partial and self.held.begun(placement, number):
            slot = self.held.get(placement, number)
            before = slot.near if placement.level is None else slot.tile
            self._inner(placement, "read", before)
            total = _added(binding.einsum.reduce, before.values, near.values)
            near = Tile(self.bench.rounded(total, tensor, MADE), near.at)
        tile = Tile(self.bench.rounded(near.values, tensor, inner(placement)), near.at)
        self._inner(placement, "write", tile)
        self.held.put(placement, number, tile, near)

    def _input(self, access: Access, task: Task, number: int, grid: Grid) -> Tile:
        """The tile that an access reads, and the access of its level where it takes one."""
        placement = self.placements[access.tensor]
        if placement.role == "state":
            return self._state(placement, access, task, number, grid)
        slot = self.held.get(placement, number)
        if placement.fetch and task.name not in placement.fetch:
            return slot.near if self.lags.get(access.tensor) == task.lag else slot.tile
        if placement.fetch:
            self._inner(placement, "read", slot.tile)
        else:
            self._fetch(placement, slot.tile, task, number)
        return slot.tile

    def _fetch(self, placement: Placement, tile: Tile, task: Task, number: int) -> None:
        """From its level, once for all Einsums of a stage that use it in the same tile."""
        if self.fetched.get((placement.tensor, task.lag)) != number:
            self.fetched[placement.tensor, task.lag] = number
            self._inner(placement, "read", tile)

    def _state(
        self, placement: Placement, access: Access, task: Task, number: int, grid: Grid
    ) -> Tile:
        """A value of a recurrence: made in this tile, in the one before, or the last."""
        indices = zip(
            self.bench.cascade.einsum(access.tensor).output.indices, access.indices, strict=True
        )
        along, index = next(
            (axis, read)
            for axis, (made, read) in enumerate(indices)
            if isinstance(made, At) and made.offset
        )
        if isinstance(index, End):
            tile = self.held.get(placement, number).tile
            self._inner(placement, "read", tile)
            return tile
        assert isinstance(index, At)  # mapping: v, v+1 and the end
        if index.offset:
            return self.held.value_made(placement, number).near
        before = self.held.value_before(placement, number)
        if before is None:
            tile = self._initial(access, grid)
        else:
            tile = before.near if placement.level is None else before.tile
            if self.nest.masks:
                # The tile before may be left out: the value is that of one further back.
                at = list(tile.at)
                at[along] = grid.start(index.variable)
                tile = Tile(tile.values, tuple(at))
        self._fetch(placement, tile, task, number)
        return tile

    def _initial(self, access: Access, grid: Grid) -> Tile:
        initial = self.bench.cascade.tensor(access.tensor).initial
        assert initial is not None  # it is a state
        own = [index for index in access.indices if isinstance(index, At)]
        values = np.full([grid.count(index.variable) for index in own], initial)
        return Tile(values, tuple(grid.start(index.variable) for index in own))

    def _mask(self, task: Task) -> None:
        """Leaving points out of a tile: what the predicate of its Einsum says, and who does it."""
        binding = self.bindings[task.tensor]
        operation = binding.unit.operation("mask")
        assert operation is not None  # else there is no such task
        values = self.made_values[task.name.removeprefix("mask ")]
        for primitive, each in operation.primitives:
            key = (binding.unit.name, primitive, task.tensor)
            self.bench.tally.operate(key, values * each)


def _added(reduce: str, before: Array, more: Array) -> Array:
    """A running reduction; what is not defined in one counts as the other."""
    total: Array = APPLY[reduce](before, more)
    missing = np.isnan(total)
    if missing.any():
        total = np.where(missing, np.where(np.isnan(before), more, before), total)
    return total
