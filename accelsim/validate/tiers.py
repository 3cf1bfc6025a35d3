"""The tiers of `accelsim validate`: a GPU at hand, the interpreter, what was recorded on GPUs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelsim.errors import AccelsimError
from accelsim.validate import kernels, recorded, suite
from accelsim.validate.compare import differences, trace_faults
from accelsim.validate.report import Report, Tier, judged, skipped

TIERS = ("gpu", "interpreter", "recorded")
Progress = Callable[[str], None]
NUMBERS = ("global", "worst_row")

NOT_INTERPRETED = [
    "time, caches, and what a compiler makes of loads",
    "rounding to bfloat16 (the interpreter truncates), which torch checks in the tests",
]
NOT_ON_GPU = ["time: no attention is timed before its prediction is committed"]
NOT_RECORDED = ["anything about the kernels as they are now, beyond their sources being the same"]


def validate(
    chosen: Sequence[str] = TIERS, progress: Callable[[str], None] | None = None
) -> Report:
    """Run the tiers. progress: called with what is being done. Raises AccelsimError."""
    made = []
    for name in chosen:
        if progress is not None:
            progress(name)
        made.append(_TIERS[name]())
    return Report(made)


def number_faults(traced: dict[str, Any], which: Sequence[str] = NUMBERS) -> list[str]:
    """Outputs of a case further from float64 than its gate, or not finite."""
    out = [] if traced["finite"] else ["an output is not finite"]
    for name, errors in traced["numerics"].items():
        for kind in which:
            error = errors[kind]
            if error is None or not math.isfinite(error) or error > traced["gate"]:
                out.append(f"{name}: {kind} error {error}, at most {traced['gate']}")
    return out


def traffic_faults(traced: dict[str, Any]) -> list[str]:
    """Bytes, products and accesses that are not those of the mapping."""
    found = [str(difference) for difference in differences(traced)]
    return found + (trace_faults(traced) if "trace" in traced["launches"][0] else [])


def interpreter() -> Tier:
    """Every kernel and mask in Triton's interpreter: numbers, bytes, products, every access."""
    name = "interpreter"
    reason = kernels.missing()
    if reason is not None:
        return skipped(name, reason, ["numbers and bytes of the kernels"])
    results = kernels.traced(suite.quick(), trace=True)
    faults = []
    for result in results:
        case = result["case"]
        label = f"{case['kernel']} {case['dtype']} {case['mask'] or 'dense'} {case['shape']}"
        if "error" in result:
            faults.append(f"{label}: {result['error']}")
            continue
        found = number_faults(result) + traffic_faults(result)
        faults += [f"{label} ({case['inputs']}): {fault}" for fault in found]
    names = ", ".join(dict.fromkeys(result["case"]["kernel"] for result in results))
    checked = [
        f"{len(results)} cases of {names}: numbers within their gates, worst row too",
        "bytes of each tensor, products and all accesses of every program equal the mapping's",
    ]
    return judged(name, checked, faults, NOT_INTERPRETED)


def gpu() -> Tier:
    """The kernels on the GPU at hand: numbers, and counters where Nsight Compute is present."""
    name = "gpu"
    reason = kernels.missing() or kernels.no_gpu()
    if reason is not None:
        return skipped(name, reason, ["numbers, counters and rates of a real GPU"])
    with_counters = kernels.has_ncu()
    found = kernels.measured(counters=with_counters)
    checked, faults, misses = _of_record(found)
    unchecked = list(NOT_ON_GPU)
    if not with_counters:
        unchecked.append("counters: ncu is not on the path")
    return judged(name, checked, faults, unchecked, misses)


def committed(folder: Path | None = None) -> Tier:
    """The runs in kernels/runs: unaltered, numbers passed; counters beside predictions."""
    name = "recorded"
    found = kernels.records(folder or kernels.folder() / "runs")
    if not found:
        return skipped(name, "no run of a GPU is committed", ["what GPUs do"])
    checked, faults, misses = [], [], []
    for one in found:
        if "error" in one:
            faults.append(f"{one['path']}: {one['error']}")
            continue
        own, wrong, missed = _of_record(one["record"])
        checked += [f"{one['path']}: {line}" for line in own]
        faults += [f"{one['path']}: {line}" for line in wrong]
        misses += missed
    return judged(name, checked, faults, NOT_RECORDED, misses)


def _of_record(record: dict[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """What a record shows: in words, its faults, the predictions it missed."""
    number, faults = recorded.numbers(record)
    checked = [f"numbers of {number} cases within their gates"] if number else []
    faults += [f"section {name} failed: {why}" for name, why in record["failed"].items()]
    try:
        rows = recorded.predicted(record["environment"]["name"])
    except AccelsimError as error:
        return checked, faults, [str(error)]
    compared = [c for c in recorded.compare(record, rows) if c.measured is not None]
    missed = [str(c) for c in compared if c.missed]
    if compared:
        checked.append(f"{len(compared) - len(missed)} of {len(compared)} counters as predicted")
    return checked, faults, missed


_TIERS = {"gpu": gpu, "interpreter": interpreter, "recorded": committed}
