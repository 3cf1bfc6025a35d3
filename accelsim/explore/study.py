"""A study folder to its report: its sweeps, run, and its figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelsim import spec
from accelsim.errors import AccelsimError
from accelsim.explore.reading import load
from accelsim.explore.sweep import rows
from accelsim.report.figures import Figure, figure, read_published
from accelsim.spec.studies import FiguresSpec


def check_figures(path: str) -> None:
    """Raise AccelsimError if a plot's sweep or published file cannot be used."""
    document: spec.Document[FiguresSpec] = spec.load(path, "figures")
    folder = Path(document.source.name).parent
    for plot in document.spec.plots:
        load(str(folder / plot.rows))
        read_published(document.spec, plot, folder)


def study_figures(
    folder: Path, progress: Callable[[float], None] | None = None
) -> tuple[FiguresSpec, list[Figure]]:
    """The figures that FOLDER/figures.yaml asks for. Raises AccelsimError."""
    path = folder / "figures.yaml"
    if not path.is_file():
        raise AccelsimError(f"no {path}: a study's folder holds figures.yaml")
    asked: FiguresSpec = spec.load(str(path), "figures").spec
    files = list(dict.fromkeys(plot.rows for plot in asked.plots))
    tables: dict[str, list[dict[str, Any]]] = {}
    for number, name in enumerate(files):

        def report(share: float, number: int = number) -> None:
            if progress is not None:
                progress((number + share) / len(files))

        tables[name] = list(rows(load(str(folder / name)), report, everything=True))
    drawn = [
        figure(plot, tables[plot.rows], read_published(asked, plot, folder), asked.titles)
        for plot in asked.plots
    ]
    return asked, drawn
