"""Commands that make workloads of models: import-model, import-torch."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from accelsim.cli.app import Json, app, print_json
from accelsim.files import check_output, write_output

Yaml = Annotated[Path | None, typer.Option(help="write the workload here")]


@app.command("import-model")
def import_model(
    config: Annotated[str, typer.Argument(help="a model's config.json, as Hugging Face has it")],
    yaml: Yaml = None,
    as_json: Json = False,
) -> None:
    """Print a model's config.json as a workload file, to be changed; --model takes both.

    Examples:

      accelsim import-model Meta-Llama-3-8B/config.json

      accelsim import-model gemma-3-4b-it/config.json --yaml gemma3.yaml

      accelsim run --mapping h200__flash_fwd --model Meta-Llama-3-8B/config.json --seq-len 8192
    """
    from accelsim import spec, workload

    if yaml is not None:
        check_output(yaml)
    record = workload.import_model(config).spec
    if yaml is not None:
        write_output(yaml, spec.written(record))
        print(f"{record.workload}: {yaml}", file=sys.stderr)
    if as_json:
        print_json(record.model_dump(exclude_defaults=True))
    elif yaml is None:
        print(spec.written(record), end="")


@app.command("import-torch")
def import_torch(
    target: Annotated[
        str,
        typer.Argument(
            help="FILE.py:NAME or PACKAGE.MODULE:NAME: a torch module, or a function that returns "
            "one, (MODULE, ARGS) or (MODULE, ARGS, KWARGS)"
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="shape of an argument: 1x128x512, or 1x128:int64"),
    ] = None,
    device: Annotated[
        str, typer.Option(help="meta: shapes without values, of any size; or cpu")
    ] = "meta",
    yaml: Yaml = None,
    as_json: Json = False,
) -> None:
    """List the calls of scaled-dot-product attention that a torch module makes.

    The module runs once. A workload (--yaml) has a kind for each shape: call1, call2, ...

    Examples:

      accelsim import-torch my_model.py:build --yaml calls.yaml

      accelsim import-torch my_package.vit:vit_large --input 8x3x224x224 --json

      accelsim run --mapping h200__flash_fwd --model calls.yaml --kind call2
    """
    from accelsim import spec, workload
    from accelsim.report.tables import rows_table

    if yaml is not None:
        check_output(yaml)
    calls = workload.import_torch(target, inputs or (), device)
    if yaml is not None:
        name = target.rpartition(":")[2]
        name = name if re.match("[A-Za-z]", name) else f"traced{name}"
        source = f"calls of scaled_dot_product_attention in {target}"
        write_output(yaml, spec.written(workload.workload_of(name, source, calls)))
        print(f"{name}: {yaml}", file=sys.stderr)
    if as_json:
        print_json({"target": target, "device": device, "calls": workload.as_json(calls)})
        return
    short = [
        {
            **call.sizes[0],
            "causal": "yes" if call.causal else "no",
            "mask": call.mask,
            "type": call.dtype,
            "calls": count,
        }
        for call, count in calls.items()
    ]
    Console().print(rows_table(f"attention in {target}", short))
