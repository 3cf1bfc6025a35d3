"""The typed records of each kind of file. Spelling only: what the names refer to is checked later.

Field names are the user's keys. A docstring says of each, after `key:`, what it is, as editors show
it (schema.py).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from accelsim.spec.scalars import (
    Area,
    Bandwidth,
    Capacity,
    Cycles,
    Energy,
    Frequency,
    ModelName,
    Name,
    Number,
    OptionalWhole,
    ParameterValue,
    Rank,
    RankShape,
    Rate,
    Shape,
    Share,
    TableEntries,
    Text,
    Time,
)


class Record(BaseModel):
    """Base of all records: frozen, and an unknown key is a fault.

    description: what it is, in a sentence. source: where what is said here is from, such as a paper
    or a datasheet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ParameterSpec(Record):
    """A whole number that a method is set up with.

    default: its value where the workload gives none; without it, the workload must.
    """

    description: Text
    default: OptionalWhole = None


class CascadeSpec(Record):
    """A cascade file.

    cascade: its name. family: what it is listed under. ranks: rank -> what it counts, in words.
    parameters: whole numbers that the method is set up with. tables: whole numbers that indices and
    predicates read, with their ranks. define: NAME(ARGUMENTS) -> expression. partitions: rank ->
    its parts, outermost first. alike: rank -> an innermost part with the same coordinates: {I: T0}
    for the keys of a block. variables: further variables -> their ranks; each rank has its own in
    lower case. tensors: tensor -> its ranks. initial: tensor of a recurrence -> its value before
    the first step. outputs: tensors that are the result. einsums: one Einsum per line.
    """

    cascade: Name
    source: Text
    description: str = ""
    family: Text = "other"
    ranks: dict[Rank, str]
    parameters: dict[Name, ParameterSpec] = Field(default_factory=dict)
    tables: dict[Name, list[Rank]] = Field(default_factory=dict)
    define: dict[Text, Text] = Field(default_factory=dict)
    partitions: dict[Rank, list[Rank]] = Field(default_factory=dict)
    alike: dict[Rank, Rank] = Field(default_factory=dict)
    variables: dict[Name, Rank] = Field(default_factory=dict)
    tensors: dict[Name, list[Rank]]
    initial: dict[Name, Number] = Field(default_factory=dict)
    outputs: list[Name]
    einsums: Text


class AccessEnergy(Record):
    """Energy of one access of a level (a line) or of a register file (a word).

    read, write: of one access.
    """

    read: Energy
    write: Energy


class LevelSpec(Record):
    """A storage place. The first of `levels` is the outermost; it has a bandwidth.

    kind: `store`, where mappings place tiles, or `cache`, through which all that moves from and to
    the outermost level goes; it keeps what was used last. partitions: of a cache. bandwidth: of the
    outermost level and a cache, what all clusters draw from it together; of a store inside a
    cluster, what the units and transfers of one do. reached: the share of it that is reached. port:
    what one cluster draws from a cache at most. latency: of what comes out of a cache; of the
    outermost level, on top of that. capacity: bytes that it holds; the outermost level has no end.
    line: bytes of one access. energy: of one access. area: of the level.
    """

    source: Text
    kind: Literal["store", "cache"] = "store"
    partitions: Shape | None = None
    bandwidth: Bandwidth | None = None
    reached: Share = Fraction(1)
    port: Bandwidth | None = None
    latency: Time = Fraction(0)
    capacity: Capacity | None = None
    line: Capacity
    energy: AccessEnergy
    area: Area = Fraction(0)


_NULL: JsonDict = {"type": "null"}
_OWN_COST: JsonDict = {
    "required": ["cycles", "energy"],
    "properties": {"cycles": {"not": _NULL}, "energy": {"not": _NULL}, "uses": _NULL},
}
_MADE_OF_OTHERS: JsonDict = {
    "required": ["uses"],
    "properties": {"cycles": _NULL, "uses": {"not": _NULL}},
}


class OperationSpec(Record):
    """What one operation costs: cycles and energy of its own, or a sequence of other operations.

    cycles: of one; 0 when another operation's pipeline does it along the way. energy: of one. area:
    of what does it, in one element. uses: operation -> how many of it one is made of.
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": [_OWN_COST, _MADE_OF_OTHERS]})

    cycles: Cycles | None = None
    energy: Energy | None = None
    area: Area = Fraction(0)
    uses: dict[Name, Shape] | None = None
    source: str = ""

    @model_validator(mode="after")
    def _one_form(self) -> OperationSpec:
        own = self.cycles is not None and self.energy is not None
        if own == (self.uses is not None) or (self.uses is not None and self.cycles is not None):
            raise ValueError("expected either cycles and energy, or uses")
        return self


class RegistersSpec(Record):
    """The register file of one processing element.

    energy: of one access to a word. area: of one file.
    """

    source: Text
    energy: AccessEnergy
    area: Area = Fraction(0)


class InstructionSpec(Record):
    """An instruction of a unit: how much of each dimension of the unit's work one does at most.

    operation: what it does. opcode: its name in the machine code. shape: dimension of the unit's
    work -> how much of it one does. threads: how many issue it together. rate: of the unit's own.
    """

    source: Text
    operation: Name
    opcode: Text
    shape: dict[Name, Shape]
    threads: Shape
    rate: Rate = Fraction(1)


class UnitSpec(Record):
    """Something that performs operations: an array of like processing elements.

    shape: dimension -> processing elements along it. operations: what each element can do.
    registers: of each element. timing: `ideal`, one step per cycle, or `systolic`: operands move
    from element to element, and every tile of a matrix product fills and empties the array (two
    dimensions). instructions: by which programs ask for its work; the first is meant where a
    mapping does not say. slows: another unit, or a level inside the cluster -> the share of this
    unit's working time that it loses.
    """

    source: Text
    shape: dict[Name, Shape]
    instructions: dict[Name, InstructionSpec] = Field(default_factory=dict)
    timing: Literal["ideal", "systolic"] = "ideal"
    operations: dict[Name, OperationSpec]
    slows: dict[Name, Share] = Field(default_factory=dict)
    registers: RegistersSpec


class LaunchCostSpec(Record):
    """What starting costs.

    cost: of a launch. start: of an instance, before its first load. next: between two instances of
    a persistent kernel.
    """

    source: Text
    cost: Time
    start: Time
    next: Time


class LimitsSpec(Record):
    """What the instances that one cluster runs at a time have between them.

    registers: of 32 bits. threads: at most. instances: at most. reserved: of the innermost level,
    for each instance.
    """

    source: Text
    registers: Shape
    threads: Shape
    instances: Shape
    reserved: Capacity


class ArchSpec(Record):
    """A machine file.

    arch: its name. clock: the frequency of its cycles. word: bytes of a value where a mapping gives
    no format. launch: what starting costs, on machines of several clusters. limits: of what one
    cluster runs at a time. levels: where tensors are stored, outermost first. units: what performs
    operations. clusters: how many there are of the units and of the levels inside the cache, on
    which the instances of a mapping's grid run.
    """

    arch: Name
    description: str = ""
    source: Text
    clock: Frequency
    word: Capacity
    clusters: Shape = 1
    launch: LaunchCostSpec | None = None
    limits: LimitsSpec | None = None
    levels: dict[Name, LevelSpec]
    units: dict[Name, UnitSpec]


class KindSpec(Record):
    """What of a workload holds for one kind of run: for a prompt, for one query.

    ranks: rank -> its shape. parameters: of the methods. tables: whole numbers, or lists of them.
    """

    description: str = ""
    ranks: dict[Rank, RankShape] = Field(default_factory=dict)
    parameters: dict[Name, ParameterValue] = Field(default_factory=dict)
    tables: dict[Name, TableEntries] = Field(default_factory=dict)


class WorkloadSpec(Record):
    """A workload file: rank shapes of a model, and parameters and tables of the methods it uses.

    `seq_len` is the sequence length of a run; `64 * seq_len` and `seq_len - 1` are made of it.
    workload: its name. ranks: rank -> its shape. parameters: of the methods that it is used with.
    kinds: kinds of runs, each with what it adds; the first is meant when none is chosen. kind: the
    one chosen (`--kind`). tables: whole numbers, or lists of them for tables of several ranks.
    """

    workload: ModelName
    description: str = ""
    source: Text
    ranks: dict[Rank, RankShape]
    parameters: dict[Name, ParameterValue] = Field(default_factory=dict)
    tables: dict[Name, TableEntries] = Field(default_factory=dict)
    kinds: dict[Name, KindSpec] = Field(default_factory=dict)
    kind: Name | None = None
