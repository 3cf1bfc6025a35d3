"""A folder of results as the points of a report's page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from accelsim.errors import AccelsimError
from accelsim.explore import store
from accelsim.explore.store import Bad
from accelsim.report.points import Points

MOST = 200_000
"""Points of a page: more would make it hundreds of megabytes."""
OWN = {"name": str, "axes": dict, "measures": dict, "objectives": dict}


def points(folder: Path) -> tuple[Points, list[Bad], int]:
    """The points of a folder, files in it that are no whole parts, how many points have no row yet.

    Raises AccelsimError where it holds no points, or more than a page shows.
    """
    target, manifest = store.opened(folder)
    for key, kind in OWN.items():
        if not isinstance(manifest.get(key), kind):
            raise AccelsimError(f"{folder / store.MANIFEST}: no {key!r}")
    parts, bad = target.parts()
    left = sum(last - first for first, last in store.missing(parts, 0, manifest["points"]))
    number = target.dataset(parts).count_rows() if parts else 0
    if not number:
        named = "".join(f"; {one.part.path.name}: {one.why}" for one in bad[:3])
        raise AccelsimError(f"{folder}: holds no points{named}")
    if number > MOST:
        raise AccelsimError(f"{folder}: holds {number:,} points; a page shows up to {MOST:,}")
    # Columns stand in the order of the table (columns.Table).
    first, *others, last = [column.name for column in target.columns]
    axes, others = others[: len(manifest["axes"])], others[len(manifest["axes"]) :]
    names, marks = others[: len(manifest["measures"])], others[len(manifest["measures"]) :]
    if axes != [*manifest["axes"]] or names != [*manifest["measures"]] or len(marks) > 1:
        message = "its columns are not its axes and measures"
        raise AccelsimError(f"{folder / store.MANIFEST}: {message}")
    table = target.dataset(parts).to_table()
    kept = table.column(marks[0]).to_pylist() if marks else [True] * number
    found = Points(
        name=manifest["name"],
        description=manifest.get("description") or "",
        objectives=_objectives(folder, manifest),
        point=table.column(first).to_numpy(),
        axes={name: table.column(name).to_pylist() for name in axes},
        measures={n: table.column(n).cast("float64").to_numpy() for n in names},
        error=table.column(last).to_pylist(),
        feasible=np.array([one is not False for one in kept]),
        breakdown=manifest.get("breakdown") or {},
        measured=manifest["measures"],
    )
    return found, bad, left


def _objectives(folder: Path, manifest: dict[str, Any]) -> dict[str, str]:
    """By column; a study may name a measure in its place."""
    measured: dict[str, str] = manifest["measures"]
    columns = {measure: name for name, measure in reversed(measured.items())}
    out = {}
    for name, best in manifest["objectives"].items():
        column = name if name in measured else columns.get(name)
        if column is None or best not in ("min", "max"):
            message = f"objectives: expected a measure with min or max, got {name}: {best}"
            raise AccelsimError(f"{folder / store.MANIFEST}: {message}")
        out[column] = best
    return out
