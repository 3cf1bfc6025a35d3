"""Commands on studies: report, published, validate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from accelsim.cli.app import Json, app, print_json, progress, warn_of
from accelsim.cli.completion import one_of
from accelsim.errors import AccelsimError
from accelsim.files import check_output, write_output

if TYPE_CHECKING:
    from accelsim.report.timeline import Span


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="what a sweep has written, or a study's folder with figures.yaml")
    ],
    html: Annotated[Path, typer.Option(help="write the page here")],
    study: Annotated[
        str | None, typer.Option(help="the sweep file of the points: run some again, for timelines")
    ] = None,
    timelines: Annotated[
        int, typer.Option(min=0, help="with --study: of up to so many points of the front")
    ] = 12,
    point: Annotated[
        list[int] | None, typer.Option(help="with --study: a timeline of this point, too")
    ] = None,
) -> None:
    """One page of a sweep's points; of a study's folder, its figures beside published points.

    Examples:

      accelsim report out --html out.html --study studies/fusemax/area.yaml --point 3

      accelsim report studies/fusemax --html out.html
    """
    from accelsim import explore
    from accelsim.explore.store import MANIFEST
    from accelsim.report.figures import page

    check_output(html)
    if (folder / MANIFEST).is_file():
        _report_points(folder, html, study, timelines, point or [])
        return
    if study is not None or point:
        message = f"--study, --point: {folder} holds no {MANIFEST}, which a sweep writes"
        raise AccelsimError(message)
    with progress("points") as told:
        asked, figures = explore.study_figures(folder, told)
    write_output(html, page(asked.figures, asked.description, figures))
    print(f"{len(figures)} figures: {html}", file=sys.stderr)


TASKS = 3000
"""Of each phase of a point, as many as its timeline shows."""


def _report_points(
    folder: Path, html: Path, study: str | None, most: int, asked: list[int]
) -> None:
    """Write the page of a sweep's points. Raises AccelsimError."""
    from accelsim import explore
    from accelsim.report import sweep_page

    found, bad, missing = explore.points(folder)
    warn_of(bad, missing)
    if asked and study is None:
        raise AccelsimError("--point needs --study FILE: the point is run again for its timeline")
    made: dict[int, Sequence[Span]] = {}
    if study is not None:
        document = explore.load(study)
        if list(document.spec.axes) != list(found.axes):
            theirs, ours = (", ".join(axes) for axes in (found.axes, document.spec.axes))
            raise AccelsimError(f"{study}: its axes are {ours}; those of {folder} are {theirs}")
        rows = sweep_page.rows_of_timelines(found, most=most, asked=asked)
        with progress("timelines") as told:
            for done, row in enumerate(rows, start=1):
                axes = {name: values[row] for name, values in found.axes.items()}
                made[row] = explore.timeline(document, axes, record=TASKS)
                told(done / len(rows))
    write_output(html, sweep_page.page(found, made))
    print(f"{len(found.point)} points, {len(made)} timelines: {html}", file=sys.stderr)


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
