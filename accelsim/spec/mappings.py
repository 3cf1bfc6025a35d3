"""The typed records of a mapping file."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, StrictBool

from accelsim.spec.records import Record
from accelsim.spec.scalars import (
    Cycles,
    Format,
    Name,
    Part,
    Rank,
    Shape,
    Size,
    Steps,
    Text,
    steps,
)


class BindingSpec(Record):
    """Where and how one Einsum runs.

    unit: of the machine, that does it. spatial: dimension of the unit -> rank spread over it, or
    ranks whose points together are. stage: how far behind the first stage: tiles, or iterations of
    loops ({P1: 1} is one iteration of the loop over P1). drain: cycles until its result has left
    the unit, a number or UNIT.DIMENSION. copies: elements that do the same work. instruction: of
    the unit, by which it is done.
    """

    unit: Name
    copies: Shape = 1
    instruction: Name | None = None
    spatial: dict[Name, Rank | list[Rank]] = Field(default_factory=dict)
    stage: Annotated[Steps, *steps(0, 16)] = 0
    drain: Size = 0


class StorageSpec(Record):
    """Where a tensor lives between its producer and its readers.

    level: a level, or `registers` (what is loaded then goes past the buffers). slots: tiles of it
    held at once (2 is a double buffer), or those of iterations of loops ({P1: 1, M1: 2}). keep:
    loops over which a loaded tile stays instead of being loaded again. again: loops in which the
    same tile is loaded again although it could stay. ahead: how much earlier than the tile before
    its own it is loaded, where its reader's stage leaves room: as `stage`. fetch: Einsums that read
    it from the level, each on its own; without it, one of each stage does. spilled: share that the
    level has no room for: at each use it moves from and to the outermost level. off_chip: what is
    made here goes to the outermost level and comes back once, before its first reader. overbook:
    not counted against the capacity; the result says so.
    """

    level: Name
    slots: Annotated[Steps, *steps(1, 1024)] = 2
    keep: list[Rank] = Field(default_factory=list)
    again: list[Rank] = Field(default_factory=list)
    ahead: Annotated[Steps, *steps(0, 16)] = 0
    fetch: list[Name] = Field(default_factory=list)
    spilled: Part = Fraction(0)
    off_chip: StrictBool = False
    overbook: StrictBool = False


class SerialSpec(Record):
    """Iterations of a loop that do not overlap.

    loop: its rank. beside: Einsums that overlap all the same.
    """

    loop: Rank
    beside: list[Name] = Field(default_factory=list)


class LaunchSpec(Record):
    """How a phase is launched on the clusters of a machine.

    grid: its outer loops whose iterations are instances, each run by one cluster from beginning to
    end; started in the order of the loops. threads: those of an instance that compute; loaders:
    those that only load. registers: of each thread. resident: instances that a cluster runs at a
    time; without it, as many as fit. schedule: `grid`, the next instance to a cluster that has
    room; a kernel that stays takes instances in turn (`static`) or the next one (`dynamic`).
    overlap: an instance's units work side by side; without it, its Einsums run one at a time.
    teams: a loop whose iterations are each done by an equal share of the threads.
    """

    grid: list[Rank]
    threads: Shape
    loaders: Cycles = 0
    registers: Shape | None = None
    resident: Shape | None = None
    schedule: Literal["grid", "static", "dynamic"] = "grid"
    overlap: StrictBool = False
    teams: Rank | None = None


class PhaseSpec(Record):
    """One loop nest. Einsums stand in the order in which each unit takes them in an epoch.

    launch: how it starts, on machines of several clusters. loops: outermost first. partition: ranks
    that this phase cuts in its own way, as in `partition` of the file. einsums: Einsum -> where and
    how it runs. storage: tensor that is loaded, carried or kept -> where it lives. serial:
    iterations that do not overlap.
    """

    launch: LaunchSpec | None = None

    loops: list[Rank]
    partition: dict[Rank, dict[Rank, Size]] = Field(default_factory=dict)
    einsums: dict[Name, BindingSpec]
    storage: dict[Name, StorageSpec] = Field(default_factory=dict)
    serial: SerialSpec | None = None


class MappingSpec(Record):
    """A mapping file.

    mapping: its name. arch: the machine, a shipped one or a .yaml file. cascade: a shipped one or a
    .yaml file. phases: loop nests, one after the other. partition: root rank -> part -> size,
    outermost first: a number, `rest`, UNIT.DIMENSION, fit(LEVEL) or fit(LEVEL / 2), right inside
    the `rest`. formats: of tensors and tables, where not the machine's word. edges: whether tiles
    at the end of a rank are `padded`, or move only what there is (`masked`).
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
