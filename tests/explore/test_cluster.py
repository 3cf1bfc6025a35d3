"""Studies on a Dask cluster, a real scheduler and real workers, which die: the same rows."""

from __future__ import annotations

import dataclasses
import os
import pickle
import queue
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from accelsim import explore
from accelsim.cli import app
from accelsim.errors import AccelsimError
from accelsim.explore import drive, inputs, store, workers
from tests.explore.standin import Deadly, Slow, arithmetic, fingerprint, study

distributed = pytest.importorskip("distributed", reason="needs pip install 'accelsim[cluster]'")
cluster = pytest.importorskip("accelsim.explore.cluster")

ROOT = Path(__file__).parents[2]
BATCHES = """sweep: elsewhere
source: here
axes: {machine: [own, broken, absent], batch: [1, 0], seq_len: {range: [256, 512], step: 256}}
cases:
  - workload: short.yaml
    runs: {a: {mapping: "../machines/{machine}.yaml", set: ["workload.ranks.B={batch}"]}}
"""


@dataclasses.dataclass
class Dask:
    """A scheduler and workers on this machine, as processes."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)
    address: str = ""

    def scheduler(self) -> None:
        log = self._started("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = said(log, r"Scheduler at:\s*(tcp://[\d.:]+)")

    def worker(self, *words: str, root: Path = ROOT) -> subprocess.Popen[bytes]:
        here = self.folder / f"worker{len(self.processes)}"
        more = ["--local-directory", str(here), "--nthreads", "1", "--no-dashboard", *words]
        log = self._started("worker", self.address, "--host", "127.0.0.1", *more, root=root)
        said(log, "(Registered to)")
        return self.processes[-1]

    def _started(self, *words: str, root: Path = ROOT) -> Path:
        log = self.folder / f"{words[0]}{len(self.processes)}.log"
        # Dask would do a range of a dead worker again three times, before it is lost.
        more = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "PYTHONPATH": str(root)}
        with log.open("wb") as file:
            command = [sys.executable, "-m", "dask", *words]
            self.processes.append(
                subprocess.Popen(command, cwd=root, env=os.environ | more, stdout=file, stderr=file)
            )
        return log

    def ended(self) -> None:
        for process in self.processes:
            process.kill()  # a worker ends with its nanny
            process.wait(20)


def said(log: Path, pattern: str) -> str:
    """What a process says, once it does."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if match := re.search(pattern, log.read_text()):
            return match[1]
        time.sleep(0.1)
    raise TimeoutError(log.read_text())


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Dask]:
    made = Dask(tmp_path)
    try:
        made.scheduler()
        yield made
    finally:
        made.ended()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two workers, each of which is started anew when it dies."""
    made = Dask(tmp_path_factory.mktemp("dask"))
    try:
        made.scheduler()
        made.worker()
        made.worker()
        yield made.address
    finally:
        made.ended()


def local(folder: Path) -> tuple[Path, str]:
    """The stand-in's study, and what all its rows come to here."""
    path = study(folder)
    explore.run(explore.load(str(path)), folder / "local", evaluate=arithmetic)
    return path, fingerprint(folder / "local")


def swept(path: Path, out: Path, address: str, **how: Any) -> explore.Summary:
    how = {"evaluate": arithmetic, **how}
    return explore.run(explore.load(str(path)), out, cluster=address, **how)


def part_way(do: Callable[[], None]) -> Callable[[int, int], None]:
    """Do something once, when a quarter of the points is done."""
    left = [do]

    def told(done: int, total: int) -> None:
        if left and done >= total / 4:
            assert done < total, "all was done before"
            left.pop()()

    return told


def test_rows_are_those_of_a_local_run_when_a_worker_dies(two: str, tmp_path: Path) -> None:
    path, whole = local(tmp_path)
    (pids := tmp_path / "pids").mkdir()
    killed: list[int] = []

    def kill() -> None:
        killed.append(int(next(pids.iterdir()).name))
        os.kill(killed[0], signal.SIGKILL)

    slow = Slow(0.005, str(pids))
    swept(path, tmp_path / "out", two, evaluate=slow, told=part_way(kill))
    assert len(killed) == 1
    assert len(list(pids.iterdir())) >= 2, "one worker did all"
    assert fingerprint(tmp_path / "out") == whole


def test_a_point_that_always_kills_its_worker_fails_alone(two: str, tmp_path: Path) -> None:
    path = study(tmp_path, "{a: {range: [2, 4]}}")
    (tmp_path / "marks").mkdir()
    swept(path, tmp_path / "out", two, evaluate=Deadly(str(tmp_path / "marks"), 1000))
    target, _ = store.opened(tmp_path / "out")
    errors = {row["a"]: row["error"] for row in target.rows(target.parts()[0])}
    assert errors == {2: None, 3: "its process died, each time anew", 4: None}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (distributed.KilledWorker("study", None, 3), "its workers died over the study"),
        (OSError("no space left"), "OSError: no space left"),
        (AccelsimError("worker w has other accelsim code"), "worker w has other accelsim code"),
    ],
)
def test_no_point_is_blamed_for_what_comes_before_it(error: Exception, said: str) -> None:
    """Workers that died while they were sent the study, or cannot unpack it."""
    with pytest.raises(workers.LostError, match=said):
        bare()._finished(future(error), 0, 1)


def test_nothing_more_is_sent_when_workers_leave() -> None:
    here = bare()
    here._given = dict.fromkeys("abcd")
    for threads, free in ((4, 4), (2, 0), (1, 0), (0, 0)):
        here._threads = threads
        assert here.free == free


def test_a_point_that_was_lost_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was lost beside it shared a worker with it, perhaps."""
    here, sent = bare(), []
    monkeypatch.setattr(here, "_send", lambda first, last: sent.append((first, last)))
    here._lost, here._given = {4, 7}, {"other": None}
    here.submit(4, 9)
    here.submit(4, 5)
    here.submit(7, 8)
    here.finished(0.01)
    assert (here.free, sent) == (0, [(4, 9)])
    here._given.clear()
    here.finished(0.01)
    assert (here.free, sent) == (0, [(4, 9), (4, 5)])
    assert here._finished(future(([], 0.1)), 4, 5).rows == []
    here.finished(0.01)
    assert (here.free, sent[2:]) == (0, [(7, 8)])
    assert here._finished(future(distributed.KilledWorker("range", None, 0)), 7, 8).rows is None
    assert (here.free, here.busy) == (8, False)


def bare() -> Any:
    """A cluster of four workers that nothing has been sent to."""
    made = object.__new__(cluster.Cluster)
    made._name, made._alone, made._done = "cluster x", deque(), queue.SimpleQueue()
    made._given, made._lost, made._threads, made._next_look = {}, set(), 4, float("inf")
    return made


def future(outcome: Any) -> Any:
    """A range's, that has come to something, or to an error."""

    def result() -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    status = "error" if isinstance(outcome, Exception) else "finished"
    return SimpleNamespace(key="range", status=status, result=result)


def test_shards_and_resumption_are_as_here(two: str, tmp_path: Path) -> None:
    path, whole = local(tmp_path)
    swept(path, tmp_path / "out", two, shard=(2, 3))
    assert swept(path, tmp_path / "out", two, shard=(1, 3)).rows == 280
    explore.run(explore.load(str(path)), tmp_path / "out", evaluate=arithmetic, resume=True)
    assert fingerprint(tmp_path / "out") == whole


def test_an_interrupt_keeps_rows_and_cancels_the_rest(two: str, tmp_path: Path) -> None:
    path, whole = local(tmp_path)
    interrupt = part_way(partial(os.kill, os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        swept(path, tmp_path / "out", two, evaluate=Slow(0.005), told=interrupt)
    target, _ = store.opened(tmp_path / "out")
    assert 0 < len(list(target.rows(target.parts()[0]))) < 840
    with distributed.Client(two, set_as_default=False) as client:
        deadline = time.monotonic() + 5
        while client.run_on_scheduler(left) != ([client.id], []) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert client.run_on_scheduler(left) == ([client.id], [])
    swept(path, tmp_path / "out", two, resume=True)
    assert fingerprint(tmp_path / "out") == whole


def left(dask_scheduler: Any) -> tuple[list[str], list[str]]:
    """Who a scheduler works for, and what it is to do."""
    clients = [name for name in dask_scheduler.clients if name.startswith("Client")]
    return clients, [*dask_scheduler.tasks]


SIMULATED = """sweep: simulated
source: here
axes:
  seq_len: {powers: [1024, 65536], of: 2}
  P1: [1, 2, 3, 8, 64]
  buffer: {range: [0, 24], step: 8}
  bandwidth: [100, 400]
constraints: [P1 * 256 <= seq_len, "utilization_array_2d > 0.2"]
cases:
  - workload: bert
    runs:
      attention:
        mapping: fusemax__attention_1pass
        set:
          - mapping.partition.P.P1={P1}
          - arch.levels.global_buffer.capacity={buffer} MiB
          - arch.levels.dram.bandwidth={bandwidth} GiB/s
"""


def test_one_digest_wherever_rows_are_simulated(two: str, tmp_path: Path) -> None:
    """By one process, by two, in shards, killed and resumed, on a cluster that loses a worker."""
    path = tmp_path / "study.yaml"
    path.write_text(SIMULATED)
    document = explore.load(str(path))
    whole = explore.run(document, tmp_path / "one")
    assert 0 < whole.failed < whole.rows
    digests = {"one": fingerprint(tmp_path / "one")}
    explore.run(document, tmp_path / "two", workers=2)
    for shard in (3, 1, 2):
        explore.run(document, tmp_path / "shards", shard=(shard, 3))
    killed = subprocess.Popen(
        [sys.executable, "-m", "tests.explore.standin", *map(str, (path, tmp_path / "killed", 14))],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    assert killed.wait(100) == -signal.SIGKILL
    target, _ = store.opened(tmp_path / "killed")
    assert 0 < len(list(target.rows(target.parts()[0]))) < whole.rows
    explore.run(document, tmp_path / "killed", resume=True)
    with distributed.Client(two, set_as_default=False) as client:
        pids = client.run(os.getpid)
    kill = partial(os.kill, next(iter(pids.values())), signal.SIGKILL)
    explore.run(document, tmp_path / "cluster", cluster=two, told=part_way(kill))
    for name in ("two", "shards", "killed", "cluster"):
        digests[name] = fingerprint(tmp_path / name)
    assert digests == dict.fromkeys(digests, digests["one"])


def files(folder: Path) -> Path:
    """A study of files of its own, beside and above it: one sound, one broken, one not there."""
    (folder / "studies").mkdir()
    (folder / "machines").mkdir()
    shipped = (ROOT / "archs" / "mappings" / "fusemax__attention_1pass.yaml").read_text()
    arch = (ROOT / "archs" / "fusemax.yaml").read_text()
    machines = folder / "machines"
    (machines / "own.yaml").write_text(shipped.replace("arch: fusemax", "arch: machine.yaml"))
    (machines / "machine.yaml").write_text(arch.replace("940 MHz", "941 MHz"))
    (machines / "broken.yaml").write_text(shipped.replace("phases:", "faces:"))
    (folder / "studies" / "short.yaml").write_text((ROOT / "workloads" / "bert.yaml").read_text())
    path = folder / "studies" / "elsewhere.yaml"
    path.write_text(BATCHES)
    return path


def test_workers_need_no_files(two: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated for real; errors name files as they are named here."""
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["sweep", "studies/elsewhere.yaml", "--out"]
    assert CliRunner().invoke(app, [*words, "here"]).exit_code == 0
    shown = CliRunner().invoke(app, [*words, "there", "--cluster", two])
    assert shown.exit_code == 0
    target, _ = store.opened(Path("there"))
    errors = {row["error"] for row in target.rows(target.parts()[0])}
    assert "no mapping file 'studies/../machines/absent.yaml'" in errors
    assert any(str(e).startswith("studies/../machines/broken.yaml:") for e in errors)
    assert None in errors
    assert fingerprint(Path("there")) == fingerprint(Path("here"))


def given(path: Path) -> Any:
    document = explore.load(str(path))
    make = partial(drive._made, None)
    return cluster.sent(document, inputs.of(document), make)


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process plays a worker; its folder."""
    (folder := tmp_path / "of_worker").mkdir()
    being = SimpleNamespace(address="tcp://far:1", local_directory=str(folder))
    monkeypatch.setattr(distributed, "get_worker", lambda: being)
    return folder


def test_a_study_leaves_nothing_behind(tmp_path: Path, worker: Path) -> None:
    sent = given(files(tmp_path))
    shutil.rmtree(tmp_path / "machines")
    here = cluster.Study(pickle.dumps(sent))
    rows, _ = here.solve(0, 4)
    moved = pickle.loads(pickle.dumps(here))
    assert moved.solve(0, 4)[0] == rows
    assert len(list(worker.iterdir())) == 2
    del here, moved
    assert not list(worker.iterdir())


@pytest.mark.parametrize(
    ("what", "message"),
    [("code", "other accelsim code than here"), ("workload short.yaml", "workload short.yaml")],
)
def test_a_worker_with_other_content_is_named(
    tmp_path: Path, worker: Path, what: str, message: str
) -> None:
    sent = given(files(tmp_path))
    hashes = tuple((name, "other" if name == what else digest) for name, digest in sent.hashes)
    other = cluster.Study(pickle.dumps(dataclasses.replace(sent, hashes=hashes)))
    with pytest.raises(AccelsimError, match=f"worker tcp://far:1 has .*{message}"):
        other.solve(0, 1)


@pytest.mark.parametrize("gone", ["worker", "scheduler"])
def test_rows_are_kept_when_the_cluster_is_gone(
    scheduler: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 1.0)
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2.0)
    path, whole = local(tmp_path)
    worker = scheduler.worker("--no-nanny")
    process = worker if gone == "worker" else scheduler.processes[0]
    why = {"worker": "no worker is left since 1 s", "scheduler": "its scheduler is gone"}[gone]
    quarter, seen = part_way(process.kill), [0]

    def told(done: int, total: int) -> None:
        seen.append(done)
        quarter(done, total)

    with pytest.raises(AccelsimError, match=f"cluster tcp://.*: {why}.*\n.*--resume goes on"):
        swept(path, tmp_path / "out", scheduler.address, evaluate=Slow(0.005), told=told)
    target, _ = store.opened(tmp_path / "out")
    assert 0 < len(list(target.rows(target.parts()[0]))) == seen[-1] < 840
    explore.run(explore.load(str(path)), tmp_path / "out", evaluate=arithmetic, resume=True)
    assert fingerprint(tmp_path / "out") == whole


def refused(path: Path, address: str) -> str:
    """What is said; and no folder is made."""
    out = path.parent / "out"
    with pytest.raises(AccelsimError) as error:
        swept(path, out, address)
    assert not out.exists()
    return str(error.value)


def test_workers_that_would_give_other_rows_are_named(
    scheduler: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study(tmp_path)
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 0.5)
    said = refused(path, scheduler.address)
    assert "no worker has joined it within 0.5 s" in said
    shutil.copytree(ROOT / "accelsim", tmp_path / "other" / "accelsim")
    with (tmp_path / "other" / "accelsim" / "units.py").open("a") as file:
        file.write("# changed\n")
    scheduler.worker("--no-nanny", root=tmp_path / "other")
    assert re.search(
        r"worker tcp://127.0.0.1:\d+ has other accelsim code than here",
        refused(path, scheduler.address),
    )
    versions = distributed.Client.get_versions

    def named(client: Any, *args: Any, **how: Any) -> Any:
        found = versions(client, *args, **how)
        for of in found["workers"].values():
            of["packages"] |= {"python": "3.9.1.final.0", "numpy": "1.0"}
        return found

    monkeypatch.setattr(distributed.Client, "get_versions", named)
    python = ".".join(map(str, sys.version_info[:2]))
    assert re.search(
        rf"worker tcp://127.0.0.1:\d+ has python 3.9, here {python}; numpy 1.0, here",
        refused(path, scheduler.address),
    )


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("nowhere", "missing port number"),
        ("odd://host:1", "unknown address scheme"),
        ("tcp://127.0.0.1:1", "nothing came within 1 s"),
    ],
)
def test_addresses_where_no_scheduler_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, why: str
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1.0)
    said = refused(study(tmp_path), address)
    assert said.startswith(f"cluster {address}: no Dask scheduler answers: ")
    assert why in said
    assert "such as tcp://HOST:8786" in said


def test_a_worker_is_no_scheduler(two: str, tmp_path: Path) -> None:
    with distributed.Client(two, set_as_default=False) as client:
        address = next(iter(client.nthreads()))
    assert "one of its Workers does" in refused(study(tmp_path), address)


def test_workers_and_a_cluster_do_not_go_together(tmp_path: Path) -> None:
    words = ["sweep", str(study(tmp_path)), "--cluster", "tcp://x:1", "--workers", "1"]
    assert "--cluster has its own" in str(CliRunner().invoke(app, words).exception)


def test_without_dask_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "accelsim.explore.cluster")
    assert "pip install 'accelsim[cluster]'" in refused(study(tmp_path), "tcp://x:1")
