"""Commands on one mapping: traffic, run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from accelsim.cli.app import Json, Kind, Settings, app, print_json, progress, with_kind
from accelsim.errors import AccelsimError
from accelsim.files import check_output

DEFAULT_SHOWN = 20_000
MOST_SHOWN = 10_000_000


@app.command()
def traffic(
    mapping: Annotated[str, typer.Option(help="a shipped mapping, or a .yaml file")],
    model: Annotated[
        str, typer.Option(help="a shipped workload, a .yaml file, a model's config.json")
    ],
    seq_len: Annotated[int | None, typer.Option(help="sequence length")] = None,
    kind: Kind = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Count what a mapping's launches ask for, and what a cache sends on; nothing is timed.

    Examples:

      accelsim traffic --mapping h200__flash_fwd --model llama3-8b --seq-len 8192

      accelsim traffic --mapping h200__flash_fwd_heads --model llama3-8b --seq-len 16384
      --set arch.levels.l2.partitions=1 --json
    """
    from accelsim import verbs
    from accelsim.report.tables import traffic_tables

    found = verbs.traffic(mapping, model, seq_len, settings=with_kind(kind, settings))
    if as_json:
        print_json(found)
    else:
        Console().print(traffic_tables(found))


@app.command()
def run(
    mapping: Annotated[str, typer.Option(help="a shipped mapping, or a .yaml file")],
    model: Annotated[
        str, typer.Option(help="a shipped workload, a .yaml file, a model's config.json")
    ],
    seq_len: Annotated[int | None, typer.Option(help="sequence length")] = None,
    kind: Kind = None,
    engine: Annotated[str, typer.Option(help="steady, compiled or reference")] = "steady",
    settings: Settings = None,
    warm: Annotated[
        bool, typer.Option(help="begin with the cache as the same launch has left it before")
    ] = False,
    timeline: Annotated[Path | None, typer.Option(help="write a Perfetto timeline here")] = None,
    timeline_tasks: Annotated[
        int | None, typer.Option(help="tasks shown in the timeline (20,000 unless said)")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a cascade on a machine, event by event.

    Examples:

      accelsim run --mapping fusemax__attention_1pass --model bert --seq-len 16384

      accelsim run --mapping fusemax__attention_1pass --model xlm --seq-len 1024 --json

      accelsim run --mapping fusemax__attention_1pass --model bert --seq-len 4096
      --set arch.levels.global_buffer.capacity="8 MiB" --timeline out.json

      accelsim run --mapping h200__flash_fwd --model llama3-8b --seq-len 8192 --warm
    """
    from accelsim import verbs
    from accelsim.report.tables import result_table
    from accelsim.report.timeline import write

    if timeline_tasks is not None and not 1 <= timeline_tasks <= MOST_SHOWN:
        expected = f"expected a number from 1 to {MOST_SHOWN:,}"
        raise AccelsimError(f"--timeline-tasks: {expected}, got {timeline_tasks}")
    if timeline_tasks is not None and timeline is None:
        raise AccelsimError("--timeline-tasks has no effect without --timeline FILE")
    if timeline is not None:
        check_output(timeline)
    with progress("simulating") as told:
        made = verbs.simulate(
            mapping,
            model,
            seq_len,
            engine_name=engine,
            settings=with_kind(kind, settings),
            warm=warm,
            record=(timeline_tasks or DEFAULT_SHOWN) if timeline else 0,
            progress=told,
        )
    if as_json:
        print(made.result.to_json())
    else:
        Console().print(result_table(made.result))
    if timeline is not None:
        count = write(made.program, made.execution, timeline)
        message = f"timeline of the first {count:,} of {made.result.tasks:,} tasks: {timeline}"
        print(message, file=sys.stderr)
