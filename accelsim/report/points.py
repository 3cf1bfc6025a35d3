"""The points of a sweep as the report page takes them: one row per point, columns by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelsim.errors import AccelsimError

if TYPE_CHECKING:
    import pyarrow

Floats = npt.NDArray[np.float64]
MANIFEST = "study.json"
BEST = ("min", "max")
MOST = 200_000
"""Points of a page: more would make it hundreds of megabytes."""


@dataclass(frozen=True)
class Points:
    """Results of a sweep; N points.

    objectives: measure -> which end of it is best, `min` or `max`. breakdown: which columns are
    parts of one thing: `utilization` unit -> Einsum -> column, `traffic` level -> tensor -> `read`
    and `write` -> column, `energy` part -> column, `waits` unit -> cause -> column.
    point: [N] how points are called. axes: [N] values each. measures: [N] each, not a number where
    a point has none. error: [N] why a point failed, None where it did not.
    feasible: [N] whether a point keeps the study's constraints.
    measured: column -> its measure (docs/studies.md), where that is told.
    """

    name: str
    description: str
    objectives: dict[str, str]
    point: npt.NDArray[np.int64]
    axes: dict[str, list[Any]]
    measures: dict[str, Floats]
    error: list[str | None]
    feasible: npt.NDArray[np.bool_]
    breakdown: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """How many points failed."""
        return sum(message is not None for message in self.error)

    def row(self, point: int) -> int:
        """The row of a point. Raises AccelsimError."""
        (rows,) = np.nonzero(self.point == point)
        if not len(rows):
            least, most = int(self.point.min()), int(self.point.max())
            raise AccelsimError(f"no point {point}: {self.name} has {least} to {most}")
        return int(rows[0])


def is_folder_of_points(folder: Path) -> bool:
    """Whether a folder holds what a sweep has written, a manifest and its points."""
    return (folder / MANIFEST).is_file()


def read(folder: Path) -> Points:
    """Read what `accelsim sweep --out FOLDER` has written. Raises AccelsimError."""
    manifest = _manifest(folder / MANIFEST)
    table = _table(folder)
    for name in ("point", *manifest["axes"]):
        if name not in table.column_names:
            raise AccelsimError(f"{folder}: its points have no column {name!r}")
    if not table.num_rows:
        raise AccelsimError(f"{folder}: holds no points")
    if table.num_rows > MOST:
        message = f"{folder}: holds {table.num_rows:,} points; a page shows up to {MOST:,}"
        raise AccelsimError(message)
    axes = {name: table.column(name).to_pylist() for name in manifest["axes"]}
    measures = {}
    for name in table.column_names:
        if name not in axes and name not in ("point", "error", "feasible"):
            measures[name] = _floats(folder, name, table.column(name))
    measured = manifest.get("measures") or {}
    columns = {measure: name for name, measure in reversed(measured.items())}
    objectives: dict[str, str] = {}
    for name, best in manifest["objectives"].items():
        column = name if name in measures else columns.get(name, "")
        if column not in measures:
            raise AccelsimError(f"{folder / MANIFEST}: objectives: no measure {name!r}")
        objectives[column] = best
    has_errors = "error" in table.column_names
    return Points(
        name=str(manifest["name"]),
        description=str(manifest.get("description") or ""),
        objectives=objectives,
        point=table.column("point").to_numpy(),
        axes=axes,
        measures=measures,
        error=table.column("error").to_pylist() if has_errors else [None] * table.num_rows,
        feasible=_feasible(table),
        breakdown=manifest.get("breakdown") or {},
        measured=measured,
    )


def _feasible(table: pyarrow.Table) -> npt.NDArray[np.bool_]:
    """Whether points keep the constraints; so do all where a study has none."""
    if "feasible" not in table.column_names:
        return np.ones(table.num_rows, np.bool_)
    return np.array([kept is not False for kept in table.column("feasible").to_pylist()])


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AccelsimError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise AccelsimError(f"{path}: not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise AccelsimError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from None
    if not isinstance(manifest, dict):
        raise AccelsimError(f"{path}: expected an object with name, axes and objectives")
    for key in ("name", "axes", "objectives"):
        if key not in manifest:
            raise AccelsimError(f"{path}: no {key!r}")
    objectives = manifest["objectives"]
    if not isinstance(objectives, dict) or any(v not in BEST for v in objectives.values()):
        raise AccelsimError(f"{path}: objectives: expected measure -> min or max")
    if not isinstance(manifest["axes"], dict | list):
        raise AccelsimError(f"{path}: axes: expected a list of names or name -> values")
    return manifest


def _table(folder: Path) -> pyarrow.Table:
    """All parts, sorted by point."""
    import pyarrow
    from pyarrow import parquet

    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise AccelsimError(f"{folder}: no part-*.parquet beside {MANIFEST}")
    try:
        tables = [parquet.read_table(part) for part in parts]
        return pyarrow.concat_tables(tables, promote_options="permissive").sort_by("point")
    except (OSError, pyarrow.ArrowException) as error:
        raise AccelsimError(f"{folder}: cannot be read: {error}") from None


def _floats(folder: Path, name: str, column: pyarrow.ChunkedArray) -> Floats:
    import pyarrow

    try:
        values = column.cast(pyarrow.float64()).to_numpy()
    except pyarrow.ArrowInvalid:
        message = f"{folder}: column {name!r}: expected numbers, it has {column.type}"
        raise AccelsimError(message) from None
    return np.asarray(values, np.float64)
