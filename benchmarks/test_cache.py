"""Speed of the cache model. `make bench`; not part of the tests.

Budget to hold: 20 million accesses per second on one core, hits and misses alike.
"""

from __future__ import annotations

from typing import Any

import pytest

from accelsim.engine import cache
from tests.attention_accesses import attention

KERNELS = {
    "waves of 128K keys": (131_072, 4, {}),
    "heads fastest, causal": (32_768, 32, {"order": "heads", "causal": True}),
}


@pytest.mark.parametrize("partitions", [1, 2])
@pytest.mark.parametrize("kernel", KERNELS)
def test_cache(benchmark: Any, kernel: str, partitions: int) -> None:
    length, heads, settings = KERNELS[kernel]
    accesses = attention(length, heads, **settings)
    machine = {"slots": 132, "capacity": 60 << 20, "partitions": partitions}
    benchmark.pedantic(cache.run, (accesses,), machine, rounds=5, warmup_rounds=1)
    speed = len(accesses.chunk) / benchmark.stats.stats.min
    benchmark.extra_info["accesses_per_second"] = speed
    assert speed > 20e6
