"""Runs kernels in Triton's interpreter and counts every byte that they request.

    python -m kernels.trace < cases.json > results.json

reads a list of cases (`cases.Case.to_dict`) and writes one result per case, in the same order:

    {"case": {...}, "launches": [...], "numerics": {"O": {"global", "worst_row"}}, "finite": true}

or `{"case": {...}, "error": text}` where a case failed. A launch is

    {"name", "grid", "dots", "dot_calls", "tensors": {"K": {"read", "written", "atomic",
     "sectors_read", "sectors_written"}}}

`read`, `written`, `atomic`: bytes of the lanes that are not masked. `sectors_*`: 32-byte sectors,
each counted once per access. `dots`: multiply-accumulates of `tl.dot`, padding included.
`numerics` compares the outputs with float64 (`cases.errors`); null stands for a number that is not
finite. With `--trace` a launch has "trace": for each program, program_id(0) fastest, its accesses
in order, [tensor, "r" | "w" | "a", first element, bytes].

Every access of a kernel ends in a few methods of the interpreter's builder, which are wrapped here.
An access that touches anything but one known tensor is an error, raised before it is made.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import multiprocessing
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch

from kernels.cases import Case, Tensors, errors, kernel

SECTOR = 32
FIELDS = ("read", "written", "atomic", "sectors_read", "sectors_written")


class Recorder:
    """The accesses of the launches of one case to tensors known by name."""

    def __init__(self, tensors: Tensors) -> None:
        spans = []
        for name, tensor in tensors.items():
            if not tensor.is_contiguous():
                raise ValueError(f"{name}: is not contiguous")
            size = tensor.element_size()
            spans.append((tensor.data_ptr(), tensor.numel() * size, size, name))
        spans.sort()
        self._spans = spans
        self._starts = [span[0] for span in spans]
        self.launches: list[dict[str, Any]] = []
        self._traces: list[list[list[Any]]] = []
        self._program: list[list[Any]] = []

    def begin(self, name: str) -> None:
        """What follows belongs to a new launch."""
        self.launches.append({"name": name, "grid": [], "tensors": {}, "dots": 0, "dot_calls": 0})

    def grid(self, *sizes: int) -> None:
        self.launches[-1]["grid"] = [int(size) for size in sizes]
        self._traces = [[] for _ in range(math.prod(sizes))]
        self.launches[-1]["trace"] = self._traces

    def program(self, x: int, y: int, z: int) -> None:
        nx, ny, _ = self.launches[-1]["grid"]
        self._program = self._traces[x + nx * (y + ny * z)]

    def access(self, kind: str, pointers: Any, mask: Any) -> None:
        """One access, by pointers of the interpreter and a mask (None = every lane)."""
        addresses = np.asarray(pointers.data)
        if mask is not None:
            # The interpreter keeps some masks as integers, which would index rather than choose.
            chosen = np.asarray(mask.data).astype(bool)
            addresses = addresses[np.broadcast_to(chosen, addresses.shape)]
        if not addresses.size:
            return
        lane = max(pointers.get_element_ty().primitive_bitwidth // 8, 1)
        first, last = int(addresses.min()), int(addresses.max()) + lane
        place = bisect_right(self._starts, first) - 1
        start, length, size, name = self._spans[max(place, 0)]
        if place < 0 or last > start + length:
            raise IndexError(
                f"{self.launches[-1]['name']}: an access of {last - first} bytes lies outside of "
                f"every tensor; the nearest below starts {first - start} bytes before it: {name}"
            )
        requested = int(addresses.size) * lane
        counts = self.launches[-1]["tensors"].setdefault(name, dict.fromkeys(FIELDS, 0))
        if kind == "a":
            counts["atomic"] += requested
        else:
            way = {"r": "read", "w": "written"}[kind]
            counts[way] += requested
            counts[f"sectors_{way}"] += int(np.unique(addresses // SECTOR).size)
        self._program.append([name, kind, (first - start) // size, requested])

    def dot(self, x: Any, y: Any) -> None:
        self.launches[-1]["dots"] += int(x.data.size) * int(y.data.shape[-1])
        self.launches[-1]["dot_calls"] += 1


@contextlib.contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Within, every interpreted launch reports to the recorder."""
    import triton.language as tl
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    load, store = builder.create_masked_load, builder.create_masked_store
    rmw, cas, dot = builder.create_atomic_rmw, builder.create_atomic_cas, builder.create_dot
    grid_dim, grid_idx = builder.set_grid_dim, builder.set_grid_idx

    def masked_load(pointers: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        recorder.access("r", pointers, mask)
        return load(pointers, mask, *rest, **named)

    def masked_store(pointers: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        recorder.access("w", pointers, mask)
        return store(pointers, value, mask, *rest, **named)

    def atomic_rmw(op: Any, pointers: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        recorder.access("a", pointers, mask)
        return rmw(op, pointers, value, mask, *rest, **named)

    def atomic_cas(pointers: Any, *rest: Any, **named: Any) -> Any:
        recorder.access("a", pointers, None)
        return cas(pointers, *rest, **named)

    def widened(operand: Any) -> Any:
        # The interpreter keeps bfloat16 as its bits in uint16, and would multiply those.
        if operand.dtype.scalar != tl.bfloat16:
            return operand
        bits = operand.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), tl.float32)

    def repaired_dot(x: Any, y: Any, *rest: Any, **named: Any) -> Any:
        recorder.dot(x, y)
        return dot(widened(x), widened(y), *rest, **named)

    def set_grid_dim(*sizes: int) -> None:
        recorder.grid(*sizes)
        grid_dim(*sizes)

    def set_grid_idx(*at: int) -> None:
        recorder.program(*at)
        grid_idx(*at)

    wrappers = {
        "create_masked_load": masked_load,
        "create_masked_store": masked_store,
        "create_atomic_rmw": atomic_rmw,
        "create_atomic_cas": atomic_cas,
        "create_dot": repaired_dot,
        "set_grid_dim": set_grid_dim,
        "set_grid_idx": set_grid_idx,
    }
    for name, wrapper in wrappers.items():
        setattr(builder, name, wrapper)
    try:
        yield
    finally:
        for name in wrappers:
            delattr(builder, name)


def trace_case(case: Case, *, trace: bool = False, numerics: bool = True) -> dict[str, Any]:
    """The result of one case, as the module describes it.

    Raises RuntimeError unless kernels are interpreted (TRITON_INTERPRET=1 before Triton was
    imported), ValueError for a case the kernel cannot run, and what the interpreter raises.
    """
    if os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError("a trace needs TRITON_INTERPRET=1 before triton is imported")
    offered = kernel(case.kernel)
    tensors = offered.inputs(case, "cpu")
    plan = offered.plan(case, tensors)
    recorder = Recorder({**tensors, **plan.written})
    # Rows of a block beyond the last query divide 0 by 0; they are not stored.
    with recording(recorder), np.errstate(all="ignore"):
        for launch in plan.launches:
            recorder.begin(launch.name)
            launch()
    if not trace:
        for done in recorder.launches:
            del done["trace"]
    result: dict[str, Any] = {"case": case.to_dict(), "launches": recorder.launches}
    if numerics:
        reference = offered.reference(case, tensors)
        found = {n: errors(n, plan.written[n], reference[n]) for n in offered.outputs}
        result["numerics"] = {
            name: {k: x if math.isfinite(x) else None for k, x in error.items()}
            for name, error in found.items()
        }
    result["finite"] = all(bool(plan.written[n].isfinite().all()) for n in offered.outputs)
    return result


def trace_given(given: dict[str, Any], *, trace: bool, numerics: bool) -> dict[str, Any]:
    """The result for a case read from JSON, or what went wrong."""
    try:
        return trace_case(Case.from_dict(given), trace=trace, numerics=numerics)
    except Exception as error:
        # The interpreter wraps what happens in a kernel once per call; the cause says it.
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return {"case": given, "error": f"{type(cause).__name__}: {cause}"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m kernels.trace", description=__doc__)
    parser.add_argument("--trace", action="store_true", help="every access, not only the sums")
    parser.add_argument("--numerics", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    os.environ["TRITON_INTERPRET"] = "1"
    one = functools.partial(trace_given, trace=options.trace, numerics=options.numerics)
    given = json.load(sys.stdin)
    if options.jobs == 1:
        results = [one(case) for case in given]
    else:
        spawn = multiprocessing.get_context("spawn")
        # One thread per process: the processes already share the cores.
        with ProcessPoolExecutor(options.jobs, spawn, torch.set_num_threads, (1,)) as pool:
            results = list(pool.map(one, given))
    json.dump(results, sys.stdout, allow_nan=False)


if __name__ == "__main__":
    main()
