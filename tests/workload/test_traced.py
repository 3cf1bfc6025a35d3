"""Shapes of attention calls, from torch modules that run."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from accelsim import spec, verbs, workload
from accelsim.cli import app
from accelsim.errors import AccelsimError
from accelsim.workload import Call, traced

MODULES = str(Path(__file__).parent / "modules.py")
OWN = {
    Call(2, 8, 2, 12, 24, 16, 32, True, "", "bfloat16"): 3,
    Call(2, 8, 2, 12, 24, 16, 32, False, "bool 12x24", "bfloat16"): 1,
    Call(1, 1, 1, 5, 5, 7, 7, False, "", "float32"): 1,
    Call(2, 4, 1, 12, 12, 16, 16, False, "", "float32"): 2,  # batch and heads broadcast
}
READY = {
    Call(2, 4, 4, 12, 21, 16, 16, False, "", "float32"): 1,  # 20 keys, and one that is a bias
    Call(2, 4, 4, 12, 12, 16, 16, True, "", "float32"): 3,
}


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(
    ("name", "calls"),
    [("own", OWN), ("ready", READY), ("without_weights", READY), ("compiled", READY)],
)
def test_calls_are_counted(name: str, calls: dict[Call, int], device: str) -> None:
    assert workload.import_torch(f"{MODULES}:{name}", device=device) == calls
    assert functional.scaled_dot_product_attention is traced.ATTENTION


def test_a_module_of_any_size_needs_no_memory() -> None:
    (call,) = workload.import_torch(f"{MODULES}:large")
    assert (call.heads, call.width, call.keys) == (1024, 128, 4096)


def test_shapes_of_arguments_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    calls = workload.import_torch("modules:Embedded", ["3x50:int64"])
    assert calls == {Call(3, 1, 1, 50, 50, 32, 32, False, "", "float32"): 1}
    with pytest.raises(AccelsimError, match="expected a shape such as 1x128x512"):
        workload.import_torch("modules:Embedded", ["3x50:int65"])


SIZES = st.integers(1, 6)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(SIZES, max_size=2), SIZES, SIZES, SIZES, SIZES, SIZES, SIZES,
    st.booleans(), st.sampled_from([torch.float32, torch.bfloat16]),
)  # fmt: skip
def test_a_call_is_what_torch_was_given(
    outer: list[int], groups: int, shared: int, p: int, m: int, e: int, f: int,
    causal: bool, dtype: torch.dtype,
) -> None:  # fmt: skip
    heads = groups * shared
    sizes = ((heads, p, e), (groups, m, e), (groups, m, f))
    q, k, v = (torch.zeros(*outer, *size, dtype=dtype, device="meta") for size in sizes)
    seen = traced._Seen()
    with seen:
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    batch = torch.Size(outer).numel()
    kind = str(dtype).removeprefix("torch.")
    assert seen.calls == {Call(batch, heads, groups, p, m, e, f, causal, "", kind): 1}
    assert out.shape == (*outer, heads, p, f)


@pytest.mark.parametrize("calls", [OWN, READY, {next(iter(READY)): 7}])
def test_a_workload_has_every_shape_and_reads_back(calls: dict[Call, int]) -> None:
    record = workload.workload_of("w", "here", calls)
    assert spec.load_text(spec.written(record), "workload").spec == record
    kinds = list(record.kinds) or [None]
    found = []
    for kind in kinds:
        overrides = [] if kind is None else [(("kind",), kind)]
        document = spec.validate(
            record.model_dump(), spec.read_text("a: 1", "w.yaml")[1], "workload", overrides
        )
        found.append(workload.shapes(document, None))
    expected = [{**call.sizes[0], **call.sizes[1]} for call in calls]
    assert found == [sizes for at, sizes in enumerate(expected) if sizes not in expected[:at]]


def test_calls_that_differ_in_type_alone_are_one_kind() -> None:
    first = next(iter(READY))
    other = dataclasses.replace(first, dtype="bfloat16")
    record = workload.workload_of("w", "here", {first: 1, other: 2})
    assert not record.kinds
    every = "1 x all keys, float32; 2 x all keys, bfloat16"
    assert record.description == f"3 calls of attention: {every}"


def test_what_a_causal_call_asks_for_is_what_the_simulator_counts(tmp_path: Path) -> None:
    path = tmp_path / "calls.yaml"
    calls = {Call(1, 4, 2, 256, 256, 64, 64, causal, "", "bfloat16"): 1 for causal in (True, False)}
    path.write_text(spec.written(workload.workload_of("w", "here", calls)))
    built = verbs.load_cascade("attention_1pass_window")
    for kind, seen in (("call1", 256 * 257 // 2), ("call2", 256 * 256)):
        found = verbs.analyze(built, str(path), None, kind)
        assert found["op_counts"]["count"]["mac"] == 4 * seen * (64 + 64)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("looks", r"modules.py:\d+:9: .*looks: RuntimeError(.|\n)*try --device cpu"),
        ("refused", r"modules.py:\d+:9: .*AssertionError: was expecting embedding dimension of 64"),
        ("leaves", r"modules.py:\d+:5: .*leaves: SystemExit: 3"),
        ("no_attention", "no call of scaled_dot_product_attention was seen"),
        ("no_module", r"expected a module, .* got str, int"),
        ("redy", "has no 'redy'\n    did you mean 'ready'"),
        ("", r"expected FILE.py:NAME or PACKAGE.MODULE:NAME"),
    ],
)
def test_errors(name: str, message: str) -> None:
    with pytest.raises(AccelsimError, match=message):
        workload.import_torch(f"{MODULES}:{name}")
    assert functional.scaled_dot_product_attention is traced.ATTENTION


def test_values_are_there_on_the_cpu() -> None:
    assert len(workload.import_torch(f"{MODULES}:looks", device="cpu")) == 1


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("none.py:x", "no file 'none.py'"),
        ("no_such_package.x:y", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("a b:y", "expected FILE.py:NAME or PACKAGE.MODULE:NAME"),
        ("torch", "expected FILE.py:NAME or PACKAGE.MODULE:NAME"),
    ],
)
def test_targets_that_are_none(target: str, message: str) -> None:
    with pytest.raises(AccelsimError, match=message):
        workload.import_torch(target)
    with pytest.raises(AccelsimError, match="--device: expected meta or cpu, got 'cuda'"):
        workload.import_torch(target, device="cuda")


def test_a_syntax_error_is_the_users(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("x = 1\ndef f(:\n")
    with pytest.raises(AccelsimError, match=r"mine.py:2:\d+: .*SyntaxError"):
        workload.import_torch(f"{path}:f")


def test_nested_tensors_are_refused() -> None:
    rows = [torch.zeros(2, length, 8) for length in (3, 4)]
    q = torch.nested.nested_tensor(rows, layout=torch.strided)
    with traced._Seen(), pytest.raises(AccelsimError, match="nested"):
        functional.scaled_dot_product_attention(q, q, q)


def test_without_torch_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AccelsimError, match=r"torch is not installed: pip install 'accelsim\["):
        workload.import_torch("a:b")


def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "calls.yaml"
    shown = CliRunner().invoke(
        app, ["import-torch", f"{MODULES}:own", "--yaml", str(out), "--json"]
    )
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["calls"] == workload.as_json(OWN)  # whatever the module prints
    assert spec.load(str(out), "workload").spec.kinds.keys() == {f"call{n}" for n in (1, 2, 3, 4)}
    table = CliRunner().invoke(app, ["import-torch", f"{MODULES}:own"])
    assert "bool 12x24" in table.stdout
    failed = CliRunner().invoke(
        app, ["import-torch", f"{MODULES}:looks", "--yaml", str(tmp_path / "none.yaml")]
    )
    assert isinstance(failed.exception, AccelsimError)
    assert not (tmp_path / "none.yaml").exists()


def test_a_module_itself_is_taken_too() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, batch_first=True)
    assert traced._made("x", layer)[0] is layer
    assert traced._made("x", nn.Identity)[1:] == ((), {})
