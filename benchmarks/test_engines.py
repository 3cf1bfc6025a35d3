"""Speed of the engines and of the whole command. `make bench`; not part of the tests.

Budgets to hold: compiled 30 million tasks per second on one core; the demo command under 6 s.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accelsim import verbs
from accelsim.engine import compiled, reference
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
