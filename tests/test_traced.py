"""Traced numbers: a tape gives what Python would have computed, or was made by a decision."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.explore import arrays
from accelsim.explore.replay import Replay
from accelsim.traced import (
    OPERATIONS,
    Tape,
    Traced,
    as_float,
    common_multiple,
    marks,
    ratio,
    told,
    whole,
)

WHOLES = st.one_of(st.integers(-9, 9), st.integers(-(2**70), 2**70))
RATIOS = st.builds(Fraction, WHOLES, st.integers(1, 2**40))
FLOATS = st.floats(-1e12, 1e12, allow_nan=False)
BINARY = ("add", "sub", "mul", "div", "ratio", "floordiv", "mod", "lt", "le", "eq")
UNARY = ("neg", "abs", "ceil", "floor", "round", "float")


def values_of(column: Any, number: int) -> list[Any]:
    if isinstance(column, arrays.Ratio):
        pairs = zip(
            values_of(column.numerator, number), values_of(column.denominator, number), strict=True
        )
        return [Fraction(a, b) for a, b in pairs]
    found = column.values.tolist()
    return found * number if len(found) == 1 else found


def same(one: Any, other: Any) -> bool:
    return bool(one == other) and (
        not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other)
    )


@settings(max_examples=300, deadline=None)
@given(
    operation=st.sampled_from(BINARY),
    kinds=st.sampled_from([(WHOLES, WHOLES), (WHOLES, RATIOS), (RATIOS, WHOLES), (RATIOS, RATIOS)]),
    data=st.data(),
)
def test_columns_do_what_python_does(operation: str, kinds: Any, data: Any) -> None:
    """Exactly, sizes far beyond 64 bits included."""
    pairs = data.draw(st.lists(st.tuples(*kinds), min_size=1, max_size=5))
    if operation in {"div", "ratio", "floordiv", "mod"}:
        pairs = [(a, b or type(b)(3)) for a, b in pairs]
    if operation == "div":
        pairs = [(a, b) for a, b in pairs if abs(a) < 2**60 or isinstance(a + b, Fraction)]
    if not pairs:
        return
    given_ = [arrays.of_values(list(column)) for column in zip(*pairs, strict=True)]
    found = values_of(arrays.apply(operation, given_), len(pairs))
    assert all(same(f, OPERATIONS[operation](*p)) for f, p in zip(found, pairs, strict=True))


@settings(max_examples=200, deadline=None)
@given(operation=st.sampled_from(UNARY), kind=st.sampled_from([WHOLES, RATIOS]), data=st.data())
def test_columns_of_one_number(operation: str, kind: Any, data: Any) -> None:
    numbers = data.draw(st.lists(kind, min_size=1, max_size=5))
    found = values_of(arrays.apply(operation, [arrays.of_values(numbers)]), len(numbers))
    assert all(same(f, OPERATIONS[operation](n)) for f, n in zip(found, numbers, strict=True))


@settings(max_examples=200, deadline=None)
@given(
    operation=st.sampled_from(("add", "sub", "mul", "lt", "le", "eq")),
    pairs=st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=5),
)
def test_columns_of_floats(operation: str, pairs: list[tuple[float, float]]) -> None:
    given_ = [arrays.of_values(list(column)) for column in zip(*pairs, strict=True)]
    found = values_of(arrays.apply(operation, given_), len(pairs))
    assert all(same(f, OPERATIONS[operation](*p)) for f, p in zip(found, pairs, strict=True))


def an_algorithm(values: dict[str, Any]) -> dict[str, Any]:
    """Something with every way to decide: comparisons, keys, indices, lengths, divisions."""
    a, b, c = values["a"], values["b"], values["c"]
    total = 0
    for step in range(min(a, 3)):
        total += step * b if b % 2 else b // (step + 1)
    sizes = {c: "c", b: "b"}
    most = max(a, b, c)
    share = ratio(a + 1, b + 1) / 3
    if share > 1 and sizes.get(a):
        total += common_multiple([share.denominator, c + 1])
    if not a:
        raise ArithmeticError(f"no {b} of {c:5d}")
    return {
        "total": total,
        "share": as_float(share),
        "most": most,
        "ceil": math.ceil(share * b) + whole(ratio(b, 2)),
        "text": [10, 20, 30, 40][b % 4],
    }


def refused(values: dict[str, Any]) -> dict[str, Any]:
    try:
        return an_algorithm(values)
    except ArithmeticError as error:
        return {"error": str(error)}


@settings(max_examples=150, deadline=None)
@given(
    points=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 40), st.integers(0, 10**15)),
        min_size=1,
        max_size=12,
    )
)
def test_a_replayed_function_is_the_function(points: list[tuple[int, int, int]]) -> None:
    replay = Replay(refused)
    for _ in range(2):  # a second time everything is known
        inputs = {
            name: list(column)
            for name, column in zip("abc", zip(*points, strict=True), strict=True)
        }
        found: dict[int, dict[str, Any]] = {}
        for group in replay(inputs, len(points)):
            rows = group.rows
            for name in group.results:
                result = group[name]
                for place, row in enumerate(rows.tolist()):
                    own = found.setdefault(row, {})
                    if isinstance(result, str):
                        nodes = marks(result)
                        numbers = {n: values_of(group.column(n), len(rows))[place] for n in nodes}
                        own[name] = told(result, numbers, {})
                    else:
                        plain = isinstance(result, int)
                        own[name] = result if plain else values_of(result, len(rows))[place]
        for row, point in enumerate(points):
            wanted = refused(dict(zip("abc", point, strict=True)))
            assert found[row] == wanted
    assert replay.runs <= len(points)


def test_points_that_decide_alike_are_run_once() -> None:
    replay = Replay(lambda values: {"twice": values["n"] * 2 if values["n"] > 10 else values["n"]})
    list(replay({"n": [11, 12, 13, 1, 2, 3]}, 6))
    assert replay.runs == 2


def test_halves_go_to_the_even_neighbour() -> None:
    halves = [Fraction(n, 2) for n in range(-5, 6)]
    found = arrays.apply("round", [arrays.of_values(halves)])
    assert values_of(found, len(halves)) == [round(half) for half in halves]


def test_a_point_that_divides_by_zero_is_no_other_points_way() -> None:
    def function(values: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"share": ratio(12, values["n"]) * values["n"]}
        except ZeroDivisionError:
            return {"share": -1}

    for numbers in ([3, 0, 4], [0, 0, 5], [5, 6, 0]):
        found = {}
        for group in Replay(function)({"n": numbers}, 3):
            shares = values_of(group["share"], len(group.rows)) if group["share"] != -1 else [-1]
            found |= dict(
                zip(group.rows.tolist(), shares * (3 if shares == [-1] else 1), strict=False)
            )
        assert [found[row] for row in range(3)] == [12 if n else -1 for n in numbers]


def test_calls_take_all_rows_together() -> None:
    asked = []

    def engine(rows: Any) -> Any:
        asked.append(len(rows))
        return rows.sum(axis=1, keepdims=True)

    def function(values: dict[str, Any]) -> dict[str, Any]:
        n = values["n"]
        [found] = n.tape.call(engine, [n, 5], [n.value + 5])
        return {"found": found * 2}

    replay = Replay(function)
    [group] = replay({"n": [1, 2, 3]}, 3)
    assert group["found"].values.tolist() == [12, 14, 16]
    assert asked == [3]


@pytest.mark.parametrize(
    "leave",
    [
        int,
        float,
        bool,
        hash,
        repr,
        lambda n: [0, 1, 2, 3, 4][n],
        lambda n: list(range(n)),
        lambda n: np.zeros(n),
        lambda n: {n: 1},
        lambda n: n == 4,
        lambda n: n < 5,
        lambda n: n >= 5,
        lambda n: max(n, 2),
        lambda n: np.int64(4) == n,
    ],
)
def test_whatever_needs_the_number_decides(leave: Any) -> None:
    tape = Tape()
    leave(tape.input("n", 4))
    assert any(event[0] == "decide" for event in tape.events)


@pytest.mark.parametrize(
    "stay",
    [
        lambda n: n + 1,
        lambda n: Fraction(1, 3) * n,
        lambda n: np.int64(3) * n,
        lambda n: sum([n, n]),
        lambda n: math.prod([2, n]),
        lambda n: math.ceil(ratio(n, 3)),
        lambda n: round(ratio(n, 3)),
        lambda n: -abs(n),
        lambda n: 1.5 * as_float(n),
        lambda n: np.array([n, n], object).sum(),
    ],
)
def test_arithmetic_does_not_decide(stay: Any) -> None:
    tape = Tape()
    assert isinstance(stay(tape.input("n", 4)), Traced)
    assert not any(
        event[0] == "decide" and tape.values[event[1]] not in {False} for event in tape.events
    )


def test_numbers_of_two_tapes_do_not_meet() -> None:
    with pytest.raises(ValueError, match="another tape"):
        Tape().input("n", 1) + Tape().input("n", 1)
