"""Where every tensor of a nest lives: what is loaded, carried, made, stored; in how many slots."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod

import numpy as np

from accelsim.analysis.pieces import Numbers
from accelsim.arch import Level, Machine
from accelsim.cascade import Cascade, looked_up
from accelsim.cascade.nodes import At, wholes
from accelsim.cascade.whole import Lookup, variables, walk
from accelsim.errors import AccelsimError
from accelsim.mapping.computed import is_computed, reads
from accelsim.mapping.depend import Nesting
from accelsim.mapping.ends import ends, two_sizes
from accelsim.mapping.nest import End, Identity, Int, Loop, Placement
from accelsim.spec.mappings import MappingSpec, PhaseSpec, StorageSpec
from accelsim.units import FORMATS

REGISTERS = "registers"


def placements(
    cascade: Cascade,
    machine: Machine,
    nesting: Nesting,
    extents: dict[str, int],
    numbers: Numbers,
    home: dict[str, str],
    phase: str,
    spec: PhaseSpec,
    whole: MappingSpec,
    complain: Callable[..., None],
) -> tuple[Placement, ...]:
    """A placement for each table that the phase gives a place, then for each tensor of it.

    Tensors, that it reads or makes, in order of first use; tables first, since they tell where
    tensors are read. extents: of parts. numbers: shapes of ranks, parameters and tables.
    home: Einsum -> its phase. whole: the mapping that the phase is of.
    """
    numbers = Numbers({**numbers.named, **extents}, numbers.tables)
    made = {einsum.name for einsum in nesting.einsums}
    names: dict[str, None] = {}
    for einsum in nesting.einsums:
        for access in (*einsum.inputs, einsum.output):
            names.setdefault(access.tensor)
    found = {name for einsum in nesting.einsums for name in looked_up(einsum)}
    tables = [name for name in spec.storage if name in found]
    for name in spec.storage:
        if name not in names and name not in tables:
            known = [*names, *found]
            complain(("storage", name), f"this phase has no tensor {name}", known=known)
    read_later = {
        access.tensor
        for einsum in cascade.einsums
        if home[einsum.name] != phase
        for access in einsum.inputs
    }
    placed = (_table(machine, nesting, name, spec, whole, complain) for name in tables)
    out = [placement for placement in placed if placement is not None]
    for name in names:
        role = "load"
        if name in made:
            role = "state" if cascade.tensor(name).initial is not None else "made"
        stored = name in made and (name in cascade.outputs or name in read_later)
        given = spec.storage.get(name)
        if given is None and role == "load":
            message = f"{name} comes from {machine.outermost.name}: say which level holds its tiles"
            inner = machine.levels[-1].name
            complain(("storage",), message, help=(f"such as {name}: {{level: {inner}}}",))
            continue
        given = given or StorageSpec(level=REGISTERS)
        level = _level(machine, name, given, complain)
        ranks = cascade.tensor(name).ranks
        own = nesting.loops_of(ranks)
        iterated = nesting.with_grid(own)
        looped = {loop.rank for loop in nesting.loops}
        inside = [p for rank in ranks for p in nesting.parts[rank] if p not in looped]
        elements = prod(extents[part] for part in inside)
        identity = Identity(own)
        if role == "load":
            if _offset(nesting, name):
                message = f"{name} is read at an offset: a halo cannot be mapped"
                complain(("storage", name), message)
            shared: set[int] = set()
            read = _computed(nesting, name, extents, numbers, given.keep, complain)
            if read is not None:
                own, shared, elements, identity = read
            iterated = _load_loops(nesting, name, given, own, shared, complain)
        elif given.keep:
            complain(("storage", name), f"{name} is made in this phase; `keep` has no effect")
        if role == "state":
            # One value of a recurrence is held at a time: its own rank has no slots.
            moving = {
                rank
                for rank, index in zip(ranks, cascade.einsum(name).output.indices, strict=True)
                if getattr(index, "offset", 0)
            }
            along = nesting.loops_of(tuple(moving))
            iterated = tuple(i for i in iterated if i not in along)
            identity = Identity(tuple(i for i in own if i not in along))
        if given.off_chip and (role == "load" or given.spilled):
            message = f"{name}.off_chip: for what is made in this phase, all of it"
            complain(("storage", name, "off_chip"), message)
        if given.off_chip and role == "made" and nesting.reduced(cascade.einsum(name)):
            message = f"{name}.off_chip: it is summed over tiles, and would not come back for that"
            complain(("storage", name, "off_chip"), message)
        slots, ahead = _counts(nesting, name, given, iterated, complain, loaded=role == "load")
        cut: tuple[End, ...] = ()
        if whole.edges == "masked":
            access = next(
                a for e in nesting.einsums for a in (*e.inputs, e.output) if a.tensor == name
            )
            try:
                cut = ends(nesting, access, extents, numbers)
                if two_sizes(identity, cut, [loop.trips for loop in nesting.loops]):
                    message = "some iterations have more than others of a tile that they share"
                    raise AccelsimError(f"{message}: it has to end alike for all of them")
            except AccelsimError as error:
                complain(("storage", name), f"{name}: {error.faults[0].message}")
        unknown = [e for e in given.fetch if e not in _readers(nesting, name)]
        if unknown:
            message = f"{name}.fetch: {unknown[0]} does not read {name} in this phase"
            complain(("storage", name, "fetch"), message)
        out.append(
            Placement(
                tensor=name,
                role=role,  # type: ignore[arg-type]
                level=level,
                slots=slots,
                iterated=iterated,
                stored=stored,
                elements=elements,
                word_bytes=_word(machine, whole, name),
                identity=identity,
                ends=cut,
                ahead=ahead,
                fetch=tuple(given.fetch),
                spilled=given.spilled,
                off_chip=given.off_chip,
                overbook=given.overbook,
            )
        )
    return tuple(out)


def _word(machine: Machine, spec: MappingSpec, name: str) -> Fraction:
    """Bytes of one value."""
    return Fraction(FORMATS[spec.formats[name]]) if name in spec.formats else machine.word_bytes


def _table(
    machine: Machine,
    nesting: Nesting,
    name: str,
    phase: PhaseSpec,
    spec: MappingSpec,
    complain: Callable[..., None],
) -> Placement | None:
    """A table is loaded as a tensor is: an entry, wherever the loops ask for another."""
    cascade, at, given = nesting.cascade, ("storage", name), phase.storage[name]
    if given.off_chip or given.spilled or given.fetch:
        complain(at, f"{name} is a table: it is loaded, in one way")
        return None
    if name not in spec.formats:
        complain(at, f"{name} is a table: say its format in `formats`", help=("such as int32",))
        return None
    lookups = {
        look
        for einsum in nesting.einsums
        for whole in wholes(einsum)
        for look in walk(whole)
        if isinstance(look, Lookup) and look.table == name
    }
    ranks = {cascade.rank_of(v) for look in lookups for i in look.indices for v in variables(i)}
    own = nesting.loops_of(tuple(ranks))
    looped = {loop.rank for loop in nesting.loops}
    if any(part not in looped for rank in ranks for part in nesting.parts[rank]):
        complain(at, f"{name}: a tile looks several of its entries up; loop over its ranks")
        return None
    iterated = _load_loops(nesting, name, given, own, set(), complain)
    slots, ahead = _counts(nesting, name, given, iterated, complain, loaded=True)
    return Placement(
        tensor=name,
        role="load",
        level=_level(machine, name, given, complain),
        slots=slots,
        iterated=iterated,
        stored=False,
        elements=1,
        word_bytes=_word(machine, spec, name),
        identity=Identity(own),
        ahead=ahead,
    )


def _counts(
    nesting: Nesting,
    name: str,
    given: StorageSpec,
    iterated: tuple[int, ...],
    complain: Callable[..., None],
    *,
    loaded: bool,
) -> tuple[int, int]:
    """Slots, and how many tiles ahead it is loaded."""
    own = [loop.rank if i in iterated else "" for i, loop in enumerate(nesting.loops)]
    slots = steps(given.slots, own, nesting.loops)
    if slots is None:
        complain(("storage", name, "slots"), f"{name}.slots: expected loops of {name}")
    ahead = steps(given.ahead, [loop.rank for loop in nesting.loops], nesting.loops)
    if ahead is None or (ahead and not loaded):
        complain(("storage", name, "ahead"), f"{name}.ahead: tiles or loops, of what is loaded")
    return slots or 1, ahead or 0


def _offset(nesting: Nesting, tensor: str) -> bool:
    reads = (a for e in nesting.einsums for a in e.inputs if a.tensor == tensor)
    return any(isinstance(i, At) and i.offset != 0 for access in reads for i in access.indices)


def _computed(
    nesting: Nesting,
    tensor: str,
    extents: dict[str, int],
    numbers: Numbers,
    keep: list[str],
    complain: Callable[..., None],
) -> tuple[tuple[int, ...], set[int], int, Identity] | None:
    """Of a tensor read at computed indices: loops with tiles of their own, loops that share, size.

    Then which tile it is. None for other tensors, and after a complaint. The size is the elements
    of a tile.
    """
    found = dict.fromkeys(a for e in nesting.einsums for a in e.inputs if a.tensor == tensor)
    if not any(is_computed(access) for access in found):
        return None
    access = next(iter(found))
    try:
        if len(found) > 1:
            raise AccelsimError("read in two ways, at least one of them at a computed index")
        groups = reads(nesting, access, extents, numbers)
        direct = (i.variable for i in access.indices if isinstance(i, At))
        plain = nesting.loops_of(tuple(nesting.cascade.rank_of(v) for v in direct))
        every = {i for read in groups for i in read.loops}
        kept = [(i, r) for r in groups for i in r.loops if nesting.loops[i].rank in keep]
        shared = {i for i, read in kept if read.steady_along(i)}
        loops = tuple(sorted({*plain, *every} - shared))
        size = prod(read.elements(loops) for read in groups)
        names: Int = np.zeros(1, np.int64)
        for read in groups:
            own = read.names(tuple(nesting.loops[i].trips for i in read.loops))
            names = np.add.outer(names * (int(own.max()) + 1), own).reshape(-1)
        others = tuple(i for i in plain if i not in every)
        over = tuple(i for read in groups for i in read.loops)
        return loops, shared, size, Identity(others, over, names)
    except AccelsimError as error:
        complain(("storage", tensor), f"{tensor}: {error.faults[0].message}")
        return None


def steps(given: int | dict[str, int], ranks: list[str], loops: tuple[Loop, ...]) -> int | None:
    """Tiles, or iterations of loops in tiles: of the loops named in `ranks`, those inside count.

    None when a loop is named that is not there.
    """
    if not isinstance(given, dict):
        return given
    total = 0
    for rank, times in given.items():
        if rank not in ranks:
            return None
        inside = range(ranks.index(rank) + 1, len(ranks))
        total += times * prod(loops[i].trips for i in inside if ranks[i])
    return total


def _readers(nesting: Nesting, tensor: str) -> list[str]:
    return [e.name for e in nesting.einsums if any(a.tensor == tensor for a in e.inputs)]


def _level(
    machine: Machine, name: str, given: StorageSpec, complain: Callable[..., None]
) -> Level | None:
    if given.level == REGISTERS:
        if given.spilled or given.overbook:
            complain(("storage", name), f"{name} is in registers: nothing of it can be spilled")
        return None
    level = machine.level(given.level)
    if level is None or level is machine.outermost:
        known = [x.name for x in machine.levels[1:]] + [REGISTERS]
        message = f"{name}.level: {given.level!r} is no inner level of {machine.name}"
        complain(("storage", name, "level"), f"{message}; known: {', '.join(known)}")
        return None
    return level


def _load_loops(
    nesting: Nesting,
    name: str,
    given: StorageSpec,
    own: tuple[int, ...],
    shared: set[int],
    complain: Callable[..., None],
) -> tuple[int, ...]:
    """Loops in whose every iteration it is loaded anew: up to its innermost, less `keep`.

    own: loops in which another tile is needed. shared: loops that it depends on, but not in what
    it reads, and over which it is kept. Instances of a grid load for themselves.
    """
    ranks = [loop.rank for loop in nesting.loops]
    grid = ranks[: nesting.grid]
    keep = set()
    for rank in given.keep:
        if rank in grid:
            message = f"{name}.keep: {rank} is of the grid, whose instances share nothing"
            complain(("storage", name, "keep"), message)
        elif rank not in ranks:
            message = f"{name}.keep: {rank} is no loop of this phase; loops: {', '.join(ranks)}"
            complain(("storage", name, "keep"), message)
        elif ranks.index(rank) in shared:
            keep.add(ranks.index(rank))
        elif ranks.index(rank) in own:
            message = f"{name}.keep: each iteration of {rank} reads another tile of {name}"
            complain(("storage", name, "keep"), message)
        elif not own or ranks.index(rank) > own[-1]:
            message = f"{name}.keep: the loop over {rank} is inside those of {name}; no effect"
            complain(("storage", name, "keep"), message)
        else:
            keep.add(ranks.index(rank))
    innermost = own[-1] if own else -1
    again = set()
    for rank in given.again:
        if rank not in ranks or ranks.index(rank) <= innermost:
            message = f"{name}.again: expected loops inside those of {name}, got {rank}"
            complain(("storage", name, "again"), message)
        else:
            again.add(ranks.index(rank))
    return nesting.with_grid((*(i for i in range(innermost + 1) if i not in keep), *again))
