"""Attention derived from its definition: equal numbers, with masks too, and equal cycles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from accelsim import verbs
from accelsim.analysis import passes
from accelsim.cascade import Cascade, cascade_from_text, interpret, show
from accelsim.derive import ways
from accelsim.errors import AccelsimError
from tests.derive.numbers import ADVERSARIAL, apart, derived

PARTS = ("M1", "M0")
LIKE = ("attention_1pass", "attention_splitk", "attention_2pass")
MASKED = """\
cascade: masked
source: a test
ranks: {E: width, F: width, M: keys, P: queries}
tensors: {Q: [E,P], K: [E,M], V: [F,M], QK: [M,P], GM: [P], SN: [M,P], SD: [P], A: [M,P],
  AV: [F,P]}
outputs: [AV]
einsums: |
  QK[m,p] = Q[e,p] * K[e,m] | MASK
  GM[p] = QK[m,p] :: max | MASK
  SN[m,p] = exp(QK[m,p] - GM[p]) | MASK
  SD[p] = SN[m,p] | MASK
  A[m,p] = SN[m,p] / SD[p] | MASK
  AV[f,p] = A[m,p] * V[f,m] | MASK
"""
MASKS = {
    "causal": ("m <= p", lambda m, p: m <= p),
    "first tiles masked": ("m + p >= 5", lambda m, p: m + p >= 5),
    "window": ("m <= p and p - m < 3", lambda m, p: (m <= p) & (p - m < 3)),
    "window or sinks": (
        "m <= p and (p - m < 3 or m < 2)",
        lambda m, p: (m <= p) & ((p - m < 3) | (m < 2)),
    ),
    "strided": ("(p - m) % 3 == 0", lambda m, p: (p - m) % 3 == 0),
}


def definition(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, keep: np.ndarray | None = None
) -> np.ndarray:
    """Of Q [..., E, P], K [..., E, M], V [..., F, M], keep [M, P]: softmax over M, row by row."""
    scores = np.einsum("...ep,...em->...mp", q, k)
    if keep is not None:
        scores = np.where(keep, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-2, keepdims=True))
    return np.einsum("...mp,...fm->...fp", weights / weights.sum(axis=-2, keepdims=True), v)


def scaled(rng: np.random.Generator, kind: str, shape: list[int]) -> np.ndarray:
    """kind: scaled by 0.1 to 100, or what a softmax may stumble over."""
    array = rng.normal(size=shape) * 10 ** rng.uniform(-1, 2)
    if kind == "apart":
        array = np.round(array) * 1e4
    elif kind == "equal":
        array[:] = 1.0
    elif kind == "offset":
        array += 1e4
    elif kind == "one":
        array *= 0
        array[..., -1] = 100.0
    return array


@pytest.mark.parametrize("like", LIKE)
def test_derived_attention_is_attention_on_random_shapes(like: str) -> None:
    """200 shapes; Q, K and V scaled by 0.1 to 100, one in two adversarial."""
    made = derived("attention_3pass", most=2, parts=PARTS, like=like).cascade
    rng = np.random.default_rng(2406)
    for number in range(200):
        kind = ("scaled", *ADVERSARIAL)[number // 2 % 6] if number % 2 else "scaled"
        b, h, e, f, p = (int(n) for n in rng.integers(1, 4, 5))
        m1, m0 = (int(n) for n in rng.integers(1, 6, 2))
        q, k = scaled(rng, kind, [b, h, e, p]), scaled(rng, "scaled", [b, h, e, m0 * m1])
        v = scaled(rng, "scaled", [b, h, f, m0 * m1])
        actual = interpret(made, {"Q": q, "K": k, "V": v}, {"M0": m0})["AV"]
        assert apart(definition(q, k, v), actual) <= 1e-12, kind


WRONG = {
    "not rescaled": ("RD[b,h,m1,p] * PRM[b,h,m1,p]", "RD[b,h,m1,p] * 1"),
    "inverse": ("exp(RM[b,h,m1,p] - RM[b,h,m1+1,p])", "exp(RM[b,h,m1+1,p] - RM[b,h,m1,p])"),
    "local maximum": ("m0,p] - RM[b,h,m1+1,p])", "m0,p] - LM[b,h,m1,p])"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_correction_is_seen(fault: str) -> None:
    """The law above can fail, though each fault keeps the one pass."""
    text = show(derived("attention_3pass", parts=PARTS, like="attention_1pass").cascade)
    old, new = WRONG[fault]
    assert old in text
    wrong = cascade_from_text(text.replace(old, new))
    assert passes(wrong).passes["M"] == 1
    rng = np.random.default_rng(3)
    q, k, v = (rng.normal(size=shape) for shape in ((1, 1, 4, 5), (1, 1, 4, 12), (1, 1, 3, 12)))
    inputs = {"Q": q, "K": k, "V": v}
    if fault == "inverse":
        with pytest.raises(AccelsimError, match="is not a number"):
            interpret(wrong, inputs, {"M0": 3})
    else:
        actual = interpret(wrong, inputs, {"M0": 3})["AV"]
        assert apart(definition(q, k, v), actual) > 1e-3


def masked(mask: str) -> Cascade:
    return cascade_from_text(MASKED.replace("MASK", mask))


@pytest.mark.parametrize("mask", MASKS)
def test_masked_attention_keeps_its_numbers(mask: str) -> None:
    """Tiles of which a row sees nothing, at its start too: no NaN on the way (interpret raises)."""
    text, keeps = MASKS[mask]
    found = ways(masked(text), "M", PARTS)
    assert [(one.way, one.cost.passes, one.stopped) for one in found] == [
        ("deferred", 2, ()),
        ("running", 1, ()),
        ("local", 1, ()),
        ("local, divided in place", 2, ()),
    ]
    rng = np.random.default_rng(11)
    for number in range(24):
        kind = ("scaled", *ADVERSARIAL)[number % 6]
        m1, m0 = int(rng.integers(3, 6)), int(rng.integers(2, 5))
        m = m1 * m0
        p = int(rng.integers(4, m + 1))
        keep = keeps(np.arange(m)[:, None], np.arange(p)[None, :])
        q, k, v = (scaled(rng, kind, s) for s in ([2, p], [2, m], [3, m]))
        for one in found:
            inputs = {"Q": q, "K": k, "V": v}
            actual = interpret(one.cascade, inputs, {"M0": m0, "M1": m1})["AV"]
            assert apart(definition(q, k, v, keep), actual) <= 1e-12, (one.way, kind, number)


def test_derived_attention_runs_as_the_shipped_one(tmp_path: Path) -> None:
    """On FuseMax's machine, with its mapping unchanged: the same cycles and everything else."""
    path = tmp_path / "derived.yaml"
    path.write_text(show(derived("attention_3pass", parts=PARTS, like="attention_1pass").cascade))
    results = []
    for settings in ((), (f"mapping.cascade={path}",)):
        result = verbs.simulate(
            "fusemax__attention_1pass", "bert", seq_len=1024, settings=settings
        ).result
        results.append(dataclasses.replace(result, inputs={}, notes=[]))
    assert results[0] == results[1]
