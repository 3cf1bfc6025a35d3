"""A traced case written by hand, for what must not wait for Triton."""

from __future__ import annotations

import copy
from typing import Any

HEADS, KEYS, WIDTH, BLOCK_M, BLOCK_N = 2, 96, 64, 32, 16
TILES = HEADS * (2 + 4 + 6)  # block i of queries sees 2 (i + 1) tiles of keys


def traced(dtype: str = "float32") -> dict[str, Any]:
    """What kernels/trace.py says of causal one-pass attention, 96 queries and keys, 2 heads."""
    size = {"float16": 2, "float32": 4}[dtype]
    rows, tiles = HEADS * KEYS * WIDTH * size, TILES * BLOCK_N * WIDTH * size

    def moved(read: int, written: int) -> dict[str, int]:
        return {"read": read, "written": written, "atomic": 0}

    result = {
        "case": {
            "kernel": "flash_fwd",
            "dtype": dtype,
            "shape": {"B": 1, "H": HEADS, "G": HEADS, "P": KEYS, "M": KEYS, "D": WIDTH},
            "mask": {"causal": 1},
            "tile": {"block_m": BLOCK_M, "block_n": BLOCK_N},
            "order": "rows",
            "seed": 0,
            "inputs": "random",
        },
        "gate": {"float16": 1.5e-3, "float32": 5e-6}[dtype],
        "launches": [
            {
                "name": "flash_fwd",
                "grid": [3, HEADS, 1],
                "constants": {"block_m": BLOCK_M, "block_n": BLOCK_N},
                "warps": 4,
                "stages": 2,
                "dots": 2 * TILES * BLOCK_M * BLOCK_N * WIDTH,
                "tensors": {
                    "Q": moved(rows, 0),
                    "K": moved(tiles, 0),
                    "V": moved(tiles, 0),
                    "O": moved(0, rows),
                    "LSE": moved(0, HEADS * KEYS * 4),
                },
            }
        ],
        "shapes": {},
        "tables": {},
        "numerics": {"O": {"global": 2e-7, "worst_row": 3e-7}},
        "finite": True,
    }
    return copy.deepcopy(result)
