"""Whole-number expressions: predicates, head maps, tables, computed indices, values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accelsim import verbs
from accelsim.cascade import Cascade, cascade_from_text, interpret, latex, show
from accelsim.cascade.whole import draw
from accelsim.errors import AccelsimError

HEAD = "cascade: c\nsource: here\n"


def built(text: str) -> Cascade:
    made = cascade_from_text(HEAD + text)
    assert cascade_from_text(show(made)) == made
    assert latex(made).startswith(r"\begin{aligned}")
    return made


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape)


@pytest.mark.parametrize(
    ("p", "m", "m0", "given"),
    [
        (8, 8, 4, {}),
        (8, 8, 1, {"window": 3}),
        (12, 12, 4, {"window": 5, "sinks": 2}),
        (1, 24, 8, {"offset": 23}),
        (1, 24, 8, {"offset": 23, "window": 6, "sinks": 4}),
        (5, 16, 4, {"offset": 11, "window": 7, "sinks": 1}),
    ],
)
def test_masked_attention_is_torch_attention_with_the_mask(
    p: int, m: int, m0: int, given: dict[str, int]
) -> None:
    q, k, v = random(2, 3, 4, p), random(2, 3, 4, m) * 3, random(2, 3, 5, m)
    offset, window, sinks = (
        given.get(x, d) for x, d in (("offset", 0), ("window", m), ("sinks", 0))
    )
    at, key = np.ogrid[:p, :m]
    seen = (key <= at + offset) & ((at + offset - key < window) | (key < sinks))

    cascade = verbs.load_cascade("attention_1pass_window")
    found = interpret(cascade, {"Q": q, "K": k, "V": v}, {"M0": m0}, parameters=given)["AV"]

    turned = [torch.from_numpy(x.swapaxes(-1, -2).copy()) for x in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(
        *turned, attn_mask=torch.from_numpy(seen), scale=1.0
    )
    np.testing.assert_allclose(found.swapaxes(-1, -2), expected.numpy(), rtol=0, atol=1e-12)


def test_a_head_map_by_formula_and_by_table() -> None:
    q, k = random(6, 4), random(2, 4)
    text = """ranks: {H: heads, G: groups, E: width}
define: {"gk(h)": h * G // H}
tensors: {Q: [H, E], K: [G, E], S: [H]}
outputs: [S]
einsums: |
  S[h] = Q[h,e] * K[gk(h),e]
"""
    found = interpret(built(text), {"Q": q, "K": k})["S"]
    np.testing.assert_allclose(found, np.einsum("he,he->h", q, k[[0, 0, 0, 1, 1, 1]]))
    text = text.replace('define: {"gk(h)": h * G // H}', "tables: {group: [H]}")
    text = text.replace("gk(h)", "group[h]")
    table = np.array([1, 0, 1, 1, 0, 0])
    found = interpret(built(text), {"Q": q, "K": k}, tables={"group": table})["S"]
    np.testing.assert_allclose(found, np.einsum("he,he->h", q, k[table]))
    with pytest.raises(AccelsimError, match="where it is not defined"):
        interpret(built(text), {"Q": q, "K": k}, tables={"group": table + 1})
    with pytest.raises(AccelsimError, match=r"table group \[H\] is missing"):
        interpret(built(text), {"Q": q, "K": k})
    with pytest.raises(AccelsimError, match="expected whole numbers"):
        interpret(built(text), {"Q": q, "K": k}, tables={"group": table / 2})


def test_coordinates_as_values_and_computed_indices() -> None:
    """Rotated queries with a distance bias: positions are values, distances are indices."""
    q, bias = random(5, 2), random(9)
    text = """ranks: {P: queries, M: keys, D: distances, I: pairs}
tensors: {Q: [P, I], T: [I], R: [P], B: [D], Z: [P, M]}
outputs: [Z]
einsums: |
  T[i] = exp(-2 * i / I * log(10000))
  R[p] = Q[p,i] * cos(p * T[i])
  Z[p,m] = where(p == m, 0, R[p] + B[abs(p - m)]) - (p > m)
"""
    found = interpret(built(text), {"Q": q, "B": bias}, {"M": 5})["Z"]
    theta = 10000.0 ** (-2 * np.arange(2) / 2)
    rotated = (q * np.cos(np.arange(5)[:, None] * theta)).sum(axis=1)
    p, m = np.ogrid[:5, :5]
    expected = np.where(p == m, 0, rotated[:, None] + bias[np.abs(p - m)]) - (p > m)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_coordinate_of_a_cut_rank() -> None:
    text = """ranks: {M: keys, P: queries}
partitions: {M: [M1, M0]}
parameters: {shift: {description: how far, default: 1}}
tensors: {A: [M1, M0], B: [P], Z: [M1, M0]}
outputs: [Z]
einsums: |
  Z[m1,m0] = A[m1,m0] * B[(m + shift) % P] + whole(m // 2) | m % 3 != 2
"""
    a, b = random(12), random(5)
    cascade = built(text)
    found = interpret(cascade, {"A": a, "B": b}, {"M0": 4}, parameters={"shift": 2})["Z"].ravel()
    m = np.arange(12)
    kept = m % 3 != 2
    expected = a * b[(m + 2) % 5] + m // 2
    np.testing.assert_allclose(found[kept], expected[kept])
    with pytest.raises(AccelsimError, match="shft is no parameter"):
        interpret(cascade, {"A": a, "B": b}, {"M0": 4}, parameters={"shft": 2})


def test_what_division_and_draws_mean() -> None:
    text = """ranks: {M: keys, P: queries}
tensors: {A: [M, P], Z: [P]}
outputs: [Z]
parameters: {seed: {description: of the draw}}
einsums: |
  Z[p] = A[m,p] | (m - 5) // 2 + (m - 5) % 2 >= -1 and draw(seed, m, p) % 2 == 0
"""
    a = random(11, 3)
    found = interpret(built(text), {"A": a}, parameters={"seed": 3})["Z"]
    m, p = np.ogrid[:11, :3]
    kept = ((m - 5) // 2 + (m - 5) % 2 >= -1) & (draw(3, m, p) % 2 == 0)
    np.testing.assert_allclose(found, np.where(kept, a, 0).sum(axis=0))
    assert 0.45 < (draw(1, np.arange(10_000)) % 2).mean() < 0.55
    with pytest.raises(AccelsimError, match="parameter seed is missing"):
        interpret(built(text), {"A": a})
    with pytest.raises(AccelsimError, match="division by 0"):
        interpret(built(text.replace("// 2", "// (m - m)")), {"A": a}, parameters={"seed": 3})


def test_what_depends_on_coordinates_alone_is_no_operation() -> None:
    text = """ranks: {M: keys, P: queries}
tensors: {A: [M, P], Z: [M, P]}
outputs: [Z]
einsums: |
  Z[m,p] = A[m,p] + 2 * (p - m)
"""
    from accelsim.analysis.counts import point_operations

    assert point_operations(built(text).einsums[0]) == {"add": 1}
