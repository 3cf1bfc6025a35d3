"""Map and reduce operators: one table for parser, interpreter, printer and analysis."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Operator:
    """A scalar operator.

    symbol: infix symbol, or "" for one written as a function. arity: number of arguments.
    identity: value of an empty reduction, or None when it cannot reduce.
    latex: template with one {} per argument. counts: operations that it stands for, when not one
    of its own.
    """

    name: str
    arity: int
    symbol: str = ""
    identity: float | None = None
    latex: str = ""
    counts: tuple[str, ...] = ()


_TABLE = (
    Operator("add", 2, "+", 0.0, "{} + {}"),
    Operator("sub", 2, "-", None, "{} - {}"),
    Operator("mul", 2, "*", 1.0, r"{} \cdot {}"),
    Operator("div", 2, "/", None, r"\frac{{{}}}{{{}}}"),
    Operator("max", 2, "", float("-inf"), r"\max({}, {})"),
    Operator("min", 2, "", float("inf"), r"\min({}, {})"),
    Operator("neg", 1, "-", None, "-{}"),
    Operator("exp", 1, "", None, r"\exp({})"),
    Operator("subexp", 2, "", None, r"e^{{{} - {}}}", ("sub", "exp")),
    Operator("relu", 1, "", None, r"\mathrm{{relu}}({})"),
    Operator("abs", 1, "", None, r"|{}|"),
    Operator("sqrt", 1, "", None, r"\sqrt{{{}}}"),
    Operator("square", 1, "", None, r"({})^2"),
    Operator("log", 1, "", None, r"\log({})"),
    Operator("sin", 1, "", None, r"\sin({})"),
    Operator("cos", 1, "", None, r"\cos({})"),
    Operator("where", 3, "", None, r"\mathrm{{where}}({}, {}, {})"),
    Operator("lt", 2, "<", None, "{} < {}"),
    Operator("le", 2, "<=", None, r"{} \le {}"),
    Operator("gt", 2, ">", None, "{} > {}"),
    Operator("ge", 2, ">=", None, r"{} \ge {}"),
    Operator("eq", 2, "==", None, "{} = {}"),
    Operator("ne", 2, "!=", None, r"{} \ne {}"),
)
"""Comparisons are 1 or 0; where(c, a, b) is a where c is not 0, else b; subexp(a, b) is exp(a - b),
and 0 where a is -inf: what a maximum of nothing needs."""
OPERATORS = {operator.name: operator for operator in _TABLE}
REDUCTIONS = {"+": "add", "*": "mul", "max": "max", "min": "min"}
