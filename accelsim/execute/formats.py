"""Number formats: what a value becomes when it is written in one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.units import FORMATS as BYTES

Array = npt.NDArray[np.float64]

LARGEST_E4M3FN = 448.0
LARGEST_TF32 = (2 - 2**-10) * 2.0**127
SCALE_BYTES = 4
"""Of the scale of a tile of whole numbers, a float32."""


@dataclass(frozen=True)
class Format:
    """How a value is written: in a NumPy type, in tf32 (neither given), or as a whole number.

    most: the largest whole number; values are multiples of a scale that all of a tile share.
    """

    name: str
    dtype: Any = None
    most: int | None = None

    @property
    def size_bytes(self) -> Fraction:
        """Of one value in memory."""
        return Fraction(BYTES[self.name])

    @property
    def metadata_bytes(self) -> int:
        """Of one tile, beside its values."""
        return 0 if self.most is None else SCALE_BYTES

    @property
    def largest(self) -> float:
        """Finite number; of whole numbers, whose scale follows the tile, infinite."""
        if self.most is not None:
            return inf
        if self.dtype is None:
            return LARGEST_TF32
        return float(ml_dtypes.finfo(self.dtype).max)  # type: ignore[no-untyped-call]


FORMATS = {
    one.name: one
    for one in (
        Format("float64", np.float64),
        Format("float32", np.float32),
        Format("tf32"),
        Format("float16", np.float16),
        Format("bfloat16", ml_dtypes.bfloat16),
        Format("float8_e4m3fn", ml_dtypes.float8_e4m3fn),
        Format("float8_e5m2", ml_dtypes.float8_e5m2),
        Format("int8", most=127),
        Format("int4", most=7),
    )
}
EXACT = FORMATS["float64"]


def format_named(name: str) -> Format:
    """Raises AccelsimError for a format that is not known."""
    if name not in FORMATS:
        known = f"known: {', '.join(FORMATS)}"
        near = (line for line in nearest(name, FORMATS) if not line.startswith("known"))
        raise AccelsimError(Fault(f"{name!r} is no number format", help=(*near, known)))
    return FORMATS[name]


def encoded(values: npt.ArrayLike, dtype: Any) -> npt.NDArray[Any]:
    """Values in a NumPy type: nearest, ties to even, as torch's casts are.

    A float64 is rounded to float32 first. Of float8_e4m3fn, which has no infinity, what is too
    large becomes the largest.
    """
    values = np.asarray(values)
    if dtype is np.float64:
        return values.astype(np.float64, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        single = values.astype(np.float32, copy=False)
        if dtype is ml_dtypes.float8_e4m3fn:
            single = np.clip(single, -LARGEST_E4M3FN, LARGEST_E4M3FN)
        return single.astype(dtype, copy=False)


def rounded(tile: npt.ArrayLike, written: Format) -> Array:
    """The values of a tile as they are read back, float64. NaN stays NaN.

    Raises AccelsimError: an infinity that is to be a whole number.
    """
    if written is EXACT:
        return np.asarray(tile, np.float64)
    if written.most is not None:
        return _scaled(np.asarray(tile, np.float64), written.name, written.most)
    if written.dtype is None:
        return _tf32(encoded(tile, np.float32)).astype(np.float64)
    return encoded(tile, written.dtype).astype(np.float64)


def beyond(tile: Array, rounded: Array, written: Format) -> tuple[float, float] | None:
    """The largest magnitude in a tile that has no room in a format, and what became of it.

    None: all have room. rounded: the tile in the format.
    """
    saturates = written.dtype is ml_dtypes.float8_e4m3fn
    if written is EXACT or (not saturates and not np.isinf(rounded).any()):
        return None
    # Also what rounds to the largest number: never the largest magnitude, where one is infinite.
    out = np.isfinite(tile) & (np.abs(tile) > written.largest)
    if not out.any():
        return None
    values = tile[out]
    return float(values[np.abs(values).argmax()]), written.largest if saturates else inf


def _tf32(single: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 with 10 bits of mantissa: nearest, ties to even."""
    bits = np.atleast_1d(single).view(np.uint32).astype(np.int64)
    bits = (bits + 0xFFF + (bits >> 13 & 1)) & 0xFFFFE000
    short = bits.astype(np.uint32).view(np.float32).reshape(single.shape)
    return np.where(np.isnan(single), single, short)


def _scaled(tile: Array, name: str, most: int) -> Array:
    """Multiples of the largest magnitude / most, the scale in float32."""
    largest = float(np.fmax.reduce(np.abs(tile), axis=None, initial=0.0))
    if np.isinf(largest):
        raise AccelsimError(f"{name} has no infinity; give the tensor a floating-point format")
    scale = float(np.float32(largest / most))
    if not np.isfinite(scale):
        raise AccelsimError(f"{name}: {largest:.3g} is too large for a float32 scale")
    if scale == 0.0:
        return np.where(np.isnan(tile), np.nan, 0.0)
    return np.clip(np.rint(tile / scale), -most, most) * scale
