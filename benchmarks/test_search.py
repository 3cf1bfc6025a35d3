"""Time of whole searches, as commands. `make bench`; not part of the tests.

Budget to hold: attention on FuseMax, proved optimal in its space, within 30 s on two cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STUDY = Path(__file__).parents[1] / "studies" / "fusemax" / "search.yaml"


@pytest.mark.parametrize("length", [4096, 65536, 1048576])
def test_attention_on_fusemax(benchmark: Any, length: int) -> None:
    command = [sys.executable, "-m", "accelsim", "search", str(STUDY)]
    command += ["--seq-len", str(length), "--workers", "2", "--json"]

    def search() -> str:
        return subprocess.run(command, capture_output=True, check=True).stdout.decode()

    shown = benchmark.pedantic(search, rounds=1)
    assert json.loads(shown)["settled"] == "optimal"
    assert benchmark.stats.stats.min < 30
