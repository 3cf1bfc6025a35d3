"""What a model file gives a run: rank shapes, parameters and tables, of one kind and length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from accelsim.errors import AccelsimError, Fault, SpecError, nearest, shown
from accelsim.spec import Document
from accelsim.spec.records import WorkloadSpec
from accelsim.spec.scalars import MAX_SHAPE, SEQ_LEN
from accelsim.traced import Traced

Path = tuple[str | int, ...]
SECTIONS = ("ranks", "parameters", "tables")


@dataclass(frozen=True)
class _Given:
    """What the file and its chosen kind give. at: name -> where it stands."""

    ranks: dict[str, int | str]
    parameters: dict[str, int | str]
    tables: dict[str, list[Any]]
    at: dict[str, Path] = field(default_factory=dict)


def check(document: Document[WorkloadSpec]) -> None:
    """Raise SpecError with all that is wrong whatever the sequence length."""
    faults = [*_kind_faults(document), *_name_faults(document), *_table_faults(document)]
    if faults:
        raise SpecError(faults)


def shapes(document: Document[WorkloadSpec], seq_len: int | None) -> dict[str, int]:
    """Shape of every rank that the workload gives, `seq_len` put in, and its parameters.

    Raises AccelsimError.
    """
    check(document)
    spec = document.spec
    if seq_len is not None and (isinstance(seq_len, bool) or not isinstance(seq_len, int | Traced)):
        raise AccelsimError(f"seq_len: expected a whole number, got {seq_len!r}")
    if seq_len is not None and not 1 <= seq_len <= MAX_SHAPE:
        raise AccelsimError(f"--seq-len: expected a number from 1 to 2^62, got {seq_len}")
    given = _given(spec)
    numbers = given.ranks | given.parameters
    open_names = [name for name, number in numbers.items() if isinstance(number, str)]
    if open_names and seq_len is None:
        message = f"{spec.workload} leaves {', '.join(open_names)} to the sequence length"
        raise AccelsimError(f"{message}: give --seq-len N")
    if seq_len is not None and not open_names:
        message = f"{spec.workload} fixes every rank; --seq-len {seq_len} would have no effect"
        raise AccelsimError(message)
    found = {name: _number(number, seq_len or 0) for name, number in numbers.items()}
    short = [rank for rank in given.ranks if found[rank] < 1]
    if short:
        said = f"at a sequence length of {seq_len}; expected at least 1"
        raise SpecError(
            document.source.fault(given.at[rank], f"{rank} is {found[rank]} {said}")
            for rank in short
        )
    return found


def tables(document: Document[WorkloadSpec]) -> dict[str, npt.NDArray[np.int64]]:
    """The tables that the workload gives, an axis per rank. Raises SpecError."""
    check(document)
    found = _given(document.spec).tables
    return {name: np.asarray(entries, np.int64) for name, entries in found.items()}


def entry_fault(
    document: Document[WorkloadSpec], table: str, entry: tuple[int, ...], message: str
) -> Fault:
    """A fault at an entry of a table (at all of it: no indices)."""
    return document.source.fault((*_given(document.spec).at[table], *entry), message)


def _number(number: int | str, seq_len: int) -> int:
    match = SEQ_LEN.fullmatch(number) if isinstance(number, str) else None
    if match is None:
        return cast(int, number)
    return int(match[1] or 1) * seq_len - int(match[2] or 0)


# Kinds --------------------------------------------------------------------------------------------


def _given(spec: WorkloadSpec) -> _Given:
    out = _Given(dict(spec.ranks), dict(spec.parameters), dict(spec.tables))
    for section in SECTIONS:
        out.at.update({name: (section, name) for name in getattr(spec, section)})
    if spec.kinds:
        kind = spec.kind or next(iter(spec.kinds))
        for section in SECTIONS:
            own = getattr(spec.kinds[kind], section)
            getattr(out, section).update(own)
            out.at.update({name: ("kinds", kind, section, name) for name in own})
    return out


def _kind_faults(document: Document[WorkloadSpec]) -> Iterator[Fault]:
    """The kind chosen is there; every kind gives the same names, and not all the same values."""
    spec, fault = document.spec, document.source.fault
    if spec.kind is not None and not spec.kinds:
        message = f"{spec.workload} has no kinds; kind {spec.kind} would have no effect"
        yield fault(("kind",), message)
    elif spec.kind is not None and spec.kind not in spec.kinds:
        message = f"{spec.workload} has no kind {spec.kind}"
        yield fault(("kind",), message, help=nearest(spec.kind, spec.kinds))
    if len(spec.kinds) == 1:
        message = "one kind is no choice: give what it has for all runs"
        yield fault(("kinds", next(iter(spec.kinds))), message, key=True)
    seen: dict[str, str] = {}
    for kind, own in spec.kinds.items():
        same = repr([getattr(own, section) for section in SECTIONS])
        if same in seen:
            message = f"{kind} gives the same as {seen[same]}: no effect"
            yield fault(("kinds", kind), message, key=True)
        seen.setdefault(same, kind)
        for section in SECTIONS:
            every = dict.fromkeys(n for k in spec.kinds.values() for n in getattr(k, section))
            for name in every:
                at = ("kinds", kind, section, name)
                if name not in getattr(own, section):
                    message = f"{kind} does not give {name}, which another kind gives"
                    yield fault(("kinds", kind), message, key=True)
                elif name in getattr(spec, section):
                    message = f"{name}: `{section}` gives it for all kinds already"
                    yield fault(at, message, key=True)


def _name_faults(document: Document[WorkloadSpec]) -> Iterator[Fault]:
    """A name means one thing."""
    places: dict[str, str] = {}
    for kind in ("", *document.spec.kinds):
        record = document.spec.kinds[kind] if kind else document.spec
        for section in SECTIONS:
            for name in getattr(record, section):
                if places.setdefault(name, section) != section:
                    at = (*(("kinds", kind) if kind else ()), section, name)
                    message = f"{name} stands in {places[name]} too"
                    yield document.source.fault(at, message, key=True)


# Tables -------------------------------------------------------------------------------------------


def _table_faults(document: Document[WorkloadSpec]) -> Iterator[Fault]:
    records: list[tuple[Path, Mapping[str, list[Any]]]] = [(("tables",), document.spec.tables)]
    for kind, own in document.spec.kinds.items():
        records.append((("kinds", kind, "tables"), own.tables))
    for at, entries in records:
        for name, table in entries.items():
            axes = []
            first: Any = table
            while isinstance(first, list):
                axes.append(len(first))
                first = first[0] if first else None
            found = next(_wrong_entries(table, tuple(axes), (*at, name)), None)
            if found is not None:
                yield document.source.fault(found[0], f"{name}: {found[1]}")


def _wrong_entries(value: Any, axes: tuple[int, ...], at: Path) -> Iterator[tuple[Path, str]]:
    """Where a table is not a box of whole numbers, and what is there."""
    if not axes:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_SHAPE:
            yield at, f"expected a whole number up to 2^62, got {shown(value)}"
    elif not isinstance(value, list):
        yield at, f"expected a list, as the entry before it is, got {shown(value)}"
    elif len(value) != axes[0] or not value:
        expected = f"{axes[0]}, as the list before it has" if axes[0] else "at least one"
        yield at, f"expected {expected}, got {len(value)} entries"
    else:
        for index, entry in enumerate(value):
            yield from _wrong_entries(entry, axes[1:], (*at, index))
