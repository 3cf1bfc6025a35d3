"""Rank variables cut into digits, where conditions only look at digits of them.

`m // 8 % 4` is one digit of m. A neighbourhood in three dimensions ties one digit of each position
per axis: conditions on m and p become conditions on small variables of their own, which fall apart
into groups that are counted one by one (space.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod

from accelsim.analysis.pieces import Numbers
from accelsim.cascade.whole import Apply, Int, Lookup, Variable, Whole, evaluate, variables

Digits = tuple[tuple[str, int], ...]
"""(name, extent) of each digit, the most significant first."""


def cut_into_digits(
    conditions: Sequence[Whole],
    extents: Mapping[str, int],
    tiles: Mapping[str, int],
    numbers: Numbers,
) -> tuple[list[Whole], dict[str, Digits]]:
    """The conditions in digits, and for each variable that was cut its digits.

    tiles: sizes at which digits have to
    begin, too. A variable stays whole where it is used as it is, or its digits do not fit together.
    """
    uses: dict[str, set[tuple[int, int]]] = {}
    for condition in conditions:
        _uses(condition, numbers, uses)
    digits = {}
    for variable, seen in uses.items():
        if (1, 0) in seen:
            continue
        bounds = _bounds(seen, extents[variable], tiles.get(variable, 1))
        if bounds is not None and len(bounds) > 2:
            digits[variable] = tuple(
                (f"{variable}:{low}", high // low) for low, high in reversed(list(pairwise(bounds)))
            )
    return [_in_digits(c, digits, numbers) for c in conditions], digits


def stride(digits: Digits, name: str) -> int:
    """What one step of a digit is worth."""
    names = [digit for digit, _ in digits]
    return prod(extent for _, extent in digits[names.index(name) + 1 :])


def _uses(whole: Whole, numbers: Numbers, uses: dict[str, set[tuple[int, int]]]) -> None:
    """Fill in how each variable is used: (by, modulus) of `x // by % modulus`, 0 for none."""
    found = _digit(whole, numbers)
    if found is not None:
        variable, by, modulus = found
        uses.setdefault(variable, set()).add((by, modulus))
        return
    for part in _parts(whole):
        _uses(part, numbers, uses)


def _parts(whole: Whole) -> tuple[Whole, ...]:
    match whole:
        case Apply(arguments=inner) | Lookup(indices=inner):
            return inner
    return ()


def _digit(whole: Whole, numbers: Numbers) -> tuple[str, int, int] | None:
    """(variable, by, modulus) where it is x, x // by, x % modulus or a nest of these."""
    match whole:
        case Variable(name=name):
            return name, 1, 0
        case Apply("floordiv" | "mod" as operator, (inside, right)) if not variables(right):
            found = _digit(inside, numbers)
            by = int(evaluate(right, {}, numbers.named, numbers.tables))
            if found is None or by < 1:
                return None
            variable, divisor, modulus = found
            if operator == "mod":
                # x % 12 % 4 is x % 4; x % 12 % 5 is no digit.
                if modulus and modulus % by:
                    return None
                return variable, divisor, by
            if modulus:
                if modulus % by:
                    return None
                modulus //= by
            return variable, divisor * by, modulus
    return None


def _bounds(uses: set[tuple[int, int]], extent: int, tile: int) -> list[int] | None:
    """1, ..., extent: strides at which digits begin and end, each dividing the next; or None."""
    found = {1, tile, extent}
    for by, modulus in uses:
        if modulus != 1:
            found |= {by, by * modulus if modulus else extent}
    bounds = [*sorted(b for b in found if b < extent), extent]
    if any(high % low for low, high in pairwise(bounds)):
        return None
    return bounds


def _in_digits(whole: Whole, digits: Mapping[str, Digits], numbers: Numbers) -> Whole:
    found = _digit(whole, numbers)
    if found is not None and found[0] in digits:
        variable, by, modulus = found
        own = digits[variable]
        total: Whole = Int(0)
        for name, extent in own:
            worth = stride(own, name)
            if worth < by or (modulus and worth * extent > by * modulus):
                continue
            digit = Variable(name)
            term = Apply("mul", (Int(worth // by), digit)) if worth > by else digit
            total = term if total == Int(0) else Apply("add", (total, term))
        return total
    match whole:
        case Apply(operator, arguments):
            return Apply(operator, tuple(_in_digits(a, digits, numbers) for a in arguments))
        case Lookup(table, indices):
            return Lookup(table, tuple(_in_digits(i, digits, numbers) for i in indices))
    return whole
