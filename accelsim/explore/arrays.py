"""Exact numbers of many points at once: what Python's int, Fraction and float do, on arrays.

Whole numbers are int64 as long as a bound on their size says that they fit, else Python's own in an
array of objects; nothing ever wraps around. A column has a row for each point, or one for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
LIMIT = 1 << 62
EXACT = 1 << 53
"""Up to here a float holds every whole number."""
SMALL = 1 << 31
"""Beyond it, numerators and denominators are cancelled."""


@dataclass(frozen=True)
class Whole:
    """values: int64, or objects. bound: none is larger, nor smaller than minus it."""

    values: Array
    bound: int

    def at(self, rows: Array) -> Whole:
        return self if len(self.values) == 1 else Whole(self.values[rows], self.bound)


@dataclass(frozen=True)
class Ratio:
    """numerator / denominator, which is above 0; not always in lowest terms."""

    numerator: Whole
    denominator: Whole

    def at(self, rows: Array) -> Ratio:
        return Ratio(self.numerator.at(rows), self.denominator.at(rows))


@dataclass(frozen=True)
class Real:
    """values: float64."""

    values: Array

    def at(self, rows: Array) -> Real:
        return self if len(self.values) == 1 else Real(self.values[rows])


Column = Whole | Ratio | Real


def constant(value: Any) -> Column:
    if isinstance(value, bool | int):
        return of_whole(np.array([int(value)], object))
    if isinstance(value, Fraction):
        parts = (np.array([part], object) for part in (value.numerator, value.denominator))
        return Ratio(*(of_whole(part) for part in parts))
    return Real(np.array([value], np.float64))


def of_values(values: list[Any]) -> Column:
    """A column of numbers that are all of the kind of the first."""
    first = values[0]
    if all(value == first for value in values):
        return constant(first)
    if isinstance(first, int):
        return of_whole(np.array(values, object))
    if isinstance(first, Fraction):
        parts = (
            np.array([getattr(value, part) for value in values], object)
            for part in ("numerator", "denominator")
        )
        return Ratio(*(of_whole(part) for part in parts))
    return Real(np.array(values, np.float64))


def of_whole(values: Array) -> Whole:
    """Whole numbers, in 64 bits if they fit."""
    bound = max(abs(int(values.max())), abs(int(values.min())))
    if values.dtype == object and bound < LIMIT:
        values = values.astype(np.int64)
    return Whole(values, bound)


def _tight(column: Whole) -> Whole:
    return of_whole(column.values)


def _wide(column: Whole) -> Array:
    return column.values.astype(object)


def _whole(
    operation: Callable[[Any, Any], Any],
    a: Whole,
    b: Whole,
    bound: Callable[[int, int], int],
) -> Whole:
    """An operation in 64 bits if its result fits, else with Python's numbers."""
    reached = bound(a.bound, b.bound)
    if reached >= LIMIT:
        a, b = _tight(a), _tight(b)
        reached = bound(a.bound, b.bound)
    if reached < LIMIT and a.values.dtype != object and b.values.dtype != object:
        return Whole(operation(a.values, b.values), reached)
    return of_whole(operation(_wide(a), _wide(b)))


def add(a: Whole, b: Whole) -> Whole:
    return _whole(np.add, a, b, lambda x, y: x + y)


def subtract(a: Whole, b: Whole) -> Whole:
    return _whole(np.subtract, a, b, lambda x, y: x + y)


def times(a: Whole, b: Whole) -> Whole:
    if b.bound == 1 and len(b.values) == 1 and b.values[0] == 1:
        return a
    if a.bound == 1 and len(a.values) == 1 and a.values[0] == 1:
        return b
    return _whole(np.multiply, a, b, lambda x, y: x * y)


def floor_divide(a: Whole, b: Whole) -> Whole:
    return _whole(np.floor_divide, a, _never_zero(b), lambda x, y: x + 1)


def remainder(a: Whole, b: Whole) -> Whole:
    return _whole(np.remainder, a, _never_zero(b), lambda x, y: max(x, y))


def gcd(a: Whole, b: Whole) -> Whole:
    return _whole(np.gcd, a, b, lambda x, y: max(x, y))


def lcm(a: Whole, b: Whole) -> Whole:
    return _whole(np.lcm, a, b, lambda x, y: x * y)


def _never_zero(column: Whole) -> Whole:
    """Rows that would divide by zero were to be left out by a decision; here they only may not."""
    zero = column.values == 0
    return Whole(np.where(zero, 1, column.values), max(column.bound, 1)) if zero.any() else column


def negative(a: Whole) -> Whole:
    return Whole(-a.values, a.bound)


def lowest(a: Ratio) -> Ratio:
    if a.denominator.bound == 1:
        return a
    by = gcd(a.numerator, a.denominator)
    if by.bound == 1:
        return a
    pair = (floor_divide(a.numerator, by), floor_divide(a.denominator, by))
    return Ratio(*map(_tight, pair))


def ratio_of(column: Column) -> Ratio:
    if isinstance(column, Ratio):
        return column
    assert isinstance(column, Whole)
    return Ratio(column, ONE)


ONE = Whole(np.ones(1, np.int64), 1)


def _settled(numerator: Whole, denominator: Whole) -> Ratio:
    found = Ratio(numerator, denominator)
    large = numerator.bound >= SMALL or denominator.bound >= SMALL
    return lowest(found) if large else found


def ratio_add(a: Ratio, b: Ratio, *, sign: int = 1) -> Ratio:
    over = add if sign == 1 else subtract
    one, other = a.denominator, b.denominator
    if one is other or (
        len(one.values) == len(other.values) == 1 and one.values[0] == other.values[0]
    ):
        return _settled(over(a.numerator, b.numerator), one)
    by = gcd(one, other)
    left, right = floor_divide(other, by), floor_divide(one, by)
    numerator = over(times(a.numerator, left), times(b.numerator, right))
    return _settled(numerator, times(one, left))


def ratio_times(a: Ratio, b: Ratio) -> Ratio:
    return _settled(times(a.numerator, b.numerator), times(a.denominator, b.denominator))


def ratio_divide(a: Ratio, b: Ratio) -> Ratio:
    numerator = times(a.numerator, b.denominator)
    denominator = times(a.denominator, b.numerator)
    below = denominator.values < 0
    if below.any():
        numerator = Whole(np.where(below, -numerator.values, numerator.values), numerator.bound)
        denominator = Whole(abs(denominator.values), denominator.bound)
    return _settled(numerator, _never_zero(denominator))


def real_of(column: Column) -> Array:
    """float() of each: the nearest there is."""
    if isinstance(column, Real):
        return column.values
    if isinstance(column, Whole):
        return column.values.astype(np.float64)
    return _quotient(column.numerator, column.denominator)


def _quotient(a: Whole, b: Whole) -> Array:
    if a.bound >= EXACT or b.bound >= EXACT:
        a, b = _tight(a), _tight(b)
    if a.bound < EXACT and b.bound < EXACT:
        return np.asarray(a.values.astype(np.float64) / b.values.astype(np.float64))
    rows = np.broadcast_arrays(_wide(a), _wide(b))
    return np.array([x / y for x, y in zip(*rows, strict=True)], np.float64)


def apply(operation: str, given: list[Column]) -> Column:
    """What OPERATIONS of accelsim.traced does, on columns."""
    kinds = {type(one) for one in given}
    if operation == "float":
        return Real(real_of(given[0]))
    if operation in {"eq", "lt", "le"}:
        return _compared(operation, given[0], given[1])
    if operation == "div" and kinds == {Whole}:
        a, b = given
        assert isinstance(a, Whole)
        assert isinstance(b, Whole)
        return Real(_quotient(a, _never_zero(b)))
    if Real in kinds:
        reals = [real_of(one) for one in given]
        found = OF_REALS[operation](*reals)
        if operation in {"round", "ceil", "floor"}:
            return of_whole(np.array([int(one) for one in found], object))
        return Real(found)
    if Ratio in kinds or operation == "ratio":
        return OF_RATIOS[operation](*(ratio_of(one) for one in given))
    return OF_WHOLES[operation](*given)


def _compared(operation: str, a: Column, b: Column) -> Whole:
    if isinstance(a, Real) or isinstance(b, Real):
        found = COMPARE[operation](real_of(a), real_of(b))
    else:
        one, other = ratio_of(a), ratio_of(b)
        left = times(one.numerator, other.denominator)
        right = times(other.numerator, one.denominator)
        found = COMPARE[operation](left.values, right.values)
    return Whole(np.asarray(found).astype(np.int64), 1)


def _nearest(a: Ratio) -> Whole:
    """round(): halves to the even neighbour."""
    down = floor_divide(a.numerator, a.denominator)
    rest = subtract(a.numerator, times(down, a.denominator))
    twice = add(rest, rest)
    up = (twice.values > a.denominator.values) | (
        (twice.values == a.denominator.values) & (down.values % 2 == 1)
    )
    return add(down, Whole(up.astype(np.int64), 1))


COMPARE: dict[str, Callable[..., Any]] = {"eq": np.equal, "lt": np.less, "le": np.less_equal}
OF_REALS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "abs": np.abs,
    "round": np.rint,
    "ceil": np.ceil,
    "floor": np.floor,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
}
OF_WHOLES: dict[str, Callable[..., Column]] = {
    "add": add,
    "sub": subtract,
    "mul": times,
    "floordiv": floor_divide,
    "mod": remainder,
    "lcm": lcm,
    "neg": negative,
    "abs": lambda a: Whole(abs(a.values), a.bound),
    **dict.fromkeys(("ceil", "floor", "round", "numerator"), lambda a: a),
    "denominator": lambda a: ONE,
}
OF_RATIOS: dict[str, Callable[..., Column]] = {
    "add": ratio_add,
    "sub": lambda a, b: ratio_add(a, b, sign=-1),
    "mul": ratio_times,
    "div": ratio_divide,
    "ratio": ratio_divide,
    "floordiv": lambda a, b: OF_RATIOS["floor"](ratio_divide(a, b)),
    "mod": lambda a, b: ratio_add(
        a, ratio_times(ratio_of(OF_RATIOS["floordiv"](a, b)), b), sign=-1
    ),
    "neg": lambda a: Ratio(negative(a.numerator), a.denominator),
    "abs": lambda a: Ratio(Whole(abs(a.numerator.values), a.numerator.bound), a.denominator),
    "ceil": lambda a: negative(floor_divide(negative(a.numerator), a.denominator)),
    "floor": lambda a: floor_divide(a.numerator, a.denominator),
    "round": _nearest,
    "numerator": lambda a: lowest(a).numerator,
    "denominator": lambda a: lowest(a).denominator,
}
