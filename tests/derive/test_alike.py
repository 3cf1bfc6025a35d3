"""Cascades are the same but for names, order and what commutes, or they are not."""

from __future__ import annotations

import re

import pytest

from accelsim import verbs
from accelsim.cascade import cascade_from_text, interpret, show
from accelsim.derive import isomorphism, renamed
from tests.derive.numbers import both

SHIPPED = "attention_1pass"
OTHER_NAMES = {
    "RM": "TOP",
    "RD": "BELOW",
    "SLN": "E1",
    "LM": "G",
    "QK": "S",
    "M1": "J1",
    "M0": "J0",
}


def shipped() -> str:
    return show(verbs.load_cascade(SHIPPED))


def with_other_names(text: str) -> str:
    """Tensors and parts of ranks under other names, their variables too."""
    for old, new in OTHER_NAMES.items():
        text = re.sub(rf"\b{old}\b", new, text)
    return re.sub(r"\bm([01])\b", r"j\1", text)


def commuted(text: str) -> str:
    text = text.replace("max(RM[b,h,m1,p], LM[b,h,m1,p])", "max(LM[b,h,m1,p], RM[b,h,m1,p])")
    text = text.replace("Q[b,h,e,p] * K[b,h,e,m1,m0]", "K[b,h,e,m1,m0] * Q[b,h,e,p]")
    return text.replace("SLD[b,h,m1,p] + SPD[b,h,m1,p]", "SPD[b,h,m1,p] + SLD[b,h,m1,p]")


SAME = {
    "names": with_other_names,
    "commuted": commuted,
    "both": lambda text: with_other_names(commuted(text)),
}


@pytest.mark.parametrize("change", SAME)
def test_found_under_other_names(change: str) -> None:
    text = SAME[change](shipped())
    assert text != shipped()
    like = verbs.load_cascade(SHIPPED)
    made = cascade_from_text(text)
    found = renamed(made, like)
    assert found is not None
    assert [e.output for e in found.einsums] == [e.output for e in like.einsums]
    assert isomorphism(found, like) is not None
    for _, a, b in both(like, found, many=3, kinds=("usual",)):
        assert (a == b).all()


def test_order_of_statements_does_not_matter() -> None:
    """Of two that do not need each other."""
    text = shipped()
    first, second = (
        next(line for line in text.splitlines() if line.startswith(f"  {name}["))
        for name in ("SLD", "SLNV")
    )
    swapped = text.replace(first, "@").replace(second, first).replace("@", second)
    found = renamed(cascade_from_text(swapped), verbs.load_cascade(SHIPPED))
    assert found is not None
    assert [e.name for e in found.einsums] == [e.name for e in verbs.load_cascade(SHIPPED).einsums]


DIFFERENT = {
    "an operator": ("RD[b,h,m1,p] * PRM[b,h,m1,p]", "RD[b,h,m1,p] + PRM[b,h,m1,p]"),
    "a reduce operator": ("QK[b,h,m1,m0,p] :: max", "QK[b,h,m1,m0,p] :: min"),
    "an index": ("m0,p] - RM[b,h,m1+1,p])", "m0,p] - RM[b,h,m1,p])"),
    "a tensor": ("SLN[b,h,m1,m0,p] * V", "QK[b,h,m1,m0,p] * V"),
    "an initial value": ("RD: 0", "RD: 1"),
    "the order of a difference": (
        "exp(RM[b,h,m1,p] - RM[b,h,m1+1,p])",
        "exp(RM[b,h,m1+1,p] - RM[b,h,m1,p])",
    ),
    "a quotient": ("RNV[b,h,f,M1,p] / RD[b,h,M1,p]", "RNV[b,h,f,M1,p] * RD[b,h,M1,p]"),
    "a predicate": ("V[b,h,f,m1,m0]\n", "V[b,h,f,m1,m0] | m <= p\n"),
    "the order of an input's ranks": ("K: [B, H, E, M1, M0]", "K: [H, B, E, M1, M0]"),
}


@pytest.mark.parametrize("change", DIFFERENT)
def test_a_change_is_no_renaming(change: str) -> None:
    old, new = DIFFERENT[change]
    assert old in shipped()
    text = shipped().replace(old, new)
    if change.startswith("the order of an input"):
        text = text.replace("K[b,h,e", "K[h,b,e")
    assert isomorphism(cascade_from_text(text), verbs.load_cascade(SHIPPED)) is None


def test_predicates_are_renamed() -> None:
    text = shipped().replace("V[b,h,f,m1,m0]\n", "V[b,h,f,m1,m0] | m <= p\n")
    like = cascade_from_text(text)
    found = renamed(cascade_from_text(with_other_names(text)), like)
    assert found is not None
    assert found.einsum("SLNV").predicate == like.einsum("SLNV").predicate


def test_twins_are_told_apart_by_what_they_are_read_for() -> None:
    """Two inputs of one shape in different places: exchanged, another cascade."""
    body = "cascade: c\nsource: a test\nranks: {I: i}\ntensors: {A: [I], B: [I], Y: [I]}\n"
    one = cascade_from_text(f"{body}outputs: [Y]\neinsums: |\n  Y[i] = A[i] - B[i]\n")
    other = cascade_from_text(f"{body}outputs: [Y]\neinsums: |\n  Y[i] = B[i] - A[i]\n")
    found = isomorphism(one, other)
    assert found is not None
    assert found.tensors == {"A": "B", "B": "A", "Y": "Y"}
    numbers = {"A": [1.0, 5.0], "B": [3.0, 2.0]}
    made = renamed(one, other)
    assert made is not None
    assert (interpret(made, numbers)["Y"] == interpret(other, numbers)["Y"]).all()
