"""Compiled code is never older than any source of the engines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = "from tests.engine.test_engines_agree import pipeline; from accelsim import engine; "
RUN += "print(engine.run(pipeline(40), 'compiled').ticks)"


def test_a_change_in_a_neighbour_is_seen(tmp_path: Path) -> None:
    """kernel.py is inlined into compiled.py, whose own text stays the same."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("accelsim", "tests", "archs", "einsum_cascades", "workloads", "studies"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    kernel = tmp_path / "accelsim" / "engine" / "kernel.py"

    def ticks() -> int:
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        shown = subprocess.run(
            [sys.executable, "-c", RUN],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return int(shown.stdout)

    before = ticks()
    end = "end = start + task.occupancy"
    assert end in kernel.read_text()
    kernel.write_text(kernel.read_text().replace(end, f"{end} + 1"))
    assert ticks() > before
    assert len(list((kernel.parent / "__pycache__").glob("accelsim-*"))) == 1
