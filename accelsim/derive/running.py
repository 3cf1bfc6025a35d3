"""One fact, two rewrites: a reduction that uses the result of another needs no pass of its own.

Let R1 = (+)1 a(x) and R2 = (+)2 f(x, R1), and let a map from r to r' exist with f(x, r') =
map(f(x, r)) that commutes with (+)2 and leaves its unit alone. Then pairs (R1, R2) can be joined
part by part: the partial R2 of either part is mapped to the joined R1, and both are added. `run`
folds them tile after tile along an iterative rank (a running maximum and sum); `localise`
(local.py) makes each tile's value with the tile's own R1, and corrects it at the end (split-K).
The maps are found in corrections.py. Source: online normalizer of softmax (Milakov and
Gimelshein, 2018), made general; moments: Chan, Golub and LeVeque (1983).
"""

from __future__ import annotations

from functools import cached_property, partial
from math import comb, isinf

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
from accelsim.derive.corrections import Start, at_step, begun, correction, derivatives, starts
from accelsim.derive.draft import Draft, NotApplicableError, statement
from accelsim.derive.terms import (
    Chain,
    chain,
    conditions,
    inputs_of,
    joined,
    looked_at,
    made_of,
    placed,
    predicate_of,
    replaced,
    thinned,
    used,
)


def late(cascade: Cascade, rank: str) -> set[str]:
    """Tensors that are complete only after the whole fiber of a rank has been traversed."""
    found: set[str] = set()
    for einsum in cascade.einsums:
        reduces = any(cascade.rank_of(v) == rank for v in einsum.reduced)
        if reduces or any(is_late(access, rank, found) for access in einsum.inputs):
            found.add(einsum.name)
    return found


def is_late(access: Access, rank: str, tensors: set[str]) -> bool:
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
        self.guarded = thinned(cascade, made_of(cascade, {name}))
        within = {self.step, *self.kept}
        for condition in self.einsum.predicate:
            seen = looked_at(condition, self.einsum, cascade)
            if self.step in seen and seen <= within:
                cut = "; cut the rank (--partition)" * (cascade.root(rank) == rank)
                raise NotApplicableError(
                    f"{name}: its predicate leaves out whole steps of {rank}{cut}"
                )
        self.always = conditions(self.einsum, cascade, self.kept)
        self.references = self._references()
        self.shifted: set[str] = set()
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
            if is_late(access, self.rank, self.late):
                found.add(access.tensor)
        return found

    def _is_never_before(self) -> None:
        """Whether a maximum that it needs is of something at each of its points.

        At points that the maximum leaves out there may be none yet, which is no number.
        """
        for name in made_of(self.cascade, self.references):
            if not isinf(self.cascade.tensor(name).initial or 0):
                continue
            of = {name, *(a.tensor for a in inputs_of(self.cascade, name))}
            if not {c for one in of for c in predicate_of(self.cascade, one)} <= {
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
        if of is None or not used(of) <= {*self.kept}:
            return None
        found = correction(
            expression, group, self.references, self._old, self._new, guarded=self.guarded
        )
        return None if found is None else self._begun(found, Literal(group.unit))

    def _begun(self, expression: Expression, otherwise: Expression) -> Expression | None:
        """The expression, and `otherwise` while nothing has been seen, where it is no number then.

        What is carried is the unit of its reduction then, which no number changes.
        """
        found = begun(expression, otherwise, self._cases())
        if found == expression or self.guarded:
            return found
        return Call("where", (Value(Variable(self.step)), expression, otherwise))

    def _cases(self) -> list[Start]:
        """Before the first step; where predicates may leave out whole steps, before others too."""
        steps = ((0,), (0, 1)) if self.guarded else ((0,),)
        return [partial(self._start, offsets=offsets) for offsets in steps]

    def _start(self, access: Access, offsets: tuple[int, ...]) -> float | None:
        """What a value is as long as those at the step, by these offsets, are of nothing."""
        initial = self.draft.tensors[access.tensor].initial
        seen = not any(At(self.step, offset) in access.indices for offset in offsets)
        if initial is not None and not seen:
            return initial if isinf(initial) else 0
        if access.tensor in self.shifted:
            einsum = self.draft.einsums[access.tensor]
            return starts(einsum.expression, partial(self._start, offsets=offsets))
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
        inside = {a.tensor for a in einsum.inputs if is_late(a, self.rank, self.late)}
        expression = at_step(expression, inside, lambda a: self._at(a, offset))
        expression = replaced(expression, lambda part: self._counted(part, offset))
        expression = replaced(expression, self._guarded)
        over = used(expression)
        if not (offset or self.guarded) and any(
            starts(expression, c) is None for c in self._cases()
        ):
            expression = Call("where", (Value(Variable(self.step)), expression, Literal(0.0)))
        name = f"{einsum.name}{'NEW' if offset else 'OLD'}"
        made = self.draft.add(name, {*over, self.step}, expression, predicate=self._seen(over))
        self.shifted.add(made.tensor)
        return made

    def _seen(self, over: set[str]) -> tuple[Whole, ...]:
        return tuple(c for c in self.always if looked_at(c, self.einsum, self.cascade) <= over)

    def _guarded(self, part: Expression) -> Expression | None:
        """A quotient by 0 as 0, and the like: a reference to part of a sum may be any number, so
        it has to be one where that of the whole sum is one."""
        match part:
            case Call("div", (a, b)):
                quotient = Call("div", (replaced(a, self._guarded), b))
                if b in (Value(self._points(1)), Value(Named(self.cascade.root(self.rank)))):
                    return quotient  # never 0
                return Call("where", (b, quotient, Literal(0.0)))
            case Call("sqrt", (a,)):
                return Call("sqrt", (Call("max", (replaced(a, self._guarded), Literal(0.0))),))
            case Call("log", (a,)):
                a = replaced(a, self._guarded)
                positive = Call("gt", (a, Literal(0.0)))
                return Call("where", (positive, Call("log", (a,)), Literal(0.0)))
            case _:
                return None

    def _counted(self, part: Expression, offset: int) -> Expression | None:
        """The shape of the rank, which counts its points, as the number of those so far."""
        root = self.cascade.root(self.rank)
        if part != Value(Named(root)) or self.guarded:
            return None
        return Value(self._points(offset))

    def _points(self, offset: int) -> Whole:
        """How many points of the rank there are before a step, or up to it: the last tile may go
        beyond the end."""
        steps: Whole = Variable(self.step)
        if offset:
            steps = Apply("add", (steps, Int(offset)))
        root = self.cascade.root(self.rank)
        inner = self.cascade.parts(root)[1:]
        for part in inner:
            steps = Apply("mul", (steps, Named(part)))
        return Apply("min", (steps, Named(root))) if inner and offset else steps

    # What is made -------------------------------------------------------------------------------

    def _local(self, expression: Expression) -> Expression:
        """Of one step, with the references as they are after it."""
        new = at_step(expression, self.references, self._new)
        if not self.inner and isinstance(new, Access):
            return new
        new = self._iterating(new)
        over = {self.step} | used(new)
        over |= {v for c in self.einsum.predicate for v in looked_at(c, self.einsum, self.cascade)}
        return self.draft.add(
            f"L{self.einsum.name}",
            over - {*self.inner},
            new,
            reduce=self.einsum.reduce,
            predicate=self.einsum.predicate,
        )

    def _iterating(self, expression: Expression) -> Expression:
        """The expression, with what it reduces in it: a statement goes over what it reads.

        A number of points alone is where(1, it, what the reduction reads at these).
        """
        missing = {*self.inner} - {*Einsum(self.einsum.output, expression).iterated}
        read: list[Expression] = []
        for access in sorted(self.einsum.inputs, key=lambda a: len(used(a))):
            brought = missing & {*Einsum(self.einsum.output, access).iterated}
            if brought and access.tensor not in self.references:
                read.append(access)
                missing -= brought
        if not read:
            return expression
        return Call("where", (Literal(1.0), expression, joined(Chain(tuple(read)), PRODUCTS)))

    def _recur(self, wanted: str, local: Expression, group: Group, change: Expression) -> Access:
        """running[step+1] = (running[step] corrected) (+) local; the access of its end."""
        running = self._running(wanted, 0)
        corrected: Expression = running
        if change != Literal(group.unit):
            over = used(change)
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
        einsum = self.einsum
        of = chain(einsum.expression, PRODUCTS)
        moved: list[Expression] = []
        fixed: list[Expression] = []
        for part in of.plus:
            (fixed if self._change(part, PRODUCTS) is not None else moved).append(part)
        weight = joined(Chain(tuple(fixed), of.minus), PRODUCTS)
        change = self._change(weight, PRODUCTS)
        polynomial = joined(Chain(tuple(moved)), PRODUCTS)
        by = {a for a in accesses(polynomial) if a.tensor in self.references}
        if change is not None and len(by) > 1:
            several = " and ".join(sorted({a.tensor for a in by}))
            raise NotApplicableError(
                f"{show_einsum(einsum)}: polynomials of one changing value are looked for, not "
                f"of {several}"
            )
        if change is None or not by:
            raise self._refused()
        (of_it,) = by
        if not used(of_it) <= {*self.kept}:
            raise self._refused()
        reference = of_it.tensor
        found = derivatives(polynomial, reference)
        if found is None:
            text = show_einsum(Einsum(einsum.output, polynomial)).partition(" = ")[2]
            raise NotApplicableError(f"{einsum.name} is not polynomial in {reference}: {text}")
        change_of = Call("sub", (self._new(of_it), self._old(of_it)))
        shift = self._begun(change_of, Literal(0.0))
        if shift is None:
            raise self._refused()
        over = used(shift)
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
                over = used(change)
                factor = self.draft.add(f"C{einsum.name}", over, change, predicate=self._seen(over))
                expression = Call("mul", (expression, factor))
            moved_value = expression
            if expression != values[degree]:
                moved_value = self._corrected(names[degree], expression)
            made = self._write(names[degree], moved_value, local)
        assert made is not None  # degree 0 is never a constant: it reads what is reduced
        return made

    def _goes_over(self, term: Expression) -> bool:
        return bool(used(term) & {self.step, *self.inner})

    def _count_of(self, constant: Expression) -> Expression:
        """The sum of what is the same for all points, over those before a step."""
        before = at_step(constant, self.references, self._old)
        product = joined(chain(Call("mul", (before, self.count)), PRODUCTS), PRODUCTS)
        found = self._begun(product, Literal(0.0))
        if found is None:
            raise self._refused()
        return found

    @cached_property
    def count(self) -> Expression:
        """How many points there are before a step: known without a predicate, else a sum of 1."""
        parts = self.cascade.parts(self.cascade.root(self.rank))[1:]
        if not self.einsum.predicate and {self.cascade.rank_of(v) for v in self.inner} == {*parts}:
            return Value(self._points(0))
        name = f"RN{self.einsum.name}"
        running = self._running(name, 0)
        self._write(name, running, self._local(Literal(1.0)))
        return running

    def _instead(self, end: Access) -> Cascade:
        name = self.einsum.name
        self.draft.redirect(name, end)
        if name in self.cascade.outputs:
            self.draft.replace(name, expression=end, reduce="add", predicate=self.always)
        else:
            self.draft.drop(name)
        return self.draft.done()
