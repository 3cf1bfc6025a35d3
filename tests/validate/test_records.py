"""`accelsim validate --tier recorded`: which records are evidence, and what they are held against.

The record is that of a dry run, made to look like one of a GPU and sealed again.
"""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from accelsim.validate import kernels, times
from accelsim.validate.predictions import COUNTERS, Row, as_csv
from kernels import records
from kernels.cases import MODULES
from tests.kernels.traced import DONE, ROOT, needs_triton, python
from tests.validate.shown import accelsim

NAME = "nvidia-h200-2025-01-01-1"
Edit = Callable[[Path], None]


def copied(folder: Path) -> Path:
    shutil.copytree(ROOT / "kernels", folder, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    return folder


@pytest.fixture
def record(dry_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record in the `runs` of a copy of the kernels, all of its counters as predicted."""
    folder = copied(tmp_path / "kernels")
    monkeypatch.setattr(kernels, "folder", lambda: folder)
    path = folder / "runs" / f"{NAME}.json"
    path.parent.mkdir()
    shutil.copy(records.raw_file(dry_run), records.raw_file(path))
    made: dict[str, Any] = json.loads(dry_run.read_text())
    made["dry_run"] = False
    made["environment"]["name"] = "NVIDIA H200"
    path.write_text(json.dumps(made))
    records.seal(path)
    predict(path, rows(made))
    return path


def rows(made: dict[str, Any]) -> list[Row]:
    """What is in the record, as predictions."""
    (case,) = made["sections"]["counters order"]
    (launch,) = case["launches"]
    found = []
    for counter, about in COUNTERS.items():
        value = about.scale * launch["counters"][about.metric]
        model = "1 partition" if counter.startswith("dram") else ""
        tolerance = about.tolerance
        found.append(Row(case["name"], launch["name"], counter, model, value, value, tolerance))
    return found


def predict(path: Path, given: list[Row]) -> None:
    (path.parents[1] / "predictions" / "h200.csv").write_text(as_csv(given))


def changed(path: Path, change: Callable[[dict[str, Any]], None], *, seal: bool = True) -> None:
    made = json.loads(path.read_text())
    change(made)
    path.write_text(json.dumps(made))
    if seal:
        records.seal(path)


def counters(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["sections"]["counters order"][0]["launches"][0]["counters"]
    return found


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    status, out, err = accelsim(capsys, "validate", "--tier", "recorded")
    assert "Traceback" not in out + err
    return status, out.splitlines()


@needs_triton
def test_a_record_as_it_was_made_passes(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys) == (
        0,
        [
            "PASSED  recorded",
            f"  {NAME}.json: numbers of 2 of 2 cases within their gates",
            f"  {NAME}.json: 7 of 7 counters as predicted",
            "  not checked: anything about the kernels as they are now, beyond their sources being "
            "the same",
        ],
    )


@needs_triton
def test_missed_predictions_come_first_and_fail_nothing(
    record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = rows(json.loads(record.read_text()))
    case = given[0].case
    given[0] = replace(given[0], least=1000, most=2000)  # 32 * 1002 measured
    given[2] = replace(given[2], least=1100, most=1100)  # 1000 measured
    predict(record, [*given, replace(given[0], case="another")])
    status, shown = lines(capsys)
    assert status == 0
    start = f"  missed prediction: {NAME}.json: {case}: flash_fwd: "
    assert shown[:5] == [
        "PASSED  recorded",
        f"{start}l2_read_bytes: predicted 1,000 to 2,000, measured 32,064, +1503.20%",
        f"{start}dram_read_bytes (1 partition): predicted 1,100, measured 1,000, -9.09%",
        f"  {NAME}.json: numbers of 2 of 2 cases within their gates",
        f"  {NAME}.json: 5 of 7 counters as predicted",
    ]
    assert f"  not checked: {NAME}.json: 1 predicted counters were not measured" in shown


def resealed(change: Callable[[dict[str, Any]], Any]) -> Edit:
    return lambda path: changed(path, change)


def unsealed(change: Callable[[dict[str, Any]], Any]) -> Edit:
    return lambda path: changed(path, change, seal=False)


def with_time(path: Path) -> None:
    """As if ncu had counted a time."""
    changed(path, lambda made: counters(made).update({"gpu__time_duration.sum": 1}))


def cut(path: Path) -> None:
    path.write_text(path.read_text()[:-100])
    records.seal(path)


def no_object(path: Path) -> None:
    path.write_text("[]")
    records.seal(path)


def altered_raw(path: Path) -> None:
    raw = records.raw_file(path)
    raw.write_text(raw.read_text().replace('"1,000"', '"1,001"'))


def old_flash(path: Path) -> None:
    changed(path, lambda made: made["sources"].update({"flash.py": "0" * 64}))


REFUSED: dict[str, tuple[Edit, str]] = {
    "altered number": (
        unsealed(lambda made: counters(made).update({"dram__bytes_read.sum": 7})),
        f"{NAME}.json is not what {NAME}.sha256 says: it was altered",
    ),
    "altered number, sealed again": (
        resealed(lambda made: counters(made).update({"dram__bytes_read.sum": 7})),
        f"counters order: the counters are not those of {NAME}.ncu.csv",
    ),
    "altered CSV": (
        altered_raw,
        f"{NAME}.ncu.csv is not what {NAME}.sha256 says: it was altered",
    ),
    "no seal": (
        lambda path: records.seal_file(path).unlink(),
        f"has no seal: {NAME}.sha256 is missing",
    ),
    "no CSV": (
        lambda path: records.raw_file(path).unlink(),
        f"of what {NAME}.sha256 lists, a file is missing",
    ),
    "no record": (
        lambda path: path.unlink(),
        f"of what {NAME}.sha256 lists, a file is missing",
    ),
    "truncated": (cut, "is no JSON: Expecting "),
    "no object": (
        no_object,
        "schema None is not 'accelsim-gpu-run/1'",
    ),
    "another schema": (
        resealed(lambda made: made.update(schema="accelsim-gpu-run/2")),
        "schema 'accelsim-gpu-run/2' is not 'accelsim-gpu-run/1'",
    ),
    "without a field": (
        resealed(lambda made: (made.pop("failed"), made.pop("environment"))),
        "is without environment, failed",
    ),
    "dry run": (
        resealed(lambda made: made.update(dry_run=True)),
        "is a dry run; its numbers are made up",
    ),
    "unknown version": (old_flash, "made with an unknown version of flash.py"),
    "no versions": (
        resealed(lambda made: made["sources"].clear()),
        "does not say with which version of the kernels it was made",
    ),
    "a time": (with_time, "gpu__time_duration.sum: times of kernels are not recorded here"),
    "no launches": (
        resealed(lambda made: made["sections"]["counters order"][0].pop("launches")),
        "is not laid out as a record: KeyError: 'launches'",
    ),
    "numbers beyond the gate": (
        resealed(lambda made: made["sections"]["numerics flash_fwd"][0].update(passed=False)),
        "numerics flash_fwd: flash_fwd-float16-B1D32G2H2M64P64-block_m32_block_n32-",
    ),
    "a section that failed": (
        resealed(lambda made: made["failed"].update({"counters knee": "RuntimeError: why"})),
        "section counters knee failed: RuntimeError: why",
    ),
}


@needs_triton
@pytest.mark.parametrize("name", REFUSED)
def test_a_faulty_record_fails(record: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    edit, message = REFUSED[name]
    edit(record)
    status, shown = lines(capsys)
    assert status == 1
    assert shown[0] == "FAILED  recorded"
    faults = [line for line in shown if line.startswith("  fault: ")]
    assert len(faults) == 1
    assert faults[0].startswith(f"  fault: {NAME}.json: {message}")


@needs_triton
def test_what_was_not_done_is_said(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(made: dict[str, Any]) -> None:
        made["not_reached"].append("clocks")
        made["environment"]["name"] = "NVIDIA L4"

    changed(record, change)
    status, shown = lines(capsys)
    assert status == 0
    assert shown[-3:-1] == [
        f"  not checked: {NAME}.json: section clocks: no time was left",
        f"  not checked: {NAME}.json: counters: there are no predictions for this GPU",
    ]


@pytest.fixture
def run_of_times(
    timed_run: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A record of times, all of 1 ms, with the predictions that it was made with."""
    folder = copied(tmp_path / "kernels")
    monkeypatch.setattr(kernels, "folder", lambda: folder)
    made: dict[str, Any] = json.loads(timed_run[0].read_text())
    del made["sections"]["times grouped"]  # made small, its case is one of `causal`
    cases = [case for section in made["sections"].values() for case in section]
    path = folder / "predictions" / "times_h200.csv"
    path.write_text(times.as_csv(time_of(c["name"], c["kernel"], 1.1e-3) for c in cases))
    records.seal_predictions(path.parent)
    made |= {"dry_run": False, "predictions": records.predictions(path, [])}
    made["environment"]["name"] = "NVIDIA H200"
    run = folder / "runs" / f"{NAME}.json"
    run.parent.mkdir()
    run.write_text(json.dumps(made))
    records.seal(run)
    return run


def time_of(case: str, kernel: str, seconds: float) -> times.Row:
    return times.Row(case, kernel, seconds, "", "")


@needs_triton
def test_a_run_of_times_as_it_was_made(
    run_of_times: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What kernels/measure.py writes is what is read here."""
    status, shown = lines(capsys)
    assert status == 0
    assert shown[:3] == [
        "PASSED  recorded",
        f"  {NAME}.json: times: 10 of 10 within 12% of the measured",
        f"  {NAME}.json: times, predicted: mean absolute error 10.0%, worst +10.0% (n = 10)",
    ]
    assert [line for line in shown if "not checked" in line and "sources" not in line] == []


@needs_triton
def test_times_without_predictions_are_refused(
    run_of_times: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(run_of_times, lambda made: made.update(predictions=None))
    status, shown = lines(capsys)
    assert status == 1
    fault = f"  fault: {NAME}.json: holds times of attention that were not predicted before"
    assert shown[:2] == ["FAILED  recorded", fault]


@needs_triton
def test_a_seal_is_what_sha256sum_checks(record: Path) -> None:
    files = [record, records.raw_file(record)]
    text = "".join(f"{records.sha256(file)}  {file.name}\n" for file in files)
    assert records.seal_file(record).read_text() == text
    assert DONE[2] == "counters order"  # which there is a CSV of


def test_the_kernels_are_a_known_version() -> None:
    known, here = records.known_versions(), records.sources()
    assert list(known) == list(records.LAUNCHED)
    new = [name for name in known if here[name] not in known[name]]
    assert not new, f"run `python -m kernels.records --versions`: {', '.join(new)} changed"


def test_every_source_of_a_launch_has_versions() -> None:
    """The modules of the kernels, and what these import of the package."""
    folder, todo = ROOT / "kernels", [f"{name.split('.')[1]}.py" for name in MODULES.values()]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        found.add(name)
        for node in ast.walk(ast.parse((folder / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kernels"):
                inside = (node.module or "").split(".")[1:]
                modules = inside or [alias.name for alias in node.names]
                todo += [f"{one}.py" for one in modules if f"{one}.py" not in found]
    assert found == set(records.LAUNCHED)


def test_a_release_adds_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, here = records.known_versions(), records.sources()["flash.py"]
    listed = tmp_path / "versions.json"
    monkeypatch.setattr(records, "VERSIONS", listed)
    listed.write_text(json.dumps({**before, "flash.py": ["0" * 64]}))
    assert records.add_versions() == ["flash.py"]
    assert records.known_versions() == {**before, "flash.py": ["0" * 64, here]}
    assert records.add_versions() == []


def test_records_are_read_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from kernels import records; print('read')"
    done = python("-c", code)
    assert done.stdout == "read\n", done.stderr
