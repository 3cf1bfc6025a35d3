"""Who solves ranges of points: this process, or several beside it. One interface for all.

`submit` gives a range to whoever is free; `finished` returns what is done, and lost ranges: those
whose process died over them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from accelsim.errors import AccelsimError
from accelsim.explore.solver import Rows

Solve = Callable[[int, int], Rows]
MOST_STARTS = 3
"""How often a worker may die before it is ready."""


class LostError(AccelsimError):
    """Those who solve are gone, or cannot. The rows so far are as good as ever."""


@dataclass(frozen=True)
class Finished:
    """A range with its rows; None when its process died. seconds: that it took."""

    first: int
    last: int
    rows: Rows | None
    seconds: float


class Executor(Protocol):
    """What solves ranges of points. free: how many more it takes now; busy: whether any is on."""

    @property
    def free(self) -> int: ...

    @property
    def busy(self) -> bool: ...

    def submit(self, first: int, last: int) -> None: ...

    def finished(self, timeout: float) -> Sequence[Finished]: ...

    def close(self) -> None: ...


class Here:
    """One range at a time, in this process, when `finished` is called."""

    def __init__(self, solve: Solve) -> None:
        self._solve = solve
        self._given: list[tuple[int, int]] = []

    @property
    def free(self) -> int:
        return 1 - len(self._given)

    @property
    def busy(self) -> bool:
        return bool(self._given)

    def submit(self, first: int, last: int) -> None:
        self._given.append((first, last))

    def finished(self, timeout: float) -> list[Finished]:
        first, last = self._given[0]
        begin = time.perf_counter()
        rows = self._solve(first, last)
        self._given.clear()
        return [Finished(first, last, rows, time.perf_counter() - begin)]

    def close(self) -> None:
        """Nothing is left to end."""


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    ready: bool = False
    given: tuple[int, int] | None = None


class Processes:
    """`number` processes of this machine, each with a pipe of its own.

    So it is known over which range a process died, and a new one takes its place. make: gives, in
    each process, the function that solves; it travels there by pickle. A process whose parent is
    gone ends when it next looks for work.
    """

    def __init__(self, number: int, make: Callable[[], Solve]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._make = make
        self._died_early = 0
        self._workers: list[_Worker] = []
        for _ in range(number):
            self._workers.append(self._started())

    @property
    def free(self) -> int:
        return sum(worker.given is None for worker in self._workers)

    @property
    def busy(self) -> bool:
        return any(worker.given is not None for worker in self._workers)

    def submit(self, first: int, last: int) -> None:
        worker = next(w for w in self._workers if w.given is None)
        worker.given = (first, last)
        with contextlib.suppress(OSError):  # it died: `finished` sees that
            worker.pipe.send(worker.given)

    def finished(self, timeout: float) -> list[Finished]:
        """Raises AccelsimError when processes cannot even start."""
        out = []
        of = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(of), timeout):
            worker = of[pipe]  # type: ignore[index]  # wait returns what it was given
            try:
                answer = worker.pipe.recv()
            except (EOFError, OSError):
                out += self._replaced(worker)
                continue
            if not worker.ready:
                worker.ready = True
                continue
            assert worker.given is not None
            out.append(Finished(*worker.given, *answer))
            worker.given = None
        return out

    def close(self) -> None:
        """End all processes, whatever they are at."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()

    def _replaced(self, worker: _Worker) -> list[Finished]:
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self._died_early += not worker.ready
        if self._died_early >= MOST_STARTS:
            code = worker.process.exitcode
            raise AccelsimError(
                f"workers: their processes end before they can work (status {code})"
            )
        self._workers[self._workers.index(worker)] = self._started()
        return [] if worker.given is None else [Finished(*worker.given, None, 0.0)]

    def _started(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._make), daemon=True)
        # A process is not interrupted: the parent is, and ends all. Its first start begins another
        # process, which would let interrupts through again.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return _Worker(process, ours)


def _work(pipe: Connection, make: Callable[[], Solve]) -> None:
    """What a process does: ranges in, rows out, until the other end is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        solve = make()
        pipe.send(None)
        while True:
            first, last = pipe.recv()
            begin = time.perf_counter()
            rows = solve(first, last)
            pipe.send((rows, time.perf_counter() - begin))
