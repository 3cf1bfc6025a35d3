"""What no mapping can beat on a machine: bytes that must cross, cycles that work must take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import prod
from typing import Any

from accelsim.analysis.counts import (
    fold_parts,
    point_operations,
    point_ranks,
    points,
    total_counts,
    touched,
)
from accelsim.analysis.footprints import live
from accelsim.analysis.passes import passes
from accelsim.cascade.nodes import Access, At, Cascade, Einsum
from accelsim.errors import AccelsimError
from accelsim.traced import as_float, whole


@dataclass(frozen=True)
class MachineRates:
    """What of a machine bounds depend on.

    units: name -> (processing elements, operation -> cycles on one of them). cache_bytes: what may
    stay on chip when a run is over; and was there before it began, where it is warm.
    """

    word_bytes: Fraction
    dram_bytes_per_cycle: Fraction
    units: Mapping[str, tuple[int, Mapping[str, Fraction]]]
    cache_bytes: int = 0
    warm: bool = False


@dataclass(frozen=True)
class Bounds:
    """traffic_bytes: inputs read once, outputs written once. traffic_cycles: of what of that cannot
    be in a cache before or after. Cycles exactly; `by` says which."""

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
            "cycles": as_float(self.cycles),
            "by": self.by,
            "compute_cycles": as_float(self.compute_cycles),
            "traffic_cycles": as_float(self.traffic_cycles),
            "traffic_bytes": whole(self.traffic_bytes),
        }


def bounds(
    cascade: Cascade,
    shapes: Mapping[str, int],
    rates: MachineRates,
    tables: Mapping[str, Any] | None = None,
    formats: Mapping[str, Fraction] | None = None,
) -> Bounds:
    """Lower bounds for every mapping. Raises AccelsimError when no unit can do an operation.

    formats: bytes of a value of a tensor, where it is not the machine's word.

    Traffic: compulsory only, as recomputation may replace everything else. Compute: for every set
    of units, the operations that only these can do, each at its fewest element-cycles, spread
    evenly over their elements. A part of a rank whose size a mapping chooses counts as one.
    """
    words = _compulsory(cascade, shapes, tables)
    work: dict[frozenset[str], Fraction] = {}
    for einsum in cascade.einsums:
        count = points(cascade, einsum, shapes, tables)
        if count is None:
            count = _at_least(einsum, point_ranks(cascade, einsum), shapes)
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
    each = formats or {}
    sizes = {t: n * each.get(t, rates.word_bytes) for t, n in words.items()}
    read = sum((n for t, n in sizes.items() if t in cascade.inputs), Fraction(0))
    written = sum(sizes.values(), Fraction(0)) - read
    outside = max(Fraction(0), written - rates.cache_bytes)
    outside += max(Fraction(0), read - rates.cache_bytes) if rates.warm else read
    return Bounds(read + written, outside / rates.dram_bytes_per_cycle, best, who)


def compulsory_words(
    cascade: Cascade, shapes: Mapping[str, int], tables: Mapping[str, Any] | None = None
) -> int:
    """Words that every mapping moves: inputs that are used read once, outputs written once."""
    return sum(_compulsory(cascade, shapes, tables).values())


def _compulsory(
    cascade: Cascade, shapes: Mapping[str, int], tables: Mapping[str, Any] | None
) -> dict[str, int]:
    """The same, of each input and output."""
    read = {
        name: max(
            (
                _touched(cascade, einsum, access, shapes, tables)
                for einsum in cascade.einsums
                for access in einsum.inputs
                if access.tensor == name
            ),
            default=0,
        )
        for name in cascade.inputs
    }
    written = {
        einsum.name: _touched(cascade, einsum, einsum.output, shapes, tables)
        for einsum in cascade.einsums
        if einsum.name in cascade.outputs
    }
    return read | written


def _touched(
    cascade: Cascade,
    einsum: Einsum,
    access: Access,
    shapes: Mapping[str, int],
    tables: Mapping[str, Any] | None,
) -> int:
    known = touched(cascade, einsum, access, shapes, tables)
    if known is not None:
        return known
    over = dict.fromkeys(i.variable for i in access.indices if isinstance(i, At))
    ranks = fold_parts(cascade, [cascade.rank_of(v) for v in over])
    return _at_least(einsum, ranks, shapes)


def _at_least(einsum: Einsum, ranks: tuple[str, ...], shapes: Mapping[str, int]) -> int:
    """Points over ranks when the size of a part is the mapping's choice: as if it were one.

    A predicate on such a part may leave no point.
    """
    return 0 if einsum.predicate else prod(shapes.get(rank, 1) for rank in ranks)


@dataclass(frozen=True)
class Intensity:
    """Operations (a `mac` is one) for each byte that every mapping moves."""

    operations: int
    compulsory_bytes: Fraction

    @property
    def operations_per_byte(self) -> Fraction:
        return Fraction(self.operations) / self.compulsory_bytes


def intensity(
    cascade: Cascade,
    shapes: Mapping[str, int],
    word_bytes: Fraction,
    tables: Mapping[str, Any] | None = None,
) -> Intensity:
    """Arithmetic intensity. Raises AccelsimError when shapes leave an operation uncounted."""
    counted = total_counts(cascade, shapes, tables)
    missing = {op for e in cascade.einsums for op in point_operations(e)} - set(counted)
    if missing:
        raise AccelsimError(f"the shapes given do not tell how many {', '.join(sorted(missing))}")
    words = compulsory_words(cascade, shapes, tables)
    return Intensity(sum(counted.values()), words * word_bytes)


@dataclass(frozen=True)
class Schedule:
    """Words moved by a schedule that exists: not a bound, a better one may be found."""

    words: int
    rows_in_flight: int
    row_words: int
    tile_words: int
    note: str = "best known schedule, not a bound"


def best_known_schedule(
    cascade: Cascade,
    shapes: Mapping[str, int],
    capacity_words: int,
    *,
    rows: str = "P",
    stream: str = "M",
) -> Schedule:
    """As many rows as fit stay on chip; the other inputs stream by, once per pass of each.

    Values of a row that carry the whole streamed rank are recomputed. Raises AccelsimError when
    not even one row fits, or a tensor needs a pass per coordinate.
    Source: FlashAttention's schedule (arXiv 2205.14135); words as in design/passes.md, A4 and A5.
    """
    found = passes(cascade)
    ends = (*cascade.inputs, *cascade.outputs)
    parts = set(cascade.parts(stream))
    shared = set.intersection(*(set(cascade.tensor(name).ranks) for name in ends)) - {rows, *parts}

    def words(name: str, without: set[str]) -> int:
        ranks = [rank for rank in cascade.tensor(name).ranks if rank not in without]
        return prod(shapes[rank] for rank in fold_parts(cascade, ranks))

    streamed = [n for n in cascade.inputs if rows not in cascade.tensor(n).ranks]
    once = [n for n in ends if n not in streamed]
    width = 1 if cascade.parts(stream) == (stream,) else shapes.get(cascade.parts(stream)[-1], 1)
    tile = width * sum(words(name, shared | parts) for name in streamed)
    row = _row_words(cascade, shapes, shared | {rows}, rows, stream)
    in_flight = min((capacity_words - tile) // row, shapes[rows])
    if in_flight < 1:
        raise AccelsimError(
            f"{capacity_words:,} words hold no row: a tile takes {tile:,}, a row {row:,}"
        )
    again = 0
    for name in streamed:
        times = found.by_tensor[name].get(stream, 1)
        if times is None:
            raise AccelsimError(f"{name} is read once per coordinate of {stream}")
        again += times * words(name, shared)
    heads = prod(shapes[rank] for rank in shared)
    groups = -(-shapes[rows] // in_flight)
    moved = sum(words(name, shared) for name in once) + again * groups
    return Schedule(heads * moved, in_flight, row, tile)


def _row_words(
    cascade: Cascade, shapes: Mapping[str, int], without: set[str], rows: str, stream: str
) -> int:
    """Words that one row keeps on chip while the other inputs stream by.

    Its inputs, its running state and ends, tiles' values that are read in a later sweep, and its
    outputs; an output takes the place of a state of the same ranks.
    """
    parts = cascade.parts(stream)
    sizes = live(cascade, passes(cascade))
    states: dict[tuple[str, ...], int] = {}
    outputs: set[tuple[str, ...]] = set()
    for tensor in cascade.tensors:
        own = tuple(rank for rank in parts if rank in tensor.ranks)
        if rows not in tensor.ranks or (own == parts and tensor.initial is None):
            continue
        rest = tuple(r for r in tensor.ranks if r not in without and r not in parts)
        running = tensor.initial is not None
        kept_tiles = own and stream in sizes[tensor.name] and sizes[tensor.name][stream].ranks
        if tensor.name in cascade.outputs:
            outputs.add(rest)
        elif not own or running or kept_tiles:
            tiles = prod(shapes[r] for r in own) if kept_tiles else 1
            states[rest] = states.get(rest, 0) + tiles
    for rest in outputs:
        states.setdefault(rest, 1)
    return sum(count * prod(shapes[rank] for rank in rest) for rest, count in states.items())
