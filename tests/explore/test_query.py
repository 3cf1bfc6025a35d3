"""SQL over results: what it answers, and that it reaches nothing else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from accelsim import explore
from accelsim.cli import app
from accelsim.errors import AccelsimError
from accelsim.explore import store
from tests.explore.standin import arithmetic, study


@pytest.fixture
def out(tmp_path: Path) -> Path:
    document = explore.load(str(study(tmp_path)))
    explore.run(document, tmp_path / "out", evaluate=arithmetic)
    return tmp_path / "out"


def asked(out: Path, sql: str, *more: str) -> Result:
    return CliRunner().invoke(app, ["query", str(out), sql, *more])


def test_an_answer_as_json_and_csv(out: Path, tmp_path: Path) -> None:
    sql = (
        "SELECT kind, count(*) AS n, sum(cycles) AS total FROM results GROUP BY kind ORDER BY kind"
    )
    expected = [
        {"kind": kind, "n": n, "total": sum(a * b + 1 for a in range(1, 41) if a != 7 for b in bs)}
        for kind, n, bs in (("x", 400, range(1, 11)), ("y", 400, range(1, 11)), ("z", 40, [100]))
    ]
    assert json.loads(asked(out, sql, "--json").stdout) == expected
    assert asked(out, sql, "--csv", str(tmp_path / "n.csv")).exit_code == 0
    with (tmp_path / "n.csv").open() as file:
        found = list(csv.DictReader(file))
    assert found == [{name: str(value) for name, value in row.items()} for row in expected]
    assert "kind" in asked(out, "DESCRIBE results").stdout


@pytest.mark.parametrize("text", ["[/x]", "[b,h]", "[bold]x", ":smile:", "\\[b]"])
def test_texts_are_shown_as_they_are(out: Path, text: str) -> None:
    """Cells, names of columns, and the folder's own, none of which are marks for Rich."""
    out = out.rename(out.with_name("[b]out"))
    sql = f"SELECT '{text}' AS \"{text}\""
    title, *lines = asked(out, sql).stdout.splitlines()
    assert title.strip() == "[b]out"
    assert sum(text in line for line in lines) == 2


def test_rows_that_failed_are_empty(out: Path) -> None:
    sql = "SELECT * FROM results WHERE a = 7 AND kind = 'z'"
    (row,) = json.loads(asked(out, sql, "--json").stdout)
    empty = dict.fromkeys(("b", "seconds", "energy", "cycles"))
    assert row == {"point": 146, "a": 7, "kind": "z", **empty, "error": "a is 7"}


def test_while_a_sweep_runs_parts_are_read(out: Path) -> None:
    target, _ = store.opened(out)
    target.parts()[0][0].path.unlink()
    shown = asked(out, "SELECT count(*) AS n FROM results", "--json")
    left = json.loads(shown.stdout)[0]["n"]
    assert left < 840
    assert f"{840 - left:,} points of the study are not there yet" in shown.stderr


def test_a_bad_part_is_named_and_left_out(out: Path) -> None:
    target, _ = store.opened(out)
    path = target.parts()[0][0].path
    path.write_bytes(path.read_bytes()[:-1])
    shown = asked(out, "SELECT count(*) AS n FROM results", "--json")
    assert json.loads(shown.stdout)[0]["n"] < 840
    assert path.name in shown.stderr.replace("\n", "")


def test_no_rows_yet(out: Path) -> None:
    for part in store.opened(out)[0].parts()[0]:
        part.path.unlink()
    assert json.loads(asked(out, "SELECT * FROM results", "--json").stdout) == []


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT secnds FROM results", "columns of results: point, a, kind, b, seconds"),
        ("SELEC 1", "columns of results"),
        ("SELECT * FROM result", "columns of results"),
        ("SELECT 1; SELECT 2", "expected one SELECT over results, got SELECT, SELECT"),
        ("", "expected one SELECT over results, got nothing"),
        ("DROP VIEW results", "got DROP"),
        ("CREATE TABLE t AS SELECT 1", "got CREATE"),
        ("SET enable_external_access = true", "got SET"),
        ("COPY results TO '{out}/x.csv'", "got COPY"),
        ("ATTACH '{out}/x.db'", "got ATTACH"),
        ("INSTALL httpfs", "got LOAD"),
        ("SELECT * FROM '{out}/study.json'", "Permission Error"),
        ("SELECT * FROM read_text('{out}/study.json')", "Permission Error"),
        ("SELECT * FROM read_csv('{out}/study.json')", "Permission Error"),
        ("SELECT * FROM glob('{out}/*')", "Permission Error"),
        ("SELECT * FROM target", "target"),
        ("SELECT now() AS t", "query: t: expected no TIMESTAMP WITH TIME ZONE"),
        ("SELECT [now()] AS t", "query: t: expected no TIMESTAMP WITH TIME ZONE"),
        ("SELECT CAST(kind AS INT) FROM results", "Conversion Error"),
    ],
)
def test_what_is_refused(out: Path, sql: str, message: str) -> None:
    target = sorted(out.iterdir())
    with pytest.raises(AccelsimError) as error:
        list(explore.query(out, sql.format(out=out)).rows)
    assert message in str(error.value)
    assert sorted(out.iterdir()) == target


def test_a_folder_that_holds_no_results(tmp_path: Path) -> None:
    shown = asked(tmp_path, "SELECT 1")
    assert shown.exit_code == 1
    assert "not a folder that `accelsim sweep --out` has written" in str(shown.exception)
