"""Records of GPU runs: a JSON file, a CSV of raw counters and their seal per run, never changed.

    python -m kernels.records runs         every record of a folder, or why it is no evidence
    python -m kernels.records --versions   adds the kernels as they are to versions.json
    python -m kernels.records --seal       seals the predictions of times

`runs/README.md` says what is in a record. `versions.json` has the sha256 of every committed version
of the sources that a launch depends on; versions are added, never removed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kernels.ncu import Counted, parse, refuse_times

SCHEMA = "accelsim-gpu-run/1"
FIELDS = ("environment", "sources", "sections", "failed", "not_reached", "dry_run")
VERSIONS = Path(__file__).with_name("versions.json")
PREDICTIONS = Path(__file__).with_name("predictions")
RUNS = Path(__file__).with_name("runs")
MARK = "==SECTION== "  # begins with "==", so that a reader of ncu's CSV takes it for no row


# What a launch depends on: the kernels, what they import, and the inputs and cases they are given.
LAUNCHED = (
    "attention.py",
    "block_sparse.py",
    "cases.py",
    "decode.py",
    "flash.py",
    "flash1.py",
    "linear.py",
    "softmax.py",
    "unfused.py",
)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sources() -> dict[str, str]:
    """sha256 of every module of this package, by file name."""
    return {path.name: sha256(path) for path in sorted(Path(__file__).parent.glob("*.py"))}


def known_versions() -> dict[str, list[str]]:
    """sha256 of the committed versions of each source in `LAUNCHED`, oldest first."""
    found: dict[str, list[str]] = json.loads(VERSIONS.read_text(encoding="utf-8"))
    return found


def add_versions() -> list[str]:
    """Adds the sources as they are to versions.json; the names of those that were new."""
    known = known_versions() if VERSIONS.exists() else {}
    here = sources()
    new = [name for name in LAUNCHED if here[name] not in known.get(name, ())]
    listed = {name: [*known.get(name, ()), *[here[name]] * (name in new)] for name in LAUNCHED}
    VERSIONS.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    return new


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


def seal_file(path: Path) -> Path:
    """The checksums beside a record."""
    return path.with_suffix(".sha256")


def seal(path: Path) -> None:
    """Writes the checksums of a record and its raw CSV, as sha256sum does."""
    files = [file for file in (path, raw_file(path)) if file.exists()]
    seal_file(path).write_text("".join(f"{sha256(file)}  {file.name}\n" for file in files))


def check_seal(path: Path) -> None:
    """Raises ValueError unless a record and its raw CSV are as they were sealed."""
    by = seal_file(path)
    if not by.exists():
        raise ValueError(f"has no seal: {by.name} is missing")
    sealed = by.read_text().splitlines()
    files = [file for file in (path, raw_file(path)) if file.exists()]
    for file in files:
        if f"{sha256(file)}  {file.name}" not in sealed:
            raise ValueError(f"{file.name} is not what {by.name} says: it was altered")
    if len(sealed) != len(files):
        raise ValueError(f"of what {by.name} lists, a file is missing")


def times_file(gpu: str) -> Path:
    """Where the times of attention on a GPU are predicted: "NVIDIA H200" has times_h200.csv."""
    name = re.split("[ -]", gpu.lower().removeprefix("nvidia").strip(" -"))[0]
    return PREDICTIONS / f"times_{name}.csv"


def seal_predictions(folder: Path = PREDICTIONS, runs: Path = RUNS) -> list[str]:
    """Seals the predictions of times in a folder; the names of the files.

    Raises ValueError for a file that changed after a run was made with it: what a run is held
    against stays as it was before.
    """
    used = "".join(path.read_text(encoding="utf-8") for path in sorted(runs.glob("*.json")))
    files = sorted(folder.glob("times_*.csv"))
    for path in files:
        by = seal_file(path)
        before = by.read_text().split()[0] if by.exists() else sha256(path)
        if before != sha256(path) and before in used:
            raise ValueError(f"{path.name}: a run was made with it as it was; it stays so")
    for path in files:
        seal(path)
    return [path.name for path in files]


def commit(path: Path) -> str | None:
    """The commit that a file and its seal are of; None where there is no repository.

    Raises ValueError where they are not as they were committed.
    """
    names = [path.name, seal_file(path).name]

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(path.parent), *words, "--", *names]
        return subprocess.run(command, capture_output=True, text=True)

    try:
        listed = git("ls-files")
    except OSError:
        return None
    if listed.returncode:
        return None
    if len(listed.stdout.split()) < len(names) or git("status", "--porcelain").stdout.strip():
        raise ValueError(f"{path.name} and {names[1]} are not committed as they are")
    return git("log", "-1", "--format=%H").stdout.strip()


def predictions(path: Path, cases: Sequence[str]) -> dict[str, Any]:
    """What a run that measures times says of its predictions: file, sha256, commit.

    Raises ValueError unless they are there, sealed, committed, and of all cases.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is missing: times are predicted before they are measured")
    check_seal(path)
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    predicted = {row.get("case") for row in rows}
    without = [name for name in cases if name not in predicted]
    if without:
        raise ValueError(f"{path.name} is without {len(without)} cases: {without[0]}, ...")
    return {"file": path.name, "sha256": sha256(path), "commit": commit(path)}


def check_versions(made_with: Mapping[str, str]) -> None:
    """Raises ValueError for sources of a launch that are no committed version."""
    if "cases.py" not in made_with:
        raise ValueError("does not say with which version of the kernels it was made")
    known = known_versions()
    for name in LAUNCHED:  # a kernel that is newer than the record is not in it
        if name in made_with and made_with[name] not in known[name]:
            raise ValueError(f"made with an unknown version of {name}")


def check_predicted(record: Mapping[str, Any]) -> None:
    """Raises ValueError for times of attention without predictions from before."""
    timed = any(name.startswith("times") for name in record["sections"])
    if timed and not (record.get("predictions") or {}).get("sha256"):
        raise ValueError("holds times of attention that were not predicted before")


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

    Raises ValueError for what is not as it was sealed, no JSON, another schema, a dry run, an
    unknown version of a kernel, times that were not predicted, a counter that is a time, or
    counters that the CSV does not show.
    """
    check_seal(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else None
        raise ValueError(f"schema {found!r} is not {SCHEMA!r}")
    missing = [field for field in FIELDS if field not in record]
    if missing:
        raise ValueError(f"is without {', '.join(missing)}")
    if record["dry_run"] is not False:
        raise ValueError("is a dry run; its numbers are made up")
    check_versions(record["sources"])
    check_predicted(record)
    counted = {k: v for k, v in record["sections"].items() if k.startswith("counters")}
    raw = sections(raw_file(path).read_text()) if counted else {}
    for name, cases in counted.items():
        for case in cases:
            for launch in case["launches"]:
                refuse_times(launch["counters"])
        if join(parse(raw.get(name, "")), cases) != cases:
            raise ValueError(f"{name}: the counters are not those of {raw_file(path).name}")
    return record


def evidence(folder: Path) -> list[dict[str, Any]]:
    """Every record of a folder: {"path", "record"}, or {"path", "error"} where it is none."""
    out: list[dict[str, Any]] = []
    sealed = {path.with_suffix(".json") for path in folder.glob("*.sha256")}
    for path in sorted({*folder.glob("*.json"), *sealed}):
        try:
            out.append({"path": path.name, "record": load(path)})
        except (OSError, ValueError) as error:
            out.append({"path": path.name, "error": str(error)})
        except (LookupError, TypeError, AttributeError) as error:
            why = f"is not laid out as a record: {type(error).__name__}: {error}"
            out.append({"path": path.name, "error": why})
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m kernels.records")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("folder", type=Path, nargs="?", help="print its records as JSON")
    what.add_argument("--versions", action="store_true", help="add the kernels to versions.json")
    what.add_argument("--seal", action="store_true", help="seal the predictions of times")
    given = parser.parse_args()
    if given.seal:
        try:
            print("\n".join(seal_predictions()) or "no times are predicted")
        except ValueError as error:
            sys.exit(f"kernels.records: {error}")
    elif given.versions:
        print("\n".join(add_versions()) or "all versions are known")
    else:
        json.dump(evidence(given.folder), sys.stdout)


if __name__ == "__main__":
    main()
