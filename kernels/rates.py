"""Rates of a multiprocessor, measured: matrix and vector work per clock, two agents beside each
other, the clock under load. No attention kernel is run here.

The loops of `kernels.ptx` are assembled by the ptxas that comes with Triton and launched through
the CUDA driver. What a binary's loop holds is read from its machine code and recorded with the
rate.
"""

from __future__ import annotations

import ctypes
import functools
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kernels.build import count, loop_bodies, read_binary, tool
from kernels.ptx import FIELDS, VECTOR, Body, filled, mma_sync, softmax, source, vector, wgmma

CYCLES = 10_000_000  # of an agent: about 5 ms, long against a tick of the nanosecond timer
# Shared memory of a CTA of which so many fit on a multiprocessor of 228 KiB, and no more.
FITTING = {1: 116 * 1024, 2: 80 * 1024}


@dataclass(frozen=True)
class Rate:
    """One kernel to be measured: its agents, where they stand, and which of them run at a time.

    runs: bit per agent. random: numbers of both signs, else zeros.
    """

    bodies: tuple[Body, ...]
    split: str = "warps"
    runs: tuple[int, ...] = (1,)
    random: bool = True


@functools.cache
def assemble(text: str) -> tuple[bytes, list[dict[str, int]]]:
    """The binary of a PTX text, and per innermost loop its instructions by kind.

    Raises RuntimeError with what ptxas says.
    """
    with tempfile.TemporaryDirectory() as folder:
        ptx, cubin = Path(folder) / "rate.ptx", Path(folder) / "rate.cubin"
        ptx.write_text(text)
        command = [tool("ptxas"), "-arch=sm_90a", str(ptx), "-o", str(cubin)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"ptxas: {done.stderr.strip()}")
        binary = cubin.read_bytes()
    # The first loop fills shared memory.
    return binary, [count(body) for body in loop_bodies(read_binary(binary)[0])][1:]


class Loaded:
    """A binary in the GPU's memory, its kernel `rate` ready to launch in PyTorch's context."""

    def __init__(self, binary: bytes, shared: int) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._shared = shared
        torch.cuda.synchronize()  # makes PyTorch's context current
        module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), binary)
        self._call("cuModuleGetFunction", ctypes.byref(self._function), module, b"rate")
        most_dynamic_shared = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        self._call("cuFuncSetAttribute", self._function, most_dynamic_shared, shared)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._cuda.cuGetErrorString(status, ctypes.byref(text))
            raise RuntimeError(f"{name}: {(text.value or b'unknown error').decode()}")

    def launch(self, ctas: int, threads: int, arguments: Sequence[Any]) -> None:
        """Arguments are ctypes numbers, in the order of the kernel's parameters."""
        pointers = (ctypes.c_void_p * len(arguments))(
            *(ctypes.cast(ctypes.pointer(a), ctypes.c_void_p) for a in arguments)
        )
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        sizes = [ctypes.c_uint(n) for n in (ctas, 1, 1, threads, 1, 1, self._shared)]
        self._call("cuLaunchKernel", self._function, *sizes, stream, pointers, None)


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def reduce(
    numbers: Sequence[Sequence[Sequence[int]]], bodies: Sequence[Body], running: int
) -> dict[str, Any]:
    """Rates from what the agents wrote: numbers [CTAs][2 agents][FIELDS].

    Per agent: its work per clock of a multiprocessor, the median and the extremes over the
    multiprocessors that hold exactly one of each running agent (`sms`), and the clock in Hz, cycles
    over nanoseconds. Raises ValueError where there is no such multiprocessor.
    """
    runs = [index for index in range(len(bodies)) if running >> index & 1]
    held: dict[int, list[tuple[int, dict[str, int]]]] = {}
    for cta in numbers:
        for index in runs:
            agent = dict(zip(FIELDS, cta[index], strict=True))
            if agent["iterations"]:
                held.setdefault(agent["sm"], []).append((index, agent))
    regular = [found for found in held.values() if sorted(index for index, _ in found) == runs]
    if not regular:
        raise ValueError(f"no multiprocessor holds one of each of {len(runs)} agents")
    result: dict[str, Any] = {"sms": len(regular), "agents": []}
    for index in runs:
        agents = [agent for found in regular for which, agent in found if which == index]
        cycles = [agent["clock_end"] - agent["clock_start"] for agent in agents]
        hertz = [
            1e9 * clocks / (agent["ns_end"] - agent["ns_start"])
            for clocks, agent in zip(cycles, agents, strict=True)
        ]
        work = {}
        for kind, amount in bodies[index].work.items():
            rates = [
                amount * agent["iterations"] / clocks
                for clocks, agent in zip(cycles, agents, strict=True)
            ]
            work[f"{kind}_per_clock"] = spread(rates)
        name, clock = bodies[index].name, statistics.median(hertz)
        result["agents"].append({"agent": name, **work, "clock_hz": clock})
    return result


def measure(rate: Rate, launches: int = 2, dry_run: bool = False) -> dict[str, Any]:
    """Assembles, launches and reduces; of several launches back to back the last one counts.

    dry_run: the same without a GPU; the numbers are made up.
    """
    bodies = rate.bodies
    binary, loops = assemble(source(bodies, rate.split))
    result: dict[str, Any] = {
        "split": rate.split,
        "data": "random" if rate.random else "zeros",
        "launches": launches,
        "loops": loops,
        "runs": [],
    }
    sms = 4 if dry_run else torch.cuda.get_device_properties(0).multi_processor_count
    together = len(bodies) if rate.split == "ctas" else 1  # CTAs on a multiprocessor
    threads = bodies[0].threads if together > 1 else sum(body.threads for body in bodies)
    shared = max(filled(bodies) + 4, FITTING[together])
    loaded = None if dry_run else Loaded(binary, shared)
    for running in rate.runs:
        if loaded:
            out = torch.zeros(sms * together, 2, len(FIELDS), dtype=torch.int64, device="cuda")
            arrived = torch.zeros(1024, dtype=torch.int32, device="cuda")
            arguments: list[Any] = [
                *(ctypes.c_uint64(n) for n in (out.data_ptr(), arrived.data_ptr(), CYCLES)),
                *(ctypes.c_uint32(n) for n in (int(rate.random), running)),
            ]
            for _ in range(launches):
                loaded.launch(sms * together, threads, arguments)
            torch.cuda.synchronize()
            numbers = out.tolist()
        else:
            numbers = made_up(sms, together, len(bodies), running)
        result["runs"].append(reduce(numbers, bodies, running))
    return result


def made_up(sms: int, together: int, agents: int, running: int) -> list[list[list[int]]]:
    """What agents would write that all do 1000 iterations in 2000 clocks of 1 GHz."""
    numbers = [[[0] * len(FIELDS) for _ in range(2)] for _ in range(sms * together)]
    for cta, place in enumerate(numbers):
        for index in range(agents):
            here = together == 1 or cta // sms == index
            if here and running >> index & 1:
                place[index] = [1000, cta % sms, 0, 2000, 0, 2000]
    return numbers


BOTH = (1, 2, 3)  # the first agent alone, the second alone, both
TENSOR = {
    **{f"wgmma n{n}": Rate((wgmma(n),)) for n in (64, 128, 256)},
    "wgmma n128 zeros": Rate((wgmma(128),), random=False),
    "wgmma n128, two warpgroups": Rate((wgmma(128, 2),)),
    "wgmma n256, two warpgroups": Rate((wgmma(256, 2),)),
    **{
        f"mma.sync {warps} warps{', ldmatrix' * ldmatrix}": Rate((mma_sync(warps, ldmatrix),))
        for ldmatrix in (False, True)
        for warps in (4, 8)
    },
    "mma.sync 8 warps zeros": Rate((mma_sync(8, False),), random=False),
}
VECTORS = {
    **{f"{kind} {n // 32} warps": Rate((vector(kind, n),)) for kind in VECTOR for n in (128, 512)},
    **{f"softmax {n // 32} warps": Rate((softmax(n),)) for n in (128, 256, 512)},
}
TOGETHER = {
    "wgmma n128 and softmax, two warpgroups": Rate((wgmma(128), softmax(128)), "warps", BOTH),
    "wgmma n128 and softmax, two CTAs": Rate((wgmma(128), softmax(128)), "ctas", BOTH),
    "wgmma n128 and wgmma n128, two CTAs": Rate((wgmma(128), wgmma(128)), "ctas", BOTH),
    "mma.sync and softmax, two CTAs": Rate((mma_sync(4, True), softmax(128)), "ctas", BOTH),
    "softmax and softmax, two CTAs": Rate((softmax(128), softmax(128)), "ctas", BOTH),
}


def clocks(dry_run: bool) -> dict[str, Any]:
    """The clock in the last of 1, 30 and 400 launches of about 5 ms: products on random numbers and
    zeros, and vector work."""
    loads = {
        "wgmma random": Rate((wgmma(256, 2),)),
        "wgmma zeros": Rate((wgmma(256, 2),), random=False),
        "ex2": Rate((vector("ex2", 512),)),
    }
    if dry_run:
        loads = {"ex2": loads["ex2"]}
    return {
        name: [measure(rate, launches, dry_run) for launches in (1, 30, 400)]
        for name, rate in loads.items()
    }
