"""How a value f(x, r) changes when r does: the map of the theorem in running.py, found by rules.

1. One factor: f(x, r') = f(x, r) * g(r, r') (or + g), found from the laws in algebra.py.
2. A polynomial of r: its derivatives by r are the state, and Taylor's formula moves them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from math import inf

from accelsim.cascade import Access
from accelsim.cascade.nodes import Call, Expression, Literal, accesses
from accelsim.derive.algebra import GROUP_OF, GROUPS, MORPHISMS, PRODUCTS, SUMS, Group
from accelsim.derive.terms import Chain, chain, joined, replaced

Reference = Callable[[Access], Expression]
"""A value that is not complete yet, at a step: what stands for it there."""
Start = Callable[[Access], float | None]
"""Where nothing has been seen yet: whether a value is inf, -inf or not (0); None: not known."""
MOST = 4
"""Highest degree of a polynomial that is looked for."""


def reads(expression: Expression, tensors: Collection[str]) -> bool:
    return any(access.tensor in tensors for access in accesses(expression))


def correction(
    expression: Expression,
    group: Group,
    tensors: Collection[str],
    old: Reference,
    new: Reference,
    *,
    guarded: bool = False,
) -> Expression | None:
    """g with f(new) = f(old) `group.operator` g; the unit where nothing changes; None for no g.

    tensors: those that change. guarded: a maximum may be of nothing yet, which makes exp of a
    change from it 0. It does not look at whether g depends on what is reduced.
    """

    def of(part: Expression, group: Group) -> Expression | None:
        return correction(part, group, tensors, old, new, guarded=guarded)

    unit = Literal(group.unit)
    if not reads(expression, tensors):
        return unit
    match expression:
        case Access():
            # old + (new - old). A quotient would divide by a value that may be 0 on the way.
            if group is not SUMS:
                return None
            return Call("sub", (new(expression), old(expression)))
        case Call("subexp", (a, b)) if group is PRODUCTS:
            change = of(Call("sub", (a, b)), SUMS)
            return None if change is None else _exponential(change, guarded=True)
        case Call("exp", (inner,)) if group is PRODUCTS:
            change = of(inner, SUMS)
            return None if change is None else _exponential(change, guarded=guarded)
        case Call(operator, arguments) if GROUP_OF.get(operator) is group:
            each = [found for a in arguments if (found := of(a, group)) is not None]
            if len(each) < len(arguments):
                return None
            left, right = (chain(one, group) for one in each)
            if operator == group.inverse:
                right = Chain(right.minus, right.plus)
            return joined(Chain((*left.plus, *right.plus), (*left.minus, *right.minus)), group)
        case Call("mul" | "div" as operator, (a, b)) if group is SUMS:
            # c * (r' - r): what is not summed has to stay the same.
            if reads(b, tensors) and (operator == "div" or reads(a, tensors)):
                return None
            changing, other = (b, a) if reads(b, tensors) else (a, b)
            change = of(changing, SUMS)
            return None if change is None else Call(operator, (change, other))
        case Call(operator, (inner,)) if operator in MORPHISMS:
            first, second = MORPHISMS[operator]
            if GROUPS[second] is not group:
                return None
            change = of(inner, GROUPS[first])
            return None if change is None else Call(operator, (change,))
        case _:
            return None


def _exponential(change: Expression, *, guarded: bool) -> Expression:
    """exp of a change, of the form a - b where it can be."""
    both = chain(change, SUMS)
    if len(both.plus) != 1 or len(both.minus) != 1:
        return Call("exp", (change,))
    a, b = both.plus[0], both.minus[0]
    return Call("subexp", (a, b)) if guarded else Call("exp", (Call("sub", (a, b)),))


def starts(expression: Expression, start: Start) -> float | None:
    """Its value where nothing has been seen yet: inf, -inf, or not (0); None: not known."""

    def of(part: Expression) -> float | None:
        return starts(part, start)

    match expression:
        case Access():
            return start(expression)
        case Call("where", (Call("gt", (a, Literal(0.0))), Call("log", (b,)), Literal(0.0))) if (
            a == b
        ):
            return 0
        case Call("where", (_, a, b)):
            return of(a) if of(a) == of(b) else None
        case Call("log", (a,)) if any(start(access) != 0 for access in accesses(a)):
            return None
        case Call("exp", (a,)):
            return 0 if (found := of(a)) == -inf else found
        case Call("subexp", (a, b)):
            return 0 if of(a) == -inf else of(Call("exp", (Call("sub", (a, b)),)))
        case Call("neg", (a,)):
            return None if (found := of(a)) is None else -found
        case Call("mul" | "div" as operator, (a, Literal(c))) | Call(
            "mul" as operator, (Literal(c), a)
        ) if c:
            found = of(a)
            return found if found is None or c > 0 else -found
        case Call("sub", (a, b)):
            return of(Call("add", (a, Call("neg", (b,)))))
        case Call("add" | "max" | "min" as operator, (a, b)):
            first, second = of(a), of(b)
            if first is None or second is None:
                return None
            if operator != "add":
                return (max if operator == "max" else min)(first, second)
            return None if first == -second != 0 else first + second
        case Call(arguments=arguments):
            return 0 if all(of(a) == 0 for a in arguments) else None
        case _:
            return 0


def begun(
    expression: Expression, otherwise: Expression, cases: Sequence[Start]
) -> Expression | None:
    """The expression, and `otherwise` where a value that it needs is of nothing yet.

    cases: what may be of nothing together, the fewest first. subexp(a, a) is 1, and 0 where a is
    -inf. None where no value tells it.
    """
    if all(starts(expression, case) == 0 for case in cases):
        return expression
    gates: list[Expression] = []
    for access in dict.fromkeys(accesses(expression)):
        found = cases[0](access)
        if found is None:
            return None
        if found:
            side = access if found < 0 else Call("neg", (access,))
            gates.append(Call("subexp", (side, side)))
    if not gates:
        return None
    return Call("where", (joined(Chain(tuple(gates)), PRODUCTS), expression, otherwise))


def derivatives(expression: Expression, by: str) -> list[Expression] | None:
    """f, f', f''/2!, f'''/3!... by the tensor `by`, to the last that is not 0.

    None where f is no polynomial of it, as far as can be seen (of degree 4 at most).
    """
    found, factorial = [expression], 1
    while True:
        following = _derivative(found[-1], by)
        if following == Literal(0.0):
            break
        if following is None or len(found) > MOST:
            return None
        found.append(following)
    out = []
    for degree, one in enumerate(found):
        factorial *= max(1, degree)
        out.append(_scaled(one, Fraction(1, factorial)))
    return out


def _derivative(expression: Expression, by: str) -> Expression | None:
    zero = Literal(0.0)
    if not reads(expression, {by}):
        return zero
    match expression:
        case Access():
            return Literal(1.0)
        case Call("neg", (a,)):
            inner = _derivative(a, by)
            return None if inner is None else _scaled(inner, Fraction(-1))
        case Call("square", (a,)):
            inner = _derivative(a, by)
            return None if inner is None else _scaled(_product(a, inner), Fraction(2))
        case Call("add" | "sub" as operator, (a, b)):
            left, right = _derivative(a, by), _derivative(b, by)
            if left is None or right is None:
                return None
            if operator == "sub":
                right = _scaled(right, Fraction(-1))
            return _sum(left, right)
        case Call("mul", (a, b)):
            left, right = _derivative(a, by), _derivative(b, by)
            if left is None or right is None:
                return None
            return _sum(_product(left, b), _product(a, right))
        case Call("div", (a, b)) if not reads(b, {by}):
            inner = _derivative(a, by)
            return None if inner is None else zero if inner == zero else Call("div", (inner, b))
        case _:
            return None


def _constant(expression: Expression) -> tuple[Fraction, list[Expression]]:
    """A product as its constant and the rest."""
    of = chain(expression, PRODUCTS)
    constant = Fraction(1)
    rest: list[Expression] = []
    for one in of.plus:
        while isinstance(one, Call) and one.operator == "neg":
            constant, one = -constant, one.arguments[0]
        if isinstance(one, Literal):
            constant *= Fraction(one.value)
        else:
            rest.append(one)
    if of.minus:
        rest = [joined(Chain(tuple(rest), of.minus), PRODUCTS)]
    return constant, rest


def _scaled(expression: Expression, by: Fraction) -> Expression:
    constant, rest = _constant(expression)
    constant *= by
    if constant == 0 or not rest:
        return Literal(float(constant))
    whole = joined(Chain(tuple(rest)), PRODUCTS)
    if constant == 1:
        return whole
    if constant == -1:
        return Call("neg", (whole,))
    return Call("mul", (Literal(float(constant)), whole))


def _product(a: Expression, b: Expression) -> Expression:
    if Literal(0.0) in (a, b):
        return Literal(0.0)
    first, left = _constant(a)
    second, right = _constant(b)
    parts = (*left, *right)
    return (
        _scaled(joined(Chain(parts), PRODUCTS), first * second)
        if parts
        else Literal(float(first * second))
    )


def _sum(a: Expression, b: Expression) -> Expression:
    if a == Literal(0.0):
        return b
    if b == Literal(0.0):
        return a
    if isinstance(a, Literal) and isinstance(b, Literal):
        return Literal(a.value + b.value)
    (first, left), (second, right) = _constant(a), _constant(b)
    if left == right:
        return _scaled(joined(Chain(tuple(left)), PRODUCTS), first + second)
    return Call("add", (a, b))


def at_step(expression: Expression, tensors: Collection[str], step: Reference) -> Expression:
    """The expression with references at a step in the place of these tensors."""
    return replaced(
        expression,
        lambda part: step(part) if isinstance(part, Access) and part.tensor in tensors else None,
    )
