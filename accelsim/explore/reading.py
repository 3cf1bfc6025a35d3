"""A study's sweep file to its record: all that is wrong with it, before anything runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from accelsim import spec
from accelsim.errors import AccelsimError, Fault, SpecError, nearest
from accelsim.execute.formats import format_named
from accelsim.execute.written import read_formats
from accelsim.explore import columns, constraint, space
from accelsim.explore.axes import Axis, axis_faults, axis_of, listed, value_faults
from accelsim.spec.studies import CaseSpec, SweepSpec

Document = spec.Document[SweepSpec]
SETTABLE = ("arch", "mapping", "workload")
STUDY = "study.yaml"
_BRACES = re.compile(r"\{(\w+)\}")


def load(path: str, inside: tuple[Path, ...] = ()) -> Document:
    """A sweep file, or the study.yaml of a folder. inside: the files whose base it is.

    Raises AccelsimError with all faults.
    """
    return _complete(spec.load(within(path, STUDY, "a study's folder"), "sweep"), inside)


def within(path: str, name: str, folder: str) -> str:
    """A file, or that of a name in a folder; folder: in words. Raises AccelsimError without one."""
    if not Path(path).is_dir():
        return path
    if not (Path(path) / name).is_file():
        raise AccelsimError(f"no {Path(path) / name}: {folder} holds {name}")
    return str(Path(path) / name)


def load_text(text: str, name: str) -> Document:
    """A sweep file's text. name: as a file's; files are named from its folder.

    Raises AccelsimError with all faults.
    """
    return _complete(spec.load_text(text, "sweep", name), ())


def _complete(document: Document, inside: tuple[Path, ...]) -> Document:
    """With its base; all that is wrong with it raised."""
    own = Path(document.source.name).resolve()
    if own in inside:
        message = f"base: {document.source.name} goes out from itself"
        raise SpecError(document.source.fault(("base",), message))
    sweep, source = document.spec, document.source
    before: list[CaseSpec] = []
    earlier: list[str] = []
    if sweep.base is not None:
        beside = Path(source.name).parent / sweep.base
        base = load(str(beside), (*inside, own)).spec
        before, earlier = base.cases, base.constraints
        sweep = sweep.model_copy(
            update={
                "axes": {**base.axes, **sweep.axes},
                "execute": sweep.execute or base.execute,
                "objectives": sweep.objectives or base.objectives,
                "budget": sweep.budget if "budget" in sweep.model_fields_set else base.budget,
            }
        )
    axes, faults = _axes(document, sweep)
    faults += _faults_of_cases(document, sweep, axes)
    faults += _loose_names(document, sweep)
    faults += _on_numbers(document, sweep)
    whole = sweep.model_copy(
        update={
            "cases": [*before, *sweep.cases],
            "constraints": [*earlier, *sweep.constraints],
        }
    )
    faults += _unknown_measures(document, whole)
    if faults:
        raise SpecError(faults)
    return dataclasses.replace(document, spec=whole)


def _axes(document: Document, sweep: SweepSpec) -> tuple[dict[str, Axis], list[Fault]]:
    """The axes that can be read, and what is wrong with them."""
    source = document.source
    axes: dict[str, Axis] = {}
    faults: list[Fault] = []
    for name, form in sweep.axes.items():
        try:
            axes[name] = axis_of(name, form)
        except AccelsimError as error:
            faults.append(source.fault(("axes", name), error.faults[0].message))
    faults += axis_faults(
        list(axes.values()), lambda path, message, help: source.fault(path, message, help=help)
    )
    if "seq_len" in axes and any(type(n) is not int or n < 1 for n in axes["seq_len"].values):
        message = "seq_len: expected whole numbers from 1 on"
        faults.append(source.fault(("axes", "seq_len"), message))
    for name, axis in axes.items():
        if name in sweep.columns:
            message = f"columns.{name}: {name} is an axis, which is a column already"
            faults.append(source.fault(("columns", name), message, key=True))
        if axis.path is not None:
            try:
                spec.override(f"{axis.path}=0", SETTABLE)
            except SpecError:
                message = (
                    f"set: expected the path of a setting, such as arch.clock, got {axis.path!r}"
                )
                faults.append(source.fault(("axes", name, "set"), message))
    if not faults:
        try:
            space.Space(list(axes.values()))
        except AccelsimError as error:
            faults.append(source.fault(("axes",), error.faults[0].message, key=True))
    return axes, faults


def _faults_of_cases(
    document: Document, sweep: SweepSpec, axes: dict[str, Axis]
) -> Iterator[Fault]:
    """Conditions on what is no axis, or no value of one."""
    source = document.source
    for index, case in enumerate(sweep.cases):
        for axis, wanted in case.when.items():
            at = ("cases", index, "when", axis)
            if axis not in sweep.axes:
                message, help = f"no axis {axis!r}", nearest(axis, sweep.axes)
                yield source.fault(at, message, help=help, key=True)
            elif axis in axes:
                for message, help in value_faults(axes[axis], listed(wanted)):
                    yield source.fault(at, message, help=help)


def _loose_names(document: Document, sweep: SweepSpec) -> list[Fault]:
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
                spec.find(placed(text, Path(source.name).parent), kind)
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


def _on_numbers(document: Document, sweep: SweepSpec) -> list[Fault]:
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


def _unknown_measures(document: Document, whole: SweepSpec) -> Iterator[Fault]:
    """Columns, constraints and objectives that name what is no measure. whole: with its base."""
    source, sweep = document.source, document.spec
    candidates = (*whole.axes, *whole.columns, *columns.candidates(whole))
    for name, measure in sweep.columns.items():
        if not columns.is_measure(measure, whole):
            message = f"columns.{name}: no measure {measure!r}"
            help = nearest(measure, columns.candidates(whole))
            yield source.fault(("columns", name), message, help=help)
    for name in sweep.objectives:
        if name not in whole.columns and not columns.is_measure(name, whole):
            message, help = f"objectives: no column or measure {name!r}", nearest(name, candidates)
            yield source.fault(("objectives", name), message, help=help, key=True)

    def known(name: str) -> bool:
        return name in {*whole.axes, *whole.columns} or columns.is_measure(name, whole)

    for index, text in enumerate(sweep.constraints):
        try:
            constraint.read(text, known, candidates)
        except constraint.MisreadError as error:
            for misread in error.misread:
                place = source.block_position(("constraints", index), 0, misread.column)
                message = f"constraints: {misread.message}"
                line = source.line(place.line)
                yield Fault(message, place, line, misread.width, misread.help)


def placed(name: str, beside: Path) -> str:
    """A file is named from the sweep's folder."""
    return str(beside / name) if spec.is_path(name, "workload") else name
