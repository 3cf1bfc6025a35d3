"""Predictions of a GPU run: what they say, and how they are written and read."""

from __future__ import annotations

import math
from typing import Any

import pytest

from accelsim.errors import AccelsimError
from accelsim.validate import kernels, predictions, recorded
from accelsim.validate.predictions import Row, as_csv, read_csv, rows
from accelsim.validate.recorded import Compared, compare, numbers, predicted
from tests.validate.canned import BLOCK_M, BLOCK_N, HEADS, KEYS, TILES, WIDTH, traced

CASE = "tiny"

HEAD = "case,launch,counter,model,least,most,tolerance\n"


def of_tiny(monkeypatch: pytest.MonkeyPatch, arch: str, **built: Any) -> dict[Any, Any]:
    """(counter, model) -> (least, most, tolerance) of the canned case in float16."""
    launches = {"case": CASE, "launches": [{"ctas_per_sm": 2}], **built}
    monkeypatch.setattr(kernels, "described", lambda cases: [traced("float16") for _ in cases])
    monkeypatch.setattr(kernels, "built", lambda requests: [launches for _ in requests])
    found = list(rows([{}], arch))
    assert {(row.case, row.launch) for row in found} == {(CASE, "flash_fwd")}
    return {(row.counter, row.model): (row.least, row.most, row.tolerance) for row in found}


@pytest.mark.parametrize("arch", ["h200", "a100"])
def test_rows_of_a_case(monkeypatch: pytest.MonkeyPatch, arch: str) -> None:
    rows_of = HEADS * KEYS * WIDTH * 2  # bytes of Q, of K, of V and of O
    read = rows_of + 2 * TILES * BLOCK_N * WIDTH * 2
    written = rows_of + HEADS * KEYS * 4
    found = of_tiny(monkeypatch, arch)
    least, most, _ = found.pop(("xu_instructions", ""))
    assert least >= TILES * BLOCK_M * BLOCK_N / 32
    assert most is None
    # Tiles of 64 (wgmma) or 16 (mma) rows, per warp.
    wgmma, mma = TILES * 4 * (4 + 1), TILES * 2 * (2 * 4 + 8 * 1)
    assert found == {
        ("l2_read_bytes", ""): (read, read, 0.01),
        ("l2_write_bytes", ""): (written, written, 0.01),
        **{
            (counter, model): sizes
            for model in ("1 partition", "2 partitions")
            for counter, sizes in (
                ("dram_read_bytes", (3 * rows_of, 3 * rows_of, 0.05)),
                ("dram_write_bytes", (0, written, 0.05)),
            )
        },
        ("hgmma_instructions", ""): ((wgmma,) * 2 if arch == "h200" else (0, 0)) + (0.0,),
        ("hmma_instructions", ""): ((0, 0) if arch == "h200" else (mma,) * 2) + (0.0,),
    }


def test_a_case_that_cannot_be_built_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AccelsimError, match=r"'flash_fwd'.*: out of registers"):
        of_tiny(monkeypatch, "h200", error="out of registers")


ROWS = [
    Row("c", "one", "l2_read_bytes", "", 100, 100, 0.01),
    Row("c", "one", "dram_write_bytes", "2 partitions", 0, 100, 0.05),
    Row("c, quoted", "two", "xu_instructions", "", 100, None, 0.0),
    Row("c", "one", "l2_write_bytes", "", None, 7, 0.01),
]


def test_rows_go_through_csv() -> None:
    assert read_csv(as_csv(ROWS)) == ROWS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("case,launch", "launch,case", "predictions: expected columns case, launch, counter, "),
        ("100,100,0.01", "100,many,0.01", r"predictions, line 2: invalid literal .* 'many'"),
        ("100,100,0.01", "100,100,", "predictions, line 2: could not convert string to float"),
        ("7,0.01\n", "7", "predictions, line 5: "),
    ],
)
def test_a_csv_that_is_not_understood_is_refused(old: str, new: str, message: str) -> None:
    text = as_csv(ROWS)
    assert text.count(old) == 1
    with pytest.raises(AccelsimError, match=message):
        read_csv(text.replace(old, new))


@pytest.mark.parametrize(
    ("row", "measured", "error", "missed"),
    [
        (ROWS[0], 100, 0.0, False),
        (ROWS[0], 101, 0.01, False),  # at the edge of the tolerance
        (ROWS[0], 99, -0.01, False),
        (ROWS[0], 102, 0.02, True),
        (ROWS[0], 98, -0.02, True),
        (ROWS[1], 0, 0.0, False),
        (ROWS[1], 50, 0.0, False),
        (ROWS[1], 105, 0.05, False),
        (ROWS[1], 106, 0.06, True),
        (ROWS[2], 10**9, 0.0, False),  # no upper bound
        (ROWS[2], 99, -0.01, True),
        (ROWS[3], 0, 0.0, False),  # no lower bound
        (Row("c", "one", "hmma_instructions", "", 0, 0, 0.0), 3, 3.0, True),
    ],
)
def test_how_far_outside(row: Row, measured: int, error: float, missed: bool) -> None:
    compared = Compared(row, measured)
    assert compared.error == pytest.approx(error, abs=1e-12)
    assert compared.missed is missed


def test_unmeasured_is_neither_missed_nor_held() -> None:
    compared = Compared(ROWS[0], None)
    assert math.isnan(compared.error)
    assert not compared.missed
    assert str(compared) == "c: one: l2_read_bytes: predicted 100, not measured"


def test_a_miss_in_words() -> None:
    text = "c: one: dram_write_bytes (2 partitions): predicted 0 to 100, measured 125, +25.00%"
    assert str(Compared(ROWS[1], 125)) == text
    text = "c, quoted: two: xu_instructions: predicted 100 to ..., measured 50, -50.00%"
    assert str(Compared(ROWS[2], 50)) == text


def record(**sections: dict[str, dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Section (with _ for a space) -> case -> launch -> counter -> value."""
    return {
        "sections": {
            section.replace("_", " "): [
                {
                    "name": case,
                    "launches": [{"name": k, "counters": v} for k, v in launches.items()],
                }
                for case, launches in cases.items()
            ]
            for section, cases in sections.items()
        }
    }


READ, L2 = "dram__bytes_read.sum", "lts__t_sectors_srcunit_tex_op_read.sum"


def of_models(case: str, one: int, two: int) -> list[Row]:
    return [
        Row(case, "k", counter, model, size, size, 0.05)
        for counter in ("dram_read_bytes", "dram_write_bytes")
        for model, size in (("1 partition", one), ("2 partitions", two))
    ]


def test_one_model_of_the_cache_is_chosen_for_all_cases() -> None:
    """The second fits b and c, the first fits a alone: a is missed."""
    rows = [row for case in "abc" for row in of_models(case, 100, 200)]
    measured = record(
        counters_order={"a": {"k": {READ: 100}}, "b": {"k": {READ: 200}}},
        counters_knee={"c": {"k": {READ: 210}}},
        counters_warm={"a": {"k": {READ: 0}}},
    )
    found = compare(measured, rows)
    assert {c.row.model for c in found} == {"2 partitions"}
    reads = {c.row.case: c.measured for c in found if c.row.counter == "dram_read_bytes"}
    assert reads == {"a": 100, "b": 200, "c": 210}
    assert [c.row.case for c in found if c.missed] == ["a"]


def test_misses_come_first_the_largest_of_all_at_the_top() -> None:
    rows = [Row(case, "k", "l2_read_bytes", "", 320, 320, 0.1) for case in "abcd"]
    sectors = {"a": 10, "b": 12, "c": 5}  # of 32 bytes; d is not measured
    measured = record(counters_order={case: {"k": {L2: n}} for case, n in sectors.items()})
    found = compare(measured, rows)
    assert [(c.row.case, c.measured, c.missed) for c in found] == [
        ("c", 160, True),
        ("b", 384, True),
        ("a", 320, False),
        ("d", None, False),
    ]


def test_numbers_that_did_not_pass_are_faults() -> None:
    errors = {"O": {"global": 1e-4, "worst_row": 2e-3}}
    passed = {"name": "a", "gate": 1.5e-3, "errors": {"O": {"global": 1e-4}}, "passed": True}
    said = {"name": "d", "gate": 1.5e-3, "errors": errors, "passed": True}  # it does not count
    results = [
        passed,
        {"name": "b", "gate": 1.5e-3, "errors": errors, "passed": False},
        {"name": "c", "skipped": "no reference of single rows"},
    ]
    sections = {"numerics flash_fwd": results, "numerics of rows": [passed, said], "clocks": {}}
    number, faults = numbers({"sections": sections})
    assert number == 4
    wrong = '{"O": {"global": 0.0001, "worst_row": 0.002}}, at most 0.0015'
    assert faults == [f"numerics flash_fwd: b: {wrong}", f"numerics of rows: d: {wrong}"]


def test_predictions_are_found_by_the_name_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "predictions").mkdir()
    for name in ("a100", "h200"):
        row = Row(name, "k", "l2_read_bytes", "", 1, 1, 0.01)
        (tmp_path / "predictions" / f"{name}.csv").write_text(as_csv([row]))
    monkeypatch.setattr(recorded.kernels, "folder", lambda: tmp_path)
    for gpu, name in (
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100 80GB PCIe", "a100"),
    ):
        assert [row.case for row in predicted(gpu) or ()] == [name]
    assert predicted("NVIDIA L4") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected columns case, launch"),
        (HEAD.encode(), "no rows"),
        (f"{HEAD}a,k,l2_read_bytes,,1,1,nan\n".encode(), "line 2: expected 7 fields"),
        (f"{HEAD}a,k,l2_read_bytes,,1,1,0.1,7\n".encode(), "line 2: expected 7 fields"),
        (f"{HEAD}a,k,l2_read_bytes,,banana,1,0.1\n".encode(), "line 2: invalid literal"),
        (b"\xff\xfe", "h200.csv: is not UTF-8"),
    ],
)
def test_broken_predictions_are_an_error(
    text: bytes, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "h200.csv").write_bytes(text)
    monkeypatch.setattr(recorded.kernels, "folder", lambda: tmp_path)
    with pytest.raises(AccelsimError, match=message):
        predicted("NVIDIA H200")


def test_the_committed_predictions_are_of_the_protocol() -> None:
    pytest.importorskip("torch")
    from kernels import protocol

    found = predicted("NVIDIA H200")
    assert {row.case for row in found} == {case.name for case in protocol.protocol()}
    assert {row.counter for row in found} == set(predictions.COUNTERS)
