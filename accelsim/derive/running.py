"""One fact, two rewrites: a reduction that uses the result of another needs no pass of its own.

Let R1 = (+)1 a(x) and R2 = (+)2 f(x, R1), and let a map from r to r' exist with f(x, r') =
map(f(x, r)) that commutes with (+)2 and leaves its unit alone. Then pairs (R1, R2) can be joined
part by part: the partial R2 of either part is mapped to the joined R1, and both are added. `run`
folds them tile after tile along an iterative rank (a running maximum and sum); `localise` makes
each tile's value with the tile's own R1, and corrects it at the end (split-K). The maps are found
in corrections.py. Source: online normalizer of softmax (Milakov and Gimelshein, 2018), made
general; moments: Chan, Golub and LeVeque (1983).
"""

from __future__ import annotations

from math import comb, inf, isinf

from accelsim.cascade import Access, Cascade, Einsum, show_einsum
from accelsim.cascade.nodes import (
    At,
    Call,
    End,
    Expression,
    Index,
    Literal,
    Value,
    accesses,
)
from accelsim.cascade.operators import OPERATORS
from accelsim.cascade.whole import Apply, Int, Named, Variable, Whole
from accelsim.derive.algebra import DISTRIBUTES, PRODUCTS, SUMS, Group
from accelsim.derive.corrections import at_step, correction, derivatives
from accelsim.derive.draft import Draft, NotApplicableError, statement
from accelsim.derive.terms import (
    Chain,
    chain,
    conditions,
    joined,
    placed,
    replaced,
    used,
    used_whole,
)


def late(cascade: Cascade, rank: str) -> set[str]:
    """Tensors that are complete only after the whole fiber of a rank has been traversed."""
    found: set[str] = set()
    for einsum in cascade.einsums:
        reduces = any(cascade.rank_of(v) == rank for v in einsum.reduced)
        if reduces or any(_is_late(access, rank, found) for access in einsum.inputs):
            found.add(einsum.name)
    return found


def _is_late(access: Access, rank: str, tensors: set[str]) -> bool:
    return End(rank) in access.indices or access.tensor in tensors


def run(cascade: Cascade, name: str, rank: str) -> Cascade:
    """Make a reduction a recurrence along a rank (whole, or the outermost part of one).

    What it reads of other reductions along the rank has to be running already. Raises
    NotApplicableError with the reason.
    """
    return _Run(cascade, name, rank).run()


class _Run:
    def __init__(self, cascade: Cascade, name: str, rank: str) -> None:
        self.cascade, self.rank = cascade, rank
        self.einsum = statement(cascade, name)
        self.step = next((v for v in self.einsum.reduced if cascade.rank_of(v) == rank), "")
        if not self.step or self.einsum.reduce not in DISTRIBUTES:
            raise NotApplicableError(f"{name} does not reduce {rank} with + or a maximum")
        if cascade.tensor(name).initial is not None:
            raise NotApplicableError(f"{name} is a recurrence")
        self.inner = [v for v in self.einsum.reduced if v != self.step]
        self.kept = [v for v in self.einsum.iterated if v not in self.einsum.reduced]
        self.draft = Draft(cascade)
        self.late = late(cascade, rank)
        self.guarded = any(e.predicate for e in cascade.einsums)
        within = {self.step, *self.kept}
        for condition in self.einsum.predicate:
            looked_at = used_whole(condition, cascade)
            if self.step in looked_at and looked_at <= within:
                raise NotApplicableError(
                    f"{name}: its predicate leaves out whole steps of {rank}; cut the rank"
                )
        self.always = conditions(self.einsum, cascade, self.kept)
        self.references = self._references()
        self._is_never_before()

    def _references(self) -> set[str]:
        found = set()
        for access in self.einsum.inputs:
            if access.tensor in self.late and any(
                isinstance(i, At) and i.variable == self.step for i in access.indices
            ):
                raise NotApplicableError(
                    f"{self.einsum.name} reads {access.tensor}, which keeps {self.rank} and needs "
                    "the end of it"
                )
            if _is_late(access, self.rank, self.late):
                found.add(access.tensor)
        return found

    def _is_never_before(self) -> None:
        """Whether a maximum that it needs is of something at each of its points.

        At points that the maximum leaves out there may be none yet, which is no number.
        """
        needed, new = set(self.references), set(self.references)
        while new:
            new = {a.tensor for n in new for a in _inputs(self.cascade, n)} - needed
            needed |= new
        for name in needed:
            if not isinf(self.cascade.tensor(name).initial or 0):
                continue
            of = {name, *(a.tensor for a in _inputs(self.cascade, name))}
            if not {c for one in of for c in _predicate(self.cascade, one)} <= {
                *self.einsum.predicate
            }:
                raise NotApplicableError(f"{name} looks at fewer points than {self.einsum.name}")

    def run(self) -> Cascade:
        einsum, group = self.einsum, DISTRIBUTES[self.einsum.reduce]
        change = self._change(einsum.expression, group)
        if change is not None:
            local = self._local(einsum.expression)
            made = self._recur(f"R{einsum.name}", local, group, change)
        elif einsum.reduce == "add":
            made = self._moments()
        else:
            raise self._refused()
        return self._instead(made)

    def _refused(self) -> NotApplicableError:
        of = ", ".join(sorted(self.references))
        return NotApplicableError(
            f"{show_einsum(self.einsum)}: no correction is known when {of} changes"
        )

    def _change(self, expression: Expression, group: Group) -> Expression | None:
        """What the correction is when references go on by a step; None without one.

        It has to be the same for all points: of the step it may know what references are there.
        """

        def same(access: Access) -> Expression:
            return access

        of = correction(expression, group, self.references, same, same)
        if of is None or not used(of, self.cascade) <= {*self.kept}:
            return None
        found = correction(
            expression, group, self.references, self._old, self._new, guarded=self.guarded
        )
        return found if found is not None and self._starts(found) == 0 else None

    def _starts(self, expression: Expression) -> float | None:
        """Its value before the first step, as far as it is inf, -inf or not (0); None: not known.

        A maximum of nothing is -inf, and so is the logarithm of an empty sum.
        """
        known = {e.name for e in self.cascade.einsums}
        match expression:
            case Access(tensor=tensor, indices=indices):
                initial = self.draft.tensors[tensor].initial
                if initial is not None and At(self.step) in indices:
                    return initial if isinf(initial) else 0
                einsum = self.draft.einsums.get(tensor)
                made = einsum is not None and tensor not in known
                return self._starts(einsum.expression) if einsum and made else 0
            case Call("log", (a,)) if any(At(self.step) in r.indices for r in accesses(a)):
                return -inf
            case Call("exp", (a,)):
                found = self._starts(a)
                return 0 if found == -inf else found
            case Call("neg", (a,)):
                found = self._starts(a)
                return None if found is None else -found
            case Call("add", (a, b)):
                return self._starts(Call("sub", (a, Call("neg", (b,)))))
            case Call("sub", (a, b)):
                first, second = self._starts(a), self._starts(b)
                if first is None or second is None or first == second != 0:
                    return None
                return first - second
            case Call("subexp", (a, b)):
                return 0 if self._starts(a) == -inf else self._starts(Call("sub", (a, b)))
            case Call(arguments=arguments):
                return 0 if all(self._starts(a) == 0 for a in arguments) else None
            case _:
                return 0

    # References ---------------------------------------------------------------------------------

    def _old(self, access: Access) -> Expression:
        return self._at(access, 0)

    def _new(self, access: Access) -> Expression:
        return self._at(access, 1)

    def _at(self, access: Access, offset: int) -> Expression:
        """A reference as it is before (0) or after (1) a step."""
        if End(self.rank) in access.indices:
            here = At(self.step, offset)
            moved = tuple(here if i == End(self.rank) else i for i in access.indices)
            return Access(access.tensor, moved)
        einsum = self.cascade.einsum(access.tensor)
        if einsum.reduced or self.cascade.tensor(einsum.name).initial is not None:
            raise NotApplicableError(f"{einsum.name} is needed as it runs, and is not running yet")
        at: dict[str, Index] = {
            out.variable: index
            for out, index in zip(einsum.output.indices, access.indices, strict=True)
            if isinstance(out, At)
        }
        expression = placed(einsum.expression, at)
        if expression is None:
            raise NotApplicableError(f"{self.einsum.name} reads {access.tensor} at an end")
        inside = {a.tensor for a in einsum.inputs if _is_late(a, self.rank, self.late)}
        expression = at_step(expression, inside, lambda a: self._at(a, offset))
        expression = replaced(expression, lambda part: self._counted(part, offset))
        expression = replaced(expression, self._guarded)
        over = used(expression, self.cascade)
        name = f"{einsum.name}{'NEW' if offset else 'OLD'}"
        return self.draft.add(name, {*over, self.step}, expression, predicate=self._seen(over))

    def _seen(self, over: set[str]) -> tuple[Whole, ...]:
        return tuple(c for c in self.always if used_whole(c, self.cascade) <= over)

    def _guarded(self, part: Expression) -> Expression | None:
        """A quotient that is 0 where it is one by 0: nothing that counts has been seen yet."""
        match part:
            case Call("div", (a, b)):
                quotient = Call("div", (replaced(a, self._guarded), b))
                if b in (Value(self._points(1)), Value(Named(self.cascade.root(self.rank)))):
                    return quotient  # never 0
                return Call("where", (b, quotient, Literal(0.0)))
            case _:
                return None

    def _counted(self, part: Expression, offset: int) -> Expression | None:
        """The shape of the rank, which counts its points, as the number of those so far."""
        root = self.cascade.root(self.rank)
        if part != Value(Named(root)) or self.guarded:
            return None
        return Value(self._points(offset))

    def _points(self, offset: int) -> Whole:
        """How many points of the rank there are before a step, or up to it."""
        steps: Whole = Variable(self.step)
        if offset:
            steps = Apply("add", (steps, Int(offset)))
        for part in self.cascade.parts(self.cascade.root(self.rank))[1:]:
            steps = Apply("mul", (steps, Named(part)))
        return steps

    # What is made -------------------------------------------------------------------------------

    def _local(self, expression: Expression) -> Expression:
        """Of one step, with the references as they are after it."""
        new = at_step(expression, self.references, self._new)
        over = used(new, self.cascade) - {*self.inner}
        over |= {v for c in self.einsum.predicate for v in used_whole(c, self.cascade)}
        if not self.inner and isinstance(new, Access):
            return new
        name = f"L{self.einsum.name}"
        made = self.draft.add(
            name,
            over - {*self.inner},
            new,
            reduce=self.einsum.reduce,
            predicate=self.einsum.predicate,
        )
        if set(self.draft.einsums[made.tensor].reduced) != {*self.inner} or self.step not in over:
            raise NotApplicableError(
                f"{self.einsum.name}: {show_einsum(self.einsum)} has a term that does not go over "
                f"{self.rank}"
            )
        return made

    def _recur(self, wanted: str, local: Expression, group: Group, change: Expression) -> Access:
        """running[step+1] = (running[step] corrected) (+) local; the access of its end."""
        running = self._running(wanted, 0)
        corrected: Expression = running
        if change != Literal(group.unit):
            over = used(change, self.cascade)
            by = self.draft.add(f"C{self.einsum.name}", over, change, predicate=self._seen(over))
            corrected = self._corrected(wanted, Call(group.operator, (running, by)))
        return self._write(wanted, corrected, local)

    def _running(self, wanted: str, offset: int) -> Access:
        over = self.draft.variables({*self.kept, self.step})
        return Access(
            self.draft.name(wanted), tuple(At(v, offset if v == self.step else 0) for v in over)
        )

    def _corrected(self, wanted: str, expression: Expression) -> Access:
        return self.draft.add(
            f"S{wanted[1:]}", {*self.kept, self.step}, expression, predicate=self.always
        )

    def _write(self, wanted: str, corrected: Expression, local: Expression) -> Access:
        reduce = self.einsum.reduce
        identity = OPERATORS[reduce].identity
        assert identity is not None  # it reduces
        sides = (corrected, local) if reduce != "add" else (local, corrected)
        made = self.draft.add(
            wanted,
            {*self.kept, self.step},
            Call(reduce, sides),
            predicate=self.always,
            step=self.step,
            initial=identity,
        )
        end = tuple(
            End(self.rank) if isinstance(i, At) and i.variable == self.step else i
            for i in made.indices
        )
        return Access(made.tensor, end)

    def _moments(self) -> Access:
        """A polynomial of one reference, times factors that are corrected: Taylor's formula."""
        einsum, cascade = self.einsum, self.cascade
        of = chain(einsum.expression, PRODUCTS)
        moved: list[Expression] = []
        fixed: list[Expression] = []
        for part in of.plus:
            (fixed if self._change(part, PRODUCTS) is not None else moved).append(part)
        weight = joined(Chain(tuple(fixed), of.minus), PRODUCTS)
        change = self._change(weight, PRODUCTS)
        polynomial = joined(Chain(tuple(moved)), PRODUCTS)
        by = {a for a in accesses(polynomial) if a.tensor in self.references}
        if change is None or len(by) != 1:
            raise self._refused()
        (of_it,) = by
        if not used(of_it, cascade) <= {*self.kept}:
            raise self._refused()
        reference = of_it.tensor
        found = derivatives(polynomial, reference)
        if found is None:
            text = show_einsum(Einsum(einsum.output, polynomial)).partition(" = ")[2]
            raise NotApplicableError(f"{einsum.name} is not polynomial in {reference}: {text}")
        shift = Call("sub", (self._new(of_it), self._old(of_it)))
        if self._starts(shift) != 0:
            raise NotApplicableError(
                f"{einsum.name}: {reference} is infinite before the first step"
            )
        over = used(shift, cascade)
        delta = self.draft.add(f"D{reference}", over, shift, predicate=self._seen(over))
        names = [f"R{einsum.name}", *(f"M{n}{einsum.name}" for n in range(1, len(found)))]
        terms = [joined(chain(Call("mul", (weight, f)), PRODUCTS), PRODUCTS) for f in found]
        old = [None if self._goes_over(term) else self._count_of(term) for term in terms]
        values = [
            known if known is not None else self._running(wanted, 0)
            for known, wanted in zip(old, names, strict=True)
        ]
        made = None
        for degree in reversed(range(len(found))):
            if old[degree] is not None:
                continue
            local = self._local(terms[degree])
            parts: list[Expression] = [values[degree]]
            for higher in range(degree + 1, len(found)):
                factors = [values[higher], *([delta] * (higher - degree))]
                if (times := comb(higher, degree)) != 1:
                    factors.insert(0, Literal(float(times)))
                parts.append(joined(Chain(tuple(factors)), PRODUCTS))
            expression = joined(Chain(tuple(parts)), SUMS)
            if change != Literal(1.0):
                over = used(change, cascade)
                factor = self.draft.add(f"C{einsum.name}", over, change, predicate=self._seen(over))
                expression = Call("mul", (expression, factor))
            moved_value = expression
            if expression != values[degree]:
                moved_value = self._corrected(names[degree], expression)
            made = self._write(names[degree], moved_value, local)
        assert made is not None  # degree 0 is never a constant: it reads what is reduced
        return made

    def _goes_over(self, term: Expression) -> bool:
        return bool(used(term, self.cascade) & {self.step, *self.inner})

    def _count_of(self, constant: Expression) -> Expression:
        """The sum of what is the same for all points, over those before a step."""
        if self.einsum.predicate or set(self.inner) != {
            part.lower() for part in self.cascade.parts(self.cascade.root(self.rank))[1:]
        }:
            raise NotApplicableError(f"{self.einsum.name}: a sum of constants needs a count")
        before = at_step(constant, self.references, self._old)
        product = Call("mul", (before, Value(self._points(0))))
        return joined(chain(product, PRODUCTS), PRODUCTS)

    def _instead(self, end: Access) -> Cascade:
        name = self.einsum.name
        self.draft.redirect(name, end)
        if name in self.cascade.outputs:
            self.draft.replace(name, expression=end, reduce="add", predicate=self.always)
        else:
            self.draft.drop(name)
        return self.draft.done()


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
            seen = {*made.predicate, *_predicate(cascade, made.expression.tensor)}
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
    for group in wanted:
        change = correction(einsum.expression, group, locals_, local, lambda access: access)
        over = used(change, cascade) if change is not None else set()
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


def _inputs(cascade: Cascade, tensor: str) -> tuple[Access, ...]:
    return () if tensor in cascade.inputs else cascade.einsum(tensor).inputs


def _predicate(cascade: Cascade, tensor: str) -> tuple[Whole, ...]:
    return () if tensor in cascade.inputs else cascade.einsum(tensor).predicate
