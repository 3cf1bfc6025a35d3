"""Sweeps whose runs are executed on numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from accelsim import explore, verbs
from accelsim.cli import app
from accelsim.errors import AccelsimError
from accelsim.report.figures import figure
from accelsim.spec.studies import PlotSpec

SMALL = ["workload.ranks.B=1", "workload.ranks.H=1", "workload.ranks.P=64"]
SWEEP = """sweep: small
source: here
execute: {seed: 3}
axes: {format: [float16, bfloat16], scores: [1, 8], seq_len: [256]}
cases:
  - workload: bert
    runs:
      a:
        mapping: fusemax__attention_1pass
        set: [workload.ranks.B=1, workload.ranks.H=1, workload.ranks.P=64]
        formats: ["SLN={format},RNV=float16", RD=float16]
        scale: {Q: 0.125}
  - {when: {scores: 8}, runs: {a: {formats: [RNV=float32], scale: {Q: 1}}}}
"""
UNSHIFTED = Path(__file__).parents[2] / "studies" / "rounding" / "fusemax__attention_unshifted.yaml"


def swept(tmp_path: Path, text: str, **asked: bool) -> list[dict[str, Any]]:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return list(explore.rows(explore.load(str(path)), **asked))


def test_rows_are_what_execute_finds(tmp_path: Path) -> None:
    """The format that an axis names; a later case replaces formats and factors."""
    rows = swept(tmp_path, SWEEP + "columns: {error: error_AV, worst: worst_row_AV}\n")
    assert len(rows) == 4
    for row in rows:
        sums = "float16" if row["scores"] == 1 else "float32"
        outcome = verbs.execute(
            "fusemax__attention_1pass",
            "bert",
            256,
            seed=3,
            scale={"Q": row["scores"] / 8},
            formats={"SLN": row["format"], "RNV": sums, "RD": "float16"},
            settings=SMALL,
            check=True,
        )
        assert outcome.errors is not None
        error = outcome.errors["AV"]
        assert (row["error"], row["worst"]) == (error.overall, error.worst)
        assert error.overall > 0
    assert len({row["error"] for row in rows}) == 4


def test_without_columns_all_measures(tmp_path: Path) -> None:
    measures = ["not_a_number", "error_AV", "worst_row_AV", "not_finite_AV"]
    for text, asked in ((SWEEP, {}), (SWEEP + "columns: {e: error_AV}\n", {"everything": True})):
        names = list(swept(tmp_path, text, **asked)[0])
        assert [name for name in names[3:] if name != "e"] == measures


def test_what_is_not_a_number_has_no_error(tmp_path: Path) -> None:
    """Without a maximum exp of a score of some 30 is infinite in float16, and inf - inf follows."""
    text = SWEEP.replace("fusemax__attention_1pass", str(UNSHIFTED))
    rows = swept(tmp_path, text.replace("[float16, bfloat16]", "[float16]"))
    fine, stopped = rows
    assert fine["not_a_number"] == 0
    assert fine["error_AV"] < 0.01
    assert stopped["not_a_number"] == 1
    assert stopped["error_AV"] is stopped["worst_row_AV"] is stopped["not_finite_AV"] is None
    (series,) = figure(PlotSpec(title="F", rows="x", x="scores", y="error_AV"), rows).panels[""]
    assert series.x == (1,)


def test_a_base_is_executed_too(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SWEEP)
    text = "sweep: s\nsource: here\nbase: base.yaml\naxes: {scores: [8]}\n"
    rows = swept(tmp_path, text)
    assert [row["error_AV"] for row in rows] == [
        row["error_AV"] for row in swept(tmp_path, SWEEP) if row["scores"] == 8
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("SLN={format}", "SN={format}"), "at format float16, scores 1, seq_len 256:"),
        (("[float16, bfloat16]", "[float61]"), "'float61' is no number format"),
        (("scale: {Q: 1}", "scale: {QK: 1}"), "scale: QK is no input of attention_1pass"),
        (("source: here", "source: here\ncolumns: {t: seconds}"), "no measure 'seconds'"),
        (("{a: {formats", "{b: {mapping: fusemax__attention_1pass}, a: {formats"), "has one run"),
        (("axes: {", "axes: {error_AV: [1], "), "error_AV is a measure"),
    ],
)
def test_faults_name_the_point(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(AccelsimError) as error:
        swept(tmp_path, SWEEP.replace(*change))
    assert message in str(error.value)


def test_accesses_must_be_those_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = verbs.execute

    def other(*args: Any, **more: Any) -> Any:
        return dataclasses.replace(honest(*args, **more), differences=("one more",))

    monkeypatch.setattr(verbs, "execute", other)
    with pytest.raises(AccelsimError, match="not what the Program states"):
        swept(tmp_path, SWEEP)


def test_times_do_not_come_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text(SWEEP)
    (tmp_path / "v.csv").write_text("format,scores,seq_len,value\nfloat16,1,256,1.0\n")
    (tmp_path / "v.yaml").write_text(
        "validation: v\nsource: here\nfamilies: {f: {title: t, source: s, machine: fusemax, "
        "rows: rows.yaml, published: v.csv, unit: seconds}}\n"
    )
    with pytest.raises(AccelsimError, match="executed on numbers, which gives no time"):
        explore.load_published(str(tmp_path / "v.yaml"))


COMMAND = ["execute", "--mapping", "fusemax__attention_1pass", "--model", "bert", "--seq-len", "64"]


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ("QK=2", "scale: QK is no input"),
        ("Q=big", "expected NAME=FACTOR"),
        ("Q", "expected NAME=FACTOR"),
        ("=2", "expected NAME=FACTOR"),
        ("Q=inf", "expected NAME=FACTOR"),
        ("Q=0", "a factor above 0"),
        ("Q=1,Q=2", "Q is given twice"),
    ],
)
def test_a_scale_that_is_none(scale: str, message: str) -> None:
    shown = CliRunner().invoke(app, [*COMMAND, "--set", "workload.ranks.B=1", "--scale", scale])
    assert shown.exit_code != 0
    assert message in f"{shown.exception} {shown.output}"


def test_a_scale_is_of_drawn_inputs() -> None:
    outputs = [
        verbs.execute("fusemax__attention_1pass", "bert", 64, settings=SMALL, scale=scale).outputs
        for scale in ({}, {"V": 2})
    ]
    one, other = (next(iter(values.values())) for values in outputs)
    assert (2 * one == other).all()
    given = {"Q": np.ones((1, 1, 64, 64)), "K": np.ones((1, 1, 64, 64))}
    given["V"] = given["K"]
    with pytest.raises(AccelsimError, match="these are given"):
        verbs.execute(
            "fusemax__attention_1pass", "bert", 64, settings=SMALL, inputs=given, scale={"V": 2}
        )
