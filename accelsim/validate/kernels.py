"""Runs the kernels' own programs, each in a process of its own, and reads what they say.

Triton decides at its import whether it interprets or compiles, and this package has to do without
both torch and Triton where they are not installed: nothing here imports them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelsim.errors import AccelsimError
from accelsim.shipped import data_root

MODULES = ("torch", "triton")
MOST_SECONDS = 900
WORTH_A_PROCESS = 10
"""Small cases that take as long as it takes a process to begin."""


def folder() -> Path:
    """Where the kernels are: a package named `kernels`."""
    return data_root() / "kernels"


def short(gpu: str) -> str:
    """What predictions call a GPU, by its name in records: "NVIDIA H200" is h200."""
    return re.split("[ -]", gpu.lower().removeprefix("nvidia").strip(" -"))[0]


def missing() -> str | None:
    """Why kernels cannot be run here, or None."""
    absent = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if absent:
        return f"{' and '.join(absent)} not installed: pip install 'accelsim[kernels]'"
    return None


def no_gpu() -> str | None:
    """Why kernels cannot be run on a GPU here, or None. In a process of its own: torch is heavy."""
    code = "import torch; print(torch.cuda.is_available())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return None if done.stdout.strip() == "True" else "torch finds no CUDA device"


def has_ncu() -> bool:
    return shutil.which("ncu") is not None


def traced(cases: Sequence[dict[str, Any]], *, trace: bool = False) -> list[dict[str, Any]]:
    """Cases run in Triton's interpreter; see kernels/trace.py. Raises AccelsimError."""
    jobs = max(1, min(os.cpu_count() or 1, len(cases) // WORTH_A_PROCESS))
    more = ["--trace"] if trace else []
    return _answers("trace", cases, ["--jobs", str(jobs), *more], interpret=True)


def described(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What cases launch; see kernels/describe.py. Raises AccelsimError."""
    return _answers("describe", cases)


def protocol() -> list[dict[str, Any]]:
    """The cases of the GPU protocol. Raises AccelsimError."""
    return _answers("protocol")


def timed() -> list[dict[str, Any]]:
    """The cases whose times are measured; see kernels/timing.py. Raises AccelsimError."""
    return _answers("timing")


def built(requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cases compiled without a GPU; see kernels/build.py. Raises AccelsimError."""
    return _answers("build", requests)


def records(runs: Path) -> list[dict[str, Any]]:
    """Every record in a folder: {"path", "record"}, or {"path", "error"} for what is no evidence.

    Raises AccelsimError.
    """
    return _answers("records", options=[str(runs)])


def measured(sections: Sequence[str]) -> dict[str, Any]:
    """Sections of the GPU protocol run here, into a folder that is thrown away.

    Raises AccelsimError.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _program("measure", ["--out", scratch, "--only", *sections])
        (path,) = Path(scratch).glob("*.json")
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def _answers(
    name: str, given: Sequence[Any] = (), options: Sequence[str] = (), *, interpret: bool = False
) -> list[dict[str, Any]]:
    """The JSON that a program writes for what it is given as JSON."""
    said = _program(name, options, json.dumps(list(given)), interpret=interpret).strip()
    try:
        answers: list[dict[str, Any]] = json.loads(said)
    except ValueError:
        raise AccelsimError(f"kernels/{name}.py wrote what is no JSON: {said[:80]!r}") from None
    return answers


def _program(name: str, options: Sequence[str], given: str = "", *, interpret: bool = False) -> str:
    """What a program writes. Raises AccelsimError where it fails."""
    # Safe path: not the package `kernels` of whichever folder this is called in.
    environment = {**os.environ, "PYTHONPATH": str(folder().parent), "PYTHONSAFEPATH": "1"}
    environment.pop("TRITON_INTERPRET", None)
    if interpret:
        environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", f"kernels.{name}", *options]
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        message = f"kernels/{name}.py did not end within {MOST_SECONDS / 60:.0f} minutes"
        raise AccelsimError(message) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AccelsimError(f"kernels/{name}.py ended with status {done.returncode}: {last}")
    return done.stdout
