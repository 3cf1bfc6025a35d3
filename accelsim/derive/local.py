"""Local results in the place of global ones: the theorem in running.py, without a recurrence."""

from __future__ import annotations

from functools import partial
from math import isinf

from accelsim.cascade import Access, Cascade, Einsum, show_einsum
from accelsim.cascade.nodes import At, Call, Expression, Index, Literal
from accelsim.cascade.operators import OPERATORS
from accelsim.derive.algebra import DISTRIBUTES, PRODUCTS, SUMS
from accelsim.derive.corrections import Start, at_step, begun, correction
from accelsim.derive.draft import Draft, NotApplicableError, statement
from accelsim.derive.terms import conditions, made_of, placed, predicate_of, thinned, used


def localise(cascade: Cascade, name: str, rank: str) -> Cascade:
    """Let an Einsum use local results in the place of global ones, and correct the difference.

    What it reads has to be a reduction of local ones over the rank alone (see `split`). Raises
    NotApplicableError with the reason.
    """
    einsum = statement(cascade, name)
    step = next((v for v in einsum.iterated if cascade.rank_of(v) == rank), "")
    locals_: dict[str, Einsum] = {}
    for access in einsum.inputs:
        if access.tensor in cascade.inputs:
            continue
        made = cascade.einsum(access.tensor)
        if [cascade.rank_of(v) for v in made.reduced] == [rank] and isinstance(
            made.expression, Access
        ):
            seen = {*made.predicate, *predicate_of(cascade, made.expression.tensor)}
            if not seen <= {*einsum.predicate}:
                raise NotApplicableError(f"{made.name} looks at fewer points than {name}")
            locals_[made.name] = made
    if not step or not locals_:
        raise NotApplicableError(f"{name} reads no reduction of local ones over {rank}")
    draft = Draft(cascade)

    def local(access: Access) -> Expression:
        made = locals_[access.tensor]
        at: dict[str, Index] = {
            out.variable: index
            for out, index in zip(made.output.indices, access.indices, strict=True)
            if isinstance(out, At)
        }
        (gone,) = made.reduced
        found = placed(made.expression, {**at, gone: At(step)})
        if found is None:
            raise NotApplicableError(f"{name} reads {access.tensor} at an end")
        return found

    gone = {v for v in einsum.reduced if v != step}
    if einsum.reduced and einsum.reduce not in DISTRIBUTES:
        raise NotApplicableError(f"{name} does not reduce with + or a maximum")
    wanted = [DISTRIBUTES[einsum.reduce]] if einsum.reduced else [PRODUCTS, SUMS]
    cases = _cases(cascade, name, locals_)
    for group in wanted:
        found = correction(
            einsum.expression, group, locals_, local, lambda access: access, guarded=len(cases) > 1
        )
        change = None if found is None else begun(found, Literal(group.unit), cases)
        over = used(change) if change is not None else set()
        parts = [
            v
            for v in einsum.iterated
            if v != step and cascade.root(cascade.rank_of(v)) == cascade.root(rank)
        ]
        if change is None or over & {*gone, *parts}:
            continue
        by = draft.add(
            f"P{next(iter(locals_))}", over, change, predicate=conditions(einsum, cascade, over)
        )
        expression = Call(group.operator, (at_step(einsum.expression, locals_, local), by))
        draft.replace(name, expression=expression)
        return draft.done()
    of = ", ".join(sorted(locals_))
    raise NotApplicableError(f"{show_einsum(einsum)}: no correction is known when {of} changes")


def _cases(cascade: Cascade, name: str, reductions: dict[str, Einsum]) -> list[Start]:
    """Under predicates: a tile may be of no points at all, and all tiles may."""

    def start(access: Access, names: set[str]) -> float:
        identity = OPERATORS[made[access.tensor].reduce].identity if access.tensor in names else 0
        return identity if identity and isinf(identity) else 0

    if not thinned(cascade, made_of(cascade, {name})):
        return [lambda access: 0]
    tiles = {a.tensor: e for e in reductions.values() for a in e.inputs}
    made = {**reductions, **tiles}
    return [partial(start, names=set(names)) for names in (tiles, made)]
