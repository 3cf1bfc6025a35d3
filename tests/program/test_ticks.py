"""One tick for all durations: exact, or coarser with a note that bounds the error."""

from __future__ import annotations

from fractions import Fraction
from math import lcm

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim import verbs
from accelsim.errors import AccelsimError
from accelsim.program.ticks import LIMIT, to_ticks

AWKWARD = ("arch.clock=1.7553 GHz", "arch.levels.dram.bandwidth=4613700000001 B/s")


def test_the_least_common_denominator() -> None:
    durations = [Fraction(3, 4), Fraction(5, 6), Fraction(7)]
    assert to_ticks([([10], durations, [Fraction(1, 5)])]) == (60, None)


fractions = st.builds(Fraction, st.integers(1, 10**6), st.integers(1, 10**4))


@given(st.lists(fractions, min_size=1, max_size=6), st.integers(1, 10**6))
@settings(max_examples=300, derandomize=True, deadline=None, database=None)
def test_every_duration_is_whole_or_it_is_said(durations: list[Fraction], trips: int) -> None:
    per_cycle, note = to_ticks([([trips], durations, [])])
    assert per_cycle * sum(durations) * trips < LIMIT
    if note is None:
        assert per_cycle == lcm(*(d.denominator for d in durations))
        assert all((d * per_cycle).denominator == 1 for d in durations)
    else:
        assert per_cycle & (per_cycle - 1) == 0


def test_awkward_ratios_are_rounded_with_a_note() -> None:
    exact = verbs.simulate("fusemax__attention_1pass", "bert", 4096).result
    rounded = verbs.simulate("fusemax__attention_1pass", "bert", 4096, settings=AWKWARD).result

    assert exact.notes == []
    assert exact.ticks_per_cycle == 2048
    assert rounded.ticks_per_cycle == 1024
    assert len(rounded.notes) == 1
    assert "durations rounded up to 1/1024 cycle" in rounded.notes[0]


def test_what_no_tick_can_count_is_refused() -> None:
    with pytest.raises(AccelsimError, match="does not fit 64-bit time"):
        to_ticks([([1 << 62], [Fraction(3)], [])])
