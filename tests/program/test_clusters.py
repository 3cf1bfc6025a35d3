"""What a launch adds to a Program, against what the made-up GPU's file and a kernel's tiles say.

A clock of 1 GHz and 256 ticks to a cycle: 256 ticks are a nanosecond. Tiles of 64 x 64 values of 2
bytes, of which an instance of 128 threads in groups of 32 shares out the rows.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from accelsim import verbs
from accelsim.errors import MappingError
from accelsim.program import Program, Server
from accelsim.program.launch import Channel, Hold, Launch, Memory
from tests.launches.test_made_up import MADE_UP

NS = 256
TENSOR, VECTOR, SFU, SHARED, PORT, L2, DRAM = range(7)
TILE = 64 * 64 * 2
SHAPE = (
    *(f"workload.ranks.{rank}=1" for rank in "BHG"),
    *(f"workload.ranks.{rank}=64" for rank in "EF"),
    "mapping.partition.M.M0=64",
    "mapping.partition.P.P0=64",
    "mapping.phases.flash_fwd.launch={grid: [B, H, P1], threads: 128, resident: 1}",
    f"mapping.arch={MADE_UP}",
)


def run(keys: int, *settings: str) -> verbs.Run:
    return verbs.simulate(
        "h200__flash_fwd", "flash_benchmark", keys, settings=(*SHAPE, *settings), record=1000
    )


def lowered(*settings: str) -> Program:
    return run(256, *settings).program


def test_servers_and_channels() -> None:
    made = lowered()
    units = (("tensor_core", 16 * 8 * 8), ("vector", 64), ("sfu", 16))
    assert made.servers == (
        *(Server(name, "unit", instances, shared=False) for name, instances in units),
        *(Server(name, "channel", shared=False) for name in ("shared", "l2_port")),
        *(Server(name, "channel") for name in ("l2", "dram")),
    )
    expected = Memory(
        outer=Channel(DRAM, NS / Fraction(100), 300 * NS),
        inner=(Channel(SHARED, NS / Fraction(128)),),
        port=Channel(PORT, NS / Fraction(64)),
        cache=Channel(L2, NS / Fraction(400)),
        capacity_bytes=256 << 10,
        cache_latency=100 * NS,
    )
    assert (made.clusters, made.memory) == (8, expected)
    halves = lowered("arch.levels.l2.partitions=2").memory
    assert halves is not None
    assert halves.partitions == 2


@pytest.mark.parametrize("schedule", ["grid", "static", "dynamic"])
def test_the_launch(schedule: str) -> None:
    given = f"{{grid: [B, H, P1], threads: 128, resident: 3, overlap: true, schedule: {schedule}}}"
    made = lowered(f"mapping.phases.flash_fwd.launch={given}").phases[0].launch
    costs = {"cost": 1000 * NS, "start": 100 * NS, "next": 50 * NS}
    assert made == Launch(grid=3, slots=3, schedule=schedule, in_order=False, **costs)  # type: ignore[arg-type]


def test_without_overlap_einsums_are_done_one_at_a_time() -> None:
    launch = lowered().phases[0].launch
    assert launch is not None
    assert launch.in_order


ROOMY = "arch.levels.shared.capacity=1 MiB"
HELD = 5 * TILE  # queries once, keys and values twice: 40 KiB


@pytest.mark.parametrize(
    ("threads", "settings", "most"),
    [
        ("threads: 128", (), (128 << 10) // HELD),
        ("threads: 128", ("arch.limits.reserved=8 KiB",), (136 << 10) // (HELD + (8 << 10))),
        ("threads: 128", (ROOMY,), 8),
        ("threads: 32", (ROOMY,), 8),
        ("threads: 32", (ROOMY, "arch.limits.instances=20"), 20),
        ("threads: 256", (ROOMY,), 1024 // 256),
        ("threads: 128, loaders: 128", (ROOMY,), 1024 // 256),
        ("threads: 128, registers: 100", (ROOMY,), 65536 // (128 * 100)),
        ("threads: 128, loaders: 64, registers: 100", (ROOMY,), 65536 // (192 * 100)),
        ("threads: 128, resident: 6", (), 6),
    ],
)
def test_as_many_instances_as_fit_or_as_asked_for(
    threads: str, settings: tuple[str, ...], most: int
) -> None:
    given = f"mapping.phases.flash_fwd.launch={{grid: [B, H, P1], {threads}}}"
    made = lowered(given, *settings)
    launch = made.phases[0].launch
    assert launch is not None
    assert launch.slots == most
    crowded = [note for note in made.notes if "instances on a cluster" in note]
    expected = "phase flash_fwd: 6 instances on a cluster, as the mapping says; the bytes of shared"
    assert crowded == ([f"{expected} allow 3"] if "resident" in threads else [])


def test_an_instance_that_does_not_fit() -> None:
    given = "mapping.phases.flash_fwd.launch={grid: [B, H, P1], threads: 2048}"
    with pytest.raises(MappingError, match="its threads allow no instance on a cluster"):
        lowered(given)


def test_what_einsums_occupy_and_slow() -> None:
    tasks = {task.name: task for task in lowered().phases[0].tasks}
    products = 64**3 // (16 * 8 * 8) * NS
    # Each of 4 groups of threads reads the whole of what lacks the rows: keys, values.
    reads = {"QK": TILE + 4 * TILE, "SLNV": 4 * TILE}
    for name, size in reads.items():
        task = tasks[name]
        assert (task.occupancy, task.slows) == (products, ())
        assert task.also == (Hold(SHARED, size // 128 * NS),)
    for name, server, cycles in (("LM", VECTOR, 64), ("SLN", SFU, 2 * 256)):  # max; exp, sub
        task = tasks[name]
        assert (task.server, task.occupancy, task.also) == (server, cycles * NS, ())
        assert task.slows == (Hold(TENSOR, task.occupancy // 2),)


def test_ticks_are_rounded_up() -> None:
    tasks = {
        task.name: task for task in lowered("arch.levels.shared.bandwidth=100 GB/s").phases[0].tasks
    }
    assert tasks["QK"].also == (Hold(SHARED, -(-5 * TILE * NS // 100)),)


def test_latencies_of_loads_are_those_of_the_memory() -> None:
    phase = lowered().phases[0]
    of_loads = [e for e in phase.edges if phase.tasks[e.producer].kind == "load"]
    assert of_loads
    assert not any(edge.latency for edge in of_loads)


def test_one_instance_by_hand() -> None:
    """A tile of keys for a tile of queries: a chain."""
    port, off_chip = TILE // 64, 100 + 300  # a transfer takes that of the port, the slowest
    loaded = 1000 + 2 * port + off_chip  # queries, keys
    scored = loaded + 5 * TILE // 128  # the operands come slower than the products
    weights = 64 + 4 + 32 + 512 + 64 + 4 + 4  # LM RM PRM SLN SLD SPD RD
    done = scored + weights + 4 * TILE // 128 + 64 + 0 + 64  # SLNV SPNV RNV AV
    assert run(64).result.cycles == done + port + 64 * 4 // 64  # AV and LSE leave


@pytest.mark.parametrize(
    ("setting", "later"),
    [
        ("arch.launch.cost=3 us", 2000),
        ("arch.levels.dram.latency=400 ns", 100),
        ("arch.levels.l2.latency=150 ns", 50),
        # Units are free 2000 ns after the launch; by then keys are there and operands were read.
        ("arch.launch.start=2 us", 2000 - 2 * TILE // 64 - 400 + 64**3 // 1024 - 5 * TILE // 128),
    ],
)
def test_what_delays_it_delays_it_by_as_much(setting: str, later: int) -> None:
    assert run(64, setting).result.cycles == run(64).result.cycles + later


def test_instances_begin_in_the_order_of_the_grid() -> None:
    """Of 16 on 8 clusters, the first takes the first and, as all are alike, the ninth."""
    made = run(1024)
    record = made.execution.phases[0].record
    tiles = dict.fromkeys(int(block) for block in record.coordinates[:, 2])
    assert list(tiles) == [0, 8]
