"""Speed of the engines and of the whole command. `make bench`; not part of the tests.

Budgets to hold: compiled 80 million tasks per second on one core; a 1M-token point of binding in
3 ms on steady, a causal one in 0.2 s, and as a whole command at most 1.5 times a 4K-token one; 32
heads of attention over 16K tokens on the thread blocks of a GPU in 1 s, half of what compiled
takes; the demo command under 6 s; the 120 points of the FuseMax study in 5 s and 300 MiB.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from accelsim import verbs
from accelsim.engine import compiled, reference, steady
from accelsim.program import Program


def lowered(seq_len: int, *settings: str, mapping: str = "fusemax__attention_1pass") -> Program:
    """The Program of a mapping on BERT; made by a run, whose result is left alone."""
    return verbs.simulate(mapping, "bert", seq_len, settings=settings).program


@pytest.mark.parametrize("mapping", ["fusemax__attention_1pass", "fusemax__attention_1pass_serial"])
def test_compiled(benchmark: Any, mapping: str) -> None:
    program = lowered(16384, mapping=mapping)
    done = benchmark.pedantic(compiled.run, (program,), rounds=5, warmup_rounds=1)
    benchmark.extra_info["tasks"] = done.tasks
    benchmark.extra_info["tasks_per_second"] = done.tasks / benchmark.stats.stats.median
    if mapping == "fusemax__attention_1pass":
        assert done.tasks / benchmark.stats.stats.min > 80e6


def test_reference(benchmark: Any) -> None:
    program = lowered(1024, "workload.ranks.B=1", "workload.ranks.H=4")
    done = benchmark.pedantic(reference.run, (program, 0), rounds=5, warmup_rounds=1)
    benchmark.extra_info["tasks"] = done.tasks
    benchmark.extra_info["tasks_per_second"] = done.tasks / benchmark.stats.stats.median


def test_demo_command(benchmark: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "accelsim", "run"]
    command += ["--mapping", "fusemax__attention_1pass", "--model", "bert", "--seq-len", "16384"]
    command += ["--timeline", str(tmp_path / "timeline.json")]
    run = {"check": True, "capture_output": True}
    benchmark.pedantic(subprocess.run, (command,), run, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("seq_len", [4096, 65536, 1 << 20])
@pytest.mark.parametrize("mapping", ["fusemax__attention_1pass", "fusemax__attention_1pass_serial"])
def test_steady(benchmark: Any, mapping: str, seq_len: int) -> None:
    program = lowered(seq_len, mapping=mapping)
    done = benchmark.pedantic(steady.run, (program,), rounds=50, warmup_rounds=2)
    benchmark.extra_info["tasks"] = done.tasks
    assert benchmark.stats.stats.median < 0.003


def test_steady_causal(benchmark: Any) -> None:
    """A triangle of 4096 x 4096 tiles: every row is of another length."""
    program = lowered(1 << 20, mapping="fusemax__attention_1pass_window")
    done = benchmark.pedantic(steady.run, (program,), rounds=5, warmup_rounds=1)
    benchmark.extra_info["tasks"] = done.tasks
    assert benchmark.stats.stats.median < 0.2


def test_launch(benchmark: Any) -> None:
    """6.8 M tasks of thread blocks, several iterations at a time; medians of runs in turn."""
    heads = [f"workload.ranks.{rank}=32" for rank in "HG"]
    program = verbs.simulate("h200__flash_fwd", "flash_benchmark", 16384, settings=heads).program
    compiled.run(program)
    every: list[float] = []

    def one_of_compiled() -> None:
        begin = time.perf_counter()
        compiled.run(program)
        every.append(time.perf_counter() - begin)

    run = benchmark.pedantic(
        steady.run, (program,), setup=one_of_compiled, rounds=5, warmup_rounds=1
    )
    median = benchmark.stats.stats.median
    benchmark.extra_info["tasks"] = run.tasks
    benchmark.extra_info["of_compiled"] = median / statistics.median(every)
    assert median < 1
    assert median < statistics.median(every) / 2


def test_a_long_command_is_as_short_as_a_short_one() -> None:
    """Medians of runs taken in turn."""
    seconds: dict[int, list[float]] = {4096: [], 1 << 20: []}
    for _ in range(7):
        for seq_len, taken in seconds.items():
            command = [sys.executable, "-m", "accelsim", "run", "--mapping"]
            command += ["fusemax__attention_1pass", "--model", "bert", "--seq-len", str(seq_len)]
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            taken.append(time.perf_counter() - begin)
    assert statistics.median(seconds[1 << 20]) < 1.5 * statistics.median(seconds[4096])


# What getrusage says of a child counts what it was forked from.
AND_PEAK = """
import accelsim.cli
try:
    accelsim.cli.main()
finally:
    status = open("/proc/self/status").read()
    print(status.split("VmHWM:")[1].split()[0])
"""


def test_fusemax_study(benchmark: Any, tmp_path: Path) -> None:
    """Five designs, four models, six lengths, in one process; time and memory of the command."""
    command = [sys.executable, "-c", AND_PEAK, "sweep", "studies/fusemax/attention.yaml"]
    command += ["--csv", str(tmp_path / "out.csv")]
    run = {"check": True, "capture_output": True, "text": True}
    done = benchmark.pedantic(subprocess.run, (command,), run, rounds=3, warmup_rounds=1)
    peak = int(done.stdout) / 1024
    benchmark.extra_info["peak_mib"] = peak
    assert peak < 300
    assert benchmark.stats.stats.median < 5
