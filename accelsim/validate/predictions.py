"""What is predicted of a GPU run before it is made: one row per case, launch and counter.

A row has `least` and `most`: the counter is predicted to lie between them, each of them included
after a tolerance that is the counter's own (`COUNTERS`). `python -m accelsim.validate.predictions`
prints the rows for the cases of kernels/protocol.py.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from accelsim import verbs
from accelsim.errors import AccelsimError
from accelsim.validate import kernels
from accelsim.validate.cases import Bound, bind

SM = {"h200": 90, "a100": 80}
SECTOR = 32
TENSOR_FORMATS = {"float16", "bfloat16"}


@dataclass(frozen=True)
class Counter:
    """How a counter is predicted. metric: ncu's name. scale: bytes (or one) of one of it.

    tolerance: relative, of what is predicted.
    """

    metric: str
    scale: int
    tolerance: float


COUNTERS = {
    "l2_read_bytes": Counter("lts__t_sectors_srcunit_tex_op_read.sum", SECTOR, 0.01),
    "l2_write_bytes": Counter("lts__t_sectors_srcunit_tex_op_write.sum", SECTOR, 0.01),
    "dram_read_bytes": Counter("dram__bytes_read.sum", 1, 0.05),
    "dram_write_bytes": Counter("dram__bytes_write.sum", 1, 0.05),
    "hgmma_instructions": Counter("sm__inst_executed_pipe_tensor_op_gmma.sum", 1, 0.0),
    "hmma_instructions": Counter("sm__inst_executed_pipe_tensor_op_hmma.sum", 1, 0.0),
    "xu_instructions": Counter("sm__inst_executed_pipe_xu.sum", 1, 0.0),
}
PAST_THE_KNEE = 0.15
"""Tolerance of DRAM reads where they are predicted to be more than each tile once."""


@dataclass(frozen=True)
class Row:
    """case: its name. model: the L2 model, of DRAM traffic. least, most: None for no bound."""

    case: str
    launch: str
    counter: str
    model: str
    least: int | None
    most: int | None
    tolerance: float


def rows(cases: Iterable[dict[str, Any]], arch: str) -> Iterator[Row]:
    """Predictions for cases of kernels on a machine. Raises AccelsimError."""
    given = list(cases)
    requests = [{"case": case, "target": SM[arch]} for case in given]
    both = zip(kernels.described(given), kernels.built(requests), strict=True)
    for described, built in both:
        for found in (described, built):
            if "error" in found:
                raise AccelsimError(f"{described['case']}: {found['error']}")
        name = built["case"]
        bound = bind(described, arch)
        resident = [one["ctas_per_sm"] for one in built["launches"]]
        yield from _of_case(name, described, bound, resident)


def _of_case(
    name: str, described: Mapping[str, Any], bound: Bound, resident: list[int]
) -> Iterator[Row]:
    phases = verbs.traffic(bound.mapping, bound.workload, settings=bound.settings, cache=False)[
        "launches"
    ]
    stay = tuple(
        f"mapping.phases.{phase['name']}.launch.resident={max(1, number)}"
        for phase, number in zip(phases, resident, strict=True)
    )
    models = {
        f"{partitions} partition{'s' if partitions > 1 else ''}": verbs.traffic(
            bound.mapping,
            bound.workload,
            settings=(*bound.settings, *stay, f"arch.levels.l2.partitions={partitions}"),
        )["launches"]
        for partitions in (1, 2)
    }
    for number, launch in enumerate(described["launches"]):
        once = phases[number]

        def row(
            counter: str,
            least: int | None,
            most: int | None,
            model: str = "",
            launch: str = launch["name"],
            tolerance: float | None = None,
        ) -> Row:
            allowed = COUNTERS[counter].tolerance if tolerance is None else tolerance
            return Row(name, launch, counter, model, least, most, allowed)

        yield row("l2_read_bytes", once["lines"]["read"], once["lines"]["read"])
        yield row("l2_write_bytes", once["lines"]["write"], once["lines"]["write"])
        for model, launches in models.items():
            cache = launches[number]["cache"]
            past = cache["read"] > cache["compulsory"]
            allowed = PAST_THE_KNEE if past else None
            yield row("dram_read_bytes", cache["read"], cache["read"], model, tolerance=allowed)
            most = cache["written"] + cache["dirty"]
            yield row("dram_write_bytes", cache["written"], most, model)
        if described["case"]["dtype"] in TENSOR_FORMATS:
            counted = once["instructions"]
            for opcode, counter in (("HGMMA", "hgmma_instructions"), ("HMMA", "hmma_instructions")):
                yield row(counter, counted.get(opcode, 0), counted.get(opcode, 0))
        # Other functions and conversions count as well.
        yield row("xu_instructions", once["instructions"].get("MUFU.EX2", 0), None)


def as_csv(found: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) for one in found)
    return text.getvalue()


def read_csv(text: str) -> list[Row]:
    """Rows as `as_csv` wrote them. Raises AccelsimError."""
    reader = csv.DictReader(io.StringIO(text))
    expected = [f.name for f in fields(Row)]
    if reader.fieldnames != expected:
        raise AccelsimError(f"predictions: expected columns {', '.join(expected)}")
    out = []
    for number, row in enumerate(reader, start=2):
        try:
            least, most = (int(row[k]) if row[k] else None for k in ("least", "most"))
            case, launch, counter, model = (row[k] for k in ("case", "launch", "counter", "model"))
            allowed = float(row["tolerance"])
            if None in row or not 0 <= allowed < 1:
                raise ValueError("expected 7 fields, the last from 0 to below 1")
            out.append(Row(case, launch, counter, model, least, most, allowed))
        except (TypeError, ValueError) as error:
            raise AccelsimError(f"predictions, line {number}: {error}") from None
    if not out:
        raise AccelsimError("predictions: no rows")
    return out


if __name__ == "__main__":
    arch = sys.argv[1] if len(sys.argv) > 1 else "h200"
    print(as_csv(rows(kernels.protocol(), arch)), end="")
