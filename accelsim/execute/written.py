"""Which format each tensor is written in, where."""

from __future__ import annotations

from dataclasses import dataclass, field

from accelsim.execute.counts import Written
from accelsim.execute.formats import EXACT, Format
from accelsim.mapping import Placement

MADE = "accumulate"
EVERYWHERE = ""


@dataclass(frozen=True)
class Formats:
    """given: tensor -> place -> format. A place is a level, MADE or EVERYWHERE."""

    given: dict[str, dict[str, Format]] = field(default_factory=dict)

    def of(self, tensor: str, place: str) -> Format:
        own = self.given.get(tensor, {})
        return own.get(place, own.get(EVERYWHERE, EXACT))

    def made(self, tensor: str) -> Format:
        """Of what an Einsum leaves with its unit."""
        return self.of(tensor, MADE)

    def written(self, placement: Placement, level: str) -> Written:
        """As bytes: of the mapping's own format, unless the level has one for itself."""
        own = self.given.get(placement.tensor, {})
        size = own[level].size_bytes if level in own else placement.word_bytes
        return Written(size, self.of(placement.tensor, level).metadata_bytes)
