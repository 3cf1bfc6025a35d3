"""One statement of a cascade, as text, to an Einsum. Knows the grammar, no declarations.

einsum     := access "=" sum [ "::" reduce ] [ "|" comparison ("and" comparison)* ]
sum        := product (("+" | "-") product)*
product    := factor (("*" | "/") factor)*
factor     := NUMBER | "-" factor | "(" sum ")" | FUNCTION "(" sum ("," sum)* ")" | access
access     := NAME "[" [ index ("," index)* ] "]"
index      := variable [("+" | "-") INT] | RANK | INT
reduce     := "+" | "*" | "max" | "min"
comparison := affine ("<" | "<=" | ">" | ">=" | "==" | "!=") affine
affine     := term (("+" | "-") term)*          term := part ("*" part)*
part       := INT | RANK | variable             (one shape and one variable at most)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Comparison,
    Coordinate,
    Einsum,
    End,
    Expression,
    Index,
    Literal,
    Term,
)
from accelsim.cascade.operators import OPERATORS, REDUCTIONS
from accelsim.errors import Fault, Position, nearest

MAX_LENGTH = 4000
MAX_DEPTH = 60
FUNCTIONS = {name: op for name, op in OPERATORS.items() if not op.symbol}

_TOKEN = re.compile(
    r"(?P<number>\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+)"
    r"|(?P<name>[A-Za-z][A-Za-z0-9_]*)"
    r"|(?P<sign>::|<=|>=|==|!=|[-+*/=,<>|()\[\]])"
)
_RELATIONS = ("<=", ">=", "==", "!=", "<", ">")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


class _StatementError(Exception):
    def __init__(self, message: str, column: int, width: int, help: tuple[str, ...]) -> None:
        super().__init__(message)
        self.message, self.column, self.width, self.help = message, column, width, help


def parse_statement(
    text: str, place: Callable[[int], Position], excerpt: str = ""
) -> Einsum | Fault:
    """The Einsum that `text` states, or the first fault in it.

    place: 0-based column of the text -> its position in a file. excerpt: the line of that file.
    """
    try:
        return _Parser(text, place).einsum()
    except _StatementError as fault:
        position = place(fault.column)
        return Fault(fault.message, position, excerpt or text, fault.width, fault.help)


class _Parser:
    def __init__(self, text: str, place: Callable[[int], Position]) -> None:
        self.text = text
        self.place = place
        self.depth = 0
        self.next = 0
        if len(text) > MAX_LENGTH:
            message = f"a statement of {len(text):,} characters; at most {MAX_LENGTH:,} are read"
            raise _StatementError(message, 0, 1, ())
        self.tokens = self._scan()

    def einsum(self) -> Einsum:
        output = self._access(self._take("name", "a tensor to define, such as `Z[m,n] = ...`"))
        self._sign("=", "`=` after the tensor that is defined")
        expression = self._sum()
        reduce = "add"
        predicate: list[Comparison] = []
        if self._try("::"):
            token = self._peek()
            if token.text not in REDUCTIONS:
                known = ", ".join(REDUCTIONS)
                self._fail(f"expected a reduce operator ({known}) after `::`", token)
            self.next += 1
            reduce = REDUCTIONS[token.text]
        if self._try("|"):
            predicate.append(self._comparison())
            while self._peek().text == "and":
                self.next += 1
                predicate.append(self._comparison())
        token = self._peek()
        if token.kind != "end":
            if token.text in {")", "]"}:
                self._fail(f"`{token.text}` closes nothing", token)
            self._fail(
                f"expected an operator or the end of the statement, got {token.text!r}", token
            )
        return Einsum(output, expression, reduce, tuple(predicate), self.place(0))

    # Expressions ------------------------------------------------------------------------------

    def _sum(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._fail(f"nested more than {MAX_DEPTH} deep", self._peek())
        left = self._product()
        while self._peek().text in {"+", "-"}:
            operator = "add" if self._advance().text == "+" else "sub"
            left = Call(operator, (left, self._product()))
        self.depth -= 1
        return left

    def _product(self) -> Expression:
        left = self._factor()
        while self._peek().text in {"*", "/"}:
            operator = "mul" if self._advance().text == "*" else "div"
            left = Call(operator, (left, self._factor()))
        return left

    def _factor(self) -> Expression:
        token = self._advance()
        if token.text == "-":
            signs = 1
            while self._peek().text == "-":
                self.next += 1
                signs += 1
            inner = self._factor()
            return Call("neg", (inner,)) if signs % 2 else inner
        if token.kind == "number":
            return Literal(float(token.text))
        if token.text == "(":
            inner = self._sum()
            self._close(token, ")")
            return inner
        if token.kind == "name":
            if self._peek().text == "(":
                return self._call(token)
            return self._access(token)
        expected = "expected a tensor, a function, a number or `(`"
        self._fail(f"{expected}, got {token.text!r}" if token.text else expected, token)

    def _call(self, name: _Token) -> Call:
        operator = FUNCTIONS.get(name.text)
        if operator is None:
            help = nearest(name.text, FUNCTIONS)
            self._fail(f"unknown function {name.text!r}", name, help)
        opening = self._advance()
        arguments = [self._sum()]
        while self._try(","):
            arguments.append(self._sum())
        self._close(opening, ")")
        if len(arguments) != operator.arity:
            takes = "1 argument" if operator.arity == 1 else f"{operator.arity} arguments"
            self._fail(f"{name.text} takes {takes}, got {len(arguments)}", name)
        return Call(operator.name, tuple(arguments))

    # Accesses ---------------------------------------------------------------------------------

    def _access(self, name: _Token) -> Access:
        opening = self._peek()
        if opening.text != "[":
            self._fail(f"expected `[` and indices after {name.text}", name)
        self.next += 1
        indices: list[Index] = []
        if self._peek().text != "]":
            indices.append(self._index())
            while self._try(","):
                indices.append(self._index())
        self._close(opening, "]")
        return Access(name.text, tuple(indices), self.place(name.column))

    def _index(self) -> Index:
        token = self._advance()
        if token.kind == "number" and token.text.isdigit():
            return Coordinate(int(token.text))
        if token.kind == "name":
            if token.text[0].isupper():
                return End(token.text)
            offset = 0
            if self._peek().text in {"+", "-"}:
                sign = 1 if self._advance().text == "+" else -1
                number = self._take("number", "a whole number after the sign")
                offset = sign * self._whole(number)
            return At(token.text, offset)
        got = f", got {token.text!r}" if token.text else ""
        self._fail(f"expected an index: a rank variable, a rank or a coordinate{got}", token)

    # Predicates -------------------------------------------------------------------------------

    def _comparison(self) -> Comparison:
        left = self._affine()
        token = self._advance()
        if token.text not in _RELATIONS:
            self._fail(f"expected a comparison ({', '.join(_RELATIONS)})", token)
        return Comparison(left, token.text, self._affine())

    def _affine(self) -> tuple[Term, ...]:
        sign = -1 if self._try("-") else 1
        terms = [self._term(sign)]
        while self._peek().text in {"+", "-"}:
            sign = 1 if self._advance().text == "+" else -1
            terms.append(self._term(sign))
        return tuple(terms)

    def _term(self, sign: int) -> Term:
        coefficient = sign
        shape: str | None = None
        variable: str | None = None
        while True:
            token = self._advance()
            if token.kind == "number":
                coefficient *= self._whole(token)
            elif token.kind == "name" and token.text[0].isupper() and shape is None:
                shape = token.text
            elif token.kind == "name" and token.text[0].islower() and variable is None:
                variable = token.text
            else:
                self._fail("expected a whole number, a rank or a rank variable", token)
            if not self._try("*"):
                return Term(coefficient, shape, variable)

    # Tokens -----------------------------------------------------------------------------------

    def _scan(self) -> list[_Token]:
        tokens = []
        column = 0
        while column < len(self.text):
            if self.text[column].isspace():
                column += 1
                continue
            match = _TOKEN.match(self.text, column)
            if match is None:
                end = column + 1
                while end < len(self.text) and self.text[end] == self.text[column]:
                    end += 1
                message = f"unknown operator {self.text[column:end]!r}"
                raise _StatementError(message, column, end - column, ())
            tokens.append(_Token(str(match.lastgroup), match.group(), column))
            column = match.end()
        tokens.append(_Token("end", "", len(self.text.rstrip())))
        return tokens

    def _peek(self) -> _Token:
        return self.tokens[self.next]

    def _advance(self) -> _Token:
        token = self.tokens[self.next]
        if token.kind != "end":
            self.next += 1
        return token

    def _try(self, text: str) -> bool:
        if self._peek().text == text:
            self.next += 1
            return True
        return False

    def _take(self, kind: str, expected: str) -> _Token:
        token = self._advance()
        if token.kind != kind:
            self._fail(f"expected {expected}", token)
        return token

    def _sign(self, text: str, expected: str) -> None:
        token = self._advance()
        if token.text != text:
            self._fail(f"expected {expected}", token)

    def _whole(self, token: _Token) -> int:
        if not token.text.isdigit() or len(token.text) > 18:
            self._fail("expected a whole number", token)
        return int(token.text)

    def _close(self, opening: _Token, closing: str) -> None:
        token = self._peek()
        if token.text == closing:
            self.next += 1
            return
        if token.kind == "end":
            self._fail(f"`{opening.text}` is never closed", opening)
        self._fail(f"expected `{closing}` or `,`, got {token.text!r}", token)

    def _fail(self, message: str, token: _Token, help: tuple[str, ...] = ()) -> NoReturn:
        raise _StatementError(message, token.column, max(1, len(token.text)), help)
