"""Sums of actions: bytes by level and tensor, operations by unit. They depend on no engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction

from accelsim.arch import Machine
from accelsim.program import Action, Program
from accelsim.traced import as_float, whole

Counted = list[tuple[Action, Fraction]]


def happened(
    program: Program, executed: Sequence[Sequence[int]]
) -> Iterator[tuple[Action, Fraction]]:
    """Every action with its bytes in all, and how often it happened. executed: by phase, task."""
    for phase, times in zip(program.phases, executed, strict=True):
        for task, number in zip(phase.tasks, times, strict=True):
            for action in task.actions:
                yield _times(action, number), action.count * number


def _times(action: Action, executed: int) -> Action:
    size = action.size_bytes * executed - action.outside_bytes
    return Action(action.part, action.action, action.tensor, action.count, size)


def traffic(machine: Machine, counted: Counted) -> dict[str, dict[str, int | float]]:
    out = {level.name: {"read": Fraction(0), "write": Fraction(0)} for level in machine.every_level}
    for action, _ in counted:
        if action.part in out:
            out[action.part][action.action] += action.size_bytes
    return {level: {a: _whole(size) for a, size in sizes.items()} for level, sizes in out.items()}


def traffic_by_tensor(
    machine: Machine, counted: Counted
) -> dict[str, dict[str, dict[str, int | float]]]:
    out: dict[str, dict[str, dict[str, int | float]]] = {
        level.name: {} for level in machine.every_level
    }
    exact: dict[tuple[str, str, str], Fraction] = defaultdict(Fraction)
    for action, _ in counted:
        exact[action.part, action.tensor, action.action] += action.size_bytes
    for (part, tensor, name), size in exact.items():
        if part in out:
            out[part].setdefault(tensor, {"read": 0, "write": 0})[name] = _whole(size)
    return out


def _whole(size: Fraction) -> int | float:
    """Bytes; spilled shares can leave a part of one."""
    number: int | float = whole(size) if size.denominator == 1 else as_float(size)
    return number


def action_table(counted: Counted) -> dict[str, dict[str, dict[str, float]]]:
    out: dict[str, dict[str, dict[str, float]]] = {}
    exact: dict[tuple[str, str, str], Fraction] = defaultdict(Fraction)
    for action, count in counted:
        exact[action.part, action.action, action.tensor] += count
    for (part, name, tensor), count in exact.items():
        out.setdefault(part, {}).setdefault(name, {})[tensor] = round(count)
    return out
