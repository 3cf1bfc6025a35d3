"""Each rewrite refuses what it does not keep, and says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelsim.cascade import Cascade, cascade_from_text
from accelsim.derive import (
    NotApplicableError,
    factor,
    inline,
    localise,
    merge,
    partition,
    run,
    split,
)
from tests.derive.texts import text


def rows(*lines: str, initial: str = "{}", cut: bool = False, outputs: str = "T") -> Cascade:
    return cascade_from_text(text(*lines, initial=initial, cut=cut, outputs=outputs))


SHIFTED = ("G[r] = X[r,n] :: max", "S[r] = exp(X[r,n] - G[r])")
KEPT = ("G[r] = X[r,n] :: max", "C[r,n] = X[r,n] / G[r]")
RUNNING_MAX = "G[r] = X[r,n] :: max"
RUNS = "S[r,n+1] = S[r,n] + X[r,n]"
LOCAL = ("L[r,n1] = X[r,n1,n0] :: max", "G[r] = L[r,n1] :: max")

PARTS = "N: expected two parts or more, such as N=N1,N0, outermost first"

REFUSALS: tuple[tuple[Callable[[], Cascade], str], ...] = (
    # partition
    (
        lambda: partition(rows("T[r] = X[r,n]"), "Q", ("Q1", "Q0")),
        "Q is no rank of drawn that is whole",
    ),
    (
        lambda: partition(rows("T[r] = X[r,n1,n0]", cut=True), "N", ("NA", "NB")),
        "N is no rank of drawn that is whole",
    ),
    (
        lambda: partition(rows(RUNS, "T[r] = S[r,N]", initial="{S: 0}"), "N", ("N1", "N0")),
        "N is iterative: a recurrence along it cannot be cut",
    ),
    (
        lambda: partition(rows("T[r] = where(n, X[r,n-1], 0)"), "N", ("N1", "N0")),
        "T reads X beside its point",
    ),
    (
        lambda: partition(rows("T[r] = X[r,n//2]"), "N", ("N1", "N0")),
        "T reads X beside its point",
    ),
    (
        lambda: partition(rows("T[r] = X[r,n]"), "N", ("N1",)),
        f"{PARTS}; there is 1",
    ),
    (
        lambda: partition(rows("T[r] = X[r,n]"), "N", ("X", "R")),
        f"{PARTS}; X is a tensor already",
    ),
    (
        lambda: partition(rows("T[r] = X[r,n]"), "N", ("N1", "R")),
        f"{PARTS}; R is a rank already",
    ),
    (
        lambda: partition(rows("T[r] = X[r,n]"), "N", ("n1", "n0")),
        f"{PARTS}; 'n1' is no name: a capital letter, then capitals and digits",
    ),
    (
        lambda: partition(rows("T[r] = X[r,n]"), "N", ("N1", "N1")),
        f"{PARTS}; N1 is there twice",
    ),
    (
        lambda: partition(rows("T[r] = X[r,n]"), "N", ("MAX", "MIN")),
        f"{PARTS}; max is a function already",
    ),
    # inline
    (lambda: inline(rows(*SHIFTED, "T[r] = S[r]"), "S"), "S is a reduction"),
    (lambda: inline(rows("T[r,n] = X[r,n] + 1"), "T"), "T is an output"),
    (lambda: inline(rows("T[r,n] = X[r,n] + 1"), "X"), "X is an input"),
    (lambda: inline(rows("T[r,n] = X[r,n] + 1"), "Z"), "Z is no tensor of drawn"),
    (
        lambda: inline(rows(RUNS, "T[r] = S[r,N]", initial="{S: 0}"), "S"),
        "S is a recurrence",
    ),
    (
        lambda: inline(rows("A[r,n] = U[r]", "T[r] = A[r,n]"), "A"),
        "T would not go over n any more",
    ),
    # merge
    (lambda: merge(rows("A[r,n] = X[r,n]", "T[r] = A[r,n]"), "A"), "A is no reduction"),
    (
        lambda: merge(rows("A[r] = X[r,n] :: max", "T[] = A[r]"), "A"),
        "T does not reduce as A does",
    ),
    (
        lambda: merge(rows("A[r] = X[r,n]", "B[] = A[r]", "T[] = A[r] * B[]"), "A"),
        "A has 2 readers",
    ),
    (
        lambda: merge(rows("A[r] = X[r,n] | n <= r", "T[] = A[r]"), "A"),
        "A or T has a predicate",
    ),
    (
        lambda: merge(rows("A[r] = X[r,n]", "T[] = exp(A[r])"), "A"),
        "T does not reduce A times what else it has",
    ),
    (
        lambda: merge(rows("A[r] = X[r,n]", "T[] = A[r] * X[r,n]"), "A"),
        "A and T both go over n",
    ),
    # factor
    (
        lambda: factor(
            rows("P[r,n1] = X[r,n1,n0]", "T[r,n0] = X[r,n1,n0] + U[r] * P[r,n1]", cut=True), "T"
        ),
        "T: the last tile of N would be taken for a full one",
    ),
    (
        lambda: factor(rows("T[r] = X[r,n] * W[n]"), "T"),
        "T: all of it depends on n",
    ),
    (
        lambda: factor(rows("T[r] = X[r,n] * U[r] :: max"), "T"),
        "T: all of it depends on n",  # U may be negative
    ),
    (
        lambda: factor(rows("T[r,n] = X[r,n] * U[r]"), "T"),
        "T is no reduction over which an operator distributes",
    ),
    (
        lambda: factor(rows("T[r] = X[r,n] * U[r] :: *"), "T"),
        "T is no reduction over which an operator distributes",
    ),
    (
        lambda: factor(rows("T[r] = X[r,n] * U[r] + U[r]"), "T"),
        "T: a term does not go over n",
    ),
    # split
    (
        lambda: split(rows("T[r] = X[r,n1,n0]", cut=True), "T", ("n1", "n0")),
        "T does not reduce n1, n0 and others",
    ),
    (
        lambda: split(rows("T[r] = X[r,n1,n0]", cut=True), "T", ("r",)),
        "T does not reduce r and others",
    ),
    # localise
    (
        lambda: localise(rows("T[r] = X[r,n1,n0]", cut=True), "T", "N1"),
        "T reads no reduction of local ones over N1",
    ),
    (
        lambda: localise(rows(*LOCAL, "T[r] = abs(X[r,n1,n0] - G[r])", cut=True), "T", "N1"),
        "T[r] = abs(X[r,n1,n0] - G[r]): no correction is known when G changes",
    ),
    (
        lambda: localise(
            rows(
                "L[r,n1] = X[r,n1,n0] :: max | n + r >= 3",
                "G[r] = L[r,n1] :: max",
                "T[r] = exp(X[r,n1,n0] - G[r])",
                cut=True,
            ),
            "T",
            "N1",
        ),
        "G looks at fewer points than T",
    ),
    # run
    (lambda: run(rows("T[r] = U[r]"), "T", "N"), "T does not reduce N with + or a maximum"),
    (
        lambda: run(rows("T[r] = X[r,n] :: *"), "T", "N"),
        "T does not reduce N with + or a maximum",
    ),
    (
        lambda: run(rows(*SHIFTED, "T[r] = S[r]"), "S", "N"),
        "G is needed as it runs, and is not running yet",
    ),
    (
        lambda: run(rows(*KEPT, "T[r] = C[r,n]"), "T", "N"),
        "T reads C, which keeps N and needs the end of it",
    ),
    (
        lambda: run(rows("T[r] = X[r,n] | n <= r"), "T", "N"),
        "T: its predicate leaves out whole steps of N; cut the rank (--partition)",
    ),
    (
        lambda: run(run(rows(RUNNING_MAX, "T[r] = abs(X[r,n] - G[r])"), "G", "N"), "T", "N"),
        "T is not polynomial in RG: abs(X[r,n] - RG[r,N])",
    ),
    (
        lambda: run(run(rows(RUNNING_MAX, "T[r] = max(X[r,n], G[r]) :: max"), "G", "N"), "T", "N"),
        "T[r] = max(X[r,n], RG[r,N]) :: max: no correction is known when RG changes",
    ),
    (
        lambda: run(rows("T[r] = X[r,n1,n0] | n1 >= 1", cut=True), "T", "N1"),
        "T: its predicate leaves out whole steps of N1",
    ),
    (
        lambda: run(
            run(
                run(
                    rows(
                        "G[r] = X[r,n]", "S[r] = Y[r,n]", "T[r] = (X[r,n] - G[r]) * (Y[r,n] - S[r])"
                    ),
                    "G",
                    "N",
                ),
                "S",
                "N",
            ),
            "T",
            "N",
        ),
        "T[r] = (X[r,n] - RG[r,N]) * (Y[r,n] - RS[r,N]): polynomials of one changing value are "
        "looked for, not of RG and RS",
    ),
    (
        lambda: run(
            run(
                rows(
                    "G[r] = X[r,n1,n0] :: max | n + r >= 3",
                    "T[r] = exp(X[r,n1,n0] - G[r])",
                    cut=True,
                ),
                "G",
                "N1",
            ),
            "T",
            "N1",
        ),
        "RG looks at fewer points than T",
    ),
)


@pytest.mark.parametrize(("rewrite", "message"), REFUSALS, ids=[m for _, m in REFUSALS])
def test_refuses(rewrite: Callable[[], Cascade], message: str) -> None:
    with pytest.raises(NotApplicableError) as refused:
        rewrite()
    assert str(refused.value) == message


def test_a_correction_that_knows_data_is_refused() -> None:
    """U changes from step to step as R does, but belongs to points: no factor for all of them."""
    cascade = rows("S[] = U[r]", "T[] = U[r] * S[] :: max")
    with pytest.raises(NotApplicableError, match="no correction is known when RS changes"):
        run(run(cascade, "S", "R"), "T", "R")
