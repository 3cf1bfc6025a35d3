"""The tiers of `accelsim validate`: a GPU at hand, the interpreter, what was recorded on GPUs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from accelsim.errors import AccelsimError
from accelsim.validate import kernels, recorded, suite, timed
from accelsim.validate.cases import KERNELS
from accelsim.validate.compare import differences, trace_faults
from accelsim.validate.predictions import Row
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
    """Run the tiers. progress: called with what is being done."""
    made = []
    for name in chosen:
        if progress is not None:
            progress(name)
        try:
            made.append(_TIERS[name]())
        except AccelsimError as error:
            made.append(judged(name, [], [str(error)], []))
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
    numbers = [[r["error"]] if "error" in r else number_faults(r) for r in results]
    traffic = [[r["error"]] if "error" in r else traffic_faults(r) for r in results]
    faults = [
        f"{_label(result['case'])}: {fault}"
        for result, one, other in zip(results, numbers, traffic, strict=True)
        for fault in dict.fromkeys([*one, *other])
    ]
    total, kinds = len(results), dict.fromkeys(result["case"]["kernel"] for result in results)
    checked = [
        f"numbers of {numbers.count([])} of {total} cases within their gates, worst row too",
        f"bytes, products and accesses of {traffic.count([])} of {total} equal the mapping's",
        f"kernels: {', '.join(kinds)}",
    ]
    return judged(name, checked, faults, NOT_INTERPRETED)


def _label(case: dict[str, Any]) -> str:
    inputs = case.get("inputs", "random")
    return f"{case['kernel']} {case['dtype']} {case['mask'] or 'dense'} {case['shape']} {inputs}"


def gpu() -> Tier:
    """The kernels on the GPU at hand: numbers, and counters where Nsight Compute is present."""
    name = "gpu"
    reason = kernels.missing() or kernels.no_gpu()
    if reason is not None:
        return skipped(name, reason, ["numbers, counters and rates of a real GPU"])
    sections = [f"numerics {kernel}" for kernel in KERNELS]
    without = [] if kernels.has_ncu() else ["counters: ncu is not on the path"]
    if not without:
        sections += ["counters shapes", "counters others"]
    found = _of_record(name, kernels.measured(sections))
    return replace(found, unchecked=[*found.unchecked, *without, *NOT_ON_GPU])


def committed() -> Tier:
    """The runs in kernels/runs: unaltered, numbers passed; counters beside predictions."""
    name = "recorded"
    found = kernels.records(kernels.folder() / "runs")
    if not found:
        return skipped(name, "no run of a GPU is committed", ["what GPUs do"])
    tiers = [
        judged(one["path"], [], [one["error"]], [])
        if "error" in one
        else _laid_out(one["path"], one["record"])
        for one in found
    ]

    def lines(kind: str) -> list[str]:
        return [f"{tier.name}: {line}" for tier in tiers for line in getattr(tier, kind)]

    unchecked = [*lines("unchecked"), *NOT_RECORDED]
    found_in_all = judged(name, lines("checked"), lines("faults"), unchecked, lines("misses"))
    times = [{"record": tier.name, **one} for tier in tiers for one in tier.times]
    return replace(found_in_all, times=times)


def _laid_out(name: str, record: dict[str, Any]) -> Tier:
    """The same of a record that may hold anything."""
    try:
        return _of_record(name, record)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        what = f"is not laid out as a record: {type(error).__name__}: {error}"
        return judged(name, [], [what], [])


def _of_record(name: str, record: dict[str, Any]) -> Tier:
    """What a record of a GPU shows: its numbers, and its counters beside the predicted ones."""
    number, faults = recorded.numbers(record)
    held = number - len(faults)
    checked = [f"numbers of {held} of {number} cases within their gates"] if number else []
    faults += [f"section {section} failed: {why}" for section, why in record["failed"].items()]
    unchecked = [f"section {section}: no time was left" for section in record["not_reached"]]
    timing = timed.has_times(record)
    rows: list[Row] | None = []
    if not timing:  # a run of times has no counters
        rows = recorded.predicted(record["environment"]["name"])
    if rows is None:
        unchecked.append("counters: there are no predictions for this GPU")
    compared = recorded.compare(record, rows or [])
    measured = [c for c in compared if c.measured is not None]
    misses = [str(c) for c in measured if c.missed]
    if measured:
        checked.append(f"{len(measured) - len(misses)} of {len(measured)} counters as predicted")
    if len(measured) < len(compared):
        unchecked.append(f"{len(compared) - len(measured)} predicted counters were not measured")
    times = _times(record) if timing else judged("times", [], [], [])
    checked, faults = checked + times.checked, faults + times.faults
    if not checked and not faults:
        faults.append("holds no number, no counter and no time that could be checked")
    found = judged(name, checked, faults, unchecked + times.unchecked, misses + times.misses)
    return replace(found, times=times.times)


def _times(record: dict[str, Any]) -> Tier:
    """Times of a record beside the predicted ones."""
    try:
        found = timed.compare(record)
    except AccelsimError as error:
        return judged("times", [], [str(error)], [])
    misses = [str(row) for row in found.rows if row.missed]
    checked = timed.summary(found.rows)
    tier = judged("times", checked, found.faults, found.unchecked, misses)
    return replace(tier, times=[timed.entry(row) for row in found.rows])


_TIERS = {"gpu": gpu, "interpreter": interpreter, "recorded": committed}
