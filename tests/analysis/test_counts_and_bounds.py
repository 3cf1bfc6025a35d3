"""Operation counts, exact predicates, footprints and bounds, against hand derivations."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from accelsim import analysis, cascade, spec
from accelsim.analysis.bounds import compulsory_words
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
        "inputs_read_again": ["K"], "einsums_repeated": ["QK", "SN"],
        "words_read": "E*M", "shared_along": ["P"],
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


CAUSAL = "Z[p] = A[m1,m0,p] | M0*m1 + m0 <= p"
RATES = analysis.MachineRates(
    Fraction(2), Fraction(8), {"u": (1, {op: Fraction(1) for op in ("add", "mul", "sub", "div")})}
)


@pytest.mark.parametrize("shapes", [{"M": 8, "P": 8}, {"M": 8, "P": 8, "M0": 3}])
def test_bounds_of_a_predicate_do_not_depend_on_the_tiles(shapes: dict[str, int]) -> None:
    """36 of the 64 points; words of A that they touch, and all of Z."""
    built = cascade.cascade_from_text(
        text("c", "M P", "A:M1,M0,P Z:P", "Z", CAUSAL, partitions="{M: [M1, M0]}")
    )
    found = analysis.bounds(built, shapes, RATES)
    assert (found.compute_cycles, found.traffic_bytes) == (36, 2 * (36 + 8))


def test_words_that_a_predicate_leaves_out_need_not_move() -> None:
    """Of 9 keys only the first 4 are at or before one of 4 queries."""
    built = cascade.cascade_from_text(
        text("c", "M P", "A:M B:P Z:P", "Z", "Z[p] = A[m] * B[p] - 1 | m <= p")
    )
    assert compulsory_words(built, {"M": 9, "P": 4}) == 4 + 4 + 4


def test_a_predicate_on_tiles_of_unknown_size_bounds_nothing() -> None:
    built = cascade.cascade_from_text(
        text("c", "M P", "A:M1,M0,P Z:P", "Z", "Z[p] = A[m1,m0,p] | M0*m1 <= p",
             partitions="{M: [M1, M0]}")
    )  # fmt: skip
    assert analysis.bounds(built, {"M": 8, "P": 8}, RATES).compute_cycles == 0


def test_a_total_is_shown_only_when_all_of_it_is_known() -> None:
    """Additions of attention_1pass depend on M1, which a mapping chooses; products do not."""
    shapes = {"B": 1, "H": 1, "E": 4, "F": 4, "M": 16, "P": 8}
    counts = analysis.analyze(shipped("attention_1pass"), shapes).as_json()["op_counts"]
    assert counts["count"] == {"div": 4 * 8, "mac": 16 * 8 * (4 + 4)}
    assert counts["total"]["add"] == "B*F*H*M1*P + B*H*M*P + B*H*M1*P"


@pytest.mark.parametrize(
    ("einsums", "initial", "expected"),
    [
        ("Y[i+1] = Y[i] + X[i]\nZ[i] = X[i] / Y[I]", "{Y: 0}", {"X": "I", "Y": "1"}),
        ("Y[i+1] = Y[i] + X[i]\nZ[i] = Y[i+1] / Y[I]", "{Y: 0}", {"X": "1", "Y": "I"}),
        ("Y[i] = X[i] * 2\nZ[i] = Y[i-1] + Y[i+2]", "", {"X": "1", "Y": "4"}),
        ("Y[i] = X[k] | k <= i and k > i - 4\nZ[i] = Y[i] * 2", "", {"X": "4", "Y": "1"}),
        ("Y[i] = X[k] | k <= i\nZ[i] = Y[i] * 2", "", {"X": "I", "Y": "1"}),
    ],
)
def test_live_footprint_of_a_fiber(einsums: str, initial: str, expected: dict[str, str]) -> None:
    more = {"initial": initial} if initial else {}
    if "k" in einsums:
        more["variables"] = "{k: I}"
    found = analysis.analyze(
        cascade.cascade_from_text(text("c", "I", "X:I Y:I Z:I", "Z", einsums, **more))
    )
    assert {name: found.footprints[name]["I"] for name in expected} == expected


def test_formulas_are_read_as_shown() -> None:
    shapes = {"M0": 3, "E": 5, "M": 7}
    assert analysis.evaluate("2*M0*E + M + 4", shapes) == 2 * 3 * 5 + 7 + 4
    assert analysis.evaluate(analysis.Product(2, ("E", "E")), shapes) == 50
    totals = analysis.analyze(shipped("attention_1pass")).footprint_totals
    assert (totals["QK"], totals["RM"]) == ("M0", "1")
    with pytest.raises(AccelsimError, match="needs the shape of P"):
        analysis.evaluate("E*P", shapes)


def test_alternatives_in_bytes() -> None:
    """One row of M=100 keys of width E=4: hold 100 words; spill 1+1; read K's 4*100 again."""
    shapes = {"B": 1, "H": 1, "E": 4, "F": 4, "M": 100, "P": 8}
    found = analysis.analyze(shipped("attention_3pass"), shapes, word_bytes=2).alternatives
    assert found[0]["bytes"] == {"hold": 200, "spill": 400, "recompute": 800}
    assert found[0]["recompute"]["shared_along"] == ["P"]


@pytest.mark.parametrize(
    ("name", "again"),
    [("attention_3pass", 3 + 1), ("attention_3pass_deferred", 2 + 1), ("attention_1pass", 1 + 1)],
)
def test_best_known_schedule(name: str, again: int) -> None:
    """Q and AV once, then (k K + V) for each 8 of 24 rows; (96 - 8) // (E + F + 2) = 8 fit."""
    shapes = {"B": 1, "H": 1, "E": 4, "F": 4, "M": 24, "P": 24}
    if name == "attention_1pass":
        shapes |= {"M0": 1, "M1": 24}
    found = analysis.best_known_schedule(shipped(name), shapes, 96)
    assert (found.row_words, found.rows_in_flight) == (4 + 4 + 2, 8)
    assert found.words == 2 * 24 * 4 + again * 24 * 4 * 3
    assert found.words >= compulsory_words(shipped(name), shapes)
    with pytest.raises(AccelsimError, match="hold no row"):
        analysis.best_known_schedule(shipped(name), shapes, 17)


def test_intensity() -> None:
    """M*P products and sums over E, on Q, K and S: 2*M*P*E operations count as M*P*E mac."""
    built = cascade.cascade_from_text(
        text("c", "M P E", "Q:E,P K:E,M S:M,P", "S", "S[m,p] = Q[e,p] * K[e,m]")
    )
    found = analysis.intensity(built, {"M": 6, "P": 5, "E": 4}, Fraction(2))
    assert found.operations_per_byte == Fraction(6 * 5 * 4, 2 * (20 + 24 + 30))
