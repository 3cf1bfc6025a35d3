"""What the launches of a mapping ask for: bytes, operations, instructions. Nothing is timed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from math import ceil, prod
from typing import Any

from accelsim.analysis.counts import point_operations
from accelsim.arch import Instruction, Machine
from accelsim.mapping import Binding, Mapping, Nest
from accelsim.program import Phase, Program
from accelsim.program.visits import executed
from accelsim.results.counted import Counted, action_table, happened, traffic_by_tensor

Bytes = dict[str, int | float]
WARP = 32


@dataclass(frozen=True)
class LaunchCounts:
    """One phase of a mapping, as launched on the clusters of a machine.

    grid: loop -> iterations, first the one that goes fastest.
    requests: tensor -> bytes read and written of the cache, or of the outermost level without one;
    lines: bytes of the lines of that level that they touch, read and written.
    operations: unit -> operation -> Einsum -> how many, idle points of padded tiles included.
    issued: unit of several dimensions -> multiply-accumulates of its steps, those of idle elements
    too: what a kernel's matrix products do. level_bytes: reserved per instance.
    loop_body: opcode -> Einsum -> instructions of one thread in one innermost iteration.
    instructions: opcode -> instructions of warps (32 threads), of all instances.
    cache: what of the requests goes on to the outermost level, where a machine has a cache.
    """

    name: str
    grid: dict[str, int]
    instances: int
    threads: int
    resident: int
    requests: dict[str, Bytes]
    lines: dict[str, int]
    operations: dict[str, dict[str, dict[str, float]]]
    issued: dict[str, int]
    level_bytes: dict[str, int]
    loop_body: dict[str, dict[str, int | float]]
    instructions: dict[str, int]
    cache: dict[str, Any] | None = field(default=None)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def launches(mapping: Mapping, program: Program) -> list[LaunchCounts]:
    """Counts of each phase. Phases that their mapping does not launch count as one instance."""
    return [
        _counts(mapping.machine, nest, phase, program)
        for nest, phase in zip(mapping.nests, program.phases, strict=True)
    ]


def _counts(machine: Machine, nest: Nest, phase: Phase, program: Program) -> LaunchCounts:
    times = executed(phase)
    alone = Program(program.name, program.clock_hz, 1, program.servers, (phase,))
    counted: Counted = list(happened(alone, [times]))
    requests = traffic_by_tensor(machine, counted)[machine.shared.name]
    launch = nest.launch
    outer = nest.loops[: launch.grid] if launch is not None else ()
    grid = {loop.rank: loop.trips for loop in reversed(outer)}
    held: dict[str, int] = defaultdict(int)
    for reservation in phase.reservations:
        held[reservation.level] += reservation.size_bytes
    units = {unit.name for unit in machine.units}
    arrays = {unit.name for unit in machine.units if len(unit.shape) > 1}
    issued: dict[str, Fraction] = defaultdict(Fraction)
    for task, number in zip(phase.tasks, times, strict=True):
        for action in task.actions:
            if action.part in arrays and action.action == "mac":
                issued[action.part] += action.count * number / task.active
    operations = {part: done for part, done in action_table(counted).items() if part in units}
    return LaunchCounts(
        name=nest.name,
        grid=grid,
        instances=prod(grid.values()),
        threads=launch.threads if launch is not None else 1,
        resident=launch.resident if launch is not None else 1,
        requests={tensor: sizes for tensor, sizes in requests.items() if any(sizes.values())},
        lines=_lines(machine, counted),
        operations=operations,
        issued={unit: int(number) for unit, number in issued.items()},
        level_bytes=dict(held),
        loop_body=_loop_body(nest),
        instructions=_all_instructions(nest, phase, times),
    )


def _lines(machine: Machine, counted: Counted) -> dict[str, int]:
    """Lines that are only partly used count whole; those beyond the end of a rank not at all."""
    size, out = machine.shared.line_bytes, {"read": Fraction(0), "write": Fraction(0)}
    for action, number in counted:
        if action.part == machine.shared.name:
            out[action.action] += number * size - action.outside_bytes
    return {way: int(total) for way, total in out.items()}


def _loop_body(nest: Nest) -> dict[str, dict[str, int | float]]:
    """Instructions of one thread for each Einsum that runs in every innermost iteration."""
    if nest.launch is None:
        return {}
    innermost = len(nest.loops) - 1
    out: dict[str, dict[str, int | float]] = defaultdict(dict)
    for binding in nest.bindings:
        instruction = binding.instruction
        aside = innermost in (*binding.first, *binding.last)
        if instruction is None or aside or not _does(instruction, binding):
            continue
        number = _instructions(binding, instruction) * instruction.threads
        each = Fraction(number, nest.launch.threads)
        whole = int(each) if each.denominator == 1 else float(each)
        out[instruction.opcode][binding.einsum.name] = whole
    return dict(out)


def _all_instructions(nest: Nest, phase: Phase, times: list[int]) -> dict[str, int]:
    executed_of = {task.name: number for task, number in zip(phase.tasks, times, strict=True)}
    out: dict[str, int] = defaultdict(int)
    for binding in nest.bindings:
        instruction = binding.instruction
        if instruction is not None and _does(instruction, binding):
            each = _instructions(binding, instruction) * instruction.threads // WARP
            out[instruction.opcode] += each * executed_of[binding.einsum.name]
    return dict(out)


def _instructions(binding: Binding, instruction: Instruction) -> int:
    """Instructions of a tile, each issued by a group of threads."""
    limits = dict(instruction.shape)
    dimension_of = {part: dimension for dimension, part in binding.spatial}
    spread: dict[str, int] = defaultdict(lambda: 1)
    number = Fraction(binding.copies)
    for part, size in binding.tile:
        if dimension_of.get(part) in limits:
            spread[dimension_of[part]] *= size
        else:
            number *= size
    for dimension, points in spread.items():
        each = Fraction(points, limits[dimension])
        number *= each if len(limits) == 1 else ceil(each)
    return ceil(number)


def _does(instruction: Instruction, binding: Binding) -> bool:
    """Whether an Einsum asks for what an instruction does."""
    return instruction.operation in point_operations(binding.einsum)
