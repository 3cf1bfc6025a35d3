"""A cascade back to text: YAML that parses to the same cascade, and LaTeX."""

from __future__ import annotations

import json

from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Cascade,
    Computed,
    Coordinate,
    Einsum,
    End,
    Expression,
    Index,
    Literal,
    Value,
    reduced_variables,
)
from accelsim.cascade.operators import OPERATORS, REDUCTIONS
from accelsim.cascade.whole import Named, Variable, Whole, show_whole

_CLAIM, _SUM, _PRODUCT, _FACTOR = 0, 1, 2, 3
_BINDS = {"add": _SUM, "sub": _SUM, "mul": _PRODUCT, "div": _PRODUCT}
_BINDS |= dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne"), _CLAIM)
_REDUCE_SYMBOL = {name: symbol for symbol, name in REDUCTIONS.items()}
_LATEX_REDUCE = {"add": r"\sum", "mul": r"\prod", "max": r"\max", "min": r"\min"}
_LATEX_WHOLE = {
    "<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne", " and ": r" \wedge ", " or ": r" \vee ",
    "not ": r"\neg ", " * ": r" \cdot ", " // ": r" \div ", " % ": r" \bmod ",
}  # fmt: skip


def show(cascade: Cascade) -> str:
    """YAML text of the cascade; building it gives an equal one."""
    known = {rank.lower() for root in cascade.ranks for rank in (root, *cascade.parts(root))}
    extra = {v: rank for v, rank in cascade.variables if v not in known}
    initial = {t.name: t.initial for t in cascade.tensors if t.initial is not None}
    lines = [f"cascade: {cascade.name}", f"source: {json.dumps(cascade.source)}"]
    if cascade.description:
        lines.append(f"description: {json.dumps(cascade.description)}")
    lines.append(f"ranks: {{{', '.join(f'{r}: {r}' for r in cascade.ranks)}}}")
    if cascade.partitions:
        cut = ", ".join(f"{root}: [{', '.join(parts)}]" for root, parts in cascade.partitions)
        lines.append(f"partitions: {{{cut}}}")
    if cascade.alike:
        lines.append(f"alike: {{{', '.join(f'{rank}: {part}' for rank, part in cascade.alike)}}}")
    if cascade.family != "other":
        lines.append(f"family: {json.dumps(cascade.family)}")
    if cascade.parameters:
        lines.append("parameters:")
    for one in cascade.parameters:
        default = "" if one.default is None else f", default: {one.default}"
        lines.append(f"  {one.name}: {{description: {json.dumps(one.description)}{default}}}")
    if cascade.tables:
        lines.append("tables:")
        lines += [f"  {t.name}: [{', '.join(t.ranks)}]" for t in cascade.tables]
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
    text = f"{_access(einsum.output)} = {_expression(einsum.expression, _CLAIM)}"
    if einsum.reduce != "add":
        text += f" :: {_REDUCE_SYMBOL[einsum.reduce]}"
    if einsum.predicate:
        text += " | " + " and ".join(show_whole(c, 3) for c in einsum.predicate)
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
        case Computed(whole=whole):
            return show_whole(whole, 5)


def _value(whole: Whole) -> str:
    return whole.name if isinstance(whole, Variable | Named) else f"whole({show_whole(whole)})"


def _expression(expression: Expression, needed: int) -> str:
    """Text that binds at least as tightly as `needed`; in parentheses when it does not."""
    match expression:
        case Access():
            return _access(expression)
        case Literal(value=value):
            return _number(value)
        case Value(whole=whole):
            return _value(whole)
        case Call(operator="neg", arguments=(inner,)):
            return f"-{_expression(inner, _FACTOR)}"
        case Call(operator=operator, arguments=arguments):
            symbol = OPERATORS[operator].symbol
            if not symbol:
                return f"{operator}({', '.join(_expression(a, _CLAIM) for a in arguments)})"
            binds = _BINDS[operator]
            left, right = arguments
            # Operators of one level group from the left.
            first = max(binds, _SUM)
            text = f"{_expression(left, first)} {symbol} {_expression(right, binds + 1)}"
            return f"({text})" if binds < needed else text


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
    text = rf"  {_latex_access(einsum.output)} &= {over}{_latex(einsum.expression, _CLAIM)}"
    if einsum.predicate:
        conditions = ", ".join(_latex_whole(c) for c in einsum.predicate)
        text += rf" \quad \text{{where }} {conditions}"
    return text + r" \\"


def _latex_whole(whole: Whole) -> str:
    text = show_whole(whole)
    for symbol, command in _LATEX_WHOLE.items():
        text = text.replace(symbol, command)
    return text


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
        case Value(whole=whole):
            return _latex_whole(whole)
        case Call(operator=operator, arguments=arguments):
            binds = _BINDS.get(operator, _FACTOR)
            # A fraction's bar and a function's brackets group by themselves.
            loose = operator in {"div"} or not OPERATORS[operator].symbol
            inner = [
                _latex(
                    argument, _CLAIM if loose else max(binds, _SUM) + (position > 0 and binds > 0)
                )
                for position, argument in enumerate(arguments)
            ]
            text = OPERATORS[operator].latex.format(*inner)
            return rf"\left({text}\right)" if binds < needed and not loose else text
