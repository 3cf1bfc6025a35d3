"""Runs of studies: the same rows whoever solves them, in whatever order, however often stopped."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from accelsim import explore
from accelsim.errors import AccelsimError
from accelsim.explore import drive, space, store
from tests.explore import standin
from tests.explore.standin import EVERY, Deadly, arithmetic, fingerprint, study


def swept(path: Path, out: Path, **how: Any) -> explore.Summary:
    how = {"evaluate": arithmetic, **how}
    return explore.run(explore.load(str(path)), out, **how)


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, str]:
    """A study, and what all its rows come to."""
    path = study(tmp_path)
    swept(path, tmp_path / "whole")
    return path, fingerprint(tmp_path / "whole")


def rows(out: Path) -> list[dict[str, Any]]:
    target, _ = store.opened(out)
    return sorted(target.rows(target.parts(thorough=EVERY)[0]), key=lambda row: row["point"])


def test_a_row_for_every_point(tmp_path: Path) -> None:
    path = study(tmp_path)
    summary = swept(path, tmp_path / "out")
    made = space.of(explore.load(str(path)).spec)
    points = made.points(0, len(made))
    assert [(r["point"], r["a"], r["kind"], r["b"]) for r in rows(tmp_path / "out")] == [
        (number, *axes.values()) for number, axes in points
    ]
    assert (summary.rows, summary.failed, summary.messages) == (840, 21, (("a is 7", 21),))
    for row, (_, axes) in zip(rows(tmp_path / "out"), points, strict=True):
        (found,) = arithmetic([axes])
        assert row["error"] == found.get("error")
        assert (row["seconds"], row["energy"]) == (found.get("seconds"), found.get("energy_pj"))
        assert row["cycles"] == found.get("cycles")


@pytest.mark.parametrize("rows_of_a_part", [1, 50, 10_000])
def test_rows_do_not_depend_on_parts(
    whole: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_of_a_part: int
) -> None:
    monkeypatch.setattr(store, "ROWS", rows_of_a_part)
    swept(whole[0], tmp_path / "out")
    assert fingerprint(tmp_path / "out") == whole[1]


def test_rows_do_not_depend_on_workers(whole: tuple[Path, str], tmp_path: Path) -> None:
    swept(whole[0], tmp_path / "out", workers=2)
    assert fingerprint(tmp_path / "out") == whole[1]


@pytest.mark.parametrize("shards", [2, 7, 1000])
def test_rows_do_not_depend_on_shards(whole: tuple[Path, str], tmp_path: Path, shards: int) -> None:
    """Written to one folder, in any order."""
    order = [n * 3 % shards for n in range(shards)] if shards % 3 else range(shards)
    order = [*order][:: 1 if shards < 10 else 40] if shards > 10 else [*order]
    for number in order:
        summary = swept(whole[0], tmp_path / "out", shard=(number + 1, shards))
        assert summary.rows == 840 * (number + 1) // shards - 840 * number // shards
    if shards > 10:
        swept(whole[0], tmp_path / "out", resume=True)
    assert fingerprint(tmp_path / "out") == whole[1]


def test_a_shard_is_not_begun_twice(whole: tuple[Path, str], tmp_path: Path) -> None:
    swept(whole[0], tmp_path / "out", shard=(1, 2))
    with pytest.raises(AccelsimError, match="rows of this shard already"):
        swept(whole[0], tmp_path / "out", shard=(1, 2))
    swept(whole[0], tmp_path / "out", shard=(1, 2), resume=True)


def test_a_bad_part_is_named_and_done_again(
    whole: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ROWS", 100)
    swept(whole[0], tmp_path / "out")
    target, _ = store.opened(tmp_path / "out")
    second = target.parts()[0][1].path
    second.write_bytes(second.read_bytes()[:-9])
    monkeypatch.setattr(store, "ROWS", 10)  # what replaces it is other parts
    named: list[store.Bad] = []
    summary = swept(whole[0], tmp_path / "out", resume=True, warn=named.append)
    assert [bad.part.path for bad in named] == [second]
    assert summary.rows == 840
    assert not target.parts(thorough=EVERY)[1]
    assert fingerprint(tmp_path / "out") == whole[1]


@pytest.mark.parametrize("change", ["study", "base", "machine", "code"])
def test_resume_needs_the_same_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    arch = (Path(explore.__file__).parents[2] / "archs" / "fusemax.yaml").read_text()
    mappings = Path(explore.__file__).parents[2] / "archs" / "mappings"
    mapping = (mappings / "fusemax__attention_1pass.yaml").read_text()
    (tmp_path / "machine.yaml").write_text(arch)
    (tmp_path / "own.yaml").write_text(mapping.replace("arch: fusemax", "arch: machine.yaml"))
    base = study(tmp_path)
    base.write_text(base.read_text().replace("fusemax__attention_1pass", "own.yaml"))
    path = tmp_path / "top.yaml"
    columns = "columns: {seconds: seconds}\n"
    path.write_text(f"sweep: top\nsource: here\nbase: study.yaml\n{columns}")
    swept(path, tmp_path / "out")
    swept(path, tmp_path / "out", resume=True)
    match change:
        case "study":
            path.write_text(path.read_text().replace("seconds: seconds", "s: seconds"))
        case "base":
            base.write_text(base.read_text().replace("[1, 40]", "[1, 41]"))
        case "machine":
            (tmp_path / "machine.yaml").write_text(arch.replace("940 MHz", "941 MHz"))
        case "code":
            monkeypatch.setattr(drive.inputs, "code_hash", lambda: "other")
    named = {"base": "study", "machine": "arch machine.yaml"}.get(change, change)
    with pytest.raises(AccelsimError, match=f"changed: {named}"):
        swept(path, tmp_path / "out", resume=True)


def test_the_machine_of_a_mapping_that_settings_mend_is_in_the_key(tmp_path: Path) -> None:
    root = Path(explore.__file__).parents[2]
    arch = (root / "archs" / "fusemax.yaml").read_text()
    mapping = (root / "archs" / "mappings" / "fusemax__attention_1pass.yaml").read_text()
    (tmp_path / "machine.yaml").write_text(arch)
    mapping = mapping.replace("arch: fusemax", "arch: machine.yaml")
    path = study(tmp_path, "{seq_len: [1024]}")
    path.write_text(
        path.read_text().replace(
            "{mapping: fusemax__attention_1pass}",
            "{mapping: own.yaml, set: [mapping.phases.attention.storage.K.slots=2]}",
        )
    )
    (tmp_path / "own.yaml").write_text(
        mapping.replace(
            "K:   {level: global_buffer, slots: 2}", "K:   {level: global_buffer, slots: x}"
        )
    )
    assert explore.run(explore.load(str(path)), tmp_path / "out").failed == 0
    (tmp_path / "machine.yaml").write_text(arch.replace("940 MHz", "941 MHz"))
    with pytest.raises(AccelsimError, match=r"changed: arch machine.yaml"):
        swept(path, tmp_path / "out", resume=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_budget_leaves_the_rest_to_another_run(
    whole: tuple[Path, str], tmp_path: Path, workers: int
) -> None:
    path, out = study(tmp_path, more="budget: {points: 300}\n"), tmp_path / "out"
    assert [(s.rows, s.left) for s in (swept(path, out), swept(path, out, resume=True))] == [
        (300, 540),
        (600, 240),
    ]
    assert [row["point"] for row in rows(out)] == list(range(600))
    path.write_text(path.read_text().replace("points: 300", "seconds: 0.2"))
    slow = standin.Slow(0.01)
    summary = swept(path, out, resume=True, evaluate=slow, workers=workers)
    assert (summary.rows + summary.left, 0 < summary.left < 240) == (840, True)
    study(tmp_path)
    swept(path, out, resume=True)
    assert fingerprint(out) == whole[1]


def test_a_budget_holds_in_memory_too(tmp_path: Path) -> None:
    path = study(tmp_path, more="budget: {points: 7}\n")
    found, summary = explore.table(explore.load(str(path)), evaluate=arithmetic)
    assert (len(found), summary.left) == (7, 833)


def test_a_comment_changes_nothing(tmp_path: Path) -> None:
    path = study(tmp_path)
    swept(path, tmp_path / "out")
    path.write_text("# a comment\n" + path.read_text())
    swept(path, tmp_path / "out", resume=True)


@pytest.mark.parametrize("what", ["rows", "file", "another"])
def test_a_folder_with_something_in_it_is_refused(tmp_path: Path, what: str) -> None:
    path, out = study(tmp_path), tmp_path / "out"
    if what == "rows":
        swept(path, out)
    elif what == "file":
        out.touch()
    else:
        out.mkdir()
        (out / "notes.txt").touch()
    before = [*out.iterdir()] if out.is_dir() else []
    with pytest.raises(AccelsimError, match=r"something in it already|is a file"):
        swept(path, out)
    assert (not out.is_dir()) or [*out.iterdir()] == before


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AccelsimError, match="cannot be written: Not a directory"):
        swept(study(tmp_path), tmp_path / "file" / "out")


def test_a_full_disk_keeps_what_is_written(
    whole: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ROWS", 100)

    def full(file: int | None) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        standin.interrupted(patch, 14, full)
        with pytest.raises(AccelsimError, match=r"No space left on device\n.*--resume goes on"):
            swept(whole[0], tmp_path / "out")
    assert 0 < len(rows(tmp_path / "out")) < 840
    swept(whole[0], tmp_path / "out", resume=True)
    assert fingerprint(tmp_path / "out") == whole[1]


def test_what_fails_at_some_points_fails_only_there(tmp_path: Path) -> None:
    """Errors of every kind, of many points at once, and answers that are none."""
    path = study(tmp_path, "{a: {range: [1, 40]}}")

    def broken(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for point in points:
            match point["a"]:
                case 3:
                    raise ZeroDivisionError("of nothing")
                case 4:
                    raise AccelsimError("a is four\nand more")
                case 5:
                    return []
                case 6:
                    raise MemoryError
        odd = {8: {"cycles": 0.5}, 9: {"cycles": 1 << 70}, 10: {"seconds": "\ud800"}, 11: None}
        out = []
        for point, row in zip(points, arithmetic(points), strict=True):
            other: dict[str, Any] | None = odd.get(point["a"], {})
            out.append({} if other is None else row | other)
        return out

    swept(path, tmp_path / "out", evaluate=broken)
    errors = {row["a"]: row["error"] for row in rows(tmp_path / "out") if row["error"]}
    assert errors == {
        3: "ZeroDivisionError: of nothing",
        4: "a is four",
        5: "ValueError: 0 rows for 1 points",
        6: "MemoryError: ",
        7: "a is 7",
        8: "cycles: 0.5 is no whole number of 64 bits",
        9: f"cycles: {1 << 70} is no whole number of 64 bits",
        10: "seconds: '\\ud800' is no number",
        11: "no measure 'seconds'",
    }
    for row in rows(tmp_path / "out"):
        assert (row["seconds"] is None) == (row["a"] in errors)


def test_points_of_a_worker_that_dies_are_done_again(
    whole: tuple[Path, str], tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    evaluate = Deadly(str(tmp_path / "marks"), 2)
    swept(whole[0], tmp_path / "out", workers=2, evaluate=evaluate)
    assert len([*(tmp_path / "marks").iterdir()]) == 2
    assert fingerprint(tmp_path / "out") == whole[1]


def test_a_point_that_always_kills_its_process_fails(tmp_path: Path) -> None:
    path = study(tmp_path, "{a: {range: [1, 6]}}")
    (tmp_path / "marks").mkdir()
    swept(path, tmp_path / "out", workers=2, evaluate=Deadly(str(tmp_path / "marks"), 1000))
    errors = {row["a"]: row["error"] for row in rows(tmp_path / "out")}
    assert errors == {
        a: "its process died, each time anew" if a == 3 else None for a in range(1, 7)
    }


def test_an_interrupt_writes_what_there_is(whole: tuple[Path, str], tmp_path: Path) -> None:
    def interrupted(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if points[-1]["a"] >= 20:
            raise KeyboardInterrupt
        return arithmetic(points)

    with pytest.raises(KeyboardInterrupt):
        swept(whole[0], tmp_path / "out", evaluate=interrupted)
    assert 0 < len(rows(tmp_path / "out")) < 840
    swept(whole[0], tmp_path / "out", resume=True)
    assert fingerprint(tmp_path / "out") == whole[1]


def test_constraints_on_measures_mark_rows(tmp_path: Path) -> None:
    more = "constraints: [cycles * a < 1000, energy_pj > 2]\nobjectives: {tflops: max}\n"
    path = study(tmp_path, "{a: {range: [1, 40]}}", more)

    def with_speed(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | {"tflops": 1.0} for row in arithmetic(points)]

    swept(path, tmp_path / "out", evaluate=with_speed)
    for row in rows(tmp_path / "out"):
        if row["error"] is not None:
            assert row["feasible"] is None
            continue
        assert row["feasible"] == (row["cycles"] * row["a"] < 1000 and row["energy"] > 2)
        assert row["tflops"] == 1.0
    assert {row["feasible"] for row in rows(tmp_path / "out")} == {None, True, False}


def test_what_a_constraint_on_area_excludes_is_not_simulated(tmp_path: Path) -> None:
    path = study(tmp_path, "{a: {range: [1, 40]}}", "constraints: [area_um2 <= 10]\n")
    document = explore.load(str(path))
    planned = drive.plan(document, arithmetic)
    asked: list[int] = []

    def evaluate(points: Any) -> list[dict[str, Any]]:
        asked.extend(point["a"] for point in points)
        return [
            row | {"area_um2": point["a"]}
            for point, row in zip(points, arithmetic(points), strict=True)
        ]

    def areas(points: Any) -> list[dict[str, Any]]:
        return [{"area_um2": point["a"]} for point in points]

    solve = drive.Plan(document, planned.found, evaluate, areas).solver()
    made = [dict(zip(solve.table.names, row, strict=True)) for row in solve(0, 40)]
    assert asked == [*range(1, 11)]
    assert [row["feasible"] for row in made] == [None if a == 7 else a <= 10 for a in range(1, 41)]
    assert [row["area_um2"] for row in made if row["a"] != 7] == [a for a in range(1, 41) if a != 7]


def test_names_of_a_study_come_before_our_own(tmp_path: Path) -> None:
    path = study(tmp_path, "{a: [1], point: [5]}")
    path.write_text(path.read_text().replace("energy:", "error:"))

    def evaluate(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return arithmetic([{"a": point["a"]} for point in points])

    swept(path, tmp_path / "out", evaluate=evaluate)
    assert list(rows_as_written(tmp_path / "out")[0]) == [
        "point_", "a", "point", "seconds", "error", "cycles", "error_"
    ]  # fmt: skip


def rows_as_written(out: Path) -> list[dict[str, Any]]:
    target, _ = store.opened(out)
    return list(target.rows(target.parts()[0]))
