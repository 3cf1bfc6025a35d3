"""The law: a real kernel's loads and stores are the Program's, byte for byte, access by access.

198 cases, a written product of kernel x mask x width x format x ragged lengths (validate/suite.py).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from accelsim.validate import kernels, suite
from accelsim.validate.compare import differences, trace_faults
from accelsim.validate.tiers import number_faults
from tests.kernels.traced import needs_triton

CASES = suite.cases()
NAMES = [f"{case['kernel']} {case['dtype']} {case['mask']} {case['shape']}" for case in CASES]


@pytest.fixture(scope="module")
def traced() -> list[dict[str, Any]]:
    return kernels.traced(CASES, trace=True)


def test_the_product_is_what_it_says() -> None:
    """At least 150 cases, 10 per kernel, 5 per mask of a kernel; widths, formats, ragged or not."""
    assert len(CASES) >= 150
    assert len(set(NAMES)) == len(CASES)
    assert min(Counter(case["kernel"] for case in CASES).values()) >= 10
    masks = Counter((case["kernel"], str(case["mask"])) for case in CASES)
    assert min(masks.values()) >= 5
    widths = {case["shape"].get("D", case["shape"].get("E")) for case in CASES}
    assert widths == {64, 128, 256}
    assert {case["dtype"] for case in CASES} == {"float16", "bfloat16", "float32"}


@needs_triton
@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_kernel_and_program_ask_for_the_same(traced: list[dict[str, Any]], number: int) -> None:
    """Bytes per tensor, read and written; products; every access of every program instance."""
    result = traced[number]
    assert "error" not in result, result["error"]
    assert differences(result) == []
    assert trace_faults(result) == []


@needs_triton
@pytest.mark.parametrize("number", [i for i, c in enumerate(CASES) if c["dtype"] in suite.EXACT])
def test_kernel_computes_the_reference(traced: list[dict[str, Any]], number: int) -> None:
    """Of the formats that the interpreter rounds as a GPU does: all outputs within their gate."""
    assert number_faults(traced[number]) == []
