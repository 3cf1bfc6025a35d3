"""Which format each tensor is written in, where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from accelsim import mapping
from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.execute.counts import Written
from accelsim.execute.formats import EXACT, Format, format_named
from accelsim.mapping import Placement
from accelsim.mapping.place import REGISTERS

MADE = "accumulate"
EVERYWHERE = ""
EXPECTED = "TENSOR=FORMAT, TENSOR.accumulate=FORMAT or TENSOR.LEVEL=FORMAT"


def inner(placement: Placement) -> str:
    """The place in which a nest holds a tensor: a level, or registers."""
    return REGISTERS if placement.level is None else placement.level.name


@dataclass(frozen=True)
class Formats:
    """given: tensor -> place -> format. A place is a level, REGISTERS, MADE or EVERYWHERE."""

    given: dict[str, dict[str, Format]] = field(default_factory=dict)

    def of(self, tensor: str, place: str) -> Format:
        own = self.given.get(tensor, {})
        return own.get(place, own.get(EVERYWHERE, EXACT))

    def written(self, placement: Placement, level: str) -> Written:
        """As bytes: of the mapping's own format, unless the level has one for itself."""
        own = self.given.get(placement.tensor, {})
        size = own[level].size_bytes if level in own else placement.word_bytes
        return Written(size, self.of(placement.tensor, level).metadata_bytes)

    @property
    def everywhere(self) -> dict[str, str]:
        """Formats that tell the size of a value wherever it moves, as a mapping's own do."""
        return {
            tensor: places[EVERYWHERE].name
            for tensor, places in self.given.items()
            if EVERYWHERE in places
        }

    @property
    def of_levels(self) -> list[str]:
        """Tensors of which some level has a format of its own."""
        aside = {EVERYWHERE, MADE, REGISTERS}
        return [tensor for tensor, places in self.given.items() if set(places) - aside]


def read_formats(text: str) -> dict[str, str]:
    """TENSOR=FORMAT, TENSOR.accumulate=FORMAT, TENSOR.LEVEL=FORMAT, with commas between."""
    return read_pairs(text, "formats", EXPECTED)


def read_pairs(text: str, what: str, expected: str) -> dict[str, str]:
    """NAME=VALUE, with commas between. Raises AccelsimError: what was read, what is expected."""
    found: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not name or not value:
            raise AccelsimError(f"{what}: expected {expected}, got {item!r}")
        if name in found:
            raise AccelsimError(f"{what}: {name} is given twice")
        found[name] = value
    if text and not found:
        raise AccelsimError(f"{what}: there is nothing in {text!r}; expected {expected}")
    return found


def settled(given: Mapping[str, str], mapped: mapping.Mapping) -> Formats:
    """Formats by tensor and place. given: as `read_formats` gives them.

    Raises AccelsimError with all that is not known, or would have no effect.
    """
    made = {einsum.name for einsum in mapped.cascade.einsums}
    tensors = [tensor.name for tensor in mapped.cascade.tensors]
    found: dict[str, dict[str, Format]] = {}
    faults: list[Fault] = []
    for where, name in given.items():
        tensor, dot, place = where.partition(".")
        if not tensor or (dot and not place):
            faults.append(Fault(f"formats: expected {EXPECTED}, got '{where}={name}'"))
            continue
        try:
            written = format_named(name)
        except AccelsimError as error:
            faults += [replace(f, message=f"formats: {where}: {f.message}") for f in error.faults]
            continue
        message, known = "", list[str]()
        if tensor not in tensors:
            message, known = f"{mapped.cascade.name} has no tensor {tensor}", tensors
        elif place == MADE and tensor not in made:
            message = f"{tensor} is an input: nothing is accumulated in it"
        elif place not in (EVERYWHERE, MADE):
            known = sorted({*_places(mapped, tensor)})
            if place not in known:
                message = f"{tensor} is never written in {place}"
                known = [*known, MADE] if tensor in made else known
        if message:
            faults.append(Fault(f"formats: {message}", help=nearest(place or tensor, known)))
        found.setdefault(tensor, {})[place] = written
    if faults:
        raise AccelsimError(faults)
    return Formats(found)


def _places(mapped: mapping.Mapping, tensor: str) -> Iterable[str]:
    """Levels in which tiles of a tensor are written, and registers."""
    for nest in mapped.nests:
        for placement in nest.placements:
            if placement.tensor != tensor:
                continue
            yield inner(placement)
            leaves = placement.off_chip or placement.spilled
            if placement.role == "load" or placement.stored or leaves:
                yield mapped.machine.outermost.name
