"""The command line: arguments in, verbs called, tables or JSON out. A file per kind of command."""

from accelsim.cli import derive, look, numbers, runs, studies, sweeps  # noqa: F401  (they join)
from accelsim.cli.app import app, main

__all__ = ["app", "main"]
