"""A file or a text to a typed record with positions: read it, validate it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import pydantic

from accelsim.errors import Fault, SpecError, nearest, shown
from accelsim.shipped import find
from accelsim.spec import configs
from accelsim.spec.mappings import MappingSpec
from accelsim.spec.reader import Document, Key, KeyPath, Source, read_text
from accelsim.spec.reader import read_file as read_values
from accelsim.spec.records import ArchSpec, CascadeSpec, Record, WorkloadSpec
from accelsim.spec.searches import SearchSpec
from accelsim.spec.studies import FiguresSpec, SweepSpec, ValidationSpec

RECORDS: dict[str, type[Record]] = {
    "cascade": CascadeSpec,
    "arch": ArchSpec,
    "workload": WorkloadSpec,
    "mapping": MappingSpec,
    "sweep": SweepSpec,
    "search": SearchSpec,
    "figures": FiguresSpec,
    "validation": ValidationSpec,
}
Override = tuple[KeyPath, Any]
# What pydantic puts into the place of a fault besides keys and indices.
NO_PLACE = {"[key]", "[list]", "[axis]", "int", "str"}


def read_file(path: Path) -> tuple[Any, Source]:
    """Plain values of a file, with positions; a model's config.json as a workload's keys.

    Raises SpecError.
    """
    value, source = read_values(path)
    return configs.workload(value, source) if path.suffix == ".json" else (value, source)


def load(name: str, kind: str, overrides: Sequence[Override] = ()) -> Document[Any]:
    """The record of `kind` (a key of RECORDS) in a shipped or own file. Raises AccelsimError."""
    value, source = read_file(find(name, kind))
    return validate(value, source, kind, overrides)


def load_text(text: str, kind: str, name: str = "<text>") -> Document[Any]:
    """The record of `kind` in a text. Raises SpecError."""
    value, source = read_text(text, name)
    return validate(value, source, kind)


def kind_of(value: Any, source: Source) -> str:
    """The kind of a file, told by its first key. Raises SpecError."""
    if isinstance(value, dict):
        for kind in RECORDS:
            if kind == next(iter(value), None):
                return kind
    expected = ", ".join(f"`{kind}: NAME`" for kind in RECORDS)
    raise SpecError(source.fault((), f"the first key must be one of {expected}"))


def validate(
    value: Any, source: Source, kind: str, overrides: Sequence[Override] = ()
) -> Document[Any]:
    """Plain values to the record of `kind`; all faults at once. Raises SpecError."""
    record = RECORDS[kind]
    if not isinstance(value, dict):
        raise SpecError(source.fault((), f"expected the keys of a {kind} file"))
    for path, new in overrides:
        value = _replace(value, path, new, kind, record)
    if overrides:
        given = tuple(
            (path, f"{'.'.join((kind, *map(str, path)))}={shown(new)}") for path, new in overrides
        )
        source = dataclasses.replace(source, settings=given)
    try:
        return Document(record.model_validate(value), source)
    except pydantic.ValidationError as error:
        faults = [_fault(item, source, record, overrides, kind) for item in error.errors()]
        raise SpecError(dict.fromkeys(faults)) from None


def _replace(value: Any, path: KeyPath, new: Any, kind: str, record: type[Record]) -> Any:
    """A copy of `value`, replaced at `path`. A new key must be one of the record's."""
    out = copy.deepcopy(value)
    here = out
    for depth, key in enumerate(path):
        at_end = depth == len(path) - 1
        dotted = ".".join((kind, *map(str, path[: depth + 1])))
        if isinstance(here, list):
            if not str(key).isdigit() or int(key) >= len(here):
                raise SpecError(f"--set {dotted}: expected an index from 0 to {len(here) - 1}")
            key = int(key)
        elif not isinstance(here, dict):
            raise SpecError(f"--set {dotted}: there is nothing below a plain value")
        elif key not in here:
            known = _fields(record, path[:depth])
            # A name of the user's own may be added with a whole record, never with a number: a
            # misspelt rank would stay without effect.
            own_name = not known and isinstance(new, dict)
            if not (at_end and (key in known or own_name)):
                message = f"--set {dotted}: no such key"
                raise SpecError(Fault(message, help=nearest(str(key), {*known, *here})))
        if at_end:
            here[key] = new
        else:
            here = here[key]
    return out


def record_at(record: type[Record], path: Iterable[Key]) -> type[Record] | None:
    """The record that stands at `path` inside `record`; None for free keys and plain values."""
    here: Any = record
    for key in path:
        if isinstance(here, type) and issubclass(here, Record):
            field = here.model_fields.get(str(key))
            here = field.annotation if field else None
        else:  # dict[Name, X] or list[X]: step to X
            here = get_args(here)[-1] if get_args(here) else None
        if here is not None and type(None) in get_args(here):  # X | None
            here = get_args(here)[0]
        here = _model_in(here) or here
    return here if isinstance(here, type) and issubclass(here, Record) else None


def _fields(record: type[Record], path: Iterable[Key]) -> set[str]:
    """Field names of the record that stands at `path` inside `record`; empty for free keys."""
    found = record_at(record, path)
    return set(found.model_fields) if found else set()


def _model_in(record: Any) -> type[pydantic.BaseModel] | None:
    """The record among the forms that a value may have."""
    if isinstance(record, type) and issubclass(record, pydantic.BaseModel):
        return record
    forms = get_args(record) if get_origin(record) not in {dict, list} else ()
    return next((model for model in map(_model_in, forms) if model), None)


def _fault(
    item: Any, source: Source, record: type[Record], overrides: Sequence[Override], kind: str
) -> Fault:
    """A pydantic error as a fault at its place in the text."""
    path = tuple(part for part in item["loc"] if part not in NO_PLACE)
    in_key = "[key]" in item["loc"]
    dotted = ".".join(map(str, path)) or kind
    for override_path, _ in overrides:
        if override_path == path[: len(override_path)]:
            return Fault(f"--set {kind}.{dotted}: {_message(item)}")
    match item["type"]:
        case "extra_forbidden":
            known = _fields(record, path[:-1])
            message = f"unknown key {path[-1]!r}"
            return source.fault(path, message, help=nearest(str(path[-1]), known), key=True)
        case "missing":
            inside = ".".join(map(str, path[:-1])) or f"the {kind} file"
            return source.fault(path[:-1], f"{inside}: key {path[-1]!r} is missing", key=True)
        case _:
            return source.fault(path, f"{dotted}: {_message(item)}", key=in_key)


def _message(item: Any) -> str:
    got = shown(item["input"])
    match item["type"]:
        case "value_error":
            return str(item["ctx"]["error"])
        case "dict_type" | "model_type":
            return f"expected keys and values, got {got}"
        case "list_type":
            return f"expected a list, got {got}"
        case "string_type":
            return f"expected text, got {got}"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"expected a whole number, got {got}"
        case "float_type":
            return f"expected a number, got {got}"
        case "bool_type":
            return f"expected true or false, got {got}"
        case "literal_error":
            return f"expected {item['ctx']['expected']}, got {got}"
        case "too_short":
            return "expected at least one entry"
        case "greater_than_equal":
            return f"expected at least {item['ctx']['ge']}, got {got}"
        case "less_than_equal":
            return f"expected at most {item['ctx']['le']}, got {got}"
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "missing"
        case _:
            return str(item["msg"])
