"""Records of GPU runs: one JSON file and one CSV of raw counters per run, never overwritten.

`runs/README.md` says what is in them.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kernels.ncu import Counted, parse, refuse_times

SCHEMA = "accelsim-gpu-run/1"
MARK = "==SECTION== "  # begins with "==", so that a reader of ncu's CSV takes it for no row


def sources() -> dict[str, str]:
    """sha256 of every module of this package, by file name."""
    folder = Path(__file__).parent
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.py"))
    }


def new_file(folder: Path, gpu: str) -> Path:
    """An empty new file `<gpu>-<date>-<n>.json` there, n the first that is free."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{re.sub('[^a-z0-9]+', '-', gpu.lower()).strip('-')}-{time.strftime('%Y-%m-%d')}"
    for n in range(1, 1000):
        path = folder / f"{stem}-{n}.json"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{folder / stem}-1 to -999 all exist")


def raw_file(path: Path) -> Path:
    """The CSV beside a record."""
    return path.with_name(path.stem + ".ncu.csv")


def sections(text: str) -> dict[str, str]:
    """The raw CSV of each section of a run."""
    parts = text.split(MARK)[1:]
    return {name.strip(): body for name, _, body in (part.partition("\n") for part in parts)}


def join(counted: Sequence[Counted], manifest: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The cases of a manifest with "counters" added to each of their launches.

    Both list the same launches in the same order. Raises ValueError where names, grids or numbers
    of launches differ.
    """
    expected = [launch for entry in manifest for launch in entry["launches"]]
    if len(expected) != len(counted):
        raise ValueError(f"{len(counted)} launches counted, {len(expected)} made")
    rows = iter(counted)
    cases = []
    for entry in manifest:
        launches = []
        for launch in entry["launches"]:
            row = next(rows)
            grid = (*launch["grid"], 1, 1)[:3]
            if (row.kernel, (*row.grid, 1, 1)[:3]) != (launch["name"], grid):
                raise ValueError(
                    f"counted {row.kernel} {row.grid} where {launch['name']} {grid} was launched"
                )
            launches.append({**launch, "counters": row.values})
        cases.append({**entry, "launches": launches})
    return cases


def load(path: Path) -> dict[str, Any]:
    """A record as evidence: its counters are read anew from the raw CSV and compared.

    Raises ValueError for another schema, a dry run, a counter that is a time, or counters that the
    CSV does not show.
    """
    record = json.loads(path.read_text())
    if record.get("schema") != SCHEMA:
        raise ValueError(f"{path}: schema {record.get('schema')!r} is not {SCHEMA!r}")
    if record["dry_run"] is not False:
        raise ValueError(f"{path}: is a dry run; its numbers are made up")
    counted = {k: v for k, v in record["sections"].items() if k.startswith("counters")}
    raw = sections(raw_file(path).read_text()) if counted else {}
    for name, cases in counted.items():
        for case in cases:
            for launch in case["launches"]:
                refuse_times(launch["counters"])
        if join(parse(raw.get(name, "")), cases) != cases:
            raise ValueError(f"{path}: {name}: the counters are not those of {raw_file(path)}")
    return dict(record)


def evidence(folder: Path) -> list[dict[str, Any]]:
    """Every record of a folder: {"path", "record"}, or {"path", "error"} where it is none."""
    out: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            out.append({"path": path.name, "record": load(path)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            out.append({"path": path.name, "error": f"{type(error).__name__}: {error}"})
    return out


if __name__ == "__main__":
    json.dump(evidence(Path(sys.argv[1])), sys.stdout)
