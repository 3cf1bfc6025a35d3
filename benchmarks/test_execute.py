"""Speed of mapped execution. `make bench`; not part of the tests.

Budgets to hold: a head of 2048 x 2048 x 64 in 2 s, one of 8192 x 8192 x 64 in 30 s.
"""

from __future__ import annotations

from typing import Any

import pytest

from accelsim import program, verbs
from accelsim.execute.inputs import drawn
from accelsim.execute.run import execute, sizes

ONE_HEAD = ("workload.ranks.B=1", "workload.ranks.H=1")


@pytest.mark.parametrize(
    "mapping",
    ["fusemax__attention_1pass", "fusemax__attention_1pass_window", "h100__fa2"],
)
@pytest.mark.parametrize(("length", "budget"), [(2048, 2), (8192, 30)])
def test_one_head(benchmark: Any, mapping: str, length: int, budget: float) -> None:
    model, settings = ("bert", ONE_HEAD)
    if mapping == "h100__fa2":
        widths = ("workload.ranks.G=1", "workload.ranks.E=64", "workload.ranks.F=64")
        model, settings = "llama3-8b", (*ONE_HEAD, *widths)
    loaded = verbs.load(mapping, model, length, settings)
    lowered = program.lower(loaded.mapping)
    inputs = drawn(sizes(loaded.mapping, loaded.shapes, loaded.tables), 0)
    run = (loaded.mapping, lowered, loaded.shapes, inputs)
    benchmark.pedantic(execute, run, {"tables": loaded.tables}, rounds=3, warmup_rounds=1)
    assert benchmark.stats.stats.min < budget
