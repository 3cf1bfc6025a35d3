"""One integer tick for all durations of a program."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod

from accelsim.errors import AccelsimError
from accelsim.traced import common_multiple, ratio

LIMIT = 1 << 62
COARSE = 1 << 10

Durations = tuple[Sequence[int], Sequence[Fraction], Sequence[Fraction]]


def to_ticks(phases: Sequence[Durations], per_cycle: int | None = None) -> tuple[int, str | None]:
    """Ticks per cycle such that every duration is whole, and a note when that is too fine.

    phases: per phase (trip counts, occupancies, latencies), in cycles. The exact tick is the least
    common denominator. If all work end to end would pass 2^62 ticks, durations are rounded up to
    the finest power of two up to 2^10 per cycle that fits. Raises AccelsimError if none does.
    per_cycle: how many there are to be, whatever the durations.
    """
    exact = common_multiple(d.denominator for _, busy, late in phases for d in (*busy, *late))
    worst = sum((_end_to_end(phase) for phase in phases), Fraction(0))
    if per_cycle is not None and worst * per_cycle < LIMIT:
        return per_cycle, None
    if worst * exact < LIMIT:
        return exact, None
    instances = sum(prod(trips) * len(busy) for trips, busy, _ in phases)
    coarse = COARSE
    while coarse >= 1 and (worst + ratio(2 * instances, coarse)) * coarse >= LIMIT:
        coarse //= 2
    if coarse < 1:
        message = f"a run of up to {float(worst):.3g} cycles does not fit 64-bit time"
        raise AccelsimError(message)
    bound = float(ratio(2 * instances, coarse))
    note = (
        f"durations rounded up to 1/{coarse} cycle (exact ones need 1/{exact}): "
        f"at most {bound:.3g} cycles too long"
    )
    return coarse, note


def _end_to_end(phase: Durations) -> Fraction:
    """Cycles if nothing overlapped."""
    trips, busy, late = phase
    deepest = max(late, default=Fraction(0)) * len(busy)
    return prod(trips) * (sum(busy, Fraction(0)) + deepest)
