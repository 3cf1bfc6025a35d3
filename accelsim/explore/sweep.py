"""A sweep file to rows: one per combination of the values of its axes."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

from accelsim import spec, verbs
from accelsim.errors import AccelsimError, Fault, SpecError, nearest
from accelsim.execute.formats import format_named
from accelsim.execute.written import read_formats
from accelsim.explore.executed import executed
from accelsim.files import write_output
from accelsim.report.timeline import Span, spans
from accelsim.results import Result
from accelsim.spec.studies import CaseSpec, SweepSpec

Row = dict[str, Any]
MOST_CHECKED = 100_000
_BRACES = re.compile(r"\{(\w+)\}")


def load(path: str, inside: tuple[Path, ...] = ()) -> spec.Document[SweepSpec]:
    """A sweep file. inside: the files whose base it is. Raises AccelsimError with all faults."""
    document: spec.Document[SweepSpec] = spec.load(path, "sweep")
    own = Path(document.source.name).resolve()
    if own in inside:
        message = f"base: {path} goes out from itself"
        raise SpecError(document.source.fault(("base",), message))
    sweep, source = document.spec, document.source
    before: list[CaseSpec] = []
    if sweep.base is not None:
        beside = Path(source.name).parent / sweep.base
        base = load(str(beside), (*inside, own)).spec
        before = base.cases
        axes = {**base.axes, **sweep.axes}
        execute = sweep.execute or base.execute
        sweep = sweep.model_copy(update={"axes": axes, "execute": execute})
    faults: list[Fault] = []
    if any(type(n) is not int or n < 1 for n in sweep.axes.get("seq_len", ())):
        message = "seq_len: expected whole numbers from 1 on"
        faults.append(source.fault(("axes", "seq_len"), message))
    for name, values in sweep.axes.items():
        place = ("axes", name)
        if not values or any(not isinstance(v, str | int | float) for v in values):
            message = f"axes.{name}: expected a list of plain values"
            faults.append(source.fault(place, message))
        for index, value in enumerate(values):
            if value in values[:index]:
                message = f"axes.{name}: {value!r} stands twice"
                faults.append(source.fault((*place, index), message))
        if name in sweep.columns:
            message = f"columns.{name}: {name} is an axis, which is a column already"
            faults.append(source.fault(("columns", name), message, key=True))
    for index, case in enumerate(sweep.cases):
        for axis, wanted in case.when.items():
            at = ("cases", index, "when", axis)
            if axis not in sweep.axes:
                message, help = f"no axis {axis!r}", nearest(axis, sweep.axes)
                faults.append(source.fault(at, message, help=help, key=True))
                continue
            for value in _listed(wanted):
                if value not in sweep.axes[axis]:
                    known = [str(v) for v in sweep.axes[axis]]
                    message = f"axis {axis} has no value {value!r}"
                    faults.append(source.fault(at, message, help=nearest(str(value), known)))
    faults += _loose_names(document, sweep)
    faults += _on_numbers(document, sweep)
    if faults:
        raise SpecError(faults)
    whole = sweep.model_copy(update={"cases": [*before, *sweep.cases]})
    return dataclasses.replace(document, spec=whole)


def _loose_names(document: spec.Document[SweepSpec], sweep: SweepSpec) -> list[Fault]:
    """{NAMES} in settings and file names that are no axis; files that are not there."""
    source, faults = document.source, []

    def look(text: str, at: tuple[str | int, ...], kind: str = "") -> None:
        inside = _BRACES.findall(text)
        for name in inside:
            if name not in sweep.axes:
                message, help = f"{{{name}}} is no axis", nearest(name, sweep.axes)
                faults.append(source.fault(at, message, help=help))
        if kind and not inside:
            try:
                spec.find(_placed(text, Path(source.name).parent), kind)
            except AccelsimError as error:
                fault = error.faults[0]
                faults.append(source.fault(at, fault.message, help=fault.help))

    for index, case in enumerate(sweep.cases):
        here = ("cases", index)
        if case.workload is not None:
            look(case.workload, (*here, "workload"), "workload")
        for name, run in case.runs.items():
            own = (*here, "runs", name)
            if run.mapping is not None:
                look(run.mapping, (*own, "mapping"), "mapping")
            for field in ("set", "formats"):
                for number, text in enumerate(getattr(run, field)):
                    look(text, (*own, field, number))
    return faults


def _on_numbers(document: spec.Document[SweepSpec], sweep: SweepSpec) -> list[Fault]:
    """Formats that are none; what only a sweep that executes can have, and what it cannot."""
    source, faults = document.source, []
    if sweep.execute is not None and sweep.warm:
        message = "warm: executed on numbers, nothing has a time"
        faults.append(source.fault(("warm",), message, key=True))
    for index, case in enumerate(sweep.cases):
        for name, run in case.runs.items():
            own = ("cases", index, "runs", name)
            if sweep.execute is None:
                for field in ("formats", "scale"):
                    if getattr(run, field):
                        message = f"{field}: only with `execute: {{seed: 0}}` in the sweep"
                        faults.append(source.fault((*own, field), message, key=True))
                continue
            for number, text in enumerate(run.formats):
                try:
                    for written in read_formats(text).values():
                        if not _BRACES.search(written):
                            format_named(written)
                except AccelsimError as error:
                    fault = error.faults[0]
                    at = (*own, "formats", number)
                    faults.append(source.fault(at, fault.message, help=fault.help))
    return faults


def check_points(document: spec.Document[SweepSpec]) -> None:
    """Raise AccelsimError if some point has no run or no workload, naming the first."""
    for axes in itertools.islice(_points(document.spec), MOST_CHECKED):
        try:
            _asked(document, axes)
        except AccelsimError as error:
            raise _at_point(axes, error) from None


def _points(sweep: SweepSpec) -> Iterator[Row]:
    for values in itertools.product(*sweep.axes.values()):
        yield dict(zip(sweep.axes, values, strict=True))


def _at_point(axes: Row, error: AccelsimError) -> AccelsimError:
    where = ", ".join(f"{axis} {value}" for axis, value in axes.items())
    return AccelsimError([Fault(f"at {where}:"), *error.faults])


def rows(
    document: spec.Document[SweepSpec],
    progress: Callable[[float], None] | None = None,
    *,
    everything: bool = False,
) -> Iterator[Row]:
    """The rows, in the order of the axes' values. Raises AccelsimError, naming the point.

    everything: all measures besides the columns.
    """
    sweep = document.spec
    check_points(document)
    number = prod(len(values) for values in sweep.axes.values())
    for done, axes in enumerate(_points(sweep)):
        try:
            if sweep.execute is not None:
                found = _executed_columns(document, axes, everything=everything)
            else:
                results = point(document, axes)
                more = measures(results) if everything else {}
                found = more | _columns(document, results)
            for name in found.keys() & axes.keys():
                message = f"axes.{name}: {name} is a measure; give the axis another name"
                raise SpecError(document.source.fault(("axes", name), message, key=True))
        except AccelsimError as error:
            raise _at_point(axes, error) from None
        yield axes | found
        if progress is not None:
            progress((done + 1) / number)


def write_csv(table: list[Row], path: Path) -> None:
    """Write rows with a header. Numbers as Python shows them: whole ones exactly."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(table)
    write_output(path, text.getvalue())


def measures(results: dict[str, Result]) -> Row:
    """What a column can show: sums over the runs of a point, which follow one another.

    utilization_UNIT: share of the unit's elements x time at work.
    """
    every = list(results.values())
    seconds = sum(r.seconds for r in every)
    out: Row = {
        "dram_bytes": round(sum(_outermost(r) for r in every)),
        "cycles": sum(r.cycles for r in every),
        "seconds": seconds,
        "tflops": sum(r.flops_per_second * r.seconds for r in every) / seconds / 1e12
        if seconds
        else 0.0,
        "energy_pj": sum(r.energy_pj for r in every),
        "energy_all_registers_pj": sum(r.energy_all_registers_pj for r in every),
    }
    for unit in every[0].active:
        at_work = sum(r.active[unit] * r.seconds for r in every)
        out[f"utilization_{unit}"] = at_work / seconds if seconds else 0.0
        for einsum in {e: 0 for r in every for e in r.active_by_einsum[unit]}:
            own = sum(r.active_by_einsum[unit].get(einsum, 0.0) * r.seconds for r in every)
            out[f"utilization_{unit}_{einsum}"] = own / seconds if seconds else 0.0
    for server in every[0].busy_cycles:
        busy = sum(r.busy_cycles[server] * r.seconds / r.cycles for r in every if r.cycles)
        out[f"busy_seconds_{server}"] = busy
    for level, buffer in every[0].buffers.items():
        out[f"capacity_kib_{level}"] = buffer["capacity_bytes"] / 1024
    for part, area in every[0].area_um2.items():
        out[f"area_um2_{part}"] = area
    out["area_um2"] = sum(every[0].area_um2.values())
    return out | _of_masks(every)


def _of_masks(results: list[Result]) -> Row:
    """What predicates leave of tiles and points, over all phases that have any.

    Ranks that no predicate ties do not multiply; counts are 0 and bounds 1 without a predicate.
    Visits per iteration of a loop: of one run only, as iterations of two are not the same.
    """
    phases = [phase["masks"] for r in results for phase in r.phases if phase["masks"]]
    out: Row = {
        "tiles": sum(prod(m["of"] for m in masks) for masks in phases),
        "tiles_visited": sum(prod(m["visited"] for m in masks) for masks in phases),
        "points": sum(prod(m["points_of"] for m in masks) for masks in phases),
        "points_kept": sum(prod(m["points"] for m in masks) for masks in phases),
    }
    whole = sum(prod(m["visited"] - m["in_part"] for m in masks) for masks in phases)
    out["tiles_in_part"] = out["tiles_visited"] - whole
    out["bound_tiles"] = out["tiles"] / out["tiles_visited"] if phases else 1.0
    out["bound_points"] = out["points"] / out["points_kept"] if phases else 1.0
    if len(results) == 1:
        for mask in (m for masks in phases for m in masks):
            for loop, visits in mask["per_iteration"].items():
                out |= {f"visits_{loop}_{which}": n for which, n in visits.items()}
    return out


DEFAULT = ("dram_bytes", "cycles", "seconds", "energy_pj", "energy_all_registers_pj")


def _columns(document: spec.Document[SweepSpec], results: dict[str, Result]) -> Row:
    of_point = measures(results)
    if not document.spec.columns:
        shares = [f"utilization_{unit}" for unit in next(iter(results.values())).active]
        return {name: of_point[name] for name in (*DEFAULT, *shares)}
    known = of_point | {
        f"{run}.{name}": value
        for run, result in results.items()
        for name, value in measures({run: result}).items()
    }
    return _chosen(document, known)


def _executed_columns(document: spec.Document[SweepSpec], axes: Row, *, everything: bool) -> Row:
    """Columns of a point on numbers; without any, and with everything, all measures."""
    assert document.spec.execute is not None
    workload, runs = _asked(document, axes)
    if len(runs) > 1:
        message = f"a point on numbers has one run, this {len(runs)}: {', '.join(runs)}"
        raise AccelsimError(message)
    (run,) = runs.values()
    known = executed(
        run.mapping,
        workload,
        axes.get("seq_len"),
        seed=document.spec.execute.seed,
        scale=run.scale,
        formats=run.formats,
        settings=run.settings,
    )
    more = known if everything or not document.spec.columns else {}
    return more | _chosen(document, known)


def _chosen(document: spec.Document[SweepSpec], known: Row) -> Row:
    """The columns that a sweep asks for. Raises SpecError for no measure."""
    out = {}
    for name, measure in document.spec.columns.items():
        if measure not in known:
            message = f"columns.{name}: no measure {measure!r}"
            help = nearest(measure, known)
            raise SpecError(document.source.fault(("columns", name), message, help=help))
        out[name] = known[measure]
    return out


@dataclasses.dataclass
class _Run:
    """What all cases that apply to a point say of a run."""

    mapping: str = ""
    settings: list[str] = dataclasses.field(default_factory=list)
    formats: dict[str, str] = dataclasses.field(default_factory=dict)
    scale: dict[str, float] = dataclasses.field(default_factory=dict)


def _asked(document: spec.Document[SweepSpec], axes: Row) -> tuple[str, dict[str, _Run]]:
    """Workload and runs of a point."""
    workload = ""
    runs: dict[str, _Run] = {}
    beside = Path(document.source.name).parent
    for case in document.spec.cases:
        if any(axes[axis] not in _listed(wanted) for axis, wanted in case.when.items()):
            continue
        workload = case.workload or workload
        for name, run in case.runs.items():
            found = runs.setdefault(name, _Run())
            if run.mapping is not None:
                found.mapping = _placed(_filled(run.mapping, axes), beside)
            found.settings += [_filled(text, axes) for text in run.set]
            for text in run.formats:
                found.formats |= read_formats(_filled(text, axes))
            found.scale |= {tensor: float(factor) for tensor, factor in run.scale.items()}
    loose = [name for name, run in runs.items() if not run.mapping]
    if not runs or not workload or loose:
        what = f"a mapping for {', '.join(loose)}" if loose else "a run and a workload"
        raise AccelsimError(f"{document.source.name}: no case gives {what}")
    return _placed(_filled(workload, axes), beside), runs


def point(
    document: spec.Document[SweepSpec],
    axes: Row,
    more: Sequence[str] = (),
    *,
    engine_name: str = "steady",
) -> dict[str, Result]:
    """Results of the runs of a point, by their names. more: settings of all, after its own."""
    workload, runs = _asked(document, axes)
    return {
        name: verbs.simulate(
            run.mapping,
            workload,
            axes.get("seq_len"),
            engine_name=engine_name,
            settings=[*run.settings, *more],
            warm=document.spec.warm,
        ).result
        for name, run in runs.items()
    }


def _placed(name: str, beside: Path) -> str:
    """A file is named from the sweep's folder."""
    return str(beside / name) if name.endswith((".yaml", ".yml")) else name


def _filled(text: str, axes: Row) -> str:
    for axis, value in axes.items():
        text = text.replace("{" + axis + "}", str(value))
    return text


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _outermost(result: Result) -> float:
    """Bytes to and from the outermost level."""
    return sum(next(iter(result.traffic_bytes.values())).values())


def timeline(document: spec.Document[SweepSpec], axes: Row, *, record: int) -> list[Span]:
    """The tasks of a point's runs, run again: of each phase the first `record`.

    The runs follow one another; of several, a task's tile begins with the name of its run.
    """
    workload, runs = _asked(document, axes)
    out: list[Span] = []
    begin = 0.0
    for name, run in runs.items():
        made = verbs.simulate(
            run.mapping,
            workload,
            axes.get("seq_len"),
            settings=run.settings,
            warm=document.spec.warm,
            record=record,
        )
        own = f"{name} " if len(runs) > 1 else ""
        found = spans(made.program, made.execution, begin)
        out += [(server, task, start, end, own + tile) for server, task, start, end, tile in found]
        begin += made.result.seconds
    return out
