"""The typed records of a search file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from accelsim.spec.records import Record
from accelsim.spec.scalars import Name, Rank, Rate, Shape, Size, Text


class BudgetSpec(Record):
    """What a search may spend.

    points: mappings that it tries, illegal ones included. seconds: of wall time; what is found then
    depends on the machine that searches.
    """

    points: Annotated[int, Field(strict=True, ge=1)] = 20_000
    seconds: Rate | None = None


def _time() -> dict[str, Literal["min"]]:
    return {"cycles": "min"}


Slots = Annotated[int, Field(strict=True, ge=1, le=64)]


class SearchSpec(Record):
    """A search for the best mapping of a cascade on a machine. What is not said is searched.

    search: its name. arch: the machine, a shipped one or a .yaml file. cascade: a shipped one or a
    .yaml file. workload: a shipped one or a .yaml file. seq_len: length of the sequence. set:
    PATH=VALUE over fields of arch or workload. partition: root rank -> part -> sizes to choose
    from, outermost first, whose first is `rest`. loops: their order, outermost first. phases:
    whether Einsums that follow one another share a loop nest: `any` of them, or `one` nest has all.
    units: Einsum -> units to choose from. level: of what is loaded or carried. between: level of
    what one unit makes and another reads, or `registers`. registers: unit -> values that each of
    its elements can hold of what is made there, read and without a level; any number unless said.
    slots: of what is loaded, to choose from.
    objectives: measure -> what is looked for. method: `exhaustive` tries every mapping that could
    be better, `nsga2` breeds them; `auto` breeds where the budget is too small for all.
    budget: what may be spent. seed: of what is bred. within: how much slower than the best a
    mapping may be, as a share, to be good enough.
    """

    search: Name
    description: str = ""
    source: Text
    arch: Text
    cascade: Text
    workload: Text
    seq_len: Shape | None = None
    set: list[Text] = Field(default_factory=list)
    partition: dict[Rank, dict[Rank, Size | list[Size]]] = Field(default_factory=dict)
    loops: list[Rank] = Field(default_factory=list)
    phases: Literal["any", "one"] = "any"
    units: dict[Name, Name | list[Name]] = Field(default_factory=dict)
    level: Name | None = None
    between: Name | None = None
    registers: dict[Name, Shape] = Field(default_factory=dict)
    slots: Annotated[list[Slots], Field(min_length=1)] = Field(default_factory=lambda: [2])
    objectives: dict[Name, Literal["min"]] = Field(default_factory=_time)
    method: Literal["auto", "exhaustive", "nsga2"] = "auto"
    budget: BudgetSpec = Field(default_factory=BudgetSpec)
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 0
    within: Rate | None = None
