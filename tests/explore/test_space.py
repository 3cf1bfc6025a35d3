"""Axes and their points: numbered in the order of their product, without listing it."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim import explore
from accelsim.errors import AccelsimError
from accelsim.explore import space
from accelsim.explore.axes import Axis, axis_of
from accelsim.explore.constraint import read
from accelsim.explore.space import Space
from accelsim.spec.studies import AxisSpec

STUDY = """sweep: s
source: here
axes: {AXES}
cases:
  - {workload: bert, runs: {a: {mapping: fusemax__attention_1pass}}}
"""


def listed(axes: list[Axis]) -> list[dict[str, Any]]:
    """All points, as plain loops make them."""
    points: list[dict[str, Any]] = [{}]
    for axis in axes:
        points = [
            {**point, axis.name: value}
            for point in points
            for value in (
                axis.values if all(point[on] in values for on, values in axis.when) else (None,)
            )
        ]
    return points


@st.composite
def axes(draw: st.DrawFn) -> list[Axis]:
    made: list[Axis] = []
    for number in range(draw(st.integers(0, 5))):
        values = tuple(range(draw(st.integers(1, 4))))
        when = []
        for other in made:
            if draw(st.integers(0, 2)) == 0:
                some = st.lists(st.sampled_from(other.states), min_size=1, unique=True)
                when.append((other.name, tuple(draw(some))))
        made.append(Axis(f"a{number}", values, tuple(when)))
    return made


@settings(deadline=None)
@given(axes(), st.data())
def test_points_are_numbered_in_the_order_of_the_product(made: list[Axis], data: Any) -> None:
    made_space, expected = Space(made), list(enumerate(listed(made)))
    assert len(made_space) == len(expected)
    assert made_space.points(0, len(expected)) == expected
    first = data.draw(st.integers(0, len(expected)))
    last = data.draw(st.integers(first, len(expected) + 2))
    assert made_space.points(first, last) == expected[first:last]


@settings(deadline=None)
@given(axes(), st.integers(0, 4))
def test_a_constraint_leaves_points_out_and_keeps_numbers(made: list[Axis], limit: int) -> None:
    """It says nothing of points at which an axis that it names is absent."""
    names = [axis.name for axis in made[:2]]
    if not names:
        return
    constraint = read(f"{' + '.join(names)} <= {limit}", lambda name: True, ())
    whole = list(enumerate(listed(made)))
    kept = [
        (number, point)
        for number, point in whole
        if None in (values := [point[name] for name in names]) or sum(values) <= limit
    ]
    made_space = Space(made, [constraint])
    assert made_space.points(0, len(whole)) == kept
    assert len(made_space) == len(whole)


def test_a_million_points_are_not_listed() -> None:
    made = [Axis(name, tuple(range(1000))) for name in "abcd"]
    when = Axis("e", (1, 2), (("a", (7,)),))
    made_space = Space([*made, when])
    tracemalloc.start()
    try:
        assert len(made_space) == 1000**4 + 1000**3
        ((number, point),) = made_space.points(10**12, 10**12 + 1)
        taken = sum(1 for _ in made_space.walk(10**11, 10**11 + 100_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (number, point["a"], point["b"], point["e"]) == (10**12, 999, 0, None)
    assert taken == 100_000
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ({"range": [16, 64], "step": 16}, (16, 32, 48, 64)),
        ({"range": [1, 8], "step": 3}, (1, 4, 7)),
        ({"range": [1, 3]}, (1, 2, 3)),
        ({"range": [0.1, 0.5], "step": 0.1}, (0.1, 0.2, 0.3, 0.4, 0.5)),
        ({"powers": [1, 20]}, (1, 2, 4, 8, 16)),
        ({"powers": [1, 100], "of": 10}, (1, 10, 100)),
        ({"powers": ["512 KiB", "2 MiB"]}, ("512 KiB", "1024 KiB", "2048 KiB")),
        ({"powers": ["0.5GB/s", "2 GB/s"]}, ("0.5 GB/s", "1.0 GB/s", "2.0 GB/s")),
        ({"values": ["x", 2]}, ("x", 2)),
    ],
)
def test_forms_of_axes(form: dict[str, Any], values: tuple[Any, ...]) -> None:
    made = axis_of("a", AxisSpec.model_validate(form)).values
    assert made == values
    assert [type(value) for value in made] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "expected one of values, range and powers"),
        ({"range": [1, 2], "values": [1]}, "expected one of values, range and powers"),
        ({"range": [2, 1]}, "expected a first number up to the last"),
        ({"range": [1, 2], "step": 0}, "a step above 0"),
        ({"range": [1, 2, 3]}, "expected a first and a last number"),
        ({"range": ["1 MiB", "2 MiB"]}, "expected a first and a last number"),
        ({"range": [0, 1], "step": 1e-9}, "more than 1,000,000 values"),
        ({"range": [1, 2], "of": 2}, "of goes with powers"),
        ({"powers": [1, 2], "step": 2}, "step goes with range"),
        ({"powers": [1, 8], "of": 1}, "`of` above 1"),
        ({"powers": [0, 8]}, "expected a first one above 0"),
        ({"powers": ["1 MiB", "2 GHz"]}, "two quantities of a kind"),
        ({"powers": ["1 MiB", 8]}, "two quantities of a kind"),
        ({"powers": [1, 2], "of": 1.0000001}, "more than 1,000 values"),
    ],
)
def test_forms_that_are_none(form: dict[str, Any], message: str) -> None:
    with pytest.raises(AccelsimError) as error:
        axis_of("a", AxisSpec.model_validate(form))
    assert message in str(error.value)


def loaded(tmp_path: Path, text: str, more: str = "") -> Space:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("{AXES}", text) + more)
    return space.of(explore.load(str(tmp_path)).spec)


def test_a_study_has_the_points_of_its_file(tmp_path: Path) -> None:
    text = "{kind: [x, y], n: {powers: [1, 4], when: {kind: y}}, m: {range: [1, 2]}}"
    made = loaded(tmp_path, text, "constraints: [n * m < 8]\n")
    assert [tuple(axes.values()) for _, axes in made.points(0, len(made))] == [
        ("x", None, 1), ("x", None, 2),
        ("y", 1, 1), ("y", 1, 2), ("y", 2, 1), ("y", 2, 2), ("y", 4, 1),
    ]  # fmt: skip


def test_a_quantity_counts_in_base_units(tmp_path: Path) -> None:
    text = "{buffer: {powers: [1 MiB, 4 MiB]}, side: [1024, 2048]}"
    made = loaded(
        tmp_path, text, "constraints: [buffer <= side * side / 2, buffer >= '2048 KiB']\n"
    )
    assert [tuple(axes.values()) for _, axes in made.points(0, 6)] == [("2 MiB", 2048)]


def test_a_base_gives_its_axes_and_constraints(tmp_path: Path) -> None:
    loaded(tmp_path, "{n: {range: [1, 4]}, m: [1]}", "constraints: [n > 1]\n")
    own = tmp_path / "own.yaml"
    own.write_text(
        "sweep: t\nsource: here\nbase: study.yaml\naxes: {m: [1, 2]}\nconstraints: [n < 4]\n"
    )
    made = space.of(explore.load(str(own)).spec)
    points = [tuple(axes.values()) for _, axes in made.points(0, len(made))]
    assert points == list(itertools.product([2, 3], [1, 2]))
