"""Words that a shell completes: names of shipped files, and of what a command knows.

Each press of a key starts a process: what is called here imports nothing heavy. A shell completes
files by itself where no name fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import typer

from accelsim.errors import AccelsimError
from accelsim.shipped import names

Words = Callable[[], Iterable[str]]


def shipped(kind: str) -> Words:
    """Names of the shipped files of a kind."""
    return lambda: names(kind)


def one_of(*words: str) -> Words:
    return lambda: words


def kinds_of_run(context: typer.Context) -> Iterable[str]:
    """Kinds of the workload that stands on the line already; its file is read for them."""
    model = context.params.get("model")
    if model is None:
        return ()
    from accelsim import spec

    try:
        return tuple(spec.load(model, "workload").spec.kinds)
    except AccelsimError:  # of the file: the command itself will say so
        return ()
