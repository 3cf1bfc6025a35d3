"""What no mapping can beat on a machine: bytes that must cross, cycles that work must take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import prod

from accelsim.analysis.counts import fold_parts, point_operations, point_ranks, points
from accelsim.cascade.nodes import Cascade
from accelsim.errors import AccelsimError


@dataclass(frozen=True)
class MachineRates:
    """What of a machine bounds depend on.

    units: name -> (processing elements, operation -> cycles on one of them).
    """

    word_bytes: Fraction
    dram_bytes_per_cycle: Fraction
    units: Mapping[str, tuple[int, Mapping[str, Fraction]]]


@dataclass(frozen=True)
class Bounds:
    """traffic_bytes: inputs read once, outputs written once. Cycles exactly; `by` says which."""

    traffic_bytes: Fraction
    traffic_cycles: Fraction
    compute_cycles: Fraction
    compute_units: tuple[str, ...]

    @property
    def cycles(self) -> Fraction:
        return max(self.traffic_cycles, self.compute_cycles)

    @property
    def by(self) -> str:
        if self.traffic_cycles >= self.compute_cycles:
            return "traffic to and from memory"
        return "operations on " + " and ".join(self.compute_units)

    def as_json(self) -> dict[str, object]:
        return {
            "cycles": float(self.cycles),
            "by": self.by,
            "compute_cycles": float(self.compute_cycles),
            "traffic_cycles": float(self.traffic_cycles),
            "traffic_bytes": int(self.traffic_bytes),
        }


def bounds(cascade: Cascade, shapes: Mapping[str, int], rates: MachineRates) -> Bounds:
    """Lower bounds for every mapping. Raises AccelsimError when no unit can do an operation.

    Traffic: compulsory only, as recomputation may replace everything else. Compute: for every set
    of units, the operations that only these can do, each at its fewest element-cycles, spread
    evenly over their elements. A part of a rank whose size a mapping chooses counts as one.
    """
    words = 0
    for name in (*cascade.inputs, *cascade.outputs):
        ranks = fold_parts(cascade, list(cascade.tensor(name).ranks))
        words += prod(shapes.get(rank, 1) for rank in ranks)
    work: dict[frozenset[str], Fraction] = {}
    for einsum in cascade.einsums:
        count = points(cascade, einsum, shapes)
        if count is None:
            count = prod(shapes.get(rank, 1) for rank in point_ranks(cascade, einsum))
        for operation, times in point_operations(einsum).items():
            able = frozenset(unit for unit, (_, ops) in rates.units.items() if operation in ops)
            if not able:
                raise AccelsimError(f"no unit can do {operation}, which {einsum.name} needs")
            fewest = min(rates.units[unit][1][operation] for unit in able)
            work[able] = work.get(able, Fraction(0)) + count * times * fewest
    best = Fraction(0)
    who: tuple[str, ...] = ()
    names = sorted(rates.units)
    for size in range(1, len(names) + 1):
        for group in combinations(names, size):
            inside = sum((w for able, w in work.items() if able <= set(group)), Fraction(0))
            cycles = inside / sum(rates.units[unit][0] for unit in group)
            if cycles > best:
                best, who = cycles, group
    moved = words * rates.word_bytes
    return Bounds(moved, moved / rates.dram_bytes_per_cycle, best, who)
