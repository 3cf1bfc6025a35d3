"""What a cascade asks of the tables that a workload gives: their shapes, and entries in range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.analysis.counts import index_values, shape_of
from accelsim.cascade.nodes import Cascade, Computed, Einsum, wholes
from accelsim.cascade.whole import Lookup, Whole, show_whole, tables, walk
from accelsim.errors import AccelsimError, Fault

Tables = Mapping[str, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class WrongTable:
    """entry: indices of the entry that is wrong, none for the table itself."""

    table: str
    entry: tuple[int, ...]
    message: str


def wrong_tables(
    cascade: Cascade, given: Tables, shapes: Mapping[str, int]
) -> Iterator[WrongTable]:
    """Tables of another shape than their ranks', and entries outside of the rank they index.

    Tables of other cascades, and ranks of unknown shape, are passed over. An entry that its
    Einsum's predicate looks at may be outside: the predicate can leave it out.
    """
    for table in cascade.tables:
        array = given.get(table.name)
        if array is None:
            continue
        ranks = ", ".join(table.ranks)
        if array.ndim != len(table.ranks):
            axes = "1 axis" if array.ndim == 1 else f"{array.ndim} axes"
            message = f"expected axes {ranks} in {cascade.name}, got {axes}"
            yield WrongTable(table.name, (), f"{table.name}: {message}")
            continue
        extents = [shape_of(cascade, rank, shapes) for rank in table.ranks]
        wrong = [
            f"{rank} has shape {extent}, the table {size}"
            for rank, extent, size in zip(table.ranks, extents, array.shape, strict=True)
            if extent not in {None, size}
        ]
        if wrong:
            yield WrongTable(table.name, (), f"{table.name}: {'; '.join(wrong)}")
            continue
        for rank in _indexed(cascade, table.name):
            extent = shape_of(cascade, rank, shapes)
            outside = np.argwhere((array < 0) | (array >= (extent or 0)))
            if extent is not None and len(outside):
                entry = tuple(int(i) for i in outside[0])
                message = f"{array[entry]} is no coordinate of {rank}, which has shape {extent}"
                yield WrongTable(table.name, entry, f"{table.name}: {message}")
                break


def wrong_indices(cascade: Cascade, given: Tables, shapes: Mapping[str, int]) -> Iterator[Fault]:
    """Computed indices that go outside of the rank that they index, as far as shapes tell.

    A predicate can leave such points out: its Einsum is passed over. Raises AccelsimError: an index
    that cannot be computed.
    """
    for einsum in cascade.einsums:
        for access in () if einsum.predicate else einsum.inputs:
            ranks = cascade.tensor(access.tensor).ranks
            for rank, index in zip(ranks, access.indices, strict=True):
                if not isinstance(index, Computed) or shape_of(cascade, rank, shapes) is None:
                    continue
                try:
                    found = index_values(cascade, index.whole, shapes, given)
                except AccelsimError as error:
                    raise error.at(einsum.position) from None
                if found is None:
                    continue
                extent = int(shape_of(cascade, rank, shapes) or 0)
                outside = found[(found < 0) | (found >= extent)]
                if len(outside):
                    what = f"{einsum.name} reads {access.tensor} at {show_whole(index.whole)}"
                    message = f"{what} = {int(outside[0])}, outside of {rank} = {extent}"
                    yield Fault(message, position=access.position or einsum.position)


def indexing_tables(cascade: Cascade) -> set[str]:
    """Tables of which some entry is a coordinate."""
    return {
        name
        for einsum in cascade.einsums
        for access in (einsum.output, *einsum.inputs)
        for index in access.indices
        if isinstance(index, Computed)
        for name in tables(index.whole)
    }


def _indexed(cascade: Cascade, table: str) -> Iterator[str]:
    """Ranks of which entries of a table are coordinates."""
    for einsum in cascade.einsums:
        if any(table in tables(condition) for condition in einsum.predicate):
            continue
        for access in (einsum.output, *einsum.inputs):
            for index, rank in zip(
                access.indices, cascade.tensor(access.tensor).ranks, strict=True
            ):
                if isinstance(index, Computed) and _reads(index.whole, table):
                    yield rank
        yield from _inside(cascade, einsum, table)


def _inside(cascade: Cascade, einsum: Einsum, table: str) -> Iterator[str]:
    """Ranks of other tables that it indexes."""
    ranks = {other.name: other.ranks for other in cascade.tables}
    for whole in wholes(einsum):
        for part in walk(whole):
            if isinstance(part, Lookup):
                for index, rank in zip(part.indices, ranks[part.table], strict=True):
                    if _reads(index, table):
                        yield rank


def _reads(whole: Whole, table: str) -> bool:
    return isinstance(whole, Lookup) and whole.table == table
