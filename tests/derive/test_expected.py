"""What derivations are known to reach: passes, operations, digits; and what stops the others."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim import verbs
from accelsim.analysis import passes
from accelsim.analysis.counts import total_counts
from accelsim.cascade import Cascade, cascade_from_text, interpret
from accelsim.errors import AccelsimError
from tests.derive.numbers import ADVERSARIAL, apart, both, derived
from tests.derive.texts import text

THIRD_MOMENT = text(
    "SX[r] = X[r,n]",
    "MU[r] = SX[r] / N",
    "C[r] = (X[r,n] - MU[r]) * square(X[r,n] - MU[r])",
    "T[r] = C[r] / N",
)
LOG_PROBABILITIES = text(  # the reference is a logarithm of a sum, beside the maximum
    "G[r] = X[r,n] :: max",
    "S[r] = exp(X[r,n] - G[r])",
    "L[r] = G[r] + log(S[r])",
    "T[r] = exp(X[r,n] - L[r]) * Y[r,n]",
)
ENTROPY = text(
    "G[r] = X[r,n] :: max",
    "E[r,n] = exp(X[r,n] - G[r])",
    "D[r] = E[r,n]",
    "P[r,n] = E[r,n] / D[r]",
    "T[r] = P[r,n] * log(P[r,n])",
)
RMS_NORM_MATMUL = """\
cascade: rms_norm_matmul
source: a test
ranks: {R: rows, D: features, F: outputs}
tensors: {X: [R, D], G: [D], WT: [D, F], SQ: [R], RMS: [R], Y: [R, D], Z: [R, F]}
outputs: [Z]
einsums: |
  SQ[r] = square(X[r,d])
  RMS[r] = sqrt(SQ[r] / D)
  Y[r,d] = X[r,d] * G[d] / RMS[r]
  Z[r,f] = Y[r,d] * WT[d,f]
"""
FUSEMAX_EXAMPLE = text("S[] = U[r]", "T[] = U[r] * S[]")
NAMED = {
    "third_moment": THIRD_MOMENT,
    "log_probabilities": LOG_PROBABILITIES,
    "entropy": ENTROPY,
    "rms_norm_matmul": RMS_NORM_MATMUL,
    "fusemax_example": FUSEMAX_EXAMPLE,
}


def source(name: str) -> Cascade:
    return cascade_from_text(NAMED[name]) if name in NAMED else verbs.load_cascade(name)


REACHED = (
    # cascade, rank, parts, passes before, after, relative error on usual inputs
    ("attention_3pass", "M", (), 3, 1, 1e-12),
    ("attention_3pass", "M", ("M1", "M0"), 3, 1, 1e-12),
    ("attention_3pass", "M", ("M2", "M1", "M0"), 3, 1, 1e-12),
    ("attention_3pass_deferred", "M", (), 2, 1, 1e-12),
    ("attention_2pass", "M", (), 2, 1, 1e-12),
    ("log_sum_exp", "N", (), 2, 1, 1e-12),
    ("log_sum_exp", "N", ("N1", "N0"), 2, 1, 1e-12),
    ("mean_variance", "N", (), 2, 1, 1e-12),
    ("mean_variance", "N", ("N1", "N0"), 2, 1, 1e-12),
    ("third_moment", "N", (), 2, 1, 1e-9),
    ("third_moment", "N", ("N1", "N0"), 2, 1, 1e-9),
    ("softmax_mean_variance", "N", (), 4, 1, 1e-12),
    ("softmax_mean_variance", "N", ("N1", "N0"), 4, 1, 1e-12),
    ("cross_entropy", "N", (), 3, 1, 1e-12),
    ("cross_entropy", "N", ("N1", "N0"), 3, 1, 1e-12),
    ("log_probabilities", "N", (), 3, 1, 1e-12),
    ("entropy", "N", (), 3, 1, 1e-12),
    ("entropy", "N", ("N1", "N0"), 3, 1, 1e-12),
    ("rms_norm_matmul", "D", (), 2, 1, 1e-12),
    ("fusemax_example", "R", (), 2, 1, 1e-12),
    ("layer_norm", "N", (), 3, 2, 1e-12),
    ("attention_act", "M", (), 4, 2, 1e-10),
)


@pytest.mark.parametrize(
    ("name", "rank", "parts", "before", "after", "error"),
    REACHED,
    ids=[f"{name}-{len(parts) or 1}" for name, _, parts, *_ in REACHED],
)
def test_passes_go_down_and_numbers_stay(
    name: str, rank: str, parts: tuple[str, ...], before: int, after: int, error: float
) -> None:
    built = source(name)
    assert passes(built).passes[rank] == before
    found = derived(built, most=after, rank=rank, parts=parts)
    assert (found.before, found.cost.passes) == (before, after)
    assert passes(found.cascade).passes[rank] == after
    for kind, a, b in both(built, found.cascade, many=40, kinds=("usual",)):
        assert apart(a, b, least=1.0) <= error, kind


LIKE = (
    ("attention_3pass_deferred", (), 2),
    ("attention_2pass", ("M1", "M0"), 2),
    ("attention_splitk", ("M1", "M0"), 1),
    ("attention_1pass", ("M1", "M0"), 1),
)


@pytest.mark.parametrize(("like", "parts", "most"), LIKE, ids=[like for like, *_ in LIKE])
def test_attention_becomes_the_shipped_cascades(
    like: str, parts: tuple[str, ...], most: int
) -> None:
    """Same statements, names apart: so the same passes, operations and, below, numbers."""
    shipped = verbs.load_cascade(like)
    found = derived("attention_3pass", most=most, parts=parts, like=like)
    assert passes(found.cascade).passes == passes(shipped).passes
    sizes = {"B": 2, "H": 3, "E": 5, "F": 7, "M": 12, "P": 11, "M1": 3, "M0": 4}
    assert total_counts(found.cascade, sizes) == total_counts(shipped, sizes)
    for _, a, b in both(shipped, found.cascade, many=5, kinds=("usual",)):
        assert np.array_equal(a, b)


def test_split_k_has_no_recurrence() -> None:
    found = derived("attention_3pass", parts=("M1", "M0"), like="attention_splitk")
    assert found.cascade.iterative == ()


def test_moments_keep_their_digits_where_raw_ones_lose_all() -> None:
    """Offset 1e8: the two-pass form and the derived one agree; E[x^2] - E[x]^2 does not."""
    variance = verbs.load_cascade("mean_variance")
    x = np.random.default_rng(1).normal(size=(3, 512)) + 1e8
    for parts, shapes in (((), {}), (("N1", "N0"), {"N1": 16, "N0": 32})):
        found = derived(variance, parts=parts)
        actual = interpret(found.cascade, {"X": x}, shapes)["VAR"]
        exact = np.var(x.astype(np.longdouble), axis=1).astype(np.float64)
        assert np.abs(actual / exact - 1).max() < 1e-9
    raw = (x**2).mean(axis=1) - x.mean(axis=1) ** 2
    assert np.abs(raw / exact - 1).max() > 0.5


@pytest.mark.parametrize("parts", [(), ("N1", "N0")], ids=["whole", "cut"])
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("log_sum_exp", 1e-12),
        ("mean_variance", 1e-6),  # of a variance that is 0: the squared rounding of 1e8
        ("softmax_mean_variance", 1e-9),
        ("cross_entropy", 1e-6),  # of a difference of two sums, each 1e8 too large
    ],
)
def test_adversarial_inputs(name: str, parts: tuple[str, ...], error: float) -> None:
    found = derived(name, parts=parts)
    for kind, a, b in both(source(name), found.cascade, many=50, kinds=ADVERSARIAL):
        assert apart(a, b, least=1.0) <= error, kind


STOPPED = (
    (
        "layer_norm",
        1,
        "2 passes over N at least",
        "Y[r,n] = (X[r,n] - MU[r]) / SIGMA[r] keeps N and needs MU, SIGMA, complete only at its "
        "end",
    ),
    (
        "attention_act",
        1,
        "2 passes over M at least",
        "C, which keeps M and needs the end of it",
    ),
    (
        "mean_absolute_deviation",
        1,
        "2 passes over N at least",
        "SA is not polynomial in MU: abs(X[r,n] - MU[r])",
    ),
)


@pytest.mark.parametrize(
    ("name", "most", "least", "why"), STOPPED, ids=[name for name, *_ in STOPPED]
)
def test_what_stops_it_is_said(name: str, most: int, least: str, why: str) -> None:
    with pytest.raises(AccelsimError) as refused:
        derived(name, most=most)
    message = str(refused.value)
    assert least in message
    assert "by the rewrites that are known, not 1" in message
    assert why in message


def test_act_over_queries_needs_two() -> None:
    """The column sums over P are complete at its end, and what is kept by them is read along P."""
    with pytest.raises(AccelsimError, match="2 passes over P at least"):
        derived("attention_act", rank="P")


def test_steps_tell_how_passes_go_down() -> None:
    found = derived("attention_3pass", parts=("M1", "M0"), like="attention_1pass")
    told = [(step.rewrite, step.subject, step.passes) for step in found.steps]
    assert told == [
        ("partition", "M", 3),
        ("inline", "A", 3),
        ("inline", "SN", 3),
        ("factor", "AV", 2),
        ("run", "GM", 2),
        ("run", "SD", 2),
        ("run", "NAV", 1),
        ("share", "common subexpressions", 1),
    ]


def test_costs_are_ordered() -> None:
    """Passes, then the class of the error, then operations, then state."""
    found = derived("attention_3pass", most=1, parts=("M1", "M0"))
    assert found.way == "local"  # as exact as running, with fewer operations and more state
    assert derived("attention_3pass", most=2, parts=("M1", "M0")).way == "deferred"
