"""Commands on numbers: execute."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from accelsim.cli.app import (
    Json,
    Kind,
    Mapping,
    Model,
    Settings,
    app,
    print_json,
    progress,
    with_kind,
)
from accelsim.cli.completion import shipped
from accelsim.errors import AccelsimError


@app.command()
def execute(
    mapping: Mapping,
    model: Model,
    seq_len: Annotated[int | None, typer.Option(help="sequence length")] = None,
    kind: Kind = None,
    formats: Annotated[
        str,
        typer.Option(
            help="TENSOR=FORMAT, TENSOR.accumulate=FORMAT, TENSOR.LEVEL=FORMAT, with commas "
            "between; unless said values are float64, bytes those of the machine's word"
        ),
    ] = "",
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="NAME=FILE.npy, or FILE.safetensors for those of its names"),
    ] = None,
    seed: Annotated[int, typer.Option(help="of random inputs, when no file is given")] = 0,
    scale: Annotated[
        str, typer.Option(help="NAME=FACTOR, with commas between: of inputs from the seed")
    ] = "",
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="print the error against the cascade itself on whole tensors in float64"
        ),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            help="print it against this cascade instead, such as the one that it is derived from",
            autocompletion=shipped("cascade"),
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="write the outputs here, as .safetensors (float64)")
    ] = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Run a mapping's loop nest on numbers, tile by tile, and count what is accessed.

    Examples:

      accelsim execute --mapping fusemax__attention_1pass --model bert --seq-len 2048
      --set workload.ranks.B=1 --set workload.ranks.H=1 --check

      accelsim execute --mapping h200__flash_fwd --model llama3-8b --seq-len 512
      --set workload.ranks.H=2 --set workload.ranks.G=1
      --formats Q=bfloat16,K=bfloat16,V=bfloat16,SLN=bfloat16,RNV=float32 --check

      accelsim execute --mapping fusemax__attention_1pass --model bert --seq-len 512
      --against attention_3pass

      accelsim execute --mapping fusemax__gemm --model gemm --input inputs.safetensors --json
    """
    from accelsim import verbs
    from accelsim.execute.inputs import check_save, write_safetensors
    from accelsim.execute.written import read_formats
    from accelsim.report.executed import outcome_tables

    if seed < 0:
        raise AccelsimError(f"--seed: expected 0 or more, got {seed}")
    if save is not None:
        check_save(save)
    with progress("executing") as told:
        found = verbs.execute(
            mapping,
            model,
            seq_len,
            inputs=inputs or (),
            seed=seed,
            scale=_factors(scale),
            formats=read_formats(formats),
            settings=with_kind(kind, settings),
            check=check,
            against=against,
            progress=told,
        )
    if save is not None:
        write_safetensors(save, found.outputs)
    if as_json:
        print_json(found.as_json())
    else:
        Console().print(outcome_tables(found))
    if found.differences:
        raise AccelsimError("what was accessed is not what the Program states")


def _factors(text: str) -> dict[str, float]:
    """NAME=FACTOR, with commas between. Raises AccelsimError."""
    from accelsim.execute.written import read_pairs

    expected = "NAME=FACTOR, a factor above 0, such as Q=0.125"
    found: dict[str, float] = {}
    for name, value in read_pairs(text, "--scale", expected).items():
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = nan
        if not 0 < found[name] < inf:
            raise AccelsimError(f"--scale: expected {expected}, got {f'{name}={value}'!r}")
    return found
