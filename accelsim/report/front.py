"""The Pareto front: points that no other point is better than."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def front(values: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Rows of [N, K] values, less is better, that no row dominates; sorted.

    A row dominates another if it is no worse in all values and better in one, so that rows alike
    in all are kept, all of them. Rows with a value that is not a number are left out.
    """
    (whole,) = np.nonzero(~np.isnan(values).any(axis=1))
    if not values.shape[1]:
        return np.empty(0, np.intp)
    # Sorted by the first value, then the next: a row is dominated by earlier ones alone.
    order = whole[np.lexsort(values[whole].T[::-1])]
    kept: list[int] = []
    best = np.empty((len(order), values.shape[1]))
    for row in order:
        found = best[: len(kept)]
        no_worse = (found <= values[row]).all(axis=1)
        if not (no_worse & (found < values[row]).any(axis=1)).any():
            best[len(kept)] = values[row]
            kept.append(int(row))
    return np.array(sorted(kept), np.intp)


def spread(rows: npt.NDArray[np.intp], values: npt.NDArray[np.float64], most: int) -> list[int]:
    """At most so many of the rows, evenly over their first value, both ends among them."""
    if not len(rows):
        return []
    order = rows[np.argsort(values[rows, 0], kind="stable")]
    if len(order) <= most:
        return [int(row) for row in order]
    picked = np.linspace(0, len(order) - 1, most).round().astype(int)
    return [int(order[i]) for i in dict.fromkeys(picked.tolist())]
