"""Whole-number expressions: predicates, computed indices, coordinates used as values.

They are made of rank variables, named whole numbers (shapes of ranks, parameters), tables of whole
numbers, and the operators below; conditions are 1 or 0. Division `//` rounds down and `%` has the
sign of its divisor, as in Python. `draw(a, b, ...)` is a whole number from 0 to 2^32 - 1 that
depends on its arguments alone and looks random (splitmix64 of Steele, Lea and Flood, 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.errors import AccelsimError


@dataclass(frozen=True)
class Int:
    """A whole number."""

    value: int


@dataclass(frozen=True)
class Variable:
    """The coordinate of a rank variable."""

    name: str


@dataclass(frozen=True)
class Named:
    """The shape of a rank (`M`, `M0`) or a parameter."""

    name: str


@dataclass(frozen=True)
class Lookup:
    """An entry of a table of whole numbers."""

    table: str
    indices: tuple[Whole, ...]


@dataclass(frozen=True)
class Apply:
    """An operator applied to expressions; a key of WHOLE_OPERATORS."""

    operator: str
    arguments: tuple[Whole, ...]


Whole = Int | Variable | Named | Lookup | Apply


@dataclass(frozen=True)
class WholeOperator:
    """arity: 0 for any number of arguments from 1. binds: how tightly, for infix symbols.

    condition: it gives a condition. of_conditions: it takes conditions.
    """

    name: str
    arity: int
    symbol: str = ""
    binds: int = 0
    condition: bool = False
    of_conditions: bool = False


_TABLE = (
    WholeOperator("or", 2, "or", 1, True, True),
    WholeOperator("and", 2, "and", 2, True, True),
    WholeOperator("not", 1, "not", 3, True, True),
    WholeOperator("lt", 2, "<", 4, True),
    WholeOperator("le", 2, "<=", 4, True),
    WholeOperator("gt", 2, ">", 4, True),
    WholeOperator("ge", 2, ">=", 4, True),
    WholeOperator("eq", 2, "==", 4, True),
    WholeOperator("ne", 2, "!=", 4, True),
    WholeOperator("add", 2, "+", 5),
    WholeOperator("sub", 2, "-", 5),
    WholeOperator("mul", 2, "*", 6),
    WholeOperator("floordiv", 2, "//", 6),
    WholeOperator("mod", 2, "%", 6),
    WholeOperator("neg", 1, "-", 7),
    WholeOperator("min", 2),
    WholeOperator("max", 2),
    WholeOperator("abs", 1),
    WholeOperator("draw", 0),
)
WHOLE_OPERATORS = {operator.name: operator for operator in _TABLE}
RELATIONS = {o.symbol: o.name for o in _TABLE if o.binds == 4}
WHOLE_FUNCTIONS = {o.name: o for o in _TABLE if not o.symbol}
OPPOSITE = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt", "eq": "ne", "ne": "eq"}


def is_condition(whole: Whole) -> bool:
    """Whether it states something, rather than being a number."""
    return isinstance(whole, Apply) and WHOLE_OPERATORS[whole.operator].condition


def walk(whole: Whole) -> Iterator[Whole]:
    """It and everything in it, outermost first."""
    left = [whole]  # not recursive: nested generators cost several times as much
    while left:
        whole = left.pop()
        yield whole
        if isinstance(whole, Apply):
            left.extend(reversed(whole.arguments))
        elif isinstance(whole, Lookup):
            left.extend(reversed(whole.indices))


def variables(whole: Whole) -> tuple[str, ...]:
    """Rank variables in it, each once, left to right."""
    return tuple(dict.fromkeys(w.name for w in walk(whole) if isinstance(w, Variable)))


def names(whole: Whole) -> tuple[str, ...]:
    """Named whole numbers in it, each once, left to right."""
    return tuple(dict.fromkeys(w.name for w in walk(whole) if isinstance(w, Named)))


def tables(whole: Whole) -> tuple[str, ...]:
    return tuple(dict.fromkeys(w.table for w in walk(whole) if isinstance(w, Lookup)))


def substitute(whole: Whole, values: Mapping[str, Whole]) -> Whole:
    """The expression with expressions in the place of rank variables."""
    match whole:
        case Variable(name=name):
            return values.get(name, whole)
        case Lookup(table=table, indices=indices):
            return Lookup(table, tuple(substitute(i, values) for i in indices))
        case Apply(operator=operator, arguments=arguments):
            inner = tuple(substitute(a, values) for a in arguments)
            if operator == "neg" and isinstance(inner[0], Int):
                return Int(-inner[0].value)
            return Apply(operator, inner)
        case _:
            return whole


def show_whole(whole: Whole, needed: int = 0) -> str:
    """Text that reads back as the same expression; in parentheses if it binds less than needed."""
    match whole:
        case Int(value=value):
            return str(value)
        case Variable(name=name) | Named(name=name):
            return name
        case Lookup(table=table, indices=indices):
            return f"{table}[{', '.join(show_whole(i) for i in indices)}]"
        case Apply(operator=name, arguments=arguments):
            operator = WHOLE_OPERATORS[name]
            if not operator.symbol:
                return f"{name}({', '.join(show_whole(a) for a in arguments)})"
            inner = [show_whole(a, operator.binds + n) for n, a in enumerate(arguments)]
            if len(inner) == 1:
                text = f"{operator.symbol}{' ' * operator.condition}{inner[0]}"
            elif operator.binds == 4:
                text = f"{show_whole(arguments[0], 5)} {operator.symbol} {inner[1]}"
            else:
                text = f"{inner[0]} {operator.symbol} {inner[1]}"
            return f"({text})" if operator.binds < needed else text


def conjuncts(whole: Whole) -> tuple[Whole, ...]:
    """Conditions of which all must hold; `not` is moved inwards."""
    match whole:
        case Apply("and", arguments):
            return tuple(c for a in arguments for c in conjuncts(a))
        case Apply("not", (inner,)):
            turned = negated(inner)
            return (turned,) if turned == whole else conjuncts(turned)
        case _:
            return (whole,)


def negated(whole: Whole) -> Whole:
    """What holds where the condition does not."""
    match whole:
        case Apply("not", (inner,)):
            return inner
        case Apply("and" | "or" as operator, arguments):
            other = "or" if operator == "and" else "and"
            return Apply(other, tuple(negated(a) for a in arguments))
        case Apply(operator, arguments) if operator in OPPOSITE:
            return Apply(OPPOSITE[operator], arguments)
        case _:
            return Apply("not", (whole,))


def split_coordinate(own: Sequence[str], parts: Sequence[str]) -> Whole:
    """The coordinate of a cut rank: M0*m1 + m0. own: variables of the parts, outermost first."""
    found: Whole = Variable(own[0])
    for variable, part in zip(own[1:], parts[1:], strict=True):
        found = Apply("add", (Apply("mul", (Named(part), found)), Variable(variable)))
    return found


def joined_parts(whole: Whole, own: Sequence[str], parts: Sequence[str], root: str) -> Whole:
    """A condition with M0*m1 + m0 written as the uncut rank's own variable, where it can be."""
    match whole:
        case Apply(operator, (left, right)) if operator in RELATIONS.values():
            terms = affine(Apply("sub", (left, right)))
            if terms is None:
                return whole
            place = affine(split_coordinate(own, parts))
            assert place is not None  # a sum of products
            slope = terms.get((own[-1], ()), 0)
            rest = dict(terms)
            for (variable, by), one in place.items():
                if rest.pop((variable, by), 0) != slope * one:
                    return whole
            if slope:
                rest[root, ()] = rest.get((root, ()), 0) + slope
            return Apply(operator, (_sum(rest), Int(0)))
        case Apply(operator, arguments):
            return Apply(operator, tuple(joined_parts(a, own, parts, root) for a in arguments))
        case _:
            return whole


def _sum(terms: Affine) -> Whole:
    found: Whole = Int(0)
    for (variable, by), coefficient in terms.items():
        term: Whole = Int(coefficient)
        for name in by:
            term = Apply("mul", (term, Named(name)))
        if variable:
            term = Apply("mul", (term, Variable(variable)))
        found = Apply("add", (found, term))
    return found


Affine = dict[tuple[str, tuple[str, ...]], int]
"""(rank variable or "", sorted names that multiply it) -> coefficient."""


def affine(whole: Whole) -> Affine | None:
    """It as a sum of products with one rank variable at most in each, or None."""
    match whole:
        case Int(value=value):
            return {("", ()): value} if value else {}
        case Variable(name=name):
            return {(name, ()): 1}
        case Named(name=name):
            return {("", (name,)): 1}
        case Apply("neg", (inner,)):
            return affine(Apply("sub", (Int(0), inner)))
        case Apply("add" | "sub" as operator, (left, right)):
            a, b = affine(left), affine(right)
            if a is None or b is None:
                return None
            out = dict(a)
            for key, coefficient in b.items():
                sign = 1 if operator == "add" else -1
                out[key] = out.get(key, 0) + sign * coefficient
            return {key: c for key, c in out.items() if c}
        case Apply("mul", (left, right)):
            a, b = affine(left), affine(right)
            if a is None or b is None:
                return None
            out = {}
            for (v, ns), c in a.items():
                for (w, ms), d in b.items():
                    if v and w:
                        return None
                    key = (v or w, tuple(sorted((*ns, *ms))))
                    out[key] = out.get(key, 0) + c * d
            return {key: c for key, c in out.items() if c}
        case _:
            return None


def draw(*values: Any) -> Any:
    """A whole number from 0 to 2^32 - 1 per point, from its arguments alone."""
    with np.errstate(over="ignore"):
        state: Any = np.uint64(0)
        for value in values:
            state = state ^ np.asarray(value, np.int64).astype(np.uint64)
            state = state + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(32)).astype(np.int64)


def _divide(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        if not np.all(right):
            raise AccelsimError("division by 0 in a whole-number expression")
        return function(left, right)

    return apply


_APPLY: dict[str, Callable[..., Any]] = {
    "or": np.logical_or,
    "and": np.logical_and,
    "not": np.logical_not,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "floordiv": _divide(np.floor_divide),
    "mod": _divide(np.mod),
    "neg": np.negative,
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
    "draw": draw,
}


def evaluate(
    whole: Whole,
    coordinates: Mapping[str, Any],
    numbers: Mapping[str, int],
    tables: Mapping[str, Any] | None = None,
) -> Any:
    """Its value (int64, or bool for a condition) at coordinates: numbers or arrays of them.

    Raises AccelsimError: division by 0, a table read outside of its shape.
    """
    match whole:
        case Int(value=value):
            return np.int64(value)
        case Variable(name=name):
            return coordinates[name]
        case Named(name=name):
            return np.int64(numbers[name])
        case Lookup(table=name, indices=indices):
            table = np.asarray((tables or {})[name])
            at = [np.asarray(evaluate(i, coordinates, numbers, tables)) for i in indices]
            for axis, index in enumerate(at):
                if index.size and (index.min() < 0 or index.max() >= table.shape[axis]):
                    wrong = int(index.min() if index.min() < 0 else index.max())
                    raise AccelsimError(
                        f"table {name} is read at {wrong} on axis {axis}, outside of its "
                        f"{table.shape[axis]} entries"
                    )
            return table[tuple(at)]
        case Apply(operator=operator, arguments=arguments):
            return _APPLY[operator](*(evaluate(a, coordinates, numbers, tables) for a in arguments))


def settled(
    whole: Whole, numbers: Mapping[str, int], tables: Mapping[str, Any] | None = None
) -> Whole:
    """The same with every part that has no rank variable as a number. Raises as `evaluate`."""
    match whole:
        case Apply(operator, arguments):
            inner = tuple(settled(a, numbers, tables) for a in arguments)
            whole = Apply(operator, inner)
            match operator, inner:
                case (("and" | "or"), (Int(value), other) | (other, Int(value))):
                    return other if bool(value) == (operator == "and") else Int(value)
                case ("mod", (_, Int(1))) | ("mul", (Int(0), _) | (_, Int(0))):
                    return Int(0)
                case "floordiv", (other, Int(1)):
                    return other
            fixed = all(isinstance(i, Int) for i in inner)
        case Lookup(table, indices):
            whole = Lookup(table, tuple(settled(i, numbers, tables) for i in indices))
            fixed = all(isinstance(i, Int) for i in whole.indices)
        case _:
            fixed = isinstance(whole, Named)
    return Int(int(evaluate(whole, {}, numbers, tables))) if fixed else whole
