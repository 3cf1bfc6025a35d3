"""A search file to what is searched: all that is wrong with it, before anything runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

from accelsim import arch, cascade, spec, workload
from accelsim.analysis.counts import point_operations
from accelsim.arch import Machine
from accelsim.cascade import Cascade, with_parameters
from accelsim.cascade.nodes import At, Computed, iteration_variables
from accelsim.cascade.whole import variables
from accelsim.errors import AccelsimError, Fault, SpecError, nearest
from accelsim.explore.inputs import code_hash
from accelsim.explore.reading import within
from accelsim.mapping.partition import partition
from accelsim.mapping.place import REGISTERS
from accelsim.spec.mappings import MappingSpec
from accelsim.spec.searches import SearchSpec

Document = spec.Document[SearchSpec]
FILE = "search.yaml"
SETTABLE = ("arch", "workload")
OBJECTIVES = ("cycles", "energy_pj", "energy_all_registers_pj", "area_um2", "dram_bytes")
TIMES = (1, 2, 4)
"""Sizes of an innermost part that are tried where the file gives none: so many times the largest
dimension of a unit."""
NOWHERE = spec.Source("a candidate", (), {}, {}, {})
"""The text of a mapping that was never written."""


@dataclass(frozen=True)
class Tiling:
    """One way to cut the ranks.

    sizes: as a mapping file says them. extents: part, or uncut rank -> coordinates. parts: rank of
    the cascade -> its parts here, outermost first. wrong: why it is illegal, or None.
    """

    sizes: dict[str, dict[str, int | str]]
    extents: dict[str, int]
    parts: dict[str, tuple[str, ...]]
    wrong: str | None = None


@dataclass(frozen=True)
class Problem:
    """What is searched. able: Einsum -> units that may do it. level: where what is loaded or
    carried lives; between: what one unit makes and another reads. inputs: hash of each."""

    spec: SearchSpec
    folder: Path
    cascade: Cascade
    machine: Machine
    shapes: dict[str, int]
    tables: Any
    seq_len: int | None
    level: str
    between: str
    able: dict[str, tuple[str, ...]]
    tilings: tuple[Tiling, ...]
    inputs: dict[str, str]

    @property
    def key(self) -> str:
        """One hash of all that the result follows from."""
        lines = (f"{what}\0{digest}\n" for what, digest in sorted(self.inputs.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Einsums, in the cascade's order."""
        return tuple(einsum.name for einsum in self.cascade.einsums)

    @cached_property
    def elements(self) -> dict[str, int]:
        """Processing elements of each unit."""
        return {unit.name: unit.instances for unit in self.machine.units}

    @cached_property
    def outer(self) -> tuple[str, ...]:
        """Ranks that all tensors are read and written along, maybe as a computed index (`gk(h)`):
        their coordinates have nothing in common but what such an index shares."""
        return _along_all(self.cascade)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Units that may do something, in the machine's order."""
        used = {unit for units in self.able.values() for unit in units}
        return tuple(unit.name for unit in self.machine.units if unit.name in used)


def load(path: str, seq_len: int | None = None) -> Problem:
    """A search file, or the search.yaml of a folder. seq_len: in place of the file's.

    Raises AccelsimError with all faults.
    """
    return of(spec.load(within(path, FILE, "a folder to search in"), "search"), seq_len)


def load_text(text: str, name: str = "search.yaml") -> Problem:
    """A search file's text. name: as a file's; files are named from its folder."""
    return of(spec.load_text(text, "search", name))


def of(document: Document, seq_len: int | None = None) -> Problem:
    """What a search file means. Raises AccelsimError with all faults."""
    wanted, source = document.spec, document.source
    overrides: dict[str, list[Any]] = {kind: [] for kind in SETTABLE}
    faults: list[Fault] = []
    for index, setting in enumerate(wanted.set):
        try:
            kind, path, value = spec.override(setting, SETTABLE)
            overrides[kind].append((path, value))
        except SpecError as error:
            fault = error.faults[0]
            faults.append(source.fault(("set", index), fault.message, help=fault.help))
    documents = {}
    for kind in ("arch", "cascade", "workload"):
        name = getattr(wanted, kind)
        try:
            found = spec.find(name, kind, Path(source.name).parent)
        except AccelsimError as error:
            fault = error.faults[0]
            faults.append(source.fault((kind,), fault.message, help=fault.help))
            continue
        documents[kind] = spec.load(str(found), kind, overrides.get(kind, ()))
    if faults:
        raise SpecError(faults)
    built, machine = cascade.build(documents["cascade"]), arch.build(documents["arch"])
    length = seq_len if seq_len is not None else wanted.seq_len
    try:
        shapes = with_parameters(built, workload.shapes(documents["workload"], length))
    except SpecError:
        raise
    except AccelsimError as error:
        key = "workload" if wanted.seq_len is None else "seq_len"
        message = error.faults[0].message.replace("give --seq-len N", "give seq_len")
        raise SpecError(source.fault((key,), message)) from None
    tables = workload.tables(documents["workload"])
    faults = [*_faults(document, built, machine)]
    if faults:
        raise SpecError(faults)
    tilings = tuple(_tilings(document, built, machine, shapes))
    faults = [*_loop_faults(document, built, tilings)]
    if faults:
        raise SpecError(faults)
    inner = [level.name for level in machine.levels if level.capacity_bytes is not None]
    level = wanted.level or inner[-1]
    able = {e.name: _able(wanted, machine, e.name, point_operations(e)) for e in built.einsums}
    inputs = {f"{k} {getattr(d.spec, k)}": _sha(d.spec) for k, d in documents.items()}
    inputs |= {"search": _sha(wanted), "seq_len": str(length), "code": code_hash()}
    inputs |= {name: _version(name) for name in ("numpy", "pymoo")}
    return Problem(
        wanted,
        Path(source.name).parent,
        built,
        machine,
        shapes,
        tables,
        length,
        level,
        wanted.between or level,
        able,
        tilings,
        inputs,
    )


def _version(name: str) -> str:
    """Of a library that what is bred depends on."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _sha(record: Any) -> str:
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()


def _able(
    wanted: SearchSpec, machine: Machine, einsum: str, operations: Mapping[str, int]
) -> tuple[str, ...]:
    """Units that can do an Einsum's operations, of those that the file leaves it."""
    given = wanted.units.get(einsum)
    left = [unit.name for unit in machine.units] if given is None else _listed(given)
    return tuple(
        unit.name
        for unit in machine.units
        if unit.name in left and all(unit.operation(o) is not None for o in operations)
    )


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list) else [given]


def _faults(document: Document, built: Cascade, machine: Machine) -> Iterator[Fault]:
    """Names that mean nothing, and what a search cannot do."""
    wanted, source = document.spec, document.source
    if machine.clusters > 1 or machine.launch is not None or machine.cache is not None:
        message = f"{machine.name} has clusters: launches are not searched"
        yield source.fault(("arch",), message)
    inner = [level.name for level in machine.levels[1:]]
    if not any(level.capacity_bytes is not None for level in machine.levels[1:]):
        yield source.fault(("arch",), f"{machine.name} has no inner level with a capacity")
    for key, known in (("level", inner), ("between", [*inner, REGISTERS])):
        name = getattr(wanted, key)
        if name is not None and name not in known:
            message = f"{key}: {machine.name} has no inner level {name!r}"
            yield source.fault((key,), message, help=nearest(name, known))
    einsums = [einsum.name for einsum in built.einsums]
    for name, given in wanted.units.items():
        if name not in einsums:
            message = f"units: {built.name} has no Einsum {name}"
            yield source.fault(("units", name), message, help=nearest(name, einsums), key=True)
        for unit in _listed(given):
            units = [one.name for one in machine.units]
            if unit not in units:
                message = f"units.{name}: {machine.name} has no unit {unit!r}"
                yield source.fault(("units", name), message, help=nearest(unit, units))
    for einsum in built.einsums:
        known_units = all(u in [x.name for x in machine.units] for u in _all_units(wanted))
        operations = point_operations(einsum)
        # An empty list of units leaves an Einsum none.
        if known_units and not _able(wanted, machine, einsum.name, operations):
            left = _listed(wanted.units.get(einsum.name, []))
            at = ("units", einsum.name) if left else ("arch",)
            who = f"none of {', '.join(left)}" if left else "no unit"
            needs = ", ".join(operations)
            yield source.fault(at, f"{einsum.name} needs {needs}, which {who} can do")
    for name in wanted.registers:
        if machine.unit(name) is None:
            message = f"registers: {machine.name} has no unit {name!r}"
            help = nearest(name, [one.name for one in machine.units])
            yield source.fault(("registers", name), message, help=help, key=True)
    for name in wanted.objectives:
        if name not in OBJECTIVES:
            message = f"objectives: expected {', '.join(OBJECTIVES)}; got {name!r}"
            yield source.fault(
                ("objectives", name), message, help=nearest(name, OBJECTIVES), key=True
            )
    if not wanted.objectives:
        yield source.fault(("objectives",), "objectives: expected at least one", key=True)
    if wanted.within is not None and wanted.within >= 1:
        yield source.fault(("within",), "within: expected a share below 1")
    for rank, parts in wanted.partition.items():
        if rank not in built.ranks:
            message = f"partition: {built.name} has no rank {rank}"
            yield source.fault(
                ("partition", rank), message, help=nearest(rank, built.ranks), key=True
            )
            continue
        cut = built.parts(rank)
        if cut != (rank,) and tuple(parts) != cut:
            message = f"{built.name} cuts {rank} into {', '.join(cut)}; sizes for these expected"
            yield source.fault(("partition", rank), message, key=True)
        if not parts or parts[next(iter(parts))] != "rest" or len(parts) < 2:
            message = f"partition.{rank}: the outermost part of at least two takes the `rest`"
            yield source.fault(("partition", rank), message)
        for part, sizes in parts.items():
            for size in _listed(sizes):
                if str(size).startswith("fit("):
                    message = f"partition.{rank}.{part}: give sizes to choose from, not `fit`"
                    yield source.fault(("partition", rank, part), message)
            if not _listed(sizes):
                message = f"partition.{rank}.{part}: no size to choose: the space is empty"
                yield source.fault(("partition", rank, part), message)


def _loop_faults(document: Document, built: Cascade, tilings: Sequence[Tiling]) -> Iterator[Fault]:
    """Loops that are over nothing, or twice there."""
    loops, cut = document.spec.loops, tilings[0].sizes
    known = [rank for rank in built.ranks if rank not in cut]
    known += [part for parts in cut.values() for part in parts]
    for index, loop in enumerate(loops):
        at = ("loops", index)
        if loop not in known:
            message = f"loops: expected {', '.join(known)}; got {loop}"
            yield document.source.fault(at, message, help=nearest(loop, known))
        elif loop in loops[:index]:
            yield document.source.fault(at, f"loops: {loop} stands twice")
    cut_parts = next((cut.parts for cut in tilings if cut.wrong is None), None)
    if not loops or cut_parts is None:
        return
    for rank, name in _recurrences(built).items():
        missing = [part for part in cut_parts[rank] if part not in loops]
        if missing:
            message = f"loops: {', '.join(missing)} missing: {name} is a recurrence along {rank}"
            yield document.source.fault(("loops",), message, key=True)


def _recurrences(built: Cascade) -> dict[str, str]:
    """Rank -> the first Einsum that reads along it what it made a step before."""
    found: dict[str, str] = {}
    for einsum in built.einsums:
        if any(access.tensor == einsum.name for access in einsum.inputs):
            for index in einsum.output.indices:
                if isinstance(index, At) and index.offset:
                    found.setdefault(built.rank_of(index.variable), einsum.name)
    return found


def _all_units(wanted: SearchSpec) -> list[str]:
    return [unit for given in wanted.units.values() for unit in _listed(given)]


def _along_all(built: Cascade) -> tuple[str, ...]:
    """Ranks whose variable all accesses of all Einsums have, in the cascade's order."""
    left = set(built.ranks)
    for einsum in built.einsums:
        for access in (einsum.output, *einsum.inputs):
            direct = {i.variable for i in access.indices if isinstance(i, At)}
            inside = {
                v for i in access.indices if isinstance(i, Computed) for v in variables(i.whole)
            }
            left &= {built.rank_of(variable) for variable in direct | inside}
    return tuple(rank for rank in built.ranks if rank in left)


def _choices(
    wanted: SearchSpec, built: Cascade, machine: Machine, shapes: Mapping[str, int]
) -> dict[str, dict[str, list[Any]]]:
    """Root rank -> part -> sizes: those of the file, else of ranks larger than any unit."""
    out = {
        rank: {part: _listed(sizes) for part, sizes in parts.items()}
        for rank, parts in wanted.partition.items()
    }
    every = _along_all(built)
    extent = max(extent for unit in machine.units for _, extent in unit.shape)
    for rank in built.ranks:
        cut = built.parts(rank)
        large = rank not in every and shapes.get(rank, 0) > extent
        if rank in out or (cut == (rank,) and not large) or rank not in shapes:
            continue
        parts = cut if cut != (rank,) else (f"{rank}1", f"{rank}0")
        sizes = [min(times * extent, shapes[rank]) for times in TIMES]
        out[rank] = {part: [1] for part in parts}
        out[rank][parts[0]] = ["rest"]
        out[rank][parts[-1]] = list(dict.fromkeys(sizes))
    return out


def _tilings(
    document: Document, built: Cascade, machine: Machine, shapes: dict[str, int]
) -> Iterator[Tiling]:
    """Every way to cut the ranks that the choices give, one of each kind."""
    choices = _choices(document.spec, built, machine, shapes)
    slots = [(rank, part) for rank, parts in choices.items() for part in parts]
    seen: set[tuple[Any, ...]] = set()
    for values in product(*(choices[rank][part] for rank, part in slots)):
        sizes: dict[str, dict[str, int | str]] = {rank: {} for rank in choices}
        for (rank, part), value in zip(slots, values, strict=True):
            sizes[rank][part] = value
        faults: list[Fault] = []
        stub = {"mapping": "m", "source": "s", "arch": "a", "cascade": "c", "partition": sizes}
        stub["phases"] = {"p": {"loops": [], "einsums": {}}}
        candidate = spec.Document(MappingSpec.model_validate(stub), NOWHERE)
        cut = partition(candidate, "p", built, machine, dict(shapes), faults)
        if faults:
            _raise_names(document, sizes, faults)
            yield Tiling(sizes, {}, {}, faults[0].message)
            continue
        kind = tuple(cut.extents.items())
        if kind in seen:
            continue  # a size larger than its rank is that of the rank
        seen.add(kind)
        yield Tiling(sizes, cut.extents, cut.parts)


def _raise_names(document: Document, sizes: Mapping[str, Any], faults: Sequence[Fault]) -> None:
    """A size that is wrong whatever the others are is the file's fault, not a candidate's."""
    for fault in faults:
        if "does not divide" in fault.message or "as many as" in fault.message:
            continue
        rank, _, rest = fault.message.partition(".")
        part = rest.partition(":")[0]
        at = ("partition", rank, part) if rank in sizes else ("workload",)
        raise SpecError(document.source.fault(at, fault.message, help=fault.help))


def used_parts(problem: Problem, tiling: Tiling, einsums: Sequence[str]) -> set[str]:
    """Parts of the ranks that some Einsums iterate over."""
    return {
        part
        for name in einsums
        for variable in iteration_variables(problem.cascade.einsum(name))
        for part in tiling.parts[problem.cascade.rank_of(variable)]
    }
