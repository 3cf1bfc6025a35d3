"""A folder of results: a manifest and part files, each whole or not there, whatever happens.

A part holds the rows of the points numbered from `first` up to `last`, exclusive: all that are
there. It is written to a temporary name, forced to disk, renamed, and the folder forced to disk; so
a part under its own name was once complete. What is read is checked nevertheless: its footer, its
checksums, whose study it is of, and how many rows it should have.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import AccelsimError
from accelsim.explore.columns import Column, Row

MANIFEST = "study.json"
ROWS = 4096
"""Rows of a part, about: it is written when there are as many."""
MOST_MESSAGES, OTHERS = 10_000, "(other messages)"
_PART = re.compile(r"part-(\d{19})-(\d{19})\.parquet")
_TEMPORARY = re.compile(r"\..*\.tmp")
Range = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """A file with the rows of the points from first up to last."""

    path: Path
    first: int
    last: int

    def meets(self, ends: Range) -> bool:
        """Whether some of its points are among those from the first up to the last."""
        return self.first < ends[1] and ends[0] < self.last


@dataclass(frozen=True)
class Bad:
    """A file that is called a part and is none. why: what is wrong."""

    part: Part
    why: str


class Store:
    """The folder of a study's results. columns: of the rows; the first is the point's number."""

    def __init__(self, folder: Path, key: str, columns: Sequence[Column]) -> None:
        self.folder = folder
        self.key = key
        self.columns = tuple(columns)

    def write(self, first: int, last: int, rows: Sequence[Sequence[Any]]) -> None:
        """Write the rows of the points from first up to last. Raises AccelsimError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        about = {"accelsim.key": self.key, "accelsim.rows": str(len(rows))}
        about |= {"accelsim.first": str(first), "accelsim.last": str(last)}
        schema = self._schema().with_metadata(about)
        values = list(zip(*rows, strict=True)) if rows else [()] * len(self.columns)
        arrays = [pa.array(v, f.type) for v, f in zip(values, schema, strict=True)]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, write_page_checksum=True)
        name = f"part-{first:019d}-{last:019d}.parquet"
        write_whole(self.folder / name, sink.getvalue().to_pybytes())

    def parts(self, thorough: Range = (0, 0)) -> tuple[list[Part], list[Bad]]:
        """Parts that together hold no point twice, in order; and files that are no whole part.

        Of parts that overlap the one that begins first counts. thorough: of parts with points from
        its first up to its last every value is read.
        """
        good: list[Part] = []
        bad: list[Bad] = []
        for part in sorted(self._named(), key=lambda part: (part.first, part.last)):
            why = self._wrong(part, thorough=part.meets(thorough))
            if why is not None:
                bad.append(Bad(part, why))
            elif not good or part.first >= good[-1].last:
                good.append(part)
        return good, bad

    def rows(self, parts: Sequence[Part]) -> Iterator[Row]:
        """The rows of parts, by the number of the point. Raises AccelsimError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        for part in parts:
            try:
                table = pq.read_table(part.path, partitioning=None, page_checksum_verification=True)
            except (OSError, pa.ArrowException) as error:
                raise AccelsimError(f"{part.path}: cannot be read: {_line(error)}") from None
            yield from table.to_pylist()

    def failures(self, parts: Sequence[Part]) -> tuple[int, Counter[str]]:
        """How many rows parts have, and how often each error stands in them."""
        import pyarrow.parquet as pq

        rows, messages = 0, Counter[str]()
        for part in parts:
            column = pq.read_table(part.path, columns=[self.columns[-1].name]).column(0)
            rows += len(column)
            for one in column.drop_null().value_counts().to_pylist():
                known = one["values"] in messages or len(messages) < MOST_MESSAGES
                messages[one["values"] if known else OTHERS] += one["counts"]
        return rows, messages

    def dataset(self, parts: Sequence[Part]) -> Any:
        """Parts as a dataset of pyarrow, which reads what it is asked for."""
        import pyarrow.dataset as ds

        options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
        form = ds.ParquetFileFormat(default_fragment_scan_options=options)
        paths = [str(part.path) for part in parts]
        return ds.dataset(paths, schema=self._schema(), format=form)

    def set_aside(self, bad: Sequence[Bad]) -> None:
        """Give files that are no parts another name, under which they are never looked at."""
        for one in bad:
            path = one.part.path
            try:
                path.replace(path.with_name(f"{path.name}.bad"))
            except OSError as error:
                raise unwritable(path, error) from None

    def remove_temporary(self, first: int, last: int) -> None:
        """Remove what was left half written of parts from first up to last."""
        for path in self.folder.iterdir():
            part = _PART.search(path.name)
            if _TEMPORARY.fullmatch(path.name) and part and first <= int(part[1]) < last:
                with contextlib.suppress(OSError):  # it is in nobody's way
                    path.unlink()

    def _named(self) -> Iterator[Part]:
        for path in self.folder.iterdir():
            if match := _PART.fullmatch(path.name):
                yield Part(path, int(match[1]), int(match[2]))

    def _schema(self) -> Any:
        import pyarrow as pa

        types = {"int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
        types["string"] = pa.string()
        return pa.schema([(column.name, types[column.kind]) for column in self.columns])

    def _wrong(self, part: Part, *, thorough: bool) -> str | None:
        """Why a file is not the whole part that its name says."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(part.path, page_checksum_verification=True) as file:
                about = {k.decode(): v.decode() for k, v in (file.metadata.metadata or {}).items()}
                if about.get("accelsim.key") != self.key:
                    return "it is of another study"
                if not file.schema_arrow.remove_metadata().equals(self._schema()):
                    return "it has other columns"
                ends = (about.get("accelsim.first"), about.get("accelsim.last"))
                if ends != (str(part.first), str(part.last)):
                    return "it is of other points than its name says"
                if about.get("accelsim.rows") != str(file.metadata.num_rows):
                    return "rows are missing"
                if not thorough:
                    return None
                points = file.read().column(0).to_pylist()
        except (OSError, ValueError, pa.ArrowException) as error:
            return _line(error)
        within = all(part.first <= point < part.last for point in points)
        ordered = all(a < b for a, b in itertools.pairwise(points))
        return None if within and ordered else "its points are not those that its name says"


def missing(parts: Sequence[Part], first: int, last: int) -> list[Range]:
    """What of the points from first up to last no part holds; parts in order, not overlapping."""
    out = []
    for part in parts:
        if not part.meets((first, last)):
            continue
        if first < part.first:
            out.append((first, part.first))
        first = part.last
    return [*out, (first, last)] if first < last else out


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a folder of results says of its study. Raises AccelsimError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise AccelsimError(f"no {path}: not a folder that `accelsim sweep --out` has written")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AccelsimError(f"{path}: cannot be read: {_line(error)}") from None
    whole = isinstance(found, dict) and {"key", "points", "columns", "inputs"} <= found.keys()
    if not whole:
        raise AccelsimError(f"{path}: not what `accelsim sweep --out` has written")
    return found


def opened(folder: Path) -> tuple[Store, dict[str, Any]]:
    """The store in a folder and what its manifest says. Raises AccelsimError."""
    manifest = read_manifest(folder)
    columns = [Column(name, kind) for name, kind in manifest["columns"].items()]
    return Store(folder, manifest["key"], columns), manifest


def is_empty(folder: Path) -> bool:
    """Whether nothing is there but what a start that was stopped has left."""
    return not folder.exists() or all(_TEMPORARY.fullmatch(p.name) for p in folder.iterdir())


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Make the folder and write its manifest. Raises AccelsimError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from None
    write_whole(folder / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, also after a crash. Raises AccelsimError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> AccelsimError:
    return AccelsimError(f"{path}: cannot be written: {error.strerror or error}")


def _line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
