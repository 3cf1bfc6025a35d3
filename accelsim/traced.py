"""Numbers that remember how they were made: computed once, known for all inputs that decide alike.

A function run on `Traced` numbers leaves a tape: its operations, and every decision that depended
on their values (a comparison, an index, a key: whatever needs the number itself) with its outcome.
For other inputs with the same outcomes the function would do the same operations, so that its
results follow from the tape, for thousands of inputs at once (`accelsim.explore.replay`). Nothing
can leave a tape unseen: a Traced number is no int, and each way to make it one is a decision.

A traced number stands for what Python's own would be: int, Fraction or float.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Value = int | Fraction | float
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "ratio": lambda a, b: Fraction(a) / Fraction(b),
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "lcm": lambda a, b: math.lcm(a, b),
    "neg": lambda a: -a,
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "round": round,
    "float": float,
    "numerator": lambda a: a.numerator,
    "denominator": lambda a: a.denominator,
}
DIVIDE = frozenset({"div", "ratio", "floordiv", "mod"})


@dataclass
class Tape:
    """What a function did. events, in order:

    ("input", name) and ("constant", value); (operation, nodes); ("call", function, nodes, how many
    results); ("decide", node, outcome). All but decisions make nodes, numbered from 0. values: of
    the nodes, for the inputs with which it was made.
    """

    events: list[tuple[Any, ...]] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    _known: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def input(self, name: str, value: Value) -> Traced:
        return Traced(self, self._node(("input", name), value), value)

    def constant(self, value: Value) -> int:
        return self._node(("constant", type(value), value), value)

    def apply(self, operation: str, *given: Any) -> Traced:
        nodes = tuple(self.node_of(one) for one in given)
        key = (operation, nodes)
        if key not in self._known and operation in DIVIDE:
            self.decide(self.apply("eq", given[1], 0))
        if key in self._known:
            node = self._known[key]
            return Traced(self, node, self.values[node])
        value = OPERATIONS[operation](*(self.values[node] for node in nodes))
        return Traced(self, self._node(key, value), value)

    def call(
        self,
        function: Callable[[Any], Any],
        given: Sequence[Any],
        found: Sequence[Value],
    ) -> list[Traced]:
        """Numbers that a function makes, row by row. found: what it makes of these.

        function: whole numbers [N, given] to whole numbers [N, found].
        """
        self.events.append(("call", function, tuple(map(self.node_of, given)), len(found)))
        first = len(self.values)
        self.values += found
        return [Traced(self, first + n, value) for n, value in enumerate(found)]

    def decide(self, about: Traced) -> Any:
        """The value of a number, on which all that follows depends."""
        key = ("decide", about.node)
        if key not in self._known:
            self._known[key] = about.node
            self.events.append(("decide", about.node, about.value))
        return about.value

    def node_of(self, one: Any) -> int:
        if isinstance(one, Traced):
            if one.tape is not self:
                raise ValueError("a number of another tape")
            return one.node
        if isinstance(one, bool | int | Fraction | float):
            return self.constant(one)
        return self.constant(int(one))  # NumPy's

    def _node(self, event: tuple[Any, ...], value: Any) -> int:
        node = self._known.get(event)
        if node is None:
            node = self._known[event] = len(self.values)
            self.events.append(event)
            self.values.append(value)
        return node


def _binary(operation: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(self: Traced, other: Any) -> Any:
        return self.tape.apply(operation, self, other) if _number(other) else NotImplemented

    def backward(self: Traced, other: Any) -> Any:
        return self.tape.apply(operation, other, self) if _number(other) else NotImplemented

    return forward, backward


def _number(other: Any) -> bool:
    return isinstance(other, Traced | int | Fraction | float) or hasattr(other, "__index__")


def _comparison(operation: str, *, turned: bool, opposite: bool = False) -> Callable[..., Any]:
    def compare(self: Traced, other: Any) -> Any:
        if not _number(other):
            return NotImplemented
        pair = (other, self) if turned else (self, other)
        return bool(self.tape.decide(self.tape.apply(operation, *pair))) != opposite

    return compare


class Traced:
    """A number on a tape. Made by `Tape.input`, and by operations on such."""

    __array_ufunc__ = None  # NumPy's numbers leave operations with it to it
    __slots__ = ("node", "tape", "value")

    def __init__(self, tape: Tape, node: int, value: Any) -> None:
        self.tape = tape
        self.node = node
        self.value = value

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("sub")
    __mul__, __rmul__ = _binary("mul")
    __truediv__, __rtruediv__ = _binary("div")
    __floordiv__, __rfloordiv__ = _binary("floordiv")
    __mod__, __rmod__ = _binary("mod")
    __lt__ = _comparison("lt", turned=False)
    __gt__ = _comparison("lt", turned=True)
    __le__ = _comparison("le", turned=False)
    __ge__ = _comparison("le", turned=True)
    __eq__ = _comparison("eq", turned=False)
    __ne__ = _comparison("eq", turned=False, opposite=True)

    def __neg__(self) -> Traced:
        return self.tape.apply("neg", self)

    def __abs__(self) -> Traced:
        return self.tape.apply("abs", self)

    def __ceil__(self) -> Traced:
        return self.tape.apply("ceil", self)

    def __floor__(self) -> Traced:
        return self.tape.apply("floor", self)

    def __round__(self, digits: None = None) -> Traced:
        return self.tape.apply("round", self)

    @property
    def numerator(self) -> Traced:
        return self.tape.apply("numerator", self)

    @property
    def denominator(self) -> Traced:
        return self.tape.apply("denominator", self)

    def __bool__(self) -> bool:
        return bool(self != 0)

    def __index__(self) -> int:
        if not isinstance(self.value, int):
            raise TypeError("no whole number")
        return int(self.tape.decide(self))

    def __int__(self) -> int:
        return int(self.tape.decide(self))

    def __float__(self) -> float:
        return float(self.tape.decide(self))

    def __hash__(self) -> int:
        return hash(self.tape.decide(self))

    def __repr__(self) -> str:
        return repr(self.tape.decide(self))

    def __str__(self) -> str:
        return format(self, "")

    def __format__(self, how: str) -> str:
        """In a text it is a mark, which `told` replaces by the number of each point."""
        return f"\0{self.node}:{how}\0"

    def __deepcopy__(self, memo: Any) -> Traced:
        return self


_MARK = re.compile("\0([0-9]+):([^\0]*)\0")


def marks(text: str) -> list[int]:
    """Nodes of the numbers that stand in a text."""
    return [int(node) for node, _ in _MARK.findall(text)]


def told(text: str, numbers: Mapping[int, Value], hows: Mapping[str, Callable[[Any], str]]) -> str:
    """A text with numbers for its marks. hows: by name, what a mark may ask for beside a format."""

    def one(match: re.Match[str]) -> str:
        value, how = numbers[int(match[1])], match[2]
        return hows[how](value) if how in hows else format(value, how)

    return _MARK.sub(one, text)


# What Python's own functions would make plain numbers of.


def ratio(numerator: Any, denominator: Any = 1) -> Any:
    """Fraction(numerator, denominator), exact, of traced numbers, too."""
    for one in (numerator, denominator):
        if isinstance(one, Traced):
            return one.tape.apply("ratio", numerator, denominator)
    return Fraction(numerator) / denominator if denominator != 1 else Fraction(numerator)


def as_float(number: Any) -> Any:
    """float(number); of a traced number, too."""
    return number.tape.apply("float", number) if isinstance(number, Traced) else float(number)


def whole(number: Any) -> Any:
    """int(number) of a number that is not below 0; of a traced one, too."""
    return math.floor(number) if isinstance(number, Traced) else int(number)


def common_multiple(numbers: Iterable[Any]) -> Any:
    """The least common multiple of whole numbers; of traced ones, too. 1 of none."""
    found: Any = 1
    for number in numbers:
        of = next((one for one in (found, number) if isinstance(one, Traced)), None)
        found = math.lcm(found, number) if of is None else of.tape.apply("lcm", found, number)
    return found
