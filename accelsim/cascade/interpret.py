"""The meaning of a cascade: whole tensors, float64, NumPy.

An Einsum is evaluated over its whole iteration space at once, one array axis per rank variable.
Einsums that need each other along an iterative rank run coordinate by coordinate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from accelsim.cascade.edges import bounded, uncut_ranks
from accelsim.cascade.given import check_tables, settle_parameters
from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Cascade,
    Computed,
    Coordinate,
    Einsum,
    End,
    iteration_variables,
    reduced_variables,
    wholes,
)
from accelsim.cascade.points import Array, Grid, Mask, Points
from accelsim.cascade.whole import names
from accelsim.errors import AccelsimError, Fault, nearest


@dataclass
class _Filled:
    """A tensor while it is being filled: values, and which points are defined."""

    values: Array
    defined: Mask


def interpret(
    cascade: Cascade,
    inputs: Mapping[str, npt.ArrayLike],
    shapes: Mapping[str, int] | None = None,
    *,
    parameters: Mapping[str, int] | None = None,
    tables: Mapping[str, npt.ArrayLike] | None = None,
    keep_all: bool = False,
) -> dict[str, Array]:
    """Values of the outputs (of every tensor with keep_all), float64.

    inputs: one array per input tensor, an axis per declared rank; a cut rank may come whole
    (K as [B, H, E, M] for [B, H, E, M1, M0]) when `shapes` or another input tells the size of its
    parts. It may end inside of its last tile: points beyond the end are left out. A tensor of an
    iterative rank R comes out with R + 1 coordinates there; a point that is not defined is NaN.
    parameters: those without a default, and others that differ. tables: whole numbers, an axis
    per rank.

    Raises AccelsimError: an input missing, unknown, of the wrong shape or not finite (a row whose
    logits are all -inf has no softmax; leave points out by a predicate); a point read that is not
    defined; a NaN; a parameter or table that is missing or unknown.
    """
    run = _Run(cascade, inputs, dict(shapes or {}), parameters or {}, tables or {})
    with np.errstate(all="ignore"):
        run.all()
    names = [t.name for t in cascade.tensors] if keep_all else cascade.outputs
    return {name: run.tensors[name].values for name in names}


class _Run:
    def __init__(
        self,
        cascade: Cascade,
        inputs: Mapping[str, npt.ArrayLike],
        shapes: dict[str, int],
        parameters: Mapping[str, int],
        tables: Mapping[str, npt.ArrayLike],
    ) -> None:
        self.cascade = cascade
        self.shapes = shapes
        self.numbers = settle_parameters(cascade, parameters)
        self.tables = check_tables(cascade, tables)
        self.tensors: dict[str, _Filled] = {}
        self.rank_of = dict(cascade.variables)
        self.recurs = {
            einsum.name: rank
            for einsum in cascade.einsums
            if cascade.tensor(einsum.name).initial is not None
            for rank in [_iterative_rank(cascade, einsum)]
        }
        self._load(inputs)
        self.points = Points(cascade, self.numbers, self.tables)

    # Inputs and shapes ------------------------------------------------------------------------

    def _load(self, inputs: Mapping[str, npt.ArrayLike]) -> None:
        for name in inputs:
            if name not in self.cascade.inputs:
                help = nearest(name, self.cascade.inputs)
                raise AccelsimError(Fault(f"{name} is no input of {self.cascade.name}", help=help))
        missing = [name for name in self.cascade.inputs if name not in inputs]
        if missing:
            raise AccelsimError(f"{self.cascade.name}: input {', '.join(missing)} is missing")
        arrays = {name: np.asarray(inputs[name], np.float64) for name in self.cascade.inputs}
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
                raise AccelsimError(
                    f"input {name} is not finite at {at}; a row whose scores are all -inf has no "
                    "softmax: leave points out with a predicate instead"
                )
            self._learn(name, array)
        for table in self.cascade.tables:
            for rank, extent in zip(table.ranks, self.tables[table.name].shape, strict=True):
                if self.shapes.setdefault(rank, extent) != extent:
                    message = f"table {table.name} has shape {extent} in rank {rank}"
                    raise AccelsimError(f"{message}; {self.shapes[rank]} before")
        padded = self._complete()
        self.cascade = bounded(self.cascade, self.shapes, padded)
        self.numbers |= self.shapes
        for name, array in arrays.items():
            ranks = self.cascade.tensor(name).ranks
            if array.ndim < len(ranks):
                whole = uncut_ranks(self.cascade, name)
                grown = [padded.get(rank, self.shapes[rank]) for rank in whole]
                array = np.pad(array, [(0, n - m) for n, m in zip(grown, array.shape, strict=True)])
            values = array.reshape([self.shapes[rank] for rank in ranks])
            self.tensors[name] = _Filled(values, np.ones(values.shape, np.bool_))

    def _learn(self, name: str, array: Array) -> None:
        """Shapes of the ranks of one input; its axes are its ranks, or its roots uncut."""
        ranks = self.cascade.tensor(name).ranks
        for candidate in (ranks, uncut_ranks(self.cascade, name)):
            if array.ndim == len(candidate):
                for rank, extent in zip(candidate, array.shape, strict=True):
                    known = self.shapes.setdefault(rank, extent)
                    if known != extent:
                        message = f"input {name} has shape {extent} in rank {rank}; {known} before"
                        raise AccelsimError(message)
                return
        shown = ", ".join(ranks)
        raise AccelsimError(f"input {name} has {array.ndim} axes; expected its ranks {shown}")

    def _complete(self) -> dict[str, int]:
        """Shapes of cut ranks from their parts, and of one part from the rank and the others.

        Returns the coordinates of all tiles of cut ranks: the last tile may go beyond the end.
        """
        padded: dict[str, int] = {}
        for root, parts in self.cascade.partitions:
            open_ = [part for part in parts if part not in self.shapes]
            rest = prod(self.shapes[part] for part in parts if part not in open_)
            if not open_:
                padded[root] = rest
                extent = self.shapes.setdefault(root, rest)
                if not rest - rest // max(self.shapes[parts[0]], 1) < extent <= rest:
                    shown = " x ".join(f"{p} {self.shapes[p]}" for p in parts)
                    raise AccelsimError(f"{root} has shape {self.shapes[root]}, but {shown}")
            elif root in self.shapes and len(open_) == 1 and rest > 0:
                if self.shapes[root] % rest and open_[0] != parts[0]:
                    message = f"{root} of shape {self.shapes[root]} cannot be cut by {rest}"
                    raise AccelsimError(message)
                self.shapes[open_[0]] = -(-self.shapes[root] // rest)
                padded[root] = self.shapes[open_[0]] * rest
            elif root in self.shapes:
                raise AccelsimError(
                    f"give the shape of {' or '.join(open_[:-1])} (parts of {root})"
                )
        needed = {rank for tensor in self.cascade.tensors for rank in tensor.ranks}
        ranks = {p for root in self.cascade.ranks for p in (root, *self.cascade.parts(root))}
        said = {n for e in self.cascade.einsums for whole in wholes(e) for n in names(whole)}
        needed |= said & ranks  # a shape in a formula
        empty = sorted(rank for rank, extent in self.shapes.items() if extent < 1)
        if empty:
            message = f"{empty[0]} has shape {self.shapes[empty[0]]}; expected at least 1"
            raise AccelsimError(message)
        missing = sorted(needed - set(self.shapes))
        if missing:
            raise AccelsimError(f"no input tells the shape of {', '.join(missing)}")
        return padded

    # Einsums ----------------------------------------------------------------------------------

    def all(self) -> None:
        for einsum in self.cascade.einsums:
            self._allocate(einsum)
        graph = nx.DiGraph()
        order = {einsum.name: i for i, einsum in enumerate(self.cascade.einsums)}
        graph.add_nodes_from(order)
        for einsum in self.cascade.einsums:
            for access in einsum.inputs:
                if access.tensor in order:
                    graph.add_edge(access.tensor, einsum.name)
        groups = nx.condensation(graph)
        for node in nx.lexicographical_topological_sort(
            groups, key=lambda n: min(order[name] for name in groups.nodes[n]["members"])
        ):
            names = sorted(groups.nodes[node]["members"], key=order.__getitem__)
            einsums = [self.cascade.einsum(name) for name in names]
            if len(names) == 1 and not graph.has_edge(names[0], names[0]):
                self._evaluate(einsums[0], {})
            else:
                self._recur(einsums)

    def _allocate(self, einsum: Einsum) -> None:
        tensor = self.cascade.tensor(einsum.name)
        extents = [self.shapes[rank] for rank in tensor.ranks]
        recurs = self.recurs.get(tensor.name)
        if recurs is not None:
            extents[tensor.ranks.index(recurs)] += 1
        value = _Filled(np.full(extents, np.nan), np.zeros(extents, np.bool_))
        if recurs is not None:
            axis = tensor.ranks.index(recurs)
            at = [slice(None)] * len(extents)
            at[axis] = slice(0, 1) if _ascends(einsum, axis) else slice(-1, None)
            value.values[tuple(at)] = tensor.initial
            value.defined[tuple(at)] = True
        self.tensors[tensor.name] = value

    def _recur(self, einsums: list[Einsum]) -> None:
        """Einsums that need each other, one coordinate of their iterative rank after another."""
        leader = next(e for e in einsums if e.name in self.recurs)
        rank = self.recurs[leader.name]
        ascends = _ascends(leader, self.cascade.tensor(leader.name).ranks.index(rank))
        coordinates = range(self.shapes[rank])
        for coordinate in coordinates if ascends else reversed(coordinates):
            for einsum in einsums:
                fixed = {
                    index.variable: coordinate
                    for index in einsum.output.indices
                    if isinstance(index, At) and self.rank_of[index.variable] == rank
                }
                self._evaluate(einsum, fixed)

    def _evaluate(self, einsum: Einsum, fixed: dict[str, int]) -> None:
        """One Einsum, with some rank variables held at one coordinate."""
        try:
            self._fill(einsum, fixed)
        except AccelsimError as error:
            raise error.at(einsum.position) from None

    def _fill(self, einsum: Einsum, fixed: dict[str, int]) -> None:
        over = iteration_variables(einsum)
        starts = [fixed.get(v, 0) for v in over]
        grid = Grid(over, starts, [1 if v in fixed else self.shapes[self.rank_of[v]] for v in over])
        values, defined = self.points.evaluated(
            einsum,
            grid,
            lambda access, inside: self._read(einsum, access, grid, inside),
            lambda inside: None if inside is not None else self._product(einsum, grid, fixed),
        )
        self._write(einsum, grid, values, defined)

    def _product(self, einsum: Einsum, grid: Grid, fixed: dict[str, int]) -> Array | None:
        """A sum over a product of tensors through np.einsum; None when it is not one."""
        match einsum.expression:
            case Call("mul", (Access() as left, Access() as right)) if einsum.reduce == "add":
                pass
            case _:
                return None
        if not reduced_variables(einsum):
            return None
        letters = {v: chr(ord("a") + i) for i, v in enumerate(grid.variables)}
        operands, subscripts = [], []
        for access in (left, right):
            value = self.tensors[access.tensor]
            simple = all(
                isinstance(i, At) and i.offset == 0 and i.variable not in fixed
                for i in access.indices
            )
            names = [i.variable for i in access.indices if isinstance(i, At)]
            if not simple or len(set(names)) < len(names) or not value.defined.all():
                return None
            if access.tensor in self.recurs:
                return None
            operands.append(value.values)
            subscripts.append("".join(letters[v] for v in names))
        kept = [v for v in grid.variables if v not in reduced_variables(einsum)]
        target = "".join(letters[v] for v in kept)
        if not set(target) <= set("".join(subscripts)):
            return None  # one value for all coordinates of a rank: np.einsum cannot
        out = np.einsum(f"{','.join(subscripts)}->{target}", *operands, optimize=True)
        extents = [
            1 if v not in kept else e for v, e in zip(grid.variables, grid.shape, strict=True)
        ]
        return np.asarray(out).reshape(extents)

    def _read(self, einsum: Einsum, access: Access, grid: Grid, inside: Mask | None) -> Array:
        """Values at every point of the grid; a point inside must be defined there."""
        value = self.tensors[access.tensor]
        tensor = self.cascade.tensor(access.tensor)
        at: list[Any] = []
        bad: Any = np.zeros((1,) * len(grid.shape), np.bool_)
        for index, rank, extent in zip(
            access.indices, tensor.ranks, value.values.shape, strict=True
        ):
            match index:
                case At() | Computed():
                    coordinate = self.points.coordinate(index, grid)
                    bad = bad | (coordinate < 0) | (coordinate >= extent)
                    at.append(np.clip(coordinate, 0, extent - 1))
                case End():
                    at.append(np.int64(self.shapes[rank]))
                case Coordinate(value=place):
                    if place >= extent:
                        raise AccelsimError(
                            f"{einsum.name} reads {access.tensor} at {rank} = {place}; "
                            f"{rank} has shape {extent}"
                        )
                    at.append(np.int64(place))
        if not at:
            return value.values
        bad = bad | ~value.defined[tuple(at)]
        if inside is not None:
            bad = bad & inside
        if bad.any():
            point = np.argwhere(np.broadcast_to(bad, grid.shape))[0]
            shown = ", ".join(
                f"{v} = {start + int(i)}"
                for v, start, i in zip(grid.variables, grid.starts, point, strict=True)
            )
            raise AccelsimError(
                f"{einsum.name} reads {access.tensor} where it is not defined, at {shown}"
            )
        return np.asarray(value.values[tuple(at)])

    def _write(self, einsum: Einsum, grid: Grid, values: Array, defined: Mask | None) -> None:
        out = self.tensors[einsum.name]
        axes = []
        at: list[Any] = []
        for index in einsum.output.indices:
            assert isinstance(index, At)  # build: outputs are indexed by variables
            axes.append(grid.axis(index.variable))
            start = grid.start(index.variable) + index.offset
            at.append(slice(start, start + grid.count(index.variable)))
        rest = [axis for axis in range(len(grid.shape)) if axis not in axes]
        order = (*axes, *rest)

        def arranged(array: Any) -> Any:
            moved = np.transpose(array, order)
            return moved.reshape(moved.shape[: len(axes)])

        if defined is not None:
            values = np.where(defined, values, np.nan)
        out.values[tuple(at)] = arranged(values)
        out.defined[tuple(at)] = True if defined is None else arranged(defined)


def _iterative_rank(cascade: Cascade, einsum: Einsum) -> str:
    """The rank along which a tensor with an initial value recurs."""
    tensor = cascade.tensor(einsum.name)
    for axis, (rank, index) in enumerate(zip(tensor.ranks, einsum.output.indices, strict=True)):
        ascends = isinstance(index, At) and index.offset == 1
        reads_above = any(
            isinstance(access.indices[axis], At) and access.indices[axis].offset == 1  # type: ignore[union-attr]
            for other in cascade.einsums
            for access in other.inputs
            if access.tensor == tensor.name
        )
        if rank in cascade.iterative and (ascends or reads_above):
            return rank
    raise AssertionError("build: a tensor with an initial value recurs")


def _ascends(einsum: Einsum, axis: int) -> bool:
    index = einsum.output.indices[axis]
    return isinstance(index, At) and index.offset == 1
