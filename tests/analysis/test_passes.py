"""Pass counts: as published, as tabulated for other reductions, and as the definition unrolls."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from accelsim import analysis, cascade, spec
from accelsim.analysis.passes import MAX_SWEEPS, _Fixpoint
from tests.analysis import cascades, oracle
from tests.cascade_strategies import cascades as random_cascades


def shipped(name: str) -> cascade.Cascade:
    return cascade.build(spec.load(name, "cascade"))


@pytest.mark.parametrize(
    ("name", "passes", "sweeps"),
    [
        ("attention_3pass", {"M": 3, "P": 1}, {"M": 3}),
        ("attention_3pass_deferred", {"M": 2, "P": 1}, {"M": 2}),
        ("attention_2pass", {"M": 2, "M1": 3, "M0": 3, "P": 1}, {"M": 3}),
        ("attention_1pass", {"M": 1, "M1": 1, "M0": 2, "P": 1}, {"M": 1}),
    ],
)
def test_attention(name: str, passes: dict[str, int], sweeps: dict[str, int]) -> None:
    found = analysis.passes(shipped(name))
    assert {rank: found.passes[rank] for rank in passes} == passes
    assert {rank: found.sweeps[rank] for rank in sweeps} == sweeps


def test_passes_of_each_tensor() -> None:
    three = analysis.passes(shipped("attention_3pass")).by_tensor
    assert {name: three[name]["M"] for name in ("K", "QK", "SN", "V")} == {
        "K": 3, "QK": 3, "SN": 2, "V": 1
    }  # fmt: skip
    two = analysis.passes(shipped("attention_2pass")).by_tensor
    assert (two["QK"]["M"], two["LM"]["M1"]) == (2, 3)


def test_the_pass_of_each_einsum() -> None:
    assert analysis.passes(shipped("attention_3pass")).pass_of["M"] == {
        "QK": 1, "GM": 1, "SN": 2, "SD": 2, "A": 3, "AV": 3
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "rank", "passes"),
    [
        ("layernorm", "D", 3),
        ("layernorm_moments", "D", 2),
        ("variance", "D", 2),
        ("welford", "D", 1),
        ("log_sum_exp", "M", 2),
        ("log_sum_exp_running", "M", 1),
        ("cross_entropy", "V", 3),
        ("softmax", "V", 3),
        ("rmsnorm", "D", 2),
        ("rmsnorm_deferred", "D", 1),
        ("three_pass", "M", 3),
        ("deferred", "M", 2),
        ("local", "M", 2),
        ("local", "M1", 3),
        ("local", "M0", 3),
        ("tiled", "M", 1),
        ("tiled", "M1", 1),
        ("tiled", "M0", 2),
        ("mala", "M", 1),
        ("mala", "P", 1),
        ("chunked", "M", 1),
        ("row_sum", "J", 2),
        ("row_sum", "I", 1),
        ("two_ways", "I", 1),
        ("two_ways", "J", 1),
        ("linear", "M", 1),
        ("linear", "P", 1),
        ("untiled", "M", 1),
        ("split_k", "M", 1),
        ("split_k", "M1", 2),
        ("split_k", "M0", 2),
        ("causal", "M", 3),
        ("act", "M", 4),
        ("act", "P", 2),
        ("scan_then_use", "I", 1),
        ("prefix", "I", 1),
        ("scan_over_total", "I", 2),
        ("suffix", "I", 1),
        ("prefix_with_suffix", "I", 2),
        ("mixing", "I", 2),
        ("rnn", "I", None),
        ("example", "K", 2),
        ("example_deferred", "K", 1),
        ("two_tensors", "K", 1),
        ("halo", "I", 1),
        ("broadcast", "K", 1),
        ("stale", "M", 1),
        ("stale", "M0", 1),
    ],
)
def test_known_cascades(name: str, rank: str, passes: int | None) -> None:
    found = analysis.passes(cascade.cascade_from_text(cascades.ALL[name]))
    assert found.passes[rank] == passes


def test_sweeps_count_what_cannot_be_fused() -> None:
    found = analysis.passes(cascade.cascade_from_text(cascades.TWO_TENSORS))
    assert (found.passes["K"], found.sweeps["K"]) == (1, 2)


def ascending(built: cascade.Cascade, tensor: str, rank: str) -> int | None:
    return _Fixpoint(built, tensor, rank, (True,) * MAX_SWEEPS).solve()[0]


def pairs(built: cascade.Cascade) -> list[tuple[str, str]]:
    ranks = [r for root in built.ranks for r in {root: 0, **dict.fromkeys(built.parts(root))}]
    return [
        (tensor.name, rank)
        for tensor in built.tensors
        for rank in ranks
        if all(part in tensor.ranks for part in built.parts(rank))
        and len(set(tensor.ranks)) == len(tensor.ranks)
    ]


# Not in ascending sweeps alone (suffix); more sweeps than an oracle can unroll (rnn).
UNROLLED = sorted(set(cascades.ALL) - {"suffix", "prefix_with_suffix", "two_ways", "rnn"})


@pytest.mark.parametrize("name", UNROLLED)
def test_the_rule_is_the_unrolled_definition(name: str) -> None:
    built = cascade.cascade_from_text(cascades.ALL[name])
    # A triangle must be long on both sides: a short row lies within the look-ahead.
    extent = oracle.UNIT_EXTENT if name == "causal" else oracle.EXTENT
    for tensor, rank in pairs(built):
        expected = oracle.passes(built, tensor, rank, extent)
        assert ascending(built, tensor, rank) == expected, (tensor, rank)


@given(random_cascades())
@settings(max_examples=40, derandomize=True, deadline=None)
def test_the_rule_is_the_definition_on_random_cascades(built: cascade.Cascade) -> None:
    for tensor, rank in pairs(built):
        assert ascending(built, tensor, rank) == oracle.passes(built, tensor, rank), (tensor, rank)


@pytest.mark.parametrize("name", ["attention_2pass", "attention_1pass"])
def test_names_do_not_matter(name: str) -> None:
    text = cascade.show(shipped(name))
    for old, new in (("SLN", "AAA"), ("LM", "ZZ"), ("QK", "X9"), ("RM", "B")):
        text = text.replace(f"{old}[", f"{new}[").replace(f"{old}:", f"{new}:")
    assert analysis.passes(cascade.cascade_from_text(text)).passes == (
        analysis.passes(shipped(name)).passes
    )


def test_a_local_maximum_taken_for_a_global_one_would_be_seen() -> None:
    """The plant: without tiles the same statements need the next pass."""
    one = cascade.cascade_from_text(cascades.SPLIT_K)
    whole = cascades.SPLIT_K.replace("LM[m1,p] =", "LM[p] =").replace("LM[m1,p]", "LM[p]")
    whole = whole.replace("LM: [M1,P]", "LM: [P]").replace("G[p] = LM[p] :: max", "G[p] = LM[p]")
    two = cascade.cascade_from_text(whole)
    assert (analysis.passes(one).passes["M"], analysis.passes(two).passes["M"]) == (1, 2)
