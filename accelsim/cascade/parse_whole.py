"""Whole-number expressions and conditions, as text.

condition  := conjunction ("or" conjunction)*      conjunction := claim ("and" claim)*
claim      := "not" claim | whole relation whole   relation    := "<" "<=" ">" ">=" "==" "!="
whole      := product (("+" | "-") product)*
product    := factor (("*" | "//" | "%") factor)*
factor     := INT | "-" factor | "(" condition or whole ")" | variable | SHAPE | parameter
            | function "(" whole ("," whole)* ")" | table "[" whole ("," whole)* "]"

Functions are min, max, abs, draw, and those that the cascade defines: these are put in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from accelsim.cascade.scan import Reader, Token
from accelsim.cascade.whole import (
    RELATIONS,
    WHOLE_FUNCTIONS,
    WHOLE_OPERATORS,
    Apply,
    Int,
    Lookup,
    Named,
    Variable,
    Whole,
    is_condition,
    substitute,
)
from accelsim.errors import nearest


@dataclass(frozen=True)
class Definition:
    """A named expression of its arguments."""

    arguments: tuple[str, ...]
    body: Whole


@dataclass(frozen=True)
class Vocabulary:
    """Names that a cascade declares, and that its texts may use."""

    parameters: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    definitions: Mapping[str, Definition] = field(default_factory=dict)


_INFIX = {o.symbol: o for o in WHOLE_OPERATORS.values() if o.symbol and o.arity == 2}


class WholeReader(Reader):
    """Reads whole-number expressions and conditions."""

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        super().__init__(text)
        self.vocabulary = vocabulary

    def condition(self) -> Whole:
        start = self.peek()
        found = self._operation(1)
        if not is_condition(found):
            if self.peek().kind == "end" or self.peek().text in {")", "]", ","}:
                self.fail("expected a comparison such as `m <= p`", start)
            relations = ", ".join(RELATIONS)
            self.fail(f"expected one of {relations}", self.peek())
        return found

    def whole(self) -> Whole:
        start = self.peek()
        found = self._operation(5)
        if is_condition(found):
            self.fail("expected a whole number, got a condition", start)
        return found

    def either(self) -> Whole:
        """A condition or a whole number."""
        return self._operation(1)

    def _operation(self, least: int) -> Whole:
        """Infix operators that bind at least so tightly, grouped from the left."""
        self.deeper()
        start = self.peek()
        left = self._prefix(least)
        while True:
            token = self.peek()
            operator = _INFIX.get(token.text)
            if operator is None or operator.binds < least:
                break
            self.next += 1
            second = self.peek()
            right = self._operation(operator.binds + 1)
            for side, at in ((left, start), (right, second)):
                if is_condition(side) != operator.of_conditions:
                    kind = "a condition" if operator.of_conditions else "a whole number"
                    self.fail(f"`{token.text}` needs {kind} on both sides", at)
            left = Apply(operator.name, (left, right))
        self.depth -= 1
        return left

    def _prefix(self, least: int) -> Whole:
        token = self.peek()
        if token.text == "not" and least <= 3:
            self.next += 1
            inner = self._operation(3)
            if not is_condition(inner):
                self.fail("`not` needs a condition", token)
            return Apply("not", (inner,))
        if token.text == "-":
            self.next += 1
            inner = self._operation(7)
            return Int(-inner.value) if isinstance(inner, Int) else Apply("neg", (inner,))
        return self._factor()

    def _factor(self) -> Whole:
        token = self.advance()
        if token.kind == "number":
            return Int(self.whole_number(token))
        if token.text == "(":
            inner = self._operation(1)
            self.close(token, ")")
            return inner
        if token.kind == "name" and token.text not in {"and", "or", "not"}:
            if self.peek().text == "(":
                return self.defined(token)
            if token.text in self.vocabulary.tables:
                return self.lookup(token)
            if token.text[0].isupper() or token.text in self.vocabulary.parameters:
                return Named(token.text)
            return Variable(token.text)
        expected = "expected a whole number, a rank or a rank variable"
        self.fail(f"{expected}, got {token.text!r}" if token.text else expected, token)

    def lookup(self, name: Token) -> Lookup:
        opening = self.peek()
        if opening.text != "[":
            self.fail(f"expected `[` and indices after the table {name.text}", name)
        self.next += 1
        indices = [self.whole()]
        while self.accept(","):
            indices.append(self.whole())
        self.close(opening, "]")
        return Lookup(name.text, tuple(indices))

    def defined(self, name: Token) -> Whole:
        """A function applied to its arguments."""
        known = self.vocabulary.definitions
        function = WHOLE_FUNCTIONS.get(name.text)
        if function is None and name.text not in known:
            self._unknown(name, (*WHOLE_FUNCTIONS, *known))
        opening = self.advance()
        arguments = [self.whole()]
        while self.accept(","):
            arguments.append(self.whole())
        self.close(opening, ")")
        wanted = function.arity if function else len(known[name.text].arguments)
        if wanted and len(arguments) != wanted:
            takes = "1 argument" if wanted == 1 else f"{wanted} arguments"
            self.fail(f"{name.text} takes {takes}, got {len(arguments)}", name)
        if function is not None:
            return Apply(function.name, tuple(arguments))
        definition = known[name.text]
        return substitute(definition.body, dict(zip(definition.arguments, arguments, strict=True)))

    def _unknown(self, name: Token, known: tuple[str, ...]) -> NoReturn:
        self.fail(f"unknown function {name.text!r}", name, nearest(name.text, known))
