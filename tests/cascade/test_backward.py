"""Attention forward and backward, standard and FlashAttention-1, against torch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accelsim import verbs
from accelsim.cascade import interpret

Array = np.ndarray
SHAPES = [  # queries, keys, keys of a tile, query and key width, value width
    (8, 8, 4, 4, 4),
    (7, 15, 5, 3, 6),
    (5, 12, 1, 4, 3),
    (1, 12, 3, 2, 5),
    (9, 6, 6, 8, 1),
    (3, 1, 1, 1, 2),
]


def drawn(p: int, m: int, e: int, f: int) -> dict[str, Array]:
    """Q [2, 3, E, P], K [2, 3, E, M], V [2, 3, F, M], the output's gradient DAV [2, 3, F, P]."""
    random = np.random.default_rng(p + 100 * m)
    shapes = {"Q": (e, p), "K": (e, m), "V": (f, m), "DAV": (f, p)}
    return {name: random.normal(size=(2, 3, *shape)) for name, shape in shapes.items()}


def trained(given: dict[str, Array], keep: Array | None = None) -> dict[str, Array]:
    """By torch, in float64: output, its LSE, gradients of Q, K and V. keep [2, M]: keys there."""
    q, k, v = (torch.tensor(given[name], requires_grad=True) for name in "QKV")
    scores = q.mT @ k
    if keep is not None:
        scores = scores.masked_fill(torch.from_numpy(keep == 0)[:, None, None, :], -torch.inf)
    out = v @ torch.softmax(scores, dim=-1).mT
    out.backward(torch.from_numpy(given["DAV"]))
    found = {"AV": out, "LSE": torch.logsumexp(scores, -1), "DQ": q.grad, "DK": k.grad}
    return {name: x.detach().numpy() for name, x in {**found, "DV": v.grad}.items()}


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("p", "m", "m0", "e", "f"), SHAPES)
def test_backward_of_what_forward_saved(p: int, m: int, m0: int, e: int, f: int) -> None:
    given = drawn(p, m, e, f)
    expected = trained(given)
    forward = verbs.load_cascade("attention_flash1_saved")
    inputs = {name: given[name] for name in "QKV"}
    saved = interpret(forward, inputs, {"M0": m0})
    close(saved["AV"], expected["AV"])
    close(saved["GM"] + np.log(saved["SD"]), expected["LSE"])

    kept = {name: saved[name] for name in ("AV", "GM", "SD")}
    backward = verbs.load_cascade("attention_backward")
    found = interpret(backward, given | kept, {"M0": m0})
    for name in ("DQ", "DK", "DV"):
        close(found[name], expected[name])


def test_an_lse_stands_for_maximum_and_denominator() -> None:
    given = drawn(6, 8, 3, 4)
    expected = trained(given)
    lse = expected["LSE"]
    kept = {"AV": expected["AV"], "GM": lse, "SD": np.ones_like(lse)}
    found = interpret(verbs.load_cascade("attention_backward"), given | kept, {"M0": 2})
    for name in ("DQ", "DK", "DV"):
        close(found[name], expected[name])


@pytest.mark.parametrize(("p", "m", "m0", "e", "f"), SHAPES)
def test_standard_attention_with_padded_keys(p: int, m: int, m0: int, e: int, f: int) -> None:
    keep = (np.arange(m) < [[m], [(m + 1) // 2]]).astype(float)
    given = drawn(p, m, e, f)
    expected = trained(given, keep)
    found = interpret(verbs.load_cascade("attention_training"), given | {"KEEP": keep}, {})
    for name in ("AV", "DQ", "DK", "DV"):
        close(found[name], expected[name])
