"""Cascades of real kernels, against dense attention in torch and sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accelsim import verbs
from accelsim.analysis import passes
from accelsim.cascade import interpret
from accelsim.errors import AccelsimError

Array = np.ndarray


def random(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def dense(q: Array, k: Array, v: Array, seen: Array) -> tuple[Array, Array]:
    """Of one head: Q [P, E], K [M, E], V [M, F], a mask [P, M]; output [P, F], its LSE [P]."""
    scores = torch.from_numpy(q) @ torch.from_numpy(k).T
    scores = scores.masked_fill(torch.from_numpy(~seen), -torch.inf)
    out = torch.softmax(scores, -1) @ torch.from_numpy(v)
    return out.numpy(), torch.logsumexp(scores, -1).numpy()


def drawn(heads: int, groups: int, p: int, m: int) -> dict[str, Array]:
    """Q [2, H, 4, P], K [2, G, 4, M], V [2, G, 3, M]."""
    return {
        "Q": random(2, heads, 4, p, seed=1),
        "K": random(2, groups, 4, m, seed=2) * 2,
        "V": random(2, groups, 3, m, seed=3),
    }


def by_head(given: dict[str, Array], seen: Array) -> tuple[Array, Array]:
    """Outputs [2, H, F, P] and LSE [2, H, P]; seen: [H, P, M]. Head h has group h * G // H."""
    q, k, v = (given[name].swapaxes(2, 3) for name in "QKV")
    heads, groups = q.shape[1], k.shape[1]
    found = [
        [dense(q[b, h], k[b, h * groups // heads], v[b, h * groups // heads], seen[h])
         for h in range(heads)]
        for b in range(2)
    ]  # fmt: skip
    out = np.array([[out.T for out, _ in row] for row in found])
    return out, np.array([[lse for _, lse in row] for row in found])


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2), (5, 3), (3, 1)])
@pytest.mark.parametrize(
    ("p", "m", "m0", "parameters"),
    [
        (5, 8, 4, {"offset": 7}),  # all keys
        (8, 8, 2, {}),
        (3, 12, 4, {"offset": 9}),
        (6, 12, 3, {"offset": 2}),
        (7, 12, 4, {"offset": 5, "window": 3}),
        (12, 12, 2, {"window": 1}),
        (9, 12, 3, {"offset": 3, "window": 4, "sinks": 2}),
        (1, 12, 3, {"offset": 11, "window": 2, "sinks": 5}),
    ],
)
def test_grouped_window(
    heads: int, groups: int, p: int, m: int, m0: int, parameters: dict[str, int]
) -> None:
    at = np.arange(p)[:, None] + parameters.get("offset", 0)
    key = np.arange(m)[None, :]
    near = (at - key < parameters.get("window", 1 << 60)) | (key < parameters.get("sinks", 0))
    seen = np.broadcast_to((key <= at) & near, (heads, p, m))
    given = drawn(heads, groups, p, m)
    cascade = verbs.load_cascade("attention_grouped_window")
    found = interpret(cascade, given, {"M0": m0}, parameters=parameters)
    out, lse = by_head(given, seen)
    close(found["AV"], out)
    close(found["LSE"], lse)
    turned = {**given, **{name: given[name][..., ::-1] for name in "KV"}}
    found = interpret(cascade, turned, {"M0": m0}, parameters={**parameters, "from_last": 1})
    close(found["AV"], out)
    close(found["LSE"], lse)


@pytest.mark.parametrize(
    ("heads", "groups", "parts", "pages", "page"),
    [(4, 2, 1, 5, 3), (6, 6, 3, 2, 4), (6, 1, 4, 3, 2), (5, 2, 2, 1, 6), (1, 1, 1, 1, 1)],
)
def test_paged_splitk(heads: int, groups: int, parts: int, pages: int, page: int) -> None:
    """Sequences of all lengths that a page may end at, their pages anywhere in the pool."""
    rng = np.random.default_rng(7)
    most = parts * pages * page
    lengths = np.array([most, 1, *rng.integers(1, most + 1, 3), max(1, most - page)])
    number = len(lengths)
    pool = number * parts * pages + 3
    table = rng.permutation(pool)[: number * parts * pages].reshape(number, -1)
    used = np.arange(parts * pages) * page < lengths[:, None]
    q = random(number, heads, 4, seed=1)
    k, v = random(pool, page, groups, 4, seed=2) * 2, random(pool, page, groups, 3, seed=3)
    found = interpret(
        verbs.load_cascade("attention_paged_splitk"),
        {"Q": q, "K": k, "V": v},
        {"M2": parts, "M1": pages, "M0": page},
        tables={"pages": np.where(used, table, -1), "lengths": lengths},
    )
    for b, h in np.ndindex(number, heads):
        own, group = table[b][used[b]], h * groups // heads
        keys, values = (
            np.concatenate([x[one, :, group] for one in own])[: lengths[b]] for x in (k, v)
        )
        out, lse = dense(q[b, h][None], keys, values, np.ones((1, lengths[b]), np.bool_))
        close(found["AV"][b, h], out[0])
        close(found["LSE"][b, h], lse[0])


@pytest.mark.parametrize("offset", [None, 0, 6])
@pytest.mark.parametrize(
    ("heads", "groups", "p0", "m0"), [(4, 2, 3, 4), (3, 3, 4, 2), (5, 1, 6, 3), (2, 1, 1, 12)]
)
def test_block_list(heads: int, groups: int, p0: int, m0: int, offset: int | None) -> None:
    """Lists of any length and order; under the mask with block 0, so that no query is alone."""
    p, m = 12, 24
    rng = np.random.default_rng(9)
    number = m // m0
    lists = [
        [rng.permutation(number)[: rng.integers(1, number + 1)].tolist() for _ in range(p // p0)]
        for _ in range(heads)
    ]
    if offset is not None:
        lists = [[own if 0 in own else [*own, 0] for own in of] for of in lists]
    longest = max(len(own) for of in lists for own in of)
    blocks = [[[*own, *[-1] * (longest - len(own))] for own in of] for of in lists]
    seen = np.zeros((heads, p, m), np.bool_)
    for h, i in np.ndindex(heads, p // p0):
        for j in lists[h][i]:
            seen[h, i * p0 : i * p0 + p0, j * m0 : j * m0 + m0] = True
    if offset is not None:
        seen &= np.arange(m) <= np.arange(p)[:, None] + offset
    given = drawn(heads, groups, p, m)
    found = interpret(
        verbs.load_cascade("attention_block_list"),
        given,
        {"M0": m0, "P0": p0},
        parameters={"causal": int(offset is not None), "offset": offset or 0},
        tables={"blocks": blocks, "counts": [[len(own) for own in of] for of in lists]},
    )
    out, lse = by_head(given, seen)
    close(found["AV"].reshape(out.shape), out)
    close(found["LSE"].reshape(lse.shape), lse)


@pytest.mark.parametrize(
    ("heads", "length", "block"), [(3, 12, 4), (2, 8, 8), (1, 6, 1), (4, 9, 3)]
)
def test_linear_decay(heads: int, length: int, block: int) -> None:
    """O_t = sum over s <= t of exp(-slope (t - s)) (q_t . k_s) v_s, position by position."""
    slope = np.abs(random(heads, seed=4))
    q, k = random(2, heads, length, 5, seed=1), random(2, heads, length, 5, seed=2)
    v = random(2, heads, length, 3, seed=3)
    expected = np.zeros(v.shape)
    for b, h, t in np.ndindex(2, heads, length):
        for s in range(t + 1):
            weight = (q[b, h, t] * k[b, h, s]).sum() * np.exp(-slope[h] * (t - s))
            expected[b, h, t] += weight * v[b, h, s]
    cut = [x.reshape(2, heads, length // block, block, -1) for x in (q, k, v)]
    given = {"SLOPE": slope, **dict(zip("QKV", cut, strict=True))}
    found = interpret(verbs.load_cascade("linear_decay"), given)["O"]
    close(found.reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("attention_grouped_window", "M"),
        ("attention_paged_splitk", "M"),
        ("attention_block_list", "J"),
    ],
)
def test_one_pass_over_the_keys(name: str, rank: str) -> None:
    assert passes(verbs.load_cascade(name)).passes[rank] == 1


def test_a_query_without_a_key_has_no_softmax() -> None:
    given = drawn(2, 1, 4, 8)
    cascade = verbs.load_cascade("attention_grouped_window")
    with pytest.raises(AccelsimError, match="every row of a softmax needs a finite score"):
        interpret(cascade, given, {"M0": 4}, parameters={"offset": 8, "window": 2})
