"""The laws are data: a rewrite applies where a law is stated, and not without it."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.cascade import cascade_from_text, interpret
from accelsim.derive import NotApplicableError, algebra, factor, partition, run, split
from accelsim.derive.algebra import DISTRIBUTES, GROUP_OF, GROUPS, MORPHISMS
from tests.derive.texts import text

SCALED = text("S[r] = X[r,n]", "T[r] = relu(exp(X[r,n] - S[r]))")
RNG = np.random.default_rng(5)


def test_a_law_that_is_stated_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """relu(a * b) = relu(a) * relu(b) where one is positive, as an exponential is."""
    cascade = run(cascade_from_text(SCALED), "S", "N")
    with pytest.raises(NotApplicableError):
        run(cascade, "T", "N")
    monkeypatch.setitem(MORPHISMS, "relu", ("mul", "mul"))
    made = run(cascade, "T", "N")
    x = {"X": RNG.normal(size=(3, 5))}
    assert np.allclose(interpret(made, x)["T"], interpret(cascade, x)["T"], rtol=1e-12)


def test_a_law_that_is_taken_away_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    cascade = cascade_from_text(text("T[r] = X[r,n] * U[r]"))
    assert [e.name for e in factor(cascade, "T").einsums] == ["NT", "T"]
    monkeypatch.delitem(DISTRIBUTES, "add")
    with pytest.raises(NotApplicableError, match="no reduction over which an operator"):
        factor(cascade, "T")


def test_another_operator_is_cut_when_it_is_said_to_be_associative(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cascade = partition(cascade_from_text(text("T[r] = X[r,n] :: *")), "N", ("N1", "N0"))
    x = {"X": RNG.normal(size=(3, 6))}
    made = split(cascade, "T", ("n0",))
    expected = interpret(cascade, x, {"N0": 2})["T"]
    assert np.allclose(interpret(made, x, {"N0": 2})["T"], expected, rtol=1e-12)
    monkeypatch.setattr("accelsim.derive.transforms.ASSOCIATIVE", ("add", "max", "min"))
    with pytest.raises(NotApplicableError, match="mul is not associative"):
        split(cascade, "T", ("n0",))


NUMBERS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "square": np.square,
    "abs": np.abs,
    "neg": np.negative,
    "eq": np.equal,
    "ne": np.not_equal,
}


def test_every_law_that_is_stated_holds() -> None:
    """On positive numbers (logarithms and roots have no others)."""
    a, b, c = RNG.uniform(0.1, 3.0, size=(3, 1000))
    for group in GROUPS.values():
        there = NUMBERS[group.inverse](NUMBERS[group.operator](a, b), b)
        assert np.allclose(there, a, rtol=1e-12)
        assert np.array_equal(NUMBERS[group.operator](a, group.unit), a)
    for reduce, group in DISTRIBUTES.items():
        join, apply = NUMBERS[reduce], NUMBERS[group.operator]
        assert np.allclose(apply(join(a, b), c), join(apply(a, c), apply(b, c)), rtol=1e-12)
    for name, (first, second) in MORPHISMS.items():
        f = NUMBERS[name]
        both = NUMBERS[second](f(a), f(b))
        assert np.allclose(f(NUMBERS[first](a, b)), both, rtol=1e-10, atol=1e-12), name
    for name in algebra.ASSOCIATIVE:
        f = NUMBERS[name]
        assert np.allclose(f(f(a, b), c), f(a, f(b, c)), rtol=1e-12)
    for name in algebra.COMMUTATIVE:
        assert np.array_equal(NUMBERS[name](a, b), NUMBERS[name](b, a))
    for name, undone in algebra.INVERSES.items():
        assert np.allclose(NUMBERS[name](NUMBERS[undone](a - b)), a - b, atol=1e-12)
    assert set(GROUP_OF) == {"add", "sub", "mul", "div"}
