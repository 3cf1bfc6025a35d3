"""The axes of a design space as a study states them: lists, ranges, powers, conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from accelsim.errors import AccelsimError, Fault, nearest, shown
from accelsim.spec.studies import AxisSpec
from accelsim.units import BASE_UNITS, parse, split

MAX_VALUES = 1_000_000
MAX_POWERS = 1000
FaultAt = Callable[[tuple[str | int, ...], str, tuple[str, ...]], Fault]


@dataclass(frozen=True)
class Axis:
    """values: in their order. when: an axis before it -> values of that at which this is there.

    path: of the setting that has its value in all runs.
    """

    name: str
    values: tuple[Any, ...]
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    path: str | None = None

    @property
    def states(self) -> tuple[Any, ...]:
        """What it can be at a point; None where it is absent."""
        return (*self.values, None) if self.when else self.values


def axis_of(name: str, form: list[Any] | AxisSpec) -> Axis:
    """An axis as its file states it. Raises AccelsimError, without a place, for a bad one."""
    if isinstance(form, list):
        return Axis(name, tuple(form))
    given = [key for key in ("values", "range", "powers") if getattr(form, key) is not None]
    if len(given) != 1:
        raise AccelsimError(f"axes.{name}: expected one of values, range and powers")
    for key, goes_with in (("step", "range"), ("of", "powers")):
        if getattr(form, key) is not None and given != [goes_with]:
            raise AccelsimError(f"axes.{name}: {key} goes with {goes_with}")
    try:
        if form.range is not None:
            values = _range(form.range, 1 if form.step is None else form.step)
        elif form.powers is not None:
            values = _powers(form.powers, 2 if form.of is None else form.of)
        else:
            values = tuple(form.values or ())
    except (ValueError, OverflowError) as error:
        raise AccelsimError(f"axes.{name}: {error}") from None
    when = tuple((other, tuple(listed(wanted))) for other, wanted in form.when.items())
    return Axis(name, values, when, form.set)


def axis_faults(axes: Sequence[Axis], at: FaultAt) -> Iterator[Fault]:
    """What is wrong with axes that could be read. at: place, message and help to a fault."""
    known: dict[str, Axis] = {}
    for axis in axes:
        place = ("axes", axis.name)
        plain = [isinstance(v, str | int | float) for v in axis.values]
        if not plain or not all(plain):
            yield at(place, f"axes.{axis.name}: expected a list of plain values", ())
            continue
        seen = set()
        for index, value in enumerate(axis.values):
            if value in seen:
                message = f"axes.{axis.name}: {value!r} stands twice"
                yield at((*place, index), message, ())
            seen.add(value)
        for other, wanted in axis.when:
            here = (*place, "when", other)
            if other not in known:
                message = f"axes.{axis.name}.when: no axis {other!r} before this one"
                yield at(here, message, nearest(other, known))
            else:
                for message, help in value_faults(known[other], wanted):
                    yield at(here, message, help)
        known[axis.name] = axis


def value_faults(axis: Axis, wanted: Sequence[Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Message and help for each of the values that an axis never has."""
    for value in wanted:
        if not isinstance(value, list | dict) and value in axis.states:
            continue
        near = [str(v) for v in axis.values[:1000]]
        yield f"axis {axis.name} has no value {shown(value)}", nearest(str(value), near)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _range(ends: list[Any], step: Any) -> tuple[int | float, ...]:
    """From the first number to the last, `step` apart, as exact as they are written."""
    example = "such as range: [16, 256], step: 16"
    if len(ends) != 2 or not all(_is_number(n) for n in (*ends, step)):
        raise ValueError(f"range: expected a first and a last number, {example}")
    first, last, by = (Fraction(str(n)) for n in (*ends, step))
    if first > last or by <= 0:
        raise ValueError(
            f"range: expected a first number up to the last, and a step above 0, {example}"
        )
    count = int((last - first) // by) + 1
    _check_count("range", count, MAX_VALUES)
    whole = all(isinstance(n, int) for n in (*ends, step))
    return tuple(_plain(first + i * by, whole) for i in range(count))


def _powers(ends: list[Any], of: Any) -> tuple[Any, ...]:
    """From the first number or quantity up to the last, each `of` times the one before."""
    example = "such as powers: [1 MiB, 64 MiB], of: 2"
    if len(ends) != 2 or not _is_number(of) or of <= 1:
        raise ValueError(f"powers: expected a first and a last one, and `of` above 1, {example}")
    unit, (first, last) = _amounts(ends, example)
    if not 0 < first <= last:
        raise ValueError(f"powers: expected a first one above 0 and up to the last, {example}")
    factor = Fraction(str(of))
    amounts = [first]
    while (after := amounts[-1] * factor) <= last:
        amounts.append(after)
        _check_count("powers", len(amounts), MAX_POWERS)
    whole = all(amount.denominator == 1 for amount in amounts)
    plain = [_plain(amount, whole) for amount in amounts]
    return tuple(f"{amount} {unit}" for amount in plain) if unit else tuple(plain)


def _amounts(ends: list[Any], example: str) -> tuple[str, list[Fraction]]:
    """Two amounts in the unit of the first; "" for plain numbers."""
    if all(_is_number(end) for end in ends):
        return "", [Fraction(str(end)) for end in ends]
    for kind in BASE_UNITS:
        try:
            first, last = (parse(end, kind) for end in ends)
        except ValueError:
            continue
        unit = split(ends[0])[1]
        one = parse(f"1 {unit}", kind)
        return unit, [first / one, last / one]
    raise ValueError(f"powers: expected two numbers, or two quantities of a kind, {example}")


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < float("inf")


def _plain(exact: Fraction, whole: bool) -> int | float:
    return int(exact) if whole else float(exact)


def _check_count(form: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"{form}: more than {most:,} values")
