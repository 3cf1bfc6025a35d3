"""What adversarial trials see of forms that lose digits, or leave the range of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.cascade import cascade_from_text, interpret
from accelsim.derive import NotApplicableError, centre, derive, trial, ways
from accelsim.errors import AccelsimError
from tests.derive.test_reported import WEIGHTED, check
from tests.derive.texts import text

LEFT = (  # what is known of the first points is far from what is true of all
    (
        (
            "A[r] = X[r,n]",
            "B[r] = Y[r,n]",
            "Q[r] = A[r] / B[r]",
            "T[r] = square(X[r,n] - Q[r] * Y[r,n])",
        ),
        {"X": [1, 2, 3, 4, 5], "Y": [0.1, 0.2, -0.3, 1, 2]},
    ),
    (WEIGHTED, {"X": [1, 2, 3, 4, 5], "Y": [0.1, 0.2, -0.3, 1, 2]}),
    (
        ("H[r] = 1 / X[r,n]", "T[r] = square(X[r,n] - N / H[r])"),
        {"X": [10, 5, -1 / 0.3, 1, 0.5]},
    ),
    (
        ("L[r] = log(X[r,n])", "G[r] = exp(L[r])", "T[r] = square(X[r,n] - G[r])"),
        {"X": [1e3] * 4 + [1e-3] * 4},
    ),
    (
        (*WEIGHTED[:3], "T[r] = square(X[r,n] - MU[r])"),
        {"X": [1e8 + 0.1, 1e8 - 1, 1e8 + 2, 1e8 - 0.5, 1e8, 1e8 + 1], "Y": [0, 0, 0, 1, 1, 1]},
    ),
)


@pytest.mark.parametrize("parts", [(), ("N1", "N0")], ids=["whole", "cut"])
@pytest.mark.parametrize(("lines", "given"), LEFT, ids=[lines[-1] for lines, _ in LEFT])
def test_a_prefix_that_is_far_off_is_tried(
    lines: tuple[str, ...], given: dict[str, list[float]], parts: tuple[str, ...]
) -> None:
    """The form in one pass is wrong there, and is said to be unstable; that in two is not."""
    before = cascade_from_text(text(*lines))
    found = ways(before, "N", parts)
    unstable = [one for one in found if one.cost.error == len(trial.CLASSES) - 1]
    assert [one.way for one in unstable] == ["running"]
    assert derive(found).cost.passes == 1  # written, with a warning
    inputs = {name: np.array([row]) for name, row in given.items()}
    a = interpret(before, inputs)["T"]
    for one in found:
        b = interpret(one.cascade, inputs, {"N0": 3} if parts else {})["T"]
        if one.way != "running":
            assert b == pytest.approx(a)
        elif not parts:
            assert b != pytest.approx(a, rel=1e-2)


RANGE = (
    (
        "G[r] = abs(X[r,n]) :: max",
        "Q[r] = X[r,n] / G[r] * (X[r,n] / G[r])",
        "T[r] = G[r] * sqrt(Q[r])",
    ),
    (
        "G[r] = square(X[r,n])",
        "T[r] = square(X[r,n]) / G[r] * (square(X[r,n]) / G[r])",
    ),
)


@pytest.mark.parametrize("lines", RANGE, ids=[lines[1] for lines in RANGE])
def test_what_is_scaled_for_its_range_stays_so(lines: tuple[str, ...]) -> None:
    """X / G * (X / G) is no X * X / (G * G), which is 0 / 0 of tiny values."""
    before = cascade_from_text(text(*lines))
    for parts in ((), ("N1", "N0")):
        best = derive(ways(before, "N", parts), 2)
        assert best.cost.passes == 2
        assert any("gives no number on tiny or huge inputs" in why for why in best.stopped)
        x = np.array([[1.0, -2, 0.5, 3, 1.5]])
        for scale in (1e-81, 1e-76, 1e76):
            shapes = {"N0": 2} if parts else {}
            a = interpret(before, {"X": x * scale})["T"]
            assert interpret(best.cascade, {"X": x * scale}, shapes)["T"] == pytest.approx(a)


def test_weights_that_are_divided_first_still_run() -> None:
    """Products of two inputs that are both huge are no measure: everybody makes them."""
    lines = ("S[r] = Y[r,n]", "T[r] = Y[r,n] / S[r] * X[r,n]")
    found = derive(ways(cascade_from_text(text(*lines)), "N"))
    assert (found.cost.passes, found.cost.error) == (1, 0)


def test_a_form_that_overflows_is_not_proposed() -> None:
    """A first tile far below the rest: exp(1000) on the way, where the source has 1."""
    lines = ("G[r] = X[r,n] :: max", "H[r] = Y[r,n] - G[r] :: min", "T[r] = exp(H[r] - Y[r,n])")
    before = cascade_from_text(text(*lines))
    for parts in ((), ("N1", "N0")):
        with pytest.raises(AccelsimError, match="but gives no number on adversarial") as refused:
            derive(ways(before, "N", parts))
        assert "--partition" not in str(refused.value)


def test_there_is_no_mean_without_a_count() -> None:
    """Nor of a maximum: N * (G / N - H / N) has fewer digits than G - H."""
    extremes = ("G[r] = X[r,n] :: max", "H[r] = X[r,n] :: min")
    sums = ("G[r] = X[r,n]", "H[r] = Y[r,n]")
    for lines in (
        (*extremes, "T[r] = (X[r,n] - H[r]) / (G[r] - H[r])"),
        (extremes[0], "T[r] = square(X[r,n] - G[r] / N)"),
        (extremes[1], "T[r] = square(N * X[r,n] - H[r])"),
        (*sums, "T[r] = X[r,n] / (G[r] - H[r])"),
        (sums[0], "T[r] = square(X[r,n] - G[r])"),
    ):
        with pytest.raises(NotApplicableError, match="T has no mean in it"):
            centre(cascade_from_text(text(*lines)), "T", "N")


@pytest.mark.parametrize("parts", [(), ("N1", "N0")], ids=["whole", "cut"])
def test_a_mask_of_another_output_leaves_means(parts: tuple[str, ...]) -> None:
    lines = ("S[r] = X[r,n]", "T[r] = square(X[r,n] - S[r] / N)", "C[r] = X[r,n] | n <= r")
    before = cascade_from_text(text(*lines, outputs="T, C"))
    found = derive(ways(before, "N", parts))
    assert (found.way, found.cost.passes, found.cost.error) == ("running", 1, 0)
    check(before, found.cascade)


def test_equal_large_values_are_tried() -> None:
    """Layer norm folded into a product with weights: what should be 0 is what cancels."""
    lines = (
        "S[r] = X[r,n]",
        "Q[r] = square(X[r,n] - S[r] / N)",
        "T[r] = (X[r,n] - S[r] / N) / sqrt(Q[r] / N + 0.000000000001) * Y[r,n]",
    )
    found = {one.way: one.cost for one in ways(cascade_from_text(text(*lines)), "N")}
    assert (found["deferred"].passes, found["deferred"].error) == (2, 2)  # sums are multiplied out
    assert (found["running"].passes, found["running"].error) == (1, 1)


@pytest.mark.parametrize("parts", [(), ("N1", "N0")], ids=["whole", "cut"])
def test_squares_that_are_written_as_products_run_as_they_are(parts: tuple[str, ...]) -> None:
    """(x - mean) * (x - mean) with a weight that is divided: nothing is multiplied out."""
    line = "T[r] = Y[r,n] / SW[r] * (X[r,n] - MU[r]) * (X[r,n] - MU[r])"
    before = cascade_from_text(text(*WEIGHTED[:3], line))
    best = derive(ways(before, "N", parts))
    assert (best.way, best.cost.passes) == ("running", 1)
    inputs = {"X": 1e8 + np.array([[1.0, 4, 2, 8, 5]]), "Y": np.array([[1.0, 2, 1, 3, 1]])}
    a = interpret(before, inputs)["T"]
    b = interpret(best.cascade, inputs, {"N0": 2} if parts else {})["T"]
    assert b == pytest.approx(a, rel=1e-12)
