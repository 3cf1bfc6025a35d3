"""Heads that share keys and values, each method against a definition that it did not come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accelsim import verbs
from accelsim.analysis.bounds import compulsory_words
from accelsim.analysis.counts import operation_counts, touched
from accelsim.analysis.passes import passes
from accelsim.cascade import interpret
from accelsim.errors import AccelsimError

Array = np.ndarray


def random(*shape: int, seed: int = 3) -> Array:
    return np.random.default_rng(seed + sum(shape)).normal(size=shape)


def close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def attention(q: Array, k: Array, v: Array, offset: int | None = None, scale: float = 1.0) -> Array:
    """Of Q [..., E, P], K [..., E, M] and V [..., F, M]; no mask without an offset."""
    tq, tk, tv = (torch.from_numpy(x.swapaxes(-1, -2).copy()) for x in (q, k, v))
    p, m = np.ogrid[: q.shape[-1], : k.shape[-1]]
    seen = torch.from_numpy(m <= p + (k.shape[-1] if offset is None else offset))
    found = torch.nn.functional.scaled_dot_product_attention(tq, tk, tv, seen, scale=scale)
    return np.asarray(found.swapaxes(-1, -2))


def turned(x: Array, start: int) -> Array:
    """RoPE of [..., I, 2, P], by complex numbers; the first stands at position `start`."""
    pairs, number = x.shape[-3], x.shape[-1]
    angle = 10000.0 ** (-np.arange(pairs) / pairs)[:, None] * (np.arange(number) + start)
    found = (x[..., 0, :] + 1j * x[..., 1, :]) * np.exp(1j * angle)
    return np.stack([found.real, found.imag], axis=-2)


def flat(x: Array, axis: int, ranks: int = 2) -> Array:
    """Some ranks from `axis` on as one."""
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + ranks :])


# SQA ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("heads", "groups"), [(8, 8), (4, 4), (8, 4), (3, 3), (5, 2)])
def test_fewer_query_heads_scale_both_products(heads: int, groups: int) -> None:
    """sSQA (half the heads), xSQA (a quarter) and odd numbers, against 16 heads."""
    cascade = verbs.load_cascade("attention_grouped")
    shapes = {"B": 2, "E": 16, "F": 24, "M": 64, "M1": 4, "M0": 16, "P": 40, "G": groups}
    full, fewer = (operation_counts(cascade, shapes | {"H": h}) for h in (16, heads))
    for name in ("QK", "SLNV"):
        assert fewer[name]["mac"]["count"] * 16 == full[name]["mac"]["count"] * heads  # type: ignore[operator]


@pytest.mark.parametrize("groups", [1, 4, 8])
def test_fewer_query_heads_do_not_change_what_decode_reads_of_a_cache(groups: int) -> None:
    cascade = verbs.load_cascade("attention_grouped")
    shapes = {"B": 2, "E": 16, "F": 24, "M": 64, "M1": 4, "M0": 16, "P": 1, "G": groups}
    words = {h: compulsory_words(cascade, shapes | {"H": h}) for h in (16, 8)}
    assert words[16] - words[8] == 2 * 8 * (16 + 24)
    assert words[8] == 2 * groups * 64 * (16 + 24) + 2 * 8 * (16 + 24)


# Compressed KV heads ------------------------------------------------------------------------------

KVSVD = [  # groups, heads of a group, queries, keys, keys of a tile
    (2, 3, 7, 7, 7),
    (1, 2, 5, 12, 4),
    (3, 1, 1, 10, 5),
]


def bases(groups: int, heads: int, width: int, kept: int, seed: int) -> Array:
    """Orthonormal columns [G, R, width, kept]."""
    drawn = random(groups, heads * width, heads * width, seed=seed)
    return np.linalg.qr(drawn)[0][..., :kept].reshape(groups, heads, width, kept)


@pytest.mark.parametrize(("g", "r", "p", "m", "m0"), KVSVD)
def test_kvsvd_of_full_rank_is_attention(g: int, r: int, p: int, m: int, m0: int) -> None:
    q, k, v = random(2, g, r, 2, 2, p), random(2, g, r, 2, 2, m) * 2, random(2, g, r, 3, m)
    uk = bases(g, r, 4, 4 * r, 1).reshape(g, r, 2, 2, 4 * r)
    given = {"Q": q, "K": k, "V": v, "UK": uk, "UV": bases(g, r, 3, 3 * r, 2)}
    offset = m - p
    cascade = verbs.load_cascade("attention_kvsvd")
    found = interpret(cascade, given, {"M0": m0}, parameters={"offset": offset})["AV"]
    close(found, attention(flat(turned(q, offset), 3), flat(turned(k, 0), 3), v, offset))


def projected(cache: Array, basis: Array) -> Array:
    """A group's cache [R, width, M], its heads side by side, into the basis and back."""
    stacked = cache.reshape(-1, cache.shape[-1]).T
    columns = basis.reshape(stacked.shape[1], -1)
    return np.asarray((stacked @ columns @ columns.T).T.reshape(cache.shape))


@pytest.mark.parametrize(("g", "r", "p", "m", "m0"), KVSVD)
def test_kvsvd_of_lower_rank_is_its_formula(g: int, r: int, p: int, m: int, m0: int) -> None:
    """Caches that come back from the basis, group by group: attention to K U U^T and V U U^T."""
    q, k, v = random(2, g, r, 2, 2, p), random(2, g, r, 2, 2, m) * 2, random(2, g, r, 3, m)
    uk, uv = bases(g, r, 4, 3, 1), bases(g, r, 3, 2, 2)
    given = {"Q": q, "K": k, "V": v, "UK": uk.reshape(g, r, 2, 2, 3), "UV": uv}
    offset = m - p
    cascade = verbs.load_cascade("attention_kvsvd")
    found = interpret(cascade, given, {"M0": m0}, parameters={"offset": offset})["AV"]
    queries, keys = flat(turned(q, offset), 3), flat(turned(k, 0), 3)
    for b, group in np.ndindex(2, g):
        back_k = projected(keys[b, group], uk[group])
        back_v = projected(v[b, group], uv[group])
        close(found[b, group], attention(queries[b, group], back_k, back_v, offset))


def test_kvsvd_online_costs_a_product_with_the_basis_a_token() -> None:
    cascade = verbs.load_cascade("attention_kvsvd")
    shapes = {"B": 2, "G": 4, "R": 8, "I": 8, "J": 2, "F": 24, "C": 16, "W": 24}
    shapes |= {"M": 64, "M1": 4, "M0": 16, "P": 40}
    counts = operation_counts(cascade, shapes)
    online = {name: counts[name]["mac"]["count"] for name in ("KC", "VC", "QC", "AV")}
    assert online["KC"] == 2 * 64 * 4 * (8 * 16 * 16)
    assert online["VC"] == 2 * 64 * 4 * (8 * 24 * 24)
    assert (online["QC"], online["AV"]) == (2 * 40 * 4 * 8 * 16 * 16, 2 * 40 * 4 * 8 * 24 * 24)
    assert all(set(counts[name]) == {"mac"} for name in online)


@pytest.mark.parametrize(("g", "r", "kept"), [(2, 3, 12), (3, 2, 8), (2, 3, 5)])
def test_kvsvd_without_rope_folds_into_weights(g: int, r: int, kept: int) -> None:
    """Then it is attention_grouped of C wide heads: no statement more."""
    x = random(2, 6, 10)
    wq, wk, wv, wo = (random(g, r, 10, 4, seed=s) for s in range(4))
    uk, uv = bases(g, r, 4, kept, 1), bases(g, r, 4, kept, 2)
    q = np.einsum("bpd,grde,grec->bgrcp", x, wq, uk)
    k = np.einsum("bmd,grde,grec->bgcm", x, wk, uk)
    v = np.einsum("bmd,grde,grec->bgcm", x, wv, uv)
    cascade = verbs.load_cascade("attention_grouped")
    found = interpret(cascade, {"Q": flat(q, 1), "K": k, "V": v}, {"M0": 3})["AV"]
    out = np.einsum("bgrcp,grec,grde->bpd", found.reshape(q.shape), uv, wo)

    plain_q, plain_k, plain_v = (np.einsum("bpd,grde->bgrep", x, w) for w in (wq, wk, wv))
    if kept < r * 4:  # at full rank, attention itself
        plain_k, plain_v = (
            np.einsum("bgrep,grec,gsfc->bgsfp", made, basis, basis)
            for made, basis in ((plain_k, uk), (plain_v, uv))
        )
    close(out, np.einsum("bgrep,grde->bpd", attention(plain_q, plain_k, plain_v), wo))


# QCQA ---------------------------------------------------------------------------------------------

MIXED = [[0, 1, 0, 0, 1], [2, 3, 4, 5, 6], [7, 7, 7, 7, 7], [9, 8, 9, 9, 10]]


@pytest.mark.parametrize(("table", "m0"), [(MIXED, 4), (MIXED, 1), (MIXED[:1], 12), ([[0]], 3)])
def test_qcqa(table: list[list[int]], m0: int) -> None:
    """Each head with the keys and values of its group, repeated."""
    groups, (layers, heads) = np.max(table) + 1, np.shape(table)
    q, k, v = random(2, layers, heads, 4, 5), random(2, groups, 4, 12), random(2, groups, 3, 12)
    cascade = verbs.load_cascade("attention_qcqa")
    found = interpret(cascade, {"Q": q, "K": k, "V": v}, {"M0": m0}, tables={"group": table})["AV"]
    for layer, row in enumerate(table):
        close(found[:, layer], attention(q[:, layer], k[:, row], v[:, row]))


def test_qcqa_with_a_group_a_head_is_attention() -> None:
    q, k, v = random(2, 3, 4, 5, 6), random(2, 3, 4, 5, 8), random(2, 3, 4, 2, 8)
    table = np.arange(12).reshape(3, 4)
    given = {"Q": q, "K": flat(k, 1), "V": flat(v, 1)}
    cascade = verbs.load_cascade("attention_qcqa")
    found = interpret(cascade, given, {"M0": 4}, tables={"group": table})["AV"]
    close(found, attention(q, k, v))


def test_qcqa_keeps_the_sum_of_the_groups() -> None:
    """The rank G is that sum. The analysis does not know tables: it counts one group at least."""
    cascade = verbs.load_cascade("attention_qcqa")
    groups = sum(len(set(row)) for row in MIXED)
    shapes = {"B": 2, "L": 4, "H": 5, "G": groups, "E": 4, "F": 3, "P": 6}
    shapes |= {"M": 12, "M1": 3, "M0": 4}
    ranks = cascade.tensor("K").ranks
    assert np.prod([shapes[rank] for rank in ranks]) == 2 * (2 + 5 + 1 + 3) * 4 * 12
    einsum = cascade.einsum("QK")
    assert touched(cascade, einsum, einsum.inputs[1], shapes) == 2 * 1 * 4 * 12


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[0, 1], [2, 3]], "QK reads K where it is not defined, at .*l = 1, h = 1"),
        ([[0, 1], [-1, 2]], "QK reads K where it is not defined, at .*l = 1, h = 0"),
        ([[0, 1, 2], [0, 1, 2]], "table group has shape 3 in rank H; 2 before"),
        ([0, 1], "table group: expected whole numbers with axes"),
        ([[0.5, 1], [1, 2]], "table group: expected whole numbers"),
        (None, r"table group \[L, H\] is missing"),
    ],
)
def test_tables_of_groups_that_are_refused(table: list[list[float]] | None, message: str) -> None:
    given = {"Q": random(1, 2, 2, 4, 3), "K": random(1, 3, 4, 4), "V": random(1, 3, 2, 4)}
    tables = {} if table is None else {"group": table}
    with pytest.raises(AccelsimError, match=message):
        interpret(verbs.load_cascade("attention_qcqa"), given, {"M0": 2}, tables=tables)


# MLA ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "m", "m0"), [(6, 6, 3), (3, 10, 2), (1, 7, 7), (5, 5, 1)])
def test_mla_absorbed_or_not(p: int, m: int, m0: int) -> None:
    """Heads of width E + 2 I written out, with the one rotated key beside each head's own."""
    b, h, d, r, e, i, f = 2, 3, 9, 6, 4, 2, 5
    x, offset = random(b, m, d), m - p
    wdkv, wkr = random(d, r), random(d, i, 2)
    wuk, wuv = random(h, r, e), random(h, r, f)
    qn, qr = random(b, h, e, p), random(b, h, i, 2, p)

    latent = np.einsum("bmd,dr->brm", x, wdkv)
    key = turned(np.einsum("bmd,dij->bijm", x, wkr), 0)
    q = np.concatenate([qn, flat(turned(qr, offset), 2)], axis=2)
    own = np.einsum("brm,hre->bhem", latent, wuk)
    one = np.broadcast_to(flat(key, 1)[:, None], (b, h, 2 * i, m))
    k = np.concatenate([own, one], axis=2)
    v = np.einsum("brm,hrf->bhfm", latent, wuv)
    expected = attention(q, k, v, offset, scale=(e + 2 * i) ** -0.5)

    given = {"offset": offset}
    queries = {"QN": qn, "QR": qr, "WUK": wuk, "WUV": wuv}
    full = verbs.load_cascade("attention_mla")
    inputs = queries | {"X": x, "WDKV": wdkv, "WKR": wkr}
    every = interpret(full, inputs, parameters=given, keep_all=True)
    close(every["AV"], expected)
    absorbed = verbs.load_cascade("attention_mla_absorbed")
    inputs = queries | {"C": latent, "RK": key}
    close(interpret(absorbed, inputs, {"M0": m0}, parameters=given)["AV"], expected)
    inputs = queries | {"C": every["C"], "RK": every["RK"]}
    close(interpret(absorbed, inputs, {"M0": m0}, parameters=given)["AV"], every["AV"])


@pytest.mark.parametrize(
    ("name", "number"), [("attention_kvsvd", 1), ("attention_qcqa", 1), ("attention_mla", 3)]
)
def test_passes_over_the_keys(name: str, number: int) -> None:
    assert passes(verbs.load_cascade(name)).passes["M"] == number


def test_the_latent_of_absorbed_mla_is_key_and_value() -> None:
    """One pass over the keys; all of a tile's width is read before any of it is used again."""
    found = passes(verbs.load_cascade("attention_mla_absorbed"))
    assert (found.passes["M"], found.by_tensor["C"]["R"]) == (1, 2)


def test_mla_reads_the_latent_and_one_key_a_token() -> None:
    """DeepSeek-V2's shapes, decode: 576 values a token, against 40,960 of separate heads."""
    absorbed = verbs.load_cascade("attention_mla_absorbed")
    shapes = {"B": 1, "H": 128, "E": 128, "F": 128, "R": 512, "I": 32, "J": 2, "P": 1, "M0": 256}
    sizes = (1024, 4096)
    found = [
        compulsory_words(absorbed, shapes | {"M": m, "M1": m // 256, "offset": m - 1})
        for m in sizes
    ]
    assert found[1] - found[0] == (4096 - 1024) * (512 + 64)

    heads = verbs.load_cascade("attention_grouped")
    shapes |= {"E": 128 + 64, "G": 128}
    found = [compulsory_words(heads, shapes | {"M": m, "M1": m // 256}) for m in sizes]
    assert found[1] - found[0] == (4096 - 1024) * 40_960
