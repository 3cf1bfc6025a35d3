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
from accelsim.explore import reading, space, sweep
from accelsim.results import Result
from accelsim.spec.studies import FamilySpec, NumberSpec, SweepSpec, ValidationSpec

At = dict[str, Any]
Document = spec.Document[ValidationSpec]
CLOSE = 2e-4
"""Relative error of the time at which a number counts as found."""
ROUNDS = 4
MOVED = 1e-3
VARIANTS = ("mechanisms", "sensitivity")


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
    given: FamilySpec
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
    points = reading.load(str(folder / given.rows))
    if points.spec.execute is not None:
        raise AccelsimError(f"{given.rows}: its runs are executed on numbers, which gives no time")
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
    axes = space.of(points).axes
    seen: list[At] = []
    for line, raw in enumerate(reader, start=2):
        at: At = {}
        for axis in axes:
            states = {"" if v is None else str(v): v for v in axis.states}
            if raw[axis.name] not in states:
                message = f"axis {axis.name} has no value {raw[axis.name]!r}"
                raise AccelsimError(f"{path}, line {line}: {message}")
            at[axis.name] = states[raw[axis.name]]
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
    *,
    at: At | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Row]:
    """Rows of families, predicted. more: settings over those of their sweeps.

    at: values of axes, or lists of them, of the rows that are meant; all of a family without.
    """
    families = [_family(document, name) for name in names]
    asked = [
        (family, point, seconds)
        for family in families
        for point, seconds in family.published
        if all(point[k] in (v if isinstance(v, list) else [v]) for k, v in (at or {}).items())
    ]
    out: list[Row] = []
    for family, point, seconds in asked:
        results = _run(family, point, more)
        predicted = sum(r.seconds for r in results.values())
        floor = sum(_roofline(r, family.given.machine) for r in results.values())
        is_scored = point not in family.kept_out
        out.append(Row(family.name, point, seconds, predicted, floor, is_scored))
        if progress is not None:
            progress(len(out) / len(asked))
    return out


def _run(family: _Family, at: At, more: Sequence[str]) -> dict[str, Result]:
    """Results of a row, every task of its launches executed."""
    return sweep.point(family.sweep, at, more, engine_name="compiled")


def _roofline(result: Result, name: str) -> float:
    """Seconds: operations at the machine's rate, or inputs and outputs once at its bandwidth."""
    document = spec.load(name, "arch")
    machine = arch.build(document)
    macs = [
        unit.instances * machine.clusters / op.cycles
        for unit in machine.units
        if (op := unit.operation("mac")) is not None and op.cycles
    ]
    flops = result.flops_per_second * result.seconds
    bandwidth = float(document.spec.levels[machine.outermost.name].bandwidth)
    bytes_ = float(result.bounds["traffic_bytes"])
    return max(flops / float(2 * max(macs) * machine.clock_hz), bytes_ / bandwidth)


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
    results = _run(family, number.at, [*more, *settings_of(number, value)])
    predicted: float = sum(r.seconds for r in results.values())
    return predicted / seconds - 1


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


def variants(
    document: Document, kind: str, progress: Callable[[float], None] | None = None
) -> Iterable[dict[str, Any]]:
    """Of `mechanisms` or `sensitivity`, one by one, each family of each: errors, what was
    calibrated again, and the mean change of time against what the study predicts."""
    base: dict[str, list[Row]] = {}
    every = getattr(document.spec, kind)
    for done, (name, one) in enumerate(every.items()):
        again = calibrate(document, one.again, one.set) if one.again else {}
        more = [*one.set]
        for number, value in again.items():
            more += settings_of(document.spec.calibrated[number], value)
        for family in one.families:
            key = f"{family} {one.at}"
            if key not in base:
                base[key] = predict(document, [family], at=one.at)
            rows = predict(document, [family], more, at=one.at)
            pairs = [(new, old) for new, old in zip(rows, base[key], strict=True) if new.scored]
            change = sum(new.predicted / old.predicted - 1 for new, old in pairs) / len(pairs)
            yield {
                "variant": name,
                "family": family,
                **dataclasses.asdict(scored(rows)),
                "change": change,
                "again": again,
            }
        if progress is not None:
            progress((done + 1) / len(every))


def report(
    document: Document,
    names: Sequence[str] | None = None,
    *,
    calibrated: bool = False,
    variant: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Errors of families, or what was asked for instead, as plain records.

    within: whether each family keeps the limits that it has. Raises AccelsimError.
    """
    given = document.spec
    for name in names or ():
        if name not in given.families:
            raise AccelsimError(Fault(f"no family {name!r}", help=nearest(name, given.families)))
    if calibrated:
        if names or variant:
            raise AccelsimError("--calibrate finds all numbers; it goes with no other option")
        found = calibrate(document, given.calibrated)
        numbers = [
            {"number": name, "found": value, "in_the_machine": standing(document, name)}
            for name, value in found.items()
        ]
        return {"calibrated": numbers, "within": True}
    if variant is not None:
        if variant not in VARIANTS:
            raise AccelsimError(Fault(f"no variants {variant!r}", help=nearest(variant, VARIANTS)))
        if names:
            raise AccelsimError("--variants name their families; leave --family out")
        return {variant: list(variants(document, variant, progress)), "within": True}
    rows = predict(document, names or given.families, progress=progress)
    families = {}
    for name in names or given.families:
        own = [row for row in rows if row.family == name]
        limits, of = given.families[name], scored(own)
        constant = constant_efficiency(own)
        within = all(
            limit is None or 100 * reached <= limit
            for limit, reached in (
                (limits.mean_percent, of.mean),
                (limits.worst_percent, of.worst),
            )
        )
        families[name] = {
            **dataclasses.asdict(of),
            "held": limits.mean_percent is not None or limits.worst_percent is not None,
            "within": within,
            "roofline": errors(r.roofline / r.published - 1 for r in own if r.scored).mean,
            "constant_efficiency": errors(constant).mean if constant else None,
            "missing": limits.missing,
        }
    return {
        "families": families,
        "rows": [{**dataclasses.asdict(row), "error": row.error} for row in rows],
        "within": all(one["within"] for one in families.values()),
    }


def tables(found: dict[str, Any]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Titles and rows to print of what `report` found."""
    if "families" not in found:
        for kind in ("calibrated", *VARIANTS):
            if kind in found:
                yield kind, [{k: _said(k, v) for k, v in row.items()} for row in found[kind]]
        return
    yield (
        "rows",
        [
            {
                "family": row["family"],
                "row": ", ".join(str(v) for v in row["at"].values()),
                "published": f"{row['published'] * 1e6:.1f} us",
                "predicted": f"{row['predicted'] * 1e6:.1f} us",
                "error": f"{row['error']:+.1%}",
                "scored": "" if row["scored"] else "calibrated on",
            }
            for row in found["rows"]
        ],
    )
    shown = ("rows", "mean", "worst", "bias", "roofline", "constant_efficiency")
    yield (
        "families",
        [
            {
                "family": name,
                **{key: _said(key, of[key]) for key in shown},
                "limits": ("kept" if of["within"] else "not kept") if of["held"] else "",
            }
            for name, of in found["families"].items()
        ],
    )


def _said(key: str, value: Any) -> Any:
    if value is None:
        return ""
    if key in {"mean", "worst", "roofline", "constant_efficiency"}:
        return f"{value:.1%}"
    if key in {"bias", "change"}:
        return f"{value:+.1%}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.4g}" for name, number in value.items())
    return value
