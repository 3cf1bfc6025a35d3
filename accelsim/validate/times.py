"""What times of attention are predicted on a GPU, before any is measured: one row per case.

`kernels/predictions/times_<gpu>.csv` has the rows for the cases of `kernels.timed()`, in their
order, with its sha256 beside it (`make predictions`). Whatever predicts has the form

    predict(cases: Iterable[dict[str, Any]], arch: str) -> Iterator[Row]

Once a run was made with a file, the file stays as it is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from accelsim.errors import AccelsimError, Fault, Position
from accelsim.validate import kernels


@dataclass(frozen=True)
class Row:
    """case: its name, which holds every field. kernel: of this project, or torch's by a backend.

    seconds: of one run, back to back with others of it. bottleneck: the busiest part, "" for
    unknown. note: what else is worth knowing.
    """

    case: str
    kernel: str
    seconds: float
    bottleneck: str
    note: str


COLUMNS = [field.name for field in fields(Row)]


def as_csv(rows: Iterable[Row]) -> str:
    """Seconds with five digits; of bottleneck and note the words, in one line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        words = (" ".join(said.split()) for said in (row.bottleneck, row.note))
        writer.writerow([row.case, row.kernel, f"{row.seconds:.4e}", *words])
    return text.getvalue()


def read_csv(text: str, file: str) -> list[Row]:
    """Rows as `as_csv` wrote them. Raises AccelsimError with every fault and its place in file."""
    lines = text.splitlines()
    if not lines or lines[0] != ",".join(COLUMNS):
        raise AccelsimError(_fault(f"expected the columns {', '.join(COLUMNS)}", file, 1, lines))
    found: dict[str, Row] = {}
    first: dict[str, int] = {}
    faults = []
    for number, line in enumerate(lines[1:], start=2):
        row = _row(line, file, number, lines)
        if isinstance(row, Fault):
            faults.append(row)
        elif row.case in found:
            faults.append(_fault(f"again the case of line {first[row.case]}", file, number, lines))
        else:
            found[row.case], first[row.case] = row, number
    if not found and not faults:
        faults = [_fault("no rows", file, 1, lines)]
    if faults:
        raise AccelsimError(faults)
    return list(found.values())


def _row(line: str, file: str, number: int, lines: list[str]) -> Row | Fault:
    try:
        parts = next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        return _fault(f"is no line of a CSV: {error}", file, number, lines)
    if len(parts) != len(COLUMNS):
        return _fault(f"{len(parts)} fields, expected {len(COLUMNS)}", file, number, lines)
    case, kernel, given, bottleneck, note = parts
    if not case or not kernel:
        return _fault("expected a case and a kernel", file, number, lines)
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        column = line.find(given, len(case) + len(kernel) + 2) + 1
        message = f"seconds: {given!r} is no number above 0"
        return _fault(message, file, number, lines, column, len(given))
    return Row(case, kernel, seconds, bottleneck, note)


def _fault(
    message: str, file: str, number: int, lines: list[str], column: int = 1, width: int = 0
) -> Fault:
    excerpt = lines[number - 1] if number <= len(lines) else ""
    return Fault(message, Position(file, number, column), excerpt, width)


def file_of(gpu: str) -> Path:
    """Where the times on a GPU are predicted, by its name in records."""
    return kernels.folder() / "predictions" / f"times_{kernels.short(gpu)}.csv"


def sealed(path: Path) -> tuple[list[Row], str]:
    """The rows of a file and its sha256, which its seal has. Raises AccelsimError."""
    by = path.with_suffix(".sha256")
    for needed in (path, by):
        if not needed.is_file():
            raise AccelsimError(f"predictions/{needed.name} is missing")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if by.read_text(encoding="utf-8").splitlines() != [f"{digest}  {path.name}"]:
        raise AccelsimError(f"predictions/{path.name} is not what {by.name} says: it was altered")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise AccelsimError(f"predictions/{path.name}: is not UTF-8") from None
    return read_csv(text, f"predictions/{path.name}"), digest
