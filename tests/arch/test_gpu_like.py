"""The SM of gpu_like: rates of the datasheet, and attention on it against closed forms.

Tiles of 128 queries and 64 keys. Cycles of a tile on each unit, from the steps of the kernel and
the rates of the machine, not taken from the mapping: they bound the run from below, and with what
is not hidden at the head of each group of query blocks, from above.
"""

from __future__ import annotations

from math import isclose
from pathlib import Path

import pytest

from accelsim import arch, spec, verbs
from accelsim.results import Result

CLOCK, SMS = 1.41e9, 108
BANDWIDTH = 2039e9 / SMS / CLOCK  # bytes a cycle
HEADS, P0, M0 = 4, 128, 64


def run(tmp_path: Path, name: str, width: int, keys: int, queries: int, **more: int) -> Result:
    numbers = {"window": 1 << 60, "offset": 0, **more}
    path = tmp_path / "w.yaml"
    path.write_text(
        f"workload: w\nsource: s\nparameters: {numbers}\n"
        f"ranks: {{B: 1, H: {HEADS}, E: {width}, F: {width}, M: {keys}, P: {queries}}}\n"
    )
    return verbs.simulate(name, str(path)).result


def tile_cycles(width: int) -> dict[str, float]:
    """Of one tile of 128 x 64: both products, max and sum and rescaling, exponentials."""
    return {
        "tensor_core": 2 * P0 * M0 * width / 1024,
        "vector": (2 * P0 * M0 + P0 * max(width, 64) + 3 * P0) / 64,
        "sfu": (P0 * M0 + P0) / 16,
    }


def test_rates_are_those_of_the_datasheet() -> None:
    machine = arch.build(spec.load("gpu_like", "arch"))
    units = {unit.name: unit.instances for unit in machine.units}
    clock = float(machine.clock_hz)
    assert isclose(2 * units["tensor_core"] * clock * SMS, 312e12, rel_tol=1e-3)
    assert isclose(2 * units["vector"] * clock * SMS, 19.5e12, rel_tol=2e-3)
    assert isclose(units["sfu"] * clock * SMS, 16 * CLOCK * SMS)
    assert machine.outermost.bandwidth is not None
    assert isclose(float(machine.outermost.bandwidth), BANDWIDTH, rel_tol=1e-8)
    shared = machine.level("shared")
    assert shared is not None
    assert shared.capacity_bytes == 163 * 1024


def heads_of_groups(result: Result, width: int, queries: int) -> float:
    """What is not hidden at the head of each group of query blocks that share tiles of keys.

    Their Q and the first tiles of K and V, and one tile through all units and back.
    """
    rows = result.buffers["shared"]["by_tensor"]["Q"] / (2 * width)
    loads = 2 * width * (rows + 2 * M0) / BANDWIDTH
    return HEADS * queries / rows * (loads + 2 * sum(tile_cycles(width).values()))


# Width, length, what bounds it. At a width of 32 exponentials take longer than both products.
PREFILL = [
    *((width, length, "tensor_core") for width in (64, 128) for length in (4096, 16384, 65536)),
    *((32, length, "sfu") for length in (4096, 65536)),
]


@pytest.mark.parametrize(("width", "length", "bound"), PREFILL)
def test_prefill_is_as_fast_as_its_slowest_unit(
    width: int, length: int, bound: str, tmp_path: Path
) -> None:
    result = run(tmp_path, "gpu_like__attention_1pass", width, length, length)
    tile = tile_cycles(width)
    tiles = HEADS * (length // P0) * (length // M0)
    for unit, cycles in tile.items():
        ends = HEADS * length * max(width, 64) * 5 / 64 if unit == "vector" else 0  # AV
        assert isclose(result.busy_cycles[unit], tiles * cycles + ends, rel_tol=1e-12), unit
    moved = sum(result.traffic_bytes["dram"].values()) / BANDWIDTH
    assert result.cycles >= max(*result.busy_cycles.values(), moved, result.bounds["cycles"])
    assert result.bottleneck == bound == max(tile, key=lambda unit: tile[unit])
    # Where products take about as long as exponentials, these wait for the next tile's maximum.
    waits = (P0 * M0 + P0) / 64 if bound == "sfu" else 0
    most = tiles * (tile[bound] + waits) + heads_of_groups(result, width, length)
    assert result.cycles <= most


@pytest.mark.parametrize("name", ["gpu_like__attention_1pass", "gpu_like__attention_1pass_window"])
@pytest.mark.parametrize("length", [4096, 65536])
def test_one_query_takes_as_long_as_its_keys_from_memory(
    name: str, length: int, tmp_path: Path
) -> None:
    result = run(tmp_path, name, 128, length, 1, offset=length - 1)
    moved = 2 * 128 * HEADS * (2 * length + 2) / BANDWIDTH  # K, V; Q and AV
    assert moved <= result.cycles <= moved + 2000
    assert result.bottleneck == "dram"


@pytest.mark.parametrize(("length", "window"), [(4096, 1 << 60), (16384, 1 << 60), (16384, 1024)])
def test_masked_tiles_are_those_that_hold_a_pair(length: int, window: int, tmp_path: Path) -> None:
    result = run(tmp_path, "gpu_like__attention_1pass_window", 128, length, length, window=window)
    tiles = 0
    for first in range(0, length, P0):
        least = max(0, first - window + 1) // M0
        tiles += (first + P0 - 1) // M0 - least + 1
    cycles = tile_cycles(128)
    assert result.busy_cycles["tensor_core"] == HEADS * tiles * cycles["tensor_core"]
    assert result.bottleneck == "tensor_core"
    most = result.busy_cycles["tensor_core"] + heads_of_groups(result, 128, length)
    assert result.busy_cycles["tensor_core"] <= result.cycles <= most


def test_no_energy_is_said_to_be_none(tmp_path: Path) -> None:
    result = run(tmp_path, "gpu_like__attention_1pass", 64, 1024, 1024)
    assert result.energy_pj == 0
    assert any("gives no energies" in note for note in result.notes)
    other = verbs.simulate("fusemax__attention_1pass", "bert", 1024).result
    assert not any("energies" in note for note in other.notes)
