"""Columns as few bytes: typed arrays in base64, codes into a list where values repeat."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Packed = dict[str, Any]


def floats(values: npt.NDArray[np.float64], *, exact: bool = False) -> Packed:
    """Numbers in 4 bytes each (7 digits), or 8 if exact; one that repeats all along, once."""
    if len(values) and (values == values[0]).all():
        return {"same": float(values[0]), "length": len(values)}
    kind = "f64" if exact or _overflows(values) else "f32"
    return {kind: _base64(values.astype("<f8" if kind == "f64" else "<f4"))}


def _overflows(values: npt.NDArray[np.float64]) -> bool:
    """Whether 4 bytes would make a number infinite or 0."""
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    limits = np.finfo(np.float32)
    return bool(len(size)) and bool((size > limits.max).any() or (size < limits.tiny).any())


def codes(values: Sequence[Hashable]) -> Packed:
    """Distinct values, in the order in which they come, and for each value which of them it is.

    Of whole numbers, floats, truths, texts and None.
    """
    # 1, 1.0 and True are equal in Python; here they are not the same value.
    keys = [(type(value), value) for value in values]
    number = {key: code for code, key in enumerate(dict.fromkeys(keys))}
    kind = next(k for k in ("u1", "u2", "u4") if len(number) <= 1 << 8 * int(k[1]))
    found = np.array([number[key] for key in keys], f"<{kind}")
    return {"of": [value for _, value in number], kind: _base64(found)}


def rows(values: npt.NDArray[np.intp]) -> Packed:
    """Numbers of rows."""
    return {"u4": _base64(values.astype("<u4"))}


def _base64(values: npt.NDArray[Any]) -> str:
    return b64encode(values.tobytes()).decode("ascii")
