"""Linear attention against its weights written out as a matrix; a state of fixed size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from accelsim import verbs
from accelsim.analysis import analyze
from accelsim.cascade import interpret
from accelsim.errors import AccelsimError

Array = np.ndarray


def random(*shape: int, seed: int = 5) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def qkv(heads: int, length: int, width: int, values: int) -> tuple[Array, Array, Array]:
    """Queries, keys [2, heads, length, width] and values, all different."""
    shape = (2, heads, length)
    return random(*shape, width), random(*shape, width, seed=6), random(*shape, values, seed=7)


def close(found: Array | float, expected: Array | float) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def decayed(q: Array, k: Array, v: Array) -> Array:
    """((Q K^T) * lambda^(p-m) where m <= p) V, one row after another."""
    heads, length = q.shape[1:3]
    out = np.zeros((*q.shape[:3], v.shape[3]))
    for h in range(heads):
        lam = np.exp(-(2.0 ** (-8 * (h + 1) / heads)))
        for p in range(length):
            for m in range(p + 1):
                score = (q[:, h, p] * k[:, h, m]).sum(axis=-1) * lam ** (p - m)
                out[:, h, p] += score[:, None] * v[:, h, m]
    return out


@pytest.mark.parametrize(("heads", "length"), [(3, 12), (1, 1), (4, 11), (2, 7)])
def test_lightning1(heads: int, length: int) -> None:
    q, k, v = qkv(heads, length, 4, 3)
    inputs = {name: x.swapaxes(2, 3) for name, x in zip("QKV", (q, k, v), strict=True)}
    found = interpret(verbs.load_cascade("linear_lightning1"), inputs)["AV"]
    close(found.swapaxes(2, 3), decayed(q, k, v))


@pytest.mark.parametrize(("length", "block"), [(10, 4), (9, 4), (11, 8), (3, 8)])
def test_lightning2_with_a_short_last_block(length: int, block: int) -> None:
    """A cut rank has full blocks only; what fills the last one up changes nothing before it."""
    q, k, v = qkv(3, length, 5, 4)
    blocks = -(-length // block)
    extra = blocks * block - length
    filled = [np.concatenate([x, random(2, 3, extra, x.shape[3]) * 9], 2) for x in (q, k, v)]
    cut = [x.reshape(2, 3, blocks, block, -1) for x in filled]
    cascade = verbs.load_cascade("linear_lightning2")
    found = interpret(cascade, dict(zip("QKV", cut, strict=True)))["O"]
    found = found.reshape(2, 3, blocks * block, 4)
    close(found[:, :, :length], decayed(q, k, v))
    # The same numbers as the left product, which knows no blocks.
    whole = {name: x.swapaxes(2, 3) for name, x in zip("QKV", filled, strict=True)}
    left = interpret(verbs.load_cascade("linear_lightning1"), whole)["AV"]
    close(found, left.swapaxes(2, 3))


@pytest.mark.parametrize(("heads", "length", "width"), [(2, 9, 4), (3, 1, 2), (1, 13, 3)])
def test_hedgehog(heads: int, length: int, width: int) -> None:
    q, k, v = qkv(heads, length, width, 5)
    w = random(heads, width, width)
    found = interpret(verbs.load_cascade("linear_hedgehog"), {"Q": q, "K": k, "V": v, "W": w})

    def phi(x: Array) -> Array:
        y = np.einsum("hre,bhme->bhmr", w, x)
        return np.concatenate([np.exp(y), np.exp(-y)], -1)

    weights = np.tril(np.einsum("bhpr,bhmr->bhpm", phi(q), phi(k)))
    close(found["AV"], weights / weights.sum(axis=-1, keepdims=True) @ v)


def test_hedgehog_does_not_overflow() -> None:
    """Features up to exp(900): the weights are a softmax over keys and features of W q + W k."""
    q, k, v = qkv(2, 9, 2, 3)
    q, k = (x * 20 + np.array([850, 0]) for x in (q, k))
    cascade = verbs.load_cascade("linear_hedgehog")
    w = np.broadcast_to(np.eye(2), (2, 2, 2))
    found = interpret(cascade, {"Q": q, "K": k, "V": v, "W": w}, keep_all=True)
    both = [torch.from_numpy(np.concatenate([x, -x], -1)) for x in (q, k)]
    logs = both[0][:, :, :, None] + both[1][:, :, None]  # [b, h, p, m, r]
    later = torch.ones(9, 9, dtype=torch.bool).triu(1)
    logs = logs.masked_fill(later[:, :, None], -torch.inf)
    weights = torch.softmax(logs.flatten(3), -1).reshape(logs.shape).sum(-1)
    assert torch.exp(both[1]).isinf().any()
    assert (found["PRM"][:, :, 1:] < 1).any()
    close(found["AV"], (weights @ torch.from_numpy(v)).numpy())
    # All features of a key have one bound; what lies exp(745) below it is 0, and may be all.
    with pytest.raises(AccelsimError, match="AV is not a number"):
        interpret(cascade, {"Q": q[..., ::-1], "K": k, "V": v, "W": w})


def rotated(x: Array, width: int) -> Array:
    """Pairs as complex numbers; the first half of them turned by the row, the second the column."""
    pairs = x.shape[-1] // 2
    theta = 1 / 10000.0 ** np.linspace(0, 1, pairs // 2)
    place = np.arange(x.shape[2])
    angle = np.concatenate([np.outer(place // width, theta), np.outer(place % width, theta)], -1)
    turned = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)
    return np.stack([turned.real, turned.imag], -1).reshape(x.shape)


def convolved(v: Array, kernel: Array, rows: int) -> Array:
    """Each channel by itself, zeros around: v [B, H, N, F], kernel [B, H, F, I, J]."""
    batch, heads, length, wide = v.shape
    image = torch.from_numpy(v.swapaxes(2, 3).reshape(1, -1, rows, length // rows))
    own = torch.from_numpy(kernel.reshape(-1, 1, *kernel.shape[3:]))
    around = (kernel.shape[3] // 2, kernel.shape[4] // 2)
    out = functional.conv2d(image, own, padding=around, groups=own.shape[0])
    return out.reshape(batch, heads, wide, length).numpy().swapaxes(2, 3)


IMAGES = [(3, 5, 8), (4, 4, 16), (1, 7, 4), (6, 2, 12)]


@pytest.mark.parametrize(("rows", "columns", "width"), IMAGES)
@pytest.mark.parametrize("rope", [0, 1])
def test_mala(rows: int, columns: int, width: int, rope: int) -> None:
    length = rows * columns
    q, k, v = qkv(2, length, width, 3)
    gate, kernel, bias = random(2, 2, length, 3), random(2, 3, 5, 5), random(2, 3)
    inputs = {"Q": q, "K": k, "V": v, "G": gate, "W": kernel, "WB": bias}
    given = {"width": columns, "rope": rope}
    cascade = verbs.load_cascade("linear_mala")
    found = interpret(cascade, inputs, parameters=given, keep_all=True)

    features = [functional.elu(torch.from_numpy(x)).numpy() + 1 for x in (q, k)]
    c = width**-0.5
    z = c * np.einsum("bhpe,bhe->bhp", features[0], features[1].mean(axis=2))[..., None]
    if rope:
        features = [rotated(x, columns) for x in features]
    weights = c / length * (1 + 1 / z) * (features[0] @ features[1].swapaxes(2, 3)) - z / length
    close(found["AV"], weights @ v)
    lepe = convolved(v, np.broadcast_to(kernel, (2, *kernel.shape)), rows) + bias[:, None]
    close(found["O"], (weights @ v + lepe) * gate)
    ones = {**inputs, "V": np.ones_like(v)}
    sums = interpret(cascade, ones, parameters=given, keep_all=True)["AV"]
    close(sums[..., 0], weights.sum(axis=-1))
    if not rope:
        close(sums, np.ones_like(v))


def test_mala_rotation_is_relative() -> None:
    """Score of two places: the same for all pairs that are as far apart in rows and columns."""
    q, k = random(1, 1, 1, 8), random(1, 1, 1, 8, seed=6)
    q, k = (np.repeat(x, 12, axis=2) for x in (q, k))
    inputs = {"Q": q, "K": k, "V": k, "G": q, "W": np.zeros((1, 8, 1, 1)), "WB": np.zeros((1, 8))}
    cascade = verbs.load_cascade("linear_mala")
    found = interpret(cascade, inputs, parameters={"width": 4}, keep_all=True)
    scores = (found["QR"] @ found["KR"].swapaxes(2, 3))[0, 0]
    seen: dict[tuple[int, int], float] = {}
    for p in range(12):
        for m in range(12):
            apart = (p // 4 - m // 4, p % 4 - m % 4)
            close(scores[p, m], seen.setdefault(apart, scores[p, m]))
    assert np.ptp(scores) > 0.1


@pytest.mark.parametrize(("rows", "columns", "width"), IMAGES)
def test_inline(rows: int, columns: int, width: int) -> None:
    length, heads, wide = rows * columns, 2, 4
    q, k, v = qkv(heads, length, width, wide)
    x = random(2, heads, length, wide, seed=8)
    w1, b1 = random(heads, wide, wide), random(heads, wide)
    w2, b2 = random(heads, wide, 3, 3, wide), random(heads, wide, 3, 3)
    inputs = {"X": x, "Q": q, "K": k, "V": v, "W1": w1, "B1": b1, "W2": w2, "B2": b2}
    cascade = verbs.load_cascade("linear_inline")
    given = {"width": columns}
    found = interpret(cascade, inputs, parameters=given, keep_all=True)

    c = width**-0.5
    scores = q @ k.swapaxes(2, 3)
    weights = c / length * scores + (1 - c / length * scores.sum(-1, keepdims=True)) / length
    close(found["AV"], weights @ v)
    # The two layers as in its code: convolutions of width 1, a group for each head.
    wanted = [torch.from_numpy(a) for a in (x.mean(axis=2), w1, b1, w2, b2)]
    mean = wanted[0].reshape(2, heads * wide, 1)
    hidden = functional.conv1d(mean, wanted[1].reshape(-1, wide, 1), wanted[2].flatten(), groups=2)
    hidden = functional.gelu(hidden, approximate="tanh")
    kernel = functional.conv1d(
        hidden, wanted[3].reshape(-1, wide, 1), wanted[4].flatten(), groups=heads
    )
    kernel = kernel.reshape(2, heads, wide, 3, 3)
    close(found["W"], kernel.numpy())
    close(found["O"], weights @ v + convolved(v, kernel.numpy(), rows))
    sums = interpret(cascade, {**inputs, "V": np.ones_like(v)}, parameters=given, keep_all=True)
    close(sums["AV"], np.ones_like(v))


STATES = [
    ("linear_lightning2", "T", {"KV": "1"}),
    ("linear_hedgehog", "M", {"KVU": "1", "KVD": "1", "ZU": "1", "ZD": "1", "RM": "1"}),
    ("linear_mala", "M", {"KV": None, "KM": None, "VM": None}),
    ("linear_inline", "M", {"KV": None, "KM": None, "VM": None, "XM": None}),
]


@pytest.mark.parametrize(("name", "positions", "states"), STATES)
def test_what_is_carried_has_a_fixed_size(
    name: str, positions: str, states: dict[str, str | None]
) -> None:
    """One coordinate of the positions, or no rank of them at all; one pass over them."""
    found = analyze(verbs.load_cascade(name))
    assert found.passes.passes[positions] == 1
    for state, live in states.items():
        assert found.footprints[state].get(positions) == live
        ranks = found.cascade.tensor(state).ranks
        assert live is not None or not {positions, "P"} & set(ranks)
        assert not {"M", "P", "T", "T1"} & set(found.footprint_totals[state].split(" * "))


def test_the_work_of_the_left_product_grows_with_the_square() -> None:
    def macs(name: str, **shapes: int) -> int:
        every = {"B": 1, "H": 2, "E": 4, "F": 4, **shapes}
        return analyze(verbs.load_cascade(name), every).counted["mac"]

    n = 64
    assert macs("linear_lightning1", M=n, P=n) == 2 * (n * (n + 1) // 2) * (4 + 4)
    for name in ("linear_hedgehog", "linear_lightning2"):
        ranks = [
            {"M": m} if "hedge" in name else {"T1": m // 8, "T0": 8, "I": 8} for m in (n, 4 * n)
        ]
        assert macs(name, **ranks[1]) == 4 * macs(name, **ranks[0])


def test_what_is_refused() -> None:
    cascade = verbs.load_cascade("linear_mala")
    q, k, v = qkv(1, 6, 4, 3)
    inputs = {"Q": q, "K": k, "V": v, "G": v, "W": random(1, 3, 5, 5), "WB": random(1, 3)}
    with pytest.raises(AccelsimError, match="division by 0"):
        interpret(cascade, inputs, parameters={"width": 0})
    with pytest.raises(AccelsimError, match="LEPE reads V where it is not defined"):
        interpret(cascade, inputs, parameters={"width": 4})  # 6 positions are no 4 columns
    odd = {**inputs, "Q": q[..., :3], "K": k[..., :3]}
    with pytest.raises(AccelsimError, match="QR reads PQ where it is not defined"):
        interpret(cascade, odd, parameters={"width": 3})
