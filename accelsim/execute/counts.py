"""What an execution did: accesses of levels by tensor, operations of units."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from accelsim.arch import Machine
from accelsim.program import Program
from accelsim.program.visits import executed
from accelsim.results.counted import happened

Key = tuple[str, str, str]
"""Part of the machine, action, tensor: as of a program.Action."""


@dataclass(frozen=True)
class Access:
    """How often something was done. count: lines of a level, or operations.

    elements: values that moved. size_bytes: of those. metadata_bytes: scales that moved with them.
    """

    count: Fraction = Fraction(0)
    elements: Fraction = Fraction(0)
    size_bytes: Fraction = Fraction(0)
    metadata_bytes: int = 0

    def __add__(self, other: Access) -> Access:
        return Access(
            self.count + other.count,
            self.elements + other.elements,
            self.size_bytes + other.size_bytes,
            self.metadata_bytes + other.metadata_bytes,
        )


@dataclass(frozen=True)
class Written:
    """How the values of a tensor stand in a level: bytes of one, and of what a tile has beside."""

    value_bytes: Fraction
    metadata_bytes: int = 0


class Tally:
    """Counts, while they are made."""

    def __init__(self, machine: Machine) -> None:
        self.lines = {level.name: level.line_bytes for level in machine.every_level}
        self.moves: Counter[tuple[Key, int, int, Written, Fraction | None]] = Counter()
        self.operations: Counter[Key] = Counter()

    def move(
        self, key: Key, tile: int, moved: int, written: Written, share: Fraction | None = None
    ) -> None:
        """A tile of so many values, of which some move; or, on its way because it has no room in
        its level, a share of those."""
        self.moves[key, tile, moved, written, share] += 1

    def operate(self, key: Key, times: int) -> None:
        self.operations[key] += times

    def total(self) -> dict[Key, Access]:
        """Lines that are only partly used count whole; of what has no room, as parts of lines."""
        found: dict[Key, Access] = defaultdict(Access)
        for (key, tile, moved, written, share), times in self.moves.items():
            lines = tile * written.value_bytes / self.lines[key[0]]
            part = Fraction(1) if share is None else share
            found[key] += Access(
                times * (Fraction(ceil(lines)) if share is None else lines * share),
                times * moved * part,
                times * moved * part * written.value_bytes,
                times * written.metadata_bytes,
            )
        for key, number in self.operations.items():
            found[key] += Access(Fraction(number))
        return dict(found)


def stated(program: Program) -> dict[Key, Access]:
    """The same as the Program states it. Elements and metadata are left at 0."""
    found: dict[Key, Access] = defaultdict(Access)
    times = [executed(phase) for phase in program.phases]
    for action, count in happened(program, times):
        key = action.part, action.action, action.tensor
        found[key] += Access(count, size_bytes=action.size_bytes)
    return {key: access for key, access in found.items() if access != Access()}


def differences(made: Mapping[Key, Access], said: Mapping[Key, Access]) -> list[str]:
    """Where an execution did not do what the Program states, in words."""
    out = []
    for key in sorted({*made, *said}):
        one, other = made.get(key, Access()), said.get(key, Access())
        if (one.count, one.size_bytes) != (other.count, other.size_bytes):
            part, action, tensor = key
            out.append(
                f"{part} {action} {tensor}: {one.count} ({one.size_bytes} B) executed, "
                f"{other.count} ({other.size_bytes} B) stated"
            )
    return out
