"""Every malformed input has its message: where, what, what was expected, the nearest known name.

Each cases/NAME.yaml (.json: a model's config) has its cases/NAME.expect, all that `accelsim check`
prints there. cases/parts/ holds what those files name. `pytest --update-golden` writes the
expectations anew; read the difference before you keep it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from accelsim.cli import app

CASES = Path(__file__).parent / "cases"
FILES = {path.stem: path.name for path in [*CASES.glob("*.yaml"), *CASES.glob("*.json")]}
NAMES = sorted(FILES)


@pytest.mark.parametrize("name", NAMES)
def test_message(
    name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(CASES)
    shown = CliRunner().invoke(app, ["check", FILES[name]])
    assert isinstance(shown.exception, SystemExit), shown.exception
    assert shown.exit_code == 1
    assert "Traceback" not in shown.output
    golden = CASES / f"{name}.expect"
    if request.config.getoption("--update-golden"):
        golden.write_text(shown.output)
    assert golden.exists(), "no expectation: run pytest --update-golden and read what it wrote"
    assert golden.read_text() == shown.output


def test_every_message_says_where() -> None:
    for name in NAMES:
        first = (CASES / f"{name}.expect").read_text().split(" ", 1)[0]
        assert first.count(":") == 3, f"{name}: no file:line:column"


def test_there_are_enough_and_none_is_left_over() -> None:
    assert len(NAMES) >= 140
    assert {path.stem for path in CASES.glob("*.expect")} == set(NAMES)
    named = "".join((CASES / file).read_text() for file in FILES.values())
    for part in (CASES / "parts").glob("*"):
        assert f"parts/{part.name}" in named
