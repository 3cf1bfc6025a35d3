"""Words that a shell completes, asked for as bash asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accelsim import spec
from accelsim.cli import app
from accelsim.engine import ENGINES
from accelsim.shipped import FOLDERS, names
from accelsim.spec.studies import ValidationSpec
from accelsim.validate.tiers import TIERS


def asked(line: str) -> dict[str, str]:
    """The environment with which bash asks for the last word of a line, which may be empty."""
    return {
        "_ACCELSIM_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }


def completed(line: str) -> list[str]:
    shown = CliRunner().invoke(app, [], prog_name="accelsim", env=asked(line))
    assert shown.exit_code == 0
    return shown.output.split()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("run --mapping ", "mapping"),
        ("traffic --mapping ", "mapping"),
        ("execute --mapping ", "mapping"),
        ("run --model ", "workload"),
        ("traffic --model ", "workload"),
        ("execute --model ", "workload"),
        ("analyze attention_1pass --model ", "workload"),
        ("analyze attention_1pass --arch ", "arch"),
        ("analyze ", "cascade"),
        ("derive ", "cascade"),
        ("derive attention_3pass --like ", "cascade"),
    ],
)
def test_names_of_what_is_shipped(line: str, kind: str) -> None:
    assert completed(f"accelsim {line}") == list(names(kind))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("schema ", FOLDERS),
        ("list ", ["cascades", "archs", "mappings", "workloads"]),
        ("run --engine ", ENGINES),
        ("validate --tier ", TIERS),
        ("published x.yaml --variants ", ["mechanisms", "sensitivity"]),
    ],
)
def test_words_of_a_command(line: str, words: list[str]) -> None:
    assert completed(f"accelsim {line}") == list(words)


def test_variants_are_keys_of_a_validation_file() -> None:
    assert set(completed("accelsim published x --variants ")) <= set(ValidationSpec.model_fields)


def test_only_what_begins_so() -> None:
    found = completed("accelsim run --mapping h200__flash")

    assert found == [name for name in names("mapping") if name.startswith("h200__flash")] != []


def test_kinds_are_those_of_the_workload_on_the_line(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    text = "workload: own\nsource: s\nranks: {{B: 1}}\nkinds: {}\n".format
    own.write_text(text("{one: {ranks: {M: 1}}, two: {ranks: {M: 2}}}"))

    kinds = list(spec.load("llama3-8b", "workload").spec.kinds)
    assert completed("accelsim run --model llama3-8b --kind ") == kinds != []
    assert completed(f"accelsim traffic --model {own} --kind t") == ["two"]
    own.write_text(text("[]"))
    for line in (f"run --model {own} --kind ", "run --model none --kind ", "run --kind "):
        assert completed(f"accelsim {line}") == []


def test_a_name_is_found_without_the_loader() -> None:
    """What a press of a key starts has to answer at once."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "sys.argv = ['accelsim']\n"
        "from accelsim.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked("accelsim run --mapping h100__fa3_f")},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.split())

    assert done.stdout.split() == ["h100__fa3_fp8"]
    assert "accelsim.shipped" in loaded
    assert not loaded & {"accelsim.spec", "accelsim.verbs", "numpy", "numba", "yaml", "plotly"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    env = {"_ACCELSIM_COMPLETE": f"source_{shell}"}
    shown = CliRunner().invoke(app, [], prog_name="accelsim", env=env)

    assert shown.exit_code == 0
    assert f"_ACCELSIM_COMPLETE=complete_{shell}" in shown.output
