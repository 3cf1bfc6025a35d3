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

from accelsim import program
from accelsim.cli import app
from accelsim.errors import AccelsimError
from accelsim.execute.inputs import from_files
from accelsim.execute.run import sizes
from accelsim.mapping import Mapping
from accelsim.program import Program
from tests.execute.small import small

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
    mapped, _, shapes, tables = small("fusemax__attention_1pass")
    found, notes = from_files([str(path)], sizes(mapped, shapes, tables))
    assert notes == [f"{path}: not used: W"]
    for name, kind in kinds.items():
        assert np.array_equal(found[name], values.to(kind).to(torch.float64).numpy())
    assert found["Q"].dtype != ml_dtypes.bfloat16


def test_faults_of_inputs(files: dict[str, Path], tmp_path: Path) -> None:
    words = given(files)
    missing = refused(*words[:2])
    assert "inputs K, V are in none of the files; expected K: B 1, H 2, E 64, M 64; V:" in missing
    assert missing.endswith(f"Q={files['Q']} has Q (1 x 2 x 64 x 64)")
    assert "did you mean" in refused(*words, "--input", f"QQ={files['Q']}")
    assert "input Q is given twice" in refused(*words, "--input", f"Q={files['Q']}")
    assert "say which input it is" in refused("--input", str(files["Q"]))
    assert "cannot be read as .npy" in refused("--input", f"Q={tmp_path / 'none.npy'}")
    (tmp_path / "bad.npy").write_text("no array")
    assert "is no .npy file" in refused("--input", f"Q={tmp_path / 'bad.npy'}")
    (tmp_path / "bad.npy").write_bytes(files["Q"].read_bytes()[:5000])
    assert "cannot be read as .npy: Failed to read" in refused(
        "--input", f"Q={tmp_path / 'bad.npy'}"
    )
    for word in ("Q", "Q=", "=Q.npy", "Q.txt"):
        assert f"expected NAME=FILE.npy or FILE.safetensors, got '{word}'" in refused(
            "--input", word
        )
    assert "give it without Q=" in refused("--input", "Q=all.safetensors")
    (tmp_path / "bad.safetensors").write_text("no tensors")
    assert "cannot be read as .safetensors" in refused("--input", str(tmp_path / "bad.safetensors"))
    np.save(files["K"], np.zeros((1, 2, 64, 63)))
    assert "input K is 1 x 2 x 64 x 63; expected B 1, H 2, E 64, M 64" in refused(*words)
    np.save(files["K"], np.full(SHAPE, np.nan))
    assert "input K is nan at (0, 0, 0, 0); expected finite numbers" in refused(*words)
    np.save(files["K"], np.full(SHAPE, "text"))
    assert "expected numbers" in refused(*words)
    np.save(files["K"], np.array([{}], dtype=object), allow_pickle=True)
    assert "its values are objects; expected numbers" in refused(*words)
    assert "these are given" in refused(*words, "--scale", "Q=2")


def test_names_that_are_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "all.safetensors"
    tensors = {f"layer{n}": torch.zeros(2, 3) for n in range(20)}
    save_file({**tensors, "Q": torch.zeros(SHAPE)}, path)
    message = refused("--input", str(path))
    assert "all.safetensors has Q (1 x 2 x 64 x 64), layer0 (2 x 3)" in message
    assert message.endswith("and 13 more")
    save_file({"V": torch.zeros(2, dtype=torch.complex64)}, path)
    assert "V has values of type C64; expected one of F64" in refused("--input", str(path))


def test_other_faults(tmp_path: Path) -> None:
    assert "--seed: expected 0 or more" in refused("--seed", "-1")
    (tmp_path / "folder.safetensors").mkdir()
    assert "is a folder" in refused("--save", str(tmp_path / "folder.safetensors"))
    assert "outputs are written as .safetensors" in refused("--save", str(tmp_path / "x.npy"))
    assert "nothing in ','; expected TENSOR=FORMAT" in refused("--formats", ",")
    for name in (".accumulate", "K."):
        assert f"got '{name}=float32'" in refused("--formats", f"{name}=float32")
    assert "nothing in ','; expected NAME=FACTOR" in refused("--scale", ",")
    assert "V=1e+308 makes values that are infinite" in refused("--scale", "V=1e308")
    assert "did you mean 'float16'?" in refused("--formats", "K=flaot16")
    big = ["--set", "workload.ranks.B=6400", "--set", "workload.ranks.H=1200"]
    assert "more than 8.00 GiB: take a shorter sequence" in refused(*big)
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
    with pytest.raises(AccelsimError, match="check a shorter sequence") as found:
        CliRunner().invoke(app, [*command, "--check"], catch_exceptions=False)
    points = "B 1 x H 1 x M1 16 x M0 256 x P 4,096 x E 64 = 1,073,741,824, more than 536,870,912"
    assert f"QK at all its points at once: {points}" in str(found.value)
    assert "some are left out (a mask)" in str(found.value)
    command = [*COMMAND, "--seq-len", "33000", "--set", "workload.ranks.H=1", "--check"]
    with pytest.raises(AccelsimError, match="M 33,000 of 33,024, P 33,000 of 33,024"):
        CliRunner().invoke(app, command, catch_exceptions=False)
