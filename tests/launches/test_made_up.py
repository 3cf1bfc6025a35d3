"""A GPU that nobody builds and FuseMax's array, through the same code: nothing is known by name."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import pytest

from accelsim import verbs
from accelsim.results import Result

MADE_UP = Path(__file__).parent / "machines" / "made_up.yaml"
KEYS, WIDTH, HEADS = 1024, 64, 2
SHAPE = (
    *(f"workload.ranks.{rank}={HEADS}" for rank in "HG"),
    *(f"workload.ranks.{rank}={WIDTH}" for rank in "EF"),
    "mapping.partition.M.M0=64",
    "mapping.partition.P.P0=64",
    "mapping.phases.flash_fwd.launch={grid: [B, H, P1], threads: 128, resident: 1}",
    f"mapping.arch={MADE_UP}",
)
IN_A_HEAD = 2 * KEYS * WIDTH * 2  # bytes of keys and values
COMPULSORY = HEADS * (IN_A_HEAD + KEYS * WIDTH * 2)


def run(*settings: str, mapping: str = "h200__flash_fwd", kind: str = "dense") -> Result:
    chosen = (*SHAPE, f"workload.kind={kind}", *settings)
    if mapping.endswith("heads"):
        chosen = tuple(one.replace("[B, H, P1]", "[B, P1, H]") for one in chosen)
    return verbs.simulate(mapping, "flash_benchmark", KEYS, settings=chosen).result


def test_a_made_up_gpu_and_fusemax_run_through_the_same_code() -> None:
    result = run()
    products = 2 * HEADS * KEYS * KEYS * WIDTH
    assert result.flops_per_second * result.seconds == pytest.approx(2 * products)
    tensor = products / (16 * 8 * 8) / 8
    assert result.busy_cycles["tensor_core"] == pytest.approx(tensor)
    assert result.utilization["tensor_core"] <= 1
    assert result.cycles > tensor
    fusemax = verbs.simulate("fusemax__attention_1pass", "bert", 1024).result
    assert fusemax.flops_per_second > 0
    assert "launch" not in fusemax.phases[0]


def dram_read(capacity_kib: int, **rest: str) -> int:
    result = run(f"arch.levels.l2.capacity={capacity_kib} KiB", **rest)
    read = result.traffic_bytes["dram"]["read"]
    assert isinstance(read, int)
    return read


def test_dram_reads_are_compulsory_below_the_knee_and_grow_past_it() -> None:
    """All 8 clusters pass over the keys of a head together: those of one have to stay."""
    assert dram_read(4096) == COMPULSORY
    reads = [dram_read(capacity) for capacity in (512, 256, 128, 64)]
    assert all(one <= other for one, other in pairwise(reads))
    assert reads[0] <= 1.1 * COMPULSORY
    assert reads[-1] > 1.3 * COMPULSORY


def test_heads_first_needs_the_keys_of_all_heads_to_stay() -> None:
    rows, heads = (
        dram_read(384, mapping=name) for name in ("h200__flash_fwd", "h200__flash_fwd_heads")
    )
    assert rows < heads


def test_dram_reads_of_one_cluster_are_those_of_a_plain_lru() -> None:
    """One cluster takes its instances in turn: the order of all that it asks for is known."""
    capacity = 96 << 10
    result = run("arch.clusters=1", f"arch.levels.l2.capacity={capacity} B")
    tile = 64 * WIDTH * 2
    held: OrderedDict[tuple[str, int, int], int] = OrderedDict()
    read = 0

    def ask(key: tuple[str, int, int], size: int, *, write: bool = False) -> None:
        nonlocal read
        if key not in held:
            read += 0 if write else size
            while sum(held.values()) + size > capacity:
                held.popitem(last=False)
            held[key] = size
        held.move_to_end(key)

    for head in range(HEADS):
        for block in range(KEYS // 64):
            ask(("Q", head, block), tile)
            for keys in range(KEYS // 64):
                ask(("K", head, keys), tile)
                ask(("V", head, keys), tile)
            ask(("AV", head, block), tile, write=True)
            ask(("LSE", head, block), 64 * 4, write=True)
    assert result.traffic_bytes["dram"]["read"] == read
