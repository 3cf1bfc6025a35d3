"""What is true of a cascade in a line: passes, and words and operations as formulas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from accelsim.analysis.counts import fold_parts, total_formulas
from accelsim.analysis.footprints import footprint_totals
from accelsim.analysis.formulas import Formula, Product, total
from accelsim.analysis.passes import passes
from accelsim.cascade.nodes import Cascade


@dataclass(frozen=True)
class Summary:
    """passes: over ranks that it passes over more than once (None: once per coordinate).

    live: words of all that is made, each rank at its least. read: every input that is used, once.
    written: every output. masked: whether some Einsum has a predicate, which formulas leave out.
    """

    passes: dict[str, int | None]
    live: Formula
    operations: dict[str, Formula]
    read: Formula
    written: Formula
    masked: bool


def summary(cascade: Cascade) -> Summary:
    """Formulas in rank shapes."""
    found = passes(cascade)
    live = footprint_totals(cascade, found)
    used = {access.tensor for einsum in cascade.einsums for access in einsum.inputs}

    def words(names: Iterable[str]) -> Formula:
        ranks = (list(cascade.tensor(name).ranks) for name in names)
        return total(Product(1, fold_parts(cascade, own)) for own in ranks)

    return Summary(
        passes={rank: n for rank, n in found.passes.items() if rank in cascade.ranks and n != 1},
        live=total(live[einsum.name] for einsum in cascade.einsums),
        operations=total_formulas(cascade),
        read=words(name for name in cascade.inputs if name in used),
        written=words(cascade.outputs),
        masked=any(einsum.predicate for einsum in cascade.einsums),
    )
