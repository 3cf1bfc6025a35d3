"""Predicted times of attention: the file, its seal, and a made-up run held against it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import AccelsimError
from accelsim.validate import kernels, tiers, timed, times
from accelsim.validate.report import Report, lines
from accelsim.validate.times import Row, as_csv, read_csv

GOLDEN = Path(__file__).with_name("times.expect")
ROWS = [
    Row("flash_fwd-a", "flash_fwd", 1.1e-3, "tensor", ""),
    Row("flash_fwd-b", "flash_fwd", 2.6e-4, "tensor", 'words, and "more"'),
    Row("flash_fwd-c", "flash_fwd", 5.0e-5, "", ""),
    Row("splitk-d", "splitk", 2.1e-5, "hbm", ""),
    Row("sdpa_cudnn-e", "sdpa_cudnn", 1e-3, "tensor", ""),
    Row("unfused-f", "unfused", 1e-3, "hbm", "not reached"),
]


def test_rows_go_through_csv() -> None:
    assert read_csv(as_csv(ROWS), "t.csv") == ROWS
    assert as_csv(ROWS[:2]).splitlines() == [
        "case,kernel,seconds,bottleneck,note",
        "flash_fwd-a,flash_fwd,1.1000e-03,tensor,",
        'flash_fwd-b,flash_fwd,2.6000e-04,tensor,"words, and ""more"""',
    ]
    (row,) = read_csv(as_csv([Row("a", "k", 1.0, "x\ny", "")]), "t.csv")
    assert row.bottleneck == "x y"


HEAD = "case,kernel,seconds,bottleneck,note\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv:1:1: expected the columns case, kernel, seconds, bottleneck, note"),
        ("kernel,case\n", "t.csv:1:1: expected the columns case"),
        (HEAD, "t.csv:1:1: no rows"),
        (
            f"{HEAD}a,k,1,x,\nb,k,fast,x,\n",
            "t.csv:3:5: seconds: 'fast' is no number above 0\n    b,",
        ),
        (f"{HEAD}a,k,0,x,\n", "t.csv:2:5: seconds: '0' is no number above 0"),
        (f"{HEAD}a,k,nan,x,\n", "t.csv:2:5: seconds: 'nan' is no number"),
        (f"{HEAD}a,k,inf,x,\n", "t.csv:2:5: seconds: 'inf' is no number"),
        (f"{HEAD}a,k,,x,\n", "t.csv:2:5: seconds: '' is no number"),
        (f"{HEAD}a,k,1\n", "t.csv:2:1: 3 fields, expected 5"),
        (f"{HEAD}\n", "t.csv:2:1: 0 fields, expected 5"),
        (f'{HEAD}a,k,1,x,"y\n', "t.csv:2:1: is no line of a CSV"),
        (f"{HEAD},k,1,x,\n", "t.csv:2:1: expected a case and a kernel"),
        (f"{HEAD}a,k,1,x,\nb,k,1,x,\na,k,2,x,\n", "t.csv:4:1: again the case of line 2"),
    ],
)
def test_a_csv_that_is_not_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(AccelsimError) as raised:
        read_csv(text, "t.csv")
    assert str(raised.value).startswith(message)


def test_all_faults_of_a_csv_are_said() -> None:
    with pytest.raises(AccelsimError) as raised:
        read_csv(f"{HEAD}a,k,-1,x,\nb\n", "t.csv")
    assert [fault.position.line for fault in raised.value.faults if fault.position] == [2, 3]


def taken(seconds: float, flushed: float, hertz: float | None) -> dict[str, Any]:
    def about(median: float) -> dict[str, float]:
        return {"median": median, "least": 0.99 * median, "most": 1.02 * median, "repeats": 50}

    clock = {"error": "why"} if hertz is None else {"median": hertz, "sms": 132}
    return {"back_to_back_s": about(seconds), "flushed_s": about(flushed), "clock_hz": clock}


def case(row: Row, family: str, bounds: tuple[float, float], *takes: Any) -> dict[str, Any]:
    named = {"name": row.case, "kernel": row.kernel, "family": family}
    return {**named, "products_s": bounds[0], "memory_s": bounds[1], "takes": list(takes)}


def made_up(folder: Path) -> dict[str, Any]:
    """Predictions in a folder, sealed, and a record that was measured with them."""
    path = folder / "predictions" / "times_h200.csv"
    path.parent.mkdir(parents=True)
    path.write_text(as_csv(ROWS))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".sha256").write_text(f"{digest}  {path.name}\n")
    a, b, c, d, e, _ = ROWS
    dense = [
        case(a, "dense", (5e-4, 1e-4), taken(1e-3, 1.1e-3, 1.7e9), taken(1.002e-3, 1.1e-3, 1.8e9)),
        case(b, "dense", (1e-4, 1e-4), taken(2e-4, 2.2e-4, 1.9e9), taken(2e-4, 2.2e-4, 1.9e9)),
        case(c, "dense", (2e-5, 4e-5), taken(8e-5, 9e-5, None), taken(8e-5, 9e-5, None)),
    ]
    decode = [case(d, "decode", (1e-6, 1.4e-5), taken(2e-5, 3e-5, 1.9e9), taken(2e-5, 3e-5, 1.9e9))]
    refused = {**case(e, "sdpa_cudnn", (1e-3, 1e-4)), "refused": "RuntimeError: No kernel"}
    return {
        "environment": {"name": "NVIDIA H200"},
        "predictions": {"file": path.name, "sha256": digest, "commit": None},
        "sections": {"times dense": dense, "times decode": decode, "times sdpa_cudnn": [refused]},
        "failed": {},
        "not_reached": ["times others"],
    }


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(kernels, "folder", lambda: tmp_path)
    return made_up(tmp_path)


def committed(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tier of this record alone."""
    monkeypatch.setattr(kernels, "records", lambda runs: [{"path": "r.json", "record": record}])
    return tiers.committed()


def test_a_made_up_run(
    record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Its report as text, and every row as a table."""
    tier = committed(record, monkeypatch)
    rows = timed.compare(record).rows
    text = "\n".join([*lines(Report([tier])), "", timed.table(rows), ""])
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_errors_are_of_the_measured(record: dict[str, Any]) -> None:
    """1.1 / 1.001, 2.6 / 2, 5 / 8, 2.1 / 2; the clock is the mean of what was read."""
    found = {row.row.case: row for row in timed.compare(record).rows}
    errors = {name: row.error for name, row in found.items()}
    assert errors == pytest.approx(
        {"flash_fwd-c": -0.375, "flash_fwd-b": 0.3, "flash_fwd-a": 0.0989011, "splitk-d": 0.05}
    )
    assert list(found) == ["flash_fwd-c", "flash_fwd-b", "flash_fwd-a", "splitk-d"]
    assert [row.missed for row in found.values()] == [True, True, False, False]
    assert found["flash_fwd-a"].noise == pytest.approx(2e-6 / 1.001e-3)
    assert found["flash_fwd-a"].clock == pytest.approx(1.75e9)
    assert found["flash_fwd-c"].clock is None
    assert found["flash_fwd-c"].roofline == 4e-5


def test_json_has_every_row(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (tier,) = Report([committed(record, monkeypatch)]).as_json()["tiers"]
    assert [one["case"] for one in tier["times"]] == [
        c.row.case for c in timed.compare(record).rows
    ]
    assert tier["times"][0] == {
        "record": "r.json",
        "case": "flash_fwd-c",
        "kernel": "flash_fwd",
        "family": "dense",
        "predicted_s": 5e-5,
        "measured_s": 8e-5,
        "error": pytest.approx(-0.375),
        "noise": 0.0,
        "flushed_s": 9e-5,
        "roofline_s": 4e-5,
        "clock_hz": None,
        "bottleneck": "",
    }
    json.dumps(tier)


def altered(record: dict[str, Any], name: str, text: str) -> None:
    (kernels.folder() / "predictions" / name).write_text(text)


def sealed_anew(record: dict[str, Any], rows: list[Row]) -> str:
    """Other predictions, sealed: the digest."""
    text = as_csv(rows)
    digest = hashlib.sha256(text.encode()).hexdigest()
    altered(record, "times_h200.csv", text)
    altered(record, "times_h200.sha256", f"{digest}  times_h200.csv\n")
    return digest


def malformed(record: dict[str, Any]) -> None:
    text = f"{HEAD}a,k,soon,x,\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    altered(record, "times_h200.csv", text)
    altered(record, "times_h200.sha256", f"{digest}  times_h200.csv\n")
    record["predictions"]["sha256"] = digest


def first(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = record["sections"]["times dense"][0]
    return found


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no predictions": (
        lambda record: (kernels.folder() / "predictions" / "times_h200.csv").unlink(),
        "predictions/times_h200.csv is missing",
    ),
    "no seal": (
        lambda record: (kernels.folder() / "predictions" / "times_h200.sha256").unlink(),
        "predictions/times_h200.sha256 is missing",
    ),
    "altered": (
        lambda record: altered(record, "times_h200.csv", as_csv(ROWS[:-1])),
        "predictions/times_h200.csv is not what times_h200.sha256 says: it was altered",
    ),
    "predicted anew": (
        lambda record: sealed_anew(record, ROWS[:-1]),
        "predictions/times_h200.csv is another file than the run was made with: ",
    ),
    "malformed": (malformed, "predictions/times_h200.csv:2:5: seconds: 'soon' is no number"),
    "another GPU": (
        lambda record: record["environment"].update(name="NVIDIA H100 80GB HBM3"),
        "times of 'NVIDIA H100 80GB HBM3' were predicted in times_h200.csv, not times_h100.csv",
    ),
    "not predicted before": (
        lambda record: record.pop("predictions"),
        "times were measured that were not predicted before",
    ),
    "a case that failed": (
        lambda record: first(record).update(failed="an output is not finite"),
        "flash_fwd-a: an output is not finite",
    ),
    "not predicted": (
        lambda record: first(record).update(name="flash_fwd-z"),
        "flash_fwd-z: measured, not predicted",
    ),
    "measured twice": (
        lambda record: record["sections"]["times dense"].append(first(record)),
        "flash_fwd-a: measured twice",
    ),
    "no takes": (
        lambda record: first(record).pop("takes"),
        "is not laid out as a record: KeyError: 'takes'",
    ),
    "a time of 0": (
        lambda record: first(record)["takes"][1]["back_to_back_s"].update(median=0),
        "is not laid out as a record: ValueError: flash_fwd-a: [0.001, 0] are no times",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_run_fails(
    record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    edit, message = FAULTS[name]
    edit(record)
    tier = committed(record, monkeypatch)
    assert tier.status == "failed"
    assert len(tier.faults) == 1
    assert tier.faults[0].startswith(f"r.json: {message}")


def test_a_table_is_printed(
    record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(record))
    monkeypatch.setattr("sys.argv", ["timed", str(path)])
    timed.main()
    said = capsys.readouterr().out
    assert timed.table(timed.compare(record).rows) in said
    assert "\ntimes: 2 of 4 within 12% of the measured\n" in said
    record["environment"]["name"] = "NVIDIA L4"
    path.write_text(json.dumps(record))
    with pytest.raises(SystemExit, match=r"r\.json: times of 'NVIDIA L4' were predicted in"):
        timed.main()


def test_rank_correlation() -> None:
    """Spearman's by hand: 1 - 6 sum d^2 / (n (n^2 - 1)); ties share a rank."""
    assert timed.rank_correlation([1, 2, 3, 4], [10, 20, 30, 45]) == pytest.approx(1)
    assert timed.rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert timed.rank_correlation([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(1 - 6 * 2 / 60)
    assert timed.rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(math.sqrt(3) / 2)
    assert math.isnan(timed.rank_correlation([1], [1]))
    assert math.isnan(timed.rank_correlation([1, 1], [1, 2]))


def test_the_fitted_roofline_has_the_median_error_0(record: dict[str, Any]) -> None:
    """Measured over roofline: 2.002, 2, 2, 10 / 7."""
    rows = timed.compare(record).rows
    found = timed.baselines(rows)
    assert list(found)[-1] == "roofline x 2.00, fitted"
    assert sorted(row.of(list(found.values())[-1](row)) for row in rows)[1:3] == [0, 0]


def test_predictions_are_found_by_the_name_of_a_gpu() -> None:
    assert times.file_of("NVIDIA H200").name == "times_h200.csv"
    assert times.file_of("NVIDIA A100-SXM4-80GB").name == "times_a100.csv"


def test_the_cases_can_be_asked_for() -> None:
    pytest.importorskip("torch")
    from kernels import timing

    found = kernels.timed()
    assert [case["name"] for case in found] == [timed.name for timed in timing.times()]
    assert {"kernel", "family", "case", "flop", "bytes", "products_s", "memory_s"} < set(found[0])
