"""The cases that a GPU run measures, so that predictions can be made for exactly these.

`protocol()` is all of them, and what `python -m kernels.protocol` prints. They come in groups, each
for one question:

* `order`: the grid's order (blocks of queries or heads fastest) changes no request, only what the
  L2 finds again: dense, grouped and causal, each in both orders;
* `knee`: from how many keys on the K and V of a head no longer stay in the L2. One CTA per
  multiprocessor, 8 MiB to 64 MiB per head;
* `shapes`: small ones that fit wholly (`TINY`), grouped and single key heads, fewer query heads
  (arXiv 2510.01817), windows and sinks;
* `others`: the other kernels, once each.

`warm()` are the small ones again, with what the launch before left in the L2. What is timed is in
`kernels/timing.py`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

from kernels.cases import Case

WIDE = {"block_m": 128, "block_n": 128}


def _attention(
    heads: int, groups: int, keys: int, width: int = 128, dtype: str = "bfloat16", **rest: Any
) -> Case:
    shape = {"B": 1, "H": heads, "G": groups, "P": keys, "M": keys, "D": width}
    return Case(**{"kernel": "flash_fwd", "dtype": dtype, "shape": shape, "tile": WIDE, **rest})


def order() -> list[Case]:
    """Grid orders at 16,384 keys and 32 heads: dense, 8 groups, causal; rows, then heads."""
    dense = _attention(32, 32, 16384)
    kinds = [dense, _attention(32, 8, 16384), replace(dense, mask={"causal": 1})]
    return [replace(case, order=fastest) for case in kinds for fastest in ("rows", "heads")]


def knee() -> list[Case]:
    """4 heads, from 16k to 128k keys."""
    return [_attention(4, 4, 1024 * k) for k in (16, 32, 48, 64, 80, 96, 128)]


TINY = [
    *(
        _attention(4, 4, keys, 64, "float16", tile={"block_m": 64, "block_n": 64})
        for keys in (512, 1024, 2048)
    ),
    _attention(4, 4, 2048, 64, "float16", tile=WIDE, mask={"causal": 1}),
    _attention(8, 2, 2048, 128),
]
GQA = [_attention(32, 8, 8192, mask={"causal": 1}), _attention(16, 1, 32768)]
SQA = [_attention(heads, groups, 32768) for heads, groups in ((16, 16), (8, 8), (8, 4), (4, 4))]
WIN = [
    _attention(32, 8, 32768, mask={"causal": 1, "window": 4096}),
    _attention(8, 8, 65536, mask={"causal": 1, "window": 1020, "sinks": 4}),
]
OTHERS = [
    Case(
        "unfused",
        "bfloat16",
        {"B": 1, "H": 8, "G": 8, "P": 4096, "M": 4096, "D": 128},
        tile=WIDE,
    ),
    Case(
        "splitk",
        "bfloat16",
        {"B": 8, "H": 32, "G": 8, "M": 8192, "D": 128},
        tile={"page": 64, "splits": 8},
    ),
    Case(
        "block_sparse",
        "bfloat16",
        {"B": 1, "H": 8, "G": 8, "P": 16384, "M": 16384, "D": 128},
        tile={**WIDE, "density": 25},
    ),
    Case(
        "lightning",
        "bfloat16",
        {"B": 4, "H": 16, "T": 16384, "E": 128, "F": 128},
        tile={"chunk": 64, "block_f": 64},
    ),
    Case(
        "flash1",
        "float16",
        {"B": 2, "H": 16, "G": 16, "P": 2048, "M": 2048, "D": 64},
        tile={"block_m": 64, "block_n": 64},
    ),
]


def shapes() -> list[Case]:
    """Small shapes, shared keys, fewer queries, windows."""
    return [*TINY, *GQA, *SQA, *WIN]


def others() -> list[Case]:
    """Kernels besides the one-pass forward one."""
    return list(OTHERS)


def warm() -> list[Case]:
    """Those whose tensors all fit the L2."""
    return list(TINY)


def protocol() -> list[Case]:
    """Every case whose counters are measured from empty caches, each once."""
    return list({case.name: case for case in (*order(), *knee(), *shapes(), *others())}.values())


def numerics() -> list[Case]:
    """Modest shapes of all kernels in all formats: ragged, grouped, masked; random and needle.

    float32 has smaller tiles: larger ones spill, and fit no multiprocessor at width 128.
    """
    shape = {"B": 1, "H": 4, "G": 2, "P": 200, "M": 333, "D": 64}
    wide = {**shape, "P": 512, "M": 512, "D": 128}
    decode = {"B": 3, "H": 8, "G": 2, "M": 333, "D": 64}
    linear = {"B": 1, "H": 4, "T": 333, "E": 64, "F": 64}
    causal = {"causal": 1}
    cases = []
    for dtype in ("float16", "bfloat16", "float32"):
        size = 32 if dtype == "float32" else 64
        tile = {"block_m": size, "block_n": size}
        cases += [
            *(
                Case("flash_fwd", dtype, shape, mask, tile)
                for mask in ({}, causal, {**causal, "window": 100, "sinks": 4})
            ),
            Case("flash_fwd", dtype, shape, causal, tile, order="heads"),
            Case("flash1", dtype, {**shape, "G": 4}, causal, tile),
            Case("unfused", dtype, shape, causal, tile),
            Case("splitk", dtype, decode, tile={"page": 32, "splits": 4}),
            Case("block_sparse", dtype, shape, causal, {**tile, "density": 40}),
            Case("lightning", dtype, linear, tile={"chunk": size, "block_f": 32}),
        ]
        if dtype != "float32":
            cases.append(Case("flash_fwd", dtype, wide, causal, WIDE))
    needles = [replace(case, inputs="needle") for case in cases if case.kernel != "lightning"]
    return cases + needles


if __name__ == "__main__":
    json.dump([case.to_dict() for case in protocol()], sys.stdout)
