"""The language: what is accepted, what is refused with which message, and text to and fro."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from accelsim import cascade, spec
from accelsim.cascade.nodes import At, Call, Einsum
from accelsim.cascade.parse import parse_statement
from accelsim.errors import Fault, Position, SpecError
from tests.cascade_strategies import cascades


def parsed(text: str) -> Einsum | Fault:
    return parse_statement(text, lambda column: Position("t", 1, column + 1))


@pytest.mark.parametrize(
    "text",
    [
        "Z[] = 1",
        "Z[m] = A[m]",
        "Z[m,n] = A[m,k] * B[k,n]",
        "Z[m] = -A[m] + 2.5e-3 * (B[m] - 1) / C[m,0]",
        "Z[m+1] = max(Z[m], A[m])",
        "Z[f] = R[f,M1] / D[M1]",
        "Z[p] = A[m,p] :: max | m <= p and p < 2*M0*m + 3 - M",
        "Z[m] = exp(relu(abs(A[m-1])))",
    ],
)
def test_accepted(text: str) -> None:
    assert isinstance(parsed(text), Einsum)


@pytest.mark.parametrize(
    ("text", "column", "width", "message"),
    [
        ("C[m,n] = A[m,k] * B[k,n", 20, 1, "`[` is never closed"),
        ("C[m,n] = (A[m,k] * B[k,n]", 10, 1, "`(` is never closed"),
        ("C[m] = A[m] ?? B[m]", 13, 2, "unknown operator '??'"),
        ("C[m] = ep(A[m])", 8, 2, "unknown function 'ep'"),
        ("C[m] = max(A[m])", 8, 3, "max takes 2 arguments, got 1"),
        ("C[m] = A[m] B[m]", 13, 1, "expected an operator or the end of the statement, got 'B'"),
        ("C[m] = A[m])", 12, 1, "`)` closes nothing"),
        ("C[m] = ", 7, 1, "expected a tensor, a function, a number or `(`"),
        ("C[m] A[m]", 6, 1, "expected `=` after the tensor that is defined"),
        ("= A[m]", 1, 1, "expected a tensor to define, such as `Z[m,n] = ...`"),
        ("C = A[m]", 1, 1, "expected `[` and indices after C"),
        ("C[m] = A[m] :: median", 16, 6, "expected a reduce operator (+, *, max, min) after `::`"),
        ("C[m] = A[m] | m", 15, 1, "expected a comparison such as `m <= p`"),
        (
            "C[m] = A[m] | m < not m",
            19,
            3,
            "expected a whole number, a rank or a rank variable, got 'not'",
        ),
        ("C[m] = A[m] | (m < 3) + 1 < 2", 15, 1, "`+` needs a whole number on both sides"),
        ("C[m] = A[m] | m < 3 or 1", 24, 1, "`or` needs a condition on both sides"),
        ("C[m] = A[m] | f(m)", 15, 1, "unknown function 'f'"),
        (
            "C[m] = A[m,]",
            12,
            1,
            "expected an index: a rank variable, a rank or a coordinate, got ']'",
        ),
        ("C[m] = A[m+]", 12, 1, "expected a whole number, a rank or a rank variable, got ']'"),
        ("C[m] = " + "(" * 70 + "A[m]", 68, 1, "nested more than 60 deep"),
    ],
)
def test_refused(text: str, column: int, width: int, message: str) -> None:
    fault = parsed(text)
    assert isinstance(fault, Fault)
    assert (fault.position, fault.width, fault.message) == (
        Position("t", 1, column), width, message
    )  # fmt: skip


def test_the_caret_stands_under_the_fault() -> None:
    fault = parsed("C[m,n] = A[m,k] * B[k,n")
    assert isinstance(fault, Fault)
    assert fault.render() == (
        "t:1:20: `[` is never closed\n"
        "    C[m,n] = A[m,k] * B[k,n\n"
        "                       ^"
    )  # fmt: skip


def test_precedence() -> None:
    made = parsed("Z[m] = A[m] - B[m] - C[m] * D[m]")
    assert isinstance(made, Einsum)
    match made.expression:
        case Call("sub", (Call("sub", _), Call("mul", _))):
            pass
        case _:
            pytest.fail(str(made.expression))


HEAD = "cascade: c\nsource: s\nranks: {M: keys, N: n}\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("tensors: {A: [M], Z: [M]}\noutputs: [Z]\neinsums: |\n  Z[m] = B[m]", "unknown tensor B"),
        ("tensors: {A: [M, N], Z: [M]}\noutputs: [Z]\neinsums: |\n  Z[m] = A[m]",
         r"A has 2 ranks \(M, N\) but is indexed by 1 coordinate"),
        ("tensors: {A: [M], Z: [M]}\noutputs: [Z]\neinsums: |\n  Z[m] = A[n]",
         "n ranges over N, but A has M there"),
        ("tensors: {A: [M], Z: [M]}\noutputs: [Z]\neinsums: |\n  Z[m] = A[m]\n  Z[m] = A[m]",
         "Z is written twice; the first time in line 7"),
        ("tensors: {A: [M], Z: [M], Y: [M]}\noutputs: [Z]\neinsums: |\n"
         "  Z[m] = Y[m] + A[m]\n  Y[m] = A[m]", "Z uses Y before it is defined"),
        ("tensors: {A: [M], Z: [M], Y: [M]}\noutputs: [Z]\neinsums: |\n"
         "  Y[m] = A[m]\n  Z[m] = A[m]", "Y is read by no Einsum and is no output"),
        ("tensors: {A: [M], Z: [M]}\noutputs: [Z]\neinsums: |\n  Z[m+1] = Z[m] + A[m]",
         "Z is written at m\\+1 but has no initial value"),
        ("tensors: {A: [M], Z: [M]}\ninitial: {Z: 0}\noutputs: [Z]\neinsums: |\n  Z[m] = A[m]",
         "Z has an initial value but is not defined by a recurrence"),
        ("tensors: {A: [M], Z: [M]}\ninitial: {Z: 0}\noutputs: [Z]\neinsums: |\n"
         "  Z[m+1] = Z[M] + A[m]", "Z uses itself before it is defined"),
        ("tensors: {A: [M], Z: [M]}\noutputs: [Z]\neinsums: |\n  Z[m] = A[M] + A[m]",
         "A is not iterative in M: it has no end M"),
        ("tensors: {A: [M], Z: [M]}\noutputs: [Z]\neinsums: |\n  Z[m] = A[m] | n <= m",
         "predicate: 'n' is no rank variable of Z"),
        ("tensors: {A: [M], Z: [M]}\noutputs: [Z]\neinsums: |\n  Z[m] = A[m] | m <= m",
         "both sides are the same"),
        ("tensors: {A: [X], Z: [M]}\noutputs: [Z]\neinsums: |\n  Z[m] = A[m]",
         "A has unknown rank X"),
    ],
)  # fmt: skip
def test_names_and_order(body: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        cascade.cascade_from_text(HEAD + body)


def test_all_faults_of_a_file_are_reported_at_once() -> None:
    body = "tensors: {A: [M], Z: [M]}\noutputs: [Z]\neinsums: |\n  Z[m] = B[m]\n  Y[m] = A[n]"
    with pytest.raises(SpecError) as caught:
        cascade.cascade_from_text(HEAD + body)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize("name", spec.names("cascade"))
def test_shipped_cascades_survive_being_shown(name: str) -> None:
    built = cascade.build(spec.load(name, "cascade"))
    again = cascade.cascade_from_text(cascade.show(built))
    assert again == built


@given(cascades())
@settings(max_examples=200, derandomize=True, deadline=None)
def test_random_cascades_survive_being_shown(built: cascade.Cascade) -> None:
    assert cascade.cascade_from_text(cascade.show(built)) == built


def test_latex() -> None:
    text = cascade.latex(cascade.build(spec.load("attention_3pass", "cascade")))
    assert text == (
        "\\begin{aligned}\n"
        "  \\mathit{QK}_{b, h, m, p} &= \\sum_{e} \\mathit{Q}_{b, h, e, p} \\cdot "
        "\\mathit{K}_{b, h, e, m} \\\\\n"
        "  \\mathit{GM}_{b, h, p} &= \\max_{m} \\mathit{QK}_{b, h, m, p} \\\\\n"
        "  \\mathit{SN}_{b, h, m, p} &= \\exp(\\mathit{QK}_{b, h, m, p} - "
        "\\mathit{GM}_{b, h, p}) \\\\\n"
        "  \\mathit{SD}_{b, h, p} &= \\sum_{m} \\mathit{SN}_{b, h, m, p} \\\\\n"
        "  \\mathit{A}_{b, h, m, p} &= \\frac{\\mathit{SN}_{b, h, m, p}}"
        "{\\mathit{SD}_{b, h, p}} \\\\\n"
        "  \\mathit{AV}_{b, h, f, p} &= \\sum_{m} \\mathit{A}_{b, h, m, p} \\cdot "
        "\\mathit{V}_{b, h, f, m} \\\\\n"
        "\\end{aligned}\n"
    )


def test_offsets_parse_to_nodes() -> None:
    made = parsed("Z[m+1] = A[m-2]")
    assert isinstance(made, Einsum)
    assert made.output.indices == (At("m", 1),)
    assert made.inputs[0].indices == (At("m", -2),)
