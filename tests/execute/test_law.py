"""Law 6: the mapped loop nest on numbers gives the cascade's result and the Program's counts."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelsim.execute.check import error, reference
from accelsim.execute.counts import differences, stated
from accelsim.execute.inputs import drawn
from accelsim.execute.run import execute, sizes
from tests.execute.small import EVERY, Case, small
from tests.launches.drawn import DRAWN, built

CLOSE = 1e-12
SOME = settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def obeys(case: Case, of: Case | None = None) -> None:
    """Outputs equal to `interpret`, accesses equal to the Program's actions; of another case."""
    mapped, lowered, shapes, tables = case
    meant, said, *_ = of or case
    own = sizes(meant, shapes, tables)
    inputs = drawn(own, 0)
    found = execute(mapped, lowered, shapes, inputs, tables=tables)
    for name, values in reference(own, inputs).items():
        off = error(found.outputs[name], values, meant.cascade.tensor(name).ranks)
        assert off.wrong == 0
        assert off.overall <= CLOSE, name
    assert differences(found.counts, stated(said)) == []


@pytest.mark.parametrize("name", EVERY)
def test_shipped_mappings(name: str) -> None:
    obeys(small(name))


@pytest.mark.parametrize("kernel", DRAWN)
@given(data=st.data())
@SOME
def test_random_launches(kernel: str, data: st.DataObject) -> None:
    walk = data.draw(DRAWN[kernel])
    mapped, lowered = built(walk)
    obeys((mapped, lowered, dict(walk.shapes), dict(walk.tables)))
