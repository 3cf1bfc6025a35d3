"""interpret gives a cascade its meaning: equal to definitions that it did not come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accelsim import cascade, spec
from accelsim.errors import AccelsimError, NotANumberError

SHIPPED = ("attention_1pass", "attention_2pass", "attention_3pass", "attention_3pass_deferred")


def shipped(name: str) -> cascade.Cascade:
    return cascade.build(spec.load(name, "cascade"))


def sdpa(q: np.ndarray, k: np.ndarray, v: np.ndarray, *, causal: bool = False) -> np.ndarray:
    """torch's attention, unscaled; arrays [B, H, width, length] as in the cascades."""
    a, b, c = (torch.from_numpy(x.swapaxes(-1, -2).copy()) for x in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(a, b, c, scale=1.0, is_causal=causal)
    return out.numpy().swapaxes(-1, -2)


def draw(rng: np.random.Generator, kind: str) -> tuple[dict[str, np.ndarray], int]:
    """Inputs of a random shape, and the size of a tile of M."""
    b, h, e, f = (int(rng.integers(1, 4)) for _ in range(4))
    m0, m1, p = (int(rng.integers(1, 6)) for _ in range(3))
    q, k = rng.standard_normal((b, h, e, p)), rng.standard_normal((b, h, e, m0 * m1))
    v = rng.standard_normal((b, h, f, m0 * m1))
    if kind == "large":
        q *= 1e4
    elif kind == "equal":
        k[:] = k[..., :1]
    elif kind == "offset":
        q[:, :, 0], k[:, :, 0] = 1.0, 1e4
    elif kind == "negative":
        q[:, :, 0], k[:, :, 0] = -1e3, 1e3
    return {"Q": q, "K": k, "V": v}, m0


@pytest.mark.parametrize("kind", ["random", "large", "equal", "offset", "negative"])
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_cascades_are_attention(name: str, kind: str) -> None:
    rng = np.random.default_rng(2406)
    built = shipped(name)
    for _ in range(40):
        inputs, m0 = draw(rng, kind)
        expected = sdpa(inputs["Q"], inputs["K"], inputs["V"])
        shapes = {"M0": m0} if built.partitions else None
        actual = cascade.interpret(built, inputs, shapes)["AV"]
        assert np.abs(actual - expected).max() <= 1e-12 * max(1.0, np.abs(expected).max())


def test_a_dropped_correction_is_not_attention() -> None:
    """The test above can fail: without PRM the sums keep their stale scale."""
    text = cascade.show(shipped("attention_1pass"))
    broken = cascade.cascade_from_text(
        text.replace("RD[b,h,m1,p] * PRM[b,h,m1,p]", "RD[b,h,m1,p] * 1")
    )
    inputs, m0 = draw(np.random.default_rng(5), "large")
    expected = sdpa(inputs["Q"], inputs["K"], inputs["V"])
    actual = cascade.interpret(broken, inputs, {"M0": m0})["AV"]
    assert np.abs(actual - expected).max() > 1e-3


CAUSAL = """\
cascade: causal
source: torch's is_causal
ranks: {B: b, H: h, E: e, F: f, M: m, P: p}
tensors: {Q: [B,H,E,P], K: [B,H,E,M], V: [B,H,F,M], S: [B,H,M,P], G: [B,H,P], N: [B,H,M,P],
  D: [B,H,P], U: [B,H,F,P], AV: [B,H,F,P]}
outputs: [AV]
einsums: |
  S[b,h,m,p] = Q[b,h,e,p] * K[b,h,e,m] | m <= p
  G[b,h,p] = S[b,h,m,p] :: max | m <= p
  N[b,h,m,p] = exp(S[b,h,m,p] - G[b,h,p]) | m <= p
  D[b,h,p] = N[b,h,m,p] | m <= p
  U[b,h,f,p] = N[b,h,m,p] * V[b,h,f,m] | m <= p
  AV[b,h,f,p] = U[b,h,f,p] / D[b,h,p]
"""


def test_predicates_restrict_the_iteration_space() -> None:
    rng = np.random.default_rng(7)
    inputs = {name: rng.standard_normal((2, 3, 4, 9)) for name in "QKV"}
    expected = sdpa(inputs["Q"], inputs["K"], inputs["V"], causal=True)
    actual = cascade.interpret(cascade.cascade_from_text(CAUSAL), inputs)["AV"]
    assert np.abs(actual - expected).max() < 1e-12


def test_reading_a_point_left_out_is_refused() -> None:
    text = CAUSAL.replace(":: max | m <= p", ":: max")
    inputs = {name: np.ones((1, 1, 1, 3)) for name in "QKV"}
    with pytest.raises(
        AccelsimError, match=r"G reads S where it is not defined, at .*p = 0, m = 1"
    ):
        cascade.interpret(cascade.cascade_from_text(text), inputs)


def one(line: str, tensors: str, *, initial: str = "{}", more: str = "") -> cascade.Cascade:
    return cascade.cascade_from_text(
        f"cascade: one\nsource: here\nranks: {{I: i, J: j}}\nvariables: {{k: I}}\n"
        f"tensors: {{{tensors}}}\ninitial: {initial}\noutputs: [Y]\neinsums: |\n  {line}\n{more}"
    )


X = np.array([3.0, 1.0, 4.0, 1.0, 5.0])


@pytest.mark.parametrize(
    ("line", "initial", "expected"),
    [
        ("Y[i+1] = Y[i] + X[i]", "{Y: 0}", [0, 3, 4, 8, 9, 14]),
        ("Y[i+1] = max(Y[i], X[i])", "{Y: -inf}", [-np.inf, 3, 3, 4, 4, 5]),
        ("Y[i] = Y[i+1] + X[i]", "{Y: 0}", [14, 11, 10, 6, 5, 0]),
        ("Y[i] = X[k] | k <= i", "{}", [3, 4, 8, 9, 14]),
        ("Y[i] = X[k] | k < i", "{}", [0, 3, 4, 8, 9]),
        ("Y[i] = X[k] :: max | k >= i and k != 4", "{}", [4, 4, 4, 1, -np.inf]),
        ("Y[i] = X[k] | 2*i <= k and k <= 2*i + 1", "{}", [4, 5, 5, 0, 0]),
        ("Y[i] = X[k] * X[k]", "{}", [52, 52, 52, 52, 52]),
        ("Y[i] = -X[i] * 2 - 1", "{}", [-7, -3, -9, -3, -11]),
    ],
)
def test_small_cascades(line: str, initial: str, expected: list[float]) -> None:
    built = one(line, "X: [I], Y: [I]", initial=initial)
    assert cascade.interpret(built, {"X": X})["Y"].tolist() == expected


def test_an_end_is_the_last_value() -> None:
    text = "R[i+1] = R[i] + X[i]\n  Y[] = R[I] * 2"
    built = one(text, "X: [I], R: [I], Y: []", initial="{R: 1}")
    assert cascade.interpret(built, {"X": X})["Y"].item() == 30


def test_a_halo_must_be_guarded() -> None:
    open_ = one("Y[i] = X[i-1] + X[i]", "X: [I], Y: [I]")
    with pytest.raises(AccelsimError, match="Y reads X where it is not defined, at i = 0"):
        cascade.interpret(open_, {"X": X})
    guarded = one("Y[i] = X[i-1] + X[i] | i >= 1", "X: [I], Y: [I]")
    assert cascade.interpret(guarded, {"X": X})["Y"][1:].tolist() == [4, 5, 5, 6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"K": np.full((1, 1, 2, 4), -np.inf)}, r"input K is not finite at \(0, 0, 0, 0\)"),
        ({"K": np.ones((1, 1, 3, 4))}, "input K has shape 3 in rank E; 2 before"),
        ({"K": np.ones(3)}, "input K has 1 axes; expected its ranks B, H, E, M"),
        ({"W": np.ones(3)}, "W is no input of attention_3pass"),
    ],
)
def test_bad_inputs(change: dict[str, np.ndarray], message: str) -> None:
    inputs = {name: np.ones((1, 1, 2, 4)) for name in "QKV"}
    with pytest.raises(AccelsimError, match=message):
        cascade.interpret(shipped("attention_3pass"), inputs | change)


def test_missing_input_and_missing_tile() -> None:
    with pytest.raises(AccelsimError, match="input V is missing"):
        cascade.interpret(shipped("attention_3pass"), dict.fromkeys("QK", np.ones((1, 1, 1, 1))))
    inputs = {name: np.ones((1, 1, 2, 6)) for name in "QKV"}
    with pytest.raises(AccelsimError, match="give the shape of M1 "):
        cascade.interpret(shipped("attention_1pass"), inputs)
    with pytest.raises(AccelsimError, match="M of shape 6 cannot be cut by 4"):
        cascade.interpret(shipped("attention_1pass"), inputs, {"M1": 4})
    with pytest.raises(AccelsimError, match="M has shape 6, but M1 3 x M0 4"):
        cascade.interpret(shipped("attention_1pass"), inputs, {"M1": 3, "M0": 4})


@pytest.mark.parametrize("tile", [1, 2, 4, 5, 6, 9])
def test_a_rank_may_end_inside_of_its_last_tile(tile: int) -> None:
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(1, 2, 3, 6)) for name in "QKV"}
    whole, cut = (shipped(name) for name in ("attention_3pass", "attention_1pass"))
    found = cascade.interpret(cut, inputs, {"M0": tile}, keep_all=True)
    assert found["SLN"].shape[2:4] == (-(-6 // tile), tile)
    assert found["AV"] == pytest.approx(cascade.interpret(whole, inputs)["AV"])


@pytest.mark.parametrize(
    ("kept", "statements", "expected"),
    [
        ("M1", "S[m1,m0+1] = S[m1,m0] + X[m1,m0]\n  Y[m1] = S[m1,M0]", [3, 12, 6]),
        ("M0", "S[m1+1,m0] = S[m1,m0] + X[m1,m0]\n  Y[m0] = S[M1,m0]", [9, 5, 7]),
        ("M0", "S[m1,m0] = S[m1+1,m0] + X[m1,m0]\n  Y[m0] = S[0,m0]", [9, 5, 7]),
        (
            "M0",
            "T[m1,m0] = S[m1,m0] * 2\n  S[m1+1,m0] = T[m1,m0] + X[m1,m0]\n  Y[m0] = S[M1,m0]",
            [12, 6, 9],
        ),
    ],
)
def test_at_a_step_beyond_the_end_a_recurrence_keeps_its_value(
    kept: str, statements: str, expected: list[float]
) -> None:
    more = ", T: [M1, M0]" * ("T" in statements)
    built = cascade.cascade_from_text(
        "cascade: c\nsource: s\nranks: {M: m}\npartitions: {M: [M1, M0]}\n"
        f"tensors: {{X: [M1, M0], S: [M1, M0], Y: [{kept}]{more}}}\n"
        f"initial: {{S: 0}}\noutputs: [Y]\neinsums: |\n  {statements}\n"
    )
    found = cascade.interpret(built, {"X": np.arange(7.0)}, {"M0": 3})
    assert found["Y"].tolist() == expected


def test_not_a_number_names_where_it_arose() -> None:
    built = one("Y[i] = X[i] / X[i]", "X: [I], Y: [I]")
    with pytest.raises(AccelsimError, match="Y is not a number"):
        cascade.interpret(built, {"X": np.zeros(3)})


@pytest.mark.parametrize(("kept", "said"), [(3, ": Z is out of the"), (2, " [(]0/0, or inf")])
def test_not_a_number_names_what_overflowed(kept: str, said: str) -> None:
    """exp(1000) is too large for float64, unless it is left out."""
    built = one(
        f"Z[i] = exp(X[i]) | i < {kept}",
        "X: [I], W: [I], Y: [I], Z: [I]",
        more=f"  Y[i] = (Z[i] - Z[i]) / W[i] | i < {kept}\n",
    )
    inputs = {"X": np.array([0.0, 1.0, 1000.0]), "W": np.array([1.0, 0.0, 1.0])}
    with pytest.raises(NotANumberError, match=f"Y is not a number at some point{said}"):
        cascade.interpret(built, inputs)
