"""Whether tiles that a mask leaves out may be left out by Einsums that have no predicate.

In such a tile a reduction under the predicate is its operator's identity. What follows is computed
with a few rules (a maximum with -inf, a sum with 0, a product with 1): every state has to stay what
it was, and nothing else that is made there may be wanted elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Cascade,
    Einsum,
    Expression,
    Literal,
    Value,
    reduced_variables,
)
from accelsim.cascade.operators import OPERATORS
from accelsim.cascade.whole import Int


@dataclass(frozen=True)
class State:
    """What a tensor with an initial value was before the tile."""

    tensor: str


@dataclass(frozen=True)
class Kept:
    """exp(x - x) of a state: 1, or 0 as long as the state is -inf, as it begins."""


@dataclass(frozen=True)
class Product:
    """Of two states."""

    factors: frozenset[State]


Known = float | State | Kept | Product | None
"""A number, what a state was, a product of two of these, or None: not known."""


def not_idle(
    cascade: Cascade, einsums: Sequence[Einsum], group: Sequence[str]
) -> tuple[str, str] | None:
    """The first Einsum that is not idle in a tile left out, and why; None when all are.

    einsums: those of a nest whose tiles the mask leaves out, in the order of the cascade. group:
    ranks that it ties, in lower case.
    """
    return _Tile(cascade, einsums, group).fault()


class _Tile:
    def __init__(self, cascade: Cascade, einsums: Sequence[Einsum], group: Sequence[str]) -> None:
        self.cascade = cascade
        self.einsums = einsums
        self.group = set(group)
        self.made: dict[str, Known] = {}

    def fault(self) -> tuple[str, str] | None:
        own = {einsum.name for einsum in self.einsums}
        for einsum in self.einsums:
            name = einsum.name
            self.made[name] = known = self._value(einsum)
            if self.cascade.tensor(name).initial is not None:
                if not einsum.predicate and known != State(name):
                    return name, f"{name} changes there"
                continue
            if einsum.predicate and not self._thins(einsum):
                continue  # not defined there, for whoever reads it
            if name in self.cascade.outputs:
                return name, f"{name} is an output"
            for reader in self.cascade.einsums:
                reads = any(access.tensor == name for access in reader.inputs)
                if not reads or reader.name in own or reader.predicate:
                    continue
                if known is None or known != OPERATORS[reader.reduce].identity:
                    return name, f"{reader.name} reads it"
        return None

    def _thins(self, einsum: Einsum) -> bool:
        """Whether the predicate leaves points out of a reduction, not of what is defined."""
        ranks = {self.cascade.rank_of(v) for v in reduced_variables(einsum)}
        named = ranks | {self.cascade.root(rank) for rank in ranks}
        return bool(self.group & {rank.lower() for rank in named})

    def _value(self, einsum: Einsum) -> Known:
        identity = OPERATORS[einsum.reduce].identity
        if einsum.predicate:
            return identity if self._thins(einsum) else None
        known = self._of(einsum.expression)
        if reduced_variables(einsum) and known != identity:
            return None
        return known

    def _of(self, expression: Expression) -> Known:
        match expression:
            case Literal(value=value):
                return value
            case Value(whole=Int(value=value)):
                return float(value)
            case Access():
                return self._read(expression)
            case Call(operator=operator, arguments=arguments):
                return self._call(operator, [self._of(a) for a in arguments])
        return None

    def _read(self, access: Access) -> Known:
        tensor = self.cascade.tensor(access.tensor)
        if tensor.initial is None:
            return self.made.get(tensor.name)
        writer = self.cascade.einsum(tensor.name).output.indices
        for written, read in zip(writer, access.indices, strict=True):
            if isinstance(written, At) and written.offset:
                if not isinstance(read, At):
                    return None
                behind = written.offset - read.offset
                if behind == 0:
                    return self.made.get(tensor.name)
                return State(tensor.name) if behind == 1 else None
        return None

    def _call(self, operator: str, values: list[Known]) -> Known:
        match operator, values:
            case ("max", [x, y]) if -inf in (x, y):
                return y if x == -inf else x
            case ("min", [x, y]) if inf in (x, y):
                return y if x == inf else x
            case (("max" | "min"), [State() as x, y]) if x == y:
                return x
            case ("add", [x, y]) if 0 in (x, y):
                return y if x == 0 else x
            case "sub", [x, 0]:
                return x
            case "sub", [State() as x, y] if x == y:
                return 0.0
            case ("mul", [x, y]) if 1 in (x, y):
                return y if x == 1 else x
            case ("mul", [x, y]) if 0 in (x, y):
                return 0.0
            case "mul", ([State() as x, Kept()] | [Kept(), State() as x]):
                # While it is 0, the state has to be 0 itself, as it begins.
                return x if self.cascade.tensor(x.tensor).initial == 0 else None
            case "mul", [State() as x, State() as y]:
                return Product(frozenset({x, y}))
            case "div", [Product(factors=factors), State() as y] if y in factors:
                # Where y is 0 the cascade itself has 0 / 0 there.
                return next(iter(factors - {y}), y)
            case "exp", [0]:
                return 1.0
            case "subexp", [State() as x, y] if x == y:
                return Kept()
        return None
