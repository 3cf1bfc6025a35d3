"""What a search has found out so far, in a folder, so that it can go on after whatever stopped it.

Answers stand in the order in which they were asked for. A search asks the same every time, so going
on is asking again, with the first answers known.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelsim.errors import AccelsimError, Fault
from accelsim.explore.search.evaluate import Found, no_worse
from accelsim.explore.search.problem import Problem
from accelsim.explore.search.space import Candidate
from accelsim.explore.store import unwritable, write_whole

FILE = "search.json"
SECONDS = 2.0
Ask = Callable[[Sequence[Candidate]], list[Found]]


class Record:
    """The answers of a search. folder: None keeps them in memory."""

    def __init__(self, problem: Problem, folder: Path | None, *, resume: bool) -> None:
        self._problem = problem
        self._path = None if folder is None else folder / FILE
        self._known: list[Found] = []
        self._names: list[str] = []
        self._given = 0
        self._written = time.monotonic()
        if folder is not None:
            self._open(folder, resume=resume)

    def answers(self, candidates: Sequence[Candidate], ask: Ask) -> list[Found]:
        """What is known of candidates; the rest is asked, and kept."""
        names = [_name(candidate) for candidate in candidates]
        known = self._names[self._given : self._given + len(candidates)]
        if known != names[: len(known)]:
            message = f"{self._path}: holds answers to what is not asked now"
            raise AccelsimError(Fault(message, help=("give another folder",)))
        rest = candidates[len(known) :]
        if rest:
            self._known += ask(rest)
            self._names += names[len(known) :]
        self._given += len(candidates)
        if rest and time.monotonic() - self._written >= SECONDS:
            self.flush()
        return self._known[self._given - len(candidates) : self._given]

    def flush(self) -> None:
        """Write all answers. Raises AccelsimError."""
        if self._path is None:
            return
        values = {
            "search": self._problem.spec.search,
            "key": self._problem.key,
            "inputs": self._problem.inputs,
            "answers": [
                [name, *found.as_json()]
                for name, found in zip(self._names, self._known, strict=True)
            ],
        }
        write_whole(self._path, (json.dumps(values) + "\n").encode())
        self._written = time.monotonic()

    def _open(self, folder: Path, *, resume: bool) -> None:
        assert self._path is not None  # there is a folder
        if folder.exists() and not folder.is_dir():
            raise AccelsimError(f"{folder}: is a file; expected a folder for the search")
        if self._path.exists():
            if not resume:
                help = ("--resume goes on with it; else give a folder that is new or empty",)
                raise AccelsimError(Fault(f"{folder}: there is a search in it already", help=help))
            answers = self._read(self._path)
            self._names = [name for name, _ in answers]
            self._known = [found for _, found in answers]
            return
        if folder.exists() and any(not path.name.endswith(".tmp") for path in folder.iterdir()):
            raise AccelsimError(f"{folder}: there is something in it, and it is no search")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from None
        self.flush()

    def _read(self, path: Path) -> list[tuple[str, Found]]:
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            key, inputs = values["key"], values["inputs"]
            answers = [(one[0], Found.from_json(one[1:])) for one in values["answers"]]
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise AccelsimError(
                f"{path}: not what `accelsim search --out` has written: {error}"
            ) from None
        if key != self._problem.key:
            now = self._problem.inputs
            changed = [what for what in {**inputs, **now} if inputs.get(what) != now.get(what)]
            help = (f"changed: {', '.join(changed)}", "give another folder")
            message = f"{path.parent}: holds another search, or this one before it changed"
            raise AccelsimError(Fault(message, help=help))
        return answers


def _name(candidate: Candidate) -> str:
    """A few letters that tell a candidate from others."""
    return hashlib.sha256(repr(candidate).encode()).hexdigest()[:12]


def merged(
    front: list[tuple[list[float], Candidate]], found: Found, candidate: Candidate, pipelines: Any
) -> list[tuple[list[float], Candidate]]:
    """A front and what was found of a candidate: none is as good as another in all values."""
    for values, number in found.front:
        if any(no_worse(one, values) for one, _ in front):
            continue
        late, newest = pipelines[number]
        last = replace(candidate.groups[-1], late=late, newest=newest)
        whole = replace(candidate, groups=(*candidate.groups[:-1], last))
        front = [(one, other) for one, other in front if not no_worse(values, one)]
        front.append((values, whole))
    return front
