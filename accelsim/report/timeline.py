"""A run's timeline as Chrome-trace JSON, which Perfetto (ui.perfetto.dev) opens.

One track per server; counters for what each buffer holds and for the bandwidth of each channel.
Times are real: `ts` and `dur` in microseconds, as the format has it, fractions included.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from accelsim.files import write_output
from accelsim.program import Guard, Phase, Program
from accelsim.program.unroll import at_edges
from accelsim.results import Execution, Record

DEFAULT_EVENTS = 20_000
Span = tuple[str, str, float, float, str]
"""One task: its server, its name, start and end in seconds, its tile as text."""
PROCESS = 1


def write(program: Program, execution: Execution, path: Path) -> int:
    """Write the recorded task instances to `path`; returns how many. Raises AccelsimError.

    The file is replaced only when it is complete.
    """
    events = list(_events(program, execution))
    shown = sum(len(phase.record.task) for phase in execution.phases)
    other = {
        "program": program.name,
        "engine": execution.engine,
        "tasks shown": shown,
        "tasks run": execution.tasks,
    }
    text = json.dumps({"displayTimeUnit": "ns", "otherData": other, "traceEvents": events})
    write_output(path, text)
    return shown


def _events(program: Program, execution: Execution) -> Iterator[dict[str, Any]]:
    yield _named("process_name", 0, program.name)
    for index, server in enumerate(program.servers):
        yield _named("thread_name", index + 1, server.name)
    micros = Fraction(1_000_000) / (program.ticks_per_cycle * program.clock_hz)
    for phase, run in zip(program.phases, execution.phases, strict=True):
        yield from _tasks(program, phase, run.record, micros)
        yield from _occupancy(phase, run.record, micros, run.begin)
        if phase.launch is None:  # of a launch, one cluster's tasks are recorded, not its channels
            yield from _bandwidth(program, phase, run.record, micros)


def spans(program: Program, execution: Execution, begin: float = 0.0) -> list[Span]:
    """The recorded task instances. begin: seconds that are added to all times."""
    seconds = 1 / (program.ticks_per_cycle * program.clock_hz)
    out = []
    for phase, run in zip(program.phases, execution.phases, strict=True):
        record = run.record
        for t, start, end, tile in zip(
            record.task, record.start, record.end, record.coordinates, strict=True
        ):
            task = phase.tasks[t]
            where = " ".join(f"{x.name}={c}" for x, c in zip(phase.loops, tile, strict=True))
            times = (begin + float(int(tick) * seconds) for tick in (start, end))
            out.append((program.servers[task.server].name, task.name, *times, where))
    return sorted(out, key=lambda span: span[2:4])


def _named(what: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": PROCESS, "tid": thread, "name": what, "args": {"name": name}}


def _tasks(
    program: Program, phase: Phase, record: Record, micros: Fraction
) -> Iterator[dict[str, Any]]:
    for t, start, end, tile in zip(
        record.task, record.start, record.end, record.coordinates, strict=True
    ):
        task = phase.tasks[t]
        yield {
            "ph": "X",
            "pid": PROCESS,
            "tid": task.server + 1,
            "name": task.name,
            "cat": task.kind,
            "ts": float(int(start) * micros),
            "dur": float(int(end - start) * micros),
            "args": {
                **{l.name: int(c) for l, c in zip(phase.loops, tile, strict=True)},
                "start_cycle": int(start) / program.ticks_per_cycle,
                "cycles": int(end - start) / program.ticks_per_cycle,
            },
        }


def _counter(name: str, tick: int, micros: Fraction, values: dict[str, float]) -> dict[str, Any]:
    return {"ph": "C", "pid": PROCESS, "name": name, "ts": float(tick * micros), "args": values}


def _occupancy(
    phase: Phase, record: Record, micros: Fraction, begin: int
) -> Iterator[dict[str, Any]]:
    """Bytes that each tensor holds of each level, whenever that changes."""
    changes: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
    by_task: dict[int, list[int]] = defaultdict(list)
    for i, t in enumerate(record.task):
        by_task[int(t)].append(i)
    coordinates = record.coordinates.tolist()
    for room in phase.reservations:
        if not room.takes:
            changes[begin].append((room.level, room.tensor, room.size_bytes))
        for t in room.takes:
            for i in by_task[t]:
                changes[int(record.start[i])].append((room.level, room.tensor, room.tile_bytes))
        for t, guard in room.gives:
            for i in by_task[t]:
                if guard == Guard() or guard.holds(*at_edges(phase, coordinates[i])):
                    change = (room.level, room.tensor, -room.tile_bytes)
                    changes[int(record.end[i])].append(change)
    held: dict[str, dict[str, float]] = {}
    for tick in sorted(changes):
        touched: dict[str, None] = {}
        for level, tensor, size in changes[tick]:
            row = held.setdefault(level, {})
            row[tensor] = row.get(tensor, 0) + size
            touched.setdefault(level)
        for level in touched:
            yield _counter(f"{level} bytes", tick, micros, dict(held[level]))


def _bandwidth(
    program: Program, phase: Phase, record: Record, micros: Fraction
) -> Iterator[dict[str, Any]]:
    """Bytes per second on each channel while it moves something."""
    seconds = micros / 1_000_000
    for s, server in enumerate(program.servers):
        if server.kind != "channel":
            continue
        rows = [
            (
                int(a),
                int(b),
                sum(x.size_bytes for x in phase.tasks[t].actions if x.part == server.name),
            )
            for t, a, b in zip(record.task, record.start, record.end, strict=True)
            if phase.tasks[t].server == s and b > a
        ]
        for i, (start, end, size) in enumerate(rows):
            rate = float(size / ((end - start) * seconds))
            yield _counter(f"{server.name} GB/s", start, micros, {"GB/s": rate / 1e9})
            if i + 1 == len(rows) or rows[i + 1][0] > end:
                yield _counter(f"{server.name} GB/s", end, micros, {"GB/s": 0.0})
