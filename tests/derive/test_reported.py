"""What users' own cascades showed: weights of 0, products, values out of range."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim import verbs
from accelsim.cascade import Cascade, cascade_from_text, interpret, show
from accelsim.derive import (
    NotApplicableError,
    centre,
    derive,
    localise,
    running,
    split,
    trial,
    ways,
)
from accelsim.errors import AccelsimError
from tests.derive.numbers import apart, both
from tests.derive.texts import text

WEIGHTED = (
    "SW[r] = Y[r,n]",
    "SX[r] = Y[r,n] * X[r,n]",
    "MU[r] = SX[r] / SW[r]",
    "T[r] = Y[r,n] * square(X[r,n] - MU[r])",
)


CENTRED = (
    ("MU[r] = S[r] / N", "Q[r] = square(X[r,n] - MU[r])", "T[r] = Q[r] / N"),
    ("MU[r] = S[r] / N", "T[r] = (X[r,n] - MU[r]) * square(X[r,n] - MU[r])"),
    ("MU[r] = S[r] / N", "T[r] = (X[r,n] - MU[r]) * n"),
    ("MU[r] = S[r] / N", "T[r] = exp(0.1 * (X[r,n] - MU[r]))"),
    ("MU[r] = S[r] / N", "T[r] = X[r,n] - MU[r] :: max"),
)


@pytest.mark.parametrize("parts", [("N1", "N0"), ("N2", "N1", "N0")], ids=["cut", "cut twice"])
@pytest.mark.parametrize("lines", CENTRED, ids=[lines[1] for lines in CENTRED])
def test_a_mean_is_of_the_points_that_there_are(
    lines: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    """Not of all that tiles have room for."""
    before = cascade_from_text(text("S[r] = X[r,n]", *lines))
    assert derive(ways(before, "N", parts)).cost.passes == 1
    for one in ways(before, "N", parts):
        for _, a, b in both(before, one.cascade, many=20, kinds=("usual",)):
            assert apart(a, b, least=1.0) < 1e-12


def test_trials_end_inside_of_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A count of points that is wrong there alone is seen, and the rewrite taken back."""
    before = cascade_from_text(text("S[r] = X[r,n]", *CENTRED[0]))
    plain = running.Apply
    monkeypatch.setattr(
        running, "Apply", lambda name, of: of[0] if name == "min" else plain(name, of)
    )
    (found,) = (one for one in ways(before, "N", ("N1", "N0")) if one.way == "running")
    assert found.cost.passes == 2
    assert "run Q: a form is known, but is" in found.stopped[0]


@pytest.mark.parametrize("parts", [(), ("N1", "N0")])
def test_weights_may_begin_with_zeros(parts: tuple[str, ...]) -> None:
    """The mean of nothing is no number, and is not needed."""
    cascade = cascade_from_text(text(*WEIGHTED))
    made = derive(ways(cascade, "N", parts)).cascade
    inputs = {"X": np.array([[5.0, 7, 1, 2]]), "Y": np.array([[0.0, 0, 1, 1]])}
    found = interpret(made, inputs, {"N0": 1} if parts else {})
    assert found["T"] == pytest.approx(np.array([0.5]))


def test_a_product_is_not_localised() -> None:
    cascade = cascade_from_text(
        text("M[r] = X[r,n1,n0] :: max", "T[r] = X[r,n1,n0] / M[r] :: *", cut=True)
    )
    with pytest.raises(NotApplicableError, match="T does not reduce with"):
        localise(split(cascade, "M", ["n0"]), "T", "N1")


def test_a_form_that_overflows_is_not_chosen() -> None:
    """exp(old mean - new mean) is infinite on values 1e4 apart; two passes are not."""
    lines = ("S[r] = X[r,n]", "MU[r] = S[r] / N", "T[r] = exp(X[r,n] - MU[r])")
    found = ways(cascade_from_text(text(*lines)), "N")
    assert derive(found, 2).cost.passes == 2
    for one in found:
        assert one.error is not None
        if one.cost.passes == 1:
            assert not np.isfinite(one.error)


def test_fourth_moments() -> None:
    lines = ("S[r] = X[r,n]", "MU[r] = S[r] / N", "T[r] = square(square(X[r,n] - MU[r]))")
    made = derive(ways(cascade_from_text(text(*lines)), "N", ("N1", "N0")))
    assert made.cost.passes == 1
    data = np.random.default_rng(0).normal(size=(2, 12)) + 5
    found = interpret(made.cascade, {"X": data}, {"N0": 4})["T"]
    assert found == pytest.approx(((data - data.mean(1)[:, None]) ** 4).sum(1))


def check(before: Cascade, after: Cascade, *, negative: bool = False, many: int = 40) -> None:
    """Equal numbers on random shapes of rows and tiles. negative: U is below 0."""
    rng = np.random.default_rng(5)
    for _ in range(many):
        rows, outer, inner = (int(n) for n in rng.integers(1, 6, 3))
        sizes = {"R": rows, "N": outer * inner - int(rng.integers(inner)) * bool(after.partitions)}
        shapes = {"N1": outer, "N0": inner} if after.partitions else {}
        inputs = {
            name: rng.normal(size=[sizes[r] for r in before.tensor(name).ranks])
            for name in before.inputs
        }
        if negative:
            inputs["U"] = -np.abs(inputs["U"]) - 0.1
        a = interpret(before, inputs, sizes)["T"]
        b = interpret(after, inputs, {**sizes, **shapes})["T"]
        assert b == pytest.approx(a, rel=1e-9, abs=1e-9, nan_ok=True)


SCALED = ("2 * (X[r,n] - G[r])", "(X[r,n] - G[r]) / U[r]", "(X[r,n] - G[r]) * U[r] * 0.5")


@pytest.mark.parametrize("mask", ["", " | n <= r", " | n >= 2 * r"])
@pytest.mark.parametrize("parts", [(), ("N1", "N0")], ids=["whole", "cut"])
@pytest.mark.parametrize("exponent", SCALED)
def test_scaled_exponents(exponent: str, parts: tuple[str, ...], mask: str) -> None:
    """Every way, also where rows or tiles see nothing, and whatever the sign of the scale."""
    lines = (f"G[r] = X[r,n] :: max{mask}", f"T[r] = exp({exponent}) * Y[r,n]{mask}")
    before = cascade_from_text(text(*lines))
    for one in ways(before, "N", parts):
        assert one.cost.passes == (1 if one.way != "deferred" and (parts or not mask) else 2)
        check(before, one.cascade)
        check(before, one.cascade, negative="U" in before.inputs)


MASKED = (
    "C[r] = 1 + 0 * X[r,n] | MASK",
    "S[r] = X[r,n] | MASK",
    "MU[r] = S[r] / C[r]",
    "T[r] = square(X[r,n] - MU[r]) | MASK",
)


def masked_variance(mask: str) -> Cascade:
    return cascade_from_text(text(*(line.replace("MASK", mask) for line in MASKED)))


@pytest.mark.parametrize("mask", ["n <= r", "n % 3 == 0", "n <= r or n % 2 == 0"])
def test_variance_under_a_mask(mask: str) -> None:
    """The sum of a constant is the number of points that the mask leaves, which is summed too."""
    before = masked_variance(mask)
    found = derive(ways(before, "N", ("N1", "N0")))
    assert (found.way, found.cost.passes) == ("running", 1)
    assert (found.error or 0) < 1e-12
    check(before, found.cascade)


def test_sums_of_coordinates() -> None:
    lines = ("S[r] = X[r,n]", "MU[r] = S[r] / N", "T[r] = n * (X[r,n] - MU[r])")
    before = cascade_from_text(text(*lines))
    for parts in ((), ("N1", "N0")):
        found = derive(ways(before, "N", parts))
        assert (found.way, found.cost.passes) == ("running", 1)
        check(before, found.cascade)


DECLARED = """\
cascade: declared
source: a test
ranks: {R: rows, N: samples}
partitions: {N: [N1, N0]}
variables: {k1: N1, k0: N0}
tensors: {X: [R, N1, N0], G: [R], E: [R, N1, N0], S: [R], T: [R]}
outputs: [T]
einsums: |
  G[r] = X[r,k1,k0] :: max | n <= r
  E[r,k1,k0] = exp(X[r,k1,k0] - G[r]) | n <= r
  S[r] = E[r,k1,k0] | n <= r
  T[r] = E[r,n1,n0] / S[r] * X[r,n1,n0] | n <= r
"""


def test_other_variables_over_parts() -> None:
    """The n of a predicate is made of those that its statement goes over."""
    renamed = DECLARED.replace("k1,k0", "n1,n0").replace("variables: {k1: N1, k0: N0}\n", "")
    before = cascade_from_text(DECLARED)
    found, plain = ways(before, "N"), ways(cascade_from_text(renamed), "N")
    assert [one.cost.passes for one in found] == [one.cost.passes for one in plain] == [2, 1, 1, 2]
    x = np.random.default_rng(2).normal(size=(9, 12))
    for one in found:
        for inner in (1, 2, 4):
            shapes = {"N0": inner}
            a = interpret(before, {"X": x}, shapes)["T"]
            assert interpret(one.cascade, {"X": x}, shapes)["T"] == pytest.approx(a)


ROOT = (
    "A[r] = X[r,n]",
    "B[r] = square(X[r,n])",
    "D[r] = sqrt(B[r] / N - square(A[r] / N))",
    "T[r] = square(X[r,n] - D[r])",
)


@pytest.mark.parametrize("parts", [(), ("N1", "N0")], ids=["whole", "cut"])
def test_a_root_of_part_of_a_sum(parts: tuple[str, ...]) -> None:
    """Of one value, or of equal ones, it is 0, and by rounding below."""
    before = cascade_from_text(text(*ROOT))
    found = derive(ways(before, "N", parts))
    assert found.cost.passes == 1
    x = np.tile([0.1, 0.1, 0.1, 0.7, 1.1, 5.3], (1, 2))
    a = interpret(before, {"X": x})["T"]
    for inner in (1, 2, 3, 4, 6, 12):
        b = interpret(found.cascade, {"X": x}, {"N0": inner} if parts else {})["T"]
        assert b == pytest.approx(a)


def test_a_logarithm_of_part_of_a_sum() -> None:
    """It may be of nothing, or of less than that: what is used in its place is a number."""
    lines = ("S[r] = X[r,n]", "L[r] = log(S[r])", "T[r] = square(X[r,n] - L[r])")
    before = cascade_from_text(text(*lines))
    found = derive(ways(before, "N"))
    assert (found.way, found.cost.passes) == ("running", 1)
    inputs = {"X": np.array([[0.0, -1, 3, 1]])}
    a = interpret(before, inputs)["T"]
    assert interpret(found.cascade, inputs)["T"] == pytest.approx(a)


def test_trials_have_inputs_on_which_the_source_has_numbers() -> None:
    """The logarithm of a sum of either sign may have none; of a positive one it has."""
    before = cascade_from_text(text("S[] = U[r]", "T[] = log(S[])"))
    tried = trial.trials(before, {})
    assert len(tried.usual) == 1
    wrong = cascade_from_text(show(before).replace("log(S[])", "log(S[]) + 1"))
    assert tried.apart(before) == 0
    assert tried.apart(wrong) > 0.01


def test_sums_that_cancel_are_no_measure() -> None:
    """A third moment of two points is 0 but for rounding, which no rewrite keeps."""
    lines = ("S[] = U[r]", "T[] = (U[r] - S[] / R) * square(U[r] - S[] / R)")
    found = derive(ways(cascade_from_text(text(*lines)), "R"))
    assert found.cost.passes == 1


def test_tiles_are_proposed_where_they_have_a_form() -> None:
    with pytest.raises(AccelsimError, match="has a form: --partition N=N1,N0"):
        derive(ways(masked_variance("n <= r"), "N"))
    kept = ("G[r] = X[r,n] :: max", "T[r,n] = exp(X[r,n] - G[r])")
    with pytest.raises(AccelsimError) as refused:
        derive(ways(cascade_from_text(text(*kept)), "N"))
    assert "--partition" not in str(refused.value)


def test_a_form_without_numbers_is_told() -> None:
    lines = ("S[r] = X[r,n]", "MU[r] = S[r] / N", "T[r] = exp(X[r,n] - MU[r])")
    with pytest.raises(AccelsimError, match="1 pass is known, but gives no number on adversarial"):
        derive(ways(cascade_from_text(text(*lines)), "N"))


@pytest.mark.parametrize(
    ("name", "parts"), [("linear_hedgehog", ()), ("linear_inline", ("M1", "M0"))]
)
def test_an_input_may_have_a_rank_twice(name: str, parts: tuple[str, ...]) -> None:
    """W[h,r,e], of two variables over E."""
    for one in ways(verbs.load_cascade(name)):
        assert one.error is not None
        assert one.error < 1e-9


def test_tiles_of_a_rank_that_is_there_twice() -> None:
    """Either of the two axes ends inside of a tile."""
    cut = cascade_from_text(
        "cascade: c\nsource: s\nranks: {E: e}\npartitions: {E: [E1, E0]}\n"
        "variables: {r1: E1, r0: E0}\ntensors: {W: [E1, E0, E1, E0], T: [E1, E0]}\noutputs: [T]\n"
        "einsums: |\n  T[r1,r0] = W[r1,r0,e1,e0]\n"
    )
    w = np.arange(25.0).reshape(5, 5)
    found = interpret(cut, {"W": w}, {"E0": 2})["T"]
    assert found.shape == (3, 2)
    assert found.ravel()[:5] == pytest.approx(w.sum(1))


def given_later(parameter: str, *lines: str) -> Cascade:
    """A cascade with a whole number that only the workload gives."""
    own = f"parameters: {{{parameter}: {{description: a test}}}}\n"
    return cascade_from_text(own + text("S[r] = X[r,n]", *lines))


def test_parameters_without_a_default_are_made_up() -> None:
    """A form that overflows is not taken, though the source says nothing of w."""
    before = given_later("w", "T[r] = exp(X[r,n] - S[r] / N) * w")
    found = ways(before)
    assert {one.made_up for one in found} == {(("w", "2"),)}
    assert [one.error == np.inf for one in found] == [False, True]
    assert not any(one.counted for one in found)
    with pytest.raises(AccelsimError, match="gives no number on adversarial inputs"):
        derive(found)


def test_tables_are_made_up() -> None:
    for name, value in (("attention_qcqa", "0 and 1 in turns"), ("attention_block_list", "all 1")):
        found = ways(verbs.load_cascade(name))
        assert all(one.error is not None and one.error < 1e-12 for one in found)
        assert {dict(one.made_up).popitem()[1] for one in found} == {value}


def test_shapes_that_go_together_are_looked_for() -> None:
    """Widths of which one is twice the other; as many keys as queries; an odd window."""
    for name in ("attention_mla", "attention_alibi", "linear_inline"):
        assert all(one.error is not None for one in ways(verbs.load_cascade(name)))


def test_what_reads_outside_of_its_tensors_is_refused() -> None:
    with pytest.raises(AccelsimError, match="T reads X where it is not defined, at r = 0, n = 4"):
        ways(cascade_from_text(text("T[r] = X[r,n+1]")))
    inside = cascade_from_text(text("T[r] = X[r,n+1] | n < N - 1"))
    assert all(one.error == 0 for one in ways(inside))


def test_a_form_that_cannot_be_tried_says_so() -> None:
    """A square root of less than nothing has no number on any inputs."""
    before = cascade_from_text(text("S[r] = X[r,n]", "T[r] = sqrt(-1 - square(S[r]))"))
    for one in ways(before):
        assert one.error is None
        assert "has no numbers on trial inputs: " in one.unchecked
        assert "T is not a number at some point" in one.unchecked


INLINED = (
    ("S[r] = X[r,n]", "T[r] = square(X[r,n] - S[r] / N)"),
    ("S[r] = X[r,n] / N", "T[r] = square(X[r,n] - S[r])"),
    ("S[r] = X[r,n] * 1 / N", "T[r] = (X[r,n] - S[r]) * (X[r,n] - S[r])"),
    ("S[r] = X[r,n]", "T[r] = square(N * X[r,n] - S[r])"),
    ("S[r] = X[r,n]", "T[r] = square(S[r] - X[r,n] * 0.5 * N) * Y[r,n]"),
    ("S[r] = X[r,n]", "Q[r] = square(X[r,n] - S[r] / N)", "T[r] = sqrt(Q[r] / N) + S[r] / N"),
)


@pytest.mark.parametrize("parts", [(), ("N1", "N0")], ids=["whole", "cut"])
@pytest.mark.parametrize("lines", INLINED, ids=[lines[1] for lines in INLINED])
def test_means_that_stand_in_expressions(lines: tuple[str, ...], parts: tuple[str, ...]) -> None:
    """They run as means do: digits are kept where values have an offset."""
    before = cascade_from_text(text(*lines))
    found = derive(ways(before, "N", parts))
    assert (found.way, found.cost.passes) == ("running", 1)
    rounded = "(N * X[r,n] - S[r])" in lines[1]  # 7 * (1e8 + x), in the source itself
    assert (found.error or 0) < (1e-8 if rounded else 1e-12)
    check(before, found.cascade)


def test_a_scalar_mean_that_stands_in_an_expression() -> None:
    found = derive(ways(cascade_from_text(text("S[] = U[r]", "T[] = square(U[r] - S[] / R)"))))
    assert (found.cost.passes, found.cost.error) == (1, 0)


def test_centre_refuses() -> None:
    for line in ("T[r] = square(X[r,n] - S[r])", "T[r] = square(U[r] / N - X[r,n]) * S[r]"):
        with pytest.raises(NotApplicableError, match="T has no mean in it that is not a tensor"):
            centre(cascade_from_text(text("S[r] = X[r,n]", line)), "T", "N")


def test_the_entropy_of_a_softmax_keeps_its_digits() -> None:
    """exp(x - max) * (x - max) is not multiplied out, which would leave 8 digits at 1e8."""
    p = "exp(X[r,n] - G[r]) / D[r]"
    lines = ("G[r] = X[r,n] :: max", "D[r] = exp(X[r,n] - G[r])", f"T[r] = {p} * log({p})")
    before = cascade_from_text(text(*lines))
    for parts in ((), ("N1", "N0")):
        found = derive(ways(before, "N", parts))
        assert (found.way, found.cost.passes, found.cost.error) == ("running", 1, 0)
        check(before, found.cascade)
