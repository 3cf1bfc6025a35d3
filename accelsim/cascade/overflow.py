"""Values that were too large for the format they were written in."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import copysign, inf


@dataclass(frozen=True)
class Overflow:
    """tensor: that was written. value: the largest by magnitude; None where it is not known.

    largest: number of the format. becomes: what such a value is from then on, its sign apart.
    """

    tensor: str
    format: str
    largest: float
    value: float | None = None
    becomes: float = inf

    def __str__(self) -> str:
        value = "" if self.value is None else f" = {self.value:,.6g}"
        number = f"{self.format}, whose largest number is {self.largest:,.6g}"
        return f"{self.tensor}{value} is out of the range of {number}"

    @property
    def note(self) -> str:
        """In words, with what became of the value."""
        if self.becomes == inf:
            return f"{self}: it became infinite"
        return f"{self}: it became {copysign(self.becomes, self.value or 0):,.6g}"


class Overflows:
    """Those of a run, a tensor and a format once each, in the order in which they came."""

    def __init__(self) -> None:
        self._worst: dict[tuple[str, str], Overflow] = {}

    def add(self, one: Overflow) -> None:
        key = one.tensor, one.format
        before = self._worst.get(key)
        if before is None or abs(one.value or 0) > abs(before.value or 0):
            self._worst[key] = one

    def of_float64(self, tensor: str) -> None:
        self.add(Overflow(tensor, "float64", sys.float_info.max))

    @property
    def infinite(self) -> list[str]:
        """In words, those that made infinities: what can make a NaN later."""
        return [str(one) for one in self._worst.values() if one.becomes == inf]

    @property
    def notes(self) -> list[str]:
        """In words, all, with what became of the values."""
        return [one.note for one in self._worst.values()]
