"""A mapping file held against sizes of our own, as no workload is given."""

from __future__ import annotations

import dataclasses

import numpy as np

from accelsim import analysis, arch, cascade, mapping
from accelsim.cascade.whole import tables as tables_of
from accelsim.errors import AccelsimError
from accelsim.program.clusters import check_launched
from accelsim.program.lower import lower
from accelsim.spec import Document
from accelsim.spec.mappings import MappingSpec

PROBES, WIDTH, FEW, MOST = (1024, 65536), 64, 8, 1 << 31


def check_on_sizes(
    document: Document[MappingSpec], built: cascade.Cascade, machine: arch.Machine
) -> None:
    """Map on some sizes, as no workload is given. Raises what is wrong with the first of them."""
    errors: list[AccelsimError] = []
    cut = {rank for phase in document.spec.phases.values() for rank in phase.partition}
    cut |= {rank for phase in document.spec.phases.values() for rank in phase.loops}
    whole = {rank for rank in built.ranks if rank not in {*document.spec.partition, *cut}}
    whole |= {"E", "F"} & {*built.ranks}
    # What tables tell is looked up coordinate by coordinate: a few of them show as much.
    axes = {rank for table in built.tables for rank in table.ranks}
    whole |= axes & {*built.ranks} - {*document.spec.partition}
    indexing = analysis.indexing_tables(built)
    # Predicates that look tables up are counted point by point.
    compared = {
        name for einsum in built.einsums for whole in einsum.predicate for name in tables_of(whole)
    }
    looked_up = {rank for table in built.tables if table.name in compared for rank in table.ranks}
    looked_up &= set(built.ranks)
    for size in PROBES:
        shapes = dict.fromkeys(built.ranks, size) | dict.fromkeys(whole, WIDTH)
        shapes |= dict.fromkeys(looked_up, FEW)
        shapes = cascade.with_parameters(built, shapes, missing=size // 4)
        # Entries that predicates compare with let everything be; those of indices are in range.
        tables = {
            t.name: np.broadcast_to(
                np.int64(0 if t.name in indexing else MOST),
                [shapes.get(rank, size) for rank in t.ranks],
            )
            for t in built.tables
        }
        try:
            mapped = mapping.build(document, built, machine, shapes, tables)
            check_launched(mapped)
            lower(mapped)
        except AccelsimError as error:
            errors.append(error)
        else:
            return
    if len({str(error) for error in errors}) == 1:
        raise errors[0]
    # It depends on the sizes: say which were tried.
    said = f"so with {PROBES[0]:,} coordinates in every rank, {WIDTH} in those that stay whole"
    said += " or that tables have" if axes else ""
    said += f"; with {PROBES[1]:,}: {errors[1].faults[0].message}"
    faults = errors[0].faults
    raise type(errors[0])([dataclasses.replace(f, help=(*f.help, said)) for f in faults])
