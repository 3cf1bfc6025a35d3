"""One statement of a cascade, as text, to an Einsum. Knows the grammar, few declarations.

einsum     := access "=" claim [ "::" reduce ] [ "|" condition ]
claim      := sum [relation sum]                 (1 where it holds, else 0)
sum        := product (("+" | "-") product)*
product    := factor (("*" | "/") factor)*
factor     := NUMBER | "-" factor | "(" claim ")" | FUNCTION "(" claim ("," claim)* ")" | access
            | variable | RANK | parameter | defined function | table entry | "whole" "(" whole ")"
access     := NAME "[" [ index ("," index)* ] "]"
index      := variable [("+" | "-") INT] | RANK | INT | whole
reduce     := "+" | "*" | "max" | "min"

condition, whole: parse_whole.py.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isinf

from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Computed,
    Coordinate,
    Einsum,
    End,
    Expression,
    Index,
    Literal,
    Value,
)
from accelsim.cascade.operators import OPERATORS, REDUCTIONS
from accelsim.cascade.parse_whole import Definition, Vocabulary, WholeReader
from accelsim.cascade.scan import StatementError, Token
from accelsim.cascade.whole import RELATIONS, Apply, Int, Named, Variable, Whole, conjuncts
from accelsim.errors import Fault, Position, nearest

FUNCTIONS = {name: op for name, op in OPERATORS.items() if not op.symbol}
EMPTY = Vocabulary()
Place = Callable[[int], Position]
"""0-based column of a text -> its position in a file."""


def parse_statement(
    text: str, place: Place, excerpt: str = "", vocabulary: Vocabulary = EMPTY
) -> Einsum | Fault:
    """The Einsum that `text` states, or the first fault in it. excerpt: the line of the file."""
    try:
        return _Parser(text, place, vocabulary).einsum()
    except StatementError as fault:
        return _fault(fault, place, excerpt or text)


def parse_definition(
    head: str, body: str, place: Place, excerpt: str, vocabulary: Vocabulary
) -> tuple[str, Definition] | Fault:
    """`name(argument, ...)` and the expression that it stands for. place: of columns of `body`."""
    try:
        reader = WholeReader(head, vocabulary)
        name = reader.take("name", "a name and its arguments, such as `start(p)`")
        opening = reader.advance()
        if opening.text != "(":
            reader.fail("expected arguments in parentheses after the name", name)
        arguments = [reader.take("name", "an argument").text]
        while reader.accept(","):
            arguments.append(reader.take("name", "an argument").text)
        reader.close(opening, ")")
        reader.end("nothing more")
    except StatementError as fault:
        return Fault(f"{head}: {fault.message}", place(0), excerpt, 1, fault.help)
    try:
        reader = WholeReader(body, vocabulary)
        found = reader.either()
        reader.end("an operator or the end of the definition")
    except StatementError as fault:
        return _fault(fault, place, excerpt)
    return name.text, Definition(tuple(arguments), found)


def _fault(fault: StatementError, place: Place, excerpt: str) -> Fault:
    return Fault(fault.message, place(fault.column), excerpt, fault.width, fault.help)


class _Parser(WholeReader):
    def __init__(self, text: str, place: Place, vocabulary: Vocabulary) -> None:
        super().__init__(text, vocabulary)
        self.place = place

    def einsum(self) -> Einsum:
        output = self._access(self.take("name", "a tensor to define, such as `Z[m,n] = ...`"))
        self.sign("=", "`=` after the tensor that is defined")
        expression = self._claim()
        reduce = "add"
        predicate: tuple[Whole, ...] = ()
        if self.accept("::"):
            token = self.peek()
            if token.text not in REDUCTIONS:
                known = ", ".join(REDUCTIONS)
                self.fail(f"expected a reduce operator ({known}) after `::`", token)
            self.next += 1
            reduce = REDUCTIONS[token.text]
        if self.accept("|"):
            predicate = conjuncts(self.condition())
        self.end("an operator or the end of the statement")
        return Einsum(output, expression, reduce, predicate, self.place(0))

    # Expressions ------------------------------------------------------------------------------

    def _claim(self) -> Expression:
        left = self._sum()
        if self.peek().text in RELATIONS:
            return Call(RELATIONS[self.advance().text], (left, self._sum()))
        return left

    def _sum(self) -> Expression:
        self.deeper()
        left = self._product()
        while self.peek().text in {"+", "-"}:
            operator = "add" if self.advance().text == "+" else "sub"
            left = Call(operator, (left, self._product()))
        self.depth -= 1
        return left

    def _product(self) -> Expression:
        left = self._single()
        while self.peek().text in {"*", "/"}:
            operator = "mul" if self.advance().text == "*" else "div"
            left = Call(operator, (left, self._single()))
        return left

    def _single(self) -> Expression:
        token = self.advance()
        if token.text == "-":
            signs = 1
            while self.accept("-"):
                signs += 1
            inner = self._single()
            return Call("neg", (inner,)) if signs % 2 else inner
        if token.kind == "number":
            value = float(token.text)
            if isinf(value):
                self.fail(f"expected a number of float64, up to 1.8e308, got {token.text}", token)
            return Literal(value)
        if token.text == "(":
            inner = self._claim()
            self.close(token, ")")
            return inner
        if token.kind == "name":
            if self.peek().text == "(":
                if token.text in FUNCTIONS:
                    return self._call(token)
                if token.text == "whole":
                    opening = self.advance()
                    inside = self.either()
                    self.close(opening, ")")
                    return Value(inside)
                if token.text in self.vocabulary.definitions:
                    return Value(self.defined(token))
                known = (*FUNCTIONS, "whole", *self.vocabulary.definitions)
                self.fail(f"unknown function {token.text!r}", token, nearest(token.text, known))
            if token.text in self.vocabulary.tables:
                return Value(self.lookup(token))
            if self.peek().text == "[":
                return self._access(token)
            if token.text[0].isupper() or token.text in self.vocabulary.parameters:
                return Value(Named(token.text))
            return Value(Variable(token.text))
        expected = "expected a tensor, a function, a number or `(`"
        self.fail(f"{expected}, got {token.text!r}" if token.text else expected, token)

    def _call(self, name: Token) -> Call:
        operator = FUNCTIONS[name.text]
        opening = self.advance()
        arguments = [self._claim()]
        while self.accept(","):
            arguments.append(self._claim())
        self.close(opening, ")")
        if len(arguments) != operator.arity:
            takes = "1 argument" if operator.arity == 1 else f"{operator.arity} arguments"
            self.fail(f"{name.text} takes {takes}, got {len(arguments)}", name)
        return Call(operator.name, tuple(arguments))

    # Accesses ---------------------------------------------------------------------------------

    def _access(self, name: Token) -> Access:
        opening = self.peek()
        if opening.text != "[":
            self.fail(f"expected `[` and indices after {name.text}", name)
        self.next += 1
        indices: list[Index] = []
        if self.peek().text != "]":
            indices.append(self._index())
            while self.accept(","):
                indices.append(self._index())
        self.close(opening, "]")
        return Access(name.text, tuple(indices), self.place(name.column))

    def _index(self) -> Index:
        token = self.peek()
        if token.kind == "end" or token.text in {",", "]"}:
            got = f", got {token.text!r}" if token.text else ""
            self.fail(f"expected an index: a rank variable, a rank or a coordinate{got}", token)
        found = self.whole()
        match found:
            case Int(value=value) if value >= 0:
                return Coordinate(value)
            case Variable(name=name):
                return At(name)
            case Apply("add" | "sub" as sign, (Variable(name=name), Int(value=value))):
                return At(name, value if sign == "add" else -value)
            case Named(name=name) if name not in self.vocabulary.parameters:
                return End(name)
            case _:
                return Computed(found)
