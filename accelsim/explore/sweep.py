"""A sweep file to rows: one per combination of the values of its axes."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from accelsim import arch, spec, verbs
from accelsim.errors import AccelsimError, Fault, SpecError, nearest
from accelsim.execute.written import read_formats
from accelsim.explore import space
from accelsim.explore.axes import listed
from accelsim.explore.columns import DEFAULT
from accelsim.explore.executed import executed
from accelsim.explore.measures import measures
from accelsim.explore.reading import placed
from accelsim.files import write_output
from accelsim.report.timeline import Span, spans
from accelsim.results import Result
from accelsim.spec.studies import AxisSpec, SweepSpec

Row = dict[str, Any]
MOST_CHECKED = 100_000


def check_points(document: spec.Document[SweepSpec]) -> None:
    """Raise AccelsimError if some point has no run or no workload, naming the first.

    Of the first 100,000 points.
    """
    for axes in _points(space.of(document.spec), MOST_CHECKED):
        try:
            asked(document, axes)
        except AccelsimError as error:
            raise _at_point(axes, error) from None


def _points(points: space.Space, last: int) -> Iterator[Row]:
    """Axes of the points before `last`. Raises AccelsimError where a constraint has no value."""
    for _, axes, wrong in points.walk(0, last):
        if wrong is not None:
            raise _at_point(axes, wrong)
        yield axes


def _at_point(axes: Row, error: AccelsimError) -> AccelsimError:
    there = {axis: value for axis, value in axes.items() if value is not None}
    where = ", ".join(f"{axis} {value}" for axis, value in there.items())
    return AccelsimError([Fault(f"at {where}:"), *error.faults])


def rows(
    document: spec.Document[SweepSpec],
    progress: Callable[[float], None] | None = None,
    *,
    everything: bool = False,
) -> Iterator[Row]:
    """The rows, in the order of the axes' values, as far as the budget goes.

    Raises AccelsimError, naming the point.

    everything: all measures besides the columns.
    """
    sweep = document.spec
    check_points(document)
    points, begin, budget = space.of(sweep), time.monotonic(), sweep.budget
    last = min(len(points), budget.points or len(points))
    for done, axes in enumerate(_points(points, last)):
        if budget.seconds is not None and time.monotonic() - begin >= budget.seconds:
            return
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
            progress((done + 1) / last)


def write_csv(table: Iterable[Row], path: Path, names: Sequence[str]) -> int:
    """Write rows under a header of names; how many. Numbers as Python shows them: whole ones
    exactly."""
    count = -1

    def lines() -> Iterator[str]:
        nonlocal count
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        for values in itertools.chain([names], ([row[name] for name in names] for row in table)):
            writer.writerow(values)
            yield text.getvalue()
            text.seek(0)
            text.truncate()
            count += 1

    write_output(path, lines())
    return count


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
    known = executed_point(document, axes)
    more = known if everything or not document.spec.columns else {}
    return more | _chosen(document, known)


def executed_point(document: spec.Document[SweepSpec], axes: Row) -> Row:
    """Measures of a point on numbers."""
    assert document.spec.execute is not None
    workload, runs = asked(document, axes)
    if len(runs) > 1:
        message = f"a point on numbers has one run, this {len(runs)}: {', '.join(runs)}"
        raise AccelsimError(message)
    (run,) = runs.values()
    return executed(
        run.mapping,
        workload,
        axes.get("seq_len"),
        seed=document.spec.execute.seed,
        scale=run.scale,
        formats=run.formats,
        settings=run.settings,
    )


def machine_of(document: spec.Document[SweepSpec], axes: Row) -> arch.Machine:
    """The machine of a point's first run, which its areas are of."""
    run = next(iter(asked(document, axes)[1].values()))
    set_to: dict[str, list[Any]] = {"mapping": [], "arch": [], "workload": []}
    for setting in run.settings:
        root, path, value = spec.override(setting, tuple(set_to))
        set_to[root].append((path, value))
    mapping = spec.load(run.mapping, "mapping", set_to["mapping"])
    beside = Path(mapping.source.name).parent
    path_of = spec.find(mapping.spec.arch, "arch", beside)
    return arch.build(spec.load(str(path_of), "arch", set_to["arch"]))


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
class Asked:
    """What all cases that apply to a point say of a run. templates: of settings, with {AXES}."""

    mapping: str = ""
    settings: list[str] = dataclasses.field(default_factory=list)
    templates: list[str] = dataclasses.field(default_factory=list)
    formats: dict[str, str] = dataclasses.field(default_factory=dict)
    scale: dict[str, float] = dataclasses.field(default_factory=dict)


def asked(document: spec.Document[SweepSpec], axes: Row) -> tuple[str, dict[str, Asked]]:
    """Workload and runs of a point. Settings of axes come after those of the cases."""
    workload, of_workload = "", 0
    runs: dict[str, Asked] = {}
    beside = Path(document.source.name).parent
    for number, case in enumerate(document.spec.cases, start=1):
        if any(axes[axis] not in listed(wanted) for axis, wanted in case.when.items()):
            continue
        if case.workload:
            workload, of_workload = case.workload, number
        for name, run in case.runs.items():
            found = runs.setdefault(name, Asked())
            if run.mapping is not None:
                found.mapping = placed(_filled(run.mapping, axes, number), beside)
            found.templates += run.set
            found.settings += [_filled(text, axes, number) for text in run.set]
            for text in run.formats:
                found.formats |= read_formats(_filled(text, axes, number))
            found.scale |= {tensor: float(factor) for tensor, factor in run.scale.items()}
    for axis, form in document.spec.axes.items():
        if isinstance(form, AxisSpec) and form.set and axes.get(axis) is not None:
            for one in runs.values():
                one.templates.append(f"{form.set}={{{axis}}}")
                one.settings.append(f"{form.set}={axes[axis]}")
    loose = [name for name, run in runs.items() if not run.mapping]
    if not runs or not workload or loose:
        what = f"a mapping for {', '.join(loose)}" if loose else "a run and a workload"
        raise AccelsimError(f"{document.source.name}: no case gives {what}")
    return placed(_filled(workload, axes, of_workload), beside), runs


def point(
    document: spec.Document[SweepSpec],
    axes: Row,
    more: Sequence[str] = (),
    *,
    engine_name: str = "steady",
) -> dict[str, Result]:
    """Results of the runs of a point, by their names. more: settings of all, after its own."""
    workload, runs = asked(document, axes)
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


def _filled(text: str, axes: Row, case: int) -> str:
    """case: number of the one that states the text, from 1 on."""
    for axis, value in axes.items():
        if value is None and "{" + axis + "}" in text:
            message = f"case {case}: {{{axis}}} is absent here, in {text!r}"
            raise AccelsimError(message)
        text = text.replace("{" + axis + "}", str(value))
    return text


def timeline(document: spec.Document[SweepSpec], axes: Row, *, record: int) -> list[Span]:
    """The tasks of a point's runs, run again: of each phase the first `record`.

    The runs follow one another; of several, a task's tile begins with the name of its run.
    """
    workload, runs = asked(document, axes)
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
