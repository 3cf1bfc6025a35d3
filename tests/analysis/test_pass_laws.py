"""Laws of pass counts: the unrolled definition in both directions, and inlining."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim import analysis
from accelsim.analysis.passes import MAX_SWEEPS, _Fixpoint
from accelsim.cascade import Cascade, Einsum, cascade_from_text
from accelsim.cascade.nodes import Access, At, Call, Expression, reduced_variables
from tests.analysis import cascades, oracle
from tests.analysis.random_cascades import hard_cascades
from tests.analysis.test_passes import pairs

DIRECTIONS = tuple(frozenset(down) for down in ((), (1,), (2,), (1, 2)))


def by_rule(built: Cascade, tensor: str, rank: str, down: frozenset[int]) -> int | None:
    ascending = tuple(sweep not in down for sweep in range(1, MAX_SWEEPS + 1))
    return _Fixpoint(built, tensor, rank, ascending).solve()[0]


@pytest.mark.parametrize("down", DIRECTIONS)
@pytest.mark.parametrize("name", ["suffix", "prefix_with_suffix", "two_ways", "prefix", "softmax"])
def test_the_rule_is_the_definition_in_each_direction(name: str, down: frozenset[int]) -> None:
    """Against a recurrence each sweep yields a look-ahead of coordinates: one pass for each."""
    built = cascade_from_text(cascades.ALL[name])
    for tensor, rank in pairs(built):
        counted = by_rule(built, tensor, rank, down)
        unrolled = oracle.passes(built, tensor, rank, down=down)
        if counted is None:
            assert unrolled > 2, (tensor, rank)
        else:
            assert counted == unrolled, (tensor, rank)


@given(hard_cascades(), st.data())
@settings(max_examples=200, derandomize=True, deadline=None)
def test_the_rule_is_the_definition_with_ends_halos_tiles(
    built: Cascade, data: st.DataObject
) -> None:
    tensor, rank = data.draw(st.sampled_from(pairs(built)))
    down = data.draw(st.sampled_from(DIRECTIONS))
    counted = by_rule(built, tensor, rank, down)
    if counted is not None:  # else as many as the oracle's fiber is long: no number to compare
        assert counted == oracle.passes(built, tensor, rank, down=down)


def inlined(built: Cascade, name: str) -> Cascade | None:
    """The cascade with a point-by-point tensor written out in its readers; None if it cannot be."""
    einsum = built.einsum(name)
    fixed = built.tensor(name).initial is not None or einsum.predicate or name in built.outputs
    if fixed or reduced_variables(einsum):
        return None
    readers = [access for e in built.einsums for access in e.inputs if access.tensor == name]
    if not all(isinstance(index, At) for access in readers for index in access.indices):
        return None
    rest = tuple(_written_out(e, einsum) for e in built.einsums if e.name != name)
    return replace(built, einsums=rest, tensors=tuple(t for t in built.tensors if t.name != name))


def _written_out(reader: Einsum, made: Einsum) -> Einsum:
    return replace(reader, expression=_substitute(reader.expression, made))


def _substitute(expression: Expression, made: Einsum) -> Expression:
    if isinstance(expression, Call):
        return replace(
            expression, arguments=tuple(_substitute(a, made) for a in expression.arguments)
        )
    if not isinstance(expression, Access) or expression.tensor != made.name:
        return expression
    at = {
        own.variable: index
        for own, index in zip(made.output.indices, expression.indices, strict=True)
        if isinstance(own, At) and isinstance(index, At)
    }
    return _moved(made.expression, at)


def _moved(expression: Expression, at: dict[str, At]) -> Expression:
    if isinstance(expression, Call):
        return replace(expression, arguments=tuple(_moved(a, at) for a in expression.arguments))
    if not isinstance(expression, Access):
        return expression
    indices = tuple(
        At(at[i.variable].variable, at[i.variable].offset + i.offset) if isinstance(i, At) else i
        for i in expression.indices
    )
    return replace(expression, indices=indices)


@pytest.mark.parametrize("name", sorted(cascades.ALL))
def test_inlining_keeps_the_passes_of_inputs(name: str) -> None:
    built = cascade_from_text(cascades.ALL[name])
    before = analysis.passes(built)
    for einsum in built.einsums:
        smaller = inlined(built, einsum.name)
        if smaller is not None:
            after = analysis.passes(smaller)
            for tensor in built.inputs:
                assert after.by_tensor[tensor] == before.by_tensor[tensor], (einsum.name, tensor)


def test_inlining_is_possible_somewhere() -> None:
    built = cascade_from_text(cascades.THREE_PASS)
    assert [e.name for e in built.einsums if inlined(built, e.name)] == ["N", "A"]
