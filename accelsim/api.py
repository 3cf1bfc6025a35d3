"""Three calls, for notebooks and scripts: load, simulate, sweep. docs/notebooks.md has examples."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, overload

from accelsim import arch, explore, given, spec, verbs
from accelsim.arch import Machine
from accelsim.cascade import Cascade
from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.report.meaning import meaning
from accelsim.results import Run
from accelsim.spec.mappings import MappingSpec
from accelsim.spec.records import WorkloadSpec
from accelsim.spec.studies import AxisSpec, SweepSpec

if TYPE_CHECKING:
    import pandas

Name = str | os.PathLike[str]
Settings = Mapping[str, Any] | Sequence[str]
KINDS = ("cascade", "arch", "mapping", "workload", "sweep", "search", "figures", "validation")
TYPES = {"int64": "Int64", "float64": "float64", "string": "string", "bool": "boolean"}
"""Of a column, by its kind: those of pandas that keep whole numbers whole where one is missing."""
SILENT_SECONDS, TOLD_SECONDS = 1.0, 0.5


@overload
def load(name: Name, kind: Literal["cascade"]) -> Cascade: ...
@overload
def load(name: Name, kind: Literal["arch"]) -> Machine: ...
@overload
def load(name: Name, kind: Literal["mapping"]) -> spec.Document[MappingSpec]: ...
@overload
def load(name: Name, kind: Literal["workload"]) -> spec.Document[WorkloadSpec]: ...
@overload
def load(name: Name, kind: Literal["sweep"]) -> spec.Document[SweepSpec]: ...
@overload
def load(name: Name, kind: str | None = None) -> Any: ...


def load(name: Name, kind: str | None = None) -> Any:
    """What is shipped under a name, or in a file or a study's folder: checked, and built.

    kind: one of KINDS; needed where things of several kinds are shipped under a name. A cascade and
    a machine are built; the others are records of their files (`spec`), which say where each of
    their fields stands (`source`): what they come to depends on one another.
    Raises AccelsimError with all faults.
    """
    text = _text(name, "name")
    if kind is None:
        kind = _kind(text)
    if kind not in KINDS:
        raise AccelsimError(Fault(f"kind: no kind {kind!r}", help=nearest(str(kind), KINDS)))
    match kind:
        case "cascade":
            return verbs.load_cascade(text)
        case "arch":
            return arch.build(spec.load(text, "arch"))
        case "sweep":
            return explore.load(text)
        case "search":
            explore.load_search(text)
            return spec.load(text, "search")
        case "validation":
            return explore.load_published(text)
        case "figures":
            explore.check_figures(text)
            return spec.load(text, "figures")
    document = spec.load(text, kind)
    verbs.check(document.source.name)
    return document


def simulate(
    mapping: Name | spec.Document[MappingSpec],
    model: Name | spec.Document[WorkloadSpec],
    seq_len: int | None = None,
    *,
    kind: str | None = None,
    set: Settings = (),
    engine: str = "steady",
    warm: bool = False,
    record: int = 0,
) -> Run:
    """Run a mapping's cascade on its machine.

    mapping, model: shipped names, files, or what `load` gave. seq_len: length of the sequence.
    kind: of the workload's run, such as decode. set: values in place of those of the files, by
    their paths (`arch.clock`), or PATH=VALUE as on the command line; texts are read as there.
    engine: steady, compiled or reference. warm: the cache begins each launch as the same launch has
    left it before, not empty. record: task instances kept per phase, for a timeline.
    Raises AccelsimError.
    """
    of_kind = [] if kind is None else [f"workload.kind={kind}"]
    return verbs.simulate(
        _text(mapping, "mapping"),
        _text(model, "model"),
        seq_len,
        engine_name=engine,
        settings=[*of_kind, *given.settings(set)],
        warm=warm,
        record=record,
    )


def sweep(
    study: Name | Mapping[str, Any] | spec.Document[SweepSpec],
    axes: Mapping[str, Any] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> pandas.DataFrame:
    """Run every point of a study; one row per point, by its number.

    study: a sweep file, a study's folder, what `load` gave, or what such a file says as a dict
    (given.py has what may be left out of one). axes: in place of those that the study has, or
    besides. workers: processes of this machine. progress: say on stderr how far it is, when it
    takes longer than a second.
    The columns are the file's, of types that follow from it; `error` says why, where a point
    failed, and a warning how many did. `attrs["units"]` has the unit of each column that has one.
    Raises AccelsimError for what is wrong with the study, and without pandas.
    """
    try:
        import pandas
    except ImportError:
        message = "accelsim.sweep needs pandas: pip install 'accelsim[notebook]'"
        raise AccelsimError(message) from None
    if type(workers) is not int or workers < 1:
        raise AccelsimError(f"workers: expected a whole number from 1 on, got {workers!r}")
    document = _study(study, axes)
    told = _counter() if progress else None
    table, rows, summary = explore.solved(document, workers=workers, told=told)
    if summary.failed:
        failed = f"{summary.failed:,} of {summary.rows:,} points failed (column {table.error!r})"
        warnings.warn(f"{failed}, most with: {summary.messages[0][0]}", stacklevel=2)
    values = dict(zip(table.names, zip(*rows, strict=True), strict=True)) if rows else {}
    shown = table.columns[1 : None if summary.failed else -1]
    frame = pandas.DataFrame(
        {
            column.name: pandas.Series(list(values.get(column.name, ())), dtype=TYPES[column.kind])
            for column in shown
        }
    )
    frame.index = pandas.Index(list(values.get(table.point, ())), dtype="int64", name=table.point)
    units = {column.name: meaning(column.measure).stored for column in table.measures}
    frame.attrs["units"] = {name: unit for name, unit in units.items() if unit}
    return frame


def _text(one: object, what: str) -> str:
    """The name or path that is meant; of what is loaded already, that of its file."""
    if isinstance(one, spec.Document):
        return one.source.name
    if isinstance(one, str | os.PathLike):
        return str(os.fspath(one))
    message = f"{what}: expected a name or the path of a file, got {type(one).__name__}"
    raise AccelsimError(message)


def _kind(name: str) -> str:
    """What a name or a file is. Raises AccelsimError where it is nothing, or several things."""
    found = [kind for kind in KINDS if name in spec.names(kind)]
    if len(found) == 1:
        return found[0]
    if found:
        ways = " or ".join(f"kind={kind!r}" for kind in found)
        raise AccelsimError(f"{name}: {' and '.join(found)} have that name; say which: {ways}")
    if Path(name).is_dir():
        return "sweep"
    if name.endswith(".json"):
        return "workload"
    if name.endswith((".yaml", ".yml")):
        return spec.kind_of(*spec.read_file(Path(name)))
    every = [known for kind in KINDS for known in spec.names(kind)]
    message = f"nothing named {name!r} is shipped; a file of your own must end in .yaml"
    raise AccelsimError(Fault(message, help=nearest(name, every)))


def _study(study: object, axes: Mapping[str, Any] | None) -> spec.Document[SweepSpec]:
    if axes is not None and not isinstance(axes, Mapping):
        raise AccelsimError(f"axes: expected a dict of axes and values, got {type(axes).__name__}")
    if isinstance(study, Mapping):
        return explore.load_text(given.study(study, axes or {}), given.STUDY)
    document = study if isinstance(study, spec.Document) else explore.load(_text(study, "study"))
    if not axes:
        return document
    known = {
        name: form.model_dump(exclude_defaults=True) if isinstance(form, AxisSpec) else form
        for name, form in document.spec.axes.items()
    }
    for name, form in axes.items():
        does = name == "seq_len" or (isinstance(form, Mapping) and "set" in form)
        if name not in known and not does:
            message = f"axes: the study has no axis {name!r}, and a new one has `set`"
            raise AccelsimError(Fault(message, help=nearest(str(name), known)))
    # Alone: conditions of the study's cases may well name values that are not looked at now.
    made = explore.load_text(given.study({"axes": known}, axes), "axes").spec.axes
    return replace(document, spec=document.spec.model_copy(update={"axes": made}))


def _counter() -> Callable[[int, int], None]:
    """Says on one line how many points are done, once it has taken a while."""
    after, shown = monotonic() + SILENT_SECONDS, False

    def told(done: int, total: int) -> None:
        nonlocal after, shown
        now = monotonic()
        if now >= after or (shown and done == total):
            shown, after = True, now + TOLD_SECONDS
            end = "\n" if done == total else ""
            print(f"\r{done:,} of {total:,} points", end=end, file=sys.stderr, flush=True)

    return told
