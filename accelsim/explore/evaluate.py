"""Points of a sweep to rows, many at once: read, checked and lowered once for all that are alike.

What tells points apart is a text or a number. Points with the same texts, and numbers in the same
places, are one group: its documents are read and validated once, the numbers put in as traced
ones (accelsim.traced), and everything from the machine to the measures is run in Python once for
each way in which it decides (replay.py); the engine takes all rows of a group together.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from accelsim import cascade, spec, verbs
from accelsim.errors import AccelsimError
from accelsim.explore import arrays, sweep
from accelsim.explore.leaves import form_of, places_of, put, value_at
from accelsim.explore.pointwise import Pointwise, first_fault, measures_of
from accelsim.explore.reading import Document
from accelsim.explore.replay import Found, Replay, Values
from accelsim.explore.timed import run
from accelsim.spec.studies import AxisSpec, SweepSpec
from accelsim.traced import marks, told
from accelsim.units import show_bytes

Row = dict[str, Any]
_BRACES = re.compile(r"\{(\w+)\}")
SEQ_LEN = "seq_len"
FEW = 4
"""Fewer that are alike are run one by one: a tape takes about as long as three of them."""


@dataclass(frozen=True)
class _Numbers:
    """The numbers in what a setting stands for. form: it without them. shown: as errors say it."""

    form: str
    numbers: tuple[Any, ...]
    shown: str


@dataclass(frozen=True)
class _Point:
    """A point of a group: its numbers in order, and its settings as errors say them."""

    number: int
    axes: Row
    numbers: list[Any]
    shown: list[str]


@dataclass
class _Setting:
    """A setting of a run that axes with numbers stand in; by their values, what it comes to."""

    run: str
    place: int
    axes: tuple[str, ...]
    known: dict[tuple[Any, ...], _Numbers | str] = field(default_factory=dict)


@dataclass
class _Plan:
    """Points that agree in all texts. first: one of them. settings: those with numbers in them."""

    first: Row
    workload: str
    runs: dict[str, sweep.Asked]
    settings: list[_Setting]
    replays: dict[tuple[str, ...], Replay | None] = field(default_factory=dict)


class Evaluate:
    """Measures of points, by their names; {"error": TEXT} for a point that fails.

    wanted: names of measures; others may be left out. by_run: also RUN.MEASURE, of each run
    alone. few: of fewer points that are alike each is run by
    itself. runs: how often a point was run in Python; alone: how many were run one by one.
    """

    def __init__(
        self,
        document: Document,
        wanted: frozenset[str] | None = None,
        *,
        by_run: bool = False,
        few: int = FEW,
    ) -> None:
        self.document = document
        self.few = few
        self._wanted = wanted
        self.runs = self.alone = 0
        self._by_run = by_run
        self._one_by_one = Pointwise(document, by_run)
        numbers = _of_numbers(document.spec)
        self._texts = tuple(axis for axis in document.spec.axes if axis not in numbers)
        self._perhaps = tuple(
            axis
            for axis, form in document.spec.axes.items()
            if axis in numbers and isinstance(form, AxisSpec) and form.when
        )
        self._plans: dict[tuple[Any, ...], _Plan | str] = {}

    def __call__(self, points: Sequence[Row]) -> list[Row]:
        rows: list[Row] = [{}] * len(points)
        if self.document.spec.execute is not None:
            return [self._alone(axes) for axes in points]
        groups: dict[tuple[Any, ...], tuple[_Plan, list[_Point]]] = {}
        for number, axes in enumerate(points):
            texts = tuple([axes[axis] for axis in self._texts])
            texts += tuple([axes[axis] is None for axis in self._perhaps])
            plan = self._plans.get(texts)
            if plan is None:
                plan = self._plans[texts] = self._plan(axes)
            if isinstance(plan, str):
                rows[number] = {"error": plan}
                continue
            forms: list[str] = []
            numbers: list[Any] = []
            shown: list[str] = []
            wrong: str | None = None
            for setting in plan.settings:
                key = tuple([axes[axis] for axis in setting.axes])
                found = setting.known.get(key)
                if found is None:
                    found = setting.known[key] = _read(plan, setting, axes, self.document)
                if isinstance(found, str):
                    wrong = wrong or found
                    continue
                forms.append(found.form)
                numbers += found.numbers
                shown.append(found.shown)
            if wrong is not None:
                rows[number] = {"error": wrong}
                continue
            if axes.get(SEQ_LEN) is not None:
                numbers.append(axes[SEQ_LEN])
            group = groups.setdefault((texts, *forms), (plan, []))
            group[1].append(_Point(number, axes, numbers, shown))
        for (_, *forms), (plan, alike) in groups.items():
            for point, row in self._group(plan, tuple(forms), alike):
                rows[point.number] = row
        return rows

    def _group(
        self,
        plan: _Plan,
        forms: tuple[str, ...],
        points: list[_Point],
    ) -> Iterator[tuple[_Point, Row]]:
        if forms not in plan.replays and len(points) >= self.few:
            plan.replays[forms] = self._replay(plan, points[0].axes)
        replay = plan.replays.get(forms)
        if replay is None:
            for point in points:
                yield point, self._alone(point.axes)
            return
        given = zip(*(point.numbers for point in points), strict=True)
        inputs = {str(n): list(column) for n, column in enumerate(given)}
        before = replay.runs
        done: list[tuple[_Point, Row]] = []
        try:
            for found in replay(inputs, len(points)):
                done += self._rows(found, [points[row] for row in found.rows.tolist()])
        except Exception:
            # What cannot be done with traced numbers may well be done with plain ones; and where it
            # cannot, the error is that of the points for which it is so.
            plan.replays[forms] = None
            known = {point.number for point, _ in done}
            done += [(p, self._alone(p.axes)) for p in points if p.number not in known]
        self.runs += replay.runs - before
        yield from done

    def _rows(self, found: Found, points: list[_Point]) -> Iterator[tuple[_Point, Row]]:
        if "error" in found.results:
            yield from ((p, {"error": text}) for p, text in _told(found, points))
            return
        names = [name for name in found.results if self._wanted is None or name in self._wanted]
        of_each = (_plain(found[name], len(points)) for name in names)
        for point, *values in zip(points, *of_each, strict=True):
            yield point, dict(zip(names, values, strict=True))

    def _plan(self, axes: Row) -> _Plan | str:
        try:
            workload, runs = sweep.asked(self.document, axes)
        except AccelsimError as error:
            return first_fault(error)
        settings = [
            _Setting(name, place, own)
            for name, run in runs.items()
            for place, text in enumerate(run.templates)
            if (own := self._numeric(text))
        ]
        return _Plan(dict(axes), workload, runs, settings)

    def _numeric(self, text: str) -> tuple[str, ...]:
        names = dict.fromkeys(_BRACES.findall(text))
        return tuple(n for n in names if n in self.document.spec.axes and n not in self._texts)

    def _replay(self, plan: _Plan, axes: Row) -> Replay | None:
        """None where points have to be run one by one."""
        try:
            runs = {name: _files(plan, name, axes, self.document) for name in plan.runs}
            built = {name: cascade.build(files.cascade) for name, files in runs.items()}
        except AccelsimError:
            return None  # and each says why
        if any(_by_coordinates(files, built[name]) for name, files in runs.items()):
            return None
        places = _places(plan, runs)
        runs = {name: _marked(plan, name, files) for name, files in runs.items()}

        def function(values: Values) -> dict[str, Any]:
            numbers = list(values.values())
            seq_len = numbers.pop() if axes.get(SEQ_LEN) is not None else None
            results = {}
            try:
                for name, files in runs.items():
                    for kind, path, paths in places[name]:
                        for at in paths:
                            files = _with(files, kind, (*path, *at), numbers.pop(0))
                    loaded = verbs.fit(files, built[name], seq_len)
                    lowered = verbs.lower(loaded, warm=self.document.spec.warm)
                    results[name] = verbs.measured(loaded, lowered, run(lowered))
                return measures_of(results, by_run=self._by_run)
            except AccelsimError as error:
                return {"error": first_fault(error)}

        return Replay(function)

    def _alone(self, axes: Row) -> Row:
        self.alone += 1
        return self._one_by_one([axes])[0]


def _of_numbers(given: SweepSpec) -> set[str]:
    """Axes that stand in settings, or are the sequence length, and nowhere else."""
    used: set[str] = set()
    for form in given.axes.values():
        used |= set(form.when if isinstance(form, AxisSpec) else ())
    for case in given.cases:
        used |= {*case.when, *_BRACES.findall(case.workload or "")}
        for one in case.runs.values():
            texts = (one.mapping or "", *one.formats)
            used |= {name for text in texts for name in _BRACES.findall(text)}
    return {axis for axis in given.axes if axis not in used}


def _files(plan: _Plan, name: str, axes: Row, document: Document) -> verbs.Files:
    _, runs = sweep.asked(document, axes)
    return verbs.Files.read(
        runs[name].mapping, plan.workload, verbs.overrides_of(runs[name].settings)
    )


def _read(plan: _Plan, setting: _Setting, axes: Row, document: Document) -> _Numbers | str:
    """What a setting comes to, the others being as at the first point."""
    own = plan.first | {axis: axes[axis] for axis in setting.axes}
    try:
        files = _files(plan, setting.run, own, document)
        kind, path = _where(plan, setting)
        value = value_at(files.by_kind()[kind].spec, path)
    except AccelsimError as error:
        return first_fault(error)
    numbers: list[Any] = []
    form = form_of(value, numbers)
    text = files.by_kind()[kind].source.settings
    return _Numbers(form, tuple(numbers), next(t for p, t in text if tuple(p) == path))


def _where(plan: _Plan, setting: _Setting) -> tuple[str, tuple[Any, ...]]:
    text = plan.runs[setting.run].settings[setting.place]
    kind, path, _ = spec.override(text, verbs.SETTABLE)
    return kind, tuple(path)


def _places(
    plan: _Plan, runs: dict[str, verbs.Files]
) -> dict[str, list[tuple[str, tuple[Any, ...], list[tuple[Any, ...]]]]]:
    """By run, for each setting: the kind of file, where, and where its numbers stand in that."""
    out: dict[str, list[Any]] = {name: [] for name in runs}
    for setting in plan.settings:
        kind, path = _where(plan, setting)
        value = value_at(runs[setting.run].by_kind()[kind].spec, path)
        out[setting.run].append((kind, path, list(places_of(value))))
    return out


def _with(files: verbs.Files, kind: str, path: tuple[Any, ...], number: Any) -> verbs.Files:
    document = files.by_kind()[kind]
    changed = dataclasses.replace(document, spec=put(document.spec, path, number))
    return dataclasses.replace(files, **{kind: changed})


def _by_coordinates(files: verbs.Files, built: cascade.Cascade) -> bool:
    """Whether its lowering looks coordinates up one by one, or its engine takes no rows."""
    given = files.mapping.spec
    return (
        given.edges == "masked"
        or any(phase.launch is not None for phase in given.phases.values())
        or any(einsum.predicate for einsum in built.einsums)
        or bool(built.tables)
    )


def _marked(plan: _Plan, run: str, files: verbs.Files) -> verbs.Files:
    """Files in whose errors a mark stands for a setting that is not the same for all points."""
    for number, setting in enumerate(plan.settings):
        if setting.run != run:
            continue
        kind, path = _where(plan, setting)
        document = files.by_kind()[kind]
        texts = tuple(
            (at, f"\0{number}\0" if tuple(at) == path else text)
            for at, text in document.source.settings
        )
        source = dataclasses.replace(document.source, settings=texts)
        files = dataclasses.replace(files, **{kind: dataclasses.replace(document, source=source)})
    return files


def _told(found: Found, points: list[_Point]) -> Iterator[tuple[_Point, str]]:
    """An error with the settings and numbers of each point."""
    text = found.results["error"]
    numbers = {node: _plain(found.column(node), len(points)) for node in marks(text)}
    for row, point in enumerate(points):
        own = text
        for number, setting in enumerate(point.shown):
            own = own.replace(f"\0{number}\0", setting)
        of_point = {node: values[row] for node, values in numbers.items()}
        yield point, told(own, of_point, {"bytes": show_bytes})


def _plain(result: Any, number: int) -> list[Any]:
    """A result of each of `number` points."""
    if isinstance(result, arrays.Ratio):
        parts = (_plain(part, number) for part in (result.numerator, result.denominator))
        return [Fraction(*pair) for pair in zip(*parts, strict=True)]
    if isinstance(result, arrays.Whole | arrays.Real):
        values: list[Any] = result.values.tolist()
        return values if len(values) == number else values * number
    return [result] * number
