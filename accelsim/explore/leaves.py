"""Numbers in a record of a file: where they stand, and a copy with others in their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from pydantic import BaseModel


def form_of(value: Any, numbers: list[Any]) -> str:
    """A record as text, without its numbers, which are added to `numbers`."""
    if isinstance(value, BaseModel):
        names = type(value).model_fields
        inner = ", ".join(f"{n}: {form_of(getattr(value, n), numbers)}" for n in names)
        return f"{type(value).__name__}({inner})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k!r}: {form_of(v, numbers)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(form_of(one, numbers) for one in value)}]"
    if _is_number(value):
        numbers.append(value)
        return type(value).__name__
    return repr(value)


def places_of(value: Any) -> Iterator[tuple[Any, ...]]:
    items: Any = ()
    if isinstance(value, BaseModel):
        items = ((name, getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    elif _is_number(value):
        yield ()
    for key, one in items:
        for path in places_of(one):
            yield (key, *path)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Fraction | float) and not isinstance(value, bool)


def value_at(value: Any, path: Sequence[Any]) -> Any:
    for key in path:
        if isinstance(value, BaseModel):
            value = getattr(value, key)
        else:
            value = value[int(key)] if isinstance(value, list | tuple) else value[key]
    return value


def put(value: Any, path: tuple[Any, ...], number: Any) -> Any:
    """A copy with a number at a place."""
    if not path:
        return number
    key, *rest = path
    if isinstance(value, BaseModel):
        inner = put(getattr(value, key), tuple(rest), number)
        return value.model_copy(update={key: inner})
    if isinstance(value, dict):
        return {**value, key: put(value[key], tuple(rest), number)}
    out = list(value)
    out[int(key)] = put(out[int(key)], tuple(rest), number)
    return out
