"""Committed GPU runs beside what was predicted of them, misses first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.errors import AccelsimError
from accelsim.validate import kernels
from accelsim.validate.predictions import COUNTERS, Row, read_csv


@dataclass(frozen=True)
class Compared:
    """A predicted counter of a launch and the measured one; None where it was not measured."""

    row: Row
    measured: int | None

    @property
    def error(self) -> float:
        """How far outside of what is predicted, relative to it; 0 inside, NaN unmeasured."""
        if self.measured is None:
            return float("nan")
        for bound, below in ((self.row.least, True), (self.row.most, False)):
            if bound is not None and (self.measured < bound) == below and self.measured != bound:
                return (self.measured - bound) / max(bound, 1)
        return 0.0

    @property
    def missed(self) -> bool:
        return abs(self.error) > self.row.tolerance

    def __str__(self) -> str:
        bounds = [self.row.least, self.row.most]
        wanted = " to ".join(dict.fromkeys("..." if b is None else f"{b:,}" for b in bounds))
        model = f" ({self.row.model})" if self.row.model else ""
        start = f"{self.row.case}: {self.row.launch}: {self.row.counter}{model}: predicted {wanted}"
        if self.measured is None:
            return f"{start}, not measured"
        return f"{start}, measured {self.measured:,}, {self.error:+.2%}"


def predicted(gpu: str) -> list[Row] | None:
    """The committed predictions for a GPU by its name in records; None without any.

    Raises AccelsimError for what is no predictions' file.
    """
    path = kernels.folder() / "predictions" / f"{kernels.short(gpu)}.csv"
    if not path.is_file():
        return None
    try:
        return read_csv(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise AccelsimError(f"predictions/{path.name}: is not UTF-8") from None


def compare(record: Mapping[str, Any], rows: list[Row]) -> list[Compared]:
    """Each prediction with its counter in a record, the largest misses first.

    Of the models of the cache the better one counts, over all DRAM reads of the run together: one
    choice for a GPU, not one per case.
    """
    measured = _counters(record)
    found = [Compared(row, measured.get((row.case, row.launch, row.counter))) for row in rows]
    models = dict.fromkeys(c.row.model for c in found if c.row.model)
    best = min(models, key=lambda model: _mean_error(found, model), default="")
    kept = [c for c in found if not c.row.model or c.row.model == best]
    return sorted(
        kept, key=lambda c: (not c.missed, -abs(c.error) if c.measured is not None else 0)
    )


def _mean_error(found: list[Compared], model: str) -> float:
    reads = [
        abs(c.error)
        for c in found
        if c.row.model == model and c.measured is not None and c.row.counter == "dram_read_bytes"
    ]
    return sum(reads) / len(reads) if reads else 0.0


def _counters(record: Mapping[str, Any]) -> dict[tuple[str, str, str], int]:
    """(case, launch, counter) -> measured, of the sections that start from an empty cache."""
    out = {}
    for name, section in record["sections"].items():
        if not name.startswith("counters") or name.endswith("warm"):
            continue
        for case in section:
            for launch in case["launches"]:
                for counter, about in COUNTERS.items():
                    value = launch["counters"].get(about.metric)
                    if value is not None:
                        key = (case["name"], launch["name"], counter)
                        out[key] = round(value * about.scale)
    return out


def numbers(record: Mapping[str, Any]) -> tuple[int, list[str]]:
    """How many cases' numbers a run checked, and those that did not pass their gate."""
    checked, faults = 0, []
    for name, section in record["sections"].items():
        if not name.startswith("numerics"):
            continue
        for case in section:
            if "skipped" in case:
                continue
            checked += 1
            worst = [x for error in case["errors"].values() for x in error.values()]
            within = all(isinstance(x, float | int) and x <= case["gate"] for x in worst)
            if not (case["passed"] and worst and within):
                errors = json.dumps(case["errors"])
                faults.append(f"{name}: {case['name']}: {errors}, at most {case['gate']}")
    return checked, faults
