"""An Execution, its Program and machine to a Result: sums of counts, nothing simulated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from accelsim.arch import Machine
from accelsim.program import CAUSES, Action, Phase, Program, Server
from accelsim.program.instance import instances
from accelsim.results.counted import action_table, happened, traffic, traffic_by_tensor
from accelsim.results.execution import LOSSES, Execution, PhaseExecution
from accelsim.results.result import Result
from accelsim.traced import as_float, ratio, whole

# A multiply-accumulate reads two registers and updates one; other operations read two, write one.
REGISTER_READS, REGISTER_WRITES = 2, 1


def measure(
    program: Program,
    machine: Machine,
    execution: Execution,
    *,
    bounds: dict[str, Any],
    inputs: dict[str, Any],
    flops: int = 0,
    masks: Mapping[str, list[dict[str, Any]]] | None = None,
) -> Result:
    """The Result of a run. Times in cycles of the machine's clock. masks: of each phase's tiles.

    flops: two for each multiply-accumulate of the cascade.
    """
    counted = list(happened(program, [run.executed.tolist() for run in execution.phases]))
    energy = _energy(machine, counted)
    outside = _outside(machine, execution)
    if outside:  # behind a cache it is no task that moves it
        energy[machine.outermost.name] += _energy_outside(machine, outside)
    registers = {
        unit.name: sum((n for a, n in counted if a.part == unit.name), Fraction(0))
        * (REGISTER_READS * unit.register_read_pj + REGISTER_WRITES * unit.register_write_pj)
        for unit in machine.units
    }
    of_one = {
        f"{unit.name}.registers": registers[unit.name] / unit.instances for unit in machine.units
    }
    per_cycle = program.ticks_per_cycle
    total = execution.ticks
    busy = _per_server(program, [p.busy for p in execution.phases])
    tail = _per_server(program, [p.tail for p in execution.phases])
    active = _active(program, execution)
    seconds = as_float(ratio(total, per_cycle) / program.clock_hz)
    units = [server.name for server in program.servers if server.kind == "unit"]
    return Result(
        name=program.name,
        engine=execution.engine,
        cycles=-(-total // per_cycle),
        ticks=total,
        ticks_per_cycle=per_cycle,
        seconds=seconds,
        flops_per_second=flops / seconds if seconds else 0.0,
        energy_pj=as_float(sum(energy.values()) + sum(of_one.values())),
        energy_all_registers_pj=as_float(sum(energy.values()) + sum(registers.values())),
        energy_by_part_pj={part: as_float(pj) for part, pj in {**energy, **of_one}.items()},
        area_um2={name: as_float(area) for name, area in machine.area_um2.items()},
        utilization={name: _share(busy[name], total) for name in units},
        active={name: _share(sum(active[name].values()), total) for name in units},
        active_by_einsum={
            name: {einsum: _share(time, total) for einsum, time in active[name].items()}
            for name in units
        },
        traffic_bytes={**traffic(machine, counted), **outside},
        traffic_by_tensor=traffic_by_tensor(machine, counted)
        | _outside_by_tensor(machine, execution),
        actions=action_table(counted),
        tasks=execution.tasks,
        busy_cycles={name: as_float(ticks / per_cycle) for name, ticks in busy.items()},
        wait_cycles=_waits(program, execution),
        tail_cycles={name: as_float(ticks / per_cycle) for name, ticks in tail.items()},
        bottleneck=max(busy, key=lambda name: busy[name]),
        buffers=_buffers(program, machine),
        bounds=bounds,
        phases=[
            {
                "name": phase.name,
                "begin_cycles": run.begin / per_cycle,
                "end_cycles": run.end / per_cycle,
                "tasks": {t.name: whole(run.executed[i]) for i, t in enumerate(phase.tasks)},
                "masks": (masks or {}).get(phase.name, []),
                "extrapolation": _extrapolation(run),
                **_launch(program, phase, run),
            }
            for phase, run in zip(program.phases, execution.phases, strict=True)
        ],
        inputs=inputs,
        notes=[*program.notes, *_run_as_one(program, execution), *_without_energies(machine)],
    )


def _extrapolation(run: PhaseExecution) -> dict[str, Any] | None:
    if run.extrapolation is None:
        return None
    loops = [asdict(loop) for loop in run.extrapolation.loops]
    return {"executed": run.extrapolation.executed, "loops": loops}


def _run_as_one(program: Program, execution: Execution) -> list[str]:
    """What the reader must know of launches whose iterations were not all executed."""
    return [
        f"phase {phase.name}: up to {loop.at_once} iterations of {loop.name} are run as one, "
        f"{loop.at_once} times as long: times, and bytes that miss the cache, are extrapolated "
        "(--engine compiled runs each)"
        for phase, run in zip(program.phases, execution.phases, strict=True)
        for loop in (run.extrapolation.loops if run.extrapolation is not None else ())
        if loop.at_once > 1
    ]


def _energy(machine: Machine, counted: list[tuple[Action, Fraction]]) -> dict[str, Fraction]:
    """pJ by part, register files aside."""
    cost: dict[tuple[str, str], Fraction] = {}
    for level in machine.every_level:
        cost[level.name, "read"] = level.read_pj
        cost[level.name, "write"] = level.write_pj
    for unit in machine.units:
        for operation in unit.operations:
            cost[unit.name, operation.name] = operation.energy_pj
    out = {level.name: Fraction(0) for level in machine.every_level}
    out |= {unit.name: Fraction(0) for unit in machine.units}
    for action, count in counted:
        out[action.part] += count * cost[action.part, action.action]
    return out


def _energy_outside(machine: Machine, outside: Mapping[str, Mapping[str, int | float]]) -> Fraction:
    """pJ of what a cache reads and writes of the outermost level, in its lines."""
    level = machine.outermost
    moved = outside[level.name]
    per_line = moved["read"] * level.read_pj + moved["write"] * level.write_pj
    return Fraction(per_line) / level.line_bytes


def _without_energies(machine: Machine) -> list[str]:
    """What the reader must know of a machine whose file gives no energy."""
    of_levels = [pj for level in machine.every_level for pj in (level.read_pj, level.write_pj)]
    of_units = [op.energy_pj for unit in machine.units for op in unit.operations]
    of_units += [u.register_read_pj + u.register_write_pj for u in machine.units]
    if any(of_levels) or any(of_units):
        return []
    return [f"{machine.name} gives no energies: what is said of energy is 0 for want of them"]


def _many(program: Program, server: Server) -> int:
    """How many there are of a server."""
    return 1 if server.shared else program.clusters


def _per_server(program: Program, columns: list[Any]) -> dict[str, Fraction]:
    """Ticks of a server, of which there may be one in each cluster: their mean."""
    return {
        server.name: ratio(sum(whole(column[s]) for column in columns), _many(program, server))
        for s, server in enumerate(program.servers)
    }


def _waits(program: Program, execution: Execution) -> dict[str, dict[str, float]]:
    """Cycles that a server stood idle, by cause; two more causes where phases are launched."""
    launched = any(phase.launch is not None for phase in program.phases)
    out: dict[str, dict[str, float]] = {}
    for s, server in enumerate(program.servers):
        per = program.ticks_per_cycle * _many(program, server)
        out[server.name] = {
            cause: sum(whole(p.waits[s, c]) for p in execution.phases) / per
            for c, cause in enumerate(LOSSES if launched else CAUSES)
        }
    return out


def _launch(program: Program, phase: Phase, run: PhaseExecution) -> dict[str, Any]:
    """What a launch came to, beside what any phase has."""
    launch, moves = phase.launch, run.moves
    if launch is None or moves is None:
        return {}
    found: dict[str, Any] = {
        "instances": instances(phase),
        "slots": program.clusters * launch.slots,
        "schedule": launch.schedule,
    }
    if moves.through_cache:
        found["cache"] = {
            "requested": sum(sum(both) for both in moves.requested.values()),
            "read": sum(moves.read.values()),
            "written": moves.written,
            "dirty": moves.dirty,
            "fabric": moves.fabric,
            "warm": program.warm,
        }
    return {"launch": found}


def _outside(machine: Machine, execution: Execution) -> dict[str, dict[str, int | float]]:
    """Bytes between a cache and the outermost level, while launches ran."""
    if machine.cache is None:
        return {}
    moves = [run.moves for run in execution.phases if run.moves is not None]
    read = sum(sum(one.read.values()) for one in moves)
    return {machine.outermost.name: {"read": read, "write": sum(one.written for one in moves)}}


def _outside_by_tensor(
    machine: Machine, execution: Execution
) -> dict[str, dict[str, dict[str, int | float]]]:
    """What of that each tensor was read; of which tensor a cache writes is not told apart."""
    if machine.cache is None:
        return {}
    out: dict[str, dict[str, int | float]] = {}
    for run in execution.phases:
        for tensor, size in run.moves.read.items() if run.moves is not None else ():
            so_far = out.setdefault(tensor, {"read": 0, "write": 0})
            so_far["read"] += size
    return {machine.outermost.name: out}


def _share(time: Fraction | int, total: int) -> float:
    return as_float(time / total) if total else 0.0


def _active(program: Program, execution: Execution) -> dict[str, dict[str, Fraction]]:
    """Ticks x share of elements at work, per server and tensor made or moved."""
    out: dict[str, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for phase, run in zip(program.phases, execution.phases, strict=True):
        for task, executed in zip(phase.tasks, run.executed, strict=True):
            server = program.servers[task.server]
            worked = whole(executed) * task.occupancy * task.active
            out[server.name][task.tensor] += worked / _many(program, server)
    return out


def _buffers(program: Program, machine: Machine) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for level in machine.levels[1:]:
        fullest: dict[str, int] = {}
        for phase in program.phases:
            held = {r.tensor: r.size_bytes for r in phase.reservations if r.level == level.name}
            if sum(held.values()) > sum(fullest.values()):
                fullest = held
        out[level.name] = {
            "capacity_bytes": level.capacity_bytes,
            "reserved_bytes": sum(fullest.values()),
            "by_tensor": fullest,
        }
    return out
