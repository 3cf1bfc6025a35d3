"""Commands on studies: report, published, validate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from accelsim.cli.app import Json, app, print_json, progress
from accelsim.cli.completion import one_of
from accelsim.errors import AccelsimError
from accelsim.files import check_output, write_output


@app.command()
def report(
    study: Annotated[Path, typer.Argument(help="a study's folder, with figures.yaml")],
    html: Annotated[Path, typer.Option(help="write the page here")],
) -> None:
    """Run the sweeps of a study and draw its figures, ours beside published points.

    Examples:

      accelsim report studies/fusemax --html out.html
    """
    from accelsim import explore
    from accelsim.report.figures import page

    check_output(html)
    with progress("points") as told:
        asked, figures = explore.study_figures(study, told)
    write_output(html, page(asked.figures, asked.description, figures))
    print(f"{len(figures)} figures: {html}", file=sys.stderr)


@app.command()
def published(
    path: Annotated[str, typer.Argument(help="a validation file of a study")],
    family: Annotated[
        list[str] | None, typer.Option(help="of the file's families; all unless said")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="find the calibrated numbers anew instead")
    ] = False,
    variants: Annotated[
        str | None,
        typer.Option(
            help="mechanisms or sensitivity: predict with each of them, too",
            autocompletion=one_of("mechanisms", "sensitivity"),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict published times: errors by row and family, beside a roofline's. Status 1 past limits.

    Examples:

      accelsim published studies/gpu_validation/validation.yaml --family decode

      accelsim published studies/gpu_validation/validation.yaml --calibrate --json
    """
    from accelsim.explore import published as study
    from accelsim.report.tables import rows_table

    document = study.load(path)
    with progress("rows") as told:
        found = study.report(
            document,
            family,
            calibrated=calibrate,
            variant=variants,
            progress=told,
        )
    if as_json:
        print_json(found)
    else:
        for title, rows in study.tables(found):
            Console().print(rows_table(title, rows))
    if not found["within"]:
        raise typer.Exit(1)


@app.command()
def validate(
    tiers: Annotated[
        list[str] | None,
        typer.Option(
            "--tier",
            help="gpu, interpreter, recorded; all unless said",
            autocompletion=one_of("gpu", "interpreter", "recorded"),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold the simulator against real kernels. Status 1 when something failed.

    Examples:

      accelsim validate

      accelsim validate --tier interpreter --json
    """
    from accelsim.errors import Fault, nearest
    from accelsim.validate import tiers as known
    from accelsim.validate.report import lines

    for name in tiers or ():
        if name not in known.TIERS:
            raise AccelsimError(Fault(f"no tier {name!r}", help=nearest(name, known.TIERS)))
    console = Console(stderr=True)
    with console.status("") as status:
        found = known.validate(
            tiers or known.TIERS, lambda name: status.update(f"tier {name}, up to a minute")
        )
    if as_json:
        print_json(found.as_json())
    else:
        print("\n".join(lines(found)))
    if not found.ok:
        raise typer.Exit(1)
