"""The command that searches for mappings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import ceil
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from accelsim.cli.app import Json, app, print_json
from accelsim.errors import AccelsimError
from accelsim.files import check_output, write_output

if TYPE_CHECKING:
    from accelsim.explore.search import Outcome, Progress

LINE_SECONDS = 2.0


@app.command()
def search(
    study: Annotated[str, typer.Argument(help="a search file, or a folder with search.yaml")],
    seq_len: Annotated[
        int | None, typer.Option(min=1, help="length of the sequence, in place of the file's")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="write the best mapping here")] = None,
    save_all: Annotated[
        Path | None, typer.Option(help="write every mapping of the front into this folder")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="keep in this folder what is found out, as it comes")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with what the folder holds")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="processes of this machine")] = 1,
    as_json: Json = False,
) -> None:
    """Find the best mapping of a cascade on a machine for a workload.

    All mappings of the space are tried but for those that cannot be better, and what is found is
    then optimal in this space; a space too large for the budget is bred from (NSGA-II). What is
    found does not depend on the number of workers, nor on stops. Status 130 when stopped by Ctrl-C.

    Examples:

      accelsim search studies/fusemax/search.yaml --workers 2 --save best.yaml

      accelsim run --mapping best.yaml --model bert --seq-len 4096

      accelsim search studies/fusemax/search.yaml --seq-len 65536 --json

      accelsim search my_search.yaml --out found --workers 8 --resume
    """
    from accelsim.explore import search as searches

    if save is not None:
        check_output(save)
    if resume and out is None:
        raise AccelsimError("--resume goes with --out: the folder of what was found out")
    problem = searches.load(study, seq_len)
    outcome = searches.run(problem, out=out, resume=resume, workers=workers, told=_told())
    if save is not None and outcome.front:
        write_output(save, outcome.file(save))
        print(f"the best mapping: {save}; to run it: {outcome.command(save)}", file=sys.stderr)
    if save_all is not None:
        for number in range(len(outcome.front)):
            path = save_all / f"{problem.spec.search}_{number + 1}.yaml"
            write_output(path, outcome.file(path, number))
        print(f"{len(outcome.front)} mappings: {save_all}", file=sys.stderr)
    if as_json:
        print_json(outcome.as_json())
    else:
        _show(outcome)
    if outcome.settled == "stopped":
        if out is not None:
            length = f" --seq-len {seq_len}" if seq_len is not None else ""
            more = f" --workers {workers}" if workers > 1 else ""
            again = f"accelsim search {study}{length} --out {out} --resume{more}"
            print(f"stopped; what was found out is in {out}, to go on: {again}", file=sys.stderr)
        else:
            print("stopped; with --out DIR it could go on", file=sys.stderr)
        raise typer.Exit(130)


def _show(outcome: Outcome) -> None:
    from accelsim.report.searches import search_table

    Console().print(search_table(outcome.as_json()))


def _whole(value: float) -> str:
    """A value as the result has it: cycles rounded up."""
    return f"{ceil(value):,}"


def _told() -> Callable[[Progress], None]:
    """A line every few seconds: how much is tried, the best, what could still be better."""
    after = monotonic() + LINE_SECONDS

    def told(now: Progress) -> None:
        nonlocal after
        if monotonic() < after:
            return
        after = monotonic() + LINE_SECONDS
        rate = now.tried / max(now.seconds, 1e-9)
        left = f", at most {(now.budget - now.tried) / rate:,.0f} s left" if now.tried else ""
        best = "none legal yet" if now.best is None else f"best {_whole(now.best[0])}"
        least = "" if now.least is None else f", nothing left is below {now.least:,.0f}"
        print(
            f"{now.tried:,} of at most {now.budget:,} mappings, {rate:,.0f}/s{left}; {best}{least}",
            file=sys.stderr,
        )

    return told
