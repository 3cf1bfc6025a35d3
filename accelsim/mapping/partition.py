"""Sizes of the parts of every rank.

Numbers, `rest`, UNIT.DIMENSION, the shape of a rank or a parameter (`I`), a quotient of two of them
(`H / G`), fit(LEVEL), fit(LEVEL / 2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from accelsim.arch import Machine
from accelsim.cascade import Cascade
from accelsim.errors import Fault, nearest
from accelsim.spec import Document
from accelsim.spec.mappings import MappingSpec
from accelsim.traced import Traced

_FIT = re.compile(r"fit\(\s*(\w+)\s*(?:/\s*([1-9]\d*)\s*)?\)")
_DIMENSION = re.compile(r"(\w+)\.(\w+)")
_NAMED = re.compile(r"([A-Za-z]\w*)(?:\s*/\s*([A-Za-z]\w*))?")


@dataclass(frozen=True)
class Fit:
    """A part that is as large as a share of a level can hold; above: the `rest` outside it.

    tiles: what the two share, of the tiles inside; the whole rank where it is the innermost part.
    """

    part: str
    level: str
    share: Fraction
    above: str
    tiles: int


@dataclass(frozen=True)
class Partition:
    """extents: part -> coordinates, the fitted part and `rest` above it aside.

    parts: rank of the cascade -> the parts it is cut into here, outermost first.
    """

    extents: dict[str, int]
    parts: dict[str, tuple[str, ...]]
    fit: Fit | None
    notes: tuple[str, ...]

    def candidates(self) -> list[dict[str, int]]:
        """Extents to try, largest fitted part first."""
        if self.fit is None:
            return [self.extents]
        part, above, tiles = self.fit.part, self.fit.above, self.fit.tiles
        return [{**self.extents, part: size, above: tiles // size} for size in divisors(tiles)]


def divisors(number: int) -> list[int]:
    """Divisors in descending order."""
    found = [1]
    rest, prime = number, 2
    while rest > 1:
        if prime * prime > rest:
            prime = rest
        power, more = 1, list(found)
        while rest % prime == 0:
            rest //= prime
            power *= prime
            more += [d * power for d in found]
        found = more
        prime += 1
    return sorted(found, reverse=True)


def dimension_size(text: object, machine: Machine) -> int:
    """A whole number, or the extent that UNIT.DIMENSION names. Raises ValueError."""
    if isinstance(text, int | Traced) and not isinstance(text, bool):
        if text < 0:
            raise ValueError(f"expected 0 or more, got {text}")
        return cast(int, text)
    match = _DIMENSION.fullmatch(str(text))
    if match is None:
        raise ValueError(f"expected a number or UNIT.DIMENSION, got {text!r}")
    unit = machine.unit(match[1])
    if unit is None:
        known = ", ".join(u.name for u in machine.units)
        raise ValueError(f"{machine.name} has no unit {match[1]!r}; known: {known}")
    extent = dict(unit.shape).get(match[2])
    if extent is None:
        known = ", ".join(name for name, _ in unit.shape)
        raise ValueError(f"{unit.name} has no dimension {match[2]!r}; known: {known}")
    return extent


def named_size(text: str, named: Mapping[str, int]) -> int | None:
    """The number that a name, or a quotient of two names, stands for; None when it is neither.

    Raises ValueError: a name that is not known, a quotient that is no whole number.
    """
    match = _NAMED.fullmatch(text)
    if match is None:
        return None
    for name in (n for n in match.groups() if n):
        if name not in named:
            known = ", ".join(sorted(named))
            raise ValueError(f"{name!r} is no rank or parameter; known: {known}")
    size, by = named[match[1]], named[match[2]] if match[2] else 1
    if by < 1 or size % by:
        raise ValueError(f"{text}: {size} is no multiple of {by}")
    return size // by


def partition(
    document: Document[MappingSpec],
    phase: str,
    cascade: Cascade,
    machine: Machine,
    shapes: dict[str, int],
    faults: list[Fault],
) -> Partition:
    """Cut every rank of the cascade for a phase. Adds to faults what is wrong, once each."""
    spec, source = document.spec, document.source
    own = spec.phases[phase].partition
    sizes = {**spec.partition, **own}
    place = {r: (*(("phases", phase) if r in own else ()), "partition", r) for r in cascade.ranks}
    out = Partition({}, {}, None, ())
    notes: list[str] = []
    fit: Fit | None = None
    for rank in sizes:
        if rank not in cascade.ranks:
            at: tuple[str, ...] = ("partition", rank)
            at = ("phases", phase, *at) if rank in own else at
            message = f"partition: {cascade.name} has no rank {rank}"
            help = nearest(rank, cascade.ranks)
            faults.append(source.fault(at, message, help=help, key=True))
    for rank in cascade.ranks:
        if rank not in shapes:
            faults.append(Fault(f"the workload gives no shape for rank {rank} of {cascade.name}"))
            continue
        at = place[rank]
        names = tuple(sizes.get(rank, ()))
        cut = cascade.parts(rank)
        if not names and cut == (rank,):
            out.extents[rank] = shapes[rank]
            out.parts[rank] = (rank,)
            continue
        if cut != (rank,) and names != cut:
            message = f"{cascade.name} cuts {rank} into {', '.join(cut)}; sizes for these expected"
            faults.append(source.fault(at, message, key=True))
            continue
        before = len(faults)
        cutter = _Cutter(document, machine, rank, sizes.get(rank, {}), at, shapes, faults)
        found = cutter.cut(shapes[rank], out.extents, notes)
        if len(faults) > before:
            continue
        for part in cut if cut != (rank,) else ():
            out.parts[part] = (part,)
        if cut == (rank,):
            out.parts[rank] = names
        if found is not None and fit is not None:
            message = f"{rank}.{found.part}: only one part can be fitted; {fit.part} is already"
            faults.append(source.fault((*at, found.part), message))
        fit = found or fit
    fitted = (fit.part, fit.above) if fit is not None else ()
    for rank, part in cascade.alike:
        if fit is not None and (rank in fitted or part in fitted):
            root = cascade.root(rank if rank in fitted else part)
            message = f"{root}.{fit.part}: {rank} and {part} are alike: neither can be fitted"
            faults.append(source.fault((*place[root], fit.part), message))
            continue
        one, other = out.extents.get(rank), out.extents.get(part)
        if one is not None and other is not None and one != other:
            root = cascade.root(part)
            message = f"expected {one}, as many as {rank} has, which is alike; got {other}"
            faults.append(source.fault((*place[root], part), f"{root}.{part}: {message}"))
    return Partition(out.extents, out.parts, fit, tuple(notes))


class _Cutter:
    """Cuts one rank; `extents` and `notes` are filled in place."""

    def __init__(
        self,
        document: Document[MappingSpec],
        machine: Machine,
        rank: str,
        sizes: dict[str, Any],
        at: tuple[str, ...],
        named: Mapping[str, int],
        faults: list[Fault],
    ) -> None:
        self.source = document.source
        self.sizes = sizes
        self.at = at
        self.machine = machine
        self.rank = rank
        self.names = tuple(sizes)
        self.named = named
        self.faults = faults
        self.masked = document.spec.edges == "masked"

    def cut(self, shape: int, extents: dict[str, int], notes: list[str]) -> Fit | None:
        outermost, innermost = self.names[0], self.names[-1]
        if self.sizes[outermost] != "rest" or len(self.names) < 2:
            self._fault(outermost, "the outermost part of at least two takes the `rest`")
            return None
        if innermost in extents or outermost in extents:
            self._fault(innermost, "the name of another part or rank")
            return None
        if len(self.names) == 2 and (asked := self._asked(innermost)) is not None:
            return self._fit(innermost, asked, shape)
        size = self._number(innermost)
        if size is None:
            return None
        size = size if self.masked else min(size, shape)
        tiles = -(-shape // size)
        if tiles * size != shape and not self.masked:
            notes.append(f"{self.rank} padded from {shape} to {tiles * size}: tiles of {size}")
        extents[innermost] = size
        for part in reversed(self.names[1:-1]):
            asked = self._asked(part)
            if asked is not None:
                if self.names.index(part) != 1:
                    self._fault(part, "only the part right inside the outermost can be fitted")
                    return None
                return self._fit(part, asked, tiles)
            number = self._number(part)
            if number is None:
                return None
            if tiles % number:
                options = ", ".join(map(str, divisors(tiles)[::-1][:12]))
                self._fault(
                    part, f"{number} does not divide the {tiles} tiles; use one of {options}"
                )
                return None
            extents[part] = number
            tiles //= number
        extents[outermost] = tiles
        return None

    def _asked(self, part: str) -> re.Match[str] | None:
        """The match of a size that is fit(...)."""
        return _FIT.fullmatch(str(self.sizes[part]))

    def _fit(self, part: str, asked: re.Match[str], tiles: int) -> Fit | None:
        level = self.machine.level(asked[1])
        if level is None or level.capacity_bytes is None:
            known = [x.name for x in self.machine.levels if x.capacity_bytes is not None]
            self._fault(part, f"{asked[1]!r} is no level with a capacity", known)
            return None
        return Fit(part, asked[1], Fraction(1, int(asked[2] or 1)), self.names[0], tiles)

    def _number(self, part: str) -> int | None:
        try:
            given = self.sizes[part]
            size = named_size(given, self.named) if isinstance(given, str) else None
            if size is None:
                size = dimension_size(given, self.machine)
        except ValueError as error:
            self._fault(part, str(error))
            return None
        if size < 1:
            self._fault(part, f"expected at least 1, got {size}")
            return None
        return size

    def _fault(self, part: str, message: str, known: list[str] | None = None) -> None:
        help = ("known: " + ", ".join(known),) if known else ()
        text = f"{self.rank}.{part}: {message}"
        self.faults.append(self.source.fault((*self.at, part), text, help=help))
