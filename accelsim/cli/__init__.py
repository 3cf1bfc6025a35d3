"""The command line: arguments in, verbs called, tables or JSON out. A file per kind of command."""

from accelsim.cli import (  # noqa: F401  (they join the app)
    derive,
    editors,
    look,
    models,
    numbers,
    runs,
    search,
    studies,
    sweeps,
)
from accelsim.cli.app import app, main

__all__ = ["app", "main"]
