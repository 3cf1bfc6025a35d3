"""Result: one record for every engine, with JSON in and out. `measure.py` fills it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.results.shown import tables
from accelsim.tables import html


@dataclass(frozen=True)
class Result:
    """What a run of a Program on a machine came to. See docs/results.md for each number.

    flops_per_second: two for each multiply-accumulate of the cascade; padding counts for nothing.
    cycles: whole clock cycles from start to end, rounded up; ticks / ticks_per_cycle exactly.
    energy_pj: with the register file of one element per unit, as FuseMax's artifact counts;
    energy_all_registers_pj: with those of all. energy_by_part_pj: of energy_pj.
    area_um2: of the chip, by part. utilization: busy cycles / cycles per unit. active: of a unit's
    elements x cycles, the share that worked (below utilization when tiles leave elements idle).
    active_by_einsum: unit -> Einsum -> its part of `active`.
    traffic_bytes: level -> read, write. traffic_by_tensor: level -> tensor -> read, write.
    actions: part -> action -> tensor -> count. busy_cycles, wait_cycles (by cause), tail_cycles
    (idle after the last task): per server; together they are the cycles.
    buffers: level -> capacity_bytes, reserved_bytes, and bytes by tensor, of the fullest phase.
    bounds: what no mapping can beat, beside it. inputs: content hash of every input.
    """

    name: str
    engine: str
    cycles: int
    ticks: int
    ticks_per_cycle: int
    seconds: float
    flops_per_second: float
    energy_pj: float
    energy_all_registers_pj: float
    energy_by_part_pj: dict[str, float]
    area_um2: dict[str, float]
    utilization: dict[str, float]
    active: dict[str, float]
    active_by_einsum: dict[str, dict[str, float]]
    traffic_bytes: dict[str, dict[str, int | float]]
    traffic_by_tensor: dict[str, dict[str, dict[str, int | float]]]
    actions: dict[str, dict[str, dict[str, float]]]
    tasks: int
    busy_cycles: dict[str, float]
    wait_cycles: dict[str, dict[str, float]]
    tail_cycles: dict[str, float]
    bottleneck: str
    buffers: dict[str, dict[str, Any]]
    bounds: dict[str, Any]
    phases: list[dict[str, Any]]
    inputs: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """One JSON object; the same bytes for the same result."""
        return json.dumps(asdict(self), indent=2)

    def _repr_html_(self) -> str:
        return html(tables(self), self.notes)

    @staticmethod
    def from_json(text: str) -> Result:
        """The result that to_json wrote. Raises AccelsimError when it is none."""
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise AccelsimError(f"not a result: {error}") from None
        known = Result.__dataclass_fields__
        if not isinstance(value, dict):
            raise AccelsimError("not a result: expected a JSON object")
        for key in value:
            if key not in known:
                raise AccelsimError(Fault(f"result: unknown key {key!r}", help=nearest(key, known)))
        missing = [key for key in known if key not in value]
        if missing:
            raise AccelsimError(f"not a result: {', '.join(missing)} missing")
        return Result(**value)
