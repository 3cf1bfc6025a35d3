"""The cases whose time is measured, so that it can be predicted for exactly these.

`times()` is all of them, `python -m kernels.timing` prints them. They come in families:

* `dense`, `causal`: the grid of FlashAttention's benchmarks (arXiv 2307.08691, section 4.1): 16,384
  tokens in all, 2048 columns of all heads, lengths 512 to 16k; widths 64, 128, 256;
* `long`: one sequence, few heads, 32k to 128k keys;
* `grouped`, `window`: fewer heads of keys; causal windows, with sinks;
* `decode`: one query over a paged cache, split over the keys;
* `others`: the other kernels, once each;
* `sdpa_flash`, `sdpa_cudnn`: torch's scaled_dot_product_attention on shapes of the above, by one of
  its backends each. Decode has there a cache in one piece.

Each says the work that any program has to do (`flop`, `bytes`) and how long a GPU takes for it at
its datasheet's rates: the lower bound that predictions are held against.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kernels import protocol
from kernels.cases import DTYPES, MODULES, Case

# NVIDIA H200 datasheet (2024), SXM: dense fp16 and bf16 FLOP/s, bytes per second of the memory.
FLOPS, BANDWIDTH = 989.5e12, 4.8e12
SDPA = ("sdpa_flash", "sdpa_cudnn")

TAKES = 2
LEAST_S, FEWEST, MOST = 0.1, 10, 200
GRAPH_S = 2e-3  # of a graph at least: what lies between two of them, some us, is then below 0.5 %
FLUSH_BYTES = 512 << 20  # read between two launches; more than any L2 holds
FLUSH_S = FLUSH_BYTES / 3e12  # at what a copy reaches or more

TOKENS, COLUMNS = 16384, 2048
LENGTHS = tuple(512 << n for n in range(6))
# Per width the tile of `flash_fwd`: of those without spills for sm_90, dense and causal, with 128
# queries and two stages, the one of most keys with which most CTAs fit. Shared memory: 48, 160 and
# 192 KiB of at most 227; 2, 1 and 1 CTAs on a multiprocessor (`kernels.build`).
TILES = {
    64: {"block_m": 128, "block_n": 64},
    128: {"block_m": 128, "block_n": 128},
    256: {"block_m": 128, "block_n": 64},
}


@dataclass(frozen=True)
class Timed:
    """One row of the measurement.

    kernel: of `MODULES` or `SDPA`. case: of `SDPA` one of `flash_fwd` without a tile.
    """

    kernel: str
    family: str
    case: Case

    @property
    def name(self) -> str:
        """The case's name with the kernel that is timed."""
        return self.kernel + self.case.name.removeprefix(self.case.kernel)

    @property
    def own(self) -> bool:
        return self.kernel in MODULES

    def to_dict(self) -> dict[str, Any]:
        """For JSON. `products_s`, `memory_s`: seconds of `flop` and `bytes` on an H200."""
        flop, moved = work(self.case)
        return {
            "name": self.name,
            "kernel": self.kernel,
            "family": self.family,
            "case": self.case.to_dict(),
            "flop": flop,
            "bytes": moved,
            "products_s": flop / FLOPS,
            "memory_s": moved / BANDWIDTH,
        }


def pairs(case: Case) -> int:
    """Pairs of a query and a key that the mask of one head keeps."""
    queries, keys, mask = case.shape.get("P", 1), case.shape["M"], case.mask
    if not mask.get("causal"):
        return queries * keys
    window, kept = mask.get("window") or keys, 0
    for seen in range(keys - queries + 1, keys + 1):
        near = min(seen, window)
        kept += near + min(seen - near, mask.get("sinks", 0))
    return kept


def work(case: Case) -> tuple[int, int]:
    """FLOP of the products, and bytes of what is read and written at least once.

    The products of the kept pairs (`unfused`: of all, `lightning`: by chunks, `block_sparse`: of
    as many blocks as its density says), two FLOP per multiply-accumulate. Of `unfused` the scores
    and probabilities count as bytes, which it writes and reads.
    """
    shape, size = case.shape, DTYPES[case.dtype].itemsize
    if case.kernel == "lightning":
        batch, heads, positions, e, f = (shape[name] for name in "BHTEF")
        rows, chunk = batch * heads * positions, case.tile["chunk"]
        return rows * (4 * e * f + 2 * chunk * (e + f)), rows * (2 * e + 2 * f) * size
    batch, heads, groups, keys, width = (shape[name] for name in "BHGMD")
    queries = shape.get("P", 1)
    flop = 4 * batch * heads * width * pairs(case)
    moved = 2 * batch * (heads * queries + groups * keys) * width * size
    if case.kernel == "block_sparse":
        flop = flop * case.tile["density"] // 100
    if case.kernel == "unfused":
        every = batch * heads * queries * keys
        flop, moved = 4 * every * width, moved + 2 * every * (4 + size)  # scores are float32
    return flop, moved


def roofline(timed: Timed) -> float:
    """Seconds that an H200 needs at least."""
    bounds = timed.to_dict()
    return float(max(bounds["products_s"], bounds["memory_s"]))


def _square(batch: int, heads: int, groups: int, keys: int, width: int, **rest: Any) -> Case:
    shape = {"B": batch, "H": heads, "G": groups, "P": keys, "M": keys, "D": width}
    given = {"kernel": "flash_fwd", "dtype": "bfloat16", "tile": TILES[width], **rest}
    return Case(shape=shape, **given)


def grid(causal: int) -> list[Case]:
    """Widths and lengths at 16,384 tokens and 2048 columns."""
    mask = {"causal": 1} if causal else {}
    return [
        _square(TOKENS // keys, COLUMNS // width, COLUMNS // width, keys, width, mask=mask)
        for width in TILES
        for keys in LENGTHS
    ]


def long() -> list[Case]:
    """4 heads of width 128."""
    dense = [_square(1, 4, 4, 1024 * k, 128) for k in (32, 64, 128)]
    return dense + [_square(1, 4, 4, 1024 * k, 128, mask={"causal": 1}) for k in (32, 128)]


def grouped() -> list[Case]:
    """32 heads with 8 of keys, causal and dense, and 16 with one."""
    causal = _square(2, 32, 8, 8192, 128, mask={"causal": 1})
    return [causal, _square(1, 32, 8, 16384, 128), _square(1, 16, 1, 32768, 128)]


def decode() -> list[Case]:
    """One query of 32 heads with 8 of keys over 64 MB to 512 MB of cache, each split evenly."""
    shapes = ((1, 16384, 16), (8, 8192, 8), (1, 131072, 32), (32, 4096, 4))
    return [
        Case(
            "splitk",
            "bfloat16",
            {"B": batch, "H": 32, "G": 8, "M": keys, "D": 128},
            tile={"page": 64, "splits": splits},
        )
        for batch, keys, splits in shapes
    ]


def of_torch() -> list[Case]:
    """Shapes for torch: of every width three lengths, dense and causal; grouped, long, decode."""
    given = [case for causal in (0, 1) for case in grid(causal)]
    cases = [case for case in given if case.shape["M"] in (1024, 4096, 16384)]
    cases += [grouped()[0], long()[2]]
    for case in decode()[:3]:
        cases.append(Case("flash_fwd", case.dtype, {**case.shape, "P": 1}))
    return [Case("flash_fwd", case.dtype, case.shape, case.mask) for case in cases]


FAMILIES: dict[str, Callable[[], list[Case]]] = {
    "dense": lambda: grid(0),
    "causal": lambda: grid(1),
    "sdpa_flash": of_torch,
    "decode": decode,
    "grouped": grouped,
    "window": lambda: list(protocol.WIN),
    "sdpa_cudnn": of_torch,
    "long": long,
    "others": lambda: [case for case in protocol.OTHERS if case.kernel in OTHERS],
}
OTHERS = ("unfused", "block_sparse", "lightning")


def family(name: str) -> list[Timed]:
    """The cases of one of `FAMILIES`."""
    own = name not in SDPA
    return [Timed(case.kernel if own else name, name, case) for case in FAMILIES[name]()]


def times() -> list[Timed]:
    """Every case that is timed, in the order of the measurement."""
    return [timed for name in FAMILIES for timed in family(name)]


def repeats(seconds: float) -> int:
    """How often something that takes so long is timed: for 0.1 s in all, 10 to 200 times."""
    return min(max(math.ceil(LEAST_S / seconds), FEWEST), MOST)


def batch(seconds: float) -> int:
    """Launches in one graph of a case that takes so long."""
    return max(math.ceil(GRAPH_S / seconds), 1)


def estimate(timed: Timed) -> float:
    """Seconds that a case costs, if it takes three times what an H200 needs at least.

    Besides its timed launches 1 s, 2 s to compile own kernels, and 2e7 numbers per second drawn by
    the CPU for kernels with tables.
    """
    each = 3 * roofline(timed)
    launches = batch(each)
    back_to_back = (1 + repeats(each * launches)) * launches * each
    flushed = repeats(each) * (each + FLUSH_S)
    drawn = 0 if plain(timed) else timed.to_dict()["bytes"] / 2 / 2e7
    work = (1 + TAKES) * back_to_back + TAKES * flushed
    return work + 8 * each + 1 + 2 * timed.own + drawn


def plain(timed: Timed) -> bool:
    """Whether its inputs are Q, K and V alone."""
    return not timed.own or timed.kernel in ("flash_fwd", "unfused")


def planned() -> dict[str, float]:
    """Estimated seconds of each family, 10 s for the start of its process among them."""
    return {name: 10 + sum(estimate(timed) for timed in family(name)) for name in FAMILIES}


if __name__ == "__main__":
    json.dump([timed.to_dict() for timed in times()], sys.stdout)
