"""What all commands share: the app, options that several have, how errors end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from accelsim.cli.completion import kinds_of_run, shipped
from accelsim.errors import AccelsimError

if TYPE_CHECKING:
    from accelsim.explore.store import Bad

app = typer.Typer(
    help="Attention algorithms as cascades of Einsums, simulated on machines written in YAML.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Kind = Annotated[
    str | None,
    typer.Option(
        help="kind of the workload: a prompt, one query (its first)", autocompletion=kinds_of_run
    ),
]
Mapping = Annotated[
    str,
    typer.Option(help="a shipped mapping, or a .yaml file", autocompletion=shipped("mapping")),
]
Model = Annotated[
    str,
    typer.Option(
        help="a shipped workload, a .yaml file, a model's config.json",
        autocompletion=shipped("workload"),
    ),
]
Cascade = Annotated[
    str,
    typer.Argument(help="a shipped cascade, or a .yaml file", autocompletion=shipped("cascade")),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="PATH=VALUE over a field of arch, mapping or workload"),
]


def main() -> None:
    """Entry of the console script: errors of the user end with their message and status 1."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except AccelsimError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except MemoryError as error:
        print(f"not enough memory: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        # Of standard output: files are written, and their errors worded, in files.py.
        if not isinstance(error, BrokenPipeError):
            print(f"output cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on standard error where that is a terminal; what it gives is called with the share."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(shown, completed=share)


def warn_bad(bad: Bad) -> None:
    """Say that a file of a folder of results counts for nothing."""
    print(f"{bad.part.path}: left out, as it is no whole part: {bad.why}", file=sys.stderr)


def warn_of(bad: Sequence[Bad], missing: int) -> None:
    """Say what a folder of results does not have."""
    for one in bad:
        warn_bad(one)
    if missing:
        print(f"{missing:,} points of the study are not there yet", file=sys.stderr)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def with_kind(kind: str | None, settings: list[str] | None) -> list[str]:
    return ([] if kind is None else [f"workload.kind={kind}"]) + (settings or [])


def _show_version(asked: bool) -> None:
    if asked:
        from accelsim.verbs import version

        print(f"accelsim {version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="and leave")
    ] = False,
) -> None:
    """Attention algorithms as cascades of Einsums, simulated on machines written in YAML."""
