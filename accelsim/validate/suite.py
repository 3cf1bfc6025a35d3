"""Cases of the kernels: a written product of kernel, mask, width, format and ragged lengths."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

CaseDict = dict[str, Any]

FORMATS = ("float16", "bfloat16", "float32")
WIDTHS = (64, 128, 256)
DENSE: dict[str, int] = {}
CAUSAL = {"causal": 1}
MASKS: dict[str, tuple[dict[str, int], ...]] = {
    "flash_fwd": (
        DENSE,
        CAUSAL,
        {"causal": 1, "window": 45},
        {"causal": 1, "window": 30, "sinks": 3},
    ),
    "flash1": (DENSE, CAUSAL),
    "unfused": (DENSE,),
    "splitk": (DENSE,),
    "block_sparse": (DENSE, CAUSAL),
    "lightning": (DENSE,),
}
LENGTHS = 128
"""A seed that draws sequences with keys in both parts."""
EXACT = ("float16", "float32")
"""Formats whose rounding Triton's interpreter does as a GPU does."""


def cases() -> list[CaseDict]:
    """All of the product: 198 cases, small enough for the interpreter."""
    return list(_cases(FORMATS, WIDTHS))


def quick() -> list[CaseDict]:
    """Each kernel and mask at one width and ragged lengths, random inputs and needles."""
    found = list(_cases(EXACT, (64,), (True,)))
    needles = [{**case, "inputs": "needle"} for case in found if case["kernel"] != "lightning"]
    return [*found, *needles]


def _cases(
    formats: tuple[str, ...], widths: tuple[int, ...], ends: tuple[bool, ...] = (False, True)
) -> Iterator[CaseDict]:
    number = 0
    for kernel, masks in MASKS.items():
        ordered = kernel in {"flash_fwd", "block_sparse"}
        for mask, width, dtype, ragged in product(masks, widths, formats, ends):
            number += 1
            yield {
                "kernel": kernel,
                "dtype": dtype,
                "shape": _shape(kernel, width, ragged),
                "mask": mask,
                "tile": _tile(kernel, number, ragged),
                "order": ("rows", "rows", "heads", "heads")[number % 4] if ordered else "rows",
                "seed": LENGTHS if kernel == "splitk" else number,
            }


def _shape(kernel: str, width: int, ragged: bool) -> dict[str, int]:
    queries, keys = (75, 107) if ragged else (96, 96)
    match kernel:
        case "lightning":
            return {"B": 2, "H": 2, "T": queries, "E": width, "F": 64 if ragged else width}
        case "splitk":
            # Pages of 16 in 2 parts: the last page is not full, its part has as many as the others.
            return {"B": 2, "H": 6, "G": 2, "M": 121 if ragged else 128, "D": width}
    groups = 2 if kernel in {"flash1", "unfused"} else 1
    return {"B": 1, "H": 2, "G": groups, "P": queries, "M": keys, "D": width}


def _tile(kernel: str, number: int, ragged: bool) -> dict[str, int]:
    match kernel:
        case "lightning":
            return {"chunk": 32, "block_f": 32 if number % 3 else 64}
        case "splitk":
            # Ragged: sequences of different lengths, each with keys in both parts.
            return {"page": 16, "splits": 2, "ragged": 1} if ragged else {"page": 16, "splits": 4}
    block_m, block_n = ((32, 32), (32, 16), (16, 32))[number % 3]
    tile = {"block_m": block_m, "block_n": block_n}
    if kernel == "block_sparse":
        tile["density"] = 40
    if kernel == "unfused":
        tile["rows"] = 4
    return tile
