"""Stands in for simulation: measures by arithmetic; processes that die, or are killed, on purpose.

    python -m tests.explore.standin STUDY OUT KILL [SECONDS [WORKERS [PIDS]]]

runs a study with the stand-in, SECONDS a point; without SECONDS it is simulated. KILL: how many of
the steps by which files are written are taken before the process kills itself; none for 0. It
prints a line when it begins to solve.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from accelsim import explore
from accelsim.explore import drive, store

STUDY = """sweep: standin
source: here
axes: {axes}
cases:
  - {{workload: bert, runs: {{a: {{mapping: fusemax__attention_1pass}}}}}}
columns: {{seconds: seconds, energy: energy_pj, cycles: cycles}}
"""
SMALL = "{a: {range: [1, 40]}, kind: [x, y, z], b: {range: [1, 10], when: {kind: [x, y]}}}"
"""840 points."""
EVERY = (0, 1 << 62)
"""Points of all parts."""


def study(folder: Path, axes: str = SMALL, more: str = "") -> Path:
    path = folder / "study.yaml"
    path.write_text(STUDY.format(axes=axes) + more)
    return path


def arithmetic(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Measures; every 50th value of `a` fails."""
    return [_measures(**point) for point in points]


def _measures(a: int, b: int | None = None, kind: str = "x") -> dict[str, Any]:
    if a % 50 == 7:
        return {"error": f"a is {a}"}
    cycles = a * (b or 100) + len(kind)
    return {"seconds": cycles / 7, "energy_pj": cycles**0.5, "cycles": cycles}


@dataclass(frozen=True)
class Slow:
    """Takes `seconds` a point. pids: a folder in which each process leaves its number."""

    seconds: float
    pids: str = ""

    def __call__(self, points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.pids:
            (Path(self.pids) / str(os.getpid())).touch()
        time.sleep(self.seconds * len(points))
        return arithmetic(points)


@dataclass(frozen=True)
class Deadly:
    """A point with a = 3 kills the process, `times` times; marks: a folder to count them in."""

    marks: str
    times: int

    def __call__(self, points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        marks = Path(self.marks)
        if any(p["a"] == 3 for p in points) and len(list(marks.iterdir())) < self.times:
            (marks / f"{time.monotonic_ns()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return arithmetic(points)


def fingerprint(folder: Path) -> str:
    """SHA-256 of all rows of a folder, by the number of their point."""
    target, _ = store.opened(folder)
    rows = sorted(target.rows(target.parts()[0]), key=lambda row: row["point"])
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def interrupted(patch: pytest.MonkeyPatch, after: int, stop: Callable[[int | None], None]) -> None:
    """Call `stop` once that many of the steps are taken in which files are written.

    A file's bytes are there (half of them), on disk, renamed, its folder on disk. It is given the
    file that was half written, else None.
    """
    steps = itertools.count(1)
    sync, rename = os.fsync, os.replace

    def step(file: int | None = None) -> None:
        if next(steps) == after:
            stop(file)

    def fsync(file: int) -> None:
        step(file)
        sync(file)
        step()

    def replace(source: Any, target: Any) -> None:
        step()
        rename(source, target)
        step()

    patch.setattr(os, "fsync", fsync)
    patch.setattr(os, "replace", replace)


def _kill(file: int | None) -> None:
    if file is not None and (size := os.fstat(file).st_size) and os.path.isfile(f"/dev/fd/{file}"):
        os.ftruncate(file, size // 2)
    os.kill(os.getpid(), signal.SIGKILL)


def main(
    path: str, out: str, kill: str, seconds: str = "", workers: str = "1", pids: str = ""
) -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(store, "ROWS", 97)
    patch.setattr(drive, "TASK_SECONDS", 0.02)
    if int(kill):
        interrupted(patch, int(kill), _kill)
    evaluate = Slow(float(seconds), pids) if seconds else None
    document = explore.load(path)
    print("ready", flush=True)
    drive.run(document, Path(out), evaluate=evaluate, resume=True, workers=int(workers))


if __name__ == "__main__":
    main(*sys.argv[1:])
