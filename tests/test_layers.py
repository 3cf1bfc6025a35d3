"""Imports only point left: the order of the layers is the design."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent / "accelsim"
# A module may import from its own set and from those before it.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "units", "files", "shipped", "tables", "traced"}),
    frozenset({"spec"}),
    frozenset({"cascade", "arch", "workload"}),
    frozenset({"analysis"}),
    frozenset({"derive"}),
    frozenset({"mapping"}),
    frozenset({"program"}),
    frozenset({"results"}),
    frozenset({"engine"}),
    frozenset({"execute"}),
    frozenset({"report"}),
    frozenset({"verbs"}),
    frozenset({"explore", "validate"}),
    frozenset({"api", "given"}),
    frozenset({"cli", "__init__", "__main__"}),
)
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}


def imported(path: Path) -> set[str]:
    """Names of the layers that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("accelsim"):
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("accelsim.")}
    return found


def test_imports_point_to_lower_layers() -> None:
    for path in sorted(ROOT.rglob("*.py")):
        layer = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for other in imported(path):
            if layer in {"arch", "cascade", "workload", "explore", "validate"}:
                assert other == layer or DEPTH[other] < DEPTH[layer], f"{path}: {other}"
            assert DEPTH[other] <= DEPTH[layer], f"{path} imports {other}"


def test_no_file_holds_two_ideas() -> None:
    for path in sorted(ROOT.parent.rglob("*.py")):
        if ".venv" not in path.parts:
            assert len(path.read_text().splitlines()) <= 500, path


def test_import_is_light() -> None:
    code = "import accelsim, sys; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert not loaded & {"torch", "plotly", "simpy", "numba", "pint", "typer", "pandas"}
