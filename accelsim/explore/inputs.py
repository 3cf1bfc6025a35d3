"""All that the rows of a study follow from: its own file, those that it names, and the code."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import accelsim
from accelsim import spec
from accelsim.errors import AccelsimError
from accelsim.explore.axes import axis_of
from accelsim.explore.reading import Document
from accelsim.spec.mappings import MappingSpec
from accelsim.spec.records import ArchSpec
from accelsim.spec.studies import AxisSpec

MAX_NAMED = 10_000
_BRACES = re.compile(r"\{(\w+)\}")
_NAMING = re.compile(r"\s*mapping\.(arch|cascade)\s*=\s*(.*?)\s*")


@dataclass(frozen=True)
class Inputs:
    """hashes: what -> SHA-256 of its content, of the study, the code, and every file named.

    units: of the machines. outputs: of the cascades. pairs: each mapping with the machines that it
    may run on. paths: of all files named that are there. All in the order in which they are named.
    """

    hashes: dict[str, str]
    units: tuple[str, ...]
    outputs: tuple[str, ...]
    pairs: tuple[tuple[MappingSpec, ArchSpec], ...]
    paths: tuple[Path, ...]

    @property
    def key(self) -> str:
        """One SHA-256 of them all."""
        lines = (f"{what}\0{digest}\n" for what, digest in sorted(self.hashes.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@functools.cache
def code_hash() -> str:
    """SHA-256 of the package's source files."""
    root = Path(accelsim.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


@dataclass
class _Found:
    """root: the study's folder, from which files are called, wherever it lies."""

    root: Path
    hashes: dict[str, str] = field(default_factory=dict)
    documents: dict[str, tuple[Any, dict[str, Any]]] = field(default_factory=dict)
    units: dict[str, None] = field(default_factory=dict)
    outputs: dict[str, None] = field(default_factory=dict)
    pairs: list[tuple[MappingSpec, ArchSpec]] = field(default_factory=list)
    paths: dict[Path, None] = field(default_factory=dict)

    def take(self, kind: str, name: str, beside: Path) -> tuple[Any, dict[str, Any]]:
        """The record in a file, or None, and the file's keys, as far as it can be read.

        The record counts as its content; where it is none, which settings may mend, its lines.
        """
        is_file = spec.is_path(name, kind)
        called = Path(os.path.relpath(beside / name, self.root)).as_posix() if is_file else name
        what = f"{kind} {called}"
        if what not in self.documents:
            content, made, keys = "cannot be read", None, {}
            with contextlib.suppress(AccelsimError):
                path = spec.find(name, kind, beside)
                self.paths[path] = None
                value, source = spec.read_file(path)
                content = "\n".join(source.lines)
                keys = value if isinstance(value, dict) else {}
                made = spec.validate(value, source, kind)
                content = made.spec.model_dump_json()
            self.documents[what] = (made, keys)
            self.hashes[what] = _sha(content)
        return self.documents[what]


def of(document: Document) -> Inputs:
    """The inputs of a study. Raises AccelsimError where a text names more than 10,000 files."""
    sweep, beside = document.spec, Path(document.source.name).parent
    found = _Found(beside)
    found.hashes["study"] = _sha(sweep.model_dump_json(exclude={"budget"}))  # no row depends on it
    found.hashes["code"] = code_hash()
    naming = [
        f"{form.set}={{{axis}}}"
        for axis, form in sweep.axes.items()
        if isinstance(form, AxisSpec) and form.set
    ]
    naming += [text for case in sweep.cases for run in case.runs.values() for text in run.set]
    other = [match.groups() for text in naming if (match := _NAMING.fullmatch(text))]
    for case in sweep.cases:
        for name in _meant(document, case.workload):
            found.take("workload", name, beside)
        for run in case.runs.values():
            for name in _meant(document, run.mapping):
                _of_mapping(document, found, name, other)
    return Inputs(
        found.hashes,
        tuple(found.units),
        tuple(found.outputs),
        tuple(found.pairs),
        tuple(found.paths),
    )


def _of_mapping(document: Document, found: _Found, name: str, other: list[tuple[str, ...]]) -> None:
    """A mapping, the arch and cascade that it names, and those that settings name instead."""
    beside = Path(document.source.name).parent
    mapping, keys = found.take("mapping", name, beside)
    folder = (Path(mapping.source.name) if mapping is not None else beside / name).parent
    names = [(kind, keys[kind]) for kind in ("arch", "cascade") if isinstance(keys.get(kind), str)]
    names += [(kind, name) for kind, text in other for name in _meant(document, text)]
    for kind, named in names:
        made, _ = found.take(kind, named.strip("'\""), folder)
        if made is not None and kind == "arch":
            found.units |= dict.fromkeys(made.spec.units)
            if mapping is not None:
                found.pairs.append((mapping.spec, made.spec))
        elif made is not None:
            found.outputs |= dict.fromkeys(made.spec.outputs)


def _meant(document: Document, text: str | None) -> Iterator[str]:
    """What a text can become with the values of the axes that it names."""
    if text is None:
        return
    names = list(dict.fromkeys(_BRACES.findall(text)))
    axes = [axis_of(name, document.spec.axes[name]).values for name in names]
    if prod(map(len, axes)) > MAX_NAMED:
        raise AccelsimError(f"{document.source.name}: {text!r} names more than {MAX_NAMED:,} files")
    for values in itertools.product(*axes):
        filled = text
        for name, value in zip(names, values, strict=True):
            filled = filled.replace("{" + name + "}", str(value))
        yield filled


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
