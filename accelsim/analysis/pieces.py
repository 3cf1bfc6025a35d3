"""Where a condition holds along one variable: intervals with a step, in many rows at once.

A row is a combination of coordinates of the other variables. Comparisons give pieces; `and`, `or`
and `not` combine them. NoPiecesError: the condition is not of a kind that gives a few pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.cascade.whole import (
    Apply,
    Int,
    Variable,
    Whole,
    evaluate,
    names,
    negated,
    tables,
    variables,
)

MAX_PIECES = 512

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Numbers:
    """What the names and tables in a condition stand for."""

    named: Mapping[str, int]
    tables: Mapping[str, Any]

    def missing(self, wholes: Iterable[Whole]) -> str | None:
        """The first name or table in these expressions that stands for nothing here."""
        for whole in wholes:
            for name in names(whole):
                if name not in self.named:
                    return name
            for name in tables(whole):
                if name not in self.tables:
                    return f"the table {name}"
        return None


@dataclass(frozen=True)
class Piece:
    """Coordinates low <= x < high with x = residue (mod step), in each of N rows."""

    low: Rows
    high: Rows
    step: int
    residue: Rows

    @property
    def count(self) -> Rows:
        first = self.low + (self.residue - self.low) % self.step
        return np.maximum(0, -((first - self.high) // self.step))


class NoPiecesError(Exception):
    """A condition whose coordinates are not a few pieces."""


def pieces(
    conditions: Sequence[Whole],
    inner: str,
    extent: int,
    rows: dict[str, Rows],
    numbers: Numbers,
) -> list[Piece]:
    """Disjoint pieces of 0..extent-1 at which all conditions hold. rows: variable -> [N]."""
    solver = _Solver(inner, extent, rows, numbers)
    found = solver.everywhere()
    for condition in conditions:
        found = solver.both(found, solver.solve(condition))
    return found


class _Solver:
    def __init__(self, inner: str, extent: int, rows: dict[str, Rows], numbers: Numbers) -> None:
        self.inner = inner
        self.extent = extent
        self.rows = rows
        self.numbers = numbers
        self.length = row_count(rows)

    def everywhere(self) -> list[Piece]:
        return [self.span(self.full(0), self.full(self.extent))]

    def full(self, value: int) -> Rows:
        return np.full(self.length, value, np.int64)

    def span(self, low: Rows, high: Rows) -> Piece:
        """An interval, kept inside the extent."""
        low, high = np.clip(low, 0, self.extent), np.clip(high, 0, self.extent)
        return Piece(low, high, 1, self.full(0))

    def value(self, whole: Whole) -> Rows:
        """An expression without the inner variable, in each row."""
        found = evaluate(whole, self.rows, self.numbers.named, self.numbers.tables)
        return np.broadcast_to(np.asarray(found, np.int64), (self.length,))

    def constant(self, whole: Whole) -> int:
        """An expression without any variable."""
        if variables(whole):
            raise NoPiecesError
        return int(evaluate(whole, {}, self.numbers.named, self.numbers.tables))

    def solve(self, condition: Whole) -> list[Piece]:
        if self.inner not in variables(condition):
            holds = self.value(condition)
            return [self.span(self.full(0), np.where(holds != 0, self.extent, 0))]
        match condition:
            case Apply("and", (left, right)):
                return self.both(self.solve(left), self.solve(right))
            case Apply("or", (left, right)):
                first = self.solve(left)
                return [*first, *self.both(self.solve(right), self.outside(first))]
            case Apply("not", (held,)):
                turned = negated(held)
                if turned == condition:
                    return self.outside(self.solve(held))
                return self.solve(turned)
            case Apply(relation, (left, right)):
                return self.compare(relation, left, right)
        raise NoPiecesError

    def compare(self, relation: str, left: Whole, right: Whole) -> list[Piece]:
        if relation == "ne":
            return self.outside(self.compare("eq", left, right))
        if relation in {"gt", "ge"}:
            return self.compare("lt" if relation == "gt" else "le", right, left)
        if relation == "lt":  # of whole numbers
            return self.compare("le", Apply("add", (left, Int(1))), right)
        terms = [t for t in self.terms(Apply("sub", (left, right)), 1) if t[1]]  # 0 * x is 0
        slope = sum(sign * factor for sign, factor, core in terms if core is None)
        cores = [(sign * factor, core) for sign, factor, core in terms if core is not None]
        rest = self.value(self.without(Apply("sub", (left, right))))
        if not cores:
            return self.linear(relation, slope, rest)
        if slope or len(cores) > 1:
            raise NoPiecesError
        factor, core = cores[0]
        # factor * core + rest <= 0 (or == 0)
        return self.of_core(relation, factor, core, rest)

    def of_core(self, relation: str, factor: int, core: Apply, rest: Rows) -> list[Piece]:
        """Where factor * core + rest is at most 0 (le) or 0 (eq)."""
        exact = rest % factor == 0
        # core <= bound, or core >= bound for a negative factor
        bound = -rest // factor if factor > 0 else -(-rest // -factor)
        rows = {**self.rows, "<bound>": bound}
        limit = Variable("<bound>")
        solver = _Solver(self.inner, self.extent, rows, self.numbers)
        sense = relation if relation == "eq" else ("le" if factor > 0 else "ge")
        found = solver.core(sense, core, limit)
        if relation == "eq":
            found = [replace(p, high=np.where(exact, p.high, p.low)) for p in found]
        return found

    def core(self, sense: str, core: Apply, limit: Whole) -> list[Piece]:
        """Where core is at most, at least or equal to the limit."""
        if sense == "eq" and core.operator != "mod":
            at_most = self.core("le", core, limit)
            return self.both(at_most, self.core("ge", core, limit))
        match core:
            case Apply("floordiv", (inside, by)):
                size = Int(self.constant(by))
                if size.value < 1:
                    raise NoPiecesError
                if sense == "le":
                    above = Apply("mul", (size, Apply("add", (limit, Int(1)))))
                    return self.compare("lt", inside, above)
                return self.compare("ge", inside, Apply("mul", (size, limit)))
            case Apply("mod", (inside, by)):
                return self.residues(sense, inside, self.constant(by), self.value(limit))
            case Apply("max" | "min" as kind, (a, b)):
                relation = "le" if sense == "le" else "ge"
                parts = [self.compare(relation, x, limit) for x in (a, b)]
                if (kind == "max") == (sense == "le"):
                    return self.both(*parts)
                return [*parts[0], *self.both(parts[1], self.outside(parts[0]))]
            case Apply("abs", (inside,)):
                low = self.compare("ge", inside, Apply("neg", (limit,)))
                within = self.both(low, self.compare("le", inside, limit))
                if sense == "le":
                    return within
                less = Apply("sub", (limit, Int(1)))
                low = self.compare("ge", inside, Apply("neg", (less,)))
                return self.outside(self.both(low, self.compare("le", inside, less)))
        raise NoPiecesError

    def residues(self, sense: str, inside: Whole, by: int, limit: Rows) -> list[Piece]:
        """Where inside % by is at most, at least or equal to the limit in each row."""
        terms = self.terms(inside, 1)
        if by < 1 or by > MAX_PIECES or any(core is not None for _, _, core in terms):
            raise NoPiecesError
        slope = sum(sign * factor for sign, factor, _ in terms)
        if gcd(slope, by) != 1:
            raise NoPiecesError
        rest = self.value(self.without(inside))
        inverse = pow(slope, -1, by)
        out = []
        for residue in range(by) if sense != "eq" else (None,):
            if residue is None:
                wanted, holds = limit, (limit >= 0) & (limit < by)
            else:
                wanted = self.full(residue)
                holds = wanted <= limit if sense == "le" else wanted >= limit
            at = (wanted - rest) * inverse % by
            out.append(Piece(self.full(0), np.where(holds, self.extent, 0), by, at))
        return out

    def linear(self, relation: str, slope: int, rest: Rows) -> list[Piece]:
        """Where slope * x + rest is at most 0 (le) or 0 (eq)."""
        if slope == 0:
            holds = rest <= 0 if relation == "le" else rest == 0
            return [self.span(self.full(0), np.where(holds, self.extent, 0))]
        if relation == "eq":
            at, exact = (-rest) // slope, rest % slope == 0
            return [self.span(at, np.where(exact, at + 1, at))]
        if slope > 0:
            return [self.span(self.full(0), (-rest) // slope + 1)]
        return [self.span(-((-rest) // -slope), self.full(self.extent))]

    def terms(self, whole: Whole, sign: int) -> list[tuple[int, int, Apply | None]]:
        """(sign, factor, core) of every term with the inner variable; core None: itself."""
        if self.inner not in variables(whole):
            return []
        match whole:
            case Variable():
                return [(sign, 1, None)]
            case Apply("add", (left, right)):
                return [*self.terms(left, sign), *self.terms(right, sign)]
            case Apply("sub", (left, right)):
                return [*self.terms(left, sign), *self.terms(right, -sign)]
            case Apply("neg", (held,)):
                return self.terms(held, -sign)
            case Apply("mul", (left, right)):
                if self.inner in variables(left):
                    left, right = right, left
                factor = self.constant(left)
                return [(s, f * factor, core) for s, f, core in self.terms(right, sign)]
            case Apply("floordiv" | "mod" | "min" | "max" | "abs"):
                return [(sign, 1, whole)]
        raise NoPiecesError

    def without(self, whole: Whole) -> Whole:
        """The terms without the inner variable; `terms` has the others."""
        if self.inner not in variables(whole):
            return whole
        match whole:
            case Apply("add" | "sub" as operator, (left, right)):
                return Apply(operator, (self.without(left), self.without(right)))
            case Apply("neg", (held,)):
                return Apply("neg", (self.without(held),))
            case Apply("mul", (left, right)):
                if self.inner in variables(right):
                    return Apply("mul", (left, self.without(right)))
                return Apply("mul", (self.without(left), right))
        return Int(0)

    # Sets of pieces -------------------------------------------------------------------------------

    def both(self, left: list[Piece], right: list[Piece]) -> list[Piece]:
        if len(left) * len(right) > MAX_PIECES:
            raise NoPiecesError
        out = []
        for a in left:
            for b in right:
                low, high = np.maximum(a.low, b.low), np.minimum(a.high, b.high)
                if a.step == 1 or b.step == 1:
                    one = b if a.step == 1 else a
                    piece = Piece(low, high, one.step, one.residue)
                else:
                    piece = _common(low, high, a, b)
                if (piece.low < piece.high).any():
                    out.append(piece)
        return out

    def outside(self, held: list[Piece]) -> list[Piece]:
        """The coordinates of none of the pieces."""
        out = self.everywhere()
        for piece in held:
            low, high = self.full(0), self.full(self.extent)
            apart = [self.span(low, piece.low), self.span(piece.high, high)]
            # An empty piece has nothing outside that is counted twice.
            apart[1] = replace(apart[1], low=np.maximum(apart[1].low, apart[0].high))
            for offset in range(1, piece.step):
                other = (piece.residue + offset) % piece.step
                apart.append(replace(piece, residue=other))
            out = self.both(out, apart)
        return out


def _common(low: Rows, high: Rows, a: Piece, b: Piece) -> Piece:
    """Of two steps, what both meet (Chinese remainder)."""
    divisor = gcd(a.step, b.step)
    step = a.step // divisor * b.step
    if step > 1 << 40:
        raise NoPiecesError
    meets = (b.residue - a.residue) % divisor == 0
    times = (b.residue - a.residue) // divisor * pow(a.step // divisor, -1, b.step // divisor)
    residue = (a.residue + a.step * (times % (b.step // divisor))) % step
    return Piece(low, np.where(meets, high, low), step, residue)


def row_count(rows: Mapping[str, Rows]) -> int:
    return len(next(iter(rows.values())))
