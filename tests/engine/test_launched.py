"""Launched phases: the compiled engine against the reference, and both against the words."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from accelsim.engine import compiled, reference
from accelsim.program import Program
from accelsim.program.check import check
from accelsim.results import Execution
from tests.engine.test_engines_agree import assert_equal
from tests.launched_programs import launched_programs

EVERYTHING = settings(max_examples=400, derandomize=True, deadline=None, database=None)
SOME = settings(max_examples=100, derandomize=True, deadline=None, database=None)


def agree(program: Program) -> Execution:
    """Both engines, to the tick and to the byte."""
    expected, found = reference.run(program), compiled.run(program, None)
    assert_equal(expected, found)
    for one, other in zip(expected.phases, found.phases, strict=True):
        assert one.moves == other.moves
    return expected


@given(launched_programs())
@EVERYTHING
def test_reference_and_compiled_agree_on_every_task(drawn: Program) -> None:
    check(drawn)
    agree(drawn)


@given(launched_programs())
@SOME
def test_no_time_is_lost_or_found(drawn: Program) -> None:
    of_each = np.array([1 if server.shared else drawn.clusters for server in drawn.servers])
    for phase in reference.run(drawn).phases:
        total = phase.busy + phase.waits.sum(axis=1) + phase.tail
        np.testing.assert_array_equal(total, (phase.end - phase.begin) * of_each)
        assert (phase.waits >= 0).all()
        assert (phase.tail >= 0).all()
