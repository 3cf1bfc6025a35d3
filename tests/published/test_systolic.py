"""A systolic array takes the cycles of SCALE-Sim 3 (github.com/scalesim-project/SCALE-Sim).

Its total is the index of the last cycle, counted from zero: one less than the cycles taken.
"""

from __future__ import annotations

from math import ceil

import pytest

from accelsim import verbs
from accelsim.results import Result

AT = "mapping.phases.product"


def run(m: int, n: int, k: int, rows: int, columns: int, *settings: str) -> Result:
    given = (
        f"workload.ranks.M={m}",
        f"workload.ranks.N={n}",
        f"workload.ranks.K={k}",
        f"arch.units.array_2d.shape={{rows: {rows}, cols: {columns}}}",
        "arch.units.array_2d.timing=systolic",
        *settings,
    )
    return verbs.simulate("fusemax__gemm", "gemm", settings=given).result


def total(result: Result) -> float:
    return result.busy_cycles["array_2d"] - 1


@pytest.mark.parametrize(
    ("shape", "array", "cycles"),
    [((1024, 1024, 64), (32, 32), 129_023), ((4096, 4096, 64), (128, 128), 325_631)],
)
def test_totals_of_runs_of_scale_sim(
    shape: tuple[int, int, int], array: tuple[int, int], cycles: int
) -> None:
    assert total(run(*shape, *array)) == cycles


SIZES = [(64, 96, 40, 32, 16), (100, 70, 30, 32, 16), (16, 16, 16, 16, 16), (33, 65, 7, 8, 32)]


@pytest.mark.parametrize("size", SIZES)
def test_outputs_stay(size: tuple[int, int, int, int, int]) -> None:
    m, n, k, r, c = size
    whole = [f"workload.ranks.{x}={v}" for x, v in (("M", -(-m // r) * r), ("N", -(-n // c) * c))]
    assert total(run(*size, *whole)) == ceil(m / r) * ceil(n / c) * (r + c + k - 2) - 1


def stationary(rows: str, columns: str, cut: str) -> tuple[str, ...]:
    parts = f"{{{cut}1: rest, {cut}0: array_2d.cols}}"
    return (
        f"mapping.partition={{K: {{K1: rest, K0: array_2d.rows}}, {cut}: {parts}}}",
        f"{AT}.loops=[{cut}1, K1]",
        f"{AT}.einsums.Z.spatial={{rows: {rows}, cols: {columns}}}",
    )


@pytest.mark.parametrize("size", [(64, 96, 64, 32, 16), (40, 32, 96, 16, 32)])
def test_weights_stay(size: tuple[int, int, int, int, int]) -> None:
    m, n, k, r, c = size
    made = run(*size, *stationary("K0", "N0", "N"))
    assert total(made) == ceil(k / r) * ceil(n / c) * (2 * r + c + m - 2) - 1


@pytest.mark.parametrize("size", [(64, 96, 64, 32, 16), (64, 40, 96, 16, 32)])
def test_inputs_stay(size: tuple[int, int, int, int, int]) -> None:
    m, n, k, r, c = size
    made = run(*size, *stationary("K0", "M0", "M"))
    assert total(made) == ceil(k / r) * ceil(m / c) * (2 * r + c + n - 2) - 1


def multiplications(size: int, steps: int) -> int:
    """Last cycle of an array of size x size in which something multiplies, element by element."""
    last = 0
    for row in range(size):
        for column in range(size):
            last = max(last, row + column + steps - 1)  # operands arrive skewed by row and column
    return last


def test_the_formula_is_the_dataflow() -> None:
    for size, steps in ((4, 3), (8, 20), (5, 1)):
        made = run(size, size, steps, size, size)
        assert total(made) == multiplications(size, steps)


def test_what_is_no_matrix_product_is_not_filled_and_drained() -> None:
    ideal, systolic = (
        verbs.simulate(
            "fusemax__attention_1pass_serial",
            "bert",
            1024,
            settings=(f"arch.units.array_2d.timing={timing}",),
        )
        for timing in ("ideal", "systolic")
    )
    per_tile = {
        task.name: task.occupancy / systolic.program.ticks_per_cycle
        for task in systolic.program.phases[0].tasks
    }
    assert per_tile["LM"] == 1  # a reduction of one operand
    assert per_tile["QK"] == 256 + 256 + 64 - 2
    assert per_tile["SLNV"] == 2 * 256 + 256 + 64 - 2
    assert systolic.result.cycles > 2 * ideal.result.cycles
