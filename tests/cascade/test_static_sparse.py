"""Masks known beforehand, against dense attention under the same mask written out in loops."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from accelsim import verbs
from accelsim.analysis import analyze
from accelsim.analysis.counts import points
from accelsim.cascade import interpret
from accelsim.errors import AccelsimError

Array = np.ndarray


def random(*shape: int, seed: int = 11) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def drawn(heads: int, queries: int, keys: int) -> tuple[Array, Array, Array]:
    """Q [2, H, 4, P], K [2, H, 4, M], V [2, H, 3, M]."""
    return (
        random(2, heads, 4, queries),
        random(2, heads, 4, keys, seed=12) * 2,
        random(2, heads, 3, keys, seed=13),
    )


def dense(q: Array, k: Array, v: Array, mask: Array) -> Array:
    """Softmax attention of torch; mask [H, P, M] is true where a key is seen."""
    scores = torch.from_numpy(np.einsum("bhep,bhem->bhpm", q, k))
    weights = torch.softmax(scores.masked_fill(torch.from_numpy(~mask), -torch.inf), -1)
    return (weights @ torch.from_numpy(v.swapaxes(2, 3))).numpy().swapaxes(2, 3)


def looped(heads: int, queries: int, keys: int, seen: Callable[[int, int, int], bool]) -> Array:
    """A mask, point by point."""
    points = [[[seen(h, p, m) for m in range(keys)] for p in range(queries)] for h in range(heads)]
    return np.array(points, np.bool_)


def kept_points(name: str, heads: int, keys: int, queries: int, **parameters: int) -> int:
    """Points of the scores that the analysis counts."""
    shapes = {"B": 1, "H": heads, "E": 1, "F": 1, "M": keys, "P": queries, "M0": 1, "M1": keys}
    cascade = verbs.load_cascade(name)
    count = points(cascade, cascade.einsum("QK"), {**shapes, **parameters})
    assert count is not None
    return count


# Neighbourhood attention, unfused ----------------------------------------------------------------


def neighbours(length: int, window: int, dilation: int) -> Array:
    """[query, key] of one axis: the window slides over each residue and stops at its ends."""
    out = np.zeros((length, length), np.bool_)
    for residue in range(dilation):
        group = list(range(residue, length, dilation))
        for n, query in enumerate(group):
            first = n - window // 2
            while first < 0:
                first += 1
            while first + window > len(group):
                first -= 1
            for key in group[first : first + window]:
                out[query, key] = True
    return out


@pytest.mark.parametrize(
    ("sizes", "windows", "dilations"),
    [
        ((1, 11), (1, 5), (1, 1)),
        ((1, 11), (1, 3), (1, 3)),
        ((5, 7), (3, 5), (1, 1)),
        ((7, 8), (3, 3), (2, 2)),
        ((4, 9), (1, 3), (3, 2)),
        ((3, 5), (3, 5), (1, 1)),
    ],
)
def test_neighbourhood(
    sizes: tuple[int, int], windows: tuple[int, int], dilations: tuple[int, int]
) -> None:
    q, k, v = drawn(2, sizes[0] * sizes[1], sizes[0] * sizes[1])
    image = [x.reshape(*x.shape[:3], *sizes).transpose(0, 1, 3, 4, 2) for x in (q, k, v)]
    cascade = verbs.load_cascade("attention_fna_unfused")
    given = dict(zip(("dilation_y", "dilation_x"), dilations, strict=True))
    shapes = dict(zip("IJ", windows, strict=True))
    inputs = dict(zip("QKV", image, strict=True))
    found = interpret(cascade, inputs, shapes, parameters=given, keep_all=True)
    axes = [neighbours(*of) for of in zip(sizes, windows, dilations, strict=True)]
    mask = np.kron(axes[0], axes[1])[None].repeat(2, axis=0)
    assert (mask.sum(axis=-1) == windows[0] * windows[1]).all()
    expected = dense(q, k, v, mask)
    close(found["AV"].transpose(0, 1, 4, 2, 3).reshape(expected.shape), expected)
    assert found["A"].shape == (2, 2, *sizes, *windows)  # n * w weights, written and read


def test_a_neighbourhood_of_all_is_dense_attention() -> None:
    q, k, v = drawn(2, 5, 5)
    image = [x[:, :, None].transpose(0, 1, 2, 4, 3) for x in (q, k, v)]
    cascade = verbs.load_cascade("attention_fna_unfused")
    found = interpret(cascade, dict(zip("QKV", image, strict=True)), {"I": 1, "J": 5})["AV"]
    close(found[:, :, 0].swapaxes(2, 3), dense(q, k, v, np.ones((2, 5, 5), np.bool_)))


def test_a_window_longer_than_its_residue_is_refused() -> None:
    image = dict(zip("QKV", (random(1, 1, 1, 7, 2),) * 3, strict=True))
    cascade = verbs.load_cascade("attention_fna_unfused")
    for window, dilation in ((9, 1), (3, 3), (5, 2)):
        shapes = {"I": 1, "J": window}
        with pytest.raises(AccelsimError, match="QK reads K where it is not defined"):
            interpret(cascade, image, shapes, parameters={"dilation_x": dilation})


def test_the_weights_of_all_windows_are_written() -> None:
    """Three sweeps over a window; per query its scores live from one to the next."""
    found = analyze(verbs.load_cascade("attention_fna_unfused"))
    assert (found.passes.passes["I"], found.passes.passes["J"]) == (3, 3)
    shapes = {"B": 1, "H": 1, "E": 8, "F": 8, "Y": 9, "X": 12, "I": 3, "J": 5}
    counted = analyze(verbs.load_cascade("attention_fna_unfused"), shapes).counted
    assert counted["mac"] == 9 * 12 * 15 * (8 + 8)


# S2-Attention ------------------------------------------------------------------------------------


def s2_mask(heads: int, queries: int, keys: int, offset: int, **given: int) -> Array:
    block, local, stride = given["block"], given["local"], given["stride"]
    step = max(1, stride // heads)

    def seen(h: int, p: int, m: int) -> bool:
        qb, kb = (p + offset) // block, m // block
        if m > p + offset:
            return False
        mine = 0 if given["homo"] else h
        return h < given["dense_heads"] or qb - kb < local or (kb + mine * step + 1) % stride == 0

    return looped(heads, queries, keys, seen)


@pytest.mark.parametrize(
    ("heads", "queries", "keys", "m0", "offset", "given"),
    [
        (4, 24, 24, 4, 0, (3, 2, 4, 0, 0)),
        (3, 25, 25, 5, 0, (4, 1, 8, 0, 0)),
        (4, 20, 20, 4, 0, (3, 1, 3, 1, 0)),
        (4, 22, 22, 2, 0, (2, 1, 5, 0, 2)),
        (5, 3, 24, 8, 21, (4, 1, 4, 0, 1)),
        (2, 12, 12, 6, 0, (64, 16, 8, 0, 0)),
    ],
)
def test_s2(
    heads: int, queries: int, keys: int, m0: int, offset: int, given: tuple[int, ...]
) -> None:
    names = ("block", "local", "stride", "homo", "dense_heads")
    parameters = dict(zip(names, given, strict=True))
    q, k, v = drawn(heads, queries, keys)
    mask = s2_mask(heads, queries, keys, offset, **parameters)
    cascade = verbs.load_cascade("attention_s2")
    inputs = {"Q": q, "K": k, "V": v}
    asked = {**parameters, "offset": offset}
    close(interpret(cascade, inputs, {"M0": m0}, parameters=asked)["AV"], dense(q, k, v, mask))
    assert kept_points("attention_s2", heads, keys, queries, **asked) == mask.sum()


def test_s2_of_stride_1_is_causal_attention() -> None:
    q, k, v = drawn(3, 10, 10)
    inputs = {"Q": q, "K": k, "V": v}
    given = {"block": 3, "local": 1, "stride": 1}
    found = interpret(verbs.load_cascade("attention_s2"), inputs, {"M0": 5}, parameters=given)
    close(found["AV"], dense(q, k, v, np.tril(np.ones((3, 10, 10), np.bool_))))


def test_the_shards_of_s2_make_up_the_context() -> None:
    """One query after 63 keys: a head reads its stripe and the last block, all heads every key."""
    given = {"block": 4, "local": 1, "stride": 4, "homo": 0, "dense_heads": 0}
    mask = s2_mask(4, 1, 64, 63, **given)
    assert mask.any(axis=0).all()
    each = [(16 // 4) * 4 + 4 * (h > 0) for h in range(4)]  # head 0 has the last block anyway
    assert mask.sum(axis=(1, 2)).tolist() == each
    assert kept_points("attention_s2", 4, 64, 1, offset=63, **given) == sum(each)


@pytest.mark.parametrize(
    ("stride", "local", "bound"),
    [(8, 16, 7.2), (16, 16, 13.0), (16, 1, 15.8), (32, 1, 31.1), (64, 1, 60.3)],
)
def test_s2_block_bounds_at_128k(stride: int, local: int, bound: float) -> None:
    """Causal blocks over kept blocks of 64 keys, 32 heads; a block stands for one position."""
    blocks = 131072 // 64
    kept = kept_points("attention_s2", 32, blocks, blocks, block=1, stride=stride, local=local)
    assert round(32 * blocks * (blocks + 1) / 2 / kept, 1) == bound


def test_s2_at_128k_in_single_keys() -> None:
    """The same in points, exactly; the diagonal blocks are causal inside."""
    n, block = 131072, 64
    blocks = n // block
    kept = kept_points("attention_s2", 32, blocks, blocks, block=1)
    whole = (kept - 32 * blocks) * block**2 + 32 * blocks * (block * (block + 1) // 2)
    assert kept_points("attention_s2", 32, n, n) == whole


# SinkLoRA ----------------------------------------------------------------------------------------


def shifted_groups(q: Array, k: Array, v: Array, ratio: int) -> Array:
    """Half of the heads rolled by half a group; causal in each group; rolled back."""
    heads, length = q.shape[1], q.shape[3]
    group = length // ratio
    rolled = [torch.from_numpy(x).clone() for x in (q, k, v)]
    for x in rolled:
        x[:, heads // 2 :] = x[:, heads // 2 :].roll(-(group // 2), dims=-1)
    out = torch.zeros_like(rolled[2])
    for first in range(0, length, group):
        q1, k1, v1 = (x[..., first : first + group] for x in rolled)
        scores = q1.transpose(2, 3) @ k1
        later = torch.ones_like(scores, dtype=torch.bool).triu(1)
        weights = torch.softmax(scores.masked_fill(later, -torch.inf), -1)
        out[..., first : first + group] = (weights @ v1.transpose(2, 3)).transpose(2, 3)
    out[:, heads // 2 :] = out[:, heads // 2 :].roll(group // 2, dims=-1)
    return out.numpy()


@pytest.mark.parametrize(
    ("heads", "length", "ratio", "m0"),
    [(4, 16, 4, 4), (2, 24, 4, 3), (3, 20, 4, 10), (4, 22, 4, 2), (5, 21, 3, 7), (2, 12, 1, 4)],
)
def test_shifted_groups(heads: int, length: int, ratio: int, m0: int) -> None:
    """As published; lengths that groups do not divide end in a short one."""
    q, k, v = drawn(heads, length, length)
    given = {"ratio": ratio, "sinks": 0, "strict": 0}
    cascade = verbs.load_cascade("attention_sinklora")
    found = interpret(cascade, {"Q": q, "K": k, "V": v}, {"M0": m0}, parameters=given)["AV"]
    close(found, shifted_groups(q, k, v, ratio))


def sinklora_mask(heads: int, length: int, given: dict[str, int]) -> Array:
    group = length // given["ratio"]
    first = heads // 2 + (heads - heads // 2) * given["unshifted"] // 100

    def seen(h: int, p: int, m: int) -> bool:
        shift = group // 2 if h >= first else 0
        own, other = (p - shift) % length, (m - shift) % length
        if m <= p and m < given["sinks"]:
            return True
        if given["strict"] and m > p:
            return False
        return own // group == other // group and other <= own

    return looped(heads, length, length, seen)


@pytest.mark.parametrize(("unshifted", "sinks"), [(0, 4), (50, 2), (100, 1), (34, 0)])
@pytest.mark.parametrize("strict", [0, 1])
def test_sinklora(unshifted: int, sinks: int, strict: int) -> None:
    for heads, length, ratio in ((6, 16, 4), (5, 14, 4), (1, 9, 2)):
        q, k, v = drawn(heads, length, length)
        given = {"ratio": ratio, "unshifted": unshifted, "sinks": sinks, "strict": strict}
        cascade = verbs.load_cascade("attention_sinklora")
        inputs = {"Q": q, "K": k, "V": v}
        found = interpret(cascade, inputs, {"M0": length}, parameters=given)["AV"]
        mask = sinklora_mask(heads, length, given)
        close(found, dense(q, k, v, mask))
        assert kept_points("attention_sinklora", heads, length, length, **given) == mask.sum()
        later = np.triu(mask, 1).sum()
        wraps = heads - (heads // 2 + (heads - heads // 2) * unshifted // 100)
        half = length // ratio // 2
        if length % ratio == 0:  # (Gs/2)^2 future keys in each shifted head
            assert later == (0 if strict else wraps * half * half)


def test_the_published_shift_sees_future_keys() -> None:
    """The last key changes what the first query gets, in the shifted heads; not when strict."""
    q, k, v = drawn(4, 16, 16)
    cascade = verbs.load_cascade("attention_sinklora")
    other = k.copy()
    other[..., 15] += 1
    for strict, changed in ((0, [False, False, True, True]), (1, [False] * 4)):
        outs = [
            interpret(
                cascade,
                {"Q": q, "K": x, "V": v},
                {"M0": 4},
                parameters={"strict": strict, "sinks": 2},
            )["AV"]
            for x in (k, other)
        ]
        differs = np.abs(outs[0] - outs[1])[0, :, :, 0].max(axis=1) > 1e-6
        assert differs.tolist() == changed


def test_shifted_groups_at_128k_are_a_quarter() -> None:
    n = 131072
    given = {"sinks": 0, "strict": 0}
    assert kept_points("attention_sinklora", 32, n, n, **given) == 32 * n * (n // 4 + 1) // 2


# PAROAttention -----------------------------------------------------------------------------------

ORDERS = list(permutations(range(3)))


def paro(sizes: tuple[int, ...], block: int, m0: int, mask: Array) -> tuple[Array, Array]:
    """What the cascade gives for six heads, one for each order, and the same done by hand."""
    n = int(np.prod(sizes))
    q, k, v = drawn(6, n, n)
    tables = {"dims": np.array(sizes), "axes": np.array(ORDERS), "mask": mask}
    cascade = verbs.load_cascade("attention_paro")
    found = interpret(
        cascade, {"Q": q, "K": k, "V": v}, {"M0": m0}, parameters={"block": block}, tables=tables
    )["AV"]
    expected = np.zeros_like(found)
    for h, order in enumerate(ORDERS):
        tokens = np.arange(n).reshape(sizes).transpose(order).ravel()
        q1, k1, v1 = (x[:, h : h + 1][..., tokens] for x in (q, k, v))
        kept = np.kron(mask[h], np.ones((block, block)))[:n, :n] > 0
        out = dense(q1, k1, v1, kept[None])
        for position, token in enumerate(tokens):
            expected[:, h, :, token] = out[:, 0, :, position]
    return found, expected


@pytest.mark.parametrize(
    ("sizes", "block", "m0"),
    [((2, 3, 4), 4, 6), ((3, 2, 5), 4, 10), ((1, 5, 3), 5, 5), ((4, 1, 1), 3, 1)],
)
def test_paro(sizes: tuple[int, ...], block: int, m0: int) -> None:
    blocks = -(-int(np.prod(sizes)) // block)
    mask = np.random.default_rng(2).random((6, blocks, blocks)) < 0.4
    mask |= np.eye(blocks, dtype=np.bool_)
    close(*paro(sizes, block, m0, mask))


def test_paro_with_all_blocks_is_dense_attention() -> None:
    found, _ = paro((2, 3, 4), 4, 4, np.ones((6, 6, 6), np.bool_))
    close(found, dense(*drawn(6, 24, 24), np.ones((6, 24, 24), np.bool_)))


# PrFlashAttention --------------------------------------------------------------------------------


def draw(*values: int) -> int:
    """The mixing of splitmix64, one value after another, in whole numbers of Python."""
    state, full = 0, 2**64 - 1
    for value in values:
        state = (state ^ (value & full)) + 0x9E3779B97F4A7C15 & full
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & full
        state = (state ^ state >> 27) * 0x94D049BB133111EB & full
        state ^= state >> 31
    return state >> 32


def prflash_mask(heads: int, length: int, block: int, c: Fraction, seed: int) -> Array:
    def seen(h: int, p: int, m: int) -> bool:
        p1, m1 = p // block, m // block
        share = min(Fraction(1), c / (1 + abs(p1 - m1)))
        return m <= p and (p1 == m1 or draw(seed, h, p1, m1) < share * 2**32)

    return looped(heads, length, length, seen)


@pytest.mark.parametrize(
    ("heads", "length", "block", "m0", "c", "seed"),
    [
        (3, 24, 2, 4, Fraction(1), 0),
        (2, 21, 4, 7, Fraction(5, 2), 7),
        (2, 18, 1, 6, Fraction(1, 3), -5),
        (1, 5, 8, 5, Fraction(0), 1),
    ],
)
def test_prflash(heads: int, length: int, block: int, m0: int, c: Fraction, seed: int) -> None:
    q, k, v = drawn(heads, length, length)
    given = {"block": block, "num": c.numerator, "den": c.denominator, "seed": seed}
    cascade = verbs.load_cascade("attention_prflash")
    found = interpret(cascade, {"Q": q, "K": k, "V": v}, {"M0": m0}, parameters=given)["AV"]
    mask = prflash_mask(heads, length, block, c, seed)
    close(found, dense(q, k, v, mask))
    assert kept_points("attention_prflash", heads, length, length, **given) == mask.sum()


def test_prflash_that_keeps_everything_is_causal_attention() -> None:
    q, k, v = drawn(2, 15, 15)
    inputs = {"Q": q, "K": k, "V": v}
    given = {"block": 2, "num": 2**40}
    found = interpret(verbs.load_cascade("attention_prflash"), inputs, {"M0": 5}, parameters=given)
    close(found["AV"], dense(q, k, v, np.tril(np.ones((2, 15, 15), np.bool_))))


@pytest.mark.parametrize(("num", "den"), [(1, 1), (4, 1), (3, 2)])
def test_prflash_keeps_the_mean_of_pi(num: int, den: int) -> None:
    """Within four standard deviations, and not the same blocks for another seed."""
    blocks, heads = 128, 8
    shares = [min(1.0, num / den / (1 + d)) for d in range(blocks)]
    many = [heads * (blocks - d) for d in range(blocks)]
    mean = many[0] + sum(n * s for n, s in zip(many[1:], shares[1:], strict=True))
    spread = sum(n * s * (1 - s) for n, s in zip(many[1:], shares[1:], strict=True)) ** 0.5
    given = {"block": 1, "num": num, "den": den}
    counts = [
        kept_points("attention_prflash", heads, blocks, blocks, seed=seed, **given)
        for seed in range(5)
    ]
    assert max(abs(count - mean) for count in counts) < 4 * spread
    assert len(set(counts)) > 1


@pytest.mark.parametrize("name", ["s2", "sinklora", "paro", "prflash"])
def test_one_pass_over_the_keys(name: str) -> None:
    """Whatever is left out, a query carries one maximum, one sum and one row of values."""
    found = analyze(verbs.load_cascade(f"attention_{name}"))
    assert found.passes.passes["M"] == 1
    assert [found.footprints[t]["M"] for t in ("RM", "RD", "RNV")] == ["1"] * 3


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("attention_1pass_window", {"window": 0}),
        ("attention_s2", {"block": 2, "local": 0, "stride": 64}),
    ],
)
def test_a_query_without_keys_is_refused(name: str, given: dict[str, int]) -> None:
    q, k, v = drawn(2, 8, 8)
    with pytest.raises(AccelsimError, match="AV is not a number"):
        interpret(verbs.load_cascade(name), {"Q": q, "K": k, "V": v}, {"M0": 4}, parameters=given)


@pytest.mark.parametrize(
    ("name", "given"),
    [("attention_s2", {"block": 0}), ("attention_sinklora", {"ratio": 9})],
)
def test_a_block_of_nothing_is_refused(name: str, given: dict[str, int]) -> None:
    q, k, v = drawn(2, 8, 8)
    with pytest.raises(AccelsimError, match="division by 0"):
        interpret(verbs.load_cascade(name), {"Q": q, "K": k, "V": v}, {"M0": 4}, parameters=given)


GOOD: dict[str, Any] = {
    "dims": [2, 2, 3],
    "axes": [[0, 1, 2], [2, 0, 1]],
    "mask": np.ones((2, 3, 3), np.int64),
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"axes": [[0, 1, 2], [2, 2, 2]]}, "QK reads QO where it is not defined"),  # no permutation
        ({"axes": [[0, 1, 2], [2, 0, 0]]}, "KO reads K where it is not defined"),
        ({"dims": [2, 2, 2]}, "not defined"),  # of other tokens
        ({"dims": [2, 3, 3]}, "not defined"),
        ({"axes": [[0, 1, 2], [2, 0, 3]]}, "table dims is read at 3 on axis 0"),
        ({"axes": [[0, 1, 2], [2, 0, -1]]}, "table dims is read at -1 on axis 0"),
        ({"mask": np.ones((2, 3, 2), np.int64)}, "table mask is read at 2 on axis 2"),
        ({"mask": np.ones((3, 3), np.int64)}, "table mask: expected whole numbers with axes H, PB"),
        ({"mask": np.ones((3, 3, 3), np.int64)}, "table mask has shape 3 in rank H; 2 before"),
        ({"mask": np.full((2, 3, 3), 0.5)}, "table mask: expected whole numbers"),
        ({"mask": np.ones((2, 3, 3), np.int64) * [[1], [1], [0]]}, "AVO is not a number"),
        ({"kept": np.ones((2, 3, 3), np.int64)}, "kept is no table"),
    ],
)
def test_wrong_tables_are_refused(wrong: dict[str, Any], message: str) -> None:
    q, k, v = drawn(2, 12, 12)
    cascade = verbs.load_cascade("attention_paro")
    with pytest.raises(AccelsimError, match=message):
        interpret(
            cascade,
            {"Q": q, "K": k, "V": v},
            {"M0": 4},
            parameters={"block": 4},
            tables={**GOOD, **wrong},
        )
