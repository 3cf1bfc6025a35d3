"""What users' own cascades showed: weights of 0, products, values out of range."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.cascade import cascade_from_text, interpret
from accelsim.derive import NotApplicableError, derive, localise, split, ways
from tests.derive.texts import text

WEIGHTED = (
    "SW[r] = Y[r,n]",
    "SX[r] = Y[r,n] * X[r,n]",
    "MU[r] = SX[r] / SW[r]",
    "T[r] = Y[r,n] * square(X[r,n] - MU[r])",
)


@pytest.mark.parametrize("parts", [(), ("N1", "N0")])
def test_weights_may_begin_with_zeros(parts: tuple[str, ...]) -> None:
    """The mean of nothing is no number, and is not needed."""
    cascade = cascade_from_text(text(*WEIGHTED))
    made = derive(ways(cascade, "N", parts)).cascade
    inputs = {"X": np.array([[5.0, 7, 1, 2]]), "Y": np.array([[0.0, 0, 1, 1]])}
    found = interpret(made, inputs, {"N0": 1} if parts else {})
    assert found["T"] == pytest.approx(np.array([0.5]))


def test_a_product_is_not_localised() -> None:
    cascade = cascade_from_text(
        text("M[r] = X[r,n1,n0] :: max", "T[r] = X[r,n1,n0] / M[r] :: *", cut=True)
    )
    with pytest.raises(NotApplicableError, match="T does not reduce with"):
        localise(split(cascade, "M", ["n0"]), "T", "N1")


def test_a_form_that_overflows_is_not_chosen() -> None:
    """exp(old mean - new mean) is infinite on values 1e4 apart; two passes are not."""
    lines = ("S[r] = X[r,n]", "MU[r] = S[r] / N", "T[r] = exp(X[r,n] - MU[r])")
    found = ways(cascade_from_text(text(*lines)), "N")
    assert derive(found, 2).cost.passes == 2
    for one in found:
        assert one.error is not None
        if one.cost.passes == 1:
            assert not np.isfinite(one.error)


def test_fourth_moments() -> None:
    lines = ("S[r] = X[r,n]", "MU[r] = S[r] / N", "T[r] = square(square(X[r,n] - MU[r]))")
    made = derive(ways(cascade_from_text(text(*lines)), "N", ("N1", "N0")))
    assert made.cost.passes == 1
    data = np.random.default_rng(0).normal(size=(2, 12)) + 5
    found = interpret(made.cascade, {"X": data}, {"N0": 4})["T"]
    assert found == pytest.approx(((data - data.mean(1)[:, None]) ** 4).sum(1))
