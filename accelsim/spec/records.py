"""The typed records of each kind of file. Spelling only: what the names refer to is checked later.

Field names are the user's keys; a field's description is what an error says was expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from accelsim import units
from accelsim.errors import shown

MAX_SHAPE = 1 << 62


def _quantity(kind: str) -> BeforeValidator:
    return BeforeValidator(lambda text: units.parse(text, kind))


def _shape(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected a whole number, got {shown(value)}")
    if not 1 <= value <= MAX_SHAPE:
        raise ValueError(f"expected a number from 1 to 2^62, got {shown(value)}")
    return value


def _cycles(value: object) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else _shape(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_SHAPE:
        raise ValueError(f"expected a whole number up to 2^62, got {shown(value)}")
    return value


def _optional_whole(value: object) -> int | None:
    return None if value is None else _whole(value)


def _size(value: object) -> object:
    """A whole number that 64 bits hold, or a text that the mapping reads."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"expected a whole number or text, got {shown(value)}")
    if isinstance(value, int) and abs(value) > MAX_SHAPE:
        raise ValueError(f"expected a number up to 2^62, got {shown(value)}")
    return value


def _number(value: object) -> float:
    """A number; YAML reads `-inf` as a word, so words for infinity are taken too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a number, got {shown(value)}")
    if isinstance(value, str) and value not in {"inf", "-inf"}:
        raise ValueError(f"expected a number, 'inf' or '-inf', got {shown(value)}")
    if value != value:
        raise ValueError("expected a number, got NaN")
    return float(value)


def _matches(pattern: str, expected: str) -> BeforeValidator:
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str) or compiled.fullmatch(value) is None:
            raise ValueError(f"expected {expected}, got {shown(value)}")
        return value

    return BeforeValidator(check)


_FRACTION = re.compile(r"-?\d{1,18}(\.\d{0,30}|/\d{1,18})?([eE][-+]?\d{1,2})?")


def _fraction(value: object, expected: str) -> Fraction:
    """A number as it is written, or two whole numbers such as 1/129; exact."""
    try:
        if isinstance(value, bool) or _FRACTION.fullmatch(str(value)) is None:
            raise ValueError
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"expected {expected}, got {shown(value)}") from None


def _part(value: object) -> Fraction:
    """A share from 0 to below 1."""
    part = _fraction(value, "a share such as 0.25 or 1/129")
    if not 0 <= part < 1:
        raise ValueError(f"expected a share from 0 to below 1, got {shown(value)}")
    return part


def _share(value: object) -> Fraction:
    """A share above 0, up to all."""
    share = _fraction(value, "a share such as 0.9 or 2/3")
    if not 0 < share <= 1:
        raise ValueError(f"expected a share above 0 and up to 1, got {shown(value)}")
    return share


def _rate(value: object) -> Fraction:
    """A factor above 0."""
    rate = _fraction(value, "a number such as 2, 0.5 or 2/3")
    if rate <= 0:
        raise ValueError(f"expected a number above 0, got {shown(value)}")
    return rate


def _format(value: object) -> str:
    if not isinstance(value, str) or value not in units.FORMATS:
        raise ValueError(f"expected one of {', '.join(units.FORMATS)}, got {shown(value)}")
    return value


Capacity = Annotated[Fraction, _quantity("capacity")]
Frequency = Annotated[Fraction, _quantity("frequency")]
Bandwidth = Annotated[Fraction, _quantity("bandwidth")]
Energy = Annotated[Fraction, _quantity("energy")]
Area = Annotated[Fraction, _quantity("area")]
Time = Annotated[Fraction, _quantity("time")]
Shape = Annotated[int, BeforeValidator(_shape)]
Number = Annotated[float, BeforeValidator(_number)]
Name = Annotated[
    str, _matches(r"[A-Za-z][A-Za-z0-9_]*", "a name (letters, digits, _; a letter first)")
]
ModelName = Annotated[
    str, _matches(r"[A-Za-z][A-Za-z0-9_.-]*", "a name (letters, digits, _ - .; a letter first)")
]
Rank = Annotated[str, _matches(r"[A-Z][A-Z0-9]*", "a rank name such as M or M1")]
Text = Annotated[str, _matches(r"(?s)\s*\S.*", "a text that is not empty")]
Size = Annotated[int | str, BeforeValidator(_size)]
Cycles = Annotated[int, BeforeValidator(_cycles)]
Part = Annotated[Fraction, BeforeValidator(_part)]
Share = Annotated[Fraction, BeforeValidator(_share)]
Rate = Annotated[Fraction, BeforeValidator(_rate)]
Format = Annotated[str, BeforeValidator(_format)]


class Record(BaseModel):
    """Base of all records: frozen, and an unknown key is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ParameterSpec(Record):
    """A whole number that a method is set up with. Without a default, the workload must give it."""

    description: Text
    default: Annotated[int | None, BeforeValidator(_optional_whole)] = None


class CascadeSpec(Record):
    """A cascade file.

    define: NAME(ARGUMENTS) -> expression. tables: whole numbers that indices and predicates read.
    alike: rank -> an innermost part with the same coordinates: {I: T0} for the keys of a block.
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
    """Energy of one access of a level (a line) or of a register file (a word)."""

    read: Energy
    write: Energy


class LevelSpec(Record):
    """A storage place. The first of `levels` is the outermost; it has a bandwidth.

    kind: `store`, where mappings place tiles, or `cache`, through which all that moves from and to
    the outermost level goes; it keeps what was used last. partitions: of a cache. bandwidth: of
    the outermost level and a cache, what all clusters draw from it together; of a store inside a
    cluster, what the units and transfers of one do. reached: the share of it that is reached.
    port: what one cluster draws from a cache at most. latency: of what comes out of a cache; of
    the outermost level, on top of that.
    """

    source: Text
    kind: Literal["store", "cache"] = "store"
    partitions: Annotated[int, BeforeValidator(_shape)] | None = None
    bandwidth: Bandwidth | None = None
    reached: Share = Fraction(1)
    port: Bandwidth | None = None
    latency: Time = Fraction(0)
    capacity: Capacity | None = None
    line: Capacity
    energy: AccessEnergy
    area: Area = Fraction(0)


class OperationSpec(Record):
    """What one operation costs: cycles and energy of its own, or a sequence of other operations.

    cycles: 0 when another operation's pipeline does it along the way.
    """

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
    """The register file of one processing element."""

    source: Text
    energy: AccessEnergy
    area: Area = Fraction(0)


class InstructionSpec(Record):
    """An instruction of a unit: how much of each dimension of the unit's work one does at most.

    operation: what it does. opcode: its name in the machine code. threads: how many issue it
    together. rate: of the unit's own.
    """

    source: Text
    operation: Name
    opcode: Text
    shape: dict[Name, Shape]
    threads: Shape
    rate: Rate = Fraction(1)


class UnitSpec(Record):
    """Something that performs operations: an array of like processing elements.

    timing: `ideal`, one step per cycle, or `systolic`: operands move from element to element, and
    every tile of a matrix product fills and empties the array (two dimensions). instructions: by
    which programs ask for its work; the first is meant where a mapping does not say. slows:
    another unit, or a level inside the cluster -> the share of this unit's working time that it
    loses.
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

    cost: of a launch. start: of an instance, before its first load. next: between two instances
    of a persistent kernel.
    """

    source: Text
    cost: Time
    start: Time
    next: Time


class LimitsSpec(Record):
    """What the instances that one cluster runs at a time have between them.

    registers: of 32 bits. reserved: of the innermost level, for each instance.
    """

    source: Text
    registers: Shape
    threads: Shape
    instances: Shape
    reserved: Capacity


class ArchSpec(Record):
    """A machine file.

    clusters: how many there are of the units and of the levels inside the cache, on which the
    instances of a mapping's grid run.
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


SEQ_LEN = re.compile(r"(?:([1-9]\d{0,17})\s*\*\s*)?seq_len(?:\s*-\s*(\d{1,18}))?")
_OF_SEQ_LEN = "seq_len, or one made of it such as 64 * seq_len or seq_len - 1"


def _of_seq_len(number: Callable[[object], int]) -> BeforeValidator:
    """A whole number, or a text that a sequence length makes one."""

    def check(value: object) -> Any:
        if isinstance(value, str) and SEQ_LEN.fullmatch(value) is None:
            raise ValueError(f"expected a whole number, {_OF_SEQ_LEN}, got {shown(value)}")
        return value if isinstance(value, str) else number(value)

    return BeforeValidator(check)


RankShape = Annotated[int | str, _of_seq_len(_shape)]
ParameterValue = Annotated[int | str, _of_seq_len(_whole)]


def _listed(value: object) -> Any:
    """What it holds is looked at later, entry by entry (workload.py)."""
    if not isinstance(value, list):
        raise ValueError(f"expected a list of whole numbers, or of lists, got {shown(value)}")
    return value


TableEntries = Annotated[list[Any], BeforeValidator(_listed)]


class KindSpec(Record):
    """What of a workload holds for one kind of run: for a prompt, for one query."""

    description: str = ""
    ranks: dict[Rank, RankShape] = Field(default_factory=dict)
    parameters: dict[Name, ParameterValue] = Field(default_factory=dict)
    tables: dict[Name, TableEntries] = Field(default_factory=dict)


class WorkloadSpec(Record):
    """A workload file: rank shapes of a model, and parameters and tables of the methods it uses.

    `seq_len` is the sequence length of a run; `64 * seq_len` and `seq_len - 1` are made of it.
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
