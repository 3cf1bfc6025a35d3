"""A machine file to a Machine: the only place that can reject one."""

from __future__ import annotations

from fractions import Fraction

from accelsim.arch.machine import (
    Cache,
    Instruction,
    LaunchCost,
    Level,
    Limits,
    Machine,
    Operation,
    Unit,
)
from accelsim.errors import Fault, SpecError, nearest
from accelsim.spec import Document
from accelsim.spec.records import ArchSpec, InstructionSpec, LevelSpec, OperationSpec, UnitSpec
from accelsim.traced import whole

# What analysis counts and a cascade can ask for.
KNOWN_OPERATIONS = (
    *("mac", "add", "sub", "mul", "div", "max", "min", "mask", "where"),
    *("lt", "le", "gt", "ge", "eq", "ne", "sin", "cos"),
    *("neg", "exp", "relu", "abs", "sqrt", "square", "log"),
)


def build(document: Document[ArchSpec]) -> Machine:
    """The machine that a file describes. Raises SpecError with all faults."""
    spec, source = document.spec, document.source
    faults: list[Fault] = []
    for part, items in (("levels", spec.levels), ("units", spec.units)):
        if not items:
            faults.append(source.fault((part,), f"{part}: expected at least one"))
    for name in spec.levels.keys() & spec.units.keys():
        message = f"{name} is the name of a level and of a unit"
        faults.append(source.fault(("units", name), message, key=True))
    for name in ("registers",):
        if name in spec.levels:
            message = f"level name {name!r} is taken: it means the register files of the units"
            faults.append(source.fault(("levels", name), message, key=True))
    if spec.clock <= 0:
        faults.append(source.fault(("clock",), "clock: expected more than 0 Hz"))
    if spec.word <= 0:
        faults.append(source.fault(("word",), "word: expected more than 0 bytes"))
    if not faults:
        faults += [*_level_faults(document), *_launch_faults(document)]
    units = [_unit(document, name, unit, faults) for name, unit in spec.units.items()]
    if faults:
        raise SpecError(faults)
    levels = {name: _level(name, level, spec.clock) for name, level in spec.levels.items()}
    caches = [
        Cache(
            levels.pop(name),
            level.partitions or 1,
            None if level.port is None else level.port / spec.clock,
        )
        for name, level in spec.levels.items()
        if level.kind == "cache"
    ]
    return Machine(
        spec.arch,
        spec.clock,
        spec.word,
        tuple(levels.values()),
        tuple(units),
        spec.clusters,
        next(iter(caches), None),
        _launch(spec),
        _limits(spec),
    )


def _shared_by_instances(spec: ArchSpec) -> bool:
    """Whether grids run on it: only there do instances start, and share a cluster or a cache."""
    return spec.clusters > 1 or any(level.kind == "cache" for level in spec.levels.values())


ONLY_WITH_CLUSTERS = "only of a machine of several clusters or with a cache"


def _inside(spec: ArchSpec) -> tuple[str, ...]:
    """Names of the levels that each cluster has its own of."""
    inner = list(spec.levels.items())[1:]
    return tuple(name for name, level in inner if level.kind == "store")


def _launch_faults(document: Document[ArchSpec]) -> list[Fault]:
    spec, source = document.spec, document.source
    faults = []
    for key in ("launch", "limits"):
        if getattr(spec, key) is not None and not _shared_by_instances(spec):
            faults.append(source.fault((key,), f"{key}: {ONLY_WITH_CLUSTERS}", key=True))
    if spec.limits is not None and spec.limits.reserved:
        at, reserved, inside = ("limits", "reserved"), spec.limits.reserved, _inside(spec)
        capacity = spec.levels[inside[-1]].capacity if inside else None
        if reserved.denominator != 1:
            faults.append(source.fault(at, "limits.reserved: expected a whole number of bytes"))
        if not inside:
            message = "limits.reserved: the clusters have no level of their own"
            faults.append(source.fault(at, message))
        elif capacity is not None and reserved >= capacity:
            message = f"limits.reserved: expected less than {inside[-1]} holds"
            faults.append(source.fault(at, message))
    return faults


def _launch(spec: ArchSpec) -> LaunchCost | None:
    given = spec.launch
    if given is None:
        return None
    return LaunchCost(given.cost * spec.clock, given.start * spec.clock, given.next * spec.clock)


def _limits(spec: ArchSpec) -> Limits | None:
    given = spec.limits
    if given is None:
        return None
    return Limits(given.registers, given.threads, given.instances, int(given.reserved))


def _level_faults(document: Document[ArchSpec]) -> list[Fault]:
    spec, source = document.spec, document.source
    faults = []
    shared = _shared_by_instances(spec)
    for depth, (name, level) in enumerate(spec.levels.items()):
        at = ("levels", name)
        if level.line <= 0:
            faults.append(source.fault((*at, "line"), f"{name}.line: expected more than 0 bytes"))
        if level.kind == "cache" and depth != 1:
            message = f"{name}: a cache stands right inside the outermost level"
            faults.append(source.fault((*at, "kind"), message))
        if level.partitions is not None and level.kind != "cache":
            message = f"{name}.partitions: of a cache; this level is a store"
            faults.append(source.fault((*at, "partitions"), message))
        elif level.partitions is not None and level.partitions > 2:
            message = f"{name}.partitions: expected 1 or 2, got {level.partitions}"
            faults.append(source.fault((*at, "partitions"), message))
        for key, given in (("bandwidth", level.bandwidth), ("port", level.port)):
            if given is not None and given <= 0:
                message = f"{name}.{key}: expected more than 0 B/s"
                faults.append(source.fault((*at, key), message))
        if "reached" in level.model_fields_set and level.bandwidth is None:
            message = f"{name}.reached: a share of a bandwidth; this level has none"
            faults.append(source.fault((*at, "reached"), message))
        if level.port is not None and level.kind != "cache":
            message = f"{name}.port: of a cache; this level is a store"
            faults.append(source.fault((*at, "port"), message))
        if depth == 0:
            if level.bandwidth is None:
                message = f"{name}: the outermost level needs a bandwidth"
                faults.append(source.fault(at, message, key=True))
            if level.capacity is not None:
                message = f"{name}: the outermost level holds everything; it takes no capacity"
                faults.append(source.fault((*at, "capacity"), message, key=True))
        else:
            if level.bandwidth is not None and not shared:
                message = f"{name}: only the outermost level's bandwidth is simulated"
                faults.append(source.fault((*at, "bandwidth"), message, key=True))
            if level.latency and level.kind != "cache":
                and_cache = " and a cache's" if shared else ""
                message = f"{name}: only the outermost level's{and_cache} latency is simulated"
                faults.append(source.fault((*at, "latency"), message, key=True))
            if level.capacity is None:
                message = f"{name}: a level inside another needs a capacity"
                faults.append(source.fault(at, message, key=True))
    return faults


def _level(name: str, spec: LevelSpec, clock: Fraction) -> Level:
    return Level(
        name=name,
        bandwidth=None if spec.bandwidth is None else spec.bandwidth * spec.reached / clock,
        latency=spec.latency * clock,
        capacity_bytes=None if spec.capacity is None else whole(spec.capacity),
        line_bytes=spec.line,
        read_pj=spec.energy.read,
        write_pj=spec.energy.write,
        area_um2=spec.area,
    )


def _unit(document: Document[ArchSpec], name: str, spec: UnitSpec, faults: list[Fault]) -> Unit:
    at = ("units", name)
    if not spec.shape:
        faults.append(document.source.fault((*at, "shape"), f"{name}.shape: expected a dimension"))
    if spec.timing == "systolic" and len(spec.shape) != 2:
        message = f"{name}.timing: a systolic array has two dimensions, rows and columns"
        faults.append(document.source.fault((*at, "timing"), message))
    faults += _slows_faults(document, name, spec)
    operations = []
    for op_name, op in spec.operations.items():
        where = (*at, "operations", op_name)
        if op_name not in KNOWN_OPERATIONS:
            message = f"{op_name} is no operation that a cascade can ask for"
            help = nearest(op_name, KNOWN_OPERATIONS)
            faults.append(document.source.fault(where, message, help=help, key=True))
            continue
        built = _operation(document, spec, op_name, op, faults, where)
        if built is not None:
            operations.append(built)
    return Unit(
        name=name,
        shape=tuple(spec.shape.items()),
        operations=tuple(operations),
        register_read_pj=spec.registers.energy.read,
        register_write_pj=spec.registers.energy.write,
        register_area_um2=spec.registers.area,
        systolic=spec.timing == "systolic",
        instructions=tuple(
            _instruction(document, spec, (*at, "instructions", known), known, one, faults)
            for known, one in spec.instructions.items()
        ),
        slows=tuple(spec.slows.items()),
    )


def _slows_faults(document: Document[ArchSpec], name: str, spec: UnitSpec) -> list[Fault]:
    arch, source = document.spec, document.source
    faults = []
    at = ("units", name, "slows")
    if spec.slows and not _shared_by_instances(arch):
        return [source.fault(at, f"{name}.slows: {ONLY_WITH_CLUSTERS}", key=True)]
    inside = _inside(arch)
    known = (*(unit for unit in arch.units if unit != name), *inside)
    for other in spec.slows:
        help: tuple[str, ...] = ()
        if other == name:
            message = f"{name}.slows: a unit does not slow itself"
        elif other in arch.levels and other not in inside:
            message = f"{name}.slows: {other} is of all clusters; expected a unit or level of one"
        elif other not in known:
            message = f"{name}.slows: {other} is no other unit and no level inside a cluster"
            help = nearest(other, known)
        elif other in inside and arch.levels[other].bandwidth is None:
            message = f"{name}.slows: {other} has no bandwidth to lose any of"
        else:
            continue
        faults.append(source.fault((*at, other), message, help=help, key=True))
    return faults


def _instruction(
    document: Document[ArchSpec],
    unit: UnitSpec,
    at: tuple[str, ...],
    name: str,
    spec: InstructionSpec,
    faults: list[Fault],
) -> Instruction:
    for dimension in spec.shape:
        if dimension not in unit.shape:
            message = f"{name}: the unit has no dimension {dimension!r}"
            help = nearest(dimension, unit.shape)
            path = (*at, "shape", dimension)
            faults.append(document.source.fault(path, message, help=help, key=True))
    if spec.operation not in unit.operations:
        message = f"{name}: the unit has no operation {spec.operation!r}"
        help = nearest(spec.operation, unit.operations)
        faults.append(document.source.fault((*at, "operation"), message, help=help))
    if spec.rate != 1 and not _shared_by_instances(document.spec):
        message = f"{name}.rate: {ONLY_WITH_CLUSTERS}"
        faults.append(document.source.fault((*at, "rate"), message))
    shape = tuple(spec.shape.items())
    return Instruction(name, spec.operation, spec.opcode, shape, spec.threads, spec.rate)


def _operation(
    document: Document[ArchSpec],
    unit: UnitSpec,
    name: str,
    spec: OperationSpec,
    faults: list[Fault],
    where: tuple[str, ...],
) -> Operation | None:
    """An operation with its primitives. One that is made of others takes their cycles in turn."""
    if spec.uses is None:
        assert spec.cycles is not None  # the record has either cycles and energy, or uses
        assert spec.energy is not None
        return Operation(name, spec.cycles, ((name, 1),), spec.energy, spec.area)
    cycles = 0
    for used, count in spec.uses.items():
        other = unit.operations.get(used)
        if other is None or other.uses is not None or other.cycles is None:
            known = [op for op, o in unit.operations.items() if o.uses is None]
            message = f"{name} uses {used!r}, which is no operation of this unit with its own cost"
            fault = document.source.fault(
                (*where, "uses", used), message, help=nearest(used, known), key=True
            )
            faults.append(fault)
            return None
        cycles += count * other.cycles
    return Operation(name, cycles, tuple(spec.uses.items()), Fraction(0), spec.area)
