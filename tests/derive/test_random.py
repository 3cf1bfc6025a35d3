"""Each rewrite keeps `interpret`, on random cascades; and it is not rare that it applies."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings

from accelsim import derive
from accelsim.cascade import Cascade, cascade_from_text
from accelsim.derive import NotApplicableError
from accelsim.derive.draft import Draft
from tests.derive.kept import VERDICTS, Arrays, drawn, explained, inputs, verdict
from tests.derive.random_cascades import cascades

Rewrite = Callable[[Cascade], Cascade]
EXAMPLES = {
    "partition": 100,
    "inline": 120,
    "merge": 120,
    "factor": 120,
    "split": 120,
    "localise": 140,
    "run": 180,
    "shared": 100,
    "dead": 60,
}
"""Kind of rewrite -> random cascades per run, 1,060 in all."""
CUT = {"partition": False, "localise": True, "split": True, "merge": True}
"""Kinds for which N has to be cut, or not, to apply often."""
OFTEN = 0.25
"""Applied at least so often, of random cascades; `RARER` are others."""
RARER = {"localise": 0.02, "shared": 0.08, "inline": 0.15}


def rewrites(kind: str, cascade: Cascade) -> Iterator[Rewrite]:
    """Of a kind, with every target there may be; each is done to what the last one made."""
    names = [einsum.name for einsum in cascade.einsums]
    if kind == "partition":
        yield lambda c: derive.partition(c, "N", ("N1", "N0"))
        yield lambda c: derive.partition(c, "R", ("R1", "R0"))
    elif kind == "shared":
        yield derive.shared
    elif kind in ("split", "localise"):
        for einsum in cascade.einsums:
            for count in range(1, len(einsum.reduced)):
                for inner in combinations(reversed(einsum.reduced), count):
                    yield partial(derive.split, name=einsum.name, inner=inner)
            if kind == "localise":
                yield partial(derive.localise, name=einsum.name, rank="N1")
                yield partial(derive.localise, name=einsum.name, rank="R")
    elif kind == "run":
        ranks = ("N1", "N0", "R") if cascade.partitions else ("N", "R")
        yield from (partial(derive.run, name=name, rank=rank) for rank in ranks for name in names)
    else:
        yield from (partial(getattr(derive, kind), name=name) for name in names)


def check(kind: str, cascade: Cascade, numbers: Arrays, counts: Counter[str]) -> None:
    for rewrite in rewrites(kind, cascade):
        try:
            made = rewrite(cascade)
        except NotApplicableError:
            continue
        if made == cascade:
            continue
        name = getattr(getattr(rewrite, "func", rewrite), "__name__", kind)
        found = verdict(cascade, made, numbers)
        assert found in VERDICTS, explained(cascade, made, found)
        counts[name if kind in ("split", "localise") else kind] += found == "same"
        cascade = made


def check_dead(cascade: Cascade, numbers: Arrays, counts: Counter[str]) -> None:
    """With some outputs alone: what they do not need goes."""
    if len(cascade.outputs) == 1:
        return
    for outputs in combinations(cascade.outputs, len(cascade.outputs) - 1):
        fewer = dataclasses.replace(cascade, outputs=outputs)
        made = Draft(fewer).done()
        read = {a.tensor for e in made.einsums for a in e.inputs if a.tensor != e.name}
        assert {t.name for t in made.tensors} == read | {*outputs}
        found = verdict(fewer, made, numbers)
        if not found.startswith("a value for what had none"):  # a dead one had none
            assert found in VERDICTS, explained(fewer, made, found)
        counts["dead"] += found == "same"


def law(kind: str, examples: int) -> Counter[str]:
    counts: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(cascades(cut=CUT.get(kind)), inputs)
    def on_random_cascades(text: str, given: tuple[int, str]) -> None:
        cascade = cascade_from_text(text)
        numbers = drawn(cascade, *given)
        counts["cascades"] += 1
        if kind == "dead":
            check_dead(cascade, numbers, counts)
        else:
            check(kind, cascade, numbers, counts)

    on_random_cascades()
    return counts


@pytest.mark.parametrize("kind", EXAMPLES)
def test_keeps_what_is_computed(kind: str) -> None:
    counts = law(kind, EXAMPLES[kind])
    assert counts[kind] >= RARER.get(kind, OFTEN) * counts["cascades"], counts


@pytest.mark.long
@pytest.mark.parametrize("kind", EXAMPLES)
def test_keeps_what_is_computed_on_many(kind: str) -> None:
    """20,000 in all."""
    examples = EXAMPLES[kind] * 20_000 // sum(EXAMPLES.values()) + 1
    counts = law(kind, examples)
    assert counts[kind] >= RARER.get(kind, OFTEN) * counts["cascades"], counts
    print(kind, dict(counts))
