"""How often a cascade must traverse the fibers of a rank, whatever the mapping.

Take a tensor T and a rank R. One pass is one traversal of a whole fiber of T along R. The lineage
of T is T and what is computed from it point by point, keeping R's variable and every part of R's
root that T has. An Einsum that reads the lineage at a coordinate and also needs a value that is
complete only once the whole fiber has been traversed begins the next pass.

The rule is a least fixpoint over the dependence graph. Each value has needs: it is final at
coordinate k once sweep `sweep` has visited [k + low, k + high]. For a rank cut into parts the unit
is a tile of the outermost part, and inner parts are free; for an inner part the outer ones are
fixed, and an offset on one of those (RM[m1+1]) leads to another fiber, which starts no pass.
Source: FuseMax (arXiv 2406.10491), section III, made precise for recurrences and partitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import inf

from accelsim.cascade.nodes import (
    Access,
    At,
    Cascade,
    Computed,
    Coordinate,
    Einsum,
    End,
    Index,
    reduced_variables,
)
from accelsim.cascade.whole import RELATIONS, Apply, Whole, affine

MAX_SHIFT = 2
"""Fibers further away than this are other fibers for good."""
MAX_SWEEPS = 5
"""Longest vector of sweep directions that is tried."""

Shift = int | None  # None: of every fiber


@dataclass(frozen=True)
class Need:
    """Final at coordinate k once sweep `sweep` has visited [k + low, k + high]."""

    sweep: int
    low: float
    high: float

    def join(self, other: Need | None) -> Need:
        if other is None or other.sweep < self.sweep:
            return self
        if other.sweep > self.sweep:
            return other
        return Need(self.sweep, min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class PassAnalysis:
    """passes: rank or part -> passes, the most of any tensor that has every part of it; None when
    a tensor is traversed once per coordinate of an iterative rank. by_tensor: per tensor and rank.
    sweeps: separate loop nests over the rank when everything is fused as far as it can be.
    pass_of: rank -> Einsum -> the pass in which it runs, for the tensor with the most passes.
    sweep_of: rank -> Einsum -> its loop nest, in `sweeps`.
    """

    passes: dict[str, int | None]
    by_tensor: dict[str, dict[str, int | None]]
    sweeps: dict[str, int | None]
    pass_of: dict[str, dict[str, int]]
    sweep_of: dict[str, dict[str, int]]


def passes(cascade: Cascade) -> PassAnalysis:
    """Passes and sweeps over every rank and part of a cascade."""
    by_tensor: dict[str, dict[str, int | None]] = {t.name: {} for t in cascade.tensors}
    most: dict[str, int | None] = {}
    sweeps: dict[str, int | None] = {}
    pass_of: dict[str, dict[str, int]] = {}
    sweep_of: dict[str, dict[str, int]] = {}
    for rank in _ranks(cascade):
        needed = cascade.parts(rank)
        counts: dict[str, int | None] = {}
        runs: dict[str, dict[str, int]] = {}
        for tensor in cascade.tensors:
            if all(part in tensor.ranks for part in needed):
                count, runs[tensor.name] = _least(cascade, tensor.name, rank)
                if count != 0:
                    counts[tensor.name] = by_tensor[tensor.name][rank] = count
        if not counts:
            continue
        leader = max(counts, key=lambda name: _size(counts[name]))
        most[rank], pass_of[rank] = counts[leader], runs[leader]
        sweeps[rank], sweep_of[rank] = _least(cascade, None, rank)
    return PassAnalysis(most, by_tensor, sweeps, pass_of, sweep_of)


def _ranks(cascade: Cascade) -> Iterator[str]:
    for root in cascade.ranks:
        yield root
        if cascade.parts(root) != (root,):
            yield from cascade.parts(root)


def _size(count: int | None) -> float:
    return inf if count is None else count


def _least(cascade: Cascade, tensor: str | None, rank: str) -> tuple[int | None, dict[str, int]]:
    """Passes of a tensor (sweeps, for None), with the best direction for each sweep."""
    best: tuple[int | None, dict[str, int]] | None = None
    directions: tuple[tuple[bool, ...], ...] = ((True,) * MAX_SWEEPS,)
    if _runs_down(cascade):
        directions = tuple(product((True, False), repeat=MAX_SWEEPS))
    for vector in directions:
        found = _Fixpoint(cascade, tensor, rank, vector).solve()
        if best is None or _size(found[0]) < _size(best[0]):
            best = found
        if _size(best[0]) <= 1:  # none is better: nothing is read without a pass
            break
    assert best is not None
    return best


def _runs_down(cascade: Cascade) -> bool:
    """Whether something is easier to compute from the last coordinate to the first."""
    for einsum in cascade.einsums:
        tensor = cascade.tensor(einsum.name)
        if tensor.initial is not None and not _ascends(einsum):
            return True
        # A sum of what comes later: a reduced variable beside a kept one over the same rank.
        kept = {cascade.rank_of(i.variable) for i in einsum.output.indices if isinstance(i, At)}
        if einsum.predicate and kept & {cascade.rank_of(v) for v in reduced_variables(einsum)}:
            return True
    return False


class _Fixpoint:
    """Needs of all values with respect to one fiber of one tensor."""

    def __init__(
        self, cascade: Cascade, tensor: str | None, rank: str, ascending: tuple[bool, ...]
    ) -> None:
        self.cascade = cascade
        self.ascending = ascending
        self.unit = cascade.parts(rank)[0]
        root = cascade.root(rank)
        family = (root, *cascade.parts(root))
        self.lineage: dict[str, tuple[str, ...]] = {}
        self.needs: dict[str, dict[Shift, Need]] = {}
        self.fibers: dict[str, set[Shift]] = {}  # of a lineage value at fiber 0: whose it is
        self.shifting: str | None = None
        if tensor is None:  # sweeps: everything that has the rank moves with it
            for each in cascade.tensors:
                if self.unit in each.ranks:
                    self.lineage[each.name] = (self.unit,)
                    if each.name in cascade.inputs:
                        self.needs[each.name] = {None: Need(1, 0, 0)}
            self.kept: tuple[str, ...] = (self.unit,)
        else:
            ranks = cascade.tensor(tensor).ranks
            self.kept = tuple(r for r in ranks if r in family)
            self.lineage[tensor] = self.kept
            others = [r for r in ranks if r not in family or (rank != root and r != rank)]
            self.shifting = next((r for r in others if r in _offset_ranks(cascade)), None)
            self.needs[tensor] = {0 if self.shifting else None: Need(1, 0, 0)}
            self.fibers[tensor] = {0}
        self.origin = tensor
        self.runs: dict[str, int] = {}
        self.read_in = 0

    def solve(self) -> tuple[int | None, dict[str, int]]:
        limit = 3 * len(self.cascade.einsums) + 1
        for round_ in range(60 * (len(self.cascade.einsums) + 1)):
            changed = False
            for einsum in self.cascade.einsums:
                changed |= self._visit(einsum, widen=round_ > 8)
                if self.runs.get(einsum.name, 0) > limit:
                    return None, {}
            if not changed:
                break
        else:
            raise AssertionError(f"needs of {self.cascade.name} do not settle")
        runs = {e.name: max(1, self.runs.get(e.name, 1)) for e in self.cascade.einsums}
        return self.read_in, runs

    def _visit(self, einsum: Einsum, *, widen: bool) -> bool:
        """Bring the needs of one Einsum's output up to date; whether anything changed."""
        changed = self._extend_lineage(einsum)
        seen: set[Shift] = set()
        reads = [(access, self._relative(access)) for access in einsum.inputs]
        for _, needs in reads:
            seen |= set(needs)
        concrete = seen - {None} or seen
        for fiber in sorted(concrete, key=lambda s: (s is None, s or 0)):
            here = [
                (access, needs.get(fiber, needs.get(None)))
                for access, needs in reads
                if fiber in needs or None in needs
            ]
            need = self._combine(einsum, fiber, [(a, n) for a, n in here if n is not None])
            if need is not None and einsum.name != self.origin:
                changed |= self._record(einsum, fiber, need, widen=widen)
        return changed

    def _extend_lineage(self, einsum: Einsum) -> bool:
        if self.origin is None or einsum.name == self.origin:
            return False
        ranks = self.cascade.tensor(einsum.name).ranks
        written = {
            i.variable: r
            for i, r in zip(einsum.output.indices, ranks, strict=True)
            if isinstance(i, At)
        }
        changed = False
        for access in einsum.inputs:
            if access.tensor in self.lineage:
                at = self._variables(access)
                if all(at.get(part) in written for part in self.kept) and self.kept:
                    changed |= einsum.name not in self.lineage
                    self.lineage[einsum.name] = self.kept
                    changed |= self._extend_fibers(einsum, access)
        return changed

    def _extend_fibers(self, einsum: Einsum, access: Access) -> bool:
        """Of which fibers of the origin the lineage in an Einsum's output is."""
        if self.shifting is None:
            return False
        output = self._index(einsum.output, self.shifting)
        found: set[Shift] = {
            s - output.offset if s is not None and isinstance(output, At) else None
            for s in self._seen_fibers(access)
        }
        known = self.fibers.setdefault(einsum.name, set())
        new = {s for s in found if s is None or abs(s) <= MAX_SHIFT} - known
        known |= new
        return bool(new)

    def _variables(self, access: Access) -> dict[str, str]:
        """Rank -> the variable at which an access reads it."""
        ranks = self.cascade.tensor(access.tensor).ranks
        return {
            r: i.variable for i, r in zip(access.indices, ranks, strict=True) if isinstance(i, At)
        }

    def _index(self, access: Access, rank: str) -> Index | None:
        ranks = self.cascade.tensor(access.tensor).ranks
        return access.indices[ranks.index(rank)] if rank in ranks else None

    def _relative(self, access: Access) -> dict[Shift, Need]:
        """Needs of an operand by the fiber that they concern, seen from the Einsum's point."""
        known = self.needs.get(access.tensor, {})
        if self.shifting is None:
            return known
        match self._index(access, self.shifting):
            case At(offset=offset):
                return {None if s is None else s + offset: n for s, n in known.items()}
            case End():
                return {}  # the fiber at the end of another rank is another fiber
            case _:
                return {None: _joined(known)} if known else {}

    def _reads_lineage(self, access: Access, fiber: Shift) -> bool:
        """Whether an access reads the lineage along the unit, on the fiber that is asked about."""
        if access.tensor not in self.lineage or not isinstance(self._index(access, self.unit), At):
            return False
        if self.shifting is None or fiber is None:
            return True
        return fiber in self._seen_fibers(access) or None in self._seen_fibers(access)

    def _seen_fibers(self, access: Access) -> set[Shift]:
        """Fibers of the origin whose lineage an access reads, seen from the Einsum's point."""
        assert self.shifting is not None
        known = self.fibers.get(access.tensor, set())
        match self._index(access, self.shifting):
            case At(offset=offset):
                return {None if s is None else s + offset for s in known}
            case End():
                return set()
            case _:
                return {None} if known else set()

    def _combine(
        self, einsum: Einsum, fiber: Shift, reads: list[tuple[Access, Need]]
    ) -> Need | None:
        """When a point happens, and so its output, before its own index is applied."""
        if not reads:
            return None
        placed = [(access, self._at_point(einsum, access, need)) for access, need in reads]
        synced = [self._reads_lineage(access, fiber) for access, _ in placed]
        sweep = max(need.sweep for _, need in placed)
        if any(synced):
            sweep = max(sweep, 1)
            while any(self._is_end(need, sweep) for _, need in placed):
                sweep += 1
            self.read_in = max(self.read_in, sweep)
            self.runs[einsum.name] = max(self.runs.get(einsum.name, 0), sweep)
        else:
            self.runs[einsum.name] = max(self.runs.get(einsum.name, 0), sweep)
        total: Need | None = None
        for (access, need), sync in zip(placed, synced, strict=True):
            now = need if need.sweep == sweep else None
            if sync and now is None:
                index = self._index(access, self.unit)
                offset = index.offset if isinstance(index, At) else 0
                now = Need(sweep, offset, offset)
            if now is not None:
                total = now.join(total)
        return None if total is None else self._through_reduction(einsum, total)

    def _is_end(self, need: Need, sweep: int) -> bool:
        if need.sweep != sweep:
            return False
        ascending = self.ascending[min(sweep, MAX_SWEEPS) - 1]
        return need.high == inf if ascending else need.low == -inf

    def _at_point(self, einsum: Einsum, access: Access, need: Need) -> Need:
        """The need of an operand relative to the coordinate of the point that reads it.

        A reduced variable tied to a kept one over the same rank by a predicate is placed relative
        to the point all the same; the reduction widens it afterwards.
        """
        match self._index(access, self.unit):
            case At(offset=offset):
                return Need(need.sweep, need.low + offset, need.high + offset)
            case End() | Computed():  # any coordinate may be asked for
                return Need(need.sweep, -inf, inf)
            case Coordinate(value=value):
                return Need(need.sweep, -inf, need.high + value)
            case _:
                return need

    def _through_reduction(self, einsum: Einsum, need: Need) -> Need:
        """Widen over reduced variables of the unit, then apply the output's index."""
        output = self._index(einsum.output, self.unit)
        over = [v for v in reduced_variables(einsum) if self.cascade.rank_of(v) == self.unit]
        for variable in over:
            low, high = -inf, inf
            if isinstance(output, At):
                low, high = reach(einsum.predicate, variable, output.variable)
            need = Need(need.sweep, need.low + low, need.high + high)
        if not isinstance(output, At):
            return Need(need.sweep, -inf, inf) if over else need
        low, high = need.low - output.offset, need.high - output.offset
        if self.cascade.tensor(einsum.name).initial is not None:
            recurs_here = self._recurs(einsum)
            if recurs_here and output.offset:
                low = -inf
            elif recurs_here:
                high = inf
        return Need(need.sweep, low, high)

    def _recurs(self, einsum: Einsum) -> bool:
        """Whether the output's recurrence runs along the unit."""
        output = self._index(einsum.output, self.unit)
        if isinstance(output, At) and output.offset:
            return True
        return not _ascends(einsum) and _down(self.cascade, einsum) == self.unit

    def _record(self, einsum: Einsum, fiber: Shift, need: Need, *, widen: bool) -> bool:
        key = fiber
        if self.shifting is not None and fiber is not None:
            output = self._index(einsum.output, self.shifting)
            key = fiber - output.offset if isinstance(output, At) else None
            if key is not None and abs(key) > MAX_SHIFT:
                return False
        known = self.needs.setdefault(einsum.name, {})
        old = known.get(key)
        new = need.join(old)
        if new == old:
            return False
        if widen and old is not None and old.sweep == new.sweep:  # an interval that only grows
            new = Need(
                new.sweep,
                -inf if new.low < old.low else new.low,
                inf if new.high > old.high else new.high,
            )
        known[key] = new
        return True


def _ascends(einsum: Einsum) -> bool:
    """Whether an Einsum writes at v+1."""
    return any(isinstance(i, At) and i.offset for i in einsum.output.indices)


def _down(cascade: Cascade, einsum: Einsum) -> str | None:
    """The rank that a tensor written at v runs down: the one at which it is read at v+1."""
    for reader in cascade.einsums:
        for access in reader.inputs:
            if access.tensor == einsum.name:
                ranks = cascade.tensor(einsum.name).ranks
                for index, rank in zip(access.indices, ranks, strict=True):
                    if isinstance(index, At) and index.offset == 1:
                        return rank
    return None


def _joined(needs: dict[Shift, Need]) -> Need:
    total: Need | None = None
    for need in needs.values():
        total = need.join(total)
    assert total is not None
    return total


def _offset_ranks(cascade: Cascade) -> set[str]:
    """Ranks that occur with an offset in some access."""
    out = set()
    for einsum in cascade.einsums:
        for access in (einsum.output, *einsum.inputs):
            for index, rank in zip(
                access.indices, cascade.tensor(access.tensor).ranks, strict=True
            ):
                if isinstance(index, At) and index.offset:
                    out.add(rank)
    return out


def reach(predicate: tuple[Whole, ...], reduced: str, kept: str) -> tuple[float, float]:
    """Bounds of reduced - kept that the predicate gives."""
    low, high = -inf, inf
    for condition in predicate:
        if not isinstance(condition, Apply) or condition.operator not in RELATIONS.values():
            continue
        left, right = condition.arguments
        slopes = affine(Apply("sub", (left, right)))
        if slopes is None or {key for key in slopes if key != ("", ())} != {
            (reduced, ()),
            (kept, ()),
        }:
            continue  # not of the form that gives a window
        sign = slopes[reduced, ()]
        if abs(sign) != 1 or slopes[kept, ()] != -sign:
            continue
        limit = -slopes.get(("", ()), 0) * sign  # sign * (reduced - kept) + constant REL 0
        relation = condition.operator
        upper = (relation in {"lt", "le"}) == (sign > 0)
        strict = 1 if relation in {"lt", "gt"} else 0
        if relation == "eq":
            low, high = max(low, limit), min(high, limit)
        elif relation != "ne" and upper:
            high = min(high, limit - strict)
        elif relation != "ne":
            low = max(low, limit + strict)
    return low, high
