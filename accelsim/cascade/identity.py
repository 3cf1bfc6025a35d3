"""What a cascade is apart from its names: equal for cascades that differ in names only."""

from __future__ import annotations

import hashlib

from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Cascade,
    Computed,
    Coordinate,
    Einsum,
    End,
    Expression,
    Index,
    Literal,
    Value,
)
from accelsim.cascade.whole import Apply, Int, Lookup, Named, Variable, Whole


def fingerprint(cascade: Cascade) -> str:
    """Twelve hexadecimal digits of a hash of the statements with names in order of appearance."""
    writer = _Writer(cascade)
    text = "\n".join(writer.einsum(einsum) for einsum in cascade.einsums)
    text += f"\n{[writer.tensor(name) for name in cascade.outputs]}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class _Writer:
    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.numbers: dict[tuple[str, str], int] = {}

    def _number(self, kind: str, name: str) -> tuple[int, bool]:
        """The place of a name among those of its kind, and whether it is new."""
        new = (kind, name) not in self.numbers
        many = sum(1 for other, _ in self.numbers if other == kind)
        return self.numbers.setdefault((kind, name), many), new

    def tensor(self, name: str) -> str:
        number, new = self._number("T", name)
        tensor = self.cascade.tensor(name)
        ranks = [self.rank(rank) for rank in tensor.ranks]
        return f"T{number}{ranks}{tensor.initial}" if new else f"T{number}"

    def rank(self, name: str) -> str:
        number, new = self._number("R", name)
        root = self.cascade.root(name)
        if not new or root == name:
            return f"R{number}"
        return f"R{number}({self.rank(root)} {self.cascade.parts(root).index(name)})"

    def variable(self, name: str) -> str:
        number, new = self._number("V", name)
        over = dict(self.cascade.variables).get(name)
        if over is None:  # the coordinate of a cut rank
            over = next(root for root, _ in self.cascade.partitions if root.lower() == name)
        return f"V{number}({self.rank(over)})" if new else f"V{number}"

    def einsum(self, einsum: Einsum) -> str:
        predicate = [self.whole(condition) for condition in einsum.predicate]
        made = self.access(einsum.output)
        return f"{made} = {self.expression(einsum.expression)} {einsum.reduce} {predicate}"

    def access(self, access: Access) -> str:
        return f"{self.tensor(access.tensor)}{[self.index(i) for i in access.indices]}"

    def index(self, index: Index) -> str:
        match index:
            case At(variable=variable, offset=offset):
                return f"{self.variable(variable)}{offset:+d}"
            case End(rank=rank):
                return self.rank(rank)
            case Coordinate(value=value):
                return str(value)
            case Computed(whole=whole):
                return self.whole(whole)

    def expression(self, expression: Expression) -> str:
        match expression:
            case Access():
                return self.access(expression)
            case Literal(value=value):
                return repr(value)
            case Value(whole=whole):
                return f"value {self.whole(whole)}"
            case Call(operator=operator, arguments=arguments):
                return f"{operator}({', '.join(map(self.expression, arguments))})"

    def whole(self, whole: Whole) -> str:
        match whole:
            case Int(value=value):
                return str(value)
            case Variable(name=name):
                return self.variable(name)
            case Named(name=name):
                if name in {parameter.name for parameter in self.cascade.parameters}:
                    return f"N{self._number('N', name)[0]}"
                return self.rank(name)
            case Lookup(table=table, indices=indices):
                return f"L{self._number('L', table)[0]}{[self.whole(i) for i in indices]}"
            case Apply(operator=operator, arguments=arguments):
                return f"{operator}({', '.join(map(self.whole, arguments))})"
