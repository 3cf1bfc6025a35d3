"""The nodes of a cascade of Einsums: frozen records, nothing else.

A cascade is a sequence of Einsums over tensors whose ranks are named. Grammar (see parse.py):

    RM[b,h,m1+1,p]     = max(RM[b,h,m1,p], LM[b,h,m1,p])
    LM[b,h,m1,p]       = QK[b,h,m1,m0,p] :: max
    QK[b,h,m,p]        = Q[b,h,e,p] * K[b,h*G//H,e,m] | m <= p and (p - m < window or m < sinks)
    AV[b,h,f,p]        = RNV[b,h,f,M1,p] / RD[b,h,M1,p]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from accelsim.cascade.whole import Whole, split_coordinate, tables, variables
from accelsim.errors import Position


@dataclass(frozen=True)
class At:
    """A rank variable plus a constant: `m1`, `m1+1`."""

    variable: str
    offset: int = 0


@dataclass(frozen=True)
class End:
    """The end of a rank, one past its last coordinate: `M1`. Only iterative tensors have it."""

    rank: str


@dataclass(frozen=True)
class Coordinate:
    """A fixed coordinate: `0`."""

    value: int


@dataclass(frozen=True)
class Computed:
    """A coordinate computed from rank variables: `h*G//H`, `start(p)+k`, `pages[b,m1]`."""

    whole: Whole


Index = At | End | Coordinate | Computed


@dataclass(frozen=True)
class Access:
    """A tensor at one index per declared rank."""

    tensor: str
    indices: tuple[Index, ...]
    position: Position | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Literal:
    """A number in an expression."""

    value: float


@dataclass(frozen=True)
class Call:
    """A map operator applied to expressions. `operator` is a key of operators.OPERATORS."""

    operator: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Value:
    """A whole-number expression as a number: a coordinate, a shape, a parameter."""

    whole: Whole


Expression = Access | Literal | Call | Value


@dataclass(frozen=True)
class Einsum:
    """One statement: output = expression, reduced over the ranks that the output lacks.

    reduce: name of the reduce operator ("add", "max", "min", "mul"), "add" unless said.
    predicate: conditions, all of which must hold at a point for it to be in the iteration space.
    """

    output: Access
    expression: Expression
    reduce: str = "add"
    predicate: tuple[Whole, ...] = ()
    position: Position | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The tensor that it writes; unique in a cascade (single writer)."""
        return self.output.tensor

    @cached_property
    def inputs(self) -> tuple[Access, ...]:
        """Accesses of the expression, left to right."""
        return tuple(accesses(self.expression))

    @cached_property
    def iterated(self) -> tuple[str, ...]:
        """See iteration_variables."""
        seen: dict[str, None] = {}
        for access in (self.output, *self.inputs):
            for index in access.indices:
                if isinstance(index, At):
                    seen.setdefault(index.variable)
                elif isinstance(index, Computed):
                    seen |= dict.fromkeys(variables(index.whole))
        return tuple(seen)

    @cached_property
    def reduced(self) -> tuple[str, ...]:
        """See reduced_variables."""
        kept = {index.variable for index in self.output.indices if isinstance(index, At)}
        return tuple(v for v in self.iterated if v not in kept)


@dataclass(frozen=True)
class Tensor:
    """A named array.

    initial: the value at the first coordinate of its iterative rank (the last, when it is defined
    downwards), or None. A tensor with an initial value has one coordinate more on that rank.
    """

    name: str
    ranks: tuple[str, ...]
    initial: float | None = None
    position: Position | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Parameter:
    """A named whole number of a method: a window, a stride. default: None when it must be given."""

    name: str
    description: str
    default: int | None = None


@dataclass(frozen=True)
class Table:
    """Whole numbers that indices and predicates read: groups of heads, kept blocks, pages."""

    name: str
    ranks: tuple[str, ...]


Partitions = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Cascade:
    """A checked cascade (see build.py for what holds).

    ranks: root ranks, in declared order. partitions: root rank -> its parts, outermost first.
    variables: rank variable -> the rank over which it ranges, for every variable used.
    iterative: ranks along which a tensor is defined by recurrence. alike: rank -> the innermost
    part that has the same coordinates.
    inputs: tensors that no Einsum writes. outputs: the declared results.
    """

    name: str
    source: str
    description: str
    ranks: tuple[str, ...]
    partitions: Partitions
    variables: tuple[tuple[str, str], ...]
    tensors: tuple[Tensor, ...]
    iterative: tuple[str, ...]
    outputs: tuple[str, ...]
    einsums: tuple[Einsum, ...]
    parameters: tuple[Parameter, ...] = ()
    tables: tuple[Table, ...] = ()
    family: str = "other"
    alike: tuple[tuple[str, str], ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        written = {einsum.name for einsum in self.einsums}
        return tuple(tensor.name for tensor in self.tensors if tensor.name not in written)

    @cached_property
    def _tensor(self) -> dict[str, Tensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    def tensor(self, name: str) -> Tensor:
        return self._tensor[name]

    def einsum(self, name: str) -> Einsum:
        return next(einsum for einsum in self.einsums if einsum.name == name)

    @cached_property
    def _rank_of(self) -> dict[str, str]:
        return dict(self.variables)

    def rank_of(self, variable: str) -> str:
        return self._rank_of[variable]

    def root(self, rank: str) -> str:
        """The root rank of a part; a root rank is its own root."""
        for root, parts in self.partitions:
            if rank in parts:
                return root
        return rank

    def parts(self, root: str) -> tuple[str, ...]:
        """The parts of a root rank, outermost first; itself when it is not partitioned."""
        return dict(self.partitions).get(root, (root,))

    def _repr_latex_(self) -> str:
        from accelsim.cascade.show import latex  # which is made of these nodes

        return f"$$\n{latex(self)}$$"


def with_parameters(
    cascade: Cascade, numbers: Mapping[str, int], missing: int | None = None
) -> dict[str, int]:
    """Named whole numbers with the defaults of parameters that are not among them."""
    defaults = {p.name: missing if p.default is None else p.default for p in cascade.parameters}
    return {name: n for name, n in defaults.items() if n is not None} | dict(numbers)


def accesses(expression: Expression) -> Iterator[Access]:
    """Every access in an expression, left to right."""
    match expression:
        case Access():
            yield expression
        case Call(arguments=arguments):
            for argument in arguments:
                yield from accesses(argument)
        case Literal() | Value():
            return


def values(expression: Expression) -> Iterator[Value]:
    """Every coordinate used as a value in an expression, left to right."""
    if isinstance(expression, Value):
        yield expression
    elif isinstance(expression, Call):
        for argument in expression.arguments:
            yield from values(argument)


def wholes(einsum: Einsum) -> Iterator[Whole]:
    """Every whole-number expression of an Einsum: predicates, computed indices, values."""
    yield from einsum.predicate
    for access in (einsum.output, *einsum.inputs):
        for index in access.indices:
            if isinstance(index, Computed):
                yield index.whole
    for value in values(einsum.expression):
        yield value.whole


def calls(expression: Expression) -> Iterator[Call]:
    """Every operator application in an expression, outermost first."""
    if isinstance(expression, Call):
        yield expression
        for argument in expression.arguments:
            yield from calls(argument)


def looked_up(einsum: Einsum) -> tuple[str, ...]:
    """Tables that an Einsum reads, in its predicate, indices and values."""
    return tuple(dict.fromkeys(name for whole in wholes(einsum) for name in tables(whole)))


def iteration_variables(einsum: Einsum) -> tuple[str, ...]:
    """Rank variables of an Einsum's iteration space: those of the output, then the reduced ones."""
    return einsum.iterated


def whole_coordinates(
    over: Iterable[str], rank_of: Mapping[str, str], partitions: Partitions
) -> dict[str, Whole]:
    """Variable of a cut rank -> its coordinate M0*m1 + m0, where all parts are iterated over.

    over: rank variables of an iteration space.
    """
    out = {}
    for root, parts in partitions:
        own = [v for part in parts for v in over if rank_of[v] == part]
        if len(own) == len(parts):
            out[root.lower()] = split_coordinate(own, parts)
    return out


def reduced_variables(einsum: Einsum) -> tuple[str, ...]:
    """Rank variables of the iteration space that the output lacks."""
    return einsum.reduced
