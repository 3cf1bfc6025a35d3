"""What the rows of a study hold: columns, their types, and the measures that they show.

Which columns there are, and of which type, depends on the study alone: the same for every point,
part and shard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from accelsim.errors import AccelsimError, SpecError, nearest, shown
from accelsim.explore.axes import Axis, axis_of
from accelsim.explore.constraint import Constraint, read
from accelsim.spec import Document
from accelsim.spec.studies import SweepSpec

Kind = Literal["int64", "float64", "string", "bool"]
Row = dict[str, Any]
DEFAULT = ("dram_bytes", "cycles", "seconds", "energy_pj", "energy_all_registers_pj")
OF_MACHINE = "area_um2"
"""Of the machine alone: measures that begin so need no simulation."""

_SIMULATED = (
    *DEFAULT,
    *("tflops", "area_um2", "tiles", "tiles_visited", "tiles_in_part", "points", "points_kept"),
    *("bound_tiles", "bound_points", "utilization_UNIT", "utilization_UNIT_EINSUM"),
    *("busy_seconds_SERVER", "area_um2_PART", "capacity_kib_LEVEL"),
    *("visits_LOOP_least", "visits_LOOP_mean", "visits_LOOP_most"),
    *("flops", "bound_seconds", "bound_traffic_bytes", "peak_tflops", "dram_bytes_per_second"),
    *("wait_share_UNIT_CAUSE", "traffic_bytes_LEVEL_TENSOR_read"),
    *("traffic_bytes_LEVEL_TENSOR_write", "energy_pj_PART"),
)
_EXECUTED = ("not_a_number", "error_OUTPUT", "worst_row_OUTPUT", "not_finite_OUTPUT")
_WHOLE = re.compile(
    r"dram_bytes|cycles|tiles(_visited|_in_part)?|points(_kept)?|visits_.*_(least|most)"
    r"|not_a_number|not_finite_.*"
)


@dataclass(frozen=True)
class Column:
    """measure: what it shows, "" for an axis. asked: by the study; without it, a point has none."""

    name: str
    kind: Kind
    measure: str = ""
    asked: bool = True


@dataclass(frozen=True)
class Table:
    """The columns of a study, in their order: point, axes, measures, feasible, error.

    feasible: "" without a constraint on measures. The four that are not of the study get a `_` at
    their end where it has such a name itself.
    """

    point: str
    axes: tuple[Column, ...]
    measures: tuple[Column, ...]
    feasible: str
    error: str
    constraints: tuple[tuple[Constraint, tuple[tuple[str, str], ...]], ...]
    """On measures, with the measure of each name that is no axis."""

    @property
    def columns(self) -> tuple[Column, ...]:
        marks = (Column(self.feasible, "bool"),) if self.feasible else ()
        own = (Column(self.point, "int64"), *self.axes, *self.measures)
        return (*own, *marks, Column(self.error, "string"))

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


def candidates(sweep: SweepSpec) -> tuple[str, ...]:
    """Names of all measures of a sweep; in capitals, what stands for a name of its files."""
    if sweep.execute is not None:
        return _EXECUTED
    runs = {name for case in sweep.cases for name in case.runs}
    return (*_SIMULATED, *(f"{run}.{name}" for run in sorted(runs) for name in _SIMULATED))


def is_measure(name: str, sweep: SweepSpec) -> bool:
    """Whether a name can be a measure; of units, levels and Einsums any name may be meant."""
    run, dot, rest = name.rpartition(".")
    if dot and run not in {r for case in sweep.cases for r in case.runs}:
        return False
    forms = _EXECUTED if sweep.execute is not None else _SIMULATED
    return any(re.fullmatch(re.sub(r"[A-Z]{2,}", r"\\w+", form), rest) for form in forms)


AGAINST_BOUNDS = (
    *("tflops", "flops", "bound_seconds", "bound_traffic_bytes", "peak_tflops"),
    "dram_bytes_per_second",
)


def table(
    document: Document[SweepSpec],
    units: Iterable[str],
    outputs: Iterable[str],
    parts: Iterable[str] = (),
) -> Table:
    """The columns of a sweep. units: of its machines. outputs: of its cascades, where it executes.

    parts: measures of its breakdown.

    Raises SpecError for an axis that has a column's name.
    """
    sweep = document.spec
    axes = [axis_of(name, form) for name, form in sweep.axes.items()]
    named = {axis.name for axis in axes}
    shown = dict(sweep.columns)
    asked = set(shown)
    if not shown:
        shown = {measure: measure for measure in _by_default(sweep, units, outputs)}
    constraints = []
    for text in sweep.constraints:
        constraint = read(text, lambda name: True, ())
        others = [name for name in constraint.names if name not in named]
        if others:
            sources = tuple((name, shown.get(name, name)) for name in others)
            constraints.append((constraint, sources))
    needed = [name for _, sources in constraints for _, name in sources]
    needed += [shown.get(name, name) for name in sweep.objectives]
    for measure in needed:
        holding = [name for name, of in shown.items() if of == measure]
        if not holding:
            shown[measure] = measure
        asked |= {holding[0] if holding else measure}
    for measure in parts:
        if measure not in shown.values():
            shown.setdefault(measure, measure)
    for name in shown:
        if name in named:
            message = f"axes.{name}: {name} is a measure; give the axis another name"
            raise SpecError(document.source.fault(("axes", name), message, key=True))
    measures = [Column(name, _kind(of), of, name in asked) for name, of in shown.items()]
    taken = {*named, *shown}
    point, feasible, error = (_free(name, taken) for name in ("point", "feasible", "error"))
    return Table(
        point,
        tuple(Column(axis.name, _kind_of_axis(axis)) for axis in axes),
        tuple(measures),
        feasible if constraints else "",
        error,
        tuple(constraints),
    )


def typed(column: Column, value: Any) -> Any:
    """A value as its column holds it. Raises AccelsimError where that cannot be."""
    if value is None:
        return None
    try:
        match column.kind:
            case "string":
                return str(value).encode("utf-8", "backslashreplace").decode()
            case "float64":
                return float(value)
            case "bool":
                return bool(value)
            case "int64":
                if value == int(value) and -(1 << 63) <= value < 1 << 63:
                    return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    what = "whole number of 64 bits" if column.kind == "int64" else "number"
    raise AccelsimError(f"{column.name}: {shown(value)} is no {what}")


def missing(column: Column, known: Iterable[str]) -> AccelsimError:
    """The error of a point without a measure that the study asks for."""
    help = "; ".join(nearest(column.measure, known))
    where = "" if column.name == column.measure else f"columns.{column.name}: "
    return AccelsimError(f"{where}no measure {column.measure!r}" + (f" ({help})" if help else ""))


def _by_default(sweep: SweepSpec, units: Iterable[str], outputs: Iterable[str]) -> Sequence[str]:
    if sweep.execute is None:
        return [*DEFAULT, *(f"utilization_{unit}" for unit in units)]
    forms = ("error", "worst_row", "not_finite")
    return ["not_a_number", *(f"{form}_{name}" for name in outputs for form in forms)]


def _kind(measure: str) -> Kind:
    return "int64" if _WHOLE.fullmatch(measure.rpartition(".")[2]) else "float64"


def _kind_of_axis(axis: Axis) -> Kind:
    """One type for all values: numbers among texts become texts."""
    kinds = {type(value) for value in axis.values}
    if kinds == {bool}:
        return "bool"
    if kinds == {int} and all(-(1 << 63) <= value < 1 << 63 for value in axis.values):
        return "int64"
    if kinds <= {int, float} and all(abs(v) <= 1 << 53 for v in axis.values if type(v) is int):
        return "float64"
    return "string"


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
