"""Models' config.json files: another way to write a workload."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from accelsim import analysis, explore, spec, verbs, workload
from accelsim.cli import app
from accelsim.errors import AccelsimError
from accelsim.spec.configs import workload as keys
from accelsim.spec.families import FAMILIES
from accelsim.spec.reader import read_json

CONFIGS = Path(__file__).parent / "configs"
EVERY = sorted(CONFIGS.glob("*.json"))
SHIPPED = ("llama2-7b", "llama3-8b", "qwen3-8b", "deepseek-v3")
LLAMA: dict[str, Any] = json.loads((CONFIGS / "llama3-8b.json").read_text())


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Loads a config of some keys as the file NAME."""

    def load(config: dict[str, Any], name: str = "config.json") -> Any:
        path = tmp_path / name
        path.write_text(json.dumps(config, indent=1))
        return spec.load(str(path), "workload").spec

    return load


def kinds_of(record: Any) -> Iterator[tuple[str, int | str, int]]:
    """Kind, what a query of it sees, and its layers."""
    for name, kind in record.kinds.items():
        words = kind.description.rpartition("the ")[2].split()
        yield name, kind.parameters["window"], int(words[0])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_workload_is_that_of_its_config(name: str) -> None:
    shipped, ours = (
        spec.load(which, "workload").spec for which in (name, str(CONFIGS / f"{name}.json"))
    )
    assert ours.ranks == shipped.ranks
    assert ours.kinds == shipped.kinds
    assert (ours.workload, ours.parameters) == (name, shipped.parameters)


@pytest.mark.parametrize("name", ["bert", "t5", "gpt2-medium"])
def test_shipped_ones_of_a_larger_batch(name: str) -> None:
    shipped = workload.shapes(spec.load(name, "workload"), 1024)
    own = spec.load(str(CONFIGS / f"{name}.json"), "workload", [(("ranks", "B"), 64)])
    ours = workload.shapes(own, 1024)
    assert all(ours[rank] == size for rank, size in shipped.items() if rank != "T")


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_printed_and_read_again_it_is_the_same(path: Path) -> None:
    record = spec.load(str(path), "workload").spec
    assert spec.load_text(spec.written(record), "workload").spec == record
    assert record.workload == path.stem


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_a_fault_of_a_rank_stands_at_its_field(path: Path) -> None:
    document = spec.load(str(path), "workload")
    text = path.read_text().splitlines()
    for rank, fields in (
        ("H", ("num_attention_heads", "n_head", "num_heads")),
        ("D", ("hidden_size", "n_embd", "d_model")),
    ):
        line = text[document.source.position(("ranks", rank)).line - 1]
        given = any(f'"{field}": ' in line for field in fields)
        assert given or (rank == "H" and path.stem == "gemma3-4b")  # which leaves out a default


# Windows ------------------------------------------------------------------------------------------


def test_a_window_of_all_layers_is_a_parameter(made: Any) -> None:
    record = spec.load(str(CONFIGS / "mistral-7b.json"), "workload").spec
    assert record.parameters == {"window": 4096}
    assert list(record.kinds) == ["prefill", "decode"]
    config = json.loads((CONFIGS / "mistral-7b.json").read_text())
    assert made({**config, "sliding_window": None}).parameters == {}
    # Llama's own class has no such field.
    assert made({**LLAMA, "sliding_window": 4096}).parameters == {}


@pytest.mark.parametrize(("name", "full", "window"), [("gemma2-9b", 21, 21), ("gemma3-4b", 5, 29)])
def test_layers_of_two_kinds(name: str, full: int, window: int) -> None:
    record = spec.load(str(CONFIGS / f"{name}.json"), "workload").spec
    width = {"gemma2-9b": 4096, "gemma3-4b": 1024}[name]
    assert list(kinds_of(record)) == [
        ("prefill", "seq_len", full),
        ("decode", "seq_len", full),
        ("prefill_window", width, window),
        ("decode_window", width, window),
    ]


@pytest.mark.parametrize("pattern", [2, 3, 6])
def test_a_pattern_and_a_list_of_layers_say_the_same(made: Any, pattern: int) -> None:
    config = {**LLAMA, "model_type": "gemma3_text", "head_dim": 256, "sliding_window": 512}
    layers = [
        "full_attention" if layer % pattern == 0 else "sliding_attention" for layer in range(1, 33)
    ]
    listed = made({**config, "layer_types": layers})
    for name in ("sliding_window_pattern", "_sliding_window_pattern"):
        assert made({**config, name: pattern}).kinds == listed.kinds
    assert next(kinds_of(listed))[2] == 32 // pattern


@pytest.mark.parametrize(("first", "full"), [(0, 0), (20, 20), (32, 32), (40, 32)])
def test_qwen_has_windows_from_a_layer_on(made: Any, first: int, full: int) -> None:
    config = {
        **LLAMA,
        "model_type": "qwen2",
        "sliding_window": 512,
        "max_window_layers": first,
    }
    for unused in ({}, {"use_sliding_window": False}):
        plain = made({**config, **unused})
        assert (plain.parameters, list(plain.kinds)) == ({}, ["prefill", "decode"])
    record = made({**config, "use_sliding_window": True})
    if full in (0, 32):  # all layers are alike
        assert list(record.kinds) == ["prefill", "decode"]
        assert record.parameters == ({} if full else {"window": 512})
    else:
        assert [layers for *_, layers in kinds_of(record)] == [full, full, 32 - full, 32 - full]


def test_other_layers_are_left_out_and_said(made: Any) -> None:
    layers = ["linear_attention"] * 24 + ["full_attention"] * 8
    record = made({**LLAMA, "model_type": "hybrid", "layer_types": layers})
    assert "its 24 layers of linear_attention are left out" in record.description
    assert list(record.kinds) == ["prefill", "decode"]


def test_a_window_of_w_shows_w_keys() -> None:
    """transformers' masking_utils: a key is seen where kv > q - sliding_window and kv <= q."""
    built = verbs.load_cascade("attention_grouped_window")
    path = str(CONFIGS / "gemma2-9b.json")
    for kind, most in (("prefill", 6000), ("prefill_window", 4096)):
        found = spec.load(path, "workload", [(("kind",), kind), (("ranks", "H"), 1)])
        counted = {**workload.shapes(found, 6000), "M1": 6, "M0": 1000}
        seen = sum(min(query + 1, most) for query in range(6000))
        once = analysis.total_counts(built, counted, {})["exp"] - seen
        assert once == 6 * 6000  # the running maximum's, once a tile and query


# Architectures ------------------------------------------------------------------------------------


def test_an_unknown_architecture_of_llamas_layout(made: Any) -> None:
    record, known = made({**LLAMA, "model_type": "newer"}), made(LLAMA)
    assert (record.ranks, record.kinds) == (known.ranks, known.kinds)
    assert record.workload == "newer"
    assert "newer (not known: read as Llama's layout)" in record.description


@pytest.mark.parametrize("field", ["full_attention_interval", "attn_layer_period"])
def test_layers_of_an_unknown_kind_are_not_taken_for_attention(made: Any, field: str) -> None:
    hybrid = {**LLAMA, "model_type": "newer", field: 4}
    with pytest.raises(AccelsimError, match=f"{field}: .*expected `layer_types`"):
        made(hybrid)
    kinds = ["linear_attention"] * 3 + ["full_attention"]
    count = LLAMA["num_hidden_layers"] // 4
    assert (
        "layers of linear_attention are left out"
        in made({**hybrid, "layer_types": kinds * count}).description
    )


def test_a_part_leaves_out_the_defaults_of_its_class(made: Any) -> None:
    part = {"model_type": "llama", "vocab_size": 32064}
    record = made({"model_type": "llava", "text_config": part})
    shipped = spec.load("llama2-7b", "workload").spec
    assert (record.ranks, record.kinds) == (shipped.ranks, shipped.kinds)
    assert "num_attention_heads 32 (the default)" in record.source
    with pytest.raises(AccelsimError, match="missing: hidden_size, num_attention_heads"):
        made(part)  # of its own, a config says everything


def test_an_encoder_sees_all_keys(made: Any) -> None:
    found = workload.shapes(spec.load(str(CONFIGS / "bert.json"), "workload"), 512)
    assert (found["P"], found["M"], found["offset"]) == (512, 512, 511)
    config = json.loads((CONFIGS / "bert.json").read_text())
    assert list(made({**config, "is_decoder": True}).kinds) == ["prefill", "decode"]


def test_heads_that_share_keys(made: Any) -> None:
    falcon = {
        "model_type": "falcon",
        "hidden_size": 4544,
        "num_attention_heads": 71,
        "num_hidden_layers": 32,
        "multi_query": True,
        "new_decoder_architecture": False,
    }
    assert made(falcon).ranks.items() >= {"H": 71, "G": 1, "E": 64, "S": 4 * 4544}.items()
    newer = {**falcon, "num_attention_heads": 128, "hidden_size": 8192, "num_kv_heads": 8}
    assert made({**newer, "new_decoder_architecture": True}).ranks["G"] == 8
    bigcode = {"model_type": "gpt_bigcode", "n_embd": 6144, "n_head": 48, "n_layer": 40}
    assert made({**bigcode, "multi_query": True}).ranks["G"] == 1
    assert made({**bigcode, "multi_query": False}).ranks["G"] == 48


@pytest.mark.parametrize("where", ["partial_rotary_factor", "rope_parameters"])
def test_pairs_are_given_where_all_of_the_width_is_turned(made: Any, where: str) -> None:
    for share in (1.0, 0.5):
        value = share if where == "partial_rotary_factor" else {"partial_rotary_factor": share}
        assert ("I" in made({**LLAMA, where: value}).ranks) == (share == 1)


# The file -----------------------------------------------------------------------------------------


def test_a_name_for_it(made: Any) -> None:
    whole = {**LLAMA, "_name_or_path": "meta-llama/Meta-Llama-3-8B"}
    assert made(whole, "mine.json").workload == "mine"
    assert made(whole).workload == "Meta-Llama-3-8B"
    assert made({**LLAMA, "_name_or_path": "/a/3b"}).workload == "llama"
    assert made({**LLAMA, "model_type": "4x"}).workload == "model"


def test_json_that_yaml_would_refuse(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    text = json.dumps({**LLAMA, "said": "\N{GRINNING FACE} a/b \\ud83d", "eps": 1e-5}, indent="\t")
    path.write_text("\ufeff" + text.replace("a/b", "a\\/b") + "\n\t\n")
    assert "\\ud83d" in text
    ranks = spec.load(str(path), "workload").spec.ranks
    assert ranks == spec.load("llama3-8b", "workload").spec.ranks
    path.write_text("[" * 100_000)
    with pytest.raises(AccelsimError, match="deep"):
        spec.load(str(path), "workload")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 3), st.integers(), st.floats(), st.text(max_size=3),
    st.lists(st.sampled_from(["full_attention", "sliding_attention", 3, "x"]), max_size=3),
    st.dictionaries(st.sampled_from(["hidden_size", "model_type"]), st.integers(), max_size=2),
)  # fmt: skip
FIELDS = st.sampled_from([
    *LLAMA, "head_dim", "sliding_window", "layer_types", "text_config", "kv_lora_rank",
    "qk_nope_head_dim", "multi_query", "rope_parameters", "use_sliding_window", "_name_or_path",
    "sliding_window_pattern", "max_window_layers", "is_encoder_decoder", "n_head", "d_ff",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*FAMILIES, "newer"]), st.dictionaries(FIELDS, VALUES, max_size=6))
def test_whatever_a_config_says_it_is_a_workload_or_an_error(
    kind: str, changed: dict[str, Any]
) -> None:
    text = json.dumps({**LLAMA, "model_type": kind, **changed})
    faults: tuple[Any, ...] = ()
    try:
        document = spec.validate(*keys(*read_json(text, "config.json")), "workload")
    except AccelsimError as error:
        faults = error.faults
    assert all(fault.position is not None for fault in faults)
    if faults:
        return
    workload.check(document)
    found = workload.shapes(document, 64)
    assert found["N"] == found["H"] * found["F"]
    assert found["M"] == 64


# Wherever a workload goes -------------------------------------------------------------------------

SMALL = ("workload.ranks.H=4", "workload.ranks.G=1")


def test_it_runs_wherever_a_shipped_one_does(tmp_path: Path) -> None:
    ours, theirs = str(CONFIGS / "llama3-8b.json"), "llama3-8b"
    mapping = "h200__flash_fwd"
    one, other = (
        verbs.simulate(mapping, model, 512, settings=SMALL).result for model in (ours, theirs)
    )
    assert (one.cycles, one.traffic_bytes) == (other.cycles, other.traffic_bytes)
    assert one.inputs["workload"]["name"] == theirs
    assert (
        verbs.traffic(mapping, ours, 512, settings=SMALL)["launches"]
        == verbs.traffic(mapping, theirs, 512, settings=SMALL)["launches"]
    )
    small = (*SMALL, "workload.ranks.E=16", "workload.ranks.F=16")
    ran = [verbs.execute(mapping, model, 256, settings=small) for model in (ours, theirs)]
    assert ran[0].outputs["AV"].tolist() == ran[1].outputs["AV"].tolist()
    built = verbs.load_cascade("attention_grouped_window")
    assert verbs.analyze(built, ours, 512, "decode") == verbs.analyze(built, theirs, 512, "decode")
    (tmp_path / "config.json").write_text((CONFIGS / "llama3-8b.json").read_text())
    (tmp_path / "s.yaml").write_text(
        "sweep: s\nsource: here\naxes: {seq_len: [512], kind: [prefill, decode]}\ncases:\n"
        f"  - workload: config.json\n    runs: {{a: {{mapping: {mapping}, set: ["
        + ", ".join([*SMALL, '"workload.kind={kind}"'])
        + "]}}\n"
    )
    rows = list(explore.rows(explore.load(str(tmp_path / "s.yaml"))))
    assert rows[0]["cycles"] == one.cycles
    assert rows[1]["cycles"] < one.cycles


def test_what_it_is_not() -> None:
    with pytest.raises(AccelsimError, match=r"in \.yaml, or a model's config in \.json"):
        spec.find("llama9", "workload")
    with pytest.raises(AccelsimError, match=r"no workload file 'none\.json'"):
        spec.find("none.json", "workload")
    with pytest.raises(AccelsimError, match=r"no mapping named .* must end in \.yaml\n"):
        spec.find("none.json", "mapping")


def test_the_command_prints_it(tmp_path: Path) -> None:
    config, out = str(CONFIGS / "gemma3-4b.json"), tmp_path / "gemma3.yaml"
    record = spec.load(config, "workload").spec
    shown = CliRunner().invoke(app, ["import-model", config])
    assert shown.exit_code == 0
    assert spec.load_text(shown.output, "workload").spec == record
    CliRunner().invoke(app, ["import-model", config, "--yaml", str(out)])
    assert spec.load(str(out), "workload").spec == record
    as_json = CliRunner().invoke(app, ["import-model", config, "--json"])
    assert json.loads(as_json.stdout)["ranks"] == record.ranks
    refused = CliRunner().invoke(app, ["import-model", "bert"])
    assert isinstance(refused.exception, AccelsimError)
