"""Times of attention as a run measured them, beside what was predicted and a roofline.

    python -m accelsim.validate.timed kernels/runs/RECORD.json    every row, as a table

Errors are relative to what was measured. Nothing here passes or fails by its size.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import AccelsimError
from accelsim.validate import times

MISS = 0.12
"""Of the measured time: an error beyond it is listed."""


@dataclass(frozen=True)
class Compared:
    """One case. All times in seconds.

    measured: the mean of the medians of its takes, back to back. noise: how far these lie apart,
    relative. spread: from the fastest to the slowest launch, relative. flushed: from a cold L2.
    roofline, memory: at the datasheet's rates, what it takes at least, and its bytes alone.
    clock: Hz, None where it was not read.
    """

    row: times.Row
    family: str
    measured: float
    noise: float
    spread: float
    flushed: float
    roofline: float
    memory: float
    clock: float | None

    @property
    def error(self) -> float:
        return self.of(self.row.seconds)

    def of(self, seconds: float) -> float:
        """Relative error of a prediction."""
        return seconds / self.measured - 1

    @property
    def missed(self) -> bool:
        return abs(self.error) > MISS

    def __str__(self) -> str:
        why = f" ({self.row.bottleneck})" if self.row.bottleneck else ""
        return (
            f"{self.row.case}: predicted {shown(self.row.seconds)}{why}, "
            f"measured {shown(self.measured)}, {self.error:+.1%}"
        )


@dataclass(frozen=True)
class Comparison:
    """rows: the largest errors first. faults: what makes the run no evidence, or a case no time.

    unchecked: what was predicted and not measured.
    """

    rows: list[Compared]
    faults: list[str]
    unchecked: list[str]


def shown(seconds: float) -> str:
    """Four digits, in us or ms."""
    return f"{seconds * 1e3:.4g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.4g} us"


def has_times(record: Mapping[str, Any]) -> bool:
    return any(name.startswith("times ") for name in record["sections"])


def compare(record: Mapping[str, Any]) -> Comparison:
    """A record with times beside the predictions that it names.

    Raises AccelsimError where these are not there, not as sealed, malformed, not those that the run
    was made with, or for another GPU.
    """
    gpu, before = record["environment"]["name"], record.get("predictions") or {}
    path = times.file_of(gpu)
    if not before.get("sha256"):
        raise AccelsimError("times were measured that were not predicted before")
    if before["file"] != path.name:
        raise AccelsimError(f"times of {gpu!r} were predicted in {before['file']}, not {path.name}")
    rows, digest = times.sealed(path)
    if digest != before["sha256"]:
        raise AccelsimError(
            f"predictions/{path.name} is another file than the run was made with: "
            f"{digest[:12]}..., not {before['sha256'][:12]}..."
        )
    predicted = {row.case: row for row in rows}
    found: dict[str, Compared] = {}
    faults: list[str] = []
    refused: dict[str, list[str]] = {}
    for name, section in record["sections"].items():
        for case in section if name.startswith("times ") else ():
            row = predicted.pop(case["name"], None)
            if row is None:
                again = "measured twice" if case["name"] in found else "measured, not predicted"
                faults.append(f"{case['name']}: {again}")
            elif "failed" in case:
                faults.append(f"{case['name']}: {case['failed']}")
            elif "refused" in case:
                refused.setdefault(case["kernel"], []).append(case["refused"])
            else:
                found[row.case] = _compared(row, case)
    unchecked = [
        f"times: {kernel} took not {len(why)} of its cases: {why[0]}"
        for kernel, why in refused.items()
    ]
    if predicted:
        unchecked.append(f"{len(predicted)} predicted times were not measured")
    ordered = sorted(found.values(), key=lambda c: (-abs(c.error), c.row.case))
    return Comparison(ordered, faults, unchecked)


def _compared(row: times.Row, case: Mapping[str, Any]) -> Compared:
    warm, cold = (
        [take[kind] for take in case["takes"]] for kind in ("back_to_back_s", "flushed_s")
    )
    medians = [one["median"] for one in warm]
    measured = statistics.mean(medians)
    if not (math.isfinite(measured) and min(medians) > 0):
        raise ValueError(f"{case['name']}: {medians} are no times")
    clocks = [take["clock_hz"].get("median") for take in case["takes"]]
    read = [hertz for hertz in clocks if hertz is not None]
    return Compared(
        row,
        case["family"],
        measured,
        noise=(max(medians) - min(medians)) / measured,
        spread=(max(one["most"] for one in warm) - min(one["least"] for one in warm)) / measured,
        flushed=statistics.mean(one["median"] for one in cold),
        roofline=max(case["products_s"], case["memory_s"]),
        memory=case["memory_s"],
        clock=statistics.mean(read) if read else None,
    )


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's; NaN where there are fewer than two values or all are the same."""
    if len(one) < 2:
        return math.nan
    try:
        return statistics.correlation(_ranks(one), _ranks(other))
    except statistics.StatisticsError:
        return math.nan


def _ranks(values: Sequence[float]) -> list[float]:
    """From 0 on; equal values share the mean of their ranks."""
    ordered = sorted(values)
    first = {value: ordered.index(value) for value in values}
    return [first[value] + (ordered.count(value) - 1) / 2 for value in values]


def baselines(rows: Sequence[Compared]) -> dict[str, Callable[[Compared], float]]:
    """Predictors, seconds of a case: the predicted ones, and those that they have to beat.

    The last is fitted to the run itself: one factor for all cases, whose errors have then the
    median 0.
    """
    factor = statistics.median(row.measured / row.roofline for row in rows)
    return {
        "predicted": lambda row: row.row.seconds,
        "roofline": lambda row: row.roofline,
        "bytes alone": lambda row: row.memory,
        f"roofline x {factor:.2f}, fitted": lambda row: factor * row.roofline,
    }


def summary(rows: Sequence[Compared]) -> list[str]:
    """Errors of all and of each family, beside those of the baselines; the noise."""
    if not rows:
        return []
    out = []
    held = sum(not row.missed for row in rows)
    out.append(f"times: {held} of {len(rows)} within {MISS:.0%} of the measured")
    for name, seconds in baselines(rows).items():
        out.append(f"times, {name}: {_errors(rows, seconds)}")
    for family in dict.fromkeys(sorted(row.family for row in rows)):
        members = [row for row in rows if row.family == family]
        own = _errors(members, lambda row: row.row.seconds)
        roofline = _errors(members, lambda row: row.roofline)
        out.append(f"times of {family}, predicted: {own}; roofline: {roofline}")
    noise = [row.noise for row in rows]
    spread = statistics.median(row.spread for row in rows)
    out.append(
        f"times, noise: two takes lie {statistics.median(noise):.2%} apart (median), "
        f"{max(noise):.2%} at most; the launches of a case {spread:.2%}"
    )
    return out


def _errors(rows: Sequence[Compared], seconds: Callable[[Compared], float]) -> str:
    errors = [row.of(seconds(row)) for row in rows]
    mean = statistics.mean(abs(error) for error in errors)
    worst = max(errors, key=abs)
    rank = rank_correlation([seconds(row) for row in rows], [row.measured for row in rows])
    ranked = "" if math.isnan(rank) else f", rank correlation {rank:.3f}"
    return f"mean absolute error {mean:.1%}, worst {worst:+.1%}{ranked} (n = {len(rows)})"


def entry(row: Compared) -> dict[str, Any]:
    """A row for JSON."""
    return {
        "case": row.row.case,
        "kernel": row.row.kernel,
        "family": row.family,
        "predicted_s": row.row.seconds,
        "measured_s": row.measured,
        "error": row.error,
        "noise": row.noise,
        "flushed_s": row.flushed,
        "roofline_s": row.roofline,
        "clock_hz": row.clock,
        "bottleneck": row.row.bottleneck,
    }


def table(rows: Sequence[Compared]) -> str:
    """Every row in Markdown, the largest errors first."""
    out = [
        "| case | predicted | measured | error | noise | flushed | roofline | GHz | bottleneck |",
        f"|{' --- |' * 9}",
    ]
    for row in rows:
        cells = [
            row.row.case,
            shown(row.row.seconds),
            shown(row.measured),
            f"{row.error:+.1%}",
            f"{row.noise:.2%}",
            shown(row.flushed),
            shown(row.roofline),
            "" if row.clock is None else f"{row.clock / 1e9:.3f}",
            row.row.bottleneck,
        ]
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m accelsim.validate.timed")
    parser.add_argument("record", type=Path, help="of a run with times")
    path = parser.parse_args().record
    try:
        found = compare(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AccelsimError) as error:
        sys.exit(f"{path.name}: {error}")
    print("\n\n".join([table(found.rows), "\n".join(summary(found.rows) + found.faults)]))


if __name__ == "__main__":
    main()
