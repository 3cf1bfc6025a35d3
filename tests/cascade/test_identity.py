"""A cascade's hash: of what it computes, not of its names."""

from __future__ import annotations

import re

from hypothesis import given, settings

from accelsim import spec, verbs
from accelsim.cascade import Cascade, cascade_from_text, fingerprint, show
from tests.cascade_strategies import cascades


def test_no_two_shipped_cascades_are_the_same() -> None:
    names = spec.names("cascade")
    assert len({fingerprint(verbs.load_cascade(name)) for name in names}) == len(names)


@given(cascades())
@settings(max_examples=80, derandomize=True, deadline=None, database=None)
def test_other_names_are_the_same_cascade(drawn: Cascade) -> None:
    text = show(drawn)
    renamed = re.sub(r"\b(T\d+|[XY])\b", lambda found: f"Other{found[0]}", text)
    renamed = re.sub(r"\bI\b", "Q", re.sub(r"\bi\b", "q0", renamed.replace("q", "z")))
    assert fingerprint(cascade_from_text(text)) == fingerprint(drawn)
    if "q0" not in renamed and "z" not in renamed:
        assert fingerprint(cascade_from_text(renamed)) == fingerprint(drawn)


def test_another_operator_is_another_cascade() -> None:
    text = show(verbs.load_cascade("attention_1pass"))
    other = text.replace("RM[b,h,m1,p] = max", "RM[b,h,m1,p] = min").replace(":: max", ":: min", 1)
    assert other != text
    assert fingerprint(cascade_from_text(other)) != fingerprint(cascade_from_text(text))
