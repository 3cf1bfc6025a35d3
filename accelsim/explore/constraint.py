"""Constraints of a study: expressions over axes and measures, read once, computed per point.

Python's parser gives the tree; only what stands in the tables below is taken from it, and nothing
is ever evaluated by Python itself.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from accelsim import units
from accelsim.errors import AccelsimError, nearest, shown

MAX_LENGTH = 1000
Value = int | float | str
Values = Mapping[str, Any]
_Compute = Callable[[Values], Any]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda a, b: float(a) ** float(b),  # of whole numbers it could fill the memory
}
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
# Name -> function, least and most number of arguments.
_FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "abs": (abs, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "floor": (math.floor, 1, 1),
    "log2": (math.log2, 1, 1),
    "sqrt": (math.sqrt, 1, 1),
    "min": (min, 2, 20),
    "max": (max, 2, 20),
}
_CAN = "numbers, axes, measures, + - * / // % **, comparisons, in, and, or, not, "
CAN = (f"known: {_CAN}{', '.join(_FUNCTIONS)}",)


@dataclass(frozen=True)
class Misread:
    """What is wrong with an expression. column: from 0, in its text."""

    message: str
    column: int
    width: int
    help: tuple[str, ...] = ()


class MisreadError(Exception):
    """An expression that cannot be read. misread: all that is wrong with it."""

    def __init__(self, misread: list[Misread]) -> None:
        super().__init__(misread[0].message)
        self.misread = misread


@dataclass(frozen=True)
class Constraint:
    """An expression that is true or false at a point. names: axes and measures in it."""

    text: str
    names: tuple[str, ...]
    compute: _Compute

    def holds(self, values: Values) -> bool:
        """Whether it holds; true where an axis that it names is absent (not in `values`).

        values: of names, as `number_of` gives them. Raises AccelsimError where it has no value.
        """
        if any(name not in values for name in self.names):
            return True
        try:
            return bool(self.compute(values))
        except (ArithmeticError, ValueError) as error:
            raise AccelsimError(f"constraint `{self.text}`: {error}") from None
        except TypeError:
            given = ", ".join(f"{name} {shown(values[name])}" for name in self.names)
            message = f"constraint `{self.text}`: a number and a text do not go together ({given})"
            raise AccelsimError(message) from None


def number_of(value: Value) -> Value:
    """A text with a unit as a number of base units (units.py); any other value as it is."""
    return _amount(value) if isinstance(value, str) else value


@functools.lru_cache(maxsize=65536)
def _amount(text: str) -> Value:
    # Bytes a second would pass for hertz, as a bit has no dimension.
    kinds = ["bandwidth"] if "/" in text else [k for k in units.BASE_UNITS if k != "bandwidth"]
    for kind in kinds:
        try:
            exact = units.parse(text, kind)
        except ValueError:
            continue
        return int(exact) if exact.denominator == 1 else float(exact)
    return text


def read(text: str, known: Callable[[str], bool], candidates: Iterable[str]) -> Constraint:
    """The constraint in a text. known: whether a name is an axis or a measure, else one of the
    candidates may be meant. Raises MisreadError with all that is wrong."""
    stripped = text.strip()
    start = len(text) - len(text.lstrip())
    if len(stripped) > MAX_LENGTH:
        message = f"an expression of {len(stripped):,} characters; at most {MAX_LENGTH:,} are read"
        raise MisreadError([Misread(message, start, MAX_LENGTH)])
    try:
        tree = ast.parse(stripped, mode="eval").body
        reader = _Reader(stripped, start, known, candidates)
        compute, is_truth = reader.built(tree)
    except SyntaxError as error:
        column = start + max(0, (error.offset or 1) - 1)
        message = "cannot be read as an expression from here on"
        raise MisreadError([Misread(message, column, 1, _hint(stripped))]) from None
    except (ValueError, RecursionError, MemoryError):
        raise MisreadError([Misread("cannot be read as an expression", start, 1)]) from None
    if not reader.misread and not is_truth:
        reader.wrong(tree, "expected a comparison, such as `axis <= 16`")
    if reader.misread:
        raise MisreadError(reader.misread)
    return Constraint(stripped, tuple(dict.fromkeys(reader.names)), compute)


def _hint(text: str) -> tuple[str, ...]:
    if "=" in text and not any(sign in text for sign in ("==", "<=", ">=", "!=")):
        return ("equal is written ==",)
    if any(prefix in text for prefix in ("KiB", "MiB", "GiB", "Hz", "um^2", "pJ")):
        return ("a quantity with its unit stands in quotes: buffer <= '16 MiB'",)
    return CAN


class _Reader:
    """Turns the tree into functions of the values; collects names and what is wrong."""

    def __init__(
        self, text: str, start: int, known: Callable[[str], bool], candidates: Iterable[str]
    ) -> None:
        self.text = text
        self.start = start
        self.known = known
        self.candidates = candidates
        self.names: list[str] = []
        self.misread: list[Misread] = []

    def wrong(self, node: ast.expr, message: str, help: tuple[str, ...] = ()) -> None:
        # Columns of the tree count bytes; a line break makes them of another line.
        before = self.text.encode()[: node.col_offset].decode(errors="ignore")
        width = len(ast.get_source_segment(self.text, node) or " ")
        self.misread.append(Misread(message, self.start + len(before), width, help))

    def built(self, node: ast.expr) -> tuple[_Compute, bool]:
        """The function of the values, and whether what it gives is true or false."""
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                constant = number_of(value)
                return (lambda values: constant), isinstance(value, bool)
            case ast.Name(id=name):
                return self._named(node, name), False
            case ast.Attribute(value=ast.Name(id=run), attr=measure):
                return self._named(node, f"{run}.{measure}"), False
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._truth(operand)
                return (lambda values: not inner(values)), True
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self._number(operand)
                return (lambda values: -inner(values)), False
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._number(operand), False
            case ast.BoolOp(op=op, values=operands):
                all_of = [self._truth(operand) for operand in operands]
                over = all if isinstance(op, ast.And) else any
                return (lambda values: over(part(values) for part in all_of)), True
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                of = _BINARY[type(op)]
                a, b = self._number(left), self._number(right)
                return (lambda values: of(a(values), b(values))), False
            case ast.Compare():
                return self._compared(node), True
            case ast.Call(func=ast.Name(id=name), args=given, keywords=[]):
                return self._called(node, name, given), False
        self.wrong(node, "this cannot stand in a constraint", CAN)
        return (lambda values: 0), True

    def _named(self, node: ast.expr, name: str) -> _Compute:
        self.names.append(name)
        if not self.known(name):
            help = nearest(name, self.candidates)
            self.wrong(node, f"{name!r} is no axis, column or measure", help)
        return lambda values: values[name]

    def _truth(self, node: ast.expr) -> _Compute:
        compute, is_truth = self.built(node)
        if not is_truth:
            self.wrong(node, "expected a comparison here")
        return compute

    def _number(self, node: ast.expr) -> _Compute:
        compute, is_truth = self.built(node)
        if is_truth and not self.misread:
            self.wrong(node, "expected a number here, not true or false")
        return compute

    def _compared(self, node: ast.Compare) -> _Compute:
        pairs = []
        left = self._number(node.left)
        for op, operand in zip(node.ops, node.comparators, strict=True):
            if type(op) not in _COMPARED:
                self.wrong(node, "expected one of < <= > >= == != in", CAN)
                return left
            right = self._members(operand) if isinstance(op, ast.In | ast.NotIn) else None
            pairs.append((_COMPARED[type(op)], left, right or self._number(operand)))
            left = pairs[-1][2]
        return lambda values: all(of(a(values), b(values)) for of, a, b in pairs)

    def _members(self, node: ast.expr) -> _Compute:
        if not isinstance(node, ast.Tuple | ast.List):
            self.wrong(node, "expected a list such as [16, 32] after `in`")
            return lambda values: ()
        members = [self._number(member) for member in node.elts]
        return lambda values: tuple(member(values) for member in members)

    def _called(self, node: ast.expr, name: str, given: list[ast.expr]) -> _Compute:
        if name not in _FUNCTIONS:
            self.wrong(node, f"no function {name!r}", nearest(name, _FUNCTIONS))
            return lambda values: 0
        function, least, most = _FUNCTIONS[name]
        if not least <= len(given) <= most:
            wanted = f"{least}" if least == most else f"{least} or more"
            self.wrong(node, f"{name} takes {wanted}, got {len(given)}")
        parts = [self._number(part) for part in given]
        return lambda values: function(*(part(values) for part in parts))
