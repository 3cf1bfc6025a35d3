"""Options of the whole test suite, and the dry run that several tests look at."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# A shell starts what runs in its background deaf to interrupts, and so would be all that we start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files anew")


@pytest.fixture(scope="session")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a dry run of the GPU protocol; its seal and raw CSV are beside it."""
    from tests.kernels.traced import DONE, python

    folder = tmp_path_factory.mktemp("runs")
    done = python("kernels/measure.py", "--dry-run", "--out", str(folder), "--only", *DONE)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.json")
    return path


@pytest.fixture(scope="session")
def timed_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The record of a dry run that measures times, and what it printed."""
    from tests.kernels.traced import python

    folder = tmp_path_factory.mktemp("times")
    done = python("kernels/measure.py", "--times", "--dry-run", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.json")
    return path, done.stdout
