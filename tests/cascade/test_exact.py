"""Exact attention in other orders, and other sources of its weights, each against a definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accelsim import verbs
from accelsim.analysis import analyze
from accelsim.analysis.counts import operation_counts, total_counts
from accelsim.analysis.pieces import Numbers
from accelsim.analysis.space import count
from accelsim.cascade import Cascade, interpret
from accelsim.cascade.nodes import iteration_variables

Array = np.ndarray


def random(*shape: int, seed: int = 3) -> Array:
    return np.random.default_rng(seed + sum(shape)).normal(size=shape)


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def scores(q: Array, k: Array, offset: int) -> torch.Tensor:
    """Of Q [..., E, P] and K [..., E, M]: [..., P, M], -inf where a key is not seen."""
    found = torch.from_numpy(np.einsum("...ep,...em->...pm", q, k))
    p, m = np.ogrid[: q.shape[-1], : k.shape[-1]]
    return found.masked_fill(torch.from_numpy(m > p + offset), float("-inf"))


def attention(q: Array, k: Array, v: Array, offset: int) -> Array:
    """Softmax attention of V [..., F, M]: [..., F, P]."""
    weights = torch.softmax(scores(q, k, offset), dim=-1)
    return (weights @ torch.from_numpy(v).swapaxes(-1, -2)).swapaxes(-1, -2).numpy()


# FlashAttention -----------------------------------------------------------------------------------

FLASH = [  # queries, keys, keys of a tile, keys before the first query
    (8, 8, 4, 0),
    (7, 15, 5, 0),
    (7, 15, 5, 8),
    (5, 12, 4, 7),
    (1, 12, 3, 11),
    (6, 10, 1, 4),
    (7, 12, 4, 11),  # dense from here on
    (3, 9, 9, 100),
]


@pytest.mark.parametrize(("p", "m", "m0", "offset"), FLASH)
def test_flash1(p: int, m: int, m0: int, offset: int) -> None:
    """The output after every tile is that of attention to the keys so far."""
    q, k, v = random(2, 3, 4, p), random(2, 3, 4, m) * 3, random(2, 3, 5, m)
    cascade = verbs.load_cascade("attention_flash1")
    given = {"offset": offset}
    inputs = {"Q": q, "K": k, "V": v}
    every = interpret(cascade, inputs, {"M0": m0}, parameters=given, keep_all=True)
    close(every["AV"], attention(q, k, v, offset))
    for end in range(m0, m + 1, m0):
        so_far = attention(q, k[..., :end], v[..., :end], offset)
        close(every["O"][:, :, :, end // m0], so_far)


@pytest.mark.parametrize(("p", "m", "m0", "offset"), FLASH)
def test_flash2(p: int, m: int, m0: int, offset: int) -> None:
    q, k, v = random(2, 3, 4, p), random(2, 3, 4, m) * 3, random(2, 3, 5, m)
    cascade = verbs.load_cascade("attention_flash2")
    given = {"offset": offset}
    found = interpret(cascade, {"Q": q, "K": k, "V": v}, {"M0": m0}, parameters=given)
    close(found["AV"], attention(q, k, v, offset))
    close(found["LSE"], torch.logsumexp(scores(q, k, offset), dim=-1).numpy())


@pytest.mark.parametrize("name", ["attention_flash1", "attention_flash2"])
def test_flash_takes_one_pass(name: str) -> None:
    assert analyze(verbs.load_cascade(name)).passes.passes["M"] == 1


@pytest.mark.parametrize(
    ("m1", "m0", "p", "offset"), [(8, 16, 128, 0), (5, 7, 9, 26), (5, 7, 9, 99), (1, 12, 4, 8)]
)
def test_flash1_divides_after_every_tile(m1: int, m0: int, p: int, offset: int) -> None:
    """A division per tile and element of the output; v2 has one in all, and its LSE."""
    shapes = {"B": 2, "H": 3, "E": 16, "F": 24, "M": m1 * m0, "M1": m1, "M0": m0, "P": p}
    first, second = (
        total_counts(verbs.load_cascade(name), shapes | {"offset": offset})
        for name in ("attention_flash1", "attention_flash2")
    )
    assert first["mac"] == second["mac"]
    assert first["div"] - second["div"] == 2 * 3 * 24 * p * (m1 - 1)
    others = [sum(n for operation, n in c.items() if operation != "mac") for c in (first, second)]
    assert others[0] - others[1] == 2 * 3 * 24 * p * (m1 - 1) - 2 * (2 * 3 * p)


# Other sources of the weights ---------------------------------------------------------------------


@pytest.mark.parametrize(("p", "m"), [(6, 6), (3, 7)])
def test_fixed_weights(p: int, m: int) -> None:
    """Attention in which all of a batch has the queries and keys of one sequence."""
    q, k, v = random(3, 4, p), random(3, 4, m), random(5, 3, 2, m)
    offset = m - p
    weights = torch.softmax(scores(q, k, offset), dim=-1).numpy()
    cascade = verbs.load_cascade("attention_fixed_weights")
    found = interpret(cascade, {"A": weights.swapaxes(1, 2), "V": v})["AV"]
    every_q, every_k = (np.broadcast_to(x, (5, *x.shape)) for x in (q, k))
    close(found, attention(every_q, every_k, v, offset))


def test_fixed_weights_leave_the_product_with_values() -> None:
    shapes = {"B": 2, "H": 3, "E": 16, "F": 24, "M": 50, "P": 40}
    full = total_counts(verbs.load_cascade("attention_3pass"), shapes)
    fixed = total_counts(verbs.load_cascade("attention_fixed_weights"), shapes)
    assert fixed == {"mac": full["mac"] - 2 * 3 * 16 * 50 * 40}


def layered(p: int, m: int, layers: int) -> tuple[dict[str, Array], Array, Array]:
    """Inputs of cascades with static embeddings, and the queries and keys of these."""
    x, v = random(2, m, 5), random(2, layers, 3, 6, m)
    wq, wk = random(3, 5, 4, seed=1), random(3, 5, 4, seed=2)
    inputs = {"XP": x[:, m - p :], "XM": x, "WQ": wq, "WK": wk, "V": v}
    turned = torch.from_numpy(x)[:, None]
    q, k = ((turned @ torch.from_numpy(w)).swapaxes(-1, -2).numpy() for w in (wq, wk))
    return inputs, q[..., m - p :], k


@pytest.mark.parametrize(("p", "m", "layers"), [(6, 6, 3), (3, 7, 2), (1, 9, 1)])
def test_static_embeddings(p: int, m: int, layers: int) -> None:
    """Layer by layer, each with its own softmax of the same scores."""
    inputs, q, k = layered(p, m, layers)
    cascade = verbs.load_cascade("attention_static_embeddings")
    found = interpret(cascade, inputs, parameters={"offset": m - p})["AV"]
    for layer in range(layers):
        close(found[:, layer], attention(q, k, inputs["V"][:, layer], m - p))


def test_static_embeddings_cost_one_product_a_layer() -> None:
    cascade = verbs.load_cascade("attention_static_embeddings")
    shapes = {"B": 2, "H": 3, "D": 48, "E": 16, "F": 24, "M": 40, "P": 40}
    one, six = (total_counts(cascade, shapes | {"L": layers}) for layers in (1, 6))
    points = 40 * 41 // 2
    assert six == one | {"mac": one["mac"] + 5 * 2 * 3 * 24 * points}
    projections = 2 * 3 * 48 * 16 * (40 + 40)
    assert one["mac"] == projections + 2 * 3 * (16 + 24) * points


def test_mlp_only() -> None:
    """A token at a time through the two linear maps."""
    x, w1, w2 = random(2, 5, 4), random(4, 7), random(7, 4)
    cascade = verbs.load_cascade("mlp_only")
    found = interpret(cascade, {"X": x, "W1": w1, "W2": w2})["Y2"]
    for batch, token in np.ndindex(2, 5):
        inner = torch.relu(
            torch.nn.functional.linear(*map(torch.from_numpy, (x[batch, token], w1.T)))
        )
        close(
            found[batch, token], torch.nn.functional.linear(inner, torch.from_numpy(w2.T)).numpy()
        )


# Layers that differ -------------------------------------------------------------------------------


@pytest.mark.parametrize("standard", [[1, 0, 1, 0], [0, 0, 1], [1, 1], [0, 0]])
@pytest.mark.parametrize(("p", "m"), [(6, 6), (3, 7)])
def test_hybrid_layers(standard: list[int], p: int, m: int) -> None:
    """Queries and keys of a layer with 0 are such that reading them would show."""
    layers = len(standard)
    inputs, xq, xk = layered(p, m, layers)
    own = np.array(standard)[:, None, None, None]
    q, k = random(2, layers, 3, 4, p), random(2, layers, 3, 4, m)
    given = inputs | {"Q": np.where(own, q, 1e300), "K": np.where(own, k, -1e300)}
    cascade = verbs.load_cascade("attention_hybrid_layers")
    offset = {"offset": m - p}
    found = interpret(cascade, given, parameters=offset, tables={"standard": standard})
    for layer, chosen in enumerate(standard):
        source = (q[:, layer], k[:, layer]) if chosen else (xq, xk)
        expected = attention(*source, inputs["V"][:, layer], m - p)
        close(found["AV"][:, layer], expected)


def counted(cascade: Cascade, name: str, shapes: dict[str, int], standard: list[int]) -> int:
    """Points of an Einsum of the hybrid, the table known."""
    einsum = cascade.einsum(name)
    extents = {v: shapes[cascade.rank_of(v)] for v in iteration_variables(einsum)}
    return count(einsum.predicate, extents, Numbers(shapes, {"standard": np.array(standard)}))


def test_hybrid_layers_compute_what_their_kind_needs() -> None:
    cascade = verbs.load_cascade("attention_hybrid_layers")
    standard = [1, 0, 0, 1, 0]
    shapes = {"B": 2, "L": 5, "H": 3, "D": 8, "E": 16, "F": 24, "M": 40, "P": 40, "offset": 0}
    points = 2 * 3 * (40 * 41 // 2)
    for name in ("GM", "SN", "SD", "A"):
        assert counted(cascade, name, shapes, standard) == 2 * points
    assert counted(cascade, "QK", shapes, standard) == 2 * 16 * points
    assert counted(cascade, "OAV", shapes, standard) == 2 * 24 * points
    assert counted(cascade, "SAV", shapes, standard) == 3 * 24 * points
    assert counted(cascade, "SQK", shapes, standard) == 16 * points
    assert operation_counts(cascade, None)["AV"] == {}  # the choice is known before
