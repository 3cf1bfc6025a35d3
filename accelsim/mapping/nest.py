"""A mapping with every name resolved and every size a number. Frozen records only.

Loops are indices into Nest.loops, outermost first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accelsim import arch, cascade
from accelsim.errors import Fault
from accelsim.spec import Source

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Loop:
    """A temporal loop over the coordinates of a part of a rank."""

    rank: str
    trips: int


@dataclass(frozen=True)
class Binding:
    """One Einsum on its unit. stage: epochs behind the first.

    iterated: loops whose rank its iteration space has. first, last: the other loops, at whose
    first (last) coordinate alone it runs. tile: (part, size) of the iteration space inside the
    loops. reduced: parts of it that it reduces. spatial: dimension of the unit -> part. drain:
    cycles until its result left the unit. copies: elements that do the same work. reads: (input,
    how often its tile is read from its level), where more than once.
    """

    einsum: cascade.Einsum
    unit: arch.Unit
    stage: int
    drain: int
    iterated: tuple[int, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    tile: tuple[tuple[str, int], ...]
    reduced: tuple[str, ...]
    spatial: tuple[tuple[str, str], ...]
    copies: int = 1
    instruction: arch.Instruction | None = None
    reads: tuple[tuple[str, int], ...] = ()
    place: Fault | None = field(default=None, compare=False)
    """Where the mapping file binds it: a fault there, still without its message."""


@dataclass(frozen=True, eq=False)
class End:
    """What of its tiles a tensor has at the end of a rank.

    loops: those that choose the tile. kept: of `size` coordinates those that there are, row-major
    over the coordinates of these loops. rank: of the tensor, along which it ends.
    """

    loops: tuple[int, ...]
    size: int
    kept: Int
    rank: str = ""


@dataclass(frozen=True, eq=False)
class Identity:
    """Which tile of a tensor an iteration works on: the same numbers, the same tile.

    loops: whose coordinates tell. computed, names: of other loops, row-major over the coordinates
    of `computed`, a number for each different set of coordinates that an index comes to.
    """

    loops: tuple[int, ...]
    computed: tuple[int, ...] = ()
    names: Int | None = None


@dataclass(frozen=True)
class Placement:
    """Where one tensor, or one table, lives during a nest.

    role: "load" comes from the outermost level, "state" is carried around an iterative rank,
    "made" is produced and read in the nest. level: an inner level or None for registers.
    iterated: loops in whose every iteration there is another tile; slots tiles for each coordinate
    of those that are not outermost (`span`). stored: also written to the outermost level.
    elements: values of one tile, of `word_bytes` each. identity: which tile it is. ends: what is
    not there of tiles at the end of a rank, where edges are masked. ahead: in epochs. fetch,
    spilled, off_chip, overbook: as in the mapping file.
    """

    tensor: str
    role: Literal["load", "state", "made"]
    level: arch.Level | None
    slots: int
    iterated: tuple[int, ...]
    stored: bool
    elements: int
    word_bytes: Fraction
    identity: Identity
    ends: tuple[End, ...] = ()
    ahead: int = 0
    fetch: tuple[str, ...] = ()
    spilled: Fraction = Fraction(0)
    off_chip: bool = False
    overbook: bool = False

    @property
    def tile_bytes(self) -> Fraction:
        return self.elements * self.word_bytes


@dataclass(frozen=True)
class Launch:
    """The first `grid` loops choose an instance; it has `threads`; `resident` run on a cluster.

    loaders: threads beside those. registers: of each thread, None where not known. teams: how many
    share its threads. schedule, overlap: as in the mapping file.
    """

    grid: int
    threads: int
    resident: int
    loaders: int = 0
    registers: int | None = None
    schedule: Literal["grid", "static", "dynamic"] = "grid"
    overlap: bool = False
    teams: int = 1


@dataclass(frozen=True)
class Dependence:
    """`consumer` reads what `producer` made in this nest; names of Einsums.

    kind: "tile" of the same tile, "carried" from `distance` iterations of `loop` ago, "end" the
    last value of a recurrence. loop and matched as in program.Edge.
    """

    tensor: str
    producer: str
    consumer: str
    kind: Literal["tile", "carried", "end"]
    loop: int
    distance: int
    matched: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Mask:
    """Tiles that predicates leave.

    loops: those over ranks that the predicates tie. tiles [N, loops]: coordinates visited, in the
    order of the nest. partial [N]: whether some point of the tile is left out. done: (Einsum under
    the predicate none of whose inputs is under it, Einsum whose unit leaves its points out).
    points: how many the predicates keep, and of how many; padding counts as neither.
    """

    loops: tuple[int, ...]
    tiles: Int
    partial: npt.NDArray[np.bool_]
    done: tuple[tuple[str, str], ...]
    points: tuple[int, int]

    def leaps(self, loop: int) -> bool:
        """Whether some tile of inner loops is visited, left out and visited again along a loop."""
        at = self.loops.index(loop)
        # Iterations of the loop are counted by those that visit anything.
        upto = self.key(self.loops[: at + 1])
        steps = np.concatenate([[0], np.cumsum(upto[1:] != upto[:-1])])
        kept = self.key((*self.loops[:at], *self.loops[at + 1 :]))
        order = np.argsort(kept, kind="stable")
        same = kept[order][1:] == kept[order][:-1]
        return bool((np.diff(steps[order])[same] > 1).any())

    def varies(self, loop: int, inside: tuple[int, ...]) -> bool:
        """Whether iterations of a loop visit different tiles of some loops inside of it."""
        outer = tuple(own for own in self.loops if own <= loop)
        inner = tuple(own for own in self.loops if own in inside)
        both, one, other = (
            len(np.unique(self.key(loops))) for loops in ((*outer, *inner), outer, inner)
        )
        return both != one * other

    def key(self, loops: tuple[int, ...]) -> Int:
        """A number for each tile, equal for equal coordinates in these loops, in their order."""
        found = np.zeros(len(self.tiles), np.int64)
        for loop in loops:
            column = self.tiles[:, self.loops.index(loop)]
            found = found * (int(column.max(initial=0)) + 1) + column
        return found

    def shares(self, loops: tuple[Loop, ...]) -> dict[str, Any]:
        """Tiles visited and points kept, of how many; least, mean, most visits of each loop."""
        per = {}
        for column, loop in enumerate(self.loops):
            visits = np.bincount(self.tiles[:, column], minlength=loops[loop].trips)
            least, most = int(visits.min()), int(visits.max())
            per[loops[loop].rank] = {"least": least, "mean": float(visits.mean()), "most": most}
        return {
            "visited": len(self.tiles),
            "of": prod(loops[loop].trips for loop in self.loops),
            "in_part": int(self.partial.sum()),
            "points": self.points[0],
            "points_of": self.points[1],
            "per_iteration": per,
        }

    def missing(self, iterated: tuple[int, ...], loops: tuple[Loop, ...]) -> str | None:
        """A tile of these loops that is never visited, or None."""
        own = [i for i, loop in enumerate(self.loops) if loop in iterated]
        trips = [loops[self.loops[i]].trips for i in own]
        if not own:
            return None
        seen = np.zeros(trips, np.bool_)
        seen[tuple(self.tiles[:, i] for i in own)] = True
        if seen.all():
            return None
        first = np.argwhere(~seen)[0]
        names = [loops[self.loops[i]].rank for i in own]
        return ", ".join(f"{name} {int(c)}" for name, c in zip(names, first, strict=True))


@dataclass(frozen=True)
class Nest:
    """One phase: loops around Einsums in the order in which units take them.

    extents: part (or uncut rank) -> its number of coordinates. parts: rank of the cascade -> the
    parts that it is cut into here, outermost first.

    masks: tiles that predicates leave. serial: a loop whose iterations do not overlap, or None;
    beside: Einsums free of that.
    """

    name: str
    loops: tuple[Loop, ...]
    bindings: tuple[Binding, ...]
    placements: tuple[Placement, ...]
    dependences: tuple[Dependence, ...]
    serial: int | None
    beside: tuple[str, ...]
    extents: tuple[tuple[str, int], ...]
    parts: tuple[tuple[str, tuple[str, ...]], ...]
    masks: tuple[Mask, ...] = ()
    launch: Launch | None = None

    def readers(self, name: str) -> list[str]:
        """Einsums that read a tensor, or look a table up, in the order in which they are bound."""
        return [b.einsum.name for b in self.bindings if reads(b.einsum, name)]

    def mask_shares(self) -> list[dict[str, Any]]:
        """What predicates leave of the tiles, for a result."""
        return [mask.shares(self.loops) for mask in self.masks]

    def binding(self, einsum: str) -> Binding:
        return next(b for b in self.bindings if b.einsum.name == einsum)

    def placement(self, tensor: str) -> Placement:
        return next(p for p in self.placements if p.tensor == tensor)


@dataclass(frozen=True)
class Mapping:
    """A legal mapping of a cascade on a machine for given shapes. source: its file."""

    name: str
    machine: arch.Machine
    cascade: cascade.Cascade
    nests: tuple[Nest, ...]
    notes: tuple[str, ...]
    source: Source = field(compare=False, repr=False)


def reads(einsum: cascade.Einsum, name: str) -> bool:
    """Whether an Einsum reads a tensor, or looks a table up."""
    return any(a.tensor == name for a in einsum.inputs) or name in cascade.looked_up(einsum)


def span(iterated: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Split loops into the longest run from the outermost, given by its last loop, and the rest.

    (0, 1, 3) -> (1, (3,)); (2,) -> (-1, (2,)): no run, the whole phase.
    """
    run = -1
    while run + 1 in iterated:
        run += 1
    return run, tuple(loop for loop in iterated if loop > run)


def slot_count(placement: Placement, loops: tuple[Loop, ...]) -> int:
    """Tiles of a tensor held at once: its slots for each coordinate of the loops kept.

    A state kept off chip has its slots alone: its other tiles are in memory meanwhile.
    """
    count = placement.slots
    if placement.role == "state" and placement.off_chip:
        return count
    for loop in span(placement.iterated)[1]:
        count *= loops[loop].trips
    return count
