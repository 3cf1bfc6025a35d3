"""What tests of studies share: rows of a sweep, lines of the README's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelsim import explore

STUDIES = Path(__file__).parents[2] / "studies"
Rows = dict[tuple[Any, ...], dict[str, Any]]


def swept(study: str, name: str) -> Rows:
    """Values of the axes, in their order -> row."""
    document = explore.load(str(STUDIES / study / f"{name}.yaml"))
    axes = tuple(document.spec.axes)
    return {tuple(row[a] for a in axes): row for row in explore.rows(document)}


def line(title: str, numbers: list[float], digits: int = 2) -> str:
    return " | ".join([f"| {title}", *(f"{n:.{digits}f}" for n in numbers)]) + " |"
