"""Nothing of the answer is in the code: change the machine, and the answer follows it."""

from __future__ import annotations

from accelsim import verbs
from accelsim.results import Result

MAPPING = "fusemax__attention_1pass"
SMALL = ("workload.ranks.B=2", "workload.ranks.H=2")
HEADS = 4
STARTUP = 1000
"""Cycles of filling and emptying the pipeline, once per run, that closed forms leave out."""


def run(seq_len: int, *settings: str, mapping: str = MAPPING) -> Result:
    return verbs.simulate(mapping, "bert", seq_len, settings=(*SMALL, *settings)).result


def near(result: Result, cycles: float) -> bool:
    return cycles <= result.cycles <= cycles + STARTUP


def test_as_shipped() -> None:
    assert near(run(4096), HEADS * (256 * 138 + 16 * 64))


def test_a_smaller_array_has_more_tiles() -> None:
    result = run(4096, "arch.units.array_2d.shape.rows=128", "arch.units.array_2d.shape.cols=128")

    assert near(result, HEADS * (1024 * 138 + 32 * 64))
    assert 0.49 < result.active["array_1d"] < 0.51  # tiles of 128 on 256 lanes


def test_fewer_lanes_fold_the_vector_work() -> None:
    result = run(4096, "arch.units.array_1d.shape.lanes=128")

    assert near(result, HEADS * (256 * 138 + 16 * 64) * 2)
    assert result.bottleneck == "array_1d"


def test_a_slower_clock_takes_longer_but_not_more_cycles() -> None:
    fast, slow = run(4096), run(4096, "arch.clock=470 MHz")

    assert abs(slow.cycles - fast.cycles) < STARTUP
    assert 1.98 < slow.seconds / fast.seconds < 2.02


def test_a_narrower_head_leaves_the_array_idle() -> None:
    wide, narrow = run(4096), run(4096, "workload.ranks.E=32")

    assert abs(narrow.cycles - wide.cycles) < STARTUP  # the 1D array does not see E
    assert wide.busy_cycles["array_2d"] - narrow.busy_cycles["array_2d"] == HEADS * 256 * 32


def test_a_dearer_exp_is_paid_on_both_arrays() -> None:
    result = run(4096, "arch.units.array_1d.operations.exp.uses.mac=16")

    assert near(result, HEADS * (256 * 148 + 16 * 64))


def test_a_slow_memory_becomes_the_bottleneck() -> None:
    result = run(4096, "arch.levels.dram.bandwidth=4 GiB/s")

    bytes_moved = sum(result.traffic_bytes["dram"].values())
    assert result.bottleneck == "dram"
    assert bytes_moved / (4 * 2**30) <= result.seconds < bytes_moved / (4 * 2**30) * 1.02
    assert result.wait_cycles["array_2d"]["bandwidth"] > 0.8 * result.cycles


def test_a_smaller_buffer_fetches_keys_and_values_again() -> None:
    whole, halved = run(16384), run(16384, "arch.levels.global_buffer.capacity=4 MiB")

    once = HEADS * 16384 * 64 * 2
    assert whole.traffic_by_tensor["dram"]["K"]["read"] == once
    assert halved.traffic_by_tensor["dram"]["K"]["read"] == 2 * once
    assert halved.traffic_by_tensor["dram"]["Q"]["read"] == once
    assert halved.buffers["global_buffer"]["reserved_bytes"] <= 4 * 2**20


def test_dearer_memory_costs_energy_not_time() -> None:
    cheap, dear = run(1024), run(1024, "arch.levels.dram.energy.read=499.2 pJ")

    accesses = cheap.traffic_bytes["dram"]["read"] / 8
    assert dear.cycles == cheap.cycles
    assert abs(dear.energy_pj - cheap.energy_pj - accesses * 249.6) < 1e-6 * cheap.energy_pj


def test_one_tile_at_a_time_takes_each_tile_alone() -> None:
    """QK 64, LM 1, drain 256, RM 1, then the 1D array: PRM 7, SPD 1, SPNV 64, RD 1, RNV 64."""
    serial = f"{MAPPING}_serial"
    assert near(run(4096, mapping=serial), HEADS * 256 * (64 + 1 + 256 + 1 + 137))

    drained_less = run(4096, "mapping.phases.attention.einsums.LM.drain=56", mapping=serial)
    assert near(drained_less, HEADS * 256 * (64 + 1 + 56 + 1 + 137))


def test_without_a_drain_one_tile_at_a_time_is_still_slower_than_two() -> None:
    undrained = ("mapping.phases.attention.einsums.LM.drain=0",)
    result = run(4096, *undrained, mapping=f"{MAPPING}_serial")

    assert near(result, HEADS * 256 * (64 + 1 + 1 + 137))
    assert result.cycles > 1.4 * run(4096).cycles
