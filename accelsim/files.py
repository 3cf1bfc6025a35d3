"""Files that are written: whole or not at all, and refused before the work rather than after."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from accelsim.errors import AccelsimError


def check_output(path: Path) -> None:
    """Raise AccelsimError if a file cannot be written there; makes nothing."""
    target = path.resolve()
    if target.is_dir():
        raise AccelsimError(f"{str(path)!r}: is a folder; expected a file to write")
    parent = target.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise AccelsimError(f"{path}: cannot be written: {parent} is no folder")
    there = target if target.exists() else parent
    if not os.access(there, os.W_OK):
        raise AccelsimError(f"{path}: cannot be written: no permission to write {there}")


def write_output(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Write a text, bytes, or pieces of a text as they come.

    A file is replaced only when the new one is complete; a link is followed; a device or pipe is
    written to. Raises AccelsimError.
    """
    target = path.resolve()
    partial = target.with_name(target.name + ".part")
    try:
        check_output(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        given = [content] if isinstance(content, str | bytes) else content
        pieces = (one.encode() if isinstance(one, str) else one for one in given)
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                file.writelines(pieces)
            return
        try:
            with partial.open("wb") as file:
                file.writelines(pieces)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise AccelsimError(f"{path}: cannot be written: {error.strerror}") from None
