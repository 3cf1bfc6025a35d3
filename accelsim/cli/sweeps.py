"""Commands on design spaces: sweep them, ask their results."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from accelsim.cli.app import Json, app, print_json, warn_bad, warn_of
from accelsim.errors import AccelsimError
from accelsim.files import check_output

if TYPE_CHECKING:
    from accelsim.explore import Summary

LINE_SECONDS = 5.0
MOST_SHOWN = 200


@app.command()
def sweep(
    study: Annotated[str, typer.Argument(help="a sweep file, or a study's folder with study.yaml")],
    out: Annotated[
        Path | None, typer.Option(help="write the rows to this folder, as they come")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with what the folder holds")
    ] = False,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="the I-th of N parts of the points, from 1 on")
    ] = "1/1",
    workers: Annotated[
        int | None, typer.Option(min=1, show_default="1", help="processes of this machine")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="of a Dask cluster's scheduler"),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="write all rows here")] = None,
    as_json: Json = False,
) -> None:
    """Run every point of a study; one row per point, with `error` where a point failed.

    With --out, rows are written every two seconds to parquet files, from which --resume goes on
    after whatever stopped the run, be it the study's budget; --json is then a summary. Status 1
    when all points failed.
    With --cluster the workers of a Dask cluster do the work; they need no files of this machine.

    Examples:

      accelsim sweep studies/fusemax/attention.yaml --csv out.csv

      accelsim sweep studies/fusemax/attention.yaml --out results --workers 8

      accelsim sweep studies/fusemax/attention.yaml --out results --workers 8 --resume

      accelsim sweep studies/fusemax/attention.yaml --out results --shard 2/16

      accelsim sweep studies/fusemax/attention.yaml --out results --cluster tcp://head:8786
    """
    from accelsim import explore

    if csv is not None:
        check_output(csv)
    of = _shard(shard)
    if out is None and (resume or of != (1, 1)):
        raise AccelsimError("--resume and --shard go with --out: the folder of the results")
    if workers is not None and cluster is not None:
        raise AccelsimError("--workers are processes of this machine; --cluster has its own")
    where: dict[str, Any] = {"workers": workers or 1, "cluster": cluster}
    document = explore.load(study)
    if out is None:
        with _counted() as told:
            table, summary = explore.table(document, told=told, **where)
        _say_missing(summary)
        _show(document.spec.sweep, table, summary.columns, csv, as_json)
    else:
        try:
            with _counted() as told:
                summary = explore.run(
                    document, out, resume=resume, shard=of, told=told, warn=warn_bad, **where
                )
        except KeyboardInterrupt:
            again = f"accelsim sweep {study} --out {out} --resume"
            again += f" --shard {shard}" if of != (1, 1) else ""
            again += f" --workers {workers}" if workers is not None else ""
            again += f" --cluster {cluster}" if cluster is not None else ""
            print(f"stopped; the rows so far are in {out}, to go on: {again}", file=sys.stderr)
            raise typer.Exit(130) from None
        _say_missing(summary)
        _report(out, summary, csv, as_json)
    if summary.rows and summary.failed == summary.rows:
        raise typer.Exit(1)


@app.command()
def query(
    folder: Annotated[Path, typer.Argument(help="what `accelsim sweep --out` has written")],
    sql: Annotated[str, typer.Argument(help="a SELECT over results")],
    csv: Annotated[Path | None, typer.Option(help="write the answer here")] = None,
    as_json: Json = False,
) -> None:
    """Ask the results of a sweep, also while it runs. They are read, never written.

    Examples:

      accelsim query results "SELECT * FROM results ORDER BY seconds LIMIT 10"

      accelsim query results "SELECT design, min(seconds) FROM results GROUP BY ALL" --json

      accelsim query results "SELECT * FROM results WHERE error IS NULL" --csv rows.csv
    """
    from accelsim import explore
    from accelsim.report.tables import rows_table

    if csv is not None:
        check_output(csv)
    found = explore.query(folder, sql)
    warn_of(found.bad, found.missing)
    rows: Iterator[dict[str, Any]] = (
        dict(zip(found.names, row, strict=True)) for row in found.rows
    )
    if as_json:
        whole = list(rows)
        print_json([{name: _plain(value) for name, value in row.items()} for row in whole])
        rows = iter(whole)
    if csv is not None:
        number = explore.write_csv(rows, csv, found.names)
        print(f"{number} rows: {csv}", file=sys.stderr)
    elif not as_json:
        shown = list(itertools.islice(rows, MOST_SHOWN))
        Console().print(rows_table(folder.name, shown))
        if next(rows, None) is not None:
            print(f"the first {MOST_SHOWN} rows; --csv FILE has all", file=sys.stderr)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise AccelsimError(f"--shard {text}: expected I/N with I from 1 to N, such as 2/16")
    return int(match[1]), int(match[2])


def _show(
    title: str,
    table: list[dict[str, Any]],
    names: Sequence[str],
    csv: Path | None,
    as_json: bool,
) -> None:
    from accelsim import explore
    from accelsim.report.tables import rows_table

    if csv is not None:
        explore.write_csv(table, csv, names)
        print(f"{len(table)} rows: {csv}", file=sys.stderr)
    if as_json:
        print_json([{name: _plain(value) for name, value in row.items()} for row in table])
    elif csv is None:
        Console().print(rows_table(title, table))


def _report(out: Path, summary: Summary, csv: Path | None, as_json: bool) -> None:
    """What a folder holds after a run; its rows as CSV."""
    from accelsim import explore
    from accelsim.explore import store

    if csv is not None:
        target, _ = store.opened(out)
        number = explore.write_csv(target.rows(target.parts()[0]), csv, summary.columns)
        print(f"{number} rows: {csv}", file=sys.stderr)
    if as_json:
        errors = [{"error": text, "points": number} for text, number in summary.messages]
        told = {"out": str(out), "rows": summary.rows, "failed": summary.failed, "errors": errors}
        told["left"] = summary.left
        print_json({**told, "study": store.read_manifest(out)})
    else:
        print(f"{summary.rows:,} rows: {out}", file=sys.stderr)


def _say_missing(summary: Summary) -> None:
    if summary.left:
        print(f"{summary.left:,} points are left, as the study's budget is spent", file=sys.stderr)
    if not summary.failed:
        return
    print(f"{summary.failed:,} of {summary.rows:,} points failed:", file=sys.stderr)
    for message, number in summary.messages:
        print(f"  {number:,} x {message}", file=sys.stderr)


def _plain(value: Any) -> Any:
    """A value that JSON has: no number that is none, no date."""
    if isinstance(value, float) and value - value != 0:
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


@contextmanager
def _counted() -> Iterator[Callable[[int, int], None]]:
    """Progress with rate and time left: a bar on a terminal, else a line every few seconds.

    What it gives is called with how many points are done, and of how many.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(monotonic())
        return
    columns = (
        TextColumn("points"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        shown = bar.add_task("points", total=None, rate="")
        begin, first = monotonic(), -1

        def told(done: int, total: int) -> None:
            nonlocal first
            first = done if first < 0 else first
            rate = (done - first) / max(monotonic() - begin, 1e-9)
            bar.update(shown, completed=done, total=total, rate=f"{rate:,.0f}/s")

        yield told


def _lines(begin: float) -> Callable[[int, int], None]:
    first, after = -1, begin + LINE_SECONDS

    def told(done: int, total: int) -> None:
        nonlocal first, after
        first, now = done if first < 0 else first, monotonic()
        if now < after:
            return
        after = now + LINE_SECONDS
        rate = (done - first) / (now - begin)
        left = f", {(total - done) / rate:,.0f} s left" if rate else ""
        print(f"{done:,} of {total:,} points, {rate:,.1f}/s{left}", file=sys.stderr)

    return told
