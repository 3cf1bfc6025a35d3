"""Predicted times beside published ones: errors by family, baselines, calibrated numbers."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from accelsim import arch, spec, verbs
from accelsim.errors import AccelsimError, Fault, SpecError, nearest
from accelsim.explore import sweep
from accelsim.results import Result
from accelsim.spec.studies import FamilySpec, NumberSpec, SweepSpec, ValidationSpec

At = dict[str, Any]
Document = spec.Document[ValidationSpec]
CLOSE = 2e-4
"""Relative error of the time at which a number counts as found."""
ROUNDS = 4
MOVED = 1e-3


@dataclass(frozen=True)
class Row:
    """Seconds of one published row: published, predicted, and by the roofline of the machine.

    at: values of the sweep's axes. scored: no number was calibrated on it.
    """

    family: str
    at: At
    published: float
    predicted: float
    roofline: float
    scored: bool

    @property
    def error(self) -> float:
        return self.predicted / self.published - 1


@dataclass(frozen=True)
class Errors:
    """Of relative errors of the scored rows: mean and worst of the absolute ones, and mean."""

    rows: int
    mean: float
    worst: float
    bias: float


def errors(found: Iterable[float]) -> Errors:
    """Raises AccelsimError where there are none."""
    every = list(found)
    if not every:
        raise AccelsimError("no row is scored")
    absolute = [abs(one) for one in every]
    return Errors(len(every), sum(absolute) / len(every), max(absolute), sum(every) / len(every))


def scored(rows: Iterable[Row]) -> Errors:
    return errors(row.error for row in rows if row.scored)


@dataclass(frozen=True)
class _Family:
    """A family with its sweep; published seconds by point, in the order of its file."""

    name: str
    spec: FamilySpec
    sweep: spec.Document[SweepSpec]
    published: tuple[tuple[At, float], ...]
    kept_out: tuple[At, ...]


def load(path: str) -> Document:
    """A validation file, checked with all that it names. Raises AccelsimError."""
    document: Document = spec.load(path, "validation")
    source, given = document.source, document.spec
    faults: list[Fault] = []
    for name in given.families:
        try:
            _family(document, name)
        except AccelsimError as error:
            first, *rest = error.faults
            at = source.fault(("families", name), f"families.{name}: {first.message}", key=True)
            faults += [dataclasses.replace(at, help=first.help), *rest]
    for name, number in given.calibrated.items():
        here = ("calibrated", name)
        if number.family not in given.families:
            message, help = f"no family {number.family!r}", nearest(number.family, given.families)
            faults.append(source.fault((*here, "family"), message, help=help))
        if number.most <= number.least:
            message = f"expected more than {number.least:g}, got {number.most:g}"
            faults.append(source.fault((*here, "most"), message))
        for index, text in enumerate(number.set):
            if "{value}" not in text:
                message = f"{text}: expected {{value}} where the number stands"
                faults.append(source.fault((*here, "set", index), message))
    for kind in ("mechanisms", "sensitivity"):
        for name, variant in getattr(given, kind).items():
            wanted = (("families", given.families), ("again", given.calibrated))
            for field, known in wanted:
                for index, one in enumerate(getattr(variant, field)):
                    if one not in known:
                        message, help = f"no {one!r} in this file", nearest(one, known)
                        at_ = (kind, name, field, index)
                        faults.append(source.fault(at_, message, help=help))
    if not faults:
        for name, number in given.calibrated.items():
            rows = _family(document, number.family).published
            if not any(at == number.at for at, _ in rows):
                message = f"{number.family} has no such published row"
                faults.append(source.fault(("calibrated", name, "at"), message))
    if faults:
        raise SpecError(faults)
    return document


def _family(document: Document, name: str) -> _Family:
    """Raises AccelsimError on files that cannot be used."""
    given = document.spec.families[name]
    folder = Path(document.source.name).parent
    points = sweep.load(str(folder / given.rows))
    kept_out = tuple(n.at for n in document.spec.calibrated.values() if n.family == name)
    rows = tuple(_published(folder / given.published, given, points.spec))
    return _Family(name, given, points, rows, kept_out)


def _published(path: Path, family: FamilySpec, points: SweepSpec) -> Iterable[tuple[At, float]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AccelsimError(f"{path}: cannot be read: {error}") from None
    wanted = {*points.axes, "value"}
    if family.unit == "TFLOP/s":
        wanted |= {"width", "mask", "seq_len", "batch", "heads"}
    reader = csv.DictReader(text.splitlines())
    missing = sorted(wanted - {*(reader.fieldnames or ())})
    if missing:
        raise AccelsimError(f"{path}: no column {', '.join(missing)}")
    seen: list[At] = []
    for line, raw in enumerate(reader, start=2):
        at: At = {}
        for axis, values in points.axes.items():
            value = next((v for v in values if str(v) == raw[axis]), None)
            if value is None:
                raise AccelsimError(f"{path}, line {line}: axis {axis} has no value {raw[axis]!r}")
            at[axis] = value
        if at in seen:
            raise AccelsimError(f"{path}, line {line}: this row stands twice")
        seen.append(at)
        try:
            seconds = _seconds(raw, family.unit)
        except (TypeError, ValueError, ZeroDivisionError):
            raise AccelsimError(f"{path}, line {line}: expected numbers above 0") from None
        if not 0 < seconds < float("inf"):
            raise AccelsimError(f"{path}, line {line}: expected numbers above 0")
        yield at, seconds
    if not seen:
        raise AccelsimError(f"{path}: no rows")


def _seconds(raw: dict[str, str], unit: str) -> float:
    """Operations as FlashAttention's papers count them: 4 S^2 D each head, half if causal."""
    value = float(raw["value"])
    if unit == "seconds":
        return value
    length, width, heads = (int(raw[k]) for k in ("seq_len", "width", "heads"))
    flops = 4 * length**2 * width * heads * int(raw["batch"])
    return flops / (2 if raw["mask"] == "causal" else 1) / (value * 1e12)


def predict(
    document: Document,
    names: Iterable[str],
    more: Sequence[str] = (),
    progress: Callable[[float], None] | None = None,
) -> list[Row]:
    """Rows of families, predicted. more: settings over those of their sweeps."""
    families = [_family(document, name) for name in names]
    total = sum(len(family.published) for family in families)
    out: list[Row] = []
    for family in families:
        for at, seconds in family.published:
            results = sweep.point(family.sweep, at, more)
            predicted = sum(r.seconds for r in results.values())
            floor = sum(_roofline(r, family.spec.machine) for r in results.values())
            is_scored = at not in family.kept_out
            out.append(Row(family.name, at, seconds, predicted, floor, is_scored))
            if progress is not None:
                progress(len(out) / total)
    return out


def _roofline(result: Result, name: str) -> float:
    """Seconds: operations at the machine's rate, or inputs and outputs once at its bandwidth."""
    machine = arch.build(spec.load(name, "arch"))
    macs = [
        unit.instances * machine.clusters / op.cycles
        for unit in machine.units
        if (op := unit.operation("mac")) is not None and op.cycles
    ]
    flops = result.flops_per_second * result.seconds
    bandwidth = spec.load(name, "arch").spec.levels[machine.outermost.name].bandwidth
    return max(
        flops / float(2 * max(macs) * machine.clock_hz),
        result.bounds["traffic_bytes"] / float(bandwidth),
    )


def constant_efficiency(rows: Sequence[Row]) -> list[float]:
    """Errors of the scored rows, were time the roofline over one efficiency.

    That of the first row that is not scored, or else of the one that takes longest.
    """
    of = next((r for r in rows if not r.scored), max(rows, key=lambda r: r.published))
    share = of.roofline / of.published
    return [r.roofline / share / r.published - 1 for r in rows if r.scored and r is not of]


def settings_of(number: NumberSpec, value: float) -> list[str]:
    return [text.replace("{value}", f"{value:.6g}") for text in number.set]


def difference(document: Document, name: str, value: float, more: Sequence[str] = ()) -> float:
    """Relative error of the time of the row that a number is calibrated on, with this value."""
    number = document.spec.calibrated[name]
    family = _family(document, number.family)
    seconds = next(s for at, s in family.published if at == number.at)
    results = sweep.point(family.sweep, number.at, [*more, *settings_of(number, value)])
    return sum(r.seconds for r in results.values()) / seconds - 1


def standing(document: Document, name: str) -> float:
    """The value that the machine file has, in the unit of the number's settings."""
    number = document.spec.calibrated[name]
    machine = document.spec.families[number.family].machine
    with_one = [spec.override(text, verbs.SETTABLE) for text in settings_of(number, 1.0)]
    own = spec.load(machine, "arch").spec
    given = spec.load(machine, "arch", [(path, value) for _, path, value in with_one]).spec
    found = [_at(own, path) / _at(given, path) for _, path, _ in with_one]
    if len(set(found)) > 1:
        raise AccelsimError(f"{name}: {machine} has not the same number everywhere")
    return float(found[0])


def _at(record: Any, path: Iterable[Any]) -> Fraction:
    for key in path:
        record = record[key] if isinstance(record, dict | list) else getattr(record, str(key))
    return Fraction(record)


def calibrate(
    document: Document, names: Iterable[str], more: Sequence[str] = ()
) -> dict[str, float]:
    """Values of numbers with which their rows are predicted exactly, each by itself, in turns.

    Others are as the machine files have them, or `more` says. Raises AccelsimError where a number
    is not between its bounds.
    """
    given = document.spec
    found: dict[str, float] = {}
    turns = list(names)
    for _ in range(ROUNDS):
        moved = 0.0
        for name in turns:
            machine = given.families[given.calibrated[name].family].machine
            others = [
                text
                for other, value in found.items()
                if other != name
                and given.families[given.calibrated[other].family].machine == machine
                for text in settings_of(given.calibrated[other], value)
            ]
            value = _solve(document, name, [*more, *others])
            moved = max(moved, abs(value / found[name] - 1) if name in found else 1.0)
            found[name] = value
        if moved < MOVED or len(turns) == 1:
            break
    return found


def _solve(document: Document, name: str, more: Sequence[str]) -> float:
    """Regula falsi, halving the error of an end that stays (Illinois)."""
    number = document.spec.calibrated[name]

    def error(value: float) -> float:
        return difference(document, name, value, more)

    low, high = number.least, number.most
    at_low, at_high = error(low), error(high)
    if at_low * at_high > 0:
        raise AccelsimError(
            f"{name}: no value between {low:g} and {high:g}: the row of {number.family} is "
            f"predicted {at_low:+.1%} and {at_high:+.1%} off"
        )
    value = low
    for _ in range(40):
        value = (low * at_high - high * at_low) / (at_high - at_low)
        at_value = error(value)
        if abs(at_value) < CLOSE:
            break
        if at_value * at_high < 0:
            low, at_low = high, at_high
        else:
            at_low /= 2
        high, at_high = value, at_value
    return value


@dataclass(frozen=True)
class Variant:
    """Errors by family, with a variant; values of what was calibrated again; mean change of time.

    change: relative, to what the study predicts, over the rows that are scored.
    """

    name: str
    errors: dict[str, Errors]
    again: dict[str, float]
    change: dict[str, float]


def variants(document: Document, kind: str, base: Sequence[Row]) -> Iterable[Variant]:
    """Of `mechanisms` or `sensitivity`, one by one. base: rows as the study predicts them."""
    for name, one in getattr(document.spec, kind).items():
        again = calibrate(document, one.again, one.set)
        set_ = [*one.set]
        for number, value in again.items():
            set_ += settings_of(document.spec.calibrated[number], value)
        rows = predict(document, one.families, set_)
        of: dict[str, Errors] = {}
        change: dict[str, float] = {}
        for family in one.families:
            own = [r for r in rows if r.family == family and r.scored]
            before = [r for r in base if r.family == family and r.scored]
            of[family] = scored(own)
            pairs = zip(own, before, strict=True)
            change[family] = sum(a.predicted / b.predicted - 1 for a, b in pairs) / len(own)
        yield Variant(name, of, again, change)
