"""The command: what it prints and writes, and what it says of bad input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from accelsim import verbs
from accelsim.analysis import passes
from accelsim.cascade import cascade_from_text, latex, show
from accelsim.cli import app, main
from accelsim.errors import AccelsimError


def called(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["derive", *arguments])


def test_steps_and_the_cascade_are_shown() -> None:
    shown = called("log_sum_exp")
    assert shown.exit_code == 0
    assert "log_sum_exp: running, passes over N" in shown.output
    for step in ("inline", "run", "GM", "SD", "passes_before", "passes_after"):
        assert step in shown.output
    assert "RSD[r,n+1] = LSD[r,n] + SSD[r,n]" in shown.output


def test_the_record() -> None:
    shown = called("mean_variance", "--partition", "N=N1,N0", "--json")
    assert shown.exit_code == 0
    record = json.loads(shown.stdout)
    assert record["from"] == "mean_variance"
    assert (record["rank"], record["passes"], record["way"]) == ("N", 1, "running")
    assert record["steps"][0] == {
        "rewrite": "partition",
        "of": "N",
        "passes_before": 2,
        "passes_after": 2,
    }
    for before, after in zip(record["steps"], record["steps"][1:], strict=False):
        assert before["passes_after"] == after["passes_before"]
    assert {way["way"] for way in record["ways"]} >= {"deferred", "running", "local"}
    made = cascade_from_text(record["yaml"])
    assert passes(made).passes["N"] == 1
    assert record["latex"] == latex(made)
    assert record["error"] < 1e-12


def test_files_are_written(tmp_path: Path) -> None:
    yaml, tex = tmp_path / "made" / "one.yaml", tmp_path / "one.tex"
    shown = called(
        "attention_3pass",
        "--passes",
        "1",
        "--partition",
        "M=M1,M0",
        "--like",
        "attention_1pass",
        "--yaml",
        str(yaml),
        "--latex",
        str(tex),
    )
    assert shown.exit_code == 0
    made = verbs.load_cascade(str(yaml))
    shipped = verbs.load_cascade("attention_1pass")
    assert made.einsums == shipped.einsums
    assert made.tensors == shipped.tensors
    assert made.description.startswith("Derived from attention_3pass: partition M, inline A")
    assert tex.read_text() == latex(made)
    assert "einsums:" not in shown.output  # it is in the file


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(show(verbs.load_cascade("log_sum_exp")))
    assert called(str(path), "--rank", "N").exit_code == 0


UNKNOWN = """\
cascade: window
source: a test
ranks: {R: rows, N: samples}
parameters: {w: {description: a window}}
tensors: {X: [R, N], G: [R], T: [R]}
outputs: [T]
einsums: |
  G[r] = X[r,n] :: max | n - r < w
  T[r] = FORM | n - r < w
"""


@pytest.mark.parametrize("form", ["exp(X[r,n] - G[r])", "sqrt(-1 - square(X[r,n] - G[r]))"])
def test_what_is_not_known_is_said(form: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(UNKNOWN.replace("FORM", form))
    asked = (str(path), "--partition", "N=N1,N0", "--passes", "2")
    shown = called(*asked)
    record = json.loads(called(*asked, "--json").stdout)
    assert shown.exit_code == 0
    assert record["operations"] is None
    assert "not known" in shown.stdout
    if form.startswith("exp"):
        assert "trials: w is 2" in shown.stdout
        assert record["made_up"] == {"w": "2"}
        assert record["unchecked"] is None
    else:
        assert "not tried" in shown.stdout
        assert "warning: the form is not checked: window has no numbers" in shown.stderr
        assert "T is not a number" in record["unchecked"]


def test_a_form_that_loses_all_digits_says_so(tmp_path: Path) -> None:
    """A number of points that is not known as one: a sum divided by it is no running mean."""
    path = tmp_path / "own.yaml"
    path.write_text(
        "cascade: own\nsource: a test\nranks: {R: rows, N: samples}\n"
        "tensors: {X: [R, N], S: [R], T: [R]}\noutputs: [T]\n"
        "einsums: |\n  S[r] = X[r,n]\n  T[r] = square(X[r,n] - S[r] / whole(N + 0))\n"
    )
    shown = called(str(path))
    assert shown.exit_code == 0
    assert "warning: on adversarial inputs the form is" in shown.stderr
    assert "warning" not in called("mean_variance").stderr


BAD = (
    (("nowhere",), "nowhere"),
    (("log_sum_exp", "--rank", "Q"), "log_sum_exp has no rank 'Q': its ranks are R, N"),
    (
        ("log_sum_exp", "--partition", "N"),
        "--partition: expected a rank and its parts, such as M=M1,M0, got 'N'",
    ),
    (("log_sum_exp", "--partition", "N=N1"), "got 'N=N1'"),
    (("log_sum_exp", "--partition", "=N1,N0"), "got '=N1,N0'"),
    (("log_sum_exp", "--partition", "Q=Q1,Q0"), "has no rank 'Q'"),
    (
        ("log_sum_exp", "--partition", "N=N1,N0", "--rank", "R"),
        "expected a rank and its parts of R, the rank that is asked for",
    ),
    (("log_sum_exp", "--partition", "N=R,X"), "R is a rank already"),
    (("log_sum_exp", "--partition", "N=N1,N1"), "N1 is there twice"),
    (("log_sum_exp", "--partition", "N=n1,n0"), "'n1' is no name: a capital letter, then"),
    (("log_sum_exp", "--partition", "N=1,2"), "outermost first; '1' is no name"),
    (("attention_1pass", "--partition", "M=M1,M0"), "M is cut already, into M1, M0"),
    (("layer_norm",), "2 passes over N at least, by the rewrites that are known, not 1"),
    (("mean_absolute_deviation",), "SA is not polynomial in MU: abs(X[r,n] - MU[r])"),
    (("log_sum_exp", "--like", "nothing"), "nothing"),
    (
        ("log_sum_exp", "--like", "attention_1pass"),
        "what was found (running) differs from attention_1pass in more than names",
    ),
    (
        ("attention_3pass", "--like", "attention_1pass"),
        "attention_1pass cuts M into M1, M0: try --partition M=M1,M0",
    ),
    (
        ("attention_3pass", "--partition", "M=M1,M0", "--like", "attention_2pass"),
        "attention_2pass has 2 passes over M: try --passes 2",
    ),
    (
        ("attention_3pass", "--partition", "M=M1,M0", "--like", "log_sum_exp"),
        "log_sum_exp cuts no rank: leave --partition out",
    ),
    (
        ("log_sum_exp", "--like", "attention_3pass"),
        "attention_3pass has 3 passes over M\n",  # no more passes make it that
    ),
    (
        ("attention_alibi", "--partition", "M=M1,M0"),
        "attention_alibi: M cannot be cut into M1, M0: S computes an index from m",
    ),
    (
        ("log_sum_exp", "--way", "runing"),
        "log_sum_exp has no way 'runing': its ways are deferred; running\n    did you mean",
    ),
    (("log_sum_exp", "--way", "deferred"), "2 passes over N at least, by the rewrites"),
    (("log_sum_exp", "--yaml", "/proc/none/x.yaml"), "/proc/none"),
)


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_told(
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["accelsim", "derive", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err


def test_a_recurrence_that_is_written_as_one_is_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "cascade: own\nsource: a test\nranks: {N: samples}\ntensors: {X: [N], A: [N], T: []}\n"
        "initial: {A: 0}\noutputs: [T]\n"
        "einsums: |\n  A[n] = A[n+1] + X[n]\n  T[] = A[0] * X[n]\n"
    )
    refused = called(str(path)).exception
    assert "A is a recurrence along N in the source already: it stays as it is" in str(refused)


@pytest.mark.parametrize("way", ["running", "local", "deferred"])
def test_a_way_can_be_had_that_is_not_the_best(way: str) -> None:
    asked = ("log_sum_exp", "--partition", "N=N1,N0", "--passes", "2", "--json", "--way", way)
    record = json.loads(called(*asked).stdout)
    assert record["way"] == way
    assert len(record["ways"]) == 4


def test_a_way_that_gives_no_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "cascade: own\nsource: a test\nranks: {R: rows, N: samples}\n"
        "tensors: {X: [R, N], S: [R], T: [R]}\noutputs: [T]\n"
        "einsums: |\n  S[r] = X[r,n]\n  T[r] = exp(X[r,n] - S[r] / N)\n"
    )
    refused = called(str(path), "--way", "running").exception
    assert str(refused).startswith("own: running: a form with 1 pass is known, but gives no number")


def test_no_passes_is_no_number_of_passes() -> None:
    assert called("log_sum_exp", "--passes", "0").exit_code != 0


def test_what_is_derived_runs_under_the_mapping_as_the_docs_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cascade that a setting names lies in the current folder."""
    monkeypatch.chdir(tmp_path)
    asked = ["attention_3pass", "--partition", "M=M1,M0", "--like", "attention_1pass"]
    assert called(*asked, "--yaml", "one_pass.yaml").exit_code == 0
    ours, theirs = (
        verbs.simulate("fusemax__attention_1pass", "bert", 4096, settings=settings).result
        for settings in (["mapping.cascade=one_pass.yaml"], [])
    )
    assert ours.cycles == theirs.cycles
    assert ours.traffic_bytes == theirs.traffic_bytes


def test_two_results_are_two_files(tmp_path: Path) -> None:
    """Also where one path is written in another way."""
    (tmp_path / "in").mkdir()
    paths = [str(tmp_path / "one"), str(tmp_path / "in" / ".." / "one")]
    with pytest.raises(AccelsimError, match="--latex: expected another file than --yaml"):
        app(
            ["derive", "mean_variance", "--yaml", paths[0], "--latex", paths[1]],
            standalone_mode=False,
        )
    assert not (tmp_path / "one").exists()
