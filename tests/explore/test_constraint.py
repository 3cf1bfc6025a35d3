"""Constraints: what is read means what Python means by it, and nothing else is read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import AccelsimError
from accelsim.explore.constraint import MAX_LENGTH, MisreadError, number_of, read

NAMES = ("a", "b", "c")


def known(name: str) -> bool:
    return name in {*NAMES, "r.seconds"}


NUMBERS = st.recursive(
    st.sampled_from(["a", "b", "c", "1", "2.5", "7"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        inner.map(lambda one: f"-{one}"),
        inner.map(lambda one: f"abs({one})"),
        st.tuples(inner, inner).map(lambda two: f"max({two[0]}, {two[1]})"),
    ),
    max_leaves=6,
)
COMPARED = st.tuples(NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS).map(
    " ".join
)
TRUTHS = st.recursive(
    COMPARED,
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
            lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"
        ),
    ),
    max_leaves=4,
)


@settings(deadline=None)
@given(TRUTHS, st.tuples(*[st.integers(-3, 3)] * 3))
def test_an_expression_means_what_python_means(text: str, values: tuple[int, ...]) -> None:
    at = dict(zip(NAMES, values, strict=True))
    constraint = read(text, known, NAMES)
    try:
        expected: Any = eval(text, {"abs": abs, "max": max}, at)
    except ZeroDivisionError:
        with pytest.raises(AccelsimError):
            constraint.holds(at)
    else:
        assert constraint.holds(at) == expected


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("a <= 16 * b", {"a": 32, "b": 2}, True),
        ("1 < a < b", {"a": 2, "b": 2}, False),
        ("a in [1, 2]", {"a": 2}, True),
        ("a not in (1, 2)", {"a": 2}, False),
        ("a == 'flat'", {"a": "flat"}, True),
        ("a <= '16 MiB'", {"a": 1 << 24}, True),
        ("log2(a) == floor(log2(a))", {"a": 12}, False),
        ("sqrt(a) == 3 and ceil(2.5) == 3", {"a": 9}, True),
        ("2 ** a > 1000", {"a": 10}, True),
        ("abs(r.seconds / 2 - 1) < 0.1", {"r.seconds": 2.1}, True),
        ("a < 1", {}, True),  # absent
    ],
)
def test_what_holds(text: str, values: dict[str, Any], holds: bool) -> None:
    assert read(text, known, NAMES).holds(values) == holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "expected a comparison"),
        ("a + 1", "expected a comparison"),
        ("a = 1", "cannot be read as an expression"),
        ("a <= 16 MiB", "cannot be read as an expression"),
        ("a <", "cannot be read as an expression"),
        ("(a < 1", "cannot be read as an expression"),
        ("a < bb", "'bb' is no axis, column or measure"),
        ("q.seconds < 1", "'q.seconds' is no axis, column or measure"),
        ("abs(a, b) < 1", "abs takes 1, got 2"),
        ("max(a) < 1", "max takes 2 or more, got 1"),
        ("absolute(a) < 1", "no function 'absolute'"),
        ("a is 1", "expected one of < <= > >= == != in"),
        ("a in b", "expected a list"),
        ("not a", "expected a comparison here"),
        ("a < 1 and b", "expected a comparison here"),
        ("(a < 1) + 1 < 2", "expected a number here"),
        ("a < 1 if b < 2 else c < 3", "this cannot stand in a constraint"),
        ("[x for x in (1,)] == a", "this cannot stand in a constraint"),
        ("(lambda: 1)() < a", "this cannot stand in a constraint"),
        ("a[0] < 1", "this cannot stand in a constraint"),
        ("a.b.c < 1", "this cannot stand in a constraint"),
        ("max(*a) < 1", "this cannot stand in a constraint"),
        ("max(a, key=b) < 1", "this cannot stand in a constraint"),
        ("f'{a}' < 1", "this cannot stand in a constraint"),
        ("a @ b < 1", "this cannot stand in a constraint"),
        ("~a < 1", "this cannot stand in a constraint"),
        ("a < 1j", "this cannot stand in a constraint"),
        ("(a := 1) < 2", "this cannot stand in a constraint"),
        ("__import__('os') == 1", "no function '__import__'"),
        ("a.__class__ == 1", "'a.__class__' is no axis"),
        ("(" * 400 + "a" + ")" * 400 + " < 1", "cannot be read as an expression"),
        ("-" * 990 + "a < 1", "cannot be read as an expression"),
        ("a < 1 or " * 200 + "a < 1", f"at most {MAX_LENGTH:,} are read"),
        ("a < 1\0", "cannot be read as an expression"),
    ],
)
def test_what_is_not_read(text: str, message: str) -> None:
    with pytest.raises(MisreadError) as error:
        read(text, known, NAMES)
    assert any(message in one.message for one in error.value.misread)


def test_all_that_is_wrong_is_said_with_its_place() -> None:
    text = "  bb < 1 and 'µ' == cc"
    with pytest.raises(MisreadError) as error:
        read(text, known, NAMES)
    places = [text[one.column : one.column + one.width] for one in error.value.misread]
    assert places == ["bb", "cc"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("a / b < 1", 0), ("10.0 ** a < b", 1e6), ("log2(b) < a", 0), ("a < 1", "flat")],
)
def test_a_constraint_without_a_value_says_so(text: str, value: object) -> None:
    at = {"a": value, "b": 0}
    with pytest.raises(AccelsimError, match="constraint `"):
        read(text, known, NAMES).holds(at)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16 MiB", 1 << 24), ("1 GHz", 10**9), ("2 GB/s", 2 * 10**9), ("3 pJ", 3),
        ("1.5 mm^2", 1_500_000), ("2 us", 2e-6), ("256 bit", 32), ("flat", "flat"), (3, 3),
    ],
)  # fmt: skip
def test_units_are_base_units(text: object, number: object) -> None:
    assert number_of(text) == number  # type: ignore[arg-type]
