"""`accelsim sweep` on real points: failing ones, folders, interrupts, limits of files."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from accelsim import explore
from accelsim.cli import app
from accelsim.explore import store
from tests.explore.standin import EVERY, fingerprint

STUDY = """sweep: real
source: here
axes:
  batch: [1, 0, 2]
  memory: {powers: [25 GiB/s, 400 GiB/s], of: 4, set: arch.levels.dram.bandwidth}
  seq_len: {range: [256, 512], step: 256}
cases:
  - workload: bert
    runs: {a: {mapping: fusemax__attention_1pass, set: ["workload.ranks.B={batch}"]}}
"""


def study(folder: Path, text: str = STUDY) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def ran(*words: object) -> Result:
    return CliRunner().invoke(app, ["sweep", *map(str, words)])


def test_a_failing_point_takes_no_other_with_it(tmp_path: Path) -> None:
    path, out = study(tmp_path), tmp_path / "rows.csv"
    shown = ran(path, "--csv", out)
    assert shown.exit_code == 0
    assert "6 of 18 points failed" in shown.stderr
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["batch"] for row in rows] == ["1"] * 6 + ["0"] * 6 + ["2"] * 6
    for row in rows:
        assert ("expected a number from 1" in row["error"]) == (row["batch"] == "0")
        assert (row["seconds"] == "") == (row["batch"] == "0")


def test_rows_are_those_of_single_runs(tmp_path: Path) -> None:
    """An axis that sets a path is a setting of every run."""
    text = STUDY.replace("[1, 0, 2]", "[1, 2]")
    (found, same) = (json.loads(ran(study(tmp_path, t), "--json").stdout) for t in (text, text))
    assert found == same
    assert len({row["cycles"] for row in found}) == 12
    for row in found:
        assert "error" not in row
        settings = [
            f"workload.ranks.B={row['batch']}",
            f"arch.levels.dram.bandwidth={row['memory']}",
        ]
        words = ["run", "--mapping", "fusemax__attention_1pass", "--model", "bert", "--json"]
        words += ["--seq-len", str(row["seq_len"])]
        words += [word for setting in settings for word in ("--set", setting)]
        alone = json.loads(CliRunner().invoke(app, words).stdout)
        assert row["cycles"] == alone["cycles"]
        assert row["energy_pj"] == alone["energy_pj"]


def test_a_folder_and_the_same_rows(tmp_path: Path) -> None:
    study(tmp_path)
    out = tmp_path / "out"
    shown = ran(tmp_path, "--out", out, "--json", "--csv", tmp_path / "rows.csv")
    told = json.loads(shown.stdout)
    assert (told["rows"], told["failed"], told["study"]["points"]) == (18, 6, 18)
    assert told["study"]["columns"]["cycles"] == "int64"
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 19
    assert ran(tmp_path, "--out", tmp_path / "two", "--workers", 2).exit_code == 0
    assert fingerprint(out) == fingerprint(tmp_path / "two")


def test_all_failed_is_status_1(tmp_path: Path) -> None:
    path = study(tmp_path, STUDY.replace("[1, 0, 2]", "[0]"))
    assert ran(path, "--json").exit_code == 1
    assert ran(path, "--out", tmp_path / "out").exit_code == 1


def test_an_absent_axis_in_a_setting_is_named(tmp_path: Path) -> None:
    text = STUDY.replace("seq_len:", "n: {values: [1], when: {batch: 1}}\n  seq_len:")
    path = study(tmp_path, text.replace("B={batch}", "B={n}"))
    (found,) = {row["error"] for row in json.loads(ran(path, "--json").stdout)} - {None}
    assert found == "case 1: {n} is absent here, in 'workload.ranks.B={n}'"
    shown = CliRunner().invoke(app, ["check", str(path)])
    assert "at batch 0, memory 25 GiB/s, seq_len 256:\ncase 1: {n} is absent" in shown.stdout


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    example = text[text.index("    sweep: chips") :].split("\n\n")[0]
    path = study(tmp_path, textwrap.dedent(example).replace("[4096, 16384]", "[4096]"))
    rows = json.loads(ran(path, "--json").stdout)
    assert {row["feasible"] for row in rows} == {True, False}
    assert {row["slots"] for row in rows} == {None, 1, 2}
    assert all(("error" not in row) or row["error"] is None for row in rows if row["feasible"])


def test_no_point_is_no_row(tmp_path: Path) -> None:
    path = study(tmp_path, STUDY + "constraints: [seq_len < 1]\n")
    assert ran(path, "--csv", tmp_path / "rows.csv").exit_code == 0
    assert (tmp_path / "rows.csv").read_text().startswith("batch,memory,seq_len,dram_bytes,")
    shown = ran(path, "--out", tmp_path / "out", "--json")
    assert (shown.exit_code, json.loads(shown.stdout)["rows"]) == (0, 0)


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    path = study(tmp_path)
    for words in (["--resume"], ["--shard", "1/2"]):
        assert "go with --out" in str(ran(path, *words).exception)
    for shard in ("0/2", "3/2", "x", "1/"):
        shown = ran(path, "--out", tmp_path / "out", "--shard", shard)
        assert "expected I/N" in str(shown.exception)
    assert "holds study.yaml" in str(ran(tmp_path / "..").exception)


def command(*words: object, limit: int | None = None) -> subprocess.Popen[str]:
    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-m", "accelsim", "sweep", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited,
        start_new_session=True,
    )


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    path, out = study(tmp_path), tmp_path / "out"
    _, said = (process := command(path, "--out", out, limit=3000)).communicate(timeout=100)
    assert process.returncode == 1
    assert "cannot be written: File too large" in said
    assert "--resume goes on" in said
    assert "Traceback" not in said
    assert store.opened(out)[0].parts() == ([], [])
    assert [one.name for one in out.iterdir()] == [store.MANIFEST]
    _, said = (process := command(path, "--out", tmp_path / "no", limit=100)).communicate(
        timeout=60
    )
    assert process.returncode == 1
    assert "study.json: cannot be written: File too large" in said


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_says_how_to_go_on(tmp_path: Path, workers: int) -> None:
    """As from a terminal: all processes get it."""
    text = STUDY.replace("[1, 0, 2]", "{range: [1, 2000]}")
    path, out = study(tmp_path, text), tmp_path / "out"
    process = command(path, "--out", out, "--workers", workers)
    deadline = time.monotonic() + 60
    while not list(out.glob("part-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"to go on: accelsim sweep {path} --out {out} --resume" in said
    assert "Traceback" not in said
    target, manifest = store.opened(out)
    parts, bad = target.parts(thorough=EVERY)
    assert not bad
    assert 0 < len(list(target.rows(parts))) < manifest["points"]


def test_rows_of_reports_are_those_of_sweeps(tmp_path: Path) -> None:
    document = explore.load(str(study(tmp_path, STUDY.replace("[1, 0, 2]", "[1, 2]"))))
    table, _ = explore.table(document)
    assert table == list(explore.rows(document))
