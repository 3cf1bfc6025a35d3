"""Ranges of points solved by the workers of a Dask cluster, who need no file system in common.

The study and the files that it names travel by value: a worker writes them to a folder of its own,
checks that they and its accelsim are the sender's, and builds one solver. A worker that dies has
its ranges done again by Dask itself, a few times; then they come back as lost.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import logging
import os
import pickle
import queue
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import AccelsimError, Fault
from accelsim.explore import inputs
from accelsim.explore.inputs import Inputs
from accelsim.explore.reading import Document
from accelsim.explore.solver import Renamed, Rows
from accelsim.explore.workers import Finished, LostError, Solve
from accelsim.shipped import data_root

try:
    import distributed
except ImportError:
    raise AccelsimError(
        "a cluster needs dask.distributed: pip install 'accelsim[cluster]'"
    ) from None

CONNECT_SECONDS = 10.0
WORKER_SECONDS = 60.0
"""So long a cluster may be without any worker, at the beginning and later."""
LOOK_SECONDS = 1.0
RANGES_PER_THREAD = 2
"""One that is solved, one that waits, so that no worker has nothing to do."""
MOST_NAMED = 5
CHECKED = ("python", "dask", "distributed", "numpy")
"""Of the packages that Dask tells of: those on which rows, or their way here, depend."""

Make = Callable[[Document, Renamed], Solve]
"""A solver of a study, in whose errors some texts stand for others."""


@dataclass(frozen=True)
class Sent:
    """All that a worker needs of a study.

    files: name, from the study's folder, and content of those beneath or beside it. hashes: of
    `inputs.of`. shipped: the sender's folder of shipped files, for errors.
    """

    document: Document
    make: Make
    files: tuple[tuple[str, bytes], ...]
    hashes: tuple[tuple[str, str], ...]
    shipped: str


def sent(document: Document, found: Inputs, make: Make) -> Sent:
    """A study as it travels. Raises AccelsimError for a file that cannot be read."""
    folder = Path(document.source.name).parent
    files = []
    for path in found.paths:
        # Shipped ones, and those named by their whole path, are the worker's own.
        if path.is_relative_to(folder):
            try:
                files.append((path.relative_to(folder).as_posix(), path.read_bytes()))
            except OSError as error:
                raise AccelsimError(f"{path}: cannot be read: {error.strerror}") from None
    hashes = tuple(found.hashes.items())
    return Sent(document, make, tuple(files), hashes, str(data_root()))


class Study:
    """A study in a worker's process: its files in a folder there, its solver from the first range.

    given: a `Sent`, which the scheduler need not unpack. Where it travels on to it is built anew;
    the folder ends with it.
    """

    def __init__(self, given: bytes) -> None:
        self._given = given
        self._one = threading.Lock()
        self._solve: Solve | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Study, (self._given,)

    def solve(self, first: int, last: int) -> tuple[Rows, float]:
        """Rows of a range, and the seconds that they took; of several threads one at a time.

        Raises AccelsimError where this worker cannot give the sender's rows.
        """
        with self._one:
            if self._solve is None:
                self._solve = self._made()
            begin = time.perf_counter()
            return self._solve(first, last), time.perf_counter() - begin

    def _made(self) -> Solve:
        given: Sent = pickle.loads(self._given)
        worker = distributed.get_worker()
        self._folder = tempfile.TemporaryDirectory(prefix="study-", dir=worker.local_directory)
        folder = Path(self._folder.name, *["up"] * _steps_up(name for name, _ in given.files))
        for name, content in given.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        folder.mkdir(parents=True, exist_ok=True)
        was = Path(given.document.source.name)
        source = dataclasses.replace(given.document.source, name=str(folder / was.name))
        document = dataclasses.replace(given.document, source=source)
        # Names of files depend on where the study lies, their order does not.
        own = inputs.of(document).hashes.values()
        pairs = zip(given.hashes, own, strict=False)
        other = [what for (what, digest), mine in pairs if digest != mine]
        if other or len(own) != len(given.hashes):
            raise AccelsimError(_differs(f"worker {worker.address}", other or ["files"]))
        here = "" if str(was.parent) == "." else os.path.join(was.parent, "")
        renamed = [(os.path.join(folder, ""), here)]
        renamed += [(os.path.join(data_root(), ""), os.path.join(given.shipped, ""))]
        return given.make(document, renamed)


class Cluster:
    """The workers behind the scheduler at an address, however many there are at a time.

    A range of one point that was lost is solved again with nothing else on the cluster: Dask blames
    all that a dead worker had been given. Raises AccelsimError for a cluster that is not there, or
    whose rows would not be those of this process.
    """

    def __init__(self, address: str, document: Document, found: Inputs, make: Make) -> None:
        self._name = f"cluster {address}"
        self._given: dict[str, tuple[Any, int, int]] = {}  # by key, with their futures
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lost: set[int] = set()
        self._alone: deque[tuple[int, int]] = deque()  # the first of them may be under way
        study = pickle.dumps(sent(document, found, make))
        # What it would say of a scheduler that is gone, with a traceback, is an error of ours.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        self._client = _connected(address)
        try:
            with self._reached():
                _check(self._name, address, self._client)
                self._study = self._client.submit(Study, study, pure=False)
            self._last_seen = self._next_look = time.monotonic()
            self._threads = 0
            self._look()
        except BaseException:
            self.close()
            raise

    @property
    def free(self) -> int:
        if self._alone:
            return 0
        return max(0, RANGES_PER_THREAD * self._threads - len(self._given))

    @property
    def busy(self) -> bool:
        return bool(self._given or self._alone)

    def submit(self, first: int, last: int) -> None:
        if first in self._lost and last - first == 1:
            self._alone.append((first, last))
        else:
            self._send(first, last)

    def finished(self, timeout: float) -> list[Finished]:
        """Raises LostError when the scheduler is gone, no worker is left, or one is not as here."""
        if self._alone and not self._given:
            self._send(*self._alone[0])
        self._look()
        keys = []
        with contextlib.suppress(queue.Empty):
            keys.append(self._done.get(timeout=timeout))
            while True:
                keys.append(self._done.get_nowait())
        return [self._finished(*self._given.pop(key)) for key in keys]

    def close(self) -> None:
        """Leave; the scheduler cancels what is under way for a client that is gone."""
        with contextlib.suppress(Exception):  # the scheduler may be gone itself
            self._client.close(timeout=CONNECT_SECONDS)

    def _send(self, first: int, last: int) -> None:
        with self._reached():
            future = self._client.submit(Study.solve, self._study, first, last, pure=False)
        self._given[future.key] = (future, first, last)
        future.add_done_callback(lambda done: self._done.put(done.key))

    def _finished(self, future: Any, first: int, last: int) -> Finished:
        if self._alone and self._alone[0] == (first, last):
            self._alone.popleft()
        try:
            rows, seconds = future.result()
        except distributed.KilledWorker as error:
            if error.task != future.key:
                message = f"{self._name}: its workers died over the study, before any point of it"
                raise LostError(message) from None
            if last - first == 1:
                self._lost.add(first)
            return Finished(first, last, None, 0.0)
        except AccelsimError as error:
            raise LostError(error.faults) from None
        except Exception as error:
            # Not the range's own, it is that of the way there; Dask then cancels all.
            gone = future.status != "error"
            why = "its scheduler is gone, or was started anew" if gone else _said(error)
            raise LostError(f"{self._name}: {why}") from None
        return Finished(first, last, rows, seconds)

    def _look(self) -> None:
        """Count the threads of the workers, now and then."""
        now = time.monotonic()
        if now < self._next_look:
            return
        with self._reached():
            self._threads = sum(self._client.nthreads().values())
        self._next_look = now + LOOK_SECONDS
        if self._threads:
            self._last_seen = now
        elif now - self._last_seen > WORKER_SECONDS:
            raise LostError(f"{self._name}: no worker is left since {WORKER_SECONDS:g} s")

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LostError(f"{self._name}: its scheduler is gone: {_said(error)}") from None


def _connected(address: str) -> Any:
    """A client. Raises AccelsimError."""
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as other:  # a notebook has a loop in this one
            kind = other.submit(asyncio.run, _kind(address)).result()
        if kind == "Scheduler":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of versions, which `_check` looks at
                return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        why = f"one of its {kind}s does"
    except TimeoutError:
        why = f"nothing came within {CONNECT_SECONDS:g} s"
    except Exception as error:
        # Of many kinds: an address that is none, nobody there, or something else that answers.
        why = _said(error)
    message = f"cluster {address}: no Dask scheduler answers: {why}"
    help = ("expected the address that `dask scheduler` prints, such as tcp://HOST:8786",)
    raise AccelsimError(Fault(message, help=help))


async def _kind(address: str) -> str:
    """What answers there. A client would wait for ever for what is not Dask's."""
    async with asyncio.timeout(CONNECT_SECONDS):
        how = distributed.Security().get_connection_args("client")
        comm = await distributed.core.connect(address, **how)
        try:
            return str((await distributed.core.send_recv(comm, op="identity", reply=True))["type"])
        finally:
            comm.abort()


def _check(name: str, address: str, client: Any) -> None:
    """Raise AccelsimError without a worker, or where somebody has other versions or other code."""
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError:
        message = f"{name}: no worker has joined it within {WORKER_SECONDS:g} s"
        help = (f"start some: dask worker {address} --nthreads 1",)
        raise AccelsimError(Fault(message, help=help)) from None
    versions = client.get_versions()
    here = _versions(versions["client"])
    everybody = {"its scheduler": versions["scheduler"]}
    everybody |= {f"worker {worker}": of for worker, of in versions["workers"].items()}
    wrong = []
    for who, of in everybody.items():
        there = _versions(of)
        differ = [f"{p} {there[p]}, here {here[p]}" for p in CHECKED if there[p] != here[p]]
        wrong += [f"{name}: {who} has {'; '.join(differ)}"] if differ else []
    for who, code in _codes(client) if not wrong else ():
        if isinstance(code, Exception):
            wrong.append(f"{name}: {who} has no accelsim that works: {_said(code)}")
        elif code != inputs.code_hash():
            wrong.append(f"{name}: {_differs(who, ['code'])}")
    if wrong:
        raise AccelsimError([Fault(message) for message in wrong[:MOST_NAMED]])


def _codes(client: Any) -> Iterator[tuple[str, Any]]:
    """The scheduler's and each worker's hash of their accelsim, or what they raised."""
    try:
        # It passes on what names our code, and so has to have it.
        yield "its scheduler", client.run_on_scheduler(inputs.code_hash)
    except Exception as error:
        yield "its scheduler", error
    for worker, code in client.run(inputs.code_hash, on_error="return").items():
        yield f"worker {worker}", code


def _versions(of: Any) -> dict[str, str]:
    """By the names of CHECKED; of Python the first two numbers."""
    packages = of.get("packages", {})
    python = ".".join(str(packages.get("python")).split(".")[:2])
    return {**{name: str(packages.get(name)) for name in CHECKED}, "python": python}


def _differs(who: str, what: Sequence[str]) -> str:
    if "code" in what:
        return f"{who} has other accelsim code than here"
    more = f" and {len(what) - MOST_NAMED} more" if len(what) > MOST_NAMED else ""
    return f"{who} has other content than here: {', '.join(what[:MOST_NAMED])}{more}"


def _steps_up(names: Iterable[str]) -> int:
    """How far above the study's folder the farthest of some files lies."""
    return max((Path(os.path.normpath(name)).parts.count("..") for name in names), default=0)


def _said(error: BaseException) -> str:
    """The first line of an error."""
    return f"{type(error).__name__}: {error}".split("\n", 1)[0]
