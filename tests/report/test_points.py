"""Points of a sweep read back, their front, and how they are packed."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelsim import explore
from accelsim.errors import AccelsimError
from accelsim.report import packed, sweep_page
from accelsim.report.front import front, spread
from accelsim.report.meaning import meaning
from tests.report.sweep_folder import write


def test_points_come_in_their_order_whatever_the_parts(tmp_path: Path) -> None:
    found = explore.points(write(tmp_path, 50))[0]
    assert found.point.tolist() == list(range(50))
    assert found.failed == 2
    assert [row for row, text in enumerate(found.error) if text] == [3, 43]
    assert np.isnan(found.measures["seconds"]).nonzero()[0].tolist() == [3, 43]


def test_a_point_is_found_by_its_number(tmp_path: Path) -> None:
    found = explore.points(write(tmp_path, 50))[0]
    assert found.row(49) == 49
    with pytest.raises(AccelsimError, match=r"no point 50: .* has 0 to 49"):
        found.row(50)
    some = dataclasses.replace(found, point=2 * found.point)
    assert some.row(98) == 49
    with pytest.raises(AccelsimError, match=r"has 0 to 98, but no row of this one: a constraint"):
        some.row(7)
    with pytest.raises(AccelsimError, match=r"has 0 to 98$"):
        some.row(99)


def edit(folder: Path, **changes: object) -> None:
    path = folder / "study.json"
    manifest = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))


def measured(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / "study.json").read_text())["measures"]
    return found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": {"speed": "max"}}, "expected a measure with min or max, got speed: max"),
        ({"objectives": {"seconds": "least"}}, "got seconds: least"),
        ({"axes": {"seq_len": [], "colour": []}}, "its columns are not its axes and measures"),
        ({"axes": None}, "no 'axes'"),
        ({"axes": 3}, "no 'axes'"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    edit(write(tmp_path, 10), **changes)
    with pytest.raises(AccelsimError, match=message):
        explore.points(tmp_path)[0]


def test_a_measure_under_another_name_keeps_its_unit(tmp_path: Path) -> None:
    folder = write(tmp_path, 4, without=("energy_pj",), extra={"heat_pj": [1.0, 2.0, 3.0, 4.0]})
    edit(
        folder,
        objectives={"energy_pj": "min"},
        measures={**measured(folder), "heat_pj": "energy_pj"},
    )
    found = explore.points(folder)[0]
    assert found.objectives == {"heat_pj": "min"}
    columns = {column["name"]: column for column in sweep_page.document(found, {})["columns"]}
    assert (columns["heat_pj"]["unit"], columns["heat_pj"]["label"]) == ("J", "heat_pj")


def test_files_that_are_none_are_left_out_and_named(tmp_path: Path) -> None:
    folder = write(tmp_path, 10)
    first, second = sorted(folder.glob("part-*"))
    second.write_bytes(second.read_bytes()[:-9])
    found, bad, missing = explore.points(folder)
    assert (len(found.point), [one.part.path for one in bad], missing) == (5, [second], 5)
    first.unlink()
    with pytest.raises(AccelsimError, match=f"holds no points; {second.name}: "):
        explore.points(folder)
    (folder / "study.json").write_text("{]")
    with pytest.raises(AccelsimError, match=r"study.json: cannot be read"):
        explore.points(folder)


def test_a_study_may_have_our_names(tmp_path: Path) -> None:
    """Its axis `point`, and a column `error`; ours have a `_` then."""
    path = tmp_path / "study.yaml"
    path.write_text(
        "sweep: named\nsource: here\naxes: {point: [1, 2], feasible: [3], seq_len: [1024]}\n"
        "cases: [{workload: bert, runs: {a: {mapping: fusemax__attention_1pass}}}]\n"
        "columns: {error: seconds}\nconstraints: [cycles > 1]\nobjectives: {error: min}\n"
    )
    explore.run(explore.load(str(path)), tmp_path / "out")
    found, _, _ = explore.points(tmp_path / "out")
    assert (found.point.tolist(), found.axes["point"]) == ([0, 1], [1, 2])
    assert found.feasible.all()
    assert (found.error, found.objectives) == ([None, None], {"error": "min"})
    assert found.measures["error"].min() > 0


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


def test_without_objectives_there_is_no_front() -> None:
    table = np.empty((4, 0))
    assert spread(front(table), table, 4) == []


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
