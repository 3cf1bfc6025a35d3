"""Whatever moment a run is killed at, what is written is whole, and the rest is solved later."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from accelsim import explore
from accelsim.explore import drive, store
from tests.explore import standin
from tests.explore.standin import EVERY

ROOT = Path(__file__).parents[2]


def started(
    path: Path,
    out: Path,
    *,
    kill: int = 0,
    seconds: float | None = 0.0,
    workers: int = 1,
    pids: str = "",
) -> subprocess.Popen[str]:
    """A run in a process of its own, begun. seconds: a point takes; None to simulate it."""
    words = [str(path), str(out), str(kill), "" if seconds is None else str(seconds)]
    words += [str(workers), pids]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.explore.standin", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kept_through(
    folder: Path, path: Path, kills: int, seconds: float | None, latest: float
) -> None:
    """Kill a run so many times, half of them at random and half at a step of writing.

    seconds: a point takes, of the stand-in; None to simulate. latest: seconds until a kill.
    """
    undisturbed, out = folder / "undisturbed", folder / "out"
    evaluate = None if seconds is None else standin.arithmetic
    drive.run(explore.load(str(path)), undisturbed, evaluate=evaluate)
    chance = random.Random(0)
    seen: set[tuple[int, ...]] = set()
    for number in range(kills):
        if number % 2:
            process = started(path, out, kill=chance.randint(1, 18), seconds=seconds)
        else:
            process = started(path, out, seconds=seconds)
            time.sleep(chance.uniform(0, latest))
            process.kill()
        assert process.wait(60) == -signal.SIGKILL, "it was done before it was killed"
        if (out / store.MANIFEST).exists():
            target, _ = store.opened(out)
            parts, bad = target.parts(thorough=EVERY)
            assert not bad
            points = {tuple(row.values()) for row in target.rows(parts)}
            assert seen <= points, "a row that was there is lost"
            seen = points
    assert seen
    process = started(path, out, seconds=seconds and 0.0)
    assert process.wait(100) == 0
    assert standin.fingerprint(out) == standin.fingerprint(undisturbed)
    assert not [p for p in out.iterdir() if p.name.startswith(".")]


def test_five_kills(tmp_path: Path) -> None:
    path = standin.study(tmp_path, "{a: {range: [1, 50]}, b: {range: [1, 20]}}")
    kept_through(tmp_path, path, 5, 0.0005, 0.2)


@pytest.mark.long
def test_fifty_kills(tmp_path: Path) -> None:
    path = standin.study(tmp_path, "{a: {range: [1, 200]}, b: {range: [1, 100]}}")
    kept_through(tmp_path, path, 50, 0.0005, 0.2)


@pytest.mark.long
def test_fifty_kills_of_simulations(tmp_path: Path) -> None:
    """22,010 points, each simulated."""
    kept_through(tmp_path, ROOT / "benchmarks" / "sweep_mix.yaml", 50, None, 1.5)


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    path, pids = standin.study(tmp_path), tmp_path / "pids"
    pids.mkdir()
    process = started(path, tmp_path / "out", seconds=0.01, workers=2, pids=str(pids))
    deadline = time.monotonic() + 60
    while len(list(pids.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait(60)
    left = {int(one.name) for one in pids.iterdir()}
    assert len(left) == 2
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if _lives(pid)}
        time.sleep(0.05)
    assert not left


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # one that has ended may wait for its end to be read
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
