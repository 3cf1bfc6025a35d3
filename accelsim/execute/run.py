"""A mapped loop nest on numbers: the tasks of a Program, one after the other, each on its tile.

What a task reads has to be where the Program has put it: a tile stands in one of its slots until
another is written there, a value of a recurrence until two more were made. Whatever is not there
is an error of the Program (BrokenProgramError), not of who runs it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim import mapping
from accelsim.analysis.counts import point_operations
from accelsim.cascade import with_parameters
from accelsim.cascade.nodes import Access, At, End
from accelsim.cascade.points import APPLY, Array, Grid, Mask, Points
from accelsim.errors import AccelsimError
from accelsim.execute.counts import Access as Count
from accelsim.execute.counts import Key, Tally
from accelsim.execute.edges import bounded
from accelsim.execute.formats import rounded
from accelsim.execute.memory import Memory
from accelsim.execute.nest import Places, padded
from accelsim.execute.tiles import BrokenProgramError, Tile, multiplied, read
from accelsim.execute.written import Formats
from accelsim.mapping import Placement, span
from accelsim.program import ROOT, Phase, Program, Task
from accelsim.program.instance import coordinates, instance, instances
from accelsim.program.unroll import Tile as Iteration
from accelsim.program.unroll import tiles as iterations

Progress = Callable[[float], None]
HISTORY = 3
"""Values of a recurrence at a time: read, made, and the one that a later stage still reads."""
NO_CLIP = slice(None)


@dataclass(frozen=True)
class Executed:
    """outputs: of the cascade, float64. counts: by part of the machine, action and tensor."""

    outputs: dict[str, Array]
    counts: dict[Key, Count]


def execute(
    mapped: mapping.Mapping,
    program: Program,
    shapes: Mapping[str, int],
    inputs: Mapping[str, npt.ArrayLike],
    *,
    tables: Mapping[str, npt.ArrayLike] | None = None,
    formats: Formats | None = None,
    progress: Progress | None = None,
) -> Executed:
    """Run every task of a mapping's Program on its tiles.

    shapes: of ranks, and parameters, as the mapping was built with; tables too. inputs: an array
    per input of the cascade, an axis per rank, those cut by the cascade whole or as parts.
    progress: called with the share done.

    Raises AccelsimError: inputs that do not fit, a value that is not a number. Raises
    BrokenProgramError where the Program does not do what its mapping says.
    """
    run = _Run(mapped, shapes, tables or {}, formats or Formats())
    run.memory.give(inputs)
    total = sum(instances(p) if p.launch is not None else 1 for p in program.phases)
    done = 0
    with np.errstate(all="ignore"):
        for nest, phase in zip(mapped.nests, program.phases, strict=True):
            for at, one in _instances(phase):
                report = None if progress is None else _part(progress, done / total, 1 / total)
                _Nest(run, nest, one, at).run(report)
                done += 1
    if progress is not None:
        progress(1.0)
    outputs = {name: run.memory.whole(name) for name in mapped.cascade.outputs}
    return Executed(outputs, run.tally.total())


def _instances(phase: Phase) -> Iterator[tuple[tuple[int, ...], Phase]]:
    if phase.launch is None:
        yield (), phase
        return
    for at in coordinates(phase):
        yield at, instance(phase, at)


def _part(progress: Progress, begin: float, share: float) -> Progress:
    return lambda own: progress(begin + share * own)


class _Run:
    """What all phases share."""

    def __init__(
        self,
        mapped: mapping.Mapping,
        shapes: Mapping[str, int],
        tables: Mapping[str, npt.ArrayLike],
        formats: Formats,
    ) -> None:
        self.machine = mapped.machine
        self.formats = formats
        self.tables = {name: np.asarray(table) for name, table in tables.items()}
        sizes = with_parameters(mapped.cascade, shapes)
        extents = {part: n for nest in mapped.nests for part, n in nest.extents}
        cut = {part for _, parts in mapped.cascade.partitions for part in parts}
        self.sizes = {**sizes, **{part: extents[part] for part in cut}}
        beyond = padded(mapped)
        self.cascade = bounded(mapped.cascade, self.sizes, beyond)
        self.points = Points(self.cascade, self.sizes, self.tables)
        self.memory = Memory(self.points, self.sizes, beyond)
        self.tally = Tally(mapped.machine)


@dataclass
class _Slot:
    """What stands in a slot: which tile it is, by the coordinates of its loops.

    near: the value as the unit that made it has it, still in registers.
    """

    identity: tuple[int, ...]
    tile: Tile
    near: Tile


@dataclass
class _History:
    """Values of a recurrence, oldest first, with the iterations that made them."""

    identity: tuple[int, ...]
    made: list[tuple[int, _Slot]]


class _Nest:
    """One phase, or one instance of a launch, and what is held while it runs."""

    def __init__(self, run: _Run, nest: mapping.Nest, phase: Phase, grid: tuple[int, ...]) -> None:
        self.run_of, self.nest, self.phase, self.grid = run, nest, phase, grid
        self.cascade, self.tally, self.memory = run.cascade, run.tally, run.memory
        self.places = Places(nest, run.cascade, run.points, run.sizes)
        self.placements = {p.tensor: p for p in nest.placements}
        self.bindings = {b.einsum.name: b for b in nest.bindings}
        self.reads = {
            access.tensor: access
            for binding in reversed(nest.bindings)
            for access in reversed(run.cascade.einsum(binding.einsum.name).inputs)
        }
        self.along = {p.tensor: self._along(p) for p in nest.placements if p.role == "state"}
        self.slots: dict[str, dict[tuple[int, ...], _Slot]] = defaultdict(dict)
        self.histories: dict[str, dict[tuple[int, ...], _History]] = defaultdict(dict)
        self.outside: dict[tuple[str, tuple[int, ...]], _Slot | _History] = {}
        self.begun: dict[str, set[tuple[int, ...]]] = defaultdict(set)
        self.fetched: dict[tuple[str, int], int] = {}
        self.made_size: dict[str, int] = {}

    def run(self, progress: Progress | None) -> None:
        self.every = list(iterations(self.phase))
        self.number = {tile.coordinates: n for n, tile in enumerate(self.every)}
        self.following = {
            task.name: self._following(task)
            for task in self.phase.tasks
            if task.name == f"load {task.tensor} ahead"
        }
        deepest = max((task.lag for task in self.phase.tasks), default=0)
        epochs = len(self.every) + deepest
        for epoch in range(epochs):
            for task in self.phase.tasks:
                number = epoch - task.lag
                if not 0 <= number < len(self.every):
                    continue
                tile = self.every[number]
                if task.guard.holds(tile.is_first, tile.is_last, tile.marks):
                    self._do(task, number)
            if progress is not None and epoch % 16 == 0:
                progress(epoch / epochs)

    def _do(self, task: Task, number: int) -> None:
        what, _, rest = task.name.partition(" ")
        if task.kind == "einsum":
            if task.name == task.tensor:
                self._einsum(task, number)
            else:
                self._mask(task, rest)
        elif what == "load":
            ahead = self.following.get(task.name)
            self._load(task.tensor, number, number if ahead is None else ahead[number])
        elif what == "store":
            self._store(task.tensor, number)
        elif what == "refill":
            self._refill(task.tensor, number)
        else:
            self._spill(task.tensor, number)

    # Places -----------------------------------------------------------------------------------

    def _at(self, number: int) -> tuple[int, ...]:
        """Coordinates of all loops of the nest."""
        return (*self.grid, *self.every[number].coordinates)

    def _loops(self, placement: Placement) -> tuple[int, tuple[int, ...]]:
        """The loop whose iterations take slots in turn, and those inside it that have their own."""
        own = len(self.grid)
        loop, matched = span(placement.iterated)
        inside = tuple(other - own for other in matched if other >= own)
        return (loop - own if loop >= own else ROOT), inside

    def _count(self, placement: Placement, number: int) -> tuple[int, tuple[int, ...]]:
        loop, matched = self._loops(placement)
        tile = self.every[number]
        inside = tuple(tile.coordinates[other] for other in matched)
        return (0 if loop == ROOT else tile.count[loop]), inside

    def _place(self, placement: Placement, number: int) -> tuple[int, ...]:
        """The slot of the tile that an iteration works on."""
        count, inside = self._count(placement, number)
        return count % placement.slots, *inside

    def _identity(self, placement: Placement, number: int) -> tuple[int, ...]:
        at = self._at(number)
        return tuple(at[loop] for loop in placement.iterated)

    def _following(self, task: Task) -> list[int]:
        """For each iteration the first one of the next tile; itself where there is none."""
        placement = self.placements[task.tensor]
        first: dict[tuple[int, tuple[int, ...]], int] = {}
        keys = [self._count(placement, number) for number in range(len(self.every))]
        for number, key in enumerate(keys):
            first.setdefault(key, number)
        return [first.get((n + 1, inside), i) for i, (n, inside) in enumerate(keys)]

    def _along(self, placement: Placement) -> int:
        """The axis of the rank along which a tensor recurs."""
        indices = self.cascade.einsum(placement.tensor).output.indices
        return next(n for n, i in enumerate(indices) if isinstance(i, At) and i.offset)

    def _clips(self, placement: Placement, at: tuple[int, ...]) -> list[slice]:
        """Of each rank, what there is of a tile where edges are masked."""
        ranks = self.cascade.tensor(placement.tensor).ranks
        found = [NO_CLIP] * len(ranks)
        for end in placement.ends:
            trips = [self.nest.loops[loop].trips for loop in end.loops]
            place = np.ravel_multi_index([at[loop] for loop in end.loops], trips)
            found[ranks.index(end.rank)] = slice(int(end.kept[place]))
        return found

    # Transfers --------------------------------------------------------------------------------

    def _load(self, tensor: str, number: int, of: int) -> None:
        """The tile of iteration `of` into its slot."""
        placement, at = self.placements[tensor], self._at(of)
        shared = self.run_of.machine.shared.name
        formats = self.run_of.formats
        if tensor in self.run_of.tables:
            tile, moved = Tile(np.zeros(()), ()), 1
        else:
            ranks = self.cascade.tensor(tensor).ranks
            found = self.memory.take(tensor, self.places.of(self.reads[tensor], ranks, at))
            clips = tuple(self._clips(placement, at))
            brought = found.values[clips]
            if tensor in self.cascade.inputs:
                brought = rounded(brought, formats.of(tensor, self.run_of.machine.outermost.name))
            if placement.level is not None:
                brought = rounded(brought, formats.of(tensor, placement.level.name))
            moved, values = brought.size, np.full(found.values.shape, np.nan)
            values[clips] = brought
            tile = Tile(values, found.at)
        size = tile.values.size
        written = formats.written(placement, self.run_of.machine.outermost.name)
        self.tally.move((shared, "read", tensor), size, moved, written)
        self._access(placement, "write", size)
        slot = _Slot(self._identity(placement, of), tile, tile)
        self.slots[tensor][self._place(placement, of)] = slot

    def _store(self, tensor: str, number: int) -> None:
        placement, at = self.placements[tensor], self._at(number)
        slot = self._held(placement, number)
        self._access(placement, "read", slot.tile.values.size)
        clips = self._clips(placement, at)
        outermost = self.run_of.machine.outermost.name
        moving = slot.tile.values[tuple(clips)]
        out = np.full(slot.tile.values.shape, np.nan)
        out[tuple(clips)] = rounded(moving, self.run_of.formats.of(tensor, outermost))
        self.memory.put(tensor, Tile(out, slot.tile.at), clips)
        self._outer(placement, "write", slot.tile.values.size, moving.size, whole=True)

    def _refill(self, tensor: str, number: int) -> None:
        """Back from the outermost level: all of it, or the share that has no room."""
        placement = self.placements[tensor]
        identity, place = self._identity(placement, number), self._place(placement, number)
        if placement.off_chip:
            found = self.outside.pop((tensor, identity), None)
            if found is None:
                raise BrokenProgramError(f"{tensor} comes back before it has gone out")
            if isinstance(found, _History):
                self.histories[tensor][place] = found
            else:
                self.slots[tensor][place] = found
        tile = self._latest(placement, number).tile
        self._outer(placement, "read", tile.values.size, self._kept(placement, tile, number))

    def _spill(self, tensor: str, number: int) -> None:
        placement = self.placements[tensor]
        slot = self._latest(placement, number)
        if placement.off_chip:
            identity, place = self._identity(placement, number), self._place(placement, number)
            outermost = self.run_of.machine.outermost.name
            written = rounded(slot.tile.values, self.run_of.formats.of(tensor, outermost))
            gone = _Slot(identity, Tile(written, slot.tile.at), Tile(written, slot.tile.at))
            if placement.role == "state":
                history = self.histories[tensor].pop(place)
                self.outside[tensor, identity] = _History(identity, [(history.made[-1][0], gone)])
            else:
                del self.slots[tensor][place]
                self.outside[tensor, identity] = gone
        size = slot.tile.values.size
        self._outer(placement, "write", size, self._kept(placement, slot.tile, number))

    def _kept(self, placement: Placement, tile: Tile, number: int) -> int:
        return tile.values[tuple(self._clips(placement, self._at(number)))].size

    def _outer(
        self, placement: Placement, action: str, tile: int, moved: int, *, whole: bool = False
    ) -> None:
        """An access of the level that all clusters share."""
        machine = self.run_of.machine
        share = None if whole else 1 if placement.off_chip else placement.spilled
        written = self.run_of.formats.written(placement, machine.outermost.name)
        key = (machine.shared.name, action, placement.tensor)
        self.tally.move(key, tile, moved, written, share)

    def _access(self, placement: Placement, action: str, tile: int) -> None:
        """An access of the level that a tensor is in; none of registers."""
        if placement.level is not None:
            written = self.run_of.formats.written(placement, placement.level.name)
            self.tally.move((placement.level.name, action, placement.tensor), tile, tile, written)

    # Einsums ----------------------------------------------------------------------------------

    def _held(self, placement: Placement, number: int) -> _Slot:
        """What stands in the slot of an iteration's tile, which has to be that tile."""
        slot = self._slot(placement, number)
        if slot is None:
            raise BrokenProgramError(f"{placement.tensor} is not there at {self._at(number)}")
        identity = self._identity(placement, number)
        if slot.identity != identity:
            message = f"tile {identity} of {placement.tensor} was replaced by {slot.identity}"
            raise BrokenProgramError(f"{message} before it was used at {self._at(number)}")
        return slot

    def _slot(self, placement: Placement, number: int) -> _Slot | None:
        place = self._place(placement, number)
        if placement.role != "state":
            return self.slots[placement.tensor].get(place)
        history = self.histories[placement.tensor].get(place)
        return None if history is None else history.made[-1][1]

    def _latest(self, placement: Placement, number: int) -> _Slot:
        return self._held(placement, number)

    def _einsum(self, task: Task, number: int) -> None:
        binding = self.bindings[task.name]
        einsum, at = self.cascade.einsum(task.name), self._at(number)
        grid = self.places.grid(einsum, at)
        known: dict[Access, Tile] = {}

        def reading(access: Access, inside: Mask | None) -> Array:
            if access not in known:
                known[access] = self._input(access, task, number, grid)
            return read(known[access], access, grid, self.run_of.points, inside)

        try:
            values, defined = self.run_of.points.evaluated(
                einsum, grid, reading, lambda inside: multiplied(einsum, grid, reading, inside)
            )
        except AccelsimError as error:
            where = ", ".join(f"{v} = {grid.start(v)}" for v in grid.variables)
            message = f"{error.faults[0].message}; in the tile at {where}"
            raise AccelsimError(message).at(einsum.position) from None
        if defined is not None:
            values = np.where(defined, values, np.nan)
        order = [grid.axis(i.variable) for i in einsum.output.indices if isinstance(i, At)]
        rest = [axis for axis in range(len(grid.shape)) if axis not in order]
        extents = [grid.shape[axis] for axis in order]
        values = np.broadcast_to(values.transpose(order + rest).reshape(extents), extents)
        begins = tuple(
            grid.start(i.variable) + i.offset for i in einsum.output.indices if isinstance(i, At)
        )
        points = int(np.prod(grid.shape)) * binding.copies
        for operation, times in point_operations(binding.einsum).items():
            done = binding.unit.operation(operation)
            assert done is not None  # rule 1 of the mapping
            for primitive, each in done.primitives:
                key = (binding.unit.name, primitive, task.name)
                self.tally.operate(key, points * times * each)
        near = Tile(rounded(values, self.run_of.formats.made(task.name)), begins)
        self.made_size[task.name] = values.size
        self._make(task.name, near, number)

    def _make(self, tensor: str, near: Tile, number: int) -> None:
        """The tile that an Einsum has made, into its slot."""
        placement, binding = self.placements[tensor], self.bindings[tensor]
        place, identity = self._place(placement, number), self._identity(placement, number)
        formats = self.run_of.formats
        if placement.role == "made" and set(binding.iterated) - set(placement.iterated):
            if identity in self.begun[tensor]:
                before = self._held(placement, number).tile.values
                self._access(placement, "read", before.size)
                total = _added(binding.einsum.reduce, before, near.values)
                near = Tile(rounded(total, formats.made(tensor)), near.at)
            self.begun[tensor].add(identity)
        tile = near
        if placement.level is not None:
            tile = Tile(rounded(near.values, formats.of(tensor, placement.level.name)), near.at)
            self._access(placement, "write", tile.values.size)
        slot = _Slot(identity, tile, near)
        if placement.role == "state":
            history = self.histories[tensor].get(place)
            if history is None or history.identity != identity:
                history = self.histories[tensor][place] = _History(identity, [])
            history.made = [*history.made, (number, slot)][-HISTORY:]
            self.begun[tensor].add(identity)
        else:
            self.slots[tensor][place] = slot

    def _input(self, access: Access, task: Task, number: int, grid: Grid) -> Tile:
        """The tile that an access reads, and the access of its level where it takes one."""
        tensor = access.tensor
        placement = self.placements[tensor]
        if placement.role == "state":
            return self._state(access, task, number, grid)
        slot = self._held(placement, number)
        if placement.fetch and task.name not in placement.fetch:
            own = self._lag(tensor) == task.lag
            return slot.near if own else slot.tile
        if placement.fetch or self.fetched.get((tensor, task.lag)) != number:
            self._access(placement, "read", slot.tile.values.size)
            self.fetched[tensor, task.lag] = number
        return slot.tile

    def _lag(self, tensor: str) -> int | None:
        return next((t.lag for t in self.phase.tasks if t.name == tensor), None)

    def _state(self, access: Access, task: Task, number: int, grid: Grid) -> Tile:
        """A value of a recurrence: made in this tile, in the one before, or the last."""
        tensor = access.tensor
        placement, along = self.placements[tensor], self.along[tensor]
        written = self.cascade.einsum(tensor).output.indices[along]
        index = access.indices[along]
        history = self.histories[tensor].get(self._place(placement, number))
        identity = self._identity(placement, number)
        own = history.made if history is not None and history.identity == identity else []
        if isinstance(index, End):
            slot = self._held(placement, number)
            self._access(placement, "read", slot.tile.values.size)
            return slot.tile
        assert isinstance(written, At)  # outputs are indexed by variables
        assert isinstance(index, At)  # mapping: v, v+1 and the end
        if written.offset == index.offset:
            for made, slot in own:
                if made == number:
                    return slot.near
            raise BrokenProgramError(f"{tensor} is not made yet at {self._at(number)}")
        before = [slot for made, slot in own if made < number]
        if not before:
            if identity in self.begun[tensor] and not own:
                raise BrokenProgramError(f"{tensor} was replaced before {self._at(number)}")
            tile = self._initial(access, grid)
        else:
            tile = before[-1].tile
            # Where the mask leaves tiles out, its coordinate is one of before.
            at = list(tile.at)
            if self.nest.masks:
                at[along] = grid.start(index.variable) + index.offset
            tile = Tile(tile.values, tuple(at))
        if self.fetched.get((tensor, task.lag)) != number:
            self._access(placement, "read", tile.values.size)
            self.fetched[tensor, task.lag] = number
        return tile

    def _initial(self, access: Access, grid: Grid) -> Tile:
        tensor = self.cascade.tensor(access.tensor)
        assert tensor.initial is not None  # it is a state
        own = [i for i in access.indices if isinstance(i, At)]
        values = np.full([grid.count(i.variable) for i in own], tensor.initial)
        return Tile(values, tuple(grid.start(i.variable) + i.offset for i in own))

    def _mask(self, task: Task, of: str) -> None:
        """Leaving points out of a tile, which the predicate of the Einsum has done."""
        binding = self.bindings[task.tensor]
        operation = binding.unit.operation("mask")
        assert operation is not None  # else there is no such task
        for primitive, each in operation.primitives:
            key = (binding.unit.name, primitive, task.tensor)
            self.tally.operate(key, self.made_size[of] * each)


def _added(reduce: str, before: Array, more: Array) -> Array:
    """A running reduction; what is not defined in one counts as the other."""
    total: Array = APPLY[reduce](before, more)
    missing = np.isnan(total)
    if missing.any():
        total = np.where(missing, np.where(np.isnan(before), more, before), total)
    return total
