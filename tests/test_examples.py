"""The notebooks under examples/ run from start to end, anywhere, and show what they promise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SECONDS = 60


def executed(path: Path, folder: Path) -> list[Any]:
    """The code cells of a notebook, run in a kernel of its own, in a folder without our files."""
    notebook = nbformat.read(path, as_version=4)
    how = {"metadata": {"path": str(folder)}}
    found = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=how)
    found.execute(env=os.environ | {"PYTHONPATH": str(ROOT)})
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: Any) -> dict[str, Any]:
    """What a cell shows, by media type. Progress may stand before it, no warning."""
    assert not [one for one in cell.outputs if "Warning" in one.get("text", "")]
    return dict(cell.outputs[-1].data)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.source
    assert path.stat().st_size < 10_000


def test_fusemax(tmp_path: Path) -> None:
    cells = executed(ROOT / "examples" / "fusemax.ipynb", tmp_path)
    _, machine, cascade, run, slower, rows, figure = cells
    assert "text/html" in shown(machine)
    assert "text/latex" in shown(cascade)
    assert "465.2 ms" in shown(run)["text/html"]
    assert 1 <= float(shown(slower)["text/plain"]) < 1.01
    assert "seq_len" in shown(rows)["text/html"]
    assert "application/vnd.plotly.v1+json" in shown(figure)
    assert not list(tmp_path.iterdir())
