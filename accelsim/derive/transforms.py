"""Rewrites of cascades that need no theorem, Cascade -> Cascade. Each keeps `interpret`.

Those that do not apply raise NotApplicableError with the reason. What they rely on: algebra.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from accelsim.cascade import Access, Cascade, Einsum
from accelsim.cascade.nodes import At, Call, Computed, Expression, Index, Literal, calls
from accelsim.cascade.parse import FUNCTIONS
from accelsim.cascade.whole import WHOLE_FUNCTIONS, variables
from accelsim.derive.algebra import (
    ASSOCIATIVE,
    DISTRIBUTES,
    GROUPS,
    INVERSES,
    MORPHISMS,
    PRODUCTS,
    SUMS,
)
from accelsim.derive.draft import Draft, NotApplicableError, statement
from accelsim.derive.terms import (
    Chain,
    chain,
    conditions,
    joined,
    key,
    looked_at,
    placed,
    replaced,
    used,
    with_accesses,
)


def partition(cascade: Cascade, rank: str, parts: Sequence[str]) -> Cascade:
    """Cut a rank into parts, outermost first: every tensor of the rank has the parts instead."""
    if rank not in cascade.ranks or cascade.parts(rank) != (rank,):
        raise NotApplicableError(f"{rank} is no rank of {cascade.name} that is whole")
    if rank in cascade.iterative:
        raise NotApplicableError(f"{rank} is iterative: a recurrence along it cannot be cut")
    if any(rank in table.ranks for table in cascade.tables) or rank in dict(cascade.alike):
        raise NotApplicableError(f"a table has the rank {rank}, or it is alike another")
    own = [v for v, r in cascade.variables if r == rank]
    if own != [rank.lower()]:
        raise NotApplicableError(f"{rank} has more variables than {rank.lower()}: {', '.join(own)}")
    _check_parts(cascade, rank, parts)
    draft = Draft(cascade)
    draft.partitions = (*cascade.partitions, (rank, tuple(parts)))
    new = tuple(At(part.lower()) for part in parts)

    def cut(access: Access, *, shown: str) -> Access:
        out = []
        for index, own_rank in zip(
            access.indices, cascade.tensor(access.tensor).ranks, strict=True
        ):
            if own_rank != rank:
                if isinstance(index, Computed) and rank.lower() in variables(index.whole):
                    raise NotApplicableError(f"{shown} computes an index from {rank.lower()}")
                out.append(index)
            elif index != At(rank.lower()):
                raise NotApplicableError(f"{shown} reads {access.tensor} beside its point")
            else:
                out += new
        return Access(access.tensor, tuple(out))

    for tensor in cascade.tensors:
        ranks = [p for r in tensor.ranks for p in (parts if r == rank else (r,))]
        draft.tensors[tensor.name] = type(tensor)(tensor.name, tuple(ranks), tensor.initial)
    for einsum in cascade.einsums:
        shown = einsum.name
        expression = with_accesses(einsum.expression, partial(cut, shown=shown))
        draft.einsums[einsum.name] = Einsum(
            cut(einsum.output, shown=shown), expression, einsum.reduce, einsum.predicate
        )
    return draft.done()


def _check_parts(cascade: Cascade, rank: str, parts: Sequence[str]) -> None:
    """Raises NotApplicableError unless parts have names of their own, and so their variables."""
    taken = {name: "function" for name in (*FUNCTIONS, *WHOLE_FUNCTIONS)}
    taken |= {p.name: "parameter" for p in cascade.parameters}
    taken |= {t.name: "table" for t in cascade.tables}
    taken |= {t.name: "tensor" for t in cascade.tensors}
    taken |= dict.fromkeys(dict(cascade.variables), "rank variable")
    taken |= {r: "rank" for root in cascade.ranks for r in (root, *cascade.parts(root))}
    expected = f"expected two parts or more, such as {rank}={rank}1,{rank}0, outermost first"
    why = f"there is {len(parts)}" if len(parts) < 2 else ""
    for number, part in enumerate(parts):
        if not re.fullmatch("[A-Z][A-Z0-9]*", part):
            why = why or f"{part!r} is no name: a capital letter, then capitals and digits"
        elif part in parts[:number]:
            why = why or f"{part} is there twice"
        for name in (part, part.lower()):
            if name in taken:
                why = why or f"{name} is a {taken[name]} already"
    if why:
        raise NotApplicableError(f"{rank}: {expected}; {why}")


def inline(cascade: Cascade, name: str) -> Cascade:
    """Put the expression of a point-wise Einsum in the place of its tensor, everywhere."""
    draft = Draft(cascade)
    einsum = statement(cascade, name)
    if einsum.reduced:
        raise NotApplicableError(f"{name} is a reduction")
    _is_free(cascade, name)
    for reader in cascade.einsums:
        if reader.name == name or all(a.tensor != name for a in reader.inputs):
            continue

        def moved(access: Access, reader: Einsum = reader) -> Expression | None:
            if access.tensor != name:
                return None
            new = placed(einsum.expression, _at(einsum, access))
            if new is None:
                raise NotApplicableError(f"{reader.name} reads {name} at an end")
            return new

        expression = with_accesses(reader.expression, moved)
        made = Einsum(reader.output, expression, reader.reduce, reader.predicate)
        if set(made.iterated) != set(reader.iterated):
            lost = ", ".join(sorted(set(reader.iterated) ^ set(made.iterated)))
            raise NotApplicableError(f"{reader.name} would not go over {lost} any more")
        draft.einsums[reader.name] = made
    return draft.done()


def merge(cascade: Cascade, name: str) -> Cascade:
    """A reduction that one other Einsum reduces further, with the same operator: one for both."""
    draft = Draft(cascade)
    einsum = statement(cascade, name)
    if not einsum.reduced:
        raise NotApplicableError(f"{name} is no reduction")
    _is_free(cascade, name)
    readers = [e for e in cascade.einsums if any(a.tensor == name for a in e.inputs)]
    if len(readers) != 1:
        raise NotApplicableError(f"{name} has {len(readers)} readers")
    (reader,) = readers
    if reader.reduce != einsum.reduce or not reader.reduced:
        raise NotApplicableError(f"{reader.name} does not reduce as {name} does")
    if einsum.predicate or reader.predicate:
        raise NotApplicableError(f"{name} or {reader.name} has a predicate")
    group = DISTRIBUTES.get(reader.reduce)
    of = chain(reader.expression, group) if group else Chain((reader.expression,))
    here = [p for p in of.plus if isinstance(p, Access) and p.tensor == name]
    reads = [a for a in reader.inputs if a.tensor == name]
    if len(here) != 1 or len(reads) != 1:
        raise NotApplicableError(f"{reader.name} does not reduce {name} times what else it has")
    gone = set(einsum.reduced)
    if gone & set(reader.iterated):
        raise NotApplicableError(f"{name} and {reader.name} both go over {', '.join(sorted(gone))}")
    _keep_tiles(cascade, name, gone, set(reader.iterated) - used(here[0]))
    new = placed(einsum.expression, _at(einsum, here[0]))
    if new is None:
        raise NotApplicableError(f"{reader.name} reads {name} at an end")
    plus = tuple(new if p is here[0] else p for p in of.plus)
    expression = joined(Chain(plus, of.minus), group) if group else new
    draft.replace(reader.name, expression=expression)
    return draft.done()


def factor(cascade: Cascade, name: str, multiply: bool = True) -> Cascade:
    """Pull out of a reduction what does not depend on what it reduces: a division is deferred.

    multiply: a sum of terms becomes one reduction for each; a product with a sum of which a part
    can be pulled out is multiplied out.
    """
    einsum = statement(cascade, name)
    group = DISTRIBUTES.get(einsum.reduce)
    if not einsum.reduced or group is None:
        raise NotApplicableError(f"{name} is no reduction over which an operator distributes")
    _is_plain(cascade, name)
    gone = set(einsum.reduced)
    kept = set(einsum.iterated) - gone
    draft = Draft(cascade)
    terms = _terms(einsum.expression, gone) if group is PRODUCTS and multiply else None
    signed = terms if terms is not None else [(1, chain(einsum.expression, group))]
    parts: list[list[Expression]] = [[], []]
    pulled = False
    for sign, of in signed:
        sides = [
            [[e for e in side if bool(used(e) & gone) == inner] for inner in (True, False)]
            for side in (of.plus, of.minus)
        ]
        inside = Chain(tuple(sides[0][0]), tuple(sides[1][0]))
        free = Chain(tuple(sides[0][1]), tuple(sides[1][1]))
        pulled |= bool(free.plus or free.minus)
        expression = joined(inside, group)
        seen = Einsum(einsum.output, expression)
        if set(seen.iterated) != set(einsum.iterated):
            raise NotApplicableError(f"{name}: a term does not go over {', '.join(sorted(gone))}")
        _keep_tiles(cascade, name, gone, kept - used(expression))
        over = [
            v
            for v in einsum.iterated
            if v not in gone
            and (
                v in used(expression)
                or any(v in looked_at(c, einsum, cascade) for c in einsum.predicate)
            )
        ]
        access = draft.add(
            f"N{name}", over, expression, reduce=einsum.reduce, predicate=einsum.predicate
        )
        term = joined(Chain((access, *free.plus), free.minus), group)
        parts[0 if sign > 0 else 1].append(term)
    if not pulled:
        raise NotApplicableError(f"{name}: all of it depends on {', '.join(sorted(gone))}")
    whole = joined(Chain(tuple(parts[0]), tuple(parts[1])), SUMS)
    draft.replace(name, expression=whole, reduce="add", predicate=conditions(einsum, cascade, kept))
    if set(draft.einsums[name].iterated) != kept:
        raise NotApplicableError(f"{name}: a rank of the output would be in no term")
    return draft.done()


def _terms(expression: Expression, gone: set[str]) -> list[tuple[int, Chain]]:
    """Products whose signed sum it is; sums inside are multiplied out where something can then be
    pulled out of a part of them."""
    summed = chain(expression, SUMS)
    if len(summed.plus) + len(summed.minus) > 1:
        return [
            (outer * sign, term)
            for outer, side in ((1, summed.plus), (-1, summed.minus))
            for part in side
            for sign, term in _terms(part, gone)
        ]
    sign = -1 if summed.minus else 1
    (only,) = summed.plus or summed.minus or (expression,)
    of = chain(only, PRODUCTS)
    exponents = {
        repr(key(e.arguments[0])) for e in of.plus if isinstance(e, Call) and e.operator == "exp"
    }
    for number, one in enumerate(of.plus):
        inner = _summed(one, exponents)
        every = (*inner.plus, *inner.minus)
        if len(every) > 1 and used(one) & gone and any(_has_free(e, gone) for e in every):
            rest = (*of.plus[:number], *of.plus[number + 1 :])
            return [
                (sign * outer * s, term)
                for outer, side in ((1, inner.plus), (-1, inner.minus))
                for part in side
                for s, term in _terms(joined(Chain((part, *rest), of.minus), PRODUCTS), gone)
            ]
    return [(sign, of)]


def _summed(expression: Expression, together: set[str]) -> Chain:
    """A sum as its terms, but for sums with these keys: exp(x - r) * (x - r) moves with r as it is,
    and loses digits as exp(x - r) * x and exp(x - r) * r."""
    if isinstance(expression, Call) and repr(key(expression)) not in together:
        parts = [_summed(argument, together) for argument in expression.arguments]
        match expression.operator:
            case "neg":
                return Chain(parts[0].minus, parts[0].plus)
            case "add":
                return Chain(parts[0].plus + parts[1].plus, parts[0].minus + parts[1].minus)
            case "sub":
                return Chain(parts[0].plus + parts[1].minus, parts[0].minus + parts[1].plus)
    return Chain((expression,)) if expression != Literal(SUMS.unit) else Chain(())


def _has_free(product: Expression, gone: set[str]) -> bool:
    """Whether a factor of it that is no number does not depend on these variables."""
    of = chain(product, PRODUCTS)
    return any(not isinstance(e, Literal) and not used(e) & gone for e in (*of.plus, *of.minus))


def undo(cascade: Cascade, name: str) -> Cascade:
    """Leave out a function that another one undoes: log(exp(u) / d) is u - log(d)."""
    einsum = statement(cascade, name)
    draft = Draft(cascade)

    def undone(part: Expression) -> Expression | None:
        if not isinstance(part, Call) or part.operator not in INVERSES:
            return None
        first, second = (GROUPS[group] for group in MORPHISMS[part.operator])
        of = chain(part.arguments[0], first)
        sides: list[list[Expression]] = [[], []]
        rest: list[list[Expression]] = [[], []]
        for number, side in enumerate((of.plus, of.minus)):
            for factor in side:
                if isinstance(factor, Call) and factor.operator == INVERSES[part.operator]:
                    sides[number].append(replaced(factor.arguments[0], undone))
                else:
                    rest[number].append(replaced(factor, undone))
        if not sides[0] + sides[1]:
            return None
        if rest[0] or rest[1]:  # together: their signs may be those of two
            turned = not rest[0]
            plus, minus = (rest[1], rest[0]) if turned else (rest[0], rest[1])
            other = Call(part.operator, (joined(Chain(tuple(plus), tuple(minus)), first),))
            sides[turned].append(other)
        return joined(Chain(tuple(sides[0]), tuple(sides[1])), second)

    expression = replaced(einsum.expression, undone)
    if expression == einsum.expression:
        raise NotApplicableError(f"{name} has no function that undoes another")
    draft.replace(name, expression=expression)
    if set(draft.einsums[name].iterated) != set(einsum.iterated):
        raise NotApplicableError(f"{name} would not go over the same points")
    return draft.done()


def split(cascade: Cascade, name: str, inner: Sequence[str]) -> Cascade:
    """A reduction over two parts of a rank: a local one over variables `inner`, and one of these.

    Of what distributes over it, factors without the inner variables are left to the outer one.
    """
    einsum = statement(cascade, name)
    gone = set(inner)
    outer = [v for v in einsum.reduced if v not in gone]
    if not gone or not gone <= set(einsum.reduced) or not outer:
        raise NotApplicableError(f"{name} does not reduce {', '.join(inner)} and others")
    if einsum.reduce not in ASSOCIATIVE:
        raise NotApplicableError(f"{name}: {einsum.reduce} is not associative")
    _is_plain(cascade, name)
    draft = Draft(cascade)
    group = DISTRIBUTES.get(einsum.reduce)
    of = chain(einsum.expression, group) if group else Chain((einsum.expression,))
    if group and len(chain(einsum.expression, SUMS).plus) > 1 and group is PRODUCTS:
        of = Chain((einsum.expression,))
    sides = [
        [[e for e in side if bool(used(e) & gone) == within] for within in (True, False)]
        for side in (of.plus, of.minus)
    ]
    if not any(sides[0][0] + sides[1][0]):
        raise NotApplicableError(f"{name}: nothing of it depends on {', '.join(inner)}")
    inside = joined(Chain(tuple(sides[0][0]), tuple(sides[1][0])), group or SUMS)
    _keep_tiles(cascade, name, gone, set(einsum.iterated) - gone - used(inside))
    needed = used(inside) | {v for c in einsum.predicate for v in looked_at(c, einsum, cascade)}
    over = [v for v in einsum.iterated if v not in gone and v in needed]
    local = draft.add(f"L{name}", over, inside, reduce=einsum.reduce, predicate=einsum.predicate)
    if set(draft.einsums[local.tensor].reduced) != gone:
        raise NotApplicableError(f"{name}: {', '.join(inner)} would not be gone over any more")
    rest = Chain((local, *sides[0][1]), tuple(sides[1][1]))
    expression = joined(rest, group) if group else local
    left = set(einsum.iterated) - gone
    draft.replace(name, expression=expression, predicate=conditions(einsum, cascade, left))
    if set(draft.einsums[name].iterated) != left:
        raise NotApplicableError(f"{name}: a rank would be gone over in no part of it")
    return draft.done()


def shared(cascade: Cascade) -> Cascade:
    """Common subexpressions: what is computed more than once gets a tensor of its own."""
    while True:
        made = _one_shared(_without_twins(cascade))
        if made is None:
            return _without_twins(cascade)
        cascade = made


def _without_twins(cascade: Cascade) -> Cascade:
    """Of tensors that are equal whatever the inputs, the first.

    Those are equal that begin with the same value and say the same of tensors that are equal, over
    the same variables: recurrences by induction.
    """
    kinds: dict[str, object] = {t.name: (t.ranks, t.initial) for t in cascade.tensors}
    kinds |= {name: name for name in cascade.inputs}
    many = 0
    while len(set(kinds.values())) > many:
        many = len(set(kinds.values()))
        short = {kind: f"kind {n}" for n, kind in enumerate(sorted(set(kinds.values()), key=repr))}
        named = {tensor: short[kind] for tensor, kind in kinds.items()}
        kinds = {n: n for n in cascade.inputs} | {
            e.name: (named[e.name], _said(e, named)) for e in cascade.einsums
        }
    draft = Draft(cascade)
    first: dict[object, str] = {}
    for einsum in cascade.einsums:
        known = first.setdefault(kinds[einsum.name], einsum.name)
        if known != einsum.name and einsum.name not in cascade.outputs:
            draft.same(einsum.name, known)
    return draft.done() if len(draft.einsums) < len(cascade.einsums) else cascade


def _said(einsum: Einsum, named: dict[str, str]) -> object:
    """What a statement says, but for the names of tensors."""

    def plain(access: Access) -> Access:
        return Access(named[access.tensor], access.indices)

    expression = key(with_accesses(einsum.expression, plain))
    reduce = einsum.reduce if einsum.reduced else ""
    return repr((einsum.output.indices, expression, reduce, sorted(map(repr, einsum.predicate))))


def _one_shared(cascade: Cascade) -> Cascade | None:
    """With the largest expression that occurs twice, or as an Einsum too, in one place."""
    found: Counter[str] = Counter()
    where: dict[str, Call] = {}
    whole: dict[str, str] = {}
    for einsum in cascade.einsums:
        for text, call in _told_apart(einsum.expression):
            found[text] += 1
            where.setdefault(text, call)
        pointwise = not einsum.reduced and cascade.tensor(einsum.name).initial is None
        if pointwise and not einsum.predicate and isinstance(einsum.expression, Call):
            whole.setdefault(repr(key(einsum.expression)), einsum.name)
    many = [text for text, count in found.items() if count > 1]
    for text in sorted(many, key=lambda t: -sum(1 for _ in calls(where[t]))):
        made = _shared(cascade, text, where[text], whole.get(text))
        if made is not None:
            return made
    return None


def _told_apart(expression: Expression, outside: str = "") -> Iterator[tuple[str, Call]]:
    """Operator applications with their keys, but for those that are what they stand in: the x in
    x + 0 and in -(-x)."""
    if isinstance(expression, Call):
        text = repr(key(expression))
        if text != outside:
            yield text, expression
        for argument in expression.arguments:
            yield from _told_apart(argument, text)


def _shared(cascade: Cascade, text: str, call: Call, tensor: str | None) -> Cascade | None:
    draft = Draft(cascade)
    over = used(call)
    readers = [
        e
        for e in cascade.einsums
        if e.name != tensor and any(repr(key(c)) == text for c in calls(e.expression))
    ]
    wanted = {frozenset(conditions(e, cascade, over)) for e in readers}
    if not over or len(wanted) > 1:
        return None  # defined at different points
    if tensor is not None:
        access = cascade.einsum(tensor).output
        if {i.variable for i in access.indices if isinstance(i, At)} != over:
            return None
    else:
        if any(
            repr(key(c)) == text
            for e in readers
            for c in (e.expression,)
            if not e.reduced and len(readers) == 1
        ):
            return None
        (only,) = wanted
        predicate = tuple(c for c in readers[0].predicate if c in only)
        access = draft.add(f"X{readers[0].name}", over, call, predicate=predicate)
    for reader in readers:
        expression = replaced(
            reader.expression,
            lambda part: access if isinstance(part, Call) and repr(key(part)) == text else None,
        )
        made = Einsum(reader.output, expression, reader.reduce, reader.predicate)
        if set(made.iterated) != set(reader.iterated):
            return None
        draft.einsums[reader.name] = made
    return draft.done()


def _keep_tiles(cascade: Cascade, name: str, gone: set[str], apart: set[str]) -> None:
    """Raise NotApplicableError where a reduction over `gone` parts, without others of their rank,
    would go over points beyond its end: a last tile may not be full."""
    cut = dict(cascade.partitions)
    roots, others = ({cascade.root(cascade.rank_of(v)) for v in own} for own in (gone, apart))
    for root in sorted(roots & others & cut.keys()):
        raise NotApplicableError(f"{name}: the last tile of {root} would be taken for a full one")


def _is_plain(cascade: Cascade, name: str) -> None:
    if cascade.tensor(name).initial is not None:
        raise NotApplicableError(f"{name} is a recurrence")


def _is_free(cascade: Cascade, name: str) -> None:
    """Raises NotApplicableError where the tensor itself is wanted."""
    _is_plain(cascade, name)
    if name in cascade.outputs:
        raise NotApplicableError(f"{name} is an output")


def _at(einsum: Einsum, access: Access) -> dict[str, Index]:
    """Variables of an Einsum's output -> the indices at which it is read."""
    return {
        out.variable: index
        for out, index in zip(einsum.output.indices, access.indices, strict=True)
        if isinstance(out, At)
    }
