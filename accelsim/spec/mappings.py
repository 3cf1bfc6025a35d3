"""The typed records of a mapping file."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from accelsim.errors import shown
from accelsim.spec.records import Cycles, Format, Name, Part, Rank, Record, Shape, Size, Text

Steps = int | dict[str, int]


def _steps(least: int, most: int) -> BeforeValidator:
    """A number of tiles, or of iterations of loops: {P1: 1}."""

    def check(value: object) -> object:
        numbers = list(value.values()) if isinstance(value, dict) else [value]
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int):
                what = "a whole number, or loops with numbers such as {P1: 1}"
                raise ValueError(f"expected {what}, got {shown(value)}")
            if not least <= number <= most:
                bound = f"at least {least}" if number < least else f"at most {most}"
                raise ValueError(f"expected {bound}, got {shown(number)}")
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise ValueError(f"expected names of loops, got {shown(value)}")
        return value

    return BeforeValidator(check)


class BindingSpec(Record):
    """Where and how one Einsum runs.

    spatial: dimension of the unit -> rank spread over it, or ranks whose points together are.
    stage: how far behind the first stage: tiles, or iterations of loops ({P1: 1} is one iteration
    of the loop over P1). drain: cycles until its result has left the unit, a number or
    UNIT.DIMENSION. copies: elements that do the same work. instruction: of the unit, that does it.
    """

    unit: Name
    copies: Shape = 1
    instruction: Name | None = None
    spatial: dict[Name, Rank | list[Rank]] = Field(default_factory=dict)
    stage: Annotated[Steps, _steps(0, 16)] = 0
    drain: Size = 0


class StorageSpec(Record):
    """Where a tensor lives between its producer and its readers.

    level: a level, or `registers` (what is loaded then goes past the buffers). slots: tiles of it
    held at once (2 is a double buffer), or those of iterations of loops ({P1: 1, M1: 2}).
    keep: loops over which a loaded tile stays instead of being loaded again. again: loops in
    which the same tile is loaded again although it could stay. ahead: how much earlier than the
    tile before its own it is loaded, where its reader's stage leaves room: as `stage`. fetch:
    Einsums that read it from the level, each on its own; without it, one of each stage does.
    spilled: share that the level has no room for: at each use it moves from and to the outermost
    level. off_chip: what is made here goes to the outermost level and comes back once, before its
    first reader. overbook: not counted against the capacity; the result says so.
    """

    level: Name
    slots: Annotated[Steps, _steps(1, 1024)] = 2
    keep: list[Rank] = Field(default_factory=list)
    again: list[Rank] = Field(default_factory=list)
    ahead: Annotated[Steps, _steps(0, 16)] = 0
    fetch: list[Name] = Field(default_factory=list)
    spilled: Part = Fraction(0)
    off_chip: bool = False
    overbook: bool = False


class SerialSpec(Record):
    """Iterations of `loop` do not overlap, but for the Einsums named in `beside`."""

    loop: Rank
    beside: list[Name] = Field(default_factory=list)


class LaunchSpec(Record):
    """How a phase is launched on the clusters of a machine.

    grid: its outer loops whose iterations are instances, each run by one cluster from beginning to
    end; started in the order of the loops. threads: of an instance that compute; loaders: that only
    load. registers: of each. resident: instances that a cluster runs at a time; without it, as many
    as fit. schedule: `grid`, the next instance to a cluster that has room; a kernel that stays
    takes instances in turn (`static`) or the next one (`dynamic`). overlap: an instance's units
    work side by side; without it, its Einsums run one at a time. teams: a loop whose iterations
    are each done by an equal share of the threads.
    """

    grid: list[Rank]
    threads: Shape
    loaders: Cycles = 0
    registers: Shape | None = None
    resident: Shape | None = None
    schedule: Literal["grid", "static", "dynamic"] = "grid"
    overlap: bool = False
    teams: Rank | None = None


class PhaseSpec(Record):
    """One loop nest. Einsums stand in the order in which each unit takes them in an epoch.

    partition: ranks that this phase cuts in its own way.
    """

    launch: LaunchSpec | None = None

    loops: list[Rank]
    partition: dict[Rank, dict[Rank, Size]] = Field(default_factory=dict)
    einsums: dict[Name, BindingSpec]
    storage: dict[Name, StorageSpec] = Field(default_factory=dict)
    serial: SerialSpec | None = None


class MappingSpec(Record):
    """A mapping file.

    partition: root rank -> part -> size, outermost first: a number, `rest`, UNIT.DIMENSION,
    fit(LEVEL) or fit(LEVEL / 2), right inside the `rest`. formats: of tensors and tables, where not
    the machine's word.
    edges: whether tiles at the end of a rank are `padded`, or move only what there is (`masked`).
    """

    mapping: Name
    description: str = ""
    source: Text
    arch: Text
    cascade: Text
    formats: dict[Name, Format] = Field(default_factory=dict)
    edges: Literal["padded", "masked"] = "padded"
    partition: dict[Rank, dict[Rank, Size]] = Field(default_factory=dict)
    phases: dict[Name, PhaseSpec]
