"""What editors need: schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelsim.cli.app import app
from accelsim.cli.completion import one_of
from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.files import check_output, write_output
from accelsim.shipped import FOLDERS


@app.command()
def schema(
    kind: Annotated[
        str, typer.Argument(help="kind of file; none: list them", autocompletion=one_of(*FOLDERS))
    ] = "",
    out: Annotated[Path | None, typer.Option(help="write it here")] = None,
    everything: Annotated[
        Path | None, typer.Option("--all", help="write all of them into this folder")
    ] = None,
) -> None:
    """Print what a kind of file may hold, as JSON Schema: editors check and complete by it.

    Examples:

      accelsim schema

      accelsim schema mapping --out mapping.schema.json

      accelsim schema --all schemas
    """
    from accelsim.spec.schema import schema as of_kind
    from accelsim.spec.schema import text

    if kind and kind not in FOLDERS:
        raise AccelsimError(Fault(f"no kind of file {kind!r}", help=nearest(kind, FOLDERS)))
    if everything is not None and (kind or out is not None):
        raise AccelsimError("--all writes every kind; it goes with no kind and without --out")
    if out is not None and not kind:
        raise AccelsimError("--out FILE: which kind? expected accelsim schema KIND --out FILE")
    if everything is not None:
        paths = {one: everything / f"{one}.json" for one in FOLDERS}
        for path in paths.values():
            check_output(path)
        for one, path in paths.items():
            write_output(path, text(one))
    elif out is not None:
        write_output(out, text(kind))
    elif kind:
        print(text(kind), end="")
    else:
        for one in FOLDERS:
            print(f"{one:<12}{of_kind(one)['description']}")
