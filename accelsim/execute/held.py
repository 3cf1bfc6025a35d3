"""What stands in levels and registers while a phase, or an instance of a launch, runs.

A tile stands in one of its slots until another is written there; of a recurrence the last values
stand there. What is asked for and does not is an error of the Program, not of who runs it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.execute.tiles import BrokenProgramError, Tile
from accelsim.mapping import Placement, span
from accelsim.program import Phase
from accelsim.program.unroll import tiles

HISTORY = 3
"""Values of a recurrence at a time: read, made, and the one that a later stage still reads."""


@dataclass(frozen=True, eq=False)
class Slot:
    """A tile in its slot. identity: coordinates of the loops that tell which tile it is.

    near: the value as the unit that made it has it, still in its registers.
    """

    identity: tuple[int, ...]
    tile: Tile
    near: Tile


BROUGHT_BACK = -1
"""In the place of the iteration that made a value."""

Made = tuple[tuple[int, Slot], ...]
"""Values of a recurrence, oldest first, each with the number of the iteration that made it."""


class Held:
    """Slots of all tensors. Iterations are known by their number, in the order of visits.

    grid: coordinates of the loops outside, which choose the instance.
    """

    def __init__(self, phase: Phase, grid: Sequence[int]) -> None:
        self.grid = tuple(grid)
        self.every = list(tiles(phase))
        self._slots: dict[str, dict[tuple[int, ...], Slot]] = defaultdict(dict)
        self._made: dict[str, dict[tuple[int, ...], Made]] = defaultdict(dict)
        self._away: dict[tuple[str, tuple[int, ...]], Tile] = {}
        self._begun: set[tuple[str, tuple[int, ...]]] = set()

    def at(self, number: int) -> tuple[int, ...]:
        """Coordinates of all loops of the nest."""
        return (*self.grid, *self.every[number].coordinates)

    def identity(self, placement: Placement, number: int) -> tuple[int, ...]:
        at = self.at(number)
        return tuple(at[loop] for loop in placement.iterated)

    def following(self, placement: Placement) -> list[int]:
        """For each iteration the first one of the next tile; itself where there is none."""
        keys = [self._count(placement, number) for number in range(len(self.every))]
        first: dict[tuple[int, tuple[int, ...]], int] = {}
        for number, key in enumerate(keys):
            first.setdefault(key, number)
        return [first.get((count + 1, inside), n) for n, (count, inside) in enumerate(keys)]

    def put(self, placement: Placement, number: int, tile: Tile, near: Tile) -> None:
        """A tile into the slot of an iteration; of a recurrence, behind the values before."""
        slot = Slot(self.identity(placement, number), tile, near)
        self._begun.add((placement.tensor, slot.identity))
        self._keep(placement, number, slot, number)

    def begun(self, placement: Placement, number: int) -> bool:
        """Whether the tile of an iteration was ever written."""
        return (placement.tensor, self.identity(placement, number)) in self._begun

    def get(self, placement: Placement, number: int) -> Slot:
        """The tile that an iteration works on; of a recurrence, its last value."""
        tensor, place = placement.tensor, self._place(placement, number)
        if placement.role == "state":
            made = self._made[tensor].get(place)
            slot = made[-1][1] if made else None
        else:
            slot = self._slots[tensor].get(place)
        if slot is None:
            raise BrokenProgramError(f"{tensor} is not there at {self.at(number)}")
        identity = self.identity(placement, number)
        if (tensor, identity) in self._away:
            raise BrokenProgramError(f"{tensor} is away at {self.at(number)}")
        if slot.identity != identity:
            message = f"tile {identity} of {tensor} was replaced by {slot.identity}"
            raise BrokenProgramError(f"{message} before it was used at {self.at(number)}")
        return slot

    def value_made(self, placement: Placement, number: int) -> Slot:
        """The value of a recurrence that was made in this very iteration."""
        for made, slot in self._history(placement, number):
            if made == number:
                return slot
        raise BrokenProgramError(f"{placement.tensor} is not made yet at {self.at(number)}")

    def value_before(self, placement: Placement, number: int) -> Slot | None:
        """The value of a recurrence from before this iteration; None when this is its first."""
        own = self._history(placement, number)
        if (placement.tensor, self.identity(placement, number)) in self._away:
            raise BrokenProgramError(f"{placement.tensor} is away at {self.at(number)}")
        before = [slot for made, slot in own if made < number]
        if not before and not own and self.begun(placement, number):
            message = f"{placement.tensor} was replaced before it was used"
            raise BrokenProgramError(f"{message} at {self.at(number)}")
        return before[-1] if before else None

    def send_away(self, placement: Placement, number: int, tile: Tile) -> None:
        """A tile leaves its slot, as the outermost level has it.

        Of a recurrence, units still hold what they have just made.
        """
        tensor, place = placement.tensor, self._place(placement, number)
        self._away[tensor, self.identity(placement, number)] = tile
        if placement.role != "state":
            del self._slots[tensor][place]

    def bring_back(self, placement: Placement, number: int) -> None:
        identity = self.identity(placement, number)
        tile = self._away.pop((placement.tensor, identity), None)
        if tile is None:
            raise BrokenProgramError(f"{placement.tensor} comes back before it has gone out")
        self._keep(placement, number, Slot(identity, tile, tile), BROUGHT_BACK)

    def _keep(self, placement: Placement, number: int, slot: Slot, made: int) -> None:
        """What an iteration's slot holds from now on. made: the iteration that made it."""
        tensor, place = placement.tensor, self._place(placement, number)
        if placement.role != "state":
            self._slots[tensor][place] = slot
            return
        before = self._history(placement, number)
        self._made[tensor][place] = (*before, (made, slot))[-HISTORY:]

    def _history(self, placement: Placement, number: int) -> Made:
        made = self._made[placement.tensor].get(self._place(placement, number), ())
        own = bool(made) and made[-1][1].identity == self.identity(placement, number)
        return made if own else ()

    def _place(self, placement: Placement, number: int) -> tuple[int, ...]:
        count, inside = self._count(placement, number)
        return count % placement.slots, *inside

    def _count(self, placement: Placement, number: int) -> tuple[int, tuple[int, ...]]:
        """Iterations of the loop whose tiles take slots in turn; where loops inside it are."""
        grid = len(self.grid)
        loop, matched = span(placement.iterated)
        tile = self.every[number]
        inside = tuple(tile.coordinates[other - grid] for other in matched if other >= grid)
        # Without loops of its own inside the grid there is one tile: ROOT is below 0, too.
        return (tile.count[loop - grid] if loop >= grid else 0), inside
