"""Cases run by `python -m kernels.trace` in a process of its own.

Triton decides when it is imported whether it interprets, so no test imports it in this process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernels.cases import Case

ROOT = Path(__file__).parents[2]
# Of a dry run: one section of each kind; the others differ in their tables alone.
DONE = ["device", "numerics flash_fwd", "counters order", "rates alone", "numerics of rows"]

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


def python(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Python in a new process that finds the kernels; what it wrote, whatever came of it."""
    return subprocess.run(
        [sys.executable, *arguments],
        input=given,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


def traced(given: list[Any], *options: str) -> list[dict[str, Any]]:
    """The results of cases (`Case`, or what else stands in the JSON) in their order."""
    cases = [case.to_dict() if isinstance(case, Case) else case for case in given]
    done = python("-m", "kernels.trace", *options, given=json.dumps(cases))
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(results) == len(given)
    return results
