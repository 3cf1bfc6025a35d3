"""What errors are against: the cascade itself, or another that computes the same."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from accelsim import verbs
from accelsim.cascade import show
from accelsim.cli import app
from accelsim.derive import derive, ways
from accelsim.errors import AccelsimError
from accelsim.execute.check import error

WORKLOAD = "workload: rows\ndescription: d\nsource: a test\nranks: {R: 3, N: 13}\n"
SETTINGS = (
    "arch.units.array_1d.operations.square={uses: {mac: 1}}",
    "arch.units.array_1d.operations.where={uses: {max: 1}}",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Mean and variance in one pass over tiles of 4, the last of which is not full."""
    monkeypatch.chdir(tmp_path)
    made = derive(ways(verbs.load_cascade("mean_variance"), "N", ("N1", "N0"))).cascade
    Path("made.yaml").write_text(show(made))
    einsums = "".join(
        f"      {e.name}: {{unit: array_1d, spatial: {{lanes: R0}}}}\n" for e in made.einsums
    )
    Path("map.yaml").write_text(
        "mapping: rows\ndescription: d\nsource: a test\narch: fusemax\ncascade: made.yaml\n"
        "partition: {N: {N1: rest, N0: 4}, R: {R1: rest, R0: 2}}\nphases:\n  all:\n"
        f"    loops: [R1, N1]\n    einsums:\n{einsums}"
        "    storage:\n      X: {level: global_buffer, slots: 2}\n"
    )
    Path("rows.yaml").write_text(WORKLOAD)
    return tmp_path


def done(*words: str) -> str:
    settings = [word for one in SETTINGS for word in ("--set", one)]
    command = ["execute", "--mapping", "map.yaml", "--model", "rows.yaml", *settings, *words]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    return " ".join(result.stdout.split())


def worst(against: str | None) -> float:
    found = verbs.execute(
        "map.yaml", "rows.yaml", settings=SETTINGS, check=True, against=against
    ).errors
    assert found is not None
    return max(one.worst for one in found.values())


def test_a_derived_cascade_is_held_against_its_original(folder: Path) -> None:
    assert worst("mean_variance") < 1e-14
    own, other = done("--check"), done("--against", "mean_variance")
    assert "Errors are against mean_variance_derived itself, the cascade that ran" in own
    assert "Errors are against mean_variance on whole tensors in float64." in other
    assert "Errors are against" not in done()


def test_a_wrong_statement_shows_against_the_original_alone(folder: Path) -> None:
    text = Path("made.yaml").read_text()
    assert "min((n1 + 1) * N0, N)" in text
    Path("made.yaml").write_text(text.replace("min((n1 + 1) * N0, N)", "(n1 + 1) * N0"))
    assert worst(None) < 1e-14
    assert worst("mean_variance") > 1e-3
    assert "note: VAR is NOT that of mean_variance: off by 0." in done("--against", "mean_variance")
    assert "NOT" not in done("--check")


def test_what_cannot_be_compared_is_refused(folder: Path) -> None:
    with pytest.raises(AccelsimError) as refused:
        worst("layer_norm")
    assert str(refused.value) == (
        "against: outputs of layer_norm are Y[R, N]; those of mean_variance_derived are MU[R], "
        "VAR[R]"
    )
    Path("other.yaml").write_text(
        Path("made.yaml").read_text().replace("N1", "N3").replace("n1", "n3")
    )
    with pytest.raises(AccelsimError, match="mean_variance_derived cuts N into N3, N0, as"):
        worst("other.yaml")
    with pytest.raises(AccelsimError, match="nowhere"):
        worst("nowhere")


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1.0, 1e160, 1e307])
def test_errors_are_relative_at_any_scale(scale: float) -> None:
    values = np.random.default_rng(0).uniform(1, 2, (3, 4))
    off = values.copy()
    off[1, 2] *= 1.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = error(off * scale, values * scale, ("P", "F"))
        none = error(values * scale, values * scale, ("P", "F"))
    expected = np.linalg.norm(off - values) / np.linalg.norm(values)
    assert found.overall == pytest.approx(expected, rel=1e-2)
    assert found.worst == pytest.approx(0.01 * values[1, 2] / np.linalg.norm(values[1]), rel=1e-2)
    assert found.at == {"P": 1}
    assert (none.overall, none.worst) == (0, 0)
