"""Everything that is true of a cascade for every mapping, as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from accelsim.analysis.bounds import Intensity, intensity
from accelsim.analysis.counts import operation_counts, shape_of, total_counts, total_formulas
from accelsim.analysis.footprints import alternatives, footprint_totals, footprints
from accelsim.analysis.formulas import evaluate_known
from accelsim.analysis.passes import PassAnalysis, passes
from accelsim.cascade.nodes import Cascade

UNBOUNDED = "one per coordinate"


@dataclass(frozen=True)
class Analysis:
    """passes: see passes.py; footprints, footprint_totals, alternatives: footprints.py; op_counts:
    counts.py, by Einsum. totals: operation -> formula. counted: operation -> number, where shapes
    tell all of it. footprint_bytes: of footprint_totals, where shapes tell. intensity: operations
    per compulsory byte, where shapes and word size tell.
    """

    cascade: Cascade
    passes: PassAnalysis
    footprints: dict[str, dict[str, str]]
    footprint_totals: dict[str, str]
    footprint_bytes: dict[str, int]
    alternatives: list[dict[str, Any]]
    op_counts: dict[str, dict[str, dict[str, object]]]
    totals: dict[str, str]
    counted: dict[str, int]
    intensity: Intensity | None

    def as_json(self) -> dict[str, Any]:
        """Plain values, in a fixed order."""
        out: dict[str, Any] = {
            "cascade": self.cascade.name,
            "source": self.cascade.source,
            "passes": _shown(self.passes.passes),
            "sweeps": _shown(self.passes.sweeps),
            "passes_by_tensor": {t: _shown(row) for t, row in self.passes.by_tensor.items()},
            "pass_of": self.passes.pass_of,
            "op_counts": {
                "total": self.totals,
                "count": self.counted,
                "by_einsum": self.op_counts,
            },
            "footprints": self.footprints,
            "footprint_totals": self.footprint_totals,
            **({"footprint_bytes": self.footprint_bytes} if self.footprint_bytes else {}),
            "alternatives": self.alternatives,
        }
        if self.intensity is not None:
            out["intensity"] = {
                "operations": self.intensity.operations,
                "compulsory_bytes": float(self.intensity.compulsory_bytes),
                "operations_per_byte": float(self.intensity.operations_per_byte),
            }
        return out


def analyze(
    cascade: Cascade,
    shapes: Mapping[str, int] | None = None,
    *,
    word_bytes: Fraction | int | None = None,
    tables: Mapping[str, Any] | None = None,
) -> Analysis:
    """Passes, live footprints and operation counts; numbers too where shapes are given.

    word_bytes: size of one value, for bytes beside words. tables: those that predicates read.
    """
    found = passes(cascade)
    counted = total_counts(cascade, shapes, tables) if shapes is not None else {}
    totals = {name: str(formula) for name, formula in total_formulas(cascade).items()}
    per_byte = None
    if shapes is not None and word_bytes is not None and set(counted) == set(totals):
        per_byte = intensity(cascade, shapes, Fraction(word_bytes), tables)
    live = footprint_totals(cascade, found)
    held = {}
    if shapes is not None and word_bytes is not None:
        for name, formula in live.items():
            words = evaluate_known(formula, lambda rank: shape_of(cascade, rank, shapes))
            if words is not None:
                held[name] = ceil(words * word_bytes)
    return Analysis(
        cascade=cascade,
        passes=found,
        footprints=footprints(cascade, found),
        footprint_totals={n: str(words) for n, words in live.items()},
        footprint_bytes=held,
        alternatives=alternatives(cascade, found, shapes, word_bytes),
        op_counts=operation_counts(cascade, shapes, tables),
        totals=totals,
        counted=counted,
        intensity=per_byte,
    )


def _shown(counts: Mapping[str, int | None]) -> dict[str, int | str]:
    return {rank: UNBOUNDED if n is None else n for rank, n in counts.items()}
