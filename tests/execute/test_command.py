"""The command: files in, tables and JSON out, faults in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from accelsim import cascade, program, spec
from accelsim.cli import app
from accelsim.errors import AccelsimError
from accelsim.execute.inputs import from_files
from accelsim.mapping import Mapping
from accelsim.program import Program

ATTENTION = cascade.build(spec.load("attention_1pass", "cascade"))
COMMAND = ["execute", "--mapping", "fusemax__attention_1pass", "--model", "bert", "--seq-len", "64"]
COMMAND += ["--set", "workload.ranks.B=1", "--set", "workload.ranks.H=2"]
SHAPE = (1, 2, 64, 64)


def done(*words: str) -> str:
    result = CliRunner().invoke(app, [*COMMAND, *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def refused(*words: str) -> str:
    with pytest.raises(AccelsimError) as found:
        CliRunner().invoke(app, [*COMMAND, *words], catch_exceptions=False)
    return str(found.value)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    generator = np.random.default_rng(0)
    found = {}
    for name in "QKV":
        found[name] = tmp_path / f"{name}.npy"
        np.save(found[name], generator.standard_normal(SHAPE))
    return found


def given(files: dict[str, Path]) -> list[str]:
    return [word for name, path in files.items() for word in ("--input", f"{name}={path}")]


def test_json_has_errors_and_accesses() -> None:
    found = json.loads(done("--check", "--json", "--formats", "SLN=bfloat16"))
    assert found["outputs"] == {"AV": {"B": 1, "H": 2, "F": 64, "P": 64}}
    assert 1e-5 < found["errors"]["AV"]["overall"] < found["errors"]["AV"]["worst"] < 1e-1
    assert found["errors"]["AV"]["row"] == "F"
    assert found["formats"] == {"SLN": "bfloat16"}
    assert found["differences"] == []
    assert found["inputs"]["seed"] == 0
    (keys,) = [r for r in found["accesses"] if (r["part"], r["tensor"]) == ("dram", "K")]
    assert keys["elements"] == 2 * 64 * 64
    assert keys["bytes"] == 2 * keys["elements"]
    assert json.loads(done("--json"))["errors"] is None


def test_tables() -> None:
    text = done("--check", "--formats", "K=int8")
    for word in ("worst row", "global_buffer", "of scales", "array_2d", "Program states"):
        assert word in text


def test_the_same_seed_gives_the_same() -> None:
    one, other, another = (done("--check", "--json", "--seed", seed) for seed in "112")
    assert one == other != another


def test_files_give_what_arrays_give(files: dict[str, Path], tmp_path: Path) -> None:
    def output(*words: str) -> np.ndarray:
        done(*words, "--save", str(tmp_path / "out.safetensors"))
        return safetensors.numpy.load_file(tmp_path / "out.safetensors")["AV"]

    arrays = {name: np.load(path) for name, path in files.items()}
    plain = output(*given(files))
    scores = np.einsum("bhem,bhep->bhmp", arrays["K"], arrays["Q"])
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    expected = np.einsum(
        "bhmp,bhfm->bhfp", weights / weights.sum(axis=2, keepdims=True), arrays["V"]
    )
    assert np.abs(plain - expected).max() < 1e-12
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    save_file(tensors, tmp_path / "all.safetensors")
    assert np.array_equal(output("--input", str(tmp_path / "all.safetensors")), plain)


def test_safetensors_of_few_bits(tmp_path: Path) -> None:
    values = torch.linspace(-3, 3, 24).reshape(2, 12)
    kinds = {"Q": torch.bfloat16, "K": torch.float8_e4m3fn, "V": torch.float8_e5m2}
    path = tmp_path / "few.safetensors"
    save_file({name: values.to(kind) for name, kind in kinds.items()} | {"W": values}, path)
    found, notes = from_files([str(path)], ATTENTION)
    assert notes == [f"{path}: not used: W"]
    for name, kind in kinds.items():
        assert np.array_equal(found[name], values.to(kind).to(torch.float64).numpy())
    assert found["Q"].dtype != ml_dtypes.bfloat16


def test_faults_of_inputs(files: dict[str, Path], tmp_path: Path) -> None:
    words = given(files)
    assert "input V is in none of the files" in refused(*words[:4])
    assert "did you mean" in refused(*words, "--input", f"QQ={files['Q']}")
    assert "input Q is given twice" in refused(*words, "--input", f"Q={files['Q']}")
    assert "say which input it is" in refused("--input", str(files["Q"]))
    assert "cannot be read as .npy" in refused("--input", f"Q={tmp_path / 'none.npy'}")
    (tmp_path / "bad.npy").write_text("no array")
    assert "cannot be read as .npy" in refused("--input", f"Q={tmp_path / 'bad.npy'}")
    (tmp_path / "bad.safetensors").write_text("no tensors")
    assert "cannot be read as .safetensors" in refused("--input", str(tmp_path / "bad.safetensors"))
    np.save(files["K"], np.zeros((1, 2, 64, 63)))
    assert "input K is 1 x 2 x 64 x 63; expected B 1, H 2, E 64, M 64" in refused(*words)
    np.save(files["K"], np.full(SHAPE, np.nan))
    assert "input K is nan at (0, 0, 0, 0); expected finite numbers" in refused(*words)
    np.save(files["K"], np.full(SHAPE, "text"))
    assert "expected numbers" in refused(*words)
    np.save(files["K"], np.array([{}], dtype=object), allow_pickle=True)
    assert "cannot be read as .npy" in refused(*words)


def test_other_faults(tmp_path: Path) -> None:
    assert "--seed: expected 0 or more" in refused("--seed", "-1")
    assert "is a folder" in refused("--save", str(tmp_path))
    assert "did you mean 'float16'?" in refused("--formats", "K=flaot16")
    big = ["--set", "workload.ranks.B=6400", "--set", "workload.ranks.H=1200"]
    assert "take less" in refused(*big)
    one = [word for rank in "EFMP" for word in ("--set", f"workload.ranks.{rank}=1")]
    many = ["--set", "workload.ranks.B=6400", "--set", "workload.ranks.H=4000"]
    assert "has 25,600,000 tiles, more than 16,777,216" in refused(*many, *one)


def test_a_broken_program_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_a_load(mapped: Mapping) -> Program:
        made = lower(mapped)
        (phase,) = made.phases
        tasks = tuple(task for task in phase.tasks if task.name != "load V")
        return replace(made, phases=(replace(phase, tasks=tasks),))

    lower = program.lower
    monkeypatch.setattr(program, "lower", without_a_load)
    assert "the Program does not do what its mapping says: V is not there" in refused()


def test_a_reference_that_would_be_too_large_is_refused() -> None:
    command = ["execute", "--mapping", "fusemax__attention_1pass_window", "--model", "bert"]
    command += ["--seq-len", "4096", "--set", "workload.ranks.B=1", "--set", "workload.ranks.H=1"]
    with pytest.raises(AccelsimError, match="check a shorter sequence"):
        CliRunner().invoke(app, [*command, "--check"], catch_exceptions=False)
