"""A machine: levels, units, and what each of their actions costs. Frozen records only."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from accelsim.arch.shown import tables
from accelsim.tables import html


@dataclass(frozen=True)
class Level:
    """A storage place.

    bandwidth: bytes per cycle that are reached, or None when it is not a limit. latency: cycles.
    capacity_bytes: None when unbounded. line_bytes: bytes per access. energies: pJ per access.
    area_um2: of the whole level.
    """

    name: str
    bandwidth: Fraction | None
    latency: Fraction
    capacity_bytes: int | None
    line_bytes: Fraction
    read_pj: Fraction
    write_pj: Fraction
    area_um2: Fraction


@dataclass(frozen=True)
class Cache:
    """What all that moves from and to the outermost level goes through.

    partitions: parts of it, each near to some of the clusters. port: bytes per cycle that one
    cluster draws at most, or None when it is not a limit.
    """

    level: Level
    partitions: int
    port: Fraction | None = None

    @property
    def name(self) -> str:
        return self.level.name


@dataclass(frozen=True)
class Instruction:
    """By which a program asks for an operation; shape: how much of each dimension at most.

    threads: how many issue it together. rate: of the unit's own, at which it is done.
    """

    name: str
    operation: str
    opcode: str
    shape: tuple[tuple[str, int], ...]
    threads: int
    rate: Fraction = Fraction(1)


@dataclass(frozen=True)
class Operation:
    """One operation on one processing element.

    cycles: how long the element is busy. primitives: (operation, how many) that it consists of;
    energy belongs to primitives. energy_pj, area_um2: of a primitive, else 0.
    """

    name: str
    cycles: int
    primitives: tuple[tuple[str, int], ...]
    energy_pj: Fraction
    area_um2: Fraction


@dataclass(frozen=True)
class Unit:
    """An array of like processing elements. Register energies in pJ per word, of one element.

    systolic: whether operands enter at the edges and move through the array. slows: (another
    unit, or a level inside the cluster; the share of this unit's working time that it loses).
    """

    name: str
    shape: tuple[tuple[str, int], ...]
    operations: tuple[Operation, ...]
    register_read_pj: Fraction
    register_write_pj: Fraction
    register_area_um2: Fraction
    systolic: bool = False
    instructions: tuple[Instruction, ...] = ()
    slows: tuple[tuple[str, Fraction], ...] = ()

    @property
    def instances(self) -> int:
        """Processing elements."""
        product = 1
        for _, extent in self.shape:
            product *= extent
        return product

    @property
    def area_um2(self) -> Fraction:
        """All elements: their operations and register files."""
        own = sum((op.area_um2 for op in self.operations), self.register_area_um2)
        return self.instances * own

    def operation(self, name: str) -> Operation | None:
        return next((op for op in self.operations if op.name == name), None)


@dataclass(frozen=True)
class LaunchCost:
    """What starting costs, in cycles.

    cost: of a launch. start: of an instance, before its first load. next: between two instances
    of a persistent kernel.
    """

    cost: Fraction
    start: Fraction
    next: Fraction


@dataclass(frozen=True)
class Limits:
    """What the instances that one cluster runs at a time have between them.

    registers: of 32 bits. reserved_bytes: of the innermost level, for each instance.
    """

    registers: int
    threads: int
    instances: int
    reserved_bytes: int


@dataclass(frozen=True)
class Machine:
    """levels: where tiles can be, outermost first. word_bytes: size of one value.

    clusters: how many there are of the units and the levels but the outermost. cache: between the
    outermost level and all clusters. launch, limits: None where starting costs nothing and
    nothing limits what a cluster runs at a time.
    """

    name: str
    clock_hz: Fraction
    word_bytes: Fraction
    levels: tuple[Level, ...]
    units: tuple[Unit, ...]
    clusters: int = 1
    cache: Cache | None = None
    launch: LaunchCost | None = None
    limits: Limits | None = None

    @property
    def outermost(self) -> Level:
        return self.levels[0]

    @property
    def every_level(self) -> tuple[Level, ...]:
        """Outermost first, the cache among them."""
        between = () if self.cache is None else (self.cache.level,)
        return (self.levels[0], *between, *self.levels[1:])

    @property
    def shared(self) -> Level:
        """The level that transfers of the clusters are requested of."""
        return self.levels[0] if self.cache is None else self.cache.level

    @property
    def area_um2(self) -> dict[str, Fraction]:
        """Area of the chip by part: the levels inside the outermost, and the units."""
        parts: tuple[Level | Unit, ...] = (*self.levels[1:], *self.units)
        own = {part.name: part.area_um2 * self.clusters for part in parts}
        shared = {} if self.cache is None else {self.cache.name: self.cache.level.area_um2}
        return {**shared, **own}

    def level(self, name: str) -> Level | None:
        return next((level for level in self.levels if level.name == name), None)

    def unit(self, name: str) -> Unit | None:
        return next((unit for unit in self.units if unit.name == name), None)

    def _repr_html_(self) -> str:
        return html(tables(self))
