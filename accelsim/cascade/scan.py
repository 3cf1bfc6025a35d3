"""Text to tokens, and the reading of them one by one; shared by all grammars of a cascade."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

MAX_LENGTH = 4000
MAX_DEPTH = 60

_TOKEN = re.compile(
    r"(?P<number>\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+)"
    r"|(?P<name>[A-Za-z][A-Za-z0-9_]*)"
    r"|(?P<sign>::|<=|>=|==|!=|//|[-+*/%=,<>|()\[\]])"
)


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    column: int


class StatementError(Exception):
    """A fault in a text: message, column (from 0), width, help."""

    def __init__(self, message: str, column: int, width: int, help: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message, self.column, self.width, self.help = message, column, width, help


class Reader:
    """Reads the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.depth = 0
        self.next = 0
        if len(text) > MAX_LENGTH:
            message = f"a statement of {len(text):,} characters; at most {MAX_LENGTH:,} are read"
            raise StatementError(message, 0, 1)
        self.tokens = self._scan()

    def _scan(self) -> list[Token]:
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
                raise StatementError(message, column, end - column)
            tokens.append(Token(str(match.lastgroup), match.group(), column))
            column = match.end()
        tokens.append(Token("end", "", len(self.text.rstrip())))
        return tokens

    def peek(self, ahead: int = 0) -> Token:
        return self.tokens[min(self.next + ahead, len(self.tokens) - 1)]

    def advance(self) -> Token:
        token = self.tokens[self.next]
        if token.kind != "end":
            self.next += 1
        return token

    def accept(self, text: str) -> bool:
        if self.peek().text == text:
            self.next += 1
            return True
        return False

    def take(self, kind: str, expected: str) -> Token:
        token = self.advance()
        if token.kind != kind:
            self.fail(f"expected {expected}", token)
        return token

    def sign(self, text: str, expected: str) -> None:
        token = self.advance()
        if token.text != text:
            self.fail(f"expected {expected}", token)

    def whole_number(self, token: Token) -> int:
        if not token.text.isdigit() or len(token.text) > 18:
            self.fail("expected a whole number", token)
        return int(token.text)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"nested more than {MAX_DEPTH} deep", self.peek())

    def close(self, opening: Token, closing: str) -> None:
        token = self.peek()
        if token.text == closing:
            self.next += 1
            return
        if token.kind == "end":
            self.fail(f"`{opening.text}` is never closed", opening)
        self.fail(f"expected `{closing}` or `,`, got {token.text!r}", token)

    def end(self, wanted: str) -> None:
        """Fail unless everything has been read."""
        token = self.peek()
        if token.kind == "end":
            return
        if token.text in {")", "]"}:
            self.fail(f"`{token.text}` closes nothing", token)
        self.fail(f"expected {wanted}, got {token.text!r}", token)

    def fail(self, message: str, token: Token, help: tuple[str, ...] = ()) -> NoReturn:
        raise StatementError(message, token.column, max(1, len(token.text)), help)
