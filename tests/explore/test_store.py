"""Parts: whole or not there; one that is torn, or of another study, is never read."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import AccelsimError
from accelsim.explore import store
from accelsim.explore.columns import Column
from accelsim.explore.store import Part, Store, missing
from tests.explore import standin
from tests.explore.standin import EVERY

COLUMNS = (
    Column("point", "int64"),
    Column("kind", "string"),
    Column("seconds", "float64"),
    Column("good", "bool"),
    Column("error", "string"),
)


def rows(first: int, last: int) -> list[tuple[Any, ...]]:
    """A row for every second point."""
    return [
        (n, f"kind {n % 3}", None if n % 5 == 0 else n / 7, n % 3 == 0, None)
        for n in range(first, last, 2)
    ]


def made(folder: Path, *ranges: tuple[int, int], key: str = "k") -> Store:
    folder.mkdir(exist_ok=True)
    target = Store(folder, key, COLUMNS)
    for first, last in ranges:
        target.write(first, last, rows(first, last))
    return target


def read(target: Store) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in target.rows(target.parts(thorough=EVERY)[0])]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    target = made(tmp_path, (10, 30), (0, 10), (40, 40), (30, 31))
    parts, bad = target.parts(thorough=EVERY)
    assert [(part.first, part.last) for part in parts] == [(0, 10), (10, 30), (30, 31), (40, 40)]
    assert read(target) == [*rows(0, 10), *rows(10, 30), *rows(30, 31)]
    assert not bad


def test_types_do_not_depend_on_what_a_part_holds(tmp_path: Path) -> None:
    target = made(tmp_path)
    target.write(0, 1, [(0, None, None, None, "it failed")])
    target.write(1, 2, [(1, "x", 2.0, True, None)])
    target.write(2, 3, [])
    schemas = [target.dataset([part]).schema for part in target.parts(thorough=EVERY)[0]]
    assert len(schemas) == 3
    assert schemas[0].equals(schemas[1])
    assert [str(kind) for kind in schemas[0].types] == [
        "int64",
        "string",
        "double",
        "bool",
        "string",
    ]


def test_of_parts_that_overlap_no_row_comes_twice(tmp_path: Path) -> None:
    target = made(tmp_path, (0, 20), (10, 30), (0, 40), (40, 50), (44, 46))
    parts, _ = target.parts()
    assert [(part.first, part.last) for part in parts] == [(0, 20), (40, 50)]
    left = missing(parts, 0, 50)
    assert left == [(20, 40)]
    for first, last in left:
        target.write(first, last, rows(first, last))
    assert read(target) == rows(0, 50)


@pytest.mark.parametrize(
    ("parts", "ends", "expected"),
    [
        ([], (0, 9), [(0, 9)]),
        ([], (4, 4), []),
        ([(0, 9)], (0, 9), []),
        ([(0, 3), (3, 5), (7, 8)], (0, 9), [(5, 7), (8, 9)]),
        ([(0, 3), (5, 12)], (2, 9), [(3, 5)]),
        ([(0, 3), (20, 30)], (10, 20), [(10, 20)]),
    ],
)
def test_what_is_missing(
    parts: list[tuple[int, int]], ends: tuple[int, int], expected: list[tuple[int, int]]
) -> None:
    assert missing([Part(Path("p"), *part) for part in parts], *ends) == expected


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    other = made(path.parent / "other", (0, 10), key="another")
    shutil.copy(other.folder / path.name, path)


def renamed(path: Path) -> None:
    path.replace(path.with_name(path.name.replace("0-", "1-", 1)))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def other_rows(path: Path) -> None:
    """The name, key and number of rows are right; the points are not those."""
    target = made(path.parent)
    target.write(0, 10, rows(20, 30))


@pytest.mark.parametrize("damage", [torn, emptied, foreign, renamed, folder, other_rows])
def test_a_damaged_part_is_never_read(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    target = made(tmp_path, (0, 10), (10, 20))
    damage(target.parts()[0][0].path)
    parts, bad = target.parts(thorough=EVERY)
    assert [(part.first, part.last) for part in parts] == [(10, 20)]
    assert len(bad) == 1
    assert bad[0].why
    assert read(target) == rows(10, 20)
    target.set_aside(bad)
    assert not target.parts(thorough=EVERY)[1]


def test_no_flipped_bit_gives_other_rows(tmp_path: Path) -> None:
    target = made(tmp_path, (0, 40))
    path = target.parts()[0][0].path
    content, seen = path.read_bytes(), 0
    for place in range(0, len(content), 11):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        found = read(target)
        seen += not found
        assert found in ([], rows(0, 40)), place
    assert seen > len(content) // 22


@pytest.mark.parametrize("step", range(1, 7))
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    target = made(tmp_path, (0, 10))

    def full(file: int | None) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        standin.interrupted(patch, step, full)
        with pytest.raises(AccelsimError, match="cannot be written: No space left on device"):
            target.write(10, 20, rows(10, 20))
    assert read(target) in (rows(0, 10), rows(0, 20))
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]
    target.write(10, 20, rows(10, 20))
    assert read(target) == rows(0, 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not a folder that"),
        ("{", "cannot be read"),
        ("[]", "not what"),
        ('{"key": 1}', "not what"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / store.MANIFEST).write_text(text)
    with pytest.raises(AccelsimError, match=message):
        store.opened(tmp_path)
