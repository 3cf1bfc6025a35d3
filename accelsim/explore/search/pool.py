"""Who evaluates candidates: this process, or several beside it. Answers come in the order asked."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from typing import Protocol

from accelsim.errors import AccelsimError
from accelsim.explore.search.evaluate import Evaluate, Found
from accelsim.explore.search.problem import Problem
from accelsim.explore.search.space import Candidate


class Pool(Protocol):
    """pipelines: of each, any pipeline of its last phase, up to so many; one: just as they are."""

    def pipelines(self, candidates: Sequence[Candidate], most: int) -> list[Found]: ...

    def one(self, candidates: Sequence[Candidate]) -> list[Found]: ...


class Here:
    """This process."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def pipelines(self, candidates: Sequence[Candidate], most: int) -> list[Found]:
        return [self._evaluate.all_pipelines(candidate, most) for candidate in candidates]

    def one(self, candidates: Sequence[Candidate]) -> list[Found]:
        return [self._evaluate.just(candidate) for candidate in candidates]


class Processes:
    """Processes of this machine, each with all that it needs from its start on."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def pipelines(self, candidates: Sequence[Candidate], most: int) -> list[Found]:
        return self._asked(partial(_pipelines, most=most), candidates)

    def one(self, candidates: Sequence[Candidate]) -> list[Found]:
        return self._asked(_one, candidates)

    def _asked(self, what: object, candidates: Sequence[Candidate]) -> list[Found]:
        try:
            return list(self._executor.map(what, candidates))  # type: ignore[arg-type]
        except BrokenProcessPool:
            message = "workers: one of their processes has died, perhaps for want of memory"
            raise AccelsimError(message) from None


@contextmanager
def pool(evaluate: Evaluate, workers: int) -> Iterator[Pool]:
    """workers: processes; 1 is this one."""
    if workers == 1:
        yield Here(evaluate)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, context, _begin, (evaluate.problem,))
    processes = Processes(executor)
    # A process is not interrupted: the parent is, and ends all. They have to be started meanwhile;
    # the first start begins another process, which would let interrupts through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(workers):
            executor.submit(int)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield processes
    finally:
        for process in list((executor._processes or {}).values()):
            process.terminate()
        executor.shutdown(wait=True, cancel_futures=True)


_own: list[Evaluate] = []
"""Of a process of the pool, which does nothing else."""


def _begin(problem: Problem) -> None:
    _own[:] = [Evaluate(problem)]


def _pipelines(candidate: Candidate, most: int) -> Found:
    return _own[0].all_pipelines(candidate, most)


def _one(candidate: Candidate) -> Found:
    return _own[0].just(candidate)
