"""Neighbourhood attention, against masks made axis by axis from lists of places."""

from __future__ import annotations

import random
from math import prod

import numpy as np
import pytest

from accelsim import verbs
from accelsim.analysis.pieces import Numbers
from accelsim.analysis.space import count, tile_counts
from accelsim.cascade import interpret, with_parameters
from accelsim.mapping.mask import whole_ranks
from tests.cascade.test_algorithms import close, softmax_attention
from tests.cascade.test_algorithms import random as normal

Array = np.ndarray


def axis_mask(n: int, window: int, stride: int, dilation: int, causal: bool) -> Array:
    """[query, key] of one axis: NATTEN's rule, on the list of each residue's places."""
    held = np.zeros((n, n), bool)
    for residue in range(dilation):
        places = list(range(residue, n, dilation))
        last = len(places) - 1
        for i, query in enumerate(places):
            if causal:
                leader = min(i // stride * stride + stride - 1, last)
                keys = [j for j in range(i + 1) if leader - j < window]
            else:
                leader = min(i // stride * stride + stride // 2, last)
                left, right = window // 2, window // 2 + window % 2 - 1
                centre = min(max(leader, left), last - right)
                keys = list(range(centre - left, centre + right + 1))
            held[query, [places[j] for j in keys]] = True
    return held


def order(dims: tuple[int, ...], tiles: tuple[int, ...]) -> Array:
    """Row-major number of the t-th token of an order by tiles."""
    at = np.arange(prod(dims)).reshape(
        [k for n, t in zip(dims, tiles, strict=True) for k in (n // t, t)]
    )
    return at.transpose(0, 2, 4, 1, 3, 5).reshape(-1)


class Case:
    """A random neighbourhood, its mask in the orders of queries and keys, its parameters."""

    def __init__(self, seed: int, longest: int = 12) -> None:
        rng = random.Random(seed)
        self.dims = tuple(rng.randint(1, longest) for _ in range(3))
        axes = []
        for n in self.dims:
            dilation = rng.choice([1, 1, 2, 3]) if n >= 3 else 1
            window = rng.randint(1, n // dilation)
            axes.append((window, rng.randint(1, window), dilation, rng.random() < 0.3))
        self.tiles = [
            tuple(rng.choice([d for d in range(1, n + 1) if n % d == 0]) for n in self.dims)
            for _ in range(2)
        ]
        names = dict(zip("XYZ", self.dims, strict=True))
        for axis, (n, values) in enumerate(zip("xyz", axes, strict=True)):
            names |= {f"{p}{n}": int(v) for p, v in zip("wsdc", values, strict=True)}
            names |= {f"{p}{n.upper()}": t[axis] for p, t in zip("QK", self.tiles, strict=True)}
        self.parameters = names
        mask = np.ones((), bool)
        for n, (window, stride, dilation, causal) in zip(self.dims, axes, strict=True):
            mask = np.kron(mask, axis_mask(n, window, stride, dilation, causal))
        self.mask = mask[np.ix_(order(self.dims, self.tiles[0]), order(self.dims, self.tiles[1]))]


@pytest.mark.parametrize("seed", range(12))
def test_gna(seed: int) -> None:
    case = Case(seed, 4)
    n = prod(case.dims)
    q, k, v = normal(1, 2, 3, n), normal(1, 2, 3, n), normal(1, 2, 2, n)
    cascade = verbs.load_cascade("attention_gna")
    tile = prod(case.tiles[1])
    found = interpret(cascade, {"Q": q, "K": k, "V": v}, {"M0": tile}, parameters=case.parameters)[
        "AV"
    ]
    scores = np.where(case.mask, np.einsum("bhep,bhem->bhpm", q, k), -np.inf)
    close(found.swapaxes(2, 3), softmax_attention(scores, v.swapaxes(2, 3)))


def test_points_and_tiles_of_a_thousand_neighbourhoods() -> None:
    cascade = verbs.load_cascade("attention_gna")
    conditions = whole_ranks(cascade, cascade.einsum("QK"))
    for seed in range(1000):
        case = Case(seed)
        n = prod(case.dims)
        numbers = Numbers(with_parameters(cascade, case.parameters), {})
        extents = {"p": n, "m": n}
        assert count(conditions, extents, numbers) == case.mask.sum(), seed
        sizes = {"p": prod(case.tiles[0]), "m": prod(case.tiles[1])}
        cut = case.mask.reshape(n // sizes["p"], sizes["p"], n // sizes["m"], sizes["m"])
        assert (tile_counts(conditions, extents, sizes, numbers) == cut.sum(axis=(1, 3))).all(), (
            seed
        )


@pytest.mark.parametrize(("window", "dilation"), [((3, 5), (1, 1)), ((3, 3), (2, 2))])
def test_stride_one_is_neighbourhood_attention_fused_or_not(
    window: tuple[int, int], dilation: tuple[int, int]
) -> None:
    """FNA's two forms are two cascades: under a mask in one pass, and with weights written out."""
    y, x = 6, 8
    q, k, v = normal(1, 2, y, x, 3), normal(1, 2, y, x, 3, seed=9), normal(1, 2, y, x, 2)
    apart = interpret(
        verbs.load_cascade("attention_fna_unfused"),
        {"Q": q, "K": k, "V": v},
        {"I": window[0], "J": window[1]},
        parameters={"dilation_y": dilation[0], "dilation_x": dilation[1]},
    )["AV"]
    flat = {
        name: np.moveaxis(a.reshape(1, 2, y * x, -1), 2, 3)
        for name, a in {"Q": q, "K": k, "V": v}.items()
    }
    parameters = {"X": y, "Y": x, "wx": window[0], "wy": window[1]}
    parameters |= {"dx": dilation[0], "dy": dilation[1]}
    fused = interpret(verbs.load_cascade("attention_gna"), flat, {"M0": 8}, parameters=parameters)[
        "AV"
    ]
    close(np.moveaxis(fused, 3, 2).reshape(1, 2, y, x, 2), apart)
