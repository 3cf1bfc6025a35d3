"""Points of a sweep read back, their front, and how they are packed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelsim.errors import AccelsimError
from accelsim.report import packed, points, sweep_page
from accelsim.report.front import front, spread
from accelsim.report.meaning import meaning
from tests.report.sweep_folder import write


def test_points_come_in_their_order_whatever_the_parts(tmp_path: Path) -> None:
    found = points.read(write(tmp_path, 50))
    assert found.point.tolist() == list(range(50))
    assert found.failed == 2
    assert [row for row, text in enumerate(found.error) if text] == [3, 43]
    assert np.isnan(found.measures["seconds"]).nonzero()[0].tolist() == [3, 43]


def test_a_point_is_found_by_its_number(tmp_path: Path) -> None:
    found = points.read(write(tmp_path, 50))
    assert found.row(49) == 49
    with pytest.raises(AccelsimError, match=r"no point 50: .* has 0 to 49"):
        found.row(50)


def edit(folder: Path, **changes: object) -> None:
    path = folder / "study.json"
    manifest = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": {"speed": "max"}}, "objectives: no measure 'speed'"),
        ({"objectives": {"seconds": "least"}}, "expected measure -> min or max"),
        ({"axes": ["seq_len", "colour"]}, "no column 'colour'"),
        ({"axes": None}, "no 'axes'"),
        ({"axes": 3}, "axes: expected a list"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    edit(write(tmp_path, 10), **changes)
    with pytest.raises(AccelsimError, match=message):
        points.read(tmp_path)


def test_a_measure_under_another_name_keeps_its_unit(tmp_path: Path) -> None:
    folder = write(tmp_path, 4, without=("energy_pj",), extra={"heat_pj": [1.0, 2.0, 3.0, 4.0]})
    edit(folder, objectives={"energy_pj": "min"}, measures={"heat_pj": "energy_pj"})
    found = points.read(folder)
    assert found.objectives == {"heat_pj": "min"}
    columns = {column["name"]: column for column in sweep_page.document(found, {})["columns"]}
    assert (columns["heat_pj"]["unit"], columns["heat_pj"]["label"]) == ("J", "heat_pj")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", 10)
    (folder / "part-0000.parquet").write_bytes(b"not a part")
    with pytest.raises(AccelsimError, match="cannot be read"):
        points.read(folder)
    folder = write(tmp_path / "b", 10)
    (folder / "study.json").write_text("{]")
    with pytest.raises(AccelsimError, match=r"study.json:1:2"):
        points.read(folder)
    for part in folder.glob("part-*"):
        part.unlink()
    (folder / "study.json").write_text('{"name": "x", "axes": [], "objectives": {}}')
    with pytest.raises(AccelsimError, match="no part-"):
        points.read(folder)


def test_words_are_no_measure(tmp_path: Path) -> None:
    folder = write(tmp_path, 4, extra={"speed": ["fast", "slow", "fast", "slow"]})
    with pytest.raises(AccelsimError, match="column 'speed': expected numbers"):
        points.read(folder)


values = hnp.arrays(
    np.float64,
    st.tuples(st.integers(0, 25), st.integers(1, 3)),
    elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, np.inf, np.nan]),
)


@given(values)
def test_the_front_is_what_nothing_dominates(table: np.ndarray) -> None:
    def dominated(row: np.ndarray) -> bool:
        return any((other <= row).all() and (other < row).any() for other in table)

    whole = [i for i, row in enumerate(table) if not np.isnan(row).any()]
    assert front(table).tolist() == [i for i in whole if not dominated(table[i])]


def test_all_of_a_tie_are_on_the_front() -> None:
    assert front(np.array([[1.0, 2.0], [2.0, 2.0], [1.0, 2.0], [0.0, 3.0]])).tolist() == [0, 2, 3]


def test_a_spread_has_both_ends_and_no_more_than_asked() -> None:
    table = np.array([[9.0 - i, float(i)] for i in range(10)])
    assert spread(front(table), table, 4) == [9, 6, 3, 0]
    assert spread(front(table), table, 10) == list(range(9, -1, -1))


def unpacked(told: packed.Packed, kind: str, form: str) -> list[float]:
    return np.frombuffer(base64.b64decode(told[kind]), form).tolist()


def test_numbers_are_packed_as_small_as_they_can_be() -> None:
    assert packed.floats(np.full(9, 2.0)) == {"same": 2.0, "length": 9}
    short = packed.floats(np.array([0.5, np.nan]))
    assert unpacked(short, "f32", "<f4")[0] == 0.5
    exact = packed.floats(np.array([0.1, 0.2]), exact=True)
    assert unpacked(exact, "f64", "<f8") == [0.1, 0.2]


@pytest.mark.parametrize("value", [1e300, 1e-300])
def test_numbers_too_large_or_small_for_4_bytes_have_8(value: float) -> None:
    assert unpacked(packed.floats(np.array([value, 1.0])), "f64", "<f8") == [value, 1.0]


def test_codes_keep_values_of_different_kinds_apart() -> None:
    told = packed.codes(["1", 1, True, 1.5, "1", None])
    assert told["of"] == ["1", 1, True, 1.5, None]
    assert unpacked(told, "u1", "<u1") == [0, 1, 2, 3, 0, 4]
    assert "u2" in packed.codes(list(range(257)))


def test_measures_have_units() -> None:
    assert meaning("seconds").unit == "s"
    assert meaning("utilization_array_2d_QK").unit == "%"
    assert meaning("decode.energy_pj").unit == "J"
    assert meaning("decode.energy_pj").about.startswith("of the run decode:")
    assert meaning("speed").unit == ""
