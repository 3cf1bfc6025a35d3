"""The public verbs: names and files in, records out. Raise AccelsimError, print nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from accelsim import analysis, arch, cascade, engine, mapping, program, spec, workload
from accelsim.errors import AccelsimError, Fault, SpecError
from accelsim.program.sizes import check_on_sizes
from accelsim.results import Execution, Result, Run
from accelsim.results.launches import launches
from accelsim.results.measure import measure
from accelsim.spec.load import Override
from accelsim.traced import ratio

if TYPE_CHECKING:
    from accelsim.engine.cache import Accesses
    from accelsim.execute.outcome import Outcome

WORD_BYTES = 2
"""Of a value where no machine says: 16 bits, as on every shipped one."""
SETTABLE = ("arch", "mapping", "workload")


def load_cascade(name: str) -> cascade.Cascade:
    """A shipped cascade, or one of your own in a .yaml file."""
    return cascade.build(_document(name, "cascade"))


def about_cascade(name: str) -> dict[str, Any]:
    """family, passes over its uncut ranks that it makes more than one of, and its hash."""
    built = load_cascade(name)
    many = analysis.summary(built).passes
    return {"family": built.family, "passes": many, "hash": cascade.fingerprint(built)}


def catalogue() -> dict[str, tuple[cascade.Cascade, analysis.Summary]]:
    """Every shipped cascade, with what is true of it in a line."""
    every = {name: load_cascade(name) for name in spec.names("cascade")}
    return {name: (built, analysis.summary(built)) for name, built in every.items()}


def simulate(
    mapping_name: str,
    model: str | spec.Document[Any],
    seq_len: int | None = None,
    *,
    engine_name: str = "steady",
    settings: Sequence[str] = (),
    warm: bool = False,
    record: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Run:
    """Run a mapping's cascade on its machine.

    mapping_name, model: shipped names or .yaml files; model may be a workload that is loaded
    already. seq_len: length of the sequence.
    settings: `arch.PATH=VALUE`, `mapping.PATH=VALUE`, `workload.PATH=VALUE`, over the files.
    warm: the cache begins each launch as the same launch has left it before, not empty.
    record: task instances kept per phase, for a timeline. progress: called with the share done.
    """
    if record < 0:
        raise AccelsimError(f"record: expected 0 or more, got {record}")
    loaded = load(mapping_name, model, seq_len, settings)
    lowered = lower(loaded, warm=warm)
    execution = engine.run(lowered, engine_name, record=record, progress=progress)
    return Run(measured(loaded, lowered, execution), lowered, execution)


def lower(loaded: Loaded, *, warm: bool = False) -> program.Program:
    """The Program of a mapping for a workload. warm: as for `simulate`."""
    if warm and loaded.machine.cache is None:
        raise AccelsimError(f"warm: {loaded.machine.name} has no cache that could be")
    program.check_launched(loaded.mapping)
    return dataclasses.replace(program.lower(loaded.mapping), warm=warm)


def measured(loaded: Loaded, lowered: program.Program, execution: Execution) -> Result:
    """What the run of a Program came to."""
    mapped, machine = loaded.mapping, loaded.machine
    formats = {p.tensor: p.word_bytes for nest in mapped.nests for p in nest.placements}
    bounds = _bounds(mapped.cascade, machine, loaded.shapes, loaded.tables, formats, lowered.warm)
    masks = {nest.name: nest.mask_shares() for nest in mapped.nests}
    result = measure(
        lowered,
        machine,
        execution,
        bounds=bounds,
        inputs=loaded.inputs,
        flops=_flops(loaded),
        masks=masks,
    )
    return dataclasses.replace(result, notes=[*result.notes, *loaded.notes])


def traffic(
    mapping_name: str,
    model: str | spec.Document[Any],
    seq_len: int | None = None,
    *,
    settings: Sequence[str] = (),
    cache: bool = True,
) -> dict[str, Any]:
    """What a mapping's launches ask for: bytes, operations, instructions; without a simulation.

    Arguments as for `simulate`; model may be a workload that is loaded already. cache: whether to
    run the model of the machine's cache, which tells what goes on to the outermost level.
    """
    loaded = load(mapping_name, model, seq_len, settings)
    mapped, machine = loaded.mapping, loaded.machine
    lowered = program.lower(mapped)
    counts = launches(mapped, lowered)
    notes = [*lowered.notes, *loaded.notes]
    if cache and machine.cache is not None:
        from accelsim.engine.stream import through_cache

        for number, (nest, phase) in enumerate(zip(mapped.nests, lowered.phases, strict=True)):
            try:
                sent_on = through_cache(machine, nest, phase)
            except AccelsimError as error:
                notes.append(f"{machine.cache.name} is left out: {error.faults[0].message}")
                continue
            counts[number] = dataclasses.replace(counts[number], cache=sent_on)
    return {
        "name": mapped.name,
        "requested_of": machine.shared.name,
        "launches": [one.as_json() for one in counts],
        "inputs": loaded.inputs,
        "notes": notes,
    }


def execute(
    mapping_name: str,
    model: str | spec.Document[Any],
    seq_len: int | None = None,
    *,
    inputs: Mapping[str, npt.ArrayLike] | Sequence[str] = (),
    seed: int = 0,
    scale: Mapping[str, float] | None = None,
    formats: Mapping[str, str] | None = None,
    settings: Sequence[str] = (),
    check: bool = False,
    against: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Run a mapping's loop nest on numbers, tile by tile, and count what is accessed.

    mapping_name, model, seq_len, settings: as for `simulate`. inputs: an array per input of the
    cascade, or files (NAME=FILE.npy, FILE.safetensors); without any, drawn from the seed. scale:
    input -> what its drawn values are multiplied by. formats: TENSOR, TENSOR.accumulate or
    TENSOR.LEVEL -> a number format; the rest is float64. check: also how far the outputs are from
    those of the cascade itself in float64; against: from those of this cascade. progress: called
    with the share done.
    """
    from accelsim.execute import outcome
    from accelsim.execute.written import settled

    given = formats or {}
    loaded = load(mapping_name, model, seq_len, settings)
    written = settled(given, loaded.mapping)
    if written.everywhere:
        loaded = load(mapping_name, model, seq_len, settings, written.everywhere)
    return outcome.of(
        loaded.mapping,
        program.lower(loaded.mapping),
        loaded.shapes,
        loaded.tables,
        inputs,
        seed=seed,
        scale=scale or {},
        formats=written,
        check=check if against is None else load_cascade(against),
        progress=progress,
        about=loaded.inputs,
        notes=loaded.notes,
    )


def streams(
    mapping_name: str,
    model: str | spec.Document[Any],
    seq_len: int | None = None,
    *,
    settings: Sequence[str] = (),
) -> list[tuple[list[str], Accesses]]:
    """Per launch the names of its tensors and all that its instances ask for, tile by tile."""
    from accelsim.engine.stream import accesses

    mapped = load(mapping_name, model, seq_len, settings).mapping
    phases = program.lower(mapped).phases
    return [
        ([placement.tensor for placement in nest.placements], accesses(nest, phase))
        for nest, phase in zip(mapped.nests, phases, strict=True)
    ]


def _flops(loaded: Loaded) -> int:
    """Two for each multiply-accumulate of the cascade; 0 where their number is not known."""
    nests = loaded.mapping.nests
    parts = {part: size for nest in nests for part, size in nest.extents}
    shapes = {**parts, **loaded.shapes}
    return 2 * analysis.total_counts(loaded.mapping.cascade, shapes, loaded.tables).get("mac", 0)


@dataclass(frozen=True)
class Loaded:
    """A mapping for a workload; shapes and tables of that; content hashes of all inputs."""

    mapping: mapping.Mapping
    shapes: dict[str, int]
    tables: analysis.Tables
    inputs: dict[str, Any]
    notes: list[str]

    @property
    def machine(self) -> arch.Machine:
        return self.mapping.machine


def load(
    mapping_name: str,
    model: str | spec.Document[Any],
    seq_len: int | None,
    settings: Sequence[str] = (),
    formats: Mapping[str, str] | None = None,
) -> Loaded:
    """A mapping for a workload, with all that it names. Arguments as for `simulate`.

    formats: of tensors, over those of the mapping.
    """
    if isinstance(settings, str):
        raise AccelsimError(f"settings: expected a sequence of PATH=VALUE, got {settings!r}")
    overrides = overrides_of(settings)
    if isinstance(model, spec.Document) and overrides["workload"]:
        raise AccelsimError("settings: the workload is loaded already; set its fields before that")
    if formats:
        own = _document(mapping_name, "mapping", overrides["mapping"]).spec.formats
        overrides["mapping"].append((("formats",), {**own, **formats}))
    files = Files.read(mapping_name, model, overrides)
    inputs: dict[str, Any] = {
        kind: {"name": getattr(doc.spec, kind), "sha256": _content_hash(doc)}
        for kind, doc in files.by_kind().items()
    }
    inputs["seq_len"] = seq_len
    inputs["settings"] = list(settings)
    inputs["versions"] = {"accelsim": version(), "python": platform.python_version()}
    loaded = fit(files, cascade.build(files.cascade), seq_len)
    notes = _without_effect(overrides["workload"], loaded.mapping.cascade)
    return dataclasses.replace(loaded, inputs=inputs, notes=notes)


@dataclass(frozen=True)
class Files:
    """A mapping and what it names, and a workload: read, spelled right, and not yet built."""

    mapping: spec.Document[Any]
    arch: spec.Document[Any]
    cascade: spec.Document[Any]
    workload: spec.Document[Any]

    @staticmethod
    def read(
        mapping_name: str,
        model: str | spec.Document[Any],
        overrides: Mapping[str, Sequence[Override]],
    ) -> Files:
        """With values in place of those of the files. Raises AccelsimError."""
        mapping_doc = _document(mapping_name, "mapping", overrides["mapping"])
        return Files(
            mapping_doc,
            _named(mapping_doc, "arch", overrides["arch"]),
            _named(mapping_doc, "cascade"),
            model
            if isinstance(model, spec.Document)
            else _document(model, "workload", overrides["workload"]),
        )

    def by_kind(self) -> dict[str, spec.Document[Any]]:
        return {kind: getattr(self, kind) for kind in ("mapping", "arch", "cascade", "workload")}


def fit(files: Files, built: cascade.Cascade, seq_len: int | None) -> Loaded:
    """A mapping for a workload. built: its cascade. Raises AccelsimError where it does not fit."""
    shapes, tables = _sizes(files.workload, built, seq_len)
    machine = arch.build(files.arch)
    mapped = mapping.build(files.mapping, built, machine, shapes, tables)
    return Loaded(mapped, shapes, tables, {}, [])


def analyze(
    built: cascade.Cascade,
    model: str | None = None,
    seq_len: int | None = None,
    kind: str | None = None,
    arch_name: str | None = None,
) -> dict[str, Any]:
    """What is true of a cascade on any machine; with numbers, of a workload (as for `simulate`).

    kind: kind of the workload. arch_name: a machine, for what no mapping on it can beat: bytes and
    cycles, with the reason (without it, words are of 2 bytes).
    """
    if model is None:
        for given, what in ((seq_len, "--seq-len"), (kind, "--kind"), (arch_name, "--arch")):
            if given is not None:
                raise AccelsimError(f"{what} needs --model: it goes with a workload")
        return analysis.analyze(built).as_json()
    overrides = overrides_of([] if kind is None else [f"workload.kind={kind}"])
    workload_doc = _document(model, "workload", overrides["workload"])
    shapes, tables = _sizes(workload_doc, built, seq_len)
    machine = arch.build(_document(arch_name, "arch")) if arch_name is not None else None
    word = machine.word_bytes if machine is not None else Fraction(WORD_BYTES)
    found = analysis.analyze(built, shapes, word_bytes=word, tables=tables).as_json()
    missing = [table.name for table in built.tables if table.name not in tables]
    if missing:
        found["notes"] = [f"{model} gives no table {', '.join(missing)}: counted without it"]
    if machine is not None:
        try:
            found["bounds"] = _bounds(built, machine, shapes, tables)
        except AccelsimError as error:
            found["notes"] = [
                *found.get("notes", ()),
                f"no lower bounds on {machine.name}: {error.faults[0].message}",
            ]
    return found


def _sizes(
    document: spec.Document[Any], built: cascade.Cascade, seq_len: int | None
) -> tuple[dict[str, int], analysis.Tables]:
    """Shapes, parameters and tables that a workload gives a cascade. Raises AccelsimError."""
    shapes = workload.shapes(document, seq_len)
    tables = workload.tables(document)
    wrong = analysis.wrong_tables(built, tables, shapes)
    faults = [workload.entry_fault(document, w.table, w.entry, w.message) for w in wrong]
    if faults:
        raise SpecError(faults)
    outside = list(analysis.wrong_indices(built, tables, shapes))
    if outside:
        raise AccelsimError(outside)
    return shapes, tables


def _without_effect(overrides: Sequence[Override], built: cascade.Cascade) -> list[str]:
    """Notes on settings of parameters that the cascade has not."""
    known = {parameter.name for parameter in built.parameters}
    given: list[str] = []
    for path, value in (o for o in overrides if o[0][0] == "parameters"):
        given += [str(path[1])] if len(path) > 1 else list(value) if isinstance(value, dict) else []
    return [
        f"workload.parameters: {built.name} has no parameter {name}; it is set without effect"
        for name in dict.fromkeys(given)
        if name not in known
    ]


def check(path: str) -> str:
    """Check one file of any kind; returns what it is. A mapping is checked with what it names.

    Raises AccelsimError with all faults.
    """
    value, source = spec.read_file(Path(path))
    kind = spec.kind_of(value, source)
    try:
        document = spec.validate(value, source, kind)
    except SpecError as error:
        text = value.get("einsums")
        if kind != "cascade" or not isinstance(text, str):
            raise
        # Keys and statements are read apart: report the faults of both at once.
        _, faults = cascade.read_statements(text, source)
        raise SpecError((*error.faults, *faults)) from None
    name = getattr(document.spec, kind)
    match kind:
        case "cascade":
            cascade.build(document)
        case "arch":
            arch.build(document)
        case "workload":
            workload.check(document)
        case "mapping":
            machine = arch.build(_named(document, "arch"))
            built = cascade.build(_named(document, "cascade"))
            check_on_sizes(document, built, machine)
    return f"{kind} {name}"


def _document(
    name: str, kind: str, overrides: Sequence[Override] = (), beside: Path | None = None
) -> spec.Document[Any]:
    if not isinstance(name, str):
        raise AccelsimError(f"{kind}: expected a name or the path of a file as text, got {name!r}")
    value, source = spec.read_file(spec.find(name, kind, beside))
    return spec.validate(value, source, kind, overrides)


def _named(
    mapping_doc: spec.Document[Any], kind: str, overrides: Sequence[Override] = ()
) -> spec.Document[Any]:
    """The arch or cascade that a mapping names; a path counts from the mapping's folder.

    One that a setting names: from the current folder, if it is there.
    """
    name = getattr(mapping_doc.spec, kind)
    folder = Path(mapping_doc.source.name).parent
    is_set = any(tuple(path) == (kind,) for path, _ in mapping_doc.source.settings)
    if is_set and spec.is_path(name, kind) and Path(name).is_file():
        folder = Path()
    try:
        spec.find(name, kind, folder)
    except AccelsimError as error:
        fault = error.faults[0]
        place = mapping_doc.source.fault((kind,), fault.message, help=fault.help)
        raise SpecError(place) from None
    return _document(name, kind, overrides, folder)


def overrides_of(settings: Sequence[str]) -> dict[str, list[Override]]:
    out: dict[str, list[Override]] = {kind: [] for kind in SETTABLE}
    faults: list[Fault] = []
    for setting in settings:
        try:
            kind, path, value = spec.override(setting, SETTABLE)
            out[kind].append((path, value))
        except SpecError as error:
            faults += error.faults
    if faults:
        raise AccelsimError(faults)
    return out


def _content_hash(document: spec.Document[Any]) -> str:
    return hashlib.sha256(document.spec.model_dump_json().encode()).hexdigest()


def version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("accelsim")
    except PackageNotFoundError:
        return "unknown"


def _bounds(
    built: cascade.Cascade,
    machine: arch.Machine,
    shapes: dict[str, int],
    tables: analysis.Tables,
    formats: dict[str, Fraction] | None = None,
    warm: bool = False,
) -> dict[str, Any]:
    rates = dataclasses.replace(machine_rates(machine), warm=warm)
    return analysis.bounds(built, shapes, rates, tables, formats).as_json()


def machine_rates(machine: arch.Machine) -> analysis.MachineRates:
    """What of a machine its lower bounds depend on."""
    return analysis.MachineRates(
        word_bytes=machine.word_bytes,
        dram_bytes_per_cycle=machine.outermost.bandwidth or Fraction(0),
        units={
            unit.name: (
                unit.instances * machine.clusters,
                {op.name: ratio(op.cycles) for op in unit.operations},
            )
            for unit in machine.units
        },
        cache_bytes=(machine.cache.level.capacity_bytes or 0) if machine.cache else 0,
    )
