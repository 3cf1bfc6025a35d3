"""Tasks and edges while durations are still exact cycles and tasks still have names only."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from accelsim.program.program import Action, Cause, Guard, TaskKind


@dataclass(frozen=True)
class DraftTask:
    """A Task whose occupancy is still in exact cycles. iterated: loops of which each iteration is
    another tile to it. also, slows: (server, cycles)."""

    name: str
    kind: TaskKind
    tensor: str
    server: int
    cycles: Fraction
    guard: Guard = field(default_factory=Guard)
    lag: int = 0
    actions: tuple[Action, ...] = ()
    active: Fraction = Fraction(1)
    iterated: tuple[int, ...] = ()
    also: tuple[tuple[int, Fraction], ...] = ()
    slows: tuple[tuple[int, Fraction], ...] = ()
    next_of: tuple[int, tuple[int, ...]] | None = None


@dataclass(frozen=True)
class DraftEdge:
    """An Edge between named tasks whose latency is still in exact cycles."""

    producer: str
    consumer: str
    loop: int
    distance: int = 0
    matched: tuple[int, ...] = ()
    reset: bool = False
    latency: Fraction = Fraction(0)
    cause: Cause = "data"
