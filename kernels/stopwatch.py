"""Times of the cases of `kernels.timing` on a GPU, beside the clock that they ran at.

A case is launched again and again out of a CUDA graph, where the host has no part, and timed by
events: back to back, as predicted, and from an L2 that something else was read through before. Each
twice, so that the two say how far a time can be trusted. The clock is the GPU's own: two launches
that read a multiprocessor's cycles and nanoseconds, before and after the timed ones.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from kernels import attention, records
from kernels.cases import DTYPES, MODULES, Case, Tensors, kernel
from kernels.rates import FITTING, Loaded, assemble, spread
from kernels.timing import FLUSH_BYTES, TAKES, Timed, batch, plain, repeats

# Per multiprocessor: its number, cycles, nanoseconds.
PROBE = """.version 8.0
.target sm_90a
.address_size 64
.visible .entry rate(.param .u64 to)
{
  .reg .u32 %cta, %sm;
  .reg .u64 %at, %offset, %value;
  ld.param.u64 %at, [to];
  cvta.to.global.u64 %at, %at;
  mov.u32 %cta, %ctaid.x;
  mul.wide.u32 %offset, %cta, 24;
  add.u64 %at, %at, %offset;
  mov.u32 %sm, %smid;
  cvt.u64.u32 %value, %sm;
  st.global.u64 [%at], %value;
  mov.u64 %value, %clock64;
  st.global.u64 [%at+8], %value;
  mov.u64 %value, %globaltimer;
  st.global.u64 [%at+16], %value;
  ret;
}
"""


def milliseconds(work: Callable[[], object], repeats: int) -> list[float]:
    """Time of each of some repeats on the GPU, by events, after one that does not count."""
    work()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    marks[0].record()
    for mark in marks[1:]:
        work()
        mark.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) for a, b in itertools.pairwise(marks)]


def inputs(timed: Timed, device: str) -> Tensors:
    """Random tensors of a case. Q, K and V are drawn on the device: drawn on the CPU they would
    take longer than what is measured."""
    case = timed.case
    if not plain(timed):
        return kernel(case.kernel).inputs(case, device)
    attention.check(case if timed.own else whole(case), window=timed.kernel == "flash_fwd")
    draw = torch.Generator(device).manual_seed(case.seed)
    batch, heads, groups, queries, keys, width = (case.shape[size] for size in "BHGPMD")
    shapes = {"Q": (heads, queries), "K": (groups, keys), "V": (groups, keys)}
    return {
        name: torch.randn(
            batch, *rows, width, device=device, dtype=DTYPES[case.dtype], generator=draw
        )
        for name, rows in shapes.items()
    }


def whole(case: Case) -> Case:
    """A case without a tile, with any, so that its shape can be checked."""
    return dataclasses.replace(case, tile={"block_m": 64, "block_n": 64})


def runner(timed: Timed, tensors: Tensors) -> Callable[[], Sequence[torch.Tensor]]:
    """What launches a case and returns its outputs."""
    if not timed.own:
        return partial(of_torch, timed, tensors)
    offered = kernel(timed.kernel)
    plan = offered.plan(timed.case, tensors)

    def work() -> Sequence[torch.Tensor]:
        for launch in plan.launches:
            launch()
        return [plan.written[name] for name in offered.outputs]

    return work


def of_torch(timed: Timed, tensors: Tensors) -> Sequence[torch.Tensor]:
    """torch's attention by one backend; on a CPU, which has not both, by any.

    Raises RuntimeError where the backend does not take the case.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backends = {
        "sdpa_flash": SDPBackend.FLASH_ATTENTION,
        "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION,
    }
    shape, q = timed.case.shape, tensors["Q"]
    one = sdpa_kernel(backends[timed.kernel]) if q.is_cuda else contextlib.nullcontext()
    with one:
        o = torch.nn.functional.scaled_dot_product_attention(
            q,
            tensors["K"],
            tensors["V"],
            is_causal=bool(timed.case.mask.get("causal")),
            enable_gqa=shape["G"] != shape["H"],
        )
    return [o]


def in_graph(work: Callable[[], object], launches: int) -> Callable[[], object]:
    """Some launches of a case as one graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(launches):
            work()
    return graph.replay


def from_cold(work: Callable[[], object], count: int) -> list[float]:
    """Milliseconds of each of some launches, other data read through the L2 before each.

    Read, not written: dirty lines would have to go to memory while the case runs.
    """
    other = torch.zeros(FLUSH_BYTES // 4, device="cuda")
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
    for before, after in marks:
        other.sum()
        before.record()
        work()
        after.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) for before, after in marks]


@functools.cache
def probe() -> Loaded:
    """The kernel that reads every multiprocessor, ready to launch."""
    return Loaded(assemble(PROBE)[0], FITTING[1])


def reading() -> torch.Tensor | str:
    """Number, cycles and nanoseconds of every multiprocessor, [them, 3], as they are when the
    stream gets there; or why they cannot be read."""
    ctas = torch.cuda.get_device_properties(0).multi_processor_count
    out = torch.zeros(ctas, 3, dtype=torch.int64, device="cuda")
    try:
        probe().launch(ctas, 32, [ctypes.c_uint64(out.data_ptr())])
    except (OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return out


def between(before: torch.Tensor | str, after: torch.Tensor | str) -> dict[str, Any]:
    """The clock between two readings, or {"error"}."""
    if isinstance(before, str) or isinstance(after, str):
        return {"error": next(one for one in (before, after) if isinstance(one, str))}
    try:
        return {**clock(before.tolist(), after.tolist())}
    except ValueError as error:
        return {"error": str(error)}


def clock(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> dict[str, float]:
    """Hz of the multiprocessors between two readings (number, cycles, ns), and how many they are.

    Raises ValueError where none was read twice, or none went on.
    """
    first = {sm: (cycles, ns) for sm, cycles, ns in before}
    found = [
        1e9 * (cycles - first[sm][0]) / (ns - first[sm][1])
        for sm, cycles, ns in after
        if sm in first and cycles > first[sm][0] and ns > first[sm][1]
    ]
    if not found:
        raise ValueError("no multiprocessor was read before and after")
    return {**spread(found), "sms": len(found)}


def take(
    work: Callable[[], object], graph: Callable[[], object], launches: int, seconds: float
) -> dict[str, Any]:
    """Seconds per launch back to back, with the clock meanwhile, and from a cold L2."""
    count = repeats(seconds * launches)
    before = reading()
    warm = milliseconds(graph, count)
    after = reading()
    cold = from_cold(work, repeats(seconds))
    return {
        "back_to_back_s": {**spread([ms / 1e3 / launches for ms in warm]), "repeats": count},
        "flushed_s": {**spread([ms / 1e3 for ms in cold]), "repeats": len(cold)},
        "clock_hz": between(before, after),
    }


def on_gpu(work: Callable[[], object]) -> dict[str, Any]:
    """The takes of a case that has run once.

    Where it cannot be captured in a graph it is launched by the host, and `graph` is false.
    """
    seconds = max(min(milliseconds(work, 3)) / 1e3, 1e-6)
    launches = batch(seconds)
    try:
        once, many = in_graph(work, 1), in_graph(work, launches)
        # Short launches wait for the host outside of a graph.
        seconds = max(min(milliseconds(many, 3)) / 1e3 / launches, 1e-6)
        launches, graph = batch(seconds), True
        many = in_graph(work, launches)
    except RuntimeError:
        graph = False
        once, many = work, lambda: [work() for _ in range(launches)]
    milliseconds(once, 1)
    milliseconds(many, repeats(seconds * launches))  # until the clock is that of work
    takes = [take(once, many, launches, seconds) for _ in range(TAKES)]
    return {"graph": graph, "launches": launches, "takes": takes}


def made_up() -> dict[str, Any]:
    """What `on_gpu` would say of a case of 1 ms."""
    one = {"median": 1e-3, "least": 1e-3, "most": 1e-3, "repeats": 100}
    hertz = {"median": 1e9, "least": 1e9, "most": 1e9, "sms": 4}
    takes = [{"back_to_back_s": one, "flushed_s": one, "clock_hz": hertz} for _ in range(TAKES)]
    return {"graph": True, "launches": 2, "takes": takes}


def made_of(timed: Timed) -> dict[str, str]:
    """What a case runs: the hash of its kernel's source, or torch's version and cuDNN's."""
    if timed.own:
        source = MODULES[timed.kernel].split(".")[1] + ".py"
        return {"source_sha256": records.sources()[source]}
    return {"torch": torch.__version__, "cudnn": str(torch.backends.cudnn.version())}


def measure(timed: Timed, dry_run: bool) -> dict[str, Any]:
    """One case: its takes; or "refused", why torch does not take it; or "failed", with the error.

    dry_run: runs on the CPU, times are made up.
    """
    row = {**timed.to_dict(), **made_of(timed)}
    try:
        work = runner(timed, inputs(timed, "cpu" if dry_run else "cuda"))
        outputs = work()
    except RuntimeError as error:
        text = str(error).split("\n")[0]
        # Of other classes are memory that is short and faults of the device.
        refused = not timed.own and type(error) is RuntimeError
        return {**row, "refused" if refused else "failed": f"{type(error).__name__}: {text}"}
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        return {**row, "failed": "an output is not finite"}
    return {**row, **(made_up() if dry_run else on_gpu(work))}


def measured(cases: Iterable[Timed], dry_run: bool) -> Iterator[dict[str, Any]]:
    """Rows of cases in their order. An error of one is in its row, the others go on."""
    for timed in cases:
        try:
            yield measure(timed, dry_run)
        except Exception as error:  # whatever it is, the cases behind it are worth having
            yield {**timed.to_dict(), "failed": f"{type(error).__name__}: {error}"}
        if not dry_run:
            torch.cuda.empty_cache()


def one_per_kernel(cases: Iterable[Timed], small: Callable[[Case], Case]) -> list[Timed]:
    """The first case of each kernel, made small."""
    firsts: dict[str, Timed] = {}
    for timed in cases:
        firsts.setdefault(timed.kernel, timed)
    return [dataclasses.replace(one, case=small(one.case)) for one in firsts.values()]
