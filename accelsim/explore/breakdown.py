"""Which columns of a study are parts of one thing: of a unit's time, of traffic, of energy.

Names follow from the study's files alone, so that all points have the same columns; where a
point has no such part, the column is empty there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from accelsim.program import CAUSES
from accelsim.spec.mappings import MappingSpec
from accelsim.spec.records import ArchSpec

Breakdown = dict[str, dict[str, Any]]
WAYS = ("read", "write")


def of(pairs: Iterable[tuple[MappingSpec, ArchSpec]], outputs: Iterable[str]) -> Breakdown:
    """kind -> unit, level or part -> what it is divided into -> measure (measures.py).

    pairs: mappings, each with a machine that it may run on. outputs: of the cascades.
    """
    found: Breakdown = {"utilization": {}, "waits": {}, "traffic": {}, "energy": {}}
    made = dict.fromkeys(outputs)
    for mapping, arch in pairs:
        for unit in arch.units:
            of_unit = found["utilization"].setdefault(unit, {})
            for phase in mapping.phases.values():
                for einsum, bound in phase.einsums.items():
                    if bound.unit == unit:
                        of_unit[einsum] = f"utilization_{unit}_{einsum}"
            causes = {cause: f"wait_share_{unit}_{cause}" for cause in (*CAUSES, "tail")}
            found["waits"].setdefault(unit, {}).update(causes)
            found["energy"][unit] = f"energy_pj_{unit}"
            found["energy"][f"{unit}.registers"] = f"energy_pj_{unit}_registers"
        stored = {tensor: None for phase in mapping.phases.values() for tensor in phase.storage}
        for level in arch.levels:
            found["energy"][level] = f"energy_pj_{level}"
            of_level = found["traffic"].setdefault(level, {})
            for tensor in {**stored, **made}:
                ways = {way: f"traffic_bytes_{level}_{tensor}_{way}" for way in WAYS}
                of_level[tensor] = ways
    return found


def measures(breakdown: Breakdown) -> Iterator[str]:
    """The names of all measures in a breakdown, in order."""
    for value in breakdown.values():
        if isinstance(value, dict):
            yield from measures(value)
        else:
            yield value
