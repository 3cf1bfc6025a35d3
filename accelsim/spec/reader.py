"""YAML or JSON text to plain values with a position for every key and value.

Only safe YAML: no tags that build objects, no recursion, a bound on size, depth and on what
aliases may expand to. Everything after this module sees values and paths, never YAML.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from accelsim.errors import Fault, Position, SpecError, nearest, shown
from accelsim.tables import text_html

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_NODES = 100_000

_HALF = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

Key = str | int
KeyPath = tuple[Key, ...]
Spec = TypeVar("Spec")


@dataclass(frozen=True)
class Source:
    """A YAML text and where each of its keys and values stands.

    values, keys: path -> (position, width of the text there). blocks: path of a literal block ->
    (line of its first content line, indentation). settings: paths that --set replaced, as given.
    """

    name: str
    lines: tuple[str, ...]
    values: Mapping[KeyPath, tuple[Position, int]] = field(repr=False)
    keys: Mapping[KeyPath, tuple[Position, int]] = field(repr=False)
    blocks: Mapping[KeyPath, tuple[int, int]] = field(repr=False)
    settings: tuple[tuple[KeyPath, str], ...] = ()

    def line(self, number: int) -> str:
        """The text of a line, counted from 1; empty past the end."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def position(self, path: KeyPath) -> Position:
        """Where the value at `path` stands, or its nearest enclosing value."""
        return self._find(path, key=False)[0]

    def block_position(self, path: KeyPath, line: int, column: int) -> Position:
        """Position of a 0-based line and column inside the text at `path`."""
        if path in self.blocks:
            first, indent = self.blocks[path]
            return Position(self.name, first + line, indent + column + 1)
        start, _ = self._find(path, key=False)
        quoted = self.line(start.line)[start.column - 1 : start.column] in {"'", '"'}
        return Position(self.name, start.line + line, start.column + column + int(quoted))

    def fault(
        self, path: KeyPath, message: str, *, help: tuple[str, ...] = (), key: bool = False
    ) -> Fault:
        """A fault at the value (or at the key) of `path`; at the --set that gave it, if one did."""
        for given, text in self.settings:
            if [str(key) for key in path[: len(given)]] == [str(key) for key in given]:
                return Fault(f"--set {text}: {message}", help=help)
        position, width = self._find(path, key=key)
        excerpt = self.line(position.line)
        width = max(1, min(width, len(excerpt) - position.column + 1)) if excerpt else 0
        return Fault(message, position, excerpt, width, help)

    def _find(self, path: KeyPath, *, key: bool) -> tuple[Position, int]:
        if key and path in self.keys:
            return self.keys[path]
        while path not in self.values and path:
            path = path[:-1]
        return self.values.get(path, (Position(self.name, 1, 1), 1))


@dataclass(frozen=True)
class Document(Generic[Spec]):
    """A typed record and the text that it came from."""

    spec: Spec
    source: Source

    def _repr_html_(self) -> str:
        return text_html(self.source.name, "\n".join(self.source.lines))


def read_file(path: Path) -> tuple[Any, Source]:
    """Plain values of a YAML or JSON file and their positions. Raises SpecError."""
    text = _text(path)
    return read_json(text, str(path)) if path.suffix == ".json" else read_text(text, str(path))


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SpecError(Fault(f"{path}: {size:,} bytes; at most {MAX_BYTES:,} are read"))
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start})") from None


def read_json(text: str, name: str) -> tuple[Any, Source]:
    """Plain values of a JSON text and their positions. Raises SpecError."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        lines = text.splitlines() or [""]
        place = Position(name, error.lineno, error.colno)
        line = lines[min(error.lineno, len(lines)) - 1]
        raise SpecError(Fault(f"not JSON: {error.msg}", place, line, 1)) from None
    except RecursionError:
        pass  # read_text says how deep is too deep
    # What YAML alone refuses, with as many characters: tabs, and halves of a character.
    text = _HALF.sub(r"\\ufffd", text.replace("\t", " "))
    return read_text(text, name)


def read_text(text: str, name: str) -> tuple[Any, Source]:
    """Plain values of a YAML text and their positions. Raises SpecError.

    The last texts are kept, as a sweep reads its files with many settings: the values are for
    reading only.
    """
    return _read(text, name)


@functools.lru_cache(maxsize=32)
def _read(text: str, name: str) -> tuple[Any, Source]:
    if len(text) > MAX_BYTES:
        raise SpecError(f"{name}: {len(text):,} characters; at most {MAX_BYTES:,} are read")
    lines = tuple(text.splitlines())
    _check_depth(text, name, lines)
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        raise SpecError(_yaml_fault(error, name, lines)) from None
    except yaml.YAMLError as error:
        raise SpecError(f"{name}: not YAML: {error}") from None
    reader = _Reader(name, lines)
    value = reader.value(root, ()) if root is not None else None
    source = Source(name, lines, reader.values, reader.keys, reader.blocks)
    if reader.faults:
        raise SpecError(reader.faults)
    if root is None:
        raise SpecError(source.fault((), "the file is empty; expected keys and values"))
    return value, source


def _check_depth(text: str, name: str, lines: tuple[str, ...]) -> None:
    """Refuse deep nesting before the recursive composer meets it."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    mark = event.start_mark
                    assert mark is not None  # a composed event has one
                    place = Position(name, mark.line + 1, mark.column + 1)
                    line = lines[mark.line] if mark.line < len(lines) else ""
                    message = f"nested more than {MAX_DEPTH} deep"
                    raise SpecError(Fault(message, place, line[: mark.column + 40], 1))
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.MarkedYAMLError as error:
        raise SpecError(_yaml_fault(error, name, lines)) from None
    except yaml.YAMLError as error:
        raise SpecError(f"{name}: not YAML: {error}") from None


def _yaml_fault(error: yaml.MarkedYAMLError, name: str, lines: tuple[str, ...]) -> Fault:
    mark = error.problem_mark or error.context_mark
    message = ", ".join(part for part in (error.context, error.problem) if part)
    message = f"not YAML: {message or 'cannot be read'}"
    if mark is None:
        return Fault(f"{name}: {message}")
    # What is never ended is noticed at the end of the file, or a line late: say where it began.
    late = mark.line >= len(lines) or error.context == "while scanning a simple key"
    if late and error.context_mark is not None:
        mark = error.context_mark
    line = lines[mark.line] if mark.line < len(lines) else ""
    place = Position(name, mark.line + 1, mark.column + 1)
    help: tuple[str, ...] = ()
    if "tab" in (error.problem or ""):
        help = ("indent with spaces",)
    elif error.context == "while scanning a simple key":
        help = ("expected `key: value`, with a space after the colon",)
    return Fault(message, place, line, 1, help)


_WORDS_FOR = {
    "tag:yaml.org,2002:int": "a whole number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
}
# Of the many forms that YAML 1.1 has, those that everybody reads alike.
_ONLY = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-f_]+)"),
    "tag:yaml.org,2002:bool": re.compile(r"true|false"),
}
_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class _Reader:
    """Walks composed nodes once; collects values, positions and faults."""

    def __init__(self, name: str, lines: tuple[str, ...]) -> None:
        self.name = name
        self.lines = lines
        self.values: dict[KeyPath, tuple[Position, int]] = {}
        self.keys: dict[KeyPath, tuple[Position, int]] = {}
        self.blocks: dict[KeyPath, tuple[int, int]] = {}
        self.faults: list[Fault] = []
        self._visited = 0
        self._open: list[yaml.Node] = []
        self._scalars = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.values[path] = self._place(node)
        self._visited += 1
        if self._visited > MAX_NODES:
            message = f"aliases expand to more than {MAX_NODES:,} values"
            raise SpecError(self._fault(node, message))
        if any(node is ancestor for ancestor in self._open):
            raise SpecError(self._fault(node, "an alias that contains itself"))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN:
            self.faults.append(self._fault(node, f"{node.tag} is not read here; plain values only"))
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append(self._fault(key_node, "a key must be a plain word"))
                continue
            key = str(key_node.value)
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if key in out:
                first = self.keys[(*path, key)][0].line
                message = f"key {key!r} stands twice; the first is at line {first}"
                self.faults.append(self._fault(key_node, message))
                continue
            self.keys[(*path, key)] = self._place(key_node)
            out[key] = self.value(value_node, (*path, key))
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                self._merge(value_node, path, out)
        return out

    def _merge(self, node: yaml.Node, path: KeyPath, out: dict[str, Any]) -> None:
        """`<<: *other`: the keys of another mapping that this one does not give itself."""
        if not isinstance(node, yaml.MappingNode):
            self.faults.append(self._fault(node, "<<: expected one mapping"))
            return
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key not in out and isinstance(key_node, yaml.ScalarNode):
                self.keys[(*path, key)] = self._place(key_node)
                out[key] = self.value(value_node, (*path, key))

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.style == "|":
            first = node.start_mark.line + 2
            while first <= len(self.lines) and not self.lines[first - 1].strip():
                first += 1
            content = self.lines[first - 1] if first <= len(self.lines) else ""
            indent = len(content) - len(content.lstrip(" "))
            self.blocks[path] = (node.start_mark.line + 2, indent)
        if node.tag == "tag:yaml.org,2002:str":
            return node.value
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError, LookupError):
            message = f"{node.tag} is not read here; plain values only"
            if node.tag in _WORDS_FOR:
                message = f"{shown(node.value)} cannot be read as {_WORDS_FOR[node.tag]}"
            self.faults.append(self._fault(node, message))
            return None
        if node.tag in _ONLY and _ONLY[node.tag].fullmatch(node.value.lower()) is None:
            message = (
                f"{shown(node.value)} would be read as {shown(value)}; write that, or quote it"
            )
            self.faults.append(self._fault(node, message))
        return value

    def _place(self, node: yaml.Node) -> tuple[Position, int]:
        start, end = node.start_mark, node.end_mark
        width = end.column - start.column if end.line == start.line else 10_000
        return Position(self.name, start.line + 1, start.column + 1), width

    def _fault(self, node: yaml.Node, message: str) -> Fault:
        place, width = self._place(node)
        line = self.lines[place.line - 1] if place.line <= len(self.lines) else ""
        return Fault(message, place, line, max(1, min(width, len(line) - place.column + 1)))


def override(assignment: str, known_roots: tuple[str, ...]) -> tuple[str, KeyPath, Any]:
    """Split `arch.clock=1 GHz` into its document ("arch"), path and value (read as YAML).

    Raises SpecError when it is not of that form or the path does not start at a known document.
    """
    path_text, equals, value_text = assignment.partition("=")
    keys = tuple(path_text.strip().split("."))
    if not equals or len(keys) < 2 or not all(keys):
        message = f"--set {assignment!r}: expected PATH=VALUE, such as arch.clock='1 GHz'"
        raise SpecError(message)
    if keys[0] not in known_roots:
        message = f"--set {assignment!r}: {keys[0]!r} is none of {', '.join(known_roots)}"
        raise SpecError(Fault(message, help=nearest(keys[0], known_roots)))
    if not value_text.strip():
        raise SpecError(f"--set {assignment!r}: expected a value after the `=`")
    parsed, _ = read_text(value_text, f"--set {path_text}")
    return keys[0], keys[1:], parsed
