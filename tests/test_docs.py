"""What the documents say is so: the worked example, the commands, the page limits."""

from __future__ import annotations

import doctest
import re
import shutil
import textwrap
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from accelsim import verbs
from accelsim.cli import app
from accelsim.report.tables import result_table
from accelsim.results import Result
from accelsim.results.launches import LaunchCounts

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_worked_example_is_real() -> None:
    result = verbs.simulate("fusemax__attention_1pass", "bert", 16384).result
    console = Console(width=84, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(result_table(result))
    for line in console.export_text().splitlines():
        assert line.rstrip() in README


@pytest.mark.parametrize(
    "command", re.findall(r"^    \.venv/bin/accelsim (.*)$", README, re.MULTILINE)
)
def test_commands_run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = [word.strip('"') for word in re.findall(r'(?:[^\s"]|"[^"]*")+', command)]
    words = [word.replace('"', "") for word in words]
    if words[0] == "sweep" and "--out" in words:  # what other code has left there
        shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
    assert CliRunner().invoke(app, words).exit_code == 0


def test_commands_about_models_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "models.md").read_text()
    blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^(?:    .*)?\n)+", text, re.M)]
    for name, start in (("config.json", "{"), ("my_model.py", "import torch")):
        (block,) = (block for block in blocks if block.strip().startswith(start))
        (tmp_path / name).write_text(block)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    accelsim (.*)$", text, re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        shown = CliRunner().invoke(app, command.split())
        assert shown.exit_code == 0, (command, shown.exception)


def test_examples_of_notebooks_are_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    path = ROOT / "docs" / "notebooks.md"
    found = doctest.testfile(str(path), module_relative=False)
    assert (found.failed, found.attempted > 10) == (0, True)


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "ASSUMPTIONS.md"])
def test_at_most_two_pages(name: str) -> None:
    assert len((ROOT / name).read_text().split()) < 1300


def test_assumptions_name_files_that_exist() -> None:
    for name in re.findall(r"`([a-z]+/[a-z_]+\.py)`", (ROOT / "ASSUMPTIONS.md").read_text()):
        assert (ROOT / "accelsim" / name).is_file(), name


def test_every_field_of_a_result_is_explained() -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    for field in (*Result.__dataclass_fields__, *LaunchCounts.__dataclass_fields__):
        assert f"`{field}`" in text, field
