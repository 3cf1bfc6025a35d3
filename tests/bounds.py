"""Rows of loops from bounds that are affine in outer coordinates, for tests."""

from __future__ import annotations

from itertools import product

from accelsim.program import Loop, Rows, rows_of

Bound = tuple[int, tuple[tuple[int, int], ...]]
"""constant, (outer loop, coefficient) pairs"""


def bounded(
    outer: tuple[Loop, ...] | list[Loop],
    trips: int,
    lower: Bound | None = None,
    upper: Bound | None = None,
) -> Rows:
    """Coordinates from max(0, lower) to min(trips, upper), for every row of outer coordinates."""
    terms = [term for bound in (lower, upper) if bound for term in bound[1]]
    loops = sorted({loop for loop, _ in terms})
    rows = []
    for point in product(*(range(outer[loop].trips) for loop in loops)):
        at = dict(zip(loops, point, strict=True))

        def value(bound: Bound | None, default: int, at: dict[int, int] = at) -> int:
            if bound is None:
                return default
            return bound[0] + sum(c * at[loop] for loop, c in bound[1])

        low, high = max(0, value(lower, 0)), min(trips, value(upper, trips))
        rows.append([(low, high - low)])
    return rows_of(loops, rows)
