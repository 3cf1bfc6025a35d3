"""Every shipped algorithm, against a definition that it did not come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accelsim import verbs
from accelsim.analysis import analyze
from accelsim.cascade import interpret

Array = np.ndarray


def random(*shape: int, seed: int = 3) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def softmax_attention(scores: Array, v: Array) -> Array:
    """Of scores [B, H, P, M], -inf where nothing is seen, and values [B, H, M, F]."""
    return (torch.softmax(torch.from_numpy(scores), dim=-1) @ torch.from_numpy(v)).numpy()


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("heads", "groups"), [(6, 6), (6, 1), (6, 2), (6, 4), (3, 3)])
def test_grouped_heads(heads: int, groups: int) -> None:
    """MHA, MQA, GQA, also where groups are uneven; SQA is fewer query heads."""
    q, k, v = random(2, heads, 4, 5), random(2, groups, 4, 8), random(2, groups, 3, 8)
    cascade = verbs.load_cascade("attention_grouped")
    found = interpret(cascade, {"Q": q, "K": k, "V": v}, {"M0": 4})["AV"]
    of = [h * groups // heads for h in range(heads)]
    scores = np.einsum("bhep,bhem->bhpm", q, k[:, of])
    expected = softmax_attention(scores, v[:, of].swapaxes(2, 3))
    close(found.swapaxes(2, 3), expected)


def test_rope() -> None:
    """Rotation by complex numbers; a shift of all positions changes nothing."""
    q, k, v = random(1, 2, 6, 4, 2), random(1, 2, 6, 4, 2) * 2, random(1, 2, 6, 3)
    found = interpret(verbs.load_cascade("attention_rope"), {"Q": q, "K": k, "V": v})["AV"]

    def turned(x: Array, shift: int) -> Array:
        at = (np.arange(6) + shift)[:, None] * 10000.0 ** (-np.arange(4) / 4)
        return (x[..., 0] + 1j * x[..., 1]) * np.exp(1j * at)

    for shift in (0, 17):
        scores = np.einsum("bhpi,bhmi->bhpm", turned(q, shift), turned(k, shift).conj()).real
        close(found, softmax_attention(scores, v))


@pytest.mark.parametrize("harmonic", [0, 1])
def test_alibi(harmonic: int) -> None:
    q, k, v = random(2, 4, 7, 3), random(2, 4, 7, 3), random(2, 4, 7, 2)
    cascade = verbs.load_cascade("attention_alibi")
    given = {"harmonic": harmonic}
    found = interpret(cascade, {"Q": q, "K": k, "V": v}, {"D": 7}, parameters=given)["AV"]
    p, m = np.ogrid[:7, :7]
    sums = np.array([sum(1 / i for i in range(1, n + 1)) for n in range(7)])
    distance = sums[np.abs(p - m)] if harmonic else p - m
    slopes = 2.0 ** (-8 * np.arange(1, 5) / 4)
    scores = np.einsum("bhpe,bhme->bhpm", q, k) - slopes[:, None, None] * distance
    close(found, softmax_attention(np.where(m <= p, scores, -np.inf), v))


def test_zerotuning() -> None:
    """The weight of the first key times gamma, then all normalised again."""
    q, k, v = random(2, 3, 4, 5), random(2, 3, 6, 5), random(2, 3, 6, 2)
    gamma = np.array([0.3, 1.0, 2.5])
    cascade = verbs.load_cascade("attention_zerotuning")
    found = interpret(cascade, {"Q": q, "K": k, "V": v, "GAMMA": gamma})["AV"]
    weights = torch.softmax(torch.from_numpy(np.einsum("bhpe,bhme->bhpm", q, k)), -1).numpy()
    weights[..., 0] *= gamma[:, None]
    close(found, weights / weights.sum(axis=-1, keepdims=True) @ v)
    assert analyze(cascade).passes.passes["M"] == 1


@pytest.mark.parametrize(("theta", "beta"), [(0.14, 0.4), (0.9, 0.4), (0.05, 0.0)])
def test_act(theta: float, beta: float) -> None:
    """Row by row, as its code does it; rows still sum to 1."""
    q, k, v = random(1, 2, 7, 3), random(1, 2, 8, 3), random(1, 2, 8, 2)
    cascade = verbs.load_cascade("attention_act")
    inputs = {"Q": q, "K": k, "V": v, "THETA": theta, "BETA": beta}
    every = interpret(cascade, inputs, keep_all=True)
    weights = torch.softmax(torch.from_numpy(np.einsum("bhpe,bhme->bhpm", q, k)), -1).numpy()
    mean = weights.mean(axis=2)
    assert (np.abs(mean - theta) > 1e-9).all()
    expected = weights.copy()
    for h in range(2):
        sink = (mean[0, h] > theta) & (np.arange(8) > 0)
        for row in expected[0, h]:
            taken = (1 - beta) * row[sink].sum()
            rest = row[~sink] / row[~sink].sum()
            row[sink] *= beta
            row[~sink] += taken * rest
    close(every["CA"], expected)
    close(every["CA"].sum(axis=-1), np.ones((1, 2, 7)))
    close(every["AV"], expected @ v)


def test_act_as_written_takes_four_passes_over_the_keys_and_two_over_the_queries() -> None:
    found = analyze(verbs.load_cascade("attention_act")).passes.passes
    assert (found["M"], found["P"]) == (4, 2)


def test_act_holds_all_weights_or_reads_keys_and_queries_again() -> None:
    """In bytes of 2: A of P x M at once, or E words a key (a query) for each later sweep."""
    found = verbs.analyze(verbs.load_cascade("attention_act"), "bert", 1024)
    assert found["footprint_bytes"]["A"] == 1024 * 1024 * 2
    again = {row["rank"]: row["bytes"] for row in found["alternatives"] if row["tensor"] == "A"}
    one = {"hold": 1024 * 2, "spill": 2 * 1024 * 2, "recompute": 1024 * 64 * 2}
    assert again == {"M": one, "P": one}
    assert verbs.analyze(verbs.load_cascade("attention_act"), "bert", 1024, None, "fusemax")[
        "notes"
    ] == ["no lower bounds on fusemax: no unit can do gt, which SINK needs"]


@pytest.mark.parametrize("m0", [1, 4, 12])
def test_splitk(m0: int) -> None:
    q, k, v = random(2, 3, 4, 2), random(2, 3, 4, 12) * 4, random(2, 3, 5, 12)
    cascade = verbs.load_cascade("attention_splitk")
    found = interpret(cascade, {"Q": q, "K": k, "V": v}, {"M0": m0})["AV"]
    scores = np.einsum("bhep,bhem->bhpm", q, k)
    close(found.swapaxes(2, 3), softmax_attention(scores, v.swapaxes(2, 3)))
    assert analyze(cascade).passes.passes["M"] == 1


def test_lightning() -> None:
    """O = ((Q K^T) * lambda^(p-m) where m <= p) V, over blocks of 4."""
    q, k, v = random(2, 3, 12, 5), random(2, 3, 12, 5), random(2, 3, 12, 4)
    cut = [x.reshape(2, 3, 3, 4, -1) for x in (q, k, v)]
    found = interpret(verbs.load_cascade("linear_lightning2"), dict(zip("QKV", cut, strict=True)))[
        "O"
    ]
    p, m = np.ogrid[:12, :12]
    decay = np.exp(-(2.0 ** (-8 * np.arange(1, 4) / 3)))[:, None, None]
    weights = np.where(m <= p, decay ** np.maximum(p - m, 0), 0)
    expected = (np.einsum("bhpe,bhme->bhpm", q, k) * weights) @ v
    close(found.reshape(2, 3, 12, 4), expected)


def test_compulsory_traffic_of_shared_heads_is_that_of_groups() -> None:
    from accelsim.analysis.counts import touched

    cascade = verbs.load_cascade("attention_grouped")
    shapes = {"B": 2, "H": 12, "G": 5, "E": 4, "F": 4, "M": 64, "P": 8, "M1": 8, "M0": 8}
    einsum = cascade.einsum("QK")
    assert touched(cascade, einsum, einsum.inputs[1], shapes) == 2 * 5 * 4 * 64
