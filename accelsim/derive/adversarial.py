"""Inputs on which rewrites lose digits that the definition keeps.

What is known of a part of the data may be far from what is known of all of it: a sum of weights
that is nearly 0, a product that is 1e9 where that of all is 1. Those cases are put into the first
tile along the rank (its first coordinates where it is whole).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Arrays = dict[str, Array]
Profile = Callable[[Array, int], Array]
"""Values [n, ...] along the rank, and the size of its first tile -> others."""
SCALE = 2.0**560
"""About 4e168, of which squares are out of range; a power of 2, which changes no digit."""
OFFSET = 1e8
EQUAL = 1e6 + 0.125
"""Of few binary digits: sums of it are exact, so that all equal values have their exact mean."""
UNIT = (0.1, 0.2, -0.3)
"""0.1 + 0.2 - 0.3 is 6e-17 in binary numbers."""


def each(inputs: Arrays) -> Iterator[Arrays]:
    """Each input in turn with an offset, with values 1e4 apart, all 1, and all large and equal."""
    for name, array in inputs.items():
        for slope, offset in ((1.0, OFFSET), (1e4, 0.0), (0.0, 1.0), (0.0, EQUAL)):
            yield {**inputs, name: slope * array + offset}


def along(inputs: Arrays, axes: dict[str, int], first: int) -> Iterator[Arrays]:
    """What begins in another way than it goes on, each input in turn.

    axes: inputs that have the rank -> which axis it is. Those whose axis ends in the first tile, or
    one coordinate after it, are left out.
    """
    for name, axis in axes.items():
        if inputs[name].shape[axis] < first + 2:
            continue

        def of(profile: Profile, name: str = name, axis: int = axis) -> Array:
            values = np.moveaxis(inputs[name], axis, 0).copy()
            return np.moveaxis(profile(values, first), 0, axis)

        for profile in (_cancelling, _of_cancelling, _descending, _low):
            yield {**inputs, name: of(profile)}
        offset = {other: array + OFFSET for other, array in inputs.items()}
        for profile in (_zeros, _ones):
            yield {**offset, name: of(profile)}


def scaled(inputs: Arrays) -> Iterator[Arrays]:
    """Each input in turn tiny, and huge; all of them, so that products of two are in range."""
    for name, array in inputs.items():
        for scale in (1 / SCALE, SCALE):
            yield {**inputs, name: array * scale}
    for scale in (SCALE**-0.5, SCALE**0.5):
        yield {name: array * scale for name, array in inputs.items()}


def nudged(inputs: Arrays, rng: np.random.Generator) -> Arrays:
    """Off by half a unit of the last place, as any data are."""
    eps = float(np.finfo(np.float64).eps)
    return {n: a * (1 + eps * rng.choice((-1.0, 1.0), size=a.shape)) for n, a in inputs.items()}


def _spread(profile: Array, values: Array) -> Array:
    return np.broadcast_to(profile.reshape(-1, *[1] * (values.ndim - 1)), values.shape).copy()


def _cancelling(values: Array, first: int) -> Array:
    """A first tile that sums to nearly 0, then 1, 2, 3..."""
    n = len(values)
    tile = np.resize(UNIT, first)
    return _spread(np.concatenate([tile, np.arange(1.0, n - first + 1)]), values)


def _of_cancelling(values: Array, first: int) -> Array:
    """The same of reciprocals."""
    return 1 / _cancelling(values, first)


def _descending(values: Array, first: int) -> Array:
    """1000, 1083, ..., 1.3, 0.0014...: products go up, and come back."""
    n = len(values)
    sizes = 1000.0 ** np.sign((n - 1) / 2 - np.arange(n))
    return _spread(sizes * np.linspace(1, 1.5, n), values)


def _low(values: Array, first: int) -> Array:
    """A first tile below -1000, of which exp is 0, and of minus which it is infinite."""
    values[:first] -= _spread(np.linspace(2000.0, 1000.0, first), values[:first])
    return values


def _zeros(values: Array, first: int) -> Array:
    """A first tile of 0, as weights of rows that are padded on the left have."""
    values[:first] = 0
    return values


def _ones(values: Array, first: int) -> Array:
    values[:first] = 1
    return values
