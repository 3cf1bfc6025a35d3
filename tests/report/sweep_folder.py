"""Folders as a sweep writes them: study.json and part-*.parquet, of made-up numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from accelsim.explore import store
from accelsim.explore.columns import Column
from accelsim.report.timeline import Span

UNITS = {"array_2d": ("QK", "AV"), "array_1d": ("LM", "SLN", "SLD", "RNV")}
CAUSES = ("data", "slot", "bandwidth", "order", "tail")
TENSORS = ("Q", "K", "V", "AV")
PARTS = ("dram", "global_buffer", "registers_2d", "array_2d", "array_1d")
AXES: dict[str, tuple[Any, ...]] = {
    "seq_len": (1024, 4096, 16384, 65536, 262144),
    "array": (64, 128, 256, 512),
    "buffer_mib": (1, 2, 4, 8, 16),
    "bandwidth": (100, 200, 400, 800),
    "mapping": ("fusemax", "flat", "unfused", "two pass"),
    "slots": (1, 2, 3, 4),
    "clock": (0.7, 0.94, 1.3, 1.6),
}


def measures(axes: dict[str, np.ndarray], random: np.random.Generator) -> dict[str, np.ndarray]:
    """Numbers that hang together as those of a machine do, of the axes' values."""
    number = len(axes["seq_len"])
    flops = 4.0 * axes["seq_len"] ** 2 * 64 * 12
    peak = 2 * axes["array"] ** 2 * axes["clock"] * 1e9
    bandwidth = axes["bandwidth"] * 2.0**30
    passes = 1 + (axes["mapping"] != "fusemax") + 2 * (axes["mapping"] == "unfused")
    traffic = axes["seq_len"] * 12 * 64 * 2 * (4 + 40 * passes / axes["buffer_mib"])
    seconds = np.maximum(flops / peak, traffic / bandwidth) * random.uniform(1.05, 1.9, number)
    area = axes["array"] ** 2 * 900.0 + axes["buffer_mib"] * 1.1e6
    out = {
        "seconds": seconds,
        "cycles": np.round(seconds * axes["clock"] * 1e9),
        "dram_bytes": np.round(traffic),
        "flops": flops,
        "tflops": flops / seconds / 1e12,
        "peak_tflops": peak / 1e12,
        "dram_bytes_per_second": bandwidth,
        "area_um2": area,
        "bound_seconds": np.maximum(flops / peak, traffic / 3 / bandwidth),
        "bound_traffic_bytes": np.round(traffic / passes / 2),
    }
    for part, share in zip(PARTS, random.dirichlet(np.ones(len(PARTS)), number).T, strict=True):
        out[f"energy_pj_{part}"] = share * (flops * 0.6 + traffic * 40)
    out["energy_pj"] = sum(out[f"energy_pj_{part}"] for part in PARTS)
    for unit, einsums in UNITS.items():
        at_work = flops / peak / seconds
        shares = random.dirichlet(np.ones(len(einsums)), number).T
        for einsum, share in zip(einsums, shares, strict=True):
            out[f"utilization_{unit}_{einsum}"] = at_work * share
        out[f"utilization_{unit}"] = at_work
        for cause, share in zip(
            CAUSES, random.dirichlet(np.ones(len(CAUSES)), number).T, strict=True
        ):
            out[f"wait_share_{unit}_{cause}"] = share * (1 - at_work)
    for level in ("dram", "global_buffer"):
        for tensor, share in zip(
            TENSORS, random.dirichlet(np.ones(len(TENSORS)), number).T, strict=True
        ):
            scale = 1 if level == "dram" else 9
            way = "write" if tensor == "AV" else "read"
            out[f"traffic_bytes_{level}_{tensor}_{way}"] = scale * share * traffic
    return out


def breakdown() -> dict[str, Any]:
    ways = {tensor: "write" if tensor == "AV" else "read" for tensor in TENSORS}
    return {
        "utilization": {
            unit: {einsum: f"utilization_{unit}_{einsum}" for einsum in einsums}
            for unit, einsums in UNITS.items()
        },
        "waits": {unit: {c: f"wait_share_{unit}_{c}" for c in CAUSES} for unit in UNITS},
        "traffic": {
            level: {t: {way: f"traffic_bytes_{level}_{t}_{way}"} for t, way in ways.items()}
            for level in ("dram", "global_buffer")
        },
        "energy": {part: f"energy_pj_{part}" for part in PARTS},
    }


def write(
    folder: Path,
    number: int,
    *,
    name: str = "attention on spatial arrays",
    description: str = "Sequence lengths, arrays, buffers and mappings of one attention layer.",
    messages: tuple[str, ...] = (
        "mapping: K does not fit: needs 9.1 MiB, global_buffer has 8 MiB",
    ),
    without: tuple[str, ...] = (),
    rename: dict[str, str] | None = None,
    extra: dict[str, list[Any]] | None = None,
    every_failing: int = 40,
    feasible: list[bool | None] | None = None,
) -> Path:
    """A folder of `number` points, in two parts. without: measures left out, by their beginning.

    Every 40th point failed, with one of the messages in turn. rename: axis -> another name.
    feasible: whether points keep a constraint.
    """
    random = np.random.default_rng(7)
    grid = {axis: random.choice(np.array(values), number) for axis, values in AXES.items()}
    found = {k: v for k, v in measures(grid, random).items() if not k.startswith(without or ("?",))}
    errors: list[str | None] = [None] * number
    for turn, row in enumerate(range(3, number, every_failing) if messages else ()):
        errors[row] = messages[turn % len(messages)]
        for values in found.values():
            values[row] = np.nan
    axes = {(rename or {}).get(axis, axis): values for axis, values in grid.items()}
    values = {"point": np.arange(number), **axes, **found, **(extra or {})}
    columns = [Column(name, _kind(np.array(of))) for name, of in values.items()]
    own = [np.array(of).tolist() for of in values.values()]
    if feasible is not None:
        columns.append(Column("feasible", "bool"))
        own.append(feasible)
    columns.append(Column("error", "string"))
    rows = list(zip(*own, errors, strict=True))
    objectives = {"seconds": "min", "energy_pj": "min", "area_um2": "min"}
    manifest = {
        "name": name,
        "description": description,
        "key": "made up",
        "inputs": {},
        "axes": {axis: np.unique(of).tolist() for axis, of in axes.items()},
        "columns": {column.name: column.kind for column in columns},
        "measures": {name: name for name in (*found, *(extra or {}))},
        "objectives": {k: v for k, v in objectives.items() if k in found},
        "points": number,
        "breakdown": breakdown(),
    }
    store.write_manifest(folder, manifest)
    target, half = store.Store(folder, "made up", columns), number // 2
    target.write(half, number, rows[half:])
    target.write(0, half, rows[:half])
    return folder


def _kind(values: np.ndarray) -> Any:
    return {"i": "int64", "f": "float64", "U": "string"}[values.dtype.kind]


def timeline(point: int) -> list[Span]:
    """Some tasks on three servers, each beginning where its tile's last one ended."""
    spans: list[Span] = []
    unit = 1e-6 * (1 + point % 3)
    for tile in range(400):
        at = tile * 3 * unit
        where = f"M1={tile % 20} P1={tile // 20}"
        spans.append(("dram", "load K", at, at + 1.2 * unit, where))
        spans.append(("dram", "load V", at + 1.2 * unit, at + 2.4 * unit, where))
        spans.append(("array_2d", "QK", at + 1.2 * unit, at + 2.2 * unit, where))
        spans.append(("array_1d", "SLN", at + 2.2 * unit, at + 2.9 * unit, where))
        spans.append(("array_2d", "AV", at + 2.9 * unit, at + 3.9 * unit, where))
    return spans
