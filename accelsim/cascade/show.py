"""A cascade back to text: YAML that parses to the same cascade, and LaTeX."""

from __future__ import annotations

import json

from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Cascade,
    Comparison,
    Coordinate,
    Einsum,
    End,
    Expression,
    Index,
    Literal,
    Term,
    reduced_variables,
)
from accelsim.cascade.operators import OPERATORS, REDUCTIONS

_SUM, _PRODUCT, _FACTOR = 1, 2, 3
_BINDS = {"add": _SUM, "sub": _SUM, "mul": _PRODUCT, "div": _PRODUCT}
_REDUCE_SYMBOL = {name: symbol for symbol, name in REDUCTIONS.items()}
_LATEX_REDUCE = {"add": r"\sum", "mul": r"\prod", "max": r"\max", "min": r"\min"}
_LATEX_RELATION = {"<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne"}


def show(cascade: Cascade) -> str:
    """YAML text of the cascade; building it gives an equal one."""
    default = {rank.lower() for root in cascade.ranks for rank in (root, *cascade.parts(root))}
    extra = {v: rank for v, rank in cascade.variables if v not in default}
    initial = {t.name: t.initial for t in cascade.tensors if t.initial is not None}
    lines = [f"cascade: {cascade.name}", f"source: {json.dumps(cascade.source)}"]
    if cascade.description:
        lines.append(f"description: {json.dumps(cascade.description)}")
    lines.append(f"ranks: {{{', '.join(f'{r}: {r}' for r in cascade.ranks)}}}")
    if cascade.partitions:
        cut = ", ".join(f"{root}: [{', '.join(parts)}]" for root, parts in cascade.partitions)
        lines.append(f"partitions: {{{cut}}}")
    if extra:
        lines.append(f"variables: {{{', '.join(f'{v}: {r}' for v, r in extra.items())}}}")
    lines.append("tensors:")
    lines += [f"  {t.name}: [{', '.join(t.ranks)}]" for t in cascade.tensors]
    if initial:
        lines.append(f"initial: {{{', '.join(f'{t}: {_number(x)}' for t, x in initial.items())}}}")
    lines.append(f"outputs: [{', '.join(cascade.outputs)}]")
    lines.append("einsums: |")
    lines += [f"  {show_einsum(einsum)}" for einsum in cascade.einsums]
    return "\n".join(lines) + "\n"


def show_einsum(einsum: Einsum) -> str:
    """One statement, as in a cascade file."""
    text = f"{_access(einsum.output)} = {_expression(einsum.expression, _SUM)}"
    if einsum.reduce != "add":
        text += f" :: {_REDUCE_SYMBOL[einsum.reduce]}"
    if einsum.predicate:
        text += " | " + " and ".join(_comparison(c) for c in einsum.predicate)
    return text


def _number(value: float) -> str:
    if value in {float("inf"), float("-inf")}:
        return "inf" if value > 0 else "-inf"
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _access(access: Access) -> str:
    return f"{access.tensor}[{','.join(_index(index) for index in access.indices)}]"


def _index(index: Index) -> str:
    match index:
        case At(variable=variable, offset=offset):
            return f"{variable}{offset:+d}" if offset else variable
        case End(rank=rank):
            return rank
        case Coordinate(value=value):
            return str(value)


def _expression(expression: Expression, needed: int) -> str:
    """Text that binds at least as tightly as `needed`; in parentheses when it does not."""
    match expression:
        case Access():
            return _access(expression)
        case Literal(value=value):
            return _number(value)
        case Call(operator="neg", arguments=(inner,)):
            return f"-{_expression(inner, _FACTOR)}"
        case Call(operator=operator, arguments=arguments):
            symbol = OPERATORS[operator].symbol
            if not symbol:
                return f"{operator}({', '.join(_expression(a, _SUM) for a in arguments)})"
            binds = _BINDS[operator]
            left, right = arguments
            # Operators of one level group from the left.
            text = f"{_expression(left, binds)} {symbol} {_expression(right, binds + 1)}"
            return f"({text})" if binds < needed else text


def _comparison(comparison: Comparison) -> str:
    return f"{_affine(comparison.left)} {comparison.relation} {_affine(comparison.right)}"


def _affine(terms: tuple[Term, ...]) -> str:
    text = ""
    for term in terms:
        parts = [str(abs(term.coefficient))] if abs(term.coefficient) != 1 else []
        parts += [part for part in (term.shape, term.variable) if part is not None]
        shown = "*".join(parts) or "1"
        if not text:
            text = f"-{shown}" if term.coefficient < 0 else shown
        else:
            text += f" - {shown}" if term.coefficient < 0 else f" + {shown}"
    return text


def latex(cascade: Cascade) -> str:
    """An aligned block, one line per Einsum; ranks as subscripts."""
    lines = []
    for tensor in cascade.tensors:
        if tensor.initial is not None:
            value = _number(tensor.initial).replace("inf", r"\infty")
            lines.append(rf"  \mathit{{{tensor.name}}}_{{\mathrm{{initial}}}} &= {value} \\")
    lines += [_latex_einsum(einsum) for einsum in cascade.einsums]
    return "\n".join([r"\begin{aligned}", *lines, r"\end{aligned}"]) + "\n"


def _latex_einsum(einsum: Einsum) -> str:
    reduced = reduced_variables(einsum)
    over = rf"{_LATEX_REDUCE[einsum.reduce]}_{{{', '.join(reduced)}}} " if reduced else ""
    text = rf"  {_latex_access(einsum.output)} &= {over}{_latex(einsum.expression, _SUM)}"
    if einsum.predicate:
        conditions = ", ".join(_latex_comparison(c) for c in einsum.predicate)
        text += rf" \quad \text{{where }} {conditions}"
    return text + r" \\"


def _latex_comparison(comparison: Comparison) -> str:
    relation = _LATEX_RELATION.get(comparison.relation, comparison.relation)
    sides = (_affine(side).replace("*", r" \cdot ") for side in (comparison.left, comparison.right))
    return f" {relation} ".join(sides)


def _latex_access(access: Access) -> str:
    if not access.indices:
        return rf"\mathit{{{access.tensor}}}"
    return rf"\mathit{{{access.tensor}}}_{{{', '.join(_index(i) for i in access.indices)}}}"


def _latex(expression: Expression, needed: int) -> str:
    match expression:
        case Access():
            return _latex_access(expression)
        case Literal(value=value):
            return _number(value).replace("inf", r"\infty")
        case Call(operator=operator, arguments=arguments):
            binds = _BINDS.get(operator, _FACTOR)
            # A fraction's bar and a function's brackets group by themselves.
            loose = operator in {"div"} or not OPERATORS[operator].symbol
            inner = [
                _latex(argument, _SUM if loose else binds + (position > 0))
                for position, argument in enumerate(arguments)
            ]
            text = OPERATORS[operator].latex.format(*inner)
            return rf"\left({text}\right)" if binds < needed and not loose else text
