"""A Machine as tables of texts."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from accelsim.tables import Table
from accelsim.units import show_bytes, show_energy

if TYPE_CHECKING:
    from accelsim.arch.machine import Level, Machine, Unit


def tables(machine: Machine) -> tuple[Table, Table]:
    """Levels, outermost first, and units, with what each of their actions costs."""
    clock = f"{float(machine.clock_hz / 10**6):,.6g} MHz"
    many = f", {machine.clusters:,} clusters" if machine.clusters > 1 else ""
    levels = Table(
        f"{machine.name}: {clock}, values of {show_bytes(machine.word_bytes)}{many}",
        ("level", "capacity", "bandwidth", "an access", "read", "written"),
        tuple(_level(machine, level) for level in machine.every_level),
    )
    units = Table(
        "units: cycles of an operation, pJ of a primitive one",
        ("unit", "elements", "operations"),
        tuple(_unit(unit) for unit in machine.units),
        numbers=False,
    )
    return levels, units


def _level(machine: Machine, level: Level) -> tuple[str, ...]:
    rate = "" if level.bandwidth is None else f"{show_bytes(level.bandwidth * machine.clock_hz)}/s"
    return (
        level.name,
        "" if level.capacity_bytes is None else show_bytes(level.capacity_bytes),
        rate,
        show_bytes(level.line_bytes),
        _energy(level.read_pj),
        _energy(level.write_pj),
    )


def _unit(unit: Unit) -> tuple[str, ...]:
    shape = " x ".join(f"{extent:,} {dimension}" for dimension, extent in unit.shape)
    operations = (
        f"{operation.name} {operation.cycles}"
        + (f" ({show_energy(float(operation.energy_pj))})" if operation.energy_pj else "")
        for operation in unit.operations
    )
    return unit.name, shape, ", ".join(operations)


def _energy(picojoules: Fraction) -> str:
    return show_energy(float(picojoules)) if picojoules else ""
