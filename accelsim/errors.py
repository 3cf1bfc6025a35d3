"""Errors that a user can act on: where, what, what was expected, and the nearest known name.

Deep code states bare facts as `Fault`s; the stage that rejects input collects all of them and
raises one `AccelsimError`. Nothing else in the package renders a source position.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace

MAX_SHOWN = 80  # characters of a long value, or on either side of a fault in a long line


@dataclass(frozen=True, order=True)
class Position:
    """A place in a text that a person wrote. Lines and columns count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True)
class Fault:
    """One thing wrong with an input.

    message: what is wrong and what was expected, one sentence.
    position: where, or None when no text is to blame (a command-line value, a Python call).
    excerpt: the source line, shown below the message when `width` > 0.
    width: number of characters under which the caret line is drawn, from `position.column`.
    help: further lines (the declaration that it contradicts, the nearest known name).
    """

    message: str
    position: Position | None = None
    excerpt: str = ""
    width: int = 0
    help: tuple[str, ...] = ()

    def render(self) -> str:
        """`file:line:column: message`, then the line with carets, then the help lines."""
        lines = []
        if self.position is None:
            lines.append(self.message)
        else:
            place = self.position
            lines.append(f"{place.file}:{place.line}:{place.column}: {self.message}")
            if self.width > 0 and self.excerpt:
                stripped = self.excerpt.lstrip()
                indent = len(self.excerpt) - len(stripped)
                caret_at = max(0, place.column - 1 - indent)
                start = max(0, caret_at - MAX_SHOWN) if len(stripped) > 2 * MAX_SHOWN else 0
                part = stripped[start : start + 2 * MAX_SHOWN].rstrip()
                caret_at -= start
                width = max(1, min(self.width, len(part) - caret_at))
                lines.append("    " + part)
                lines.append("    " + " " * caret_at + "^" * width)
        lines.extend("    " + line for line in self.help)
        return "\n".join(lines)


class AccelsimError(Exception):
    """Base of every error that a user can cause. Holds all faults found, in source order."""

    def __init__(self, faults: Fault | str | Iterable[Fault]) -> None:
        if isinstance(faults, str):
            faults = Fault(faults)
        self.faults: tuple[Fault, ...] = (
            (faults,)
            if isinstance(faults, Fault)
            else tuple(sorted(dict.fromkeys(faults), key=_source_order))
        )
        super().__init__("\n".join(fault.render() for fault in self.faults))

    def at(self, position: Position | None) -> AccelsimError:
        """The same error; faults without a place are at this one."""
        faults = [replace(f, position=f.position or position) for f in self.faults]
        return type(self)(faults)


class SpecError(AccelsimError):
    """A text is not what its kind of file must be (YAML, schema, units, Einsum syntax, names)."""


class MappingError(AccelsimError):
    """A mapping breaks a legality rule on this cascade and machine."""


class CapacityError(MappingError):
    """A mapping needs more of a level than the machine has."""


class NotANumberError(AccelsimError):
    """A value is not a number where it is defined: 0/0, or inf - inf after an overflow."""


def _source_order(fault: Fault) -> tuple[str, int, int]:
    if fault.position is None:
        return ("", 0, 0)
    return (fault.position.file, fault.position.line, fault.position.column)


def shown(value: object) -> str:
    """A value out of a file as its writer knows it, in a few words however large it is."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > MAX_SHOWN:
            return f"a number of {value.bit_length()} bits"
        case dict():
            return "keys and values"
        case list() | tuple():
            return "a list"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Help lines for an unknown name: the nearest known one, else the list of all."""
    names = sorted(set(known))
    folded = {candidate.lower(): candidate for candidate in names}
    match = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    if match:
        return (f"did you mean {folded[match[0]]!r}?",)
    if not names:
        return ()
    return ("known: " + ", ".join(names),)
