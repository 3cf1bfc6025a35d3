"""Workloads: kinds of runs, what a sequence length makes, tables and what a cascade asks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from accelsim import analysis, cascade, explore, spec, verbs, workload
from accelsim.analysis.counts import touched
from accelsim.errors import AccelsimError

KINDS = """
workload: w
source: s
ranks: {B: 1, M: 2 * seq_len}
kinds:
  prefill: {ranks: {P: seq_len}, parameters: {offset: 0}}
  decode: {ranks: {P: 1}, parameters: {offset: 2 * seq_len - 1}}
"""
GROUPED = """
cascade: grouped
source: s
ranks: {H: heads, G: groups, M: keys, P: queries, N: blocks, C: kept}
tables: {group: [H], kept: [H, C], pages: [N]}
tensors: {Q: [H, P], K: [G, M], B: [N], S: [H, P, M], T: [H, C]}
outputs: [S, T]
einsums: |
  S[h,p,m] = Q[h,p] * K[group[h],m] | m <= p + pages[0]
  T[h,c] = B[pages[kept[h,c]]]
"""
SIZES = """
workload: w
source: s
ranks: {H: 4, G: 2, M: 8, P: 8, N: 3, C: 2}
tables:
  group: %s
  kept: [[0, 1], [1, 2], [2, 0], [0, 0]]
  pages: [2, 0, 1]
"""


def made(text: str, **settings: str) -> dict[str, int]:
    value, source = spec.read_text(text, "w.yaml")
    overrides = [((name,), given) for name, given in settings.items()]
    return workload.shapes(spec.validate(value, source, "workload", overrides), 64)


def test_a_kind_gives_its_own_and_the_first_is_meant() -> None:
    assert made(KINDS) == {"B": 1, "M": 128, "P": 64, "offset": 0}
    assert made(KINDS, kind="prefill") == made(KINDS)
    assert made(KINDS, kind="decode") == {"B": 1, "M": 128, "P": 1, "offset": 127}


def test_a_length_that_leaves_nothing_of_a_rank() -> None:
    text = "workload: w\nsource: s\nranks: {B: 1, M: seq_len - 64}\n"
    with pytest.raises(AccelsimError, match=r"w.yaml:3:18: M is 0 at a sequence length of 64"):
        made(text)
    message = "leaves M, P, offset to the sequence"
    with pytest.raises(AccelsimError, match=message):
        workload.shapes(spec.load_text(KINDS.replace("0}", "seq_len}"), "workload"), None)


# Layers, heads, groups, widths and the FFN, as the makers' config.json files have them.
MODELS = {
    "llama2-7b": {"H": 32, "G": 32, "E": 128, "F": 128, "D": 4096, "S": 11008},
    "llama3-8b": {"H": 32, "G": 8, "E": 128, "F": 128, "D": 4096, "S": 14336},
    "qwen3-8b": {"H": 32, "G": 8, "E": 128, "F": 128, "D": 4096, "S": 12288},
    "deepseek-v3": {"H": 128, "E": 128, "F": 128, "R": 512, "I": 32, "J": 2, "D": 7168},
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_both_kinds(name: str) -> None:
    prompt = workload.shapes(spec.load(name, "workload"), 4096)
    query = workload.shapes(spec.load(name, "workload", [(("kind",), "decode")]), 4096)
    for found in (prompt, query):
        assert found.items() >= MODELS[name].items()
        assert found["B"] == 1
        assert found["M"] == 4096
        assert found["T"] == found["P"]
        assert found["N"] == found["H"] * found["F"]
    assert (prompt["P"], prompt["offset"]) == (4096, 0)
    assert (query["P"], query["offset"]) == (1, 4095)


def test_one_query_sees_the_whole_cache() -> None:
    built = verbs.load_cascade("attention_1pass_window")
    for kind, keys in (("decode", 4096), ("prefill", 4096 * 4097 // 2)):
        document = spec.load("llama3-8b", "workload", [(("kind",), kind)])
        shapes = workload.shapes(document, 4096) | {"M1": 32, "M0": 128}
        assert analysis.analyze(built, shapes).counted["exp"] >= 32 * keys
    prefill, decode = (
        verbs.simulate(
            "fusemax__attention_1pass_window",
            "llama3-8b",
            4096,
            settings=[f"workload.kind={kind}"],
        ).result
        for kind in ("prefill", "decode")
    )
    moved = decode.traffic_bytes["dram"]
    assert moved["read"] == 2 * 32 * 4096 * 128 * 2 + 32 * 128 * 2  # K and V, and Q
    assert decode.cycles < prefill.cycles / 4


def test_a_kind_of_a_run_is_a_setting() -> None:
    result = verbs.simulate(
        "fusemax__attention_1pass_window", "qwen3-8b", 512, settings=["workload.kind=decode"]
    ).result
    assert result.inputs["settings"] == ["workload.kind=decode"]
    with pytest.raises(AccelsimError, match="bert has no kinds; kind decode would have no effect"):
        verbs.simulate("fusemax__attention_1pass", "bert", 512, settings=["workload.kind=decode"])


# Tables -------------------------------------------------------------------------------------------


def faults(tmp_path: Path, group: str, **ranks: int) -> str:
    """What `analyze` says with this table."""
    path = tmp_path / "w.yaml"
    text = SIZES % group
    for rank, shape in ranks.items():
        text = re.sub(rf"{rank}: \d", f"{rank}: {shape}", text)
    path.write_text(text)
    built = cascade.build(spec.load_text(GROUPED, "cascade"))
    with pytest.raises(AccelsimError) as error:
        verbs.analyze(built, str(path))
    return str(error.value).replace(str(path), "w.yaml")


def test_tables_of_the_wrong_shape(tmp_path: Path) -> None:
    assert faults(tmp_path, "[0, 1]") == (
        "w.yaml:6:10: group: H has shape 4, the table 2\n    group: [0, 1]\n           ^^^^^^"
    )
    shown = faults(tmp_path, "[[0, 1], [1, 0]]").splitlines()
    assert shown[0] == "w.yaml:6:10: group: expected axes H in grouped, got 2 axes"
    shown = faults(tmp_path, "[0, 0, 1, 1]", C=3).splitlines()
    assert shown[0] == "w.yaml:7:9: kept: C has shape 3, the table 2"


def test_entries_outside_of_the_rank_that_they_index(tmp_path: Path) -> None:
    assert faults(tmp_path, "[0, 1, 2, 1]") == (
        "w.yaml:6:17: group: 2 is no coordinate of G, which has shape 2\n"
        "    group: [0, 1, 2, 1]\n                  ^"
    )
    shown = faults(tmp_path, "[0, -1, 0, 1]").splitlines()
    assert shown[0] == "w.yaml:6:14: group: -1 is no coordinate of G, which has shape 2"
    # An entry that indexes another table.
    inside = SIZES.replace("[2, 0]", "[3, 0]")
    built = cascade.build(spec.load_text(GROUPED, "cascade"))
    document = spec.load_text(inside % "[0, 0, 1, 1]", "workload")
    wrong = analysis.wrong_tables(built, workload.tables(document), workload.shapes(document, None))
    assert [(w.table, w.entry) for w in wrong] == [("kept", (2, 0))]


def test_counts_with_tables_are_those_of_a_loop() -> None:
    document = spec.load_text(SIZES % "[0, 0, 1, 1]", "workload")
    built = cascade.build(spec.load_text(GROUPED, "cascade"))
    shapes, tables = workload.shapes(document, None), workload.tables(document)
    assert tables["kept"].shape == (4, 2)
    seen = sum(m <= p + 2 for p in range(8) for m in range(8))
    found = analysis.analyze(built, shapes, tables=tables)
    assert found.counted == {"mul": 4 * seen}
    assert analysis.analyze(built, shapes).counted == {}
    # Elements of B that pages[kept[h, c]] means: three different ones.
    einsum = built.einsum("T")
    means = {int(tables["pages"][k]) for k in tables["kept"].ravel()}
    assert touched(built, einsum, einsum.inputs[0], shapes, tables) == len(means) == 3


def test_tables_go_to_the_meaning_as_they_are() -> None:
    document = spec.load_text(SIZES % "[0, 1, 1, 0]", "workload")
    built = cascade.build(spec.load_text(GROUPED, "cascade"))
    rng = np.random.default_rng(0)
    shapes = workload.shapes(document, None)
    inputs = {
        t.name: rng.standard_normal([shapes[r] for r in t.ranks])
        for t in built.tensors
        if t.name in built.inputs
    }
    out = cascade.interpret(built, inputs, shapes, tables=workload.tables(document))
    assert out["S"][1, 3, 5] == inputs["Q"][1, 3] * inputs["K"][1, 5]
    assert out["T"][2, 1] == inputs["B"][2]


def test_a_kind_is_an_axis_of_a_sweep(tmp_path: Path) -> None:
    path = tmp_path / "kinds.yaml"
    path.write_text(
        "sweep: kinds\nsource: s\naxes: {kind: [prefill, decode], seq_len: [512]}\n"
        "cases:\n  - workload: qwen3-8b\n    runs:\n      run:\n"
        "        mapping: fusemax__attention_1pass_window\n"
        "        set: ['workload.kind={kind}']\n"
    )
    rows = {row["kind"]: row for row in explore.rows(explore.load(str(path)))}
    assert rows["decode"]["cycles"] < rows["prefill"]["cycles"]
