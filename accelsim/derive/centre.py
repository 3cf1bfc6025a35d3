"""Means that stand inside of expressions get tensors of their own, which run as means do.

In square(X - S / N) the sum S changes at each step, and S / N is a mean at the last one alone:
before, it is far from what it is taken from, and digits are lost. Of a tensor MU = S / N the
running value is S / (points so far).
"""

from __future__ import annotations

from accelsim.cascade import Access, Cascade, Einsum
from accelsim.cascade.nodes import At, Call, Expression, Value, accesses, values
from accelsim.cascade.whole import Named
from accelsim.derive.algebra import PRODUCTS, SUMS
from accelsim.derive.draft import Draft, NotApplicableError, statement
from accelsim.derive.running import is_late, late
from accelsim.derive.terms import Chain, chain, conditions, joined, key, replaced, used


def centre(cascade: Cascade, name: str, rank: str) -> Cascade:
    """Give tensors of their own to what a reduction makes of sums over a rank and its shape.

    rank: whole, or the outermost part of one. Raises NotApplicableError where there is nothing.
    """
    einsum = statement(cascade, name)
    count = Value(Named(cascade.root(rank)))
    gone, ends = set(einsum.reduced), late(cascade, rank)
    sums = {a for a in einsum.inputs if is_late(a, rank, ends) and _is_sum(cascade, a.tensor)}
    draft = Draft(cascade)

    def of(part: Expression) -> Expression | None:
        if not isinstance(part, Call):
            return None
        if _is_free(part, gone) and count in values(part) and sums & {*accesses(part)}:
            return _known(cascade, part) or draft.add(
                f"U{name}", used(part), part, predicate=conditions(einsum, cascade, used(part))
            )
        divided = _divided(part, count, gone, sums)
        return None if divided is None else replaced(divided, of)

    expression = replaced(einsum.expression, of)
    if expression == einsum.expression:
        raise NotApplicableError(f"{name} has no mean in it that is not a tensor")
    made = Einsum(einsum.output, expression, einsum.reduce, einsum.predicate)
    if set(made.iterated) != set(einsum.iterated):
        raise NotApplicableError(f"{name} would not go over the same points")
    draft.einsums[name] = made
    return draft.done()


def _is_sum(cascade: Cascade, tensor: str) -> bool:
    """Whether additions make it, which grow with the count of points; of a maximum there is no
    mean."""
    if tensor in cascade.inputs:
        return False
    einsum = cascade.einsum(tensor)
    if cascade.tensor(tensor).initial is not None:  # a recurrence
        return isinstance(einsum.expression, Call) and einsum.expression.operator == "add"
    if einsum.reduced:
        return einsum.reduce == "add"
    return any(_is_sum(cascade, access.tensor) for access in einsum.inputs)


def _is_free(part: Expression, gone: set[str]) -> bool:
    return not used(part) & gone


def _known(cascade: Cascade, part: Expression) -> Access | None:
    """A tensor that is this already, for all of its points."""
    for einsum in cascade.einsums:
        plain = not (einsum.reduced or einsum.predicate)
        if plain and cascade.tensor(einsum.name).initial is None:
            whole = {i.variable for i in einsum.output.indices if isinstance(i, At)} == used(part)
            if whole and key(einsum.expression) == key(part):
                return einsum.output
    return None


def _divided(part: Call, count: Value, gone: set[str], sums: set[Access]) -> Expression | None:
    """N * X - S as N * (X - S / N); None where nothing, or not all, that is reduced is N times
    something."""
    of = chain(part, SUMS)
    sides: list[tuple[Expression, ...]] = []
    means = counted = 0
    for side in (of.plus, of.minus):
        made: list[Expression] = []
        for term in side:
            if _is_free(term, gone):
                means += bool(sums & {*accesses(term)})
                made.append(Call("div", (term, count)))
                continue
            factors = chain(term, PRODUCTS)
            if count not in factors.plus:
                return None
            counted += 1
            at = factors.plus.index(count)
            rest = (*factors.plus[:at], *factors.plus[at + 1 :])
            made.append(joined(Chain(rest, factors.minus), PRODUCTS))
        sides.append(tuple(made))
    if not (means and counted):
        return None
    return Call("mul", (count, joined(Chain(*sides), SUMS)))
