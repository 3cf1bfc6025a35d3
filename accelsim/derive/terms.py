"""Expressions as chains of an operator and its inverse; looking into them and replacing in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass

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
    accesses,
    values,
    whole_coordinates,
)
from accelsim.cascade.whole import Apply, Int, Named, Variable, Whole, substitute, variables
from accelsim.derive.algebra import COMMUTATIVE, GROUP_OF, SUMS, Group


@dataclass(frozen=True)
class Chain:
    """`plus` joined by a group's operator, `minus` undone by it: a * b / c, or a + b - c."""

    plus: tuple[Expression, ...]
    minus: tuple[Expression, ...] = ()


def chain(expression: Expression, group: Group) -> Chain:
    """The expression as a chain of a group, as long as it can be."""
    match expression:
        case Call("neg", (inner,)) if group is SUMS:
            of = chain(inner, group)
            return Chain(of.minus, of.plus)
        case Call(operator, (left, right)) if GROUP_OF.get(operator) is group:
            a, b = chain(left, group), chain(right, group)
            if operator == group.inverse:
                b = Chain(b.minus, b.plus)
            return Chain((*a.plus, *b.plus), (*a.minus, *b.minus))
        case Literal(value) if value == group.unit:
            return Chain(())
        case _:
            return Chain((expression,))


def joined(of: Chain, group: Group) -> Expression:
    """The chain as one expression."""
    plus, minus = list(of.plus), list(of.minus)
    if not plus and group is SUMS and minus:
        found: Expression = Call("neg", (minus.pop(0),))
    else:
        found = plus.pop(0) if plus else Literal(group.unit)
    for one in plus:
        found = Call(group.operator, (found, one))
    if len(minus) > 1 and group is not SUMS:  # one division
        minus = [joined(Chain(tuple(minus)), group)]
    for one in minus:
        found = Call(group.inverse, (found, one))
    return found


def replaced(expression: Expression, by: Callable[[Expression], Expression | None]) -> Expression:
    """The expression with what `by` gives in the place of parts, outermost first; None: keep."""
    new = by(expression)
    if new is not None:
        return new
    if isinstance(expression, Call):
        inner = tuple(replaced(a, by) for a in expression.arguments)
        return Call(expression.operator, inner) if inner != expression.arguments else expression
    return expression


def with_accesses(expression: Expression, by: Callable[[Access], Expression | None]) -> Expression:
    return replaced(expression, lambda part: by(part) if isinstance(part, Access) else None)


def shifted(index: Index, at: Mapping[str, Index]) -> Index | None:
    """An index with indices in the place of variables; None where that is none."""
    match index:
        case At(variable=variable, offset=offset) if variable in at:
            new = at[variable]
            if isinstance(new, At):
                return At(new.variable, new.offset + offset)
            return new if offset == 0 else None
        case Computed(whole=whole):
            wholes = _wholes(variables(whole), at)
            return None if wholes is None else Computed(substitute(whole, wholes))
        case _:
            return index


def _wholes(used: Iterable[str], at: Mapping[str, Index]) -> dict[str, Whole] | None:
    out: dict[str, Whole] = {}
    for variable in used:
        match at.get(variable):
            case None:
                pass
            case At(variable=name, offset=offset):
                place: Whole = Variable(name)
                out[variable] = Apply("add", (place, Int(offset))) if offset else place
            case Coordinate(value=value):
                out[variable] = Int(value)
            case Computed(whole=whole):
                out[variable] = whole
            case End(rank=rank):
                out[variable] = Named(rank)
    return out


def placed(expression: Expression, at: Mapping[str, Index]) -> Expression | None:
    """The expression with indices in the place of variables; None where that is none."""
    match expression:
        case Access(tensor=tensor, indices=indices):
            moved = [shifted(index, at) for index in indices]
            return None if None in moved else Access(tensor, tuple(i for i in moved if i))
        case Call(operator=operator, arguments=arguments):
            inner = [placed(a, at) for a in arguments]
            return None if None in inner else Call(operator, tuple(a for a in inner if a))
        case Value(whole=whole):
            wholes = _wholes(variables(whole), at)
            return None if wholes is None else Value(substitute(whole, wholes))
        case _:
            return expression


def used(expression: Expression) -> set[str]:
    """Rank variables in an expression."""
    found = {i.variable for a in accesses(expression) for i in a.indices if isinstance(i, At)}
    for access in accesses(expression):
        for index in access.indices:
            if isinstance(index, Computed):
                found |= {*variables(index.whole)}
    for value in values(expression):
        found |= {*variables(value.whole)}
    return found


def looked_at(condition: Whole, einsum: Einsum, cascade: Cascade) -> set[str]:
    """Rank variables in a condition of an Einsum; the coordinate of a cut rank counts as those
    over its parts."""
    places = whole_coordinates(einsum.iterated, dict(cascade.variables), cascade.partitions)
    return {*variables(substitute(condition, places))}


def conditions(einsum: Einsum, cascade: Cascade, over: Iterable[str]) -> tuple[Whole, ...]:
    """Those of its predicate that look at no other variables than these."""
    within = set(over)
    return tuple(c for c in einsum.predicate if looked_at(c, einsum, cascade) <= within)


def inputs_of(cascade: Cascade, tensor: str) -> tuple[Access, ...]:
    """What the Einsum that writes a tensor reads; nothing for an input."""
    return () if tensor in cascade.inputs else cascade.einsum(tensor).inputs


def made_of(cascade: Cascade, names: Set[str]) -> set[str]:
    """These tensors, and what is needed for them."""
    found = new = set(names)
    while new:
        new = {a.tensor for name in new for a in inputs_of(cascade, name)} - found
        found = found | new
    return found


def thinned(cascade: Cascade, names: Set[str]) -> bool:
    """Whether predicates leave out points of one of these reductions: it may be of nothing."""
    return any(
        conditions(e, cascade, {*e.iterated} - {*e.reduced}) != e.predicate
        for e in cascade.einsums
        if e.name in names
    )


def predicate_of(cascade: Cascade, tensor: str) -> tuple[Whole, ...]:
    """Of the Einsum that writes a tensor; none for an input."""
    return () if tensor in cascade.inputs else cascade.einsum(tensor).predicate


def key(expression: Expression) -> object:
    """Equal for expressions that differ in the order of commutative arguments alone."""
    match expression:
        case Call(operator, arguments):
            group = GROUP_OF.get(operator) or (SUMS if operator == "neg" else None)
            if group is not None:
                of = chain(expression, group)
                if of != Chain((expression,)):
                    parts = [sorted(map(_text, side)) for side in (of.plus, of.minus)]
                    return (group.operator, *map(tuple, parts))
            inner = tuple(map(_text, arguments))
            return (operator, tuple(sorted(inner)) if operator in COMMUTATIVE else inner)
        case _:
            return (
                dataclasses.replace(expression, position=None)
                if isinstance(expression, Access)
                else expression
            )


def _text(expression: Expression) -> str:
    return repr(key(expression))
