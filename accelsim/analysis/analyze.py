"""Everything that is true of a cascade for every mapping, as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.analysis.counts import operation_counts
from accelsim.analysis.footprints import alternatives, footprints
from accelsim.analysis.passes import PassAnalysis, passes
from accelsim.cascade.nodes import Cascade

UNBOUNDED = "one per coordinate"


@dataclass(frozen=True)
class Analysis:
    """passes: see passes.py; footprints, alternatives: footprints.py; counts: counts.py."""

    cascade: Cascade
    passes: PassAnalysis
    footprints: dict[str, dict[str, str]]
    alternatives: list[dict[str, Any]]
    op_counts: dict[str, dict[str, dict[str, object]]]

    def as_json(self) -> dict[str, Any]:
        """Plain values, in a fixed order."""
        totals: dict[str, list[str]] = {}
        counted: dict[str, int] = {}
        for row in self.op_counts.values():
            for operation, entry in row.items():
                totals.setdefault(operation, []).append(str(entry["formula"]))
                if "count" in entry:
                    counted[operation] = counted.get(operation, 0) + int(str(entry["count"]))
        return {
            "cascade": self.cascade.name,
            "source": self.cascade.source,
            "passes": _shown(self.passes.passes),
            "sweeps": _shown(self.passes.sweeps),
            "passes_by_tensor": {t: _shown(row) for t, row in self.passes.by_tensor.items()},
            "pass_of": self.passes.pass_of,
            "op_counts": {
                "total": {op: " + ".join(terms) for op, terms in sorted(totals.items())},
                "count": dict(sorted(counted.items())),
                "by_einsum": self.op_counts,
            },
            "footprints": self.footprints,
            "alternatives": self.alternatives,
        }


def analyze(cascade: Cascade, shapes: Mapping[str, int] | None = None) -> Analysis:
    """Passes, live footprints and operation counts; numbers too where shapes are given."""
    found = passes(cascade)
    return Analysis(
        cascade=cascade,
        passes=found,
        footprints=footprints(cascade, found),
        alternatives=alternatives(cascade, found),
        op_counts=operation_counts(cascade, shapes),
    )


def _shown(counts: Mapping[str, int | None]) -> dict[str, int | str]:
    return {rank: UNBOUNDED if n is None else n for rank, n in counts.items()}
