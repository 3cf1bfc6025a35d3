"""Which rewrites to do in which order: no search, a few ways that are held against each other.

`inline` and `factor` until nothing changes, then reductions in the order in which they need each
other: the order matters, since a reduction that divides by another one has no running form. Each
step is checked on numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

from accelsim.analysis import passes
from accelsim.analysis.counts import point_operations, total_counts
from accelsim.cascade import Cascade, with_parameters
from accelsim.cascade.nodes import Value
from accelsim.cascade.whole import Named
from accelsim.derive import transforms, trial
from accelsim.derive.algebra import PRODUCTS
from accelsim.derive.centre import centre
from accelsim.derive.draft import NotApplicableError
from accelsim.derive.local import localise
from accelsim.derive.running import late, run
from accelsim.derive.terms import chain
from accelsim.errors import AccelsimError, Fault, nearest

TOLERANCE = 1e-9
"""Relative difference between a cascade and what a step makes of it, of normal inputs."""


@dataclass(frozen=True)
class Step:
    """A rewrite, what it was done to, and the passes over the rank after it."""

    rewrite: str
    subject: str
    passes: int | None


@dataclass(frozen=True, order=True)
class Cost:
    """In order of weight.

    error: class of the relative error on adversarial inputs (an index of trial.CLASSES).
    unstable: on how many of these inputs the error is of the last class.
    operations, state: of ranks of 64, a cut one of 16 tiles of 64; state: values that a recurrence
    carries, or that wait for the end of a fiber.
    """

    passes: float
    error: int
    unstable: int
    operations: int
    state: int


@dataclass(frozen=True)
class Derivation:
    """way: running, local... before: passes of the source. error: relative, on adversarial inputs;
    None where the source has no numbers on any that are made up. stopped: why rewrites that would
    have helped were not done. made_up: parameters and tables -> what they are in trials. unchecked:
    why steps and error were not tried, "" where they were. counted: whether cost.operations is
    known; it is of what is made up otherwise."""

    source: Cascade
    way: str
    rank: str
    before: int | None
    steps: tuple[Step, ...]
    cascade: Cascade
    cost: Cost
    error: float | None
    stopped: tuple[str, ...]
    made_up: tuple[tuple[str, str], ...] = ()
    unchecked: str = ""
    counted: bool = True


def ways(cascade: Cascade, rank: str | None = None, parts: Sequence[str] = ()) -> list[Derivation]:
    """What each way comes to. rank: the one with most passes unless said. parts: cut it first.

    Raises AccelsimError for a rank or parts that cannot be, and for a cascade that reads outside of
    its tensors.
    """
    rank = rank or _most_passes(cascade)
    if rank not in cascade.ranks:
        message = f"{cascade.name} has no rank {rank!r}: its ranks are {', '.join(cascade.ranks)}"
        raise AccelsimError(Fault(message, help=nearest(rank, cascade.ranks)))
    known = cascade.parts(rank)
    if parts and known != (rank,):
        raise AccelsimError(f"{cascade.name}: {rank} is cut already, into {', '.join(known)}")
    tried = trial.trials(cascade, {rank: tuple(parts)} if parts else {}, rank=rank)
    every: list[tuple[str, Callable[[_Way], None]]] = [("deferred", _deferred)]
    every.append(("running", _running))
    if parts or known != (rank,):
        every += [("local", _local), ("local, divided in place", _local_in_place)]
    out = []
    for name, go in every:
        one = _gone(_Way(cascade, rank, tuple(parts), tried), name, go)
        if go is _running and one.cost.error == len(trial.CLASSES) - 1:
            other = _gone(_Way(cascade, rank, tuple(parts), tried), name, _running_as_it_is)
            one = min(one, other, key=lambda one: one.cost)
        out.append(one)
    return out


def _gone(way: _Way, name: str, go: Callable[[_Way], None]) -> Derivation:
    if way.parts:
        way.cut()
    go(way)
    way.do("share", "common subexpressions", transforms.shared)
    return way.done(name)


@dataclass
class _Way:
    source: Cascade
    rank: str
    parts: tuple[str, ...]
    tried: trial.Trials
    steps: list[Step] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cascade = self.source
        own = self.parts or self.source.parts(self.rank)
        self.unit = own[0]
        self.inner = own[1:]

    def cut(self) -> None:
        """Cut the rank. Raises NotApplicableError."""
        try:
            self.cascade = transforms.partition(self.cascade, self.rank, self.parts)
        except NotApplicableError as error:
            into = f"{self.source.name}: {self.rank} cannot be cut into {', '.join(self.parts)}"
            why = str(error).removeprefix(f"{self.rank}: ")
            raise NotApplicableError(f"{into}: {why}") from None
        count = passes(self.cascade).passes.get(self.rank)
        self.steps.append(Step("partition", self.rank, count))

    def do(
        self,
        rewrite: str,
        subject: str,
        transform: Callable[..., Cascade],
        *arguments: object,
    ) -> bool:
        """Do a rewrite if it applies; whether it did, and changed anything."""
        try:
            made = transform(self.cascade, *arguments)
        except NotApplicableError as error:
            if rewrite == "run":  # others are tried wherever they may help
                self.stopped[subject] = str(error)
            return False
        if made == self.cascade:
            return False
        apart = self.tried.apart(made)
        if not apart <= TOLERANCE:
            self.stopped[subject] = _off(f"{rewrite} {subject}", self.source.name, apart)
            return False
        if rewrite == "factor" and self.tried.out_of_range(made):
            self.stopped[subject] = (
                f"factor {subject}: a form is known, but gives no number on tiny or huge inputs on "
                f"which {self.source.name} gives one"
            )
            return False
        self.cascade = made
        self.steps.append(Step(rewrite, subject, passes(made).passes.get(self.rank)))
        return True

    def late(self) -> set[str]:
        """Tensors that are complete only at the end of the rank."""
        return late(self.cascade, self.unit)

    def reductions(self) -> list[str]:
        """Over the rank, in the order in which they need each other."""
        return [
            e.name
            for e in self.cascade.einsums
            if any(self.cascade.rank_of(v) == self.unit for v in e.reduced)
        ]

    def inside(self, name: str) -> list[str]:
        """Variables that a reduction goes over inside a tile."""
        einsum = self.cascade.einsum(name)
        return [v for v in einsum.reduced if self.cascade.rank_of(v) in self.inner]

    def keeps(self, name: str) -> bool:
        return self.unit in self.cascade.tensor(name).ranks

    def needs_end(self, name: str) -> bool:
        """Whether an Einsum reads what is complete only at the end."""
        late_ones = self.late()
        return any(
            a.tensor in late_ones or any(getattr(i, "rank", None) == self.unit for i in a.indices)
            for a in self.cascade.einsum(name).inputs
        )

    def done(self, way: str) -> Derivation:
        count = passes(self.cascade).passes.get(self.rank, 0)
        errors = self.tried.errors(self.cascade)
        error = None if self.tried.unchecked else max(errors, default=0.0)
        missing = {p.name for p in self.cascade.parameters if p.default is None}
        named = with_parameters(self.cascade, {}, trial.MADE_UP[0][0])
        usual = trial.usual_shapes(self.cascade)
        counts = total_counts(self.cascade, {**usual, **named})
        every = (o for e in self.cascade.einsums for o in point_operations(e))
        classes = [word for _, word in trial.CLASSES]
        last = trial.CLASSES[-2][0]
        cost = Cost(
            passes=float("inf") if count is None else count,
            error=0 if error is None else classes.index(trial.in_a_word(error)),
            unstable=sum(not one <= last for one in errors),
            operations=sum(counts.values()),
            state=self._state(usual),
        )
        return Derivation(
            self.source,
            way,
            self.rank,
            passes(self.source).passes.get(self.rank),
            tuple(self.steps),
            self.cascade,
            cost,
            error,
            tuple(dict.fromkeys(self.stopped.values())),
            tuple(self.tried.made_up.items()),
            self.tried.unchecked,
            not missing and counts.keys() >= {*every},
        )

    def _state(self, sizes: dict[str, int]) -> int:
        """Values that a recurrence carries, and those of a fiber that wait for the end of it."""
        made = {einsum.name for einsum in self.cascade.einsums}
        waiting = {
            access.tensor
            for einsum in self.cascade.einsums
            if self.needs_end(einsum.name)
            for access in einsum.inputs
            if access.tensor in made and self.keeps(access.tensor)
        }
        words = 0
        for tensor in self.cascade.tensors:
            carried = tensor.initial is not None and self.unit in tensor.ranks
            if carried or tensor.name in waiting:
                gone = {self.unit} if carried else set()
                words += prod(sizes[rank] for rank in tensor.ranks if rank not in gone)
        return words


def _off(what: str, source: str, apart: float) -> str:
    """Why a rewrite that applies is left out."""
    if apart == float("inf"):
        return (
            f"{what}: a form is known, but gives no number on trial inputs on which {source} gives "
            "one"
        )
    return (
        f"{what}: a form is known, but is {apart:.0e} off {source} on trial inputs, more than "
        f"{TOLERANCE:.0e}: it loses digits, or relies on a law that does not hold there"
    )


def _open(way: _Way, multiply: bool = True) -> None:
    """Inline what keeps the rank and needs its end; pull out what is the same for all of it.

    multiply: whether sums are multiplied out for that.
    """
    changed = True
    while changed:
        changed = False
        for einsum in reversed(way.cascade.einsums):
            pointwise = not einsum.reduced and way.cascade.tensor(einsum.name).initial is None
            if pointwise and way.keeps(einsum.name) and way.needs_end(einsum.name):
                changed = way.do("inline", einsum.name, transforms.inline, einsum.name)
                if changed:
                    break
        else:
            for name in way.reductions():
                changed = way.needs_end(name) and (
                    way.do("undo", name, transforms.undo, name)
                    or way.do("factor", name, transforms.factor, name, multiply)
                )
                if changed:
                    break


def _deferred(way: _Way) -> None:
    _open(way)


def _running_as_it_is(way: _Way) -> None:
    """As `_running`, but (x - mean) * (x - mean) is multiplied out only where it does not run."""
    _running(way, multiply=False)


def _running(way: _Way, multiply: bool = True) -> None:
    """Every reduction that needs the end of another one runs, after those that it needs."""
    _open(way, multiply)
    failed: set[str] = set()
    while True:
        wanted = [n for n in way.reductions() if n not in failed and way.needs_end(n)]
        needed = [n for n in way.reductions() if n not in failed and _is_needed(way, n, wanted)]
        name = next(iter(needed), None) or next(iter(wanted), None)
        if name is None:
            return
        mean = name in needed and _is_of_parts(way, name)
        if mean and way.do("factor", name, transforms.factor, name):
            continue
        way.do("centre", name, centre, name, way.unit)
        if way.do("run", name, run, name, way.unit):
            continue
        if multiply or not way.do("factor", name, transforms.factor, name):
            failed.add(name)


def _is_of_parts(way: _Way, name: str) -> bool:
    """Whether it is the sum of X / N, or of X * N: what it is after a step would be no mean."""
    einsum = way.cascade.einsum(name)
    of = chain(einsum.expression, PRODUCTS)
    count = Value(Named(way.rank))
    return einsum.reduce == "add" and count in (*of.plus, *of.minus)


def _is_needed(way: _Way, name: str, wanted: list[str]) -> bool:
    """Whether one of these needs a reduction, which needs no other one."""
    return not way.needs_end(name) and bool(_readers(way, name) & set(wanted))


def _is_read_along(way: _Way, name: str) -> bool:
    """Whether what needs a reduction goes over the rank again."""
    own = _readers(way, name) - {name}
    return any(
        way.cascade.rank_of(v) == way.unit for e in own for v in way.cascade.einsum(e).iterated
    )


def _readers(way: _Way, name: str) -> set[str]:
    """Einsums that need it, it included."""
    reached, new = {name}, {name}
    while new:
        new = {
            e.name
            for e in way.cascade.einsums
            if e.name not in reached and any(a.tensor in new for a in e.inputs)
        }
        reached |= new
    return reached


def _local(way: _Way) -> None:
    _open(way)
    _localised(way)


def _local_in_place(way: _Way) -> None:
    _localised(way)


def _localised(way: _Way) -> None:
    """Reductions become local ones and one over these; what reads them uses the local ones."""
    seen: set[str] = set()
    while True:
        name = next((n for n in way.reductions() if n not in seen), None)
        if name is None:
            return
        seen.add(name)
        corrected = way.needs_end(name) and way.do("localise", name, localise, name, way.unit)
        if not corrected and not _is_read_along(way, name):
            continue
        if not way.do("split", name, transforms.split, name, way.inside(name)):
            continue
        seen.add(f"L{name}")
        for einsum in way.cascade.einsums:
            reads = any(a.tensor == name for a in einsum.inputs)
            if (
                reads
                and not einsum.reduced
                and way.keeps(einsum.name)
                and way.do("localise", einsum.name, localise, einsum.name, way.unit)
            ):
                way.do("inline", einsum.name, transforms.inline, einsum.name)


def _most_passes(cascade: Cascade) -> str:
    counts = passes(cascade).passes
    roots = [rank for rank in cascade.ranks if rank in counts]
    if not roots:
        raise AccelsimError(f"{cascade.name} traverses no rank")
    return max(roots, key=lambda rank: float("inf") if counts[rank] is None else counts[rank] or 0)
