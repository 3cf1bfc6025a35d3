"""An Einsum at the points of some part of its iteration space: one array axis per rank variable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Cascade,
    Computed,
    Einsum,
    Expression,
    Literal,
    Value,
    accesses,
    reduced_variables,
    whole_coordinates,
)
from accelsim.cascade.operators import OPERATORS
from accelsim.cascade.overflow import Overflows
from accelsim.cascade.whole import Whole, evaluate, variables
from accelsim.errors import NotANumberError

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

APPLY: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "neg": np.negative,
    "exp": np.exp,
    "subexp": lambda a, b: np.where(np.isneginf(a), 0.0, np.exp(a - b)),
    "relu": lambda x: np.maximum(x, 0.0),
    "abs": np.abs,
    "sqrt": np.sqrt,
    "square": np.square,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "where": lambda condition, a, b: np.where(condition != 0, a, b),
    "lt": lambda a, b: np.less(a, b).astype(np.float64),
    "le": lambda a, b: np.less_equal(a, b).astype(np.float64),
    "gt": lambda a, b: np.greater(a, b).astype(np.float64),
    "ge": lambda a, b: np.greater_equal(a, b).astype(np.float64),
    "eq": lambda a, b: np.equal(a, b).astype(np.float64),
    "ne": lambda a, b: np.not_equal(a, b).astype(np.float64),
}


class Grid:
    """Points: of each rank variable, as many coordinates as `shape` says, from `starts` on."""

    def __init__(
        self, variables: Sequence[str], starts: Sequence[int], shape: Sequence[int]
    ) -> None:
        self.variables = tuple(variables)
        self.starts = tuple(starts)
        self.shape = tuple(shape)

    def axis(self, variable: str) -> int:
        return self.variables.index(variable)

    def start(self, variable: str) -> int:
        return self.starts[self.axis(variable)]

    def count(self, variable: str) -> int:
        return self.shape[self.axis(variable)]

    def coordinates(self, variable: str) -> npt.NDArray[np.int64]:
        axis = self.axis(variable)
        shape = [1] * len(self.shape)
        shape[axis] = self.shape[axis]
        return np.arange(self.shape[axis]).reshape(shape) + self.starts[axis]


Read = Callable[[Access, Mask | None], Any]
"""Values of an access at every point of a grid; it must be defined where the mask is set."""
Product = Callable[[Mask | None], Array | None]
"""The reduced values of an Einsum in a faster way, or None where there is none."""


class Points:
    """The Einsums of a cascade at points. numbers: shapes of ranks and parameters."""

    def __init__(
        self, cascade: Cascade, numbers: Mapping[str, int], tables: Mapping[str, Any]
    ) -> None:
        self.cascade = cascade
        self.numbers = numbers
        self.tables = tables
        self.overflows = Overflows()
        self._rank_of = dict(cascade.variables)
        self._places: dict[tuple[str, ...], dict[str, Whole]] = {}
        self._spreads: dict[str, list[set[str]]] = {}

    def evaluated(
        self, einsum: Einsum, grid: Grid, read: Read, product: Product
    ) -> tuple[Array, Mask | None]:
        """Values, reduced, with an axis of 1 for what is reduced; where they are defined.

        None: everywhere. Raises NotANumberError: a NaN where it is defined.
        """
        holds = self._conditions(einsum, grid)
        inside = _all(holds)
        reduced = tuple(grid.axis(v) for v in reduced_variables(einsum))
        overflows: list[str] = []
        with np.errstate(over="call", call=lambda kind, _: overflows.append(kind)):
            values = product(inside)
            if values is None:
                full = np.broadcast_to(
                    self._expression(einsum.expression, grid, inside, read), grid.shape
                )
                if inside is not None and reduced:
                    full = np.where(inside, full, _identity(einsum))
                reducer = APPLY[einsum.reduce].reduce
                values = reducer(full, axis=reduced, keepdims=True) if reduced else full
        # A comparison of kept variables alone says where the output is defined; one with reduced
        # variables only thins the reduction, which may become empty: the operator's identity.
        left_out = set(reduced_variables(einsum))
        spreads = self._spreads.get(einsum.name, [])
        kept = _all([m for m, own in zip(holds, spreads, strict=True) if not own & left_out])
        defined: Mask | None = None
        if kept is not None:
            extents = [1 if axis in reduced else n for axis, n in enumerate(grid.shape)]
            defined = np.broadcast_to(kept, extents)
        found = values if defined is None else values[defined]
        # An overflow at points that are left out is none.
        if overflows and not np.isfinite(found).all():
            self.overflows.of_float64(einsum.name)
        if np.isnan(found).any():
            causes = "; ".join(self.overflows.infinite)
            raise NotANumberError(
                f"{einsum.name} is not a number at some point: {causes}"
                if causes
                else f"{einsum.name} is not a number at some point (0/0, or inf - inf); "
                "every row of a softmax needs a finite score"
            )
        return values, defined

    def _conditions(self, einsum: Einsum, grid: Grid) -> list[Mask]:
        """Where each of its comparisons holds."""
        if not einsum.predicate:
            return []
        if einsum.name not in self._spreads:
            self._spreads[einsum.name] = [self._spread(c, grid) for c in einsum.predicate]
        found = (np.asarray(self.whole(c, grid), np.bool_) for c in einsum.predicate)
        return [mask.reshape(mask.shape or (1,) * len(grid.shape)) for mask in found]

    def coordinate(self, index: At | Computed, grid: Grid) -> npt.NDArray[np.int64]:
        """Coordinates that an index comes to, at all points."""
        if isinstance(index, At):
            return grid.coordinates(index.variable) + index.offset
        return np.asarray(self.whole(index.whole, grid))

    def whole(self, whole: Whole, grid: Grid) -> Any:
        """A whole-number expression at all points."""
        used = variables(whole)
        at = {v: grid.coordinates(v) for v in used if v in grid.variables}
        for name in used:
            if name not in at:  # of a cut rank, all of whose parts are there
                place = self._whole_places(grid)[name]
                parts = {v: grid.coordinates(v) for v in variables(place)}
                at[name] = evaluate(place, parts, self.numbers)
        return evaluate(whole, at, self.numbers, self.tables)

    def _whole_places(self, grid: Grid) -> dict[str, Whole]:
        if grid.variables not in self._places:
            found = whole_coordinates(grid.variables, self._rank_of, self.cascade.partitions)
            self._places[grid.variables] = found
        return self._places[grid.variables]

    def _spread(self, whole: Whole, grid: Grid) -> set[str]:
        """Rank variables that an expression looks at; those of its parts for a cut rank."""
        used = set(variables(whole))
        for root, parts in self.cascade.partitions:
            if root.lower() in used - set(grid.variables):
                used |= {v for v in grid.variables if self.cascade.rank_of(v) in parts}
        return used

    def _expression(
        self, expression: Expression, grid: Grid, inside: Mask | None, read: Read
    ) -> Any:
        match expression:
            case Literal(value=value):
                return np.float64(value)
            case Value(whole=whole):
                return np.asarray(self.whole(whole, grid), np.float64)
            case Call("where", (choice, *arms)) if not any(accesses(choice)):
                # Coordinates alone choose: the arm that is not taken is not read.
                chosen = np.asarray(self._expression(choice, grid, None, read)) != 0
                chosen = chosen.reshape(chosen.shape or (1,) * len(grid.shape))
                first, second = (
                    self._expression(arm, grid, taken if inside is None else inside & taken, read)
                    for arm, taken in zip(arms, (chosen, ~chosen), strict=True)
                )
                return np.where(chosen, first, second)
            case Call(operator=operator, arguments=arguments):
                values = [self._expression(a, grid, inside, read) for a in arguments]
                return APPLY[operator](*values)
            case Access():
                return read(expression, inside)


def _all(masks: list[Mask]) -> Mask | None:
    """Where all hold; None when there are none."""
    return reduce(and_, masks) if masks else None


def _identity(einsum: Einsum) -> float:
    identity = OPERATORS[einsum.reduce].identity
    assert identity is not None  # a reduce operator has one
    return identity
