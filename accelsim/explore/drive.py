"""A study run: every point that is still missing solved, its rows written as they come.

`run` deals ranges of points out to an executor (`workers.py`), which makes rows of them
(`solver.py`), and gives these to a store (`store.py`); `table` keeps them in memory instead.
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelsim.errors import AccelsimError, Fault
from accelsim.explore import breakdown, columns, inputs, space, store
from accelsim.explore.breakdown import Breakdown
from accelsim.explore.evaluate import Evaluate
from accelsim.explore.inputs import Inputs
from accelsim.explore.pointwise import OfMachines
from accelsim.explore.reading import Document
from accelsim.explore.solver import Measure, Renamed, Rows, Solver
from accelsim.explore.store import Bad, Range, Store
from accelsim.explore.workers import Executor, Finished, Here, LostError, Processes
from accelsim.spec.studies import AxisSpec, SweepBudgetSpec, SweepSpec
from accelsim.verbs import version

Told = Callable[[int, int], None]
"""Called with how many points are done, and of how many."""
FLUSH_SECONDS = 2.0
TASK_SECONDS = 0.5
FIRST_TASK, LARGEST_TASK = 16, 4096
MOST_MESSAGES = 5
DEATHS = 2
"""So often may a process die over one point alone; then the point is one that fails."""


@dataclass(frozen=True)
class Summary:
    """What came of a run. rows: of this shard, with those that were there. failed: of them.

    messages: of those, commonest first. columns: names of all that a row has. left: points that the
    study's budget left to another run.
    """

    rows: int
    failed: int
    messages: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    left: int = 0


@dataclass(frozen=True)
class Plan:
    """A study ready to run. evaluate: points to measures. of_machines: those of machines alone."""

    document: Document
    found: Inputs
    evaluate: Measure
    of_machines: Measure | None

    def solver(self, renamed: Renamed = ()) -> Solver:
        """Rows of ranges of points. renamed: as for `Solver`."""
        table = _table(self.document, self.found)
        return Solver(space.of(self.document.spec), table, self.evaluate, self.of_machines, renamed)


def plan(document: Document, evaluate: Measure | None = None) -> Plan:
    """evaluate: in place of simulating or executing."""
    sweep, found = document.spec, inputs.of(document)
    if evaluate is not None:
        return Plan(document, found, evaluate, None)
    table = _table(document, found)
    by_run = any("." in column.measure for column in table.measures)
    of_machines = None if sweep.execute is not None else OfMachines(document)
    return Plan(document, found, Evaluate(document, _wanted(table), by_run=by_run), of_machines)


def _table(document: Document, found: Inputs) -> columns.Table:
    of_study = _breakdown(document.spec, found)
    parts = [*columns.AGAINST_BOUNDS, *breakdown.measures(of_study)] if of_study else []
    return columns.table(document, found.units, found.outputs, parts)


def _breakdown(sweep: SweepSpec, found: Inputs) -> Breakdown:
    """The columns that are parts of one thing; none where none are wanted."""
    wanted = sweep.breakdown and sweep.execute is None
    return breakdown.of(found.pairs, found.outputs) if wanted else {}


def _wanted(table: columns.Table) -> frozenset[str]:
    """The measures that rows are made of."""
    of_constraints = {name for _, sources in table.constraints for _, name in sources}
    return frozenset({column.measure for column in table.measures} | of_constraints)


def run(
    document: Document,
    out: Path,
    *,
    evaluate: Measure | None = None,
    resume: bool = False,
    shard: tuple[int, int] = (1, 1),
    workers: int = 1,
    cluster: str | None = None,
    told: Told | None = None,
    warn: Callable[[Bad], None] | None = None,
) -> Summary:
    """Write the rows of a study's points, or of one of `shard[1]` shards of them, to a folder.

    resume: go on with what the folder holds of the same study. workers: processes here. cluster:
    address of the scheduler of a Dask cluster, whose workers solve in their place. warn: called
    with files that are no whole parts, whose points are solved again. On KeyboardInterrupt, and
    when the cluster is gone, all rows that there are have been written. Raises AccelsimError.
    """
    planned = plan(document, evaluate)
    solver = planned.solver()
    number, of = shard
    first, last = (len(solver.points) * part // of for part in (number - 1, number))
    target, bad = _opened(planned, solver, out, resume=resume, shard=of > 1, ends=(first, last))
    if warn is not None:
        for one in bad:
            warn(one)
    writer = _Writer(target)
    executor = _executor(planned, solver, workers, cluster, evaluate)
    try:
        if store.is_empty(out):
            store.write_manifest(out, _manifest(planned, solver))
        left = store.missing(target.parts()[0], first, last)
        done = last - first - sum(b - a for a, b in left)
        for found in _solved(executor, solver, left, done, document.spec.budget, told):
            writer.add(found)
        writer.flush()
    except KeyboardInterrupt:
        writer.flush()
        raise
    except LostError as error:
        writer.flush()
        raise _with_resume(error) from None
    finally:
        executor.close()
    own = [part for part in target.parts()[0] if part.meets((first, last))]
    rows, messages = target.failures(own)
    still = sum(b - a for a, b in store.missing(own, first, last))
    return _summary(rows, messages, solver.table.names, still)


def table(
    document: Document,
    *,
    evaluate: Measure | None = None,
    workers: int = 1,
    cluster: str | None = None,
    told: Told | None = None,
) -> tuple[list[columns.Row], Summary]:
    """All rows of a study, in memory, without numbers; with errors where there are any."""
    made, tuples, summary = solved(
        document, evaluate=evaluate, workers=workers, cluster=cluster, told=told
    )
    names = made.names[1 : None if summary.failed else -1]
    rows = [dict(zip(names, row[1:], strict=False)) for row in tuples]
    return rows, replace(summary, columns=tuple(names))


def solved(
    document: Document,
    *,
    evaluate: Measure | None = None,
    workers: int = 1,
    cluster: str | None = None,
    told: Told | None = None,
) -> tuple[columns.Table, Rows, Summary]:
    """All rows of a study, in memory, in the order of their numbers; the columns that they have."""
    planned = plan(document, evaluate)
    solver = planned.solver()
    kept: list[tuple[int, int, Rows]] = []
    executor = _executor(planned, solver, workers, cluster, evaluate)
    try:
        whole = [(0, len(solver.points))]
        for found in _solved(executor, solver, whole, 0, document.spec.budget, told):
            kept += found
    finally:
        executor.close()
    tuples = [row for _, _, rows in sorted(kept, key=lambda one: one[0]) for row in rows]
    errors = Counter(row[-1] for row in tuples if row[-1] is not None)
    still = len(solver.points) - sum(last - first for first, last, _ in kept)
    return solver.table, tuples, _summary(len(tuples), errors, solver.table.names, still)


def _summary(rows: int, errors: Counter[str], names: Sequence[str], left: int) -> Summary:
    messages = tuple(errors.most_common(MOST_MESSAGES))
    return Summary(rows, errors.total(), messages, tuple(names), left)


def _executor(
    planned: Plan, solver: Solver, workers: int, cluster: str | None, evaluate: Measure | None
) -> Executor:
    if cluster is None:
        return Here(solver) if workers == 1 else Processes(workers, planned.solver)
    if workers > 1:
        raise AccelsimError("workers are processes of this machine; a cluster has its own")
    from accelsim.explore.cluster import Cluster  # loads dask

    return Cluster(cluster, planned.document, planned.found, partial(_made, evaluate))


def _made(evaluate: Measure | None, document: Document, renamed: Renamed) -> Solver:
    return plan(document, evaluate).solver(renamed)


def _solved(
    executor: Executor,
    solver: Solver,
    left: Sequence[Range],
    done: int,
    budget: SweepBudgetSpec,
    told: Told | None,
) -> Iterator[list[tuple[int, int, Rows]]]:
    """Ranges of points with their rows, as they come; now and then none, when it takes long.

    left: ranges to solve, as far as the budget goes. done: how many points are solved already.
    """
    queue, deaths, size = deque(_first(left, budget.points)), Counter[int](), FIRST_TASK
    total = done + sum(last - first for first, last in queue)
    deadline = math.inf if budget.seconds is None else time.monotonic() + float(budget.seconds)
    if told is not None:
        told(done, total)
    while queue or executor.busy:
        while queue and executor.free:
            first, last = queue.popleft()
            end = min(last, first + size)
            if end < last:
                queue.appendleft((end, last))
            executor.submit(first, end)
        out: list[tuple[int, int, Rows]] = []
        for one in executor.finished(timeout=FLUSH_SECONDS / 2):
            if one.rows is not None:
                out.append((one.first, one.last, one.rows))
                size = _next_size(size, one)
            elif one.last - one.first > 1:
                middle = (one.first + one.last) // 2
                queue.extendleft([(middle, one.last), (one.first, middle)])
            else:
                deaths[one.first] += 1
                if deaths[one.first] < DEATHS:
                    queue.appendleft((one.first, one.last))
                else:
                    rows = solver.failed(one.first, one.last, "its process died, each time anew")
                    out.append((one.first, one.last, rows))
        done += sum(last - first for first, last, _ in out)
        if told is not None:
            told(done, total)
        if time.monotonic() >= deadline:
            queue.clear()
        yield out


def _first(ranges: Sequence[Range], most: int | None) -> Iterator[Range]:
    """The first so many points of ranges, all of them without a number."""
    for first, last in ranges:
        end = last if most is None else min(last, first + most)
        if first < end:
            yield first, end
        if most is not None:
            most -= end - first


def _next_size(size: int, one: Finished) -> int:
    """How many points make a task long enough to be worth sending, and short enough to lose."""
    wanted = TASK_SECONDS * (one.last - one.first) / max(one.seconds, 1e-6)
    return max(1, min(LARGEST_TASK, size * 4, max(size // 4, int(wanted))))


class _Writer:
    """Gathers rows until there are enough of them for a part, or it is time to write."""

    def __init__(self, target: Store) -> None:
        self._target = target
        self._waiting: dict[int, tuple[int, Rows]] = {}
        self._since = time.monotonic()

    def add(self, solved: Sequence[tuple[int, int, Rows]]) -> None:
        for first, last, rows in solved:
            self._waiting[first] = (last, rows)
        enough = sum(len(rows) for _, rows in self._waiting.values()) >= store.ROWS
        if enough or time.monotonic() - self._since >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write all rows; ranges that follow one another make one part."""
        while self._waiting:
            first = min(self._waiting)
            last, rows = first, []
            while last in self._waiting:
                taken = self._waiting.pop(last)
                rows += taken[1]
                last = taken[0]
            try:
                self._target.write(first, last, rows)
            except AccelsimError as error:
                raise _with_resume(error) from None
        self._since = time.monotonic()


def _with_resume(error: AccelsimError) -> AccelsimError:
    help = ("all rows written before are kept; --resume goes on with them",)
    return AccelsimError([replace(fault, help=help) for fault in error.faults])


def _opened(
    planned: Plan, solver: Solver, out: Path, *, resume: bool, shard: bool, ends: Range
) -> tuple[Store, list[Bad]]:
    """The store in a folder, one to go on with, and what in it is no whole part.

    A new one is still without its manifest. Raises AccelsimError for a folder that holds anything
    else.
    """
    target = Store(out, planned.found.key, solver.table.columns)
    if out.exists() and not out.is_dir():
        raise AccelsimError(f"{out}: is a file; expected a folder for the results")
    if store.is_empty(out):
        return target, []
    if not resume and not (shard and (out / store.MANIFEST).is_file()):
        message = f"{out}: there is something in it already"
        help = ("--resume goes on with what it holds; else give a folder that is new or empty",)
        raise AccelsimError(Fault(message, help=help))
    was = store.read_manifest(out)
    if was["key"] != planned.found.key:
        message = f"{out}: holds results of another study, or of this one before it changed"
        raise AccelsimError(Fault(message, help=_changed(was["inputs"], planned.found.hashes)))
    parts, bad = target.parts(thorough=ends)
    mine = [one for one in bad if one.part.meets(ends)]
    if not resume and (mine or any(part.meets(ends) for part in parts)):
        message = f"{out}: there are rows of this shard already"
        raise AccelsimError(Fault(message, help=("--resume goes on with them",)))
    target.set_aside(mine)
    target.remove_temporary(*ends)
    return target, mine


def _changed(before: dict[str, str], now: dict[str, str]) -> tuple[str, ...]:
    """Which inputs differ, named."""
    changed = [what for what in {**before, **now} if before.get(what) != now.get(what)]
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    return (f"changed: {', '.join(changed[:5])}{more}", "give another folder")


def _manifest(planned: Plan, solver: Solver) -> dict[str, Any]:
    sweep = planned.document.spec
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "pyarrow")}
    return {
        "name": sweep.sweep,
        "description": sweep.description,
        "key": planned.found.key,
        "points": len(solver.points),
        "axes": {
            name: form.model_dump(exclude_defaults=True) if isinstance(form, AxisSpec) else form
            for name, form in sweep.axes.items()
        },
        "columns": {column.name: column.kind for column in solver.table.columns},
        "measures": {column.name: column.measure for column in solver.table.measures},
        "constraints": sweep.constraints,
        "objectives": sweep.objectives,
        "breakdown": _breakdown(sweep, planned.found),
        "inputs": planned.found.hashes,
        "versions": {"accelsim": version(), "python": platform.python_version(), **versions},
    }
