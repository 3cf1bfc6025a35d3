"""Points under a predicate, counted by pieces, against looking at every point."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.analysis.patterns import patterns
from accelsim.analysis.pieces import NoPiecesError, Numbers, pieces
from accelsim.analysis.space import components, count, prepared, tile_counts
from accelsim.cascade.parse_whole import Vocabulary, WholeReader
from accelsim.cascade.whole import Whole, evaluate, variables
from accelsim.errors import AccelsimError

VOCABULARY = Vocabulary(frozenset({"w", "zero"}), frozenset({"t"}))
EXTENTS = {"h": 3, "p": 7, "m": 11}
NUMBERS = Numbers({"w": 4, "zero": 0, "M": 11}, {"t": np.array([0, 2, 1, 5, 3, 9, 4, 6, 8, 7, 10])})


def condition(text: str) -> Whole:
    return WholeReader(text, VOCABULARY).condition()


@st.composite
def terms(draw: st.DrawFn, of: str) -> str:
    """A whole-number expression of one variable, or none."""
    text = draw(st.sampled_from([of, of, f"{draw(st.integers(2, 3))}*{of}", "w", "M"]))
    if draw(st.booleans()):
        text += f" + {draw(st.integers(-6, 9))}".replace("+ -", "- ")
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return f"({text}) // {draw(st.integers(1, 4))}"
    if kind == 1:
        return f"({text}) % {draw(st.integers(1, 5))}"
    if kind == 2:
        return f"abs({text} - {draw(st.integers(0, 6))})"
    if kind == 3:
        function = draw(st.sampled_from(["min", "max"]))
        return f"{function}({text}, {draw(st.integers(0, 7))})"
    return text


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> str:
    if depth and draw(st.booleans()):
        kind = draw(st.sampled_from(["and", "or", "not"]))
        first = draw(conditions(depth - 1))
        if kind == "not":
            return f"not ({first})"
        return f"({first}) {kind} ({draw(conditions(depth - 1))})"
    relation = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
    left = draw(terms(draw(st.sampled_from("pm"))))
    right = draw(terms(draw(st.sampled_from("hpm"))))
    return f"{left} {relation} {right}"


def looked_at(wholes: list[Whole], kept: tuple[str, ...]) -> int:
    found = set()
    for point in product(*(range(n) for n in EXTENTS.values())):
        at = dict(zip(EXTENTS, point, strict=True))
        if all(evaluate(w, at, NUMBERS.named, NUMBERS.tables) for w in wholes):
            found.add(tuple(at[v] for v in kept))
    return len(found)


@settings(max_examples=400, deadline=None)
@given(st.lists(conditions(), min_size=1, max_size=2), st.sets(st.sampled_from("hpm")))
def test_counts_equal_looking_at_every_point(texts: list[str], kept: set[str]) -> None:
    wholes = [w for w in map(condition, texts) if variables(w)]
    chosen = tuple(sorted(kept))
    assert count(wholes, EXTENTS, NUMBERS, chosen) == looked_at(wholes, chosen)
    assert count(wholes, EXTENTS, NUMBERS) == looked_at(wholes, tuple(EXTENTS))


@settings(max_examples=200, deadline=None)
@given(conditions())
def test_pieces_are_disjoint_and_exact(text: str) -> None:
    whole = condition(text)
    rows = {"h": np.arange(21) // 7, "p": np.arange(21) % 7}
    try:
        found = pieces([whole], "m", 11, rows, NUMBERS)
    except NoPiecesError:
        return
    for row in range(21):
        covered = [
            m
            for piece in found
            for m in range(int(piece.low[row]), int(piece.high[row]))
            if m % piece.step == piece.residue[row] % piece.step
        ]
        at = {"h": row // 7, "p": row % 7}
        expected = [
            m for m in range(11) if evaluate(whole, {**at, "m": m}, NUMBERS.named, NUMBERS.tables)
        ]
        assert sorted(covered) == expected, text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m <= p", (1 << 20) * ((1 << 20) + 1) // 2),
        ("m <= p and p - m < 4096", (1 << 20) * 4096 - 4096 * 4095 // 2),
        (
            "m <= p and (p - m < 4096 or m < 4)",
            (1 << 20) * 4096 - 4096 * 4095 // 2 + 4 * ((1 << 20) - 4096) - 6,
        ),
    ],
)
def test_a_million_by_a_million(text: str, expected: int) -> None:
    extents = {"p": 1 << 20, "m": 1 << 20}
    assert count([condition(text)], extents, NUMBERS) == expected


def test_tables_and_draws_are_looked_at() -> None:
    for text in ("t[m] < p", "draw(3, h, p, m) % 4 == 0", "t[(m + p) % M] > h", "p * m < 9"):
        assert count([condition(text)], EXTENTS, NUMBERS) == looked_at(
            [condition(text)], tuple(EXTENTS)
        )
    big = {"p": 1 << 20, "m": 1 << 20}
    with pytest.raises(AccelsimError, match="too many to count"):
        count([condition("draw(p, m) % 2 == 0")], big, NUMBERS)


@settings(max_examples=200, deadline=None)
@given(conditions(), st.lists(st.integers(1, 5), min_size=3, max_size=3))
def test_tiles_are_counted_exactly(text: str, sizes: list[int]) -> None:
    whole = condition(text)
    tiles = dict(zip(EXTENTS, sizes, strict=True))
    found = tile_counts([whole], EXTENTS, tiles, NUMBERS)
    expected = np.zeros([-(-n // s) for n, s in zip(EXTENTS.values(), sizes, strict=True)], int)
    for point in product(*(range(n) for n in EXTENTS.values())):
        at = dict(zip(EXTENTS, point, strict=True))
        if evaluate(whole, at, NUMBERS.named, NUMBERS.tables):
            expected[tuple(c // s for c, s in zip(point, sizes, strict=True))] += 1
    np.testing.assert_array_equal(found, expected)


def test_tiles_of_a_million_by_a_million() -> None:
    million = {"p": 1 << 20, "m": 1 << 20}
    found = tile_counts([condition("m <= p")], million, {"p": 256, "m": 256}, NUMBERS)
    assert (found > 0).sum() == 4096 * 4097 // 2
    assert (found == 256 * 256).sum() == 4096 * 4095 // 2


def in_digits(rng: random.Random, extents: dict[str, int]) -> Whole:
    """A condition on digits of variables, such as `m // 4 % 2 + 1 <= p % 6`."""

    def number() -> str:
        variable = rng.choice(list(extents))
        divisors = [d for d in range(1, extents[variable] + 1) if extents[variable] % d == 0]
        text = f"{variable} // {rng.choice([*divisors, 3])}"
        if rng.random() < 0.6:
            text += f" % {rng.choice([*divisors, 2, 5])}"
        if rng.random() < 0.3:
            text = f"({text}) {rng.choice(['//', '%'])} {rng.randint(2, 5)}"
        return text + f" + {rng.randint(0, 3)}" * (rng.random() < 0.4)

    def some(depth: int) -> str:
        if depth and rng.random() < 0.5:
            return f"({some(depth - 1)} {rng.choice(['and', 'or'])} {some(depth - 1)})"
        return f"{number()} {rng.choice(['<', '<=', '==', '!=', '>='])} {number()}"

    return condition(some(2))


def test_digits_and_patterns_count_as_points_do() -> None:
    cut = by_pattern = 0
    for seed in range(600):
        rng = random.Random(seed)
        extents = {v: rng.choice([1, 6, 7, 8, 12, 16, 24]) for v in "hpm"[: rng.randint(1, 3)]}
        wholes = [in_digits(rng, extents) for _ in range(rng.randint(1, 2))]
        axes = np.meshgrid(*map(np.arange, extents.values()), indexing="ij")
        grid = dict(zip(extents, axes, strict=True))
        held = np.ones(list(extents.values()), bool)
        for whole in wholes:
            held = held & evaluate(whole, grid, {})
        numbers = Numbers({}, {})
        assert count(wholes, extents, numbers) == held.sum(), seed
        kept = rng.sample(list(extents), rng.randint(0, len(extents)))
        dropped = tuple(i for i, v in enumerate(extents) if v not in kept)
        assert count(wholes, extents, numbers, kept) == held.any(axis=dropped).sum(), seed
        sizes = {v: rng.choice([1, 2, 3, 4, 8, n]) for v, n in extents.items()}
        expected = held.astype(int)
        for axis, (variable, n) in enumerate(extents.items()):
            begins = np.arange(0, n, sizes[variable])
            expected = np.add.reduceat(expected, begins, axis=axis)
        np.testing.assert_array_equal(tile_counts(wholes, extents, sizes, numbers), expected)
        wanted, digits = prepared(wholes, extents, sizes, numbers)
        cut += bool(digits)
        by_pattern += any(
            patterns(own, dict.fromkeys(group, 2), dict.fromkeys(group, 1), numbers) is not None
            for group, own in components(wanted or [])
        )
    assert cut > 150
    assert by_pattern > 20


@pytest.mark.parametrize(
    "text",
    [
        "w <= zero * (m % 3)",
        "zero * abs(p - m) >= w",
        "m >= zero * min(p, m) + w",
        "p == zero * max(m, 3)",
        "m == zero * abs(p - 3)",
        "zero * m + p <= 3 and (zero * p) % 2 == 0",
    ],
)
def test_a_factor_of_zero(text: str) -> None:
    """A parameter of 0 switches a part of a predicate off."""
    whole = condition(text)
    extents = {v: EXTENTS[v] for v in "pm"}
    grid = dict(
        zip("pm", np.meshgrid(*map(np.arange, extents.values()), indexing="ij"), strict=True)
    )
    held = np.broadcast_to(evaluate(whole, grid, NUMBERS.named), tuple(extents.values()))
    assert count([whole], extents, NUMBERS) == held.sum()
    assert count([whole], extents, NUMBERS, ["m"]) == held.any(axis=0).sum()
    everywhere = {v: 2 for v in extents}
    cut = np.add.reduceat(np.add.reduceat(held.astype(int), range(0, 7, 2), 0), range(0, 11, 2), 1)
    np.testing.assert_array_equal(tile_counts([whole], extents, everywhere, NUMBERS), cut)
