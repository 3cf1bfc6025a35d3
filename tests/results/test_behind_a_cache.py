"""Of machines with a cache: lower bounds, memory's energy, times that do not fit."""

from __future__ import annotations

import pytest

from accelsim import verbs
from accelsim.errors import AccelsimError

SMALL = ("workload.ranks.B=1", "workload.ranks.H=4", "workload.ranks.G=4")


def run(*settings: str, warm: bool = False) -> verbs.Run:
    given = (*SMALL, *settings)
    return verbs.simulate("h200__flash_fwd", "llama3-8b", 512, settings=given, warm=warm)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("bandwidth", ["1 GB/s", "50 GB/s", "4800 GB/s"])
def test_no_bound_is_beaten(bandwidth: str, warm: bool) -> None:
    result = run(f"arch.levels.dram.bandwidth={bandwidth}", warm=warm).result
    assert result.bounds["cycles"] <= result.cycles


def test_what_must_be_read_binds_a_cold_run() -> None:
    result = run("arch.levels.dram.bandwidth=1 GB/s").result
    read = 3 * 4 * 512 * 128 * 2  # Q, K and V, 16 bits
    assert result.bounds["traffic_cycles"] * result.seconds / result.cycles == pytest.approx(
        read / 0.9e9, rel=0.15
    )


def test_memory_has_the_energy_of_what_the_cache_moves() -> None:
    settings = ("arch.levels.dram.energy.read=3 pJ", "arch.levels.dram.energy.write=5 pJ")
    result = run(*settings, "arch.levels.l2.capacity=128 KiB").result
    moved = result.traffic_bytes["dram"]
    assert moved["write"] > 0
    expected = (3 * moved["read"] + 5 * moved["write"]) / 32
    assert result.energy_by_part_pj["dram"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "setting",
    [
        'arch.levels.l2.latency="2e7 s"',
        'arch.levels.dram.latency="4e8 s"',
        'arch.launch.cost="1e30 us"',
        'arch.launch.start="1e30 us"',
        'arch.levels.dram.bandwidth="1e-1 B/s"',
    ],
)
def test_times_beyond_64_bits_are_refused(setting: str) -> None:
    with pytest.raises(AccelsimError, match="does not fit 64-bit time"):
        run(setting)
