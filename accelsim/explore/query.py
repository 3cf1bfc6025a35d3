"""SQL over a folder of results: one statement, which can read the rows and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import AccelsimError, Fault
from accelsim.explore import store
from accelsim.explore.store import Bad

SANDBOX: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",
    "lock_configuration": "true",
}
ZONED = "TIMESTAMP WITH TIME ZONE"


@dataclass(frozen=True)
class Found:
    """What a statement gives.

    missing: how many points have no row yet. bad: files that are no whole parts.
    """

    names: list[str]
    rows: Iterator[tuple[Any, ...]]
    missing: int
    bad: list[Bad]


def query(folder: Path, sql: str) -> Found:
    """The answer to one SELECT over `results`, the rows of a folder. Raises AccelsimError."""
    import duckdb

    target, manifest = store.opened(folder)
    parts, bad = target.parts()
    connection = duckdb.connect(config=SANDBOX)
    try:
        connection.register("results", target.dataset(parts))
        statements = connection.extract_statements(sql)
        types = [one.type for one in statements]
        if types not in ([duckdb.StatementType.SELECT], [duckdb.StatementType.EXPLAIN]):
            got = ", ".join(kind.name for kind in types) or "nothing"
            raise AccelsimError(f"query: expected one SELECT over results, got {got}")
        answer = connection.execute(statements[0])
        description = answer.description or ()
        names = [one[0] for one in description]
        # DuckDB gives such only with a package of time zones, which nothing else needs.
        zoned = [one[0] for one in description if ZONED in str(one[1])]
        if zoned:
            help = ("for example, CAST(... AS TIMESTAMP), or CAST(... AS VARCHAR)",)
            message = f"query: {zoned[0]}: expected no {ZONED}"
            raise AccelsimError(Fault(message, help=help))
    except duckdb.Error as error:
        help = (f"columns of results: {', '.join(column.name for column in target.columns)}",)
        raise AccelsimError(Fault(f"query: {str(error).strip()}", help=help)) from None
    left = sum(last - first for first, last in store.missing(parts, 0, manifest["points"]))
    return Found(names, _rows(answer), left, bad)


def _rows(answer: Any) -> Iterator[tuple[Any, ...]]:
    import duckdb

    try:
        while rows := answer.fetchmany(10_000):
            yield from rows
    except duckdb.Error as error:
        raise AccelsimError(f"query: {str(error).strip()}") from None
