"""The command line: arguments in, verbs called, tables or JSON out. A file per kind of command."""

from accelsim.cli import derive, look, models, numbers, runs, studies  # noqa: F401  (they join the app)
from accelsim.cli.app import app, main

__all__ = ["app", "main"]
