"""Counters of a GPU through Nsight Compute: what is asked for, how it is run, how its CSV is read.

Nothing here is a time: `METRICS` counts bytes, sectors and instructions and reads how many CTAs fit
on a multiprocessor.
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Public names; a chip has those of them that `available` finds.
METRICS = (
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "lts__t_sectors_srcunit_tex_op_read.sum",
    "lts__t_sectors_srcunit_tex_op_write.sum",
    "lts__t_sectors_srcunit_tex_op_read_lookup_hit.sum",
    "lts__t_sectors_srcunit_tex_op_read_lookup_miss.sum",
    "lts__t_sectors_srcunit_tex_lookup_hit.sum",
    "lts__t_sectors_srcunit_tex_lookup_miss.sum",
    "lts__t_sectors_srcunit_ltcfabric.sum",
    "lts__t_sectors_srcunit_ltcfabric_lookup_hit.sum",
    "lts__t_sectors_srcunit_ltcfabric_lookup_miss.sum",
    "lts__d_sectors_fill_device.sum",
    "l1tex__m_xbar2l1tex_read_bytes.sum",
    "sm__inst_executed.sum",
    "sm__inst_executed_pipe_tensor_op_gmma.sum",
    "sm__inst_executed_pipe_tensor_op_hmma.sum",
    "sm__inst_executed_pipe_xu.sum",
    "launch__registers_per_thread",
    "launch__shared_mem_per_block",
    "launch__occupancy_limit_registers",
    "launch__occupancy_limit_shared_mem",
    "launch__occupancy_limit_warps",
    "launch__occupancy_limit_blocks",
    "launch__waves_per_multiprocessor",
)

# What one of a unit is in the base unit. `--print-units base` should leave no prefix; decimal ones
# are ncu's own, so a file without that option reads the same.
UNITS = {
    "": 1,
    "%": 1,
    "byte": 1,
    "Kbyte": 10**3,
    "Mbyte": 10**6,
    "Gbyte": 10**9,
    "byte/block": 1,
    "Kbyte/block": 10**3,
    "sector": 1,
    "inst": 1,
    "warp": 1,
    "block": 1,
    "thread": 1,
    "register/thread": 1,
}
NUMBER = re.compile(r"-?\d{1,3}(,\d{3})*(\.\d+)?|-?\d+(\.\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Counted:
    """One launch as counted: kernel name without arguments, grid, value by metric in base units."""

    kernel: str
    grid: tuple[int, ...]
    values: dict[str, float]


def number(text: str, unit: str) -> float:
    """A value in its base unit. Raises ValueError for an unknown unit and for what is no number."""
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r} is none of {', '.join(sorted(UNITS))}")
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is no number")
    plain = text.strip().replace(",", "")
    value = float(plain) * UNITS[unit]
    return int(value) if value.is_integer() else value


def _grid(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _kernel(text: str) -> str:
    return text.split("(")[0].strip()


def parse(text: str) -> list[Counted]:
    """The launches in an ncu CSV, in their order.

    Reads both forms: wide (`--page raw`: a column per metric, units in the row below the names) and
    long (a row per metric: Metric Name, Metric Unit, Metric Value). Lines of ncu's own (==PROF==)
    are left out. Raises ValueError where there is no header, no launch, an unknown unit, a time, or
    a value that is no number.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("==")]
    rows = list(csv.reader(io.StringIO("\n".join(lines))))
    if not rows or "Kernel Name" not in rows[0]:
        raise ValueError(f"no header of an ncu CSV: {rows[:1]}")
    header, body = rows[0], rows[1:]
    if any(len(row) != len(header) for row in body):
        raise ValueError("rows of different lengths: the file is cut off or is no CSV")
    found = (_long if "Metric Name" in header else _wide)(header, body)
    if not found:
        raise ValueError("no launch in the CSV")
    for launch in found:
        refuse_times(launch.values)
    return found


def _wide(header: list[str], body: list[list[str]]) -> list[Counted]:
    if not body or body[0][header.index("ID")]:
        raise ValueError("no row of units below the names")
    units = body[0]
    metrics = [i for i, name in enumerate(header) if "__" in name]
    return [
        Counted(
            _kernel(row[header.index("Kernel Name")]),
            _grid(row[header.index("Grid Size")]),
            {header[i]: number(row[i], units[i]) for i in metrics if row[i]},
        )
        for row in body[1:]
    ]


def _long(header: list[str], body: list[list[str]]) -> list[Counted]:
    column = header.index
    launches: dict[str, Counted] = {}
    for row in body:
        launch = launches.setdefault(
            row[column("ID")],
            Counted(_kernel(row[column("Kernel Name")]), _grid(row[column("Grid Size")]), {}),
        )
        name, unit = row[column("Metric Name")], row[column("Metric Unit")]
        launch.values[name] = number(row[column("Metric Value")], unit)
    return list(launches.values())


def refuse_times(values: dict[str, float]) -> None:
    """Raises ValueError for a metric that is a time or a count of cycles."""
    for name in values:
        if any(word in name for word in ("time", "duration", "cycles", "per_second", "elapsed")):
            raise ValueError(f"{name}: times of kernels are not recorded here")


def listed(ncu: str, collection: str) -> set[str]:
    """Names, without what follows a dot, of the metrics of this GPU in one of ncu's collections."""
    command = [ncu, "--query-metrics", "--query-metrics-collection", collection]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    return set(re.findall(r"^\s*([a-z0-9]+__\w+)", shown, flags=re.MULTILINE))


def available(names: set[str]) -> tuple[list[str], list[str]]:
    """`METRICS` that are among the names, and those that are not."""
    have = [metric for metric in METRICS if metric.split(".")[0] in names]
    return have, [metric for metric in METRICS if metric not in have]


def command(ncu: str, log: Path, metrics: Sequence[str], flush: bool) -> list[str]:
    """The command that a profiled program is appended to.

    flush: caches are emptied before every replay of a launch, as a simulation starts; else the
    launch finds what the one before left. Clocks stay as they are.
    """
    return [
        ncu,
        *("--clock-control", "none", "--cache-control", "all" if flush else "none"),
        *("--replay-mode", "kernel", "--profile-from-start", "off"),
        *("--print-units", "base", "--csv", "--page", "raw", "--log-file", str(log)),
        *("--metrics", ",".join(metrics)),
    ]


def made_up(manifest: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> str:
    """A CSV in the wide form for the launches of a manifest, with numbers that mean nothing."""
    text = io.StringIO()
    text.write("==PROF== Connected to process 1\n")
    rows = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    rows.writerow(["ID", "Kernel Name", "Block Size", "Grid Size", *metrics])
    rows.writerow(["", "", "", "", *("byte" if "bytes" in m else "inst" for m in metrics)])
    launches = [launch for entry in manifest for launch in entry["launches"]]
    for i, launch in enumerate(launches):
        grid = ", ".join(map(str, (*launch["grid"], 1, 1)[:3]))
        values = [f"{1000 * (i + 1) + j:,}" for j in range(len(metrics))]
        rows.writerow([i, launch["name"], "(128, 1, 1)", f"({grid})", *values])
    return text.getvalue()
