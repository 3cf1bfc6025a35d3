"""Small cascades on which a rewrite was wrong once, or would be by an easy mistake."""

from __future__ import annotations

import pytest

from accelsim.cascade import cascade_from_text, show_einsum
from accelsim.derive import NotApplicableError, derive, factor, run, shared, undo, ways
from tests.derive.kept import drawn, explained, verdict
from tests.derive.texts import text

MEAN = "M[r] = X[r,n1,n0]"
RUN = (
    (MEAN, "T[r] = (X[r,n1,n0] - M[r]) * U[r]"),  # the sum of a constant, with its weight
    (MEAN, "T[r] = X[r,n1,n0] + M[r] * M[r]"),  # a moment that knows the reference alone
    (MEAN, "T[r] = X[r,n1,n0] * M[r] + square(M[r]) * U[r]"),
    (MEAN, "T[r] = (X[r,n1,n0] - M[r]) * exp(M[r])"),
    ("M[] = W[n1,n0]", "T[r] = X[r,n1,n0] * M[] | r >= 1"),  # a condition on another rank
)


@pytest.mark.parametrize("lines", RUN, ids=[line for _, line in RUN])
def test_run(lines: tuple[str, str]) -> None:
    cascade = cascade_from_text(text(*lines, cut=True))
    made = run(run(cascade, "M", "N1"), "T", "N1")
    for seed in range(5):
        found = verdict(cascade, made, drawn(cascade, seed, "normal"))
        assert found == "same", explained(cascade, made, found)


@pytest.mark.parametrize(
    "line", ["T[r] = (X[r,n] - U[r]) * Y[r,n]", "T[r] = U[r] * X[r,n] - Y[r,n] / U[r]"]
)
def test_factor_keeps_signs(line: str) -> None:
    cascade = cascade_from_text(text(line))
    made = factor(cascade, "T")
    found = verdict(cascade, made, drawn(cascade, 1, "normal"))
    assert found == "same", explained(cascade, made, found)


@pytest.mark.parametrize(
    "line",
    [
        "T[r] = exp(G[r] - X[r,n])",
        "T[r] = X[r,n] + G[r] :: max",
        "T[r] = square(X[r,n] - G[r])",
        "T[r] = X[r,n] + G[r] * G[r]",
        "T[r] = exp(2 * (X[r,n] - G[r]))",
        "T[r] = exp((X[r,n] - G[r]) / U[r])",
    ],
    ids=["inverse", "maximum", "moment", "constant", "scaled", "scaled by either sign"],
)
def test_corrections_that_start_infinite_are_guarded(line: str) -> None:
    """exp(new - old) from a maximum of nothing is inf, and 0 * inf no number."""
    before = cascade_from_text(text("G[r] = X[r,n] :: max", line))
    made = run(run(before, "G", "N"), "T", "N")
    found = [verdict(before, made, drawn(before, seed, "normal")) for seed in range(9)]
    assert {*found} <= {"same", "large"}, explained(before, made, f"{found}")
    assert found.count("same") > 2


TWINS = (
    ("A[r] = subexp(X[r,n], Y[r,n])", "B[r] = subexp(Y[r,n], X[r,n])", "{}", "A[r] / B[r]"),
    ("A[r,n+1] = A[r,n] + X[r,n]", "B[r,n+1] = B[r,n] + X[r,n]", "{A: 0, B: 1}", "A[r,N] * B[r,N]"),
    ("A[r] = X[r,n] :: max", "B[r] = X[r,n] :: min", "{}", "A[r] - B[r]"),
    ("A[r] = X[r,n] | n <= r", "B[r] = X[r,n] | n >= r", "{}", "A[r] - B[r]"),
)


@pytest.mark.parametrize("twin", TWINS, ids=[a for a, *_ in TWINS])
def test_what_looks_alike_is_not_shared(twin: tuple[str, str, str, str]) -> None:
    first, second, initial, both = twin
    cascade = cascade_from_text(text(first, second, f"T[r] = {both}", initial=initial))
    made = shared(cascade)
    assert [e.name for e in made.einsums] == ["A", "B", "T"]


def test_true_twins_are_one() -> None:
    lines = ("A[r] = X[r,n] * Y[r,n]", "B[r] = Y[r,n] * X[r,n]", "T[r] = A[r] + B[r]")
    made = shared(cascade_from_text(text(*lines)))
    assert [e.name for e in made.einsums] == ["A", "T"]


SAME = ("{} + 0", "{} - 0.0", "{} + -0", "0 + {}", "{} * 1", "{} / 1", "-(-{})", "1 * ({} + 0) - 0")


@pytest.mark.parametrize("form", SAME)
def test_what_changes_nothing_is_not_shared_for_ever(form: str) -> None:
    """x + 0 is x, and stands around it."""
    inside = form.format("(X[r,n] - S[r])")
    cascade = cascade_from_text(text("S[r] = X[r,n]", f"T[r] = square({inside})"))
    found = derive(ways(cascade))
    assert found.cost.passes == 1
    plain = cascade_from_text(text("S[r] = X[r,n]", "T[r] = square(X[r,n] - S[r])"))
    assert verdict(plain, found.cascade, drawn(plain, 0, "normal")) == "same"


UNDONE = (
    ("log(exp(X[r,n] - Y[r,n]))", "X[r,n] - Y[r,n]"),
    ("log(exp(X[r,n]) / U[r])", "X[r,n] - log(U[r])"),
    ("log(U[r] / exp(X[r,n]))", "log(U[r]) - X[r,n]"),
    ("log(U[r] * exp(X[r,n]) * U[r])", "X[r,n] + log(U[r] * U[r])"),
    ("log(1 / (U[r] * exp(X[r,n])))", "-X[r,n] - log(U[r])"),
    ("exp(log(exp(X[r,n])) - 1)", "exp(X[r,n] - 1)"),
)


@pytest.mark.parametrize(("form", "plain"), UNDONE, ids=[form for form, _ in UNDONE])
def test_undo(form: str, plain: str) -> None:
    before = cascade_from_text(text(f"T[r] = {form}"))
    made = undo(before, "T")
    assert show_einsum(made.einsum("T")) == f"T[r] = {plain}"
    assert verdict(before, made, drawn(before, 0, "normal")) in ("same", "no meaning")


@pytest.mark.parametrize("form", ["exp(log(X[r,n]))", "log(1 + exp(X[r,n]))", "log(X[r,n])"])
def test_undo_refuses(form: str) -> None:
    with pytest.raises(NotApplicableError, match="T has no function that undoes another"):
        undo(cascade_from_text(text(f"T[r] = {form}")), "T")
