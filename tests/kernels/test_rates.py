"""The loops that rates are measured with: what they hold, and how rates follow from clocks."""

from __future__ import annotations

from typing import Any

import pytest

from kernels.ptx import mma_sync, softmax, source, vector, wgmma
from kernels.rates import TOGETHER, assemble, clocks, measure, reduce
from tests.kernels.traced import needs_triton

pytestmark = needs_triton
FILLED = {"BRA": 1, "ISETP": 1, "UIADD3": 1}


def loops(*bodies: Any, split: str = "warps") -> list[dict[str, int]]:
    return assemble(source(bodies, split))[1]


def test_products_are_all_that_matrix_loops_hold() -> None:
    for body, n, warpgroups in ((wgmma(128), 128, 1), (wgmma(64, 2), 64, 2)):
        (loop,) = loops(body)
        assert loop["HGMMA"] * 2 * 64 * n * 16 * warpgroups == body.work["flop"]
        assert sum(loop.values()) <= 4 * loop["HGMMA"], loop
    for ldmatrix in (False, True):
        body = mma_sync(8, ldmatrix)
        (loop,) = loops(body)
        assert loop["HMMA"] * 2 * 16 * 8 * 16 * 8 == body.work["flop"]
        assert loop.get("LDSM", 0) == (loop["HMMA"] // 4 if ldmatrix else 0)
        assert sum(loop.values()) <= loop["HMMA"] + loop.get("LDSM", 0) + 8, loop


def test_vector_loops_hold_one_instruction_per_element() -> None:
    for kind, instruction in (("ex2", "MUFU.EX2"), ("max", "FMNMX"), ("convert", "F2FP")):
        body = vector(kind, 128)
        assert loops(body) == [{**FILLED, instruction: body.work[kind] // 128}]


def test_agents_beside_each_other_keep_their_loops() -> None:
    first, second = wgmma(128), softmax(128)
    scores = second.work["scores"] // 128
    expected = {**FILLED, **dict.fromkeys(("MUFU.EX2", "FFMA", "FMNMX", "FADD"), scores)}
    for split in ("warps", "ctas"):
        products, vectors = loops(first, second, split=split)
        assert products["HGMMA"] * 2 * 64 * 128 * 16 == first.work["flop"]
        assert vectors == expected
    with pytest.raises(ValueError, match="threads"):
        loops(wgmma(64, 2), second, split="ctas")


def test_a_measurement_says_what_ran() -> None:
    found = measure(TOGETHER["wgmma n128 and softmax, two CTAs"], dry_run=True)
    agents = [[agent["agent"] for agent in run["agents"]] for run in found["runs"]]
    first, second = wgmma(128).name, softmax(128).name
    assert agents == [[first], [second], [first, second]]
    assert len(found["loops"]) == 2
    (loaded,) = clocks(dry_run=True).values()
    assert [run["launches"] for run in loaded] == [1, 30, 400]


def test_rates_follow_from_clocks() -> None:
    bodies = (wgmma(128), softmax(128))
    # iterations, multiprocessor, clock at start and end, nanoseconds at start and end
    idle = [0] * 6
    fast, slow = [100, 0, 1000, 3000, 10, 1010], [50, 1, 0, 2000, 0, 1000]
    vectors = [[300, sm, 0, 3000, 0, 2000] for sm in (0, 1)]
    numbers = [[fast, idle], [slow, idle], [idle, vectors[0]], [idle, vectors[1]]]
    found = reduce(numbers, bodies, running=3)
    assert found["sms"] == 2
    products, scores = found["agents"]
    flop = bodies[0].work["flop"]
    rate = {"median": flop * 0.0375, "least": flop * 0.025, "most": flop * 0.05}
    assert products["flop_per_clock"] == pytest.approx(rate)
    assert products["clock_hz"] == 2e9
    assert scores["scores_per_clock"]["median"] == bodies[1].work["scores"] * 0.1
    assert scores["clock_hz"] == 1.5e9
    # Two of the same agent on multiprocessor 1: it counts for nothing.
    numbers[2] = [idle, [300, 1, 0, 3000, 0, 2000]]
    with pytest.raises(ValueError, match="one of each"):
        reduce(numbers, bodies, running=3)
    assert reduce(numbers, bodies, running=1)["sms"] == 2
