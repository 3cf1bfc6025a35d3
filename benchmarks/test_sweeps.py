"""Speed and memory of sweeps. `make bench`; not part of the tests.

Budgets to hold, on one core, rows written to parquet files: 5,000 points per second of
sweep_mix.yaml, where the arrays are the limit, and 2,000 of sweep_mix_memory.yaml, where memory is;
a million points in one sweep in 1 GiB.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ON_ONE_CORE = """
import json, os, sys, time
from pathlib import Path
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from accelsim import explore
begin = time.perf_counter()
summary = explore.run(explore.load(sys.argv[1]), Path(sys.argv[2]))
seconds = time.perf_counter() - begin
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps({"rows": summary.rows, "failed": summary.failed, "s": seconds, "mib": peak}))
"""


def swept(study: Path, out: Path) -> dict[str, Any]:
    import json

    command = [sys.executable, "-c", ON_ONE_CORE, str(study), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("study", "least"), [("sweep_mix", 5000), ("sweep_mix_memory", 2000)], ids=["arrays", "memory"]
)
def test_points_per_second(benchmark: Any, tmp_path: Path, study: str, least: int) -> None:
    """The whole of a run: the study read, every point simulated, parts written."""
    runs: list[dict[str, Any]] = []

    def once() -> None:
        runs.append(swept(HERE / f"{study}.yaml", tmp_path / str(len(runs))))

    benchmark.pedantic(once, rounds=3, warmup_rounds=1)
    rates = sorted(run["rows"] / run["s"] for run in runs[1:])
    benchmark.extra_info["points"] = runs[0]["rows"]
    benchmark.extra_info["points_per_second"] = rates[1]
    assert not runs[0]["failed"]
    assert rates[1] > least


def test_a_million_points(benchmark: Any, tmp_path: Path) -> None:
    """Minutes: the same with more buffers and memories."""
    text = (HERE / "sweep_mix.yaml").read_text()
    few = "bandwidth: [400, 500, 600, 800, 1000, 1200, 1600, 2000, 2400, 3200]"
    assert few in text
    study = tmp_path / "million.yaml"
    study.write_text(
        text.replace(few, "bandwidth: {range: [400, 3200], step: 20}").replace(
            "step: 8}", "step: 2}"
        )
    )
    run = benchmark.pedantic(swept, (study, tmp_path / "out"), rounds=1)
    benchmark.extra_info["points"] = run["rows"]
    benchmark.extra_info["peak_mib"] = run["mib"]
    assert run["rows"] >= 1_000_000
    assert run["mib"] < 1024
