"""Whole GPUs: what their files say in cycles, exactly, and what other machines have none of."""

from __future__ import annotations

from fractions import Fraction
from math import isclose
from pathlib import Path

import pytest

from accelsim import arch, spec

# SMs, clock in MHz, dense fp16 TFLOP/s of the datasheet and the clock it is given at, GB/s of it.
GPUS = {
    "a100": (108, 1410, 312, 1410, 2039),
    "h100": (132, 1948, 989.5, 1830, 3350),
    "h200": (132, 1948, 989.5, 1830, 4800),
}
SLOWED = {"a100": Fraction("0.76"), "h100": Fraction("0.7134"), "h200": Fraction("0.7134")}
MICROSECOND = Fraction(1, 10**6)


def machine(name: str, *changes: tuple[tuple[str, ...], object]) -> arch.Machine:
    return arch.build(spec.load(name, "arch", changes))


@pytest.mark.parametrize("name", GPUS)
def test_rates_are_those_of_the_datasheet(name: str) -> None:
    sms, clock, tera, at, giga = GPUS[name]
    gpu = machine(name)
    units = {unit.name: unit for unit in gpu.units}
    assert (gpu.clusters, gpu.clock_hz) == (sms, clock * 10**6)
    assert isclose(2 * units["tensor_core"].instances * sms * at * 1e6, tera * 1e12, rel_tol=1e-3)
    assert gpu.outermost.bandwidth == Fraction(giga * 10**9, clock * 10**6) * Fraction(85, 100)


@pytest.mark.parametrize("name", GPUS)
def test_bytes_a_cycle_of_a_cluster(name: str) -> None:
    gpu = machine(name)
    shared = gpu.level("shared")
    assert shared is not None
    assert gpu.cache is not None
    assert shared.bandwidth == 32 * 4
    together = gpu.cache.level.bandwidth
    assert together is not None
    assert gpu.cache.port is not None
    # The A100's whitepaper: 5120 bytes a cycle; a port is its cluster's share of what is reached.
    assert 0.6 * 5120 < together < 5120
    assert isclose(together, gpu.clusters * gpu.cache.port, rel_tol=1e-3)


@pytest.mark.parametrize("name", GPUS)
def test_latencies_are_those_measured(name: str) -> None:
    gpu = machine(name)
    assert gpu.cache is not None
    # Of the near partition and the far.
    mean = (211 + 424) / 2 if name == "a100" else (265.5 + 475) / 2
    assert isclose(gpu.cache.level.latency, mean, rel_tol=2e-3)
    # In nanoseconds: the memory has a clock of its own.
    beyond = {"a100": (570 - 317.5) / 1.410, "h100": (650 - 370.25) / 1.755}
    found = gpu.outermost.latency / gpu.clock_hz * 10**9
    assert isclose(found, beyond.get(name, beyond["h100"]), rel_tol=5e-3)


@pytest.mark.parametrize("name", GPUS)
def test_launches_and_limits(name: str) -> None:
    gpu = machine(name)
    clock = gpu.clock_hz
    start = Fraction("1.734") if name == "a100" else Fraction("1.255")
    micros = (4, start, 0)
    assert gpu.launch == arch.LaunchCost(*(one * MICROSECOND * clock for one in micros))
    assert gpu.limits == arch.Limits(65536, 2048, 32, 1024)


@pytest.mark.parametrize("name", GPUS)
def test_what_units_slow_and_instructions_reach(name: str) -> None:
    gpu = machine(name)
    both = (("tensor_core", SLOWED[name]), ("shared", SLOWED[name]))
    assert {unit.name: unit.slows for unit in gpu.units} == {
        "tensor_core": (),
        "vector": both,
        "sfu": both,
    }
    rates = {one.name: one.rate for unit in gpu.units for one in unit.instructions}
    hopper = {"wgmma": 1, "wgmma_fp8": 2, "mma": Fraction("0.4694"), "ex2": 1}
    assert rates == ({"mma": 1, "ex2": 1} if name == "a100" else hopper)


@pytest.mark.parametrize("name", sorted(set(spec.names("arch")) - set(GPUS)))
def test_other_machines_have_none_of_it(name: str) -> None:
    document = spec.load(name, "arch")
    other = arch.build(document)
    assert (other.launch, other.limits, other.cache) == (None, None, None)
    assert all(unit.slows == () for unit in other.units)
    assert all(one.rate == 1 for unit in other.units for one in unit.instructions)
    given = next(iter(document.spec.levels.values())).bandwidth
    assert given is not None
    assert other.outermost.bandwidth == given / other.clock_hz
    assert all(level.bandwidth is None for level in other.levels[1:])


@pytest.mark.parametrize(
    ("written", "share"),
    [(0.1, Fraction(1, 10)), (1, Fraction(1)), ("1/3", Fraction(1, 3)), ("1e-1", Fraction(1, 10))],
)
def test_shares_are_exact(written: object, share: Fraction) -> None:
    slows = ("units", "sfu", "slows", "tensor_core")
    gpu = machine("h100", (("levels", "l2", "reached"), written), (slows, written))
    sfu = gpu.unit("sfu")
    assert gpu.cache is not None
    assert sfu is not None
    assert gpu.cache.level.bandwidth == share * 9700 * 10**9 / gpu.clock_hz
    assert dict(sfu.slows)["tensor_core"] == share
    # A port is given as it is reached.
    assert gpu.cache.port == Fraction("73.48") * 10**9 / gpu.clock_hz


def test_a_cache_alone_makes_it_a_machine_that_launches() -> None:
    assert machine("h100", (("clusters",), 1)).launch is not None
    without = machine(
        "h100", (("levels", "l2", "port"), None), (("levels", "l2", "bandwidth"), None)
    )
    assert without.cache is not None
    assert (without.cache.port, without.cache.level.bandwidth) == (None, None)


CASE = Path(__file__).parent.parent / "errors" / "cases" / "arch_launch_of_one_cluster.yaml"


def test_clusters_without_a_cache_launch_too(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(CASE.read_text().replace("launch:", "clusters: 4\nlaunch:"))
    tiny = arch.build(spec.load(str(path), "arch"))
    assert (tiny.clusters, tiny.cache) == (4, None)
    assert tiny.launch == arch.LaunchCost(Fraction(4000), Fraction(1000), Fraction(1000))
