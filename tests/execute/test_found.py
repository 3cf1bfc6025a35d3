"""Programs that did not do what their mappings say, as drawn mappings have shown: now refused, or
put right."""

from __future__ import annotations

from typing import Any

import pytest

from accelsim import cascade, mapping, program, spec
from accelsim.cascade import cascade_from_text
from accelsim.errors import MappingError
from tests.execute.small import Case
from tests.execute.test_drawn import BUFFER, MACHINE, SUMS
from tests.execute.test_law import obeys

SHAPES = {"B": 1, "H": 1, "E": 2, "F": 2, "M": 10, "P": 10, "window": 3}
PLACE = ("phases", "attention")


def attention(*changes: tuple[tuple[str | int, ...], Any], masked: bool) -> Case:
    sizes = [(("partition", *path), n) for path, n in ((("M", "M0"), 2), (("P", "P0"), 2))]
    name = "fusemax__attention_1pass" + "_window" * masked
    document = spec.load(name, "mapping", [*sizes, (("partition", "P", "P1"), 1), *changes])
    built = cascade.build(spec.load(document.spec.cascade, "cascade"))
    made = mapping.build(document, built, MACHINE, SHAPES)
    return made, program.lower(made), SHAPES, {}


def sums(condition: str, *, off_chip: bool = False) -> Case:
    built = cascade_from_text(SUMS.replace("{REDUCE}", "").replace("{CONDITION}", condition))
    text = """
mapping: sums
source: none
arch: fusemax
cascade: sums
partition: {M: {M1: rest, M0: 4}, N: {N1: rest, N0: 4}, K: {K1: rest, K0: 4}}
phases:
  sums:
    loops: [N1, K1, M1]
    einsums: {Z: {unit: array_2d}, Y: {unit: array_1d}}
    storage:
      A: {level: global_buffer}
      B: {level: global_buffer}
      Z: {level: global_buffer, off_chip: AWAY}
"""
    text = text.replace("AWAY", "true" if off_chip else "false")
    document = spec.load_text(text, "mapping")
    shapes = {"M": 12, "N": 8, "K": 12}
    made = mapping.build(document, built, MACHINE, shapes)
    return made, program.lower(made), shapes, {}


@pytest.mark.parametrize("condition", ["", "| k <= m", "| m <= k"])
def test_parts_of_sums_are_read_but_for_the_first_that_is_visited(condition: str) -> None:
    """Of a triangle of 3 x 3 tiles 6 are visited: 3 of them add to what is there, for each N1."""
    case = sums(condition)
    obeys(case)
    (task,) = (task for task in case[1].phases[0].tasks if task.name == "Z")
    (again,) = (a for a in task.actions if (a.part, a.action, a.tensor) == (BUFFER, "read", "Z"))
    visits = 6 if condition else 9
    assert again.count * visits == visits - 3


def test_a_sum_over_tiles_is_not_kept_off_chip() -> None:
    with pytest.raises(MappingError, match=r"Z\.off_chip: it is summed over tiles"):
        sums("", off_chip=True)


def test_what_is_off_chip_comes_back_after_it_has_gone_out() -> None:
    away = ((*PLACE, "storage", "SLNV"), {"level": BUFFER, "slots": 4, "off_chip": True})
    with pytest.raises(MappingError, match="takes SLNV of a tile before spill SLNV"):
        attention(away, masked=False)


def test_tiles_that_are_loaded_ahead_are_those_of_the_next_iteration() -> None:
    """Keys that stay over P1 are loaded for the next P2 while this one visits its own: under a
    window, others."""
    orders = [
        ((*PLACE, "loops"), ["B", "H", "P2", "P1", "M1"]),
        ((*PLACE, "storage", "K"), {"level": BUFFER, "slots": 2, "keep": ["P1"]}),
        ((*PLACE, "storage", "Q"), {"level": BUFFER, "slots": 1}),
    ]
    obeys(attention(*orders, masked=False))
    with pytest.raises(MappingError, match="do not visit the same"):
        attention(*orders, masked=True)
