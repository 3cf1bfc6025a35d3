"""What a GPU takes to copy inside its memory and to launch a kernel that does nothing."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch
import triton

from kernels.rates import spread
from kernels.stopwatch import milliseconds


@triton.jit
def empty(pointer):
    """Nothing: what a launch costs."""
    pass


def copies(dry_run: bool) -> dict[str, Any]:
    """Bytes read plus bytes written per second of a copy inside the GPU's memory, by size."""
    sizes = (1 << 20,) if dry_run else (1 << 28, 1 << 30, 1 << 32)
    found = {}
    for size in sizes:
        if dry_run:
            times = [1.0]
        else:
            here = torch.randint(256, (size,), dtype=torch.uint8, device="cuda")
            there = torch.empty_like(here)
            times = milliseconds(partial(there.copy_, here), 20)
        found[str(size)] = spread([2 * size / (ms / 1e3) for ms in times])
    return {"bytes_per_second": found}


def launches(dry_run: bool) -> dict[str, Any]:
    """Seconds per launch of an empty Triton kernel: of the host until it returns, back to back, and
    back to back in a graph, where the host has no part."""
    if dry_run:
        return {name: spread([1e-6]) for name in ("host_s", "back_to_back_s", "graph_s")}
    repeats = 400  # fewer than a stream queues, so that the host never waits
    pointer = torch.zeros(1, device="cuda")

    def burst() -> None:
        for _ in range(repeats):
            empty[(1,)](pointer)

    burst()
    host = []
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        burst()
        host.append((time.perf_counter() - start) / repeats)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        burst()
    return {
        "host_s": spread(host),
        "back_to_back_s": spread([ms / 1e3 / repeats for ms in milliseconds(burst, 10)]),
        "graph_s": spread([ms / 1e3 / repeats for ms in milliseconds(graph.replay, 10)]),
    }
