"""Operation counts, exact predicates, footprints and bounds, against hand derivations."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from accelsim import analysis, cascade, spec
from accelsim.analysis.counts import point_operations, points
from accelsim.errors import AccelsimError
from tests.analysis.cascades import text


def shipped(name: str) -> cascade.Cascade:
    return cascade.build(spec.load(name, "cascade"))


def test_operations_of_a_point() -> None:
    one = shipped("attention_1pass")
    assert {e.name: point_operations(e) for e in one.einsums} == {
        "QK": {"mac": 1}, "LM": {"max": 1}, "RM": {"max": 1}, "SLN": {"exp": 1, "sub": 1},
        "SLD": {"add": 1}, "SLNV": {"mac": 1}, "PRM": {"exp": 1, "sub": 1}, "SPD": {"mul": 1},
        "RD": {"add": 1}, "SPNV": {"mul": 1}, "RNV": {"add": 1}, "AV": {"div": 1},
    }  # fmt: skip


def test_counts_with_shapes() -> None:
    shapes = {"B": 2, "H": 3, "E": 5, "F": 7, "M": 16, "P": 11, "M0": 4}
    counts = analysis.analyze(shipped("attention_1pass"), shapes).as_json()["op_counts"]["count"]
    scores, rows = 2 * 3 * 16 * 11, 2 * 3 * 4 * 11
    assert counts == {
        "add": scores + rows * (1 + 7),
        "div": 2 * 3 * 7 * 11,
        "exp": scores + rows,
        "mac": scores * (5 + 7),
        "max": scores + rows,
        "mul": rows * (1 + 7),
        "sub": scores + rows,
    }


COMPARE = {
    "<=": np.less_equal, "<": np.less, ">=": np.greater_equal, ">": np.greater,
    "==": np.equal, "!=": np.not_equal,
}  # fmt: skip


@pytest.mark.parametrize(
    "predicate",
    [
        "m <= p", "m < p", "m >= p - 3", "2*m <= 3*p + 1", "m == p", "m != p",
        "m <= p and m > p - 4", "p <= 2", "m + p < 9", "3*m - 2*p > M - 7",
    ],
)  # fmt: skip
@pytest.mark.parametrize(("m", "p"), [(1, 1), (7, 7), (9, 4), (5, 13)])
def test_predicates_are_counted_exactly(predicate: str, m: int, p: int) -> None:
    built = cascade.cascade_from_text(
        text("c", "M P", "A:M,P Z:P", "Z", f"Z[p] = A[m,p] | {predicate}")
    )
    grid = {"m": np.arange(m)[:, None], "p": np.arange(p)[None, :], "M": m, "P": p}
    expected = np.ones((m, p), bool)
    for part in predicate.split(" and "):
        relation = next(r for r in COMPARE if f" {r} " in part)
        sides = [_affine(side, grid) for side in part.split(f" {relation} ")]
        expected &= COMPARE[relation](*sides)
    assert points(built, built.einsums[0], {"M": m, "P": p}) == expected.sum()


def _affine(side: str, grid: dict[str, object]) -> object:
    total: object = 0
    for term in side.replace("- ", "+ -").split("+"):
        value: object = 1
        for factor in term.strip().split("*"):
            sign = -1 if factor.startswith("-") else 1
            name = factor.lstrip("-")
            value = value * sign * (int(name) if name.isdigit() else grid[name])  # type: ignore[operator]
        total = total + value  # type: ignore[operator]
    return total


def test_a_million_token_causal_mask_is_counted() -> None:
    built = cascade.cascade_from_text(text("c", "M P", "A:M,P Z:P", "Z", "Z[p] = A[m,p] | m <= p"))
    n = 1 << 20
    assert points(built, built.einsums[0], {"M": n, "P": n}) == n * (n + 1) // 2


def test_a_predicate_that_ties_too_much_is_refused() -> None:
    built = cascade.cascade_from_text(
        text("c", "I J K", "A:I,J,K Z:I", "Z", "Z[i] = A[i,j,k] | i + j <= k")
    )
    with pytest.raises(AccelsimError, match="too many to count"):
        points(built, built.einsums[0], {"I": 10**6, "J": 10**6, "K": 10**6})


def test_footprints_grow_with_the_sequence_only_where_passes_ask() -> None:
    three, one = (analysis.analyze(shipped(f"attention_{n}pass")).footprints for n in (3, 1))
    assert {t for t, row in three.items() if row.get("M") == "M"} == {"QK", "SN"}
    assert {row["M"] for row in one.values() if "M" in row} == {"1", "M0"}


def test_alternatives_of_what_is_read_again() -> None:
    found = analysis.analyze(shipped("attention_3pass")).alternatives
    assert [row["tensor"] for row in found] == ["QK", "SN"]
    assert found[1]["recompute"] == {
        "inputs_read_again": ["K"], "einsums_repeated": ["QK", "SN"]
    }  # fmt: skip
    assert analysis.analyze(shipped("attention_1pass")).alternatives == []


def test_bounds() -> None:
    """Q K^T on 4 multipliers, a maximum on one lane: each set of units bounds by itself."""
    built = cascade.cascade_from_text(
        text(
            "c",
            "M P E",
            "Q:E,P K:E,M S:M,P G:P",
            "G",
            "S[m,p] = Q[e,p] * K[e,m]\nG[p] = S[m,p] :: max",
        )
    )
    rates = analysis.MachineRates(
        Fraction(2),
        Fraction(8),
        {"big": (4, {"mac": Fraction(1)}), "small": (1, {"mac": Fraction(3), "max": Fraction(2)})},
    )
    shapes = {"M": 10, "P": 6, "E": 5}
    found = analysis.bounds(built, shapes, rates)
    assert found.traffic_bytes == 2 * (5 * 6 + 5 * 10 + 6)
    assert found.traffic_cycles == Fraction(2 * 86, 8)
    assert found.compute_cycles == max(Fraction(10 * 6 * 2), Fraction(10 * 6 * 5 + 120, 5))
    with pytest.raises(AccelsimError, match="no unit can do max"):
        analysis.bounds(
            built,
            shapes,
            analysis.MachineRates(Fraction(2), Fraction(8), {"x": (1, {"mac": Fraction(1)})}),
        )
