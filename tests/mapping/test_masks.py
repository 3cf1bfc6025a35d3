"""Masks: the tiles that a predicate leaves are visited, each once, and cost what they cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accelsim import engine, verbs
from accelsim.errors import MappingError
from accelsim.program import Program
from accelsim.program.unroll import tiles
from accelsim.spec import data_root

MASKED = "fusemax__attention_1pass_window"
FAST = "arch.levels.dram.bandwidth=30801920000000 B/s"  # one 32 KiB tile in a cycle of 940 MHz


def lowered(name: str, seq_len: int, *settings: str) -> Program:
    return verbs.simulate(name, "bert", seq_len, settings=settings).program


@pytest.fixture
def one_at_a_time(tmp_path: Path) -> str:
    """The serial mapping of FuseMax, for the masked cascade."""
    shipped = data_root() / "archs/mappings/fusemax__attention_1pass_serial.yaml"
    path = tmp_path / "serial.yaml"
    cascade = "\ncascade: attention_1pass\n"
    path.write_text(shipped.read_text().replace(cascade, cascade[:-1] + "_window\n"))
    return str(path)


@pytest.mark.parametrize("heads", [1, 6])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 19])
def test_causal_takes_its_triangle(one_at_a_time: str, n: int, heads: int) -> None:
    """n tiles a side: n(n+1)/2 of them run. One after the other, each takes (at E = F = 64)

        QK 64, LM 1, drain 256, RM 1, then the 72 cycles of SLN, SLD, SLNV beside PRM, SPD, SPNV,
        RD 1, RNV 64: 459, and 1 more for the mask of the n tiles on the diagonal.

    Before: Q and K, 1 cycle each. After: AV of the last P tile, 64, and its store, 1. AV runs
    beside the next tile, but once: the first P tile is done after one tile of M, and the channel,
    in order, takes its AV to memory (64 + 1) before it fetches the second tile of Q (1).
    """
    many = (f"workload.ranks.H={heads}", "workload.ranks.B=1", FAST)
    made = lowered(one_at_a_time, 256 * n, *many)
    triangle = n * (n + 1) // 2

    ran = engine.run(made, "steady")

    executed = dict(
        zip([t.name for t in made.phases[0].tasks], ran.phases[0].executed, strict=True)
    )
    assert executed["QK"] == executed["RNV"] == heads * triangle
    assert executed["AV"] == executed["mask QK"] == heads * n
    second_q = 66 if n > 1 else 0
    cycles = 2 + heads * (459 * triangle + n) + second_q + 64 + 1
    assert ran.ticks == cycles * made.ticks_per_cycle
    assert ran.ticks == engine.run(made, "compiled").ticks
    if n < 8:
        assert ran.ticks == engine.run(made, "reference").ticks


def test_causal_with_two_tiles_in_flight() -> None:
    """The 1D array never waits once it has begun: 138 cycles a tile, and 64 of AV a P tile."""
    rest = set()
    for n in (3, 5, 16, 40):
        for heads in (1, 5):
            many = (f"workload.ranks.H={heads}", "workload.ranks.B=1", FAST)
            made = lowered(MASKED, 256 * n, *many)
            ran = engine.run(made, "steady")
            assert ran.ticks == engine.run(made, "compiled").ticks
            rest.add(ran.ticks - heads * (138 * n * (n + 1) // 2 + 64 * n) * made.ticks_per_cycle)
    assert len(rest) == 1
    assert 0 < rest.pop() < 256 * made.ticks_per_cycle


@pytest.mark.parametrize(
    ("window", "sinks", "offset"), [(1, 0, 0), (300, 0, 0), (512, 0, 0), (700, 5, 256), (90, 0, 33)]
)
def test_tiles_are_those_of_the_predicate(window: int, sinks: int, offset: int) -> None:
    """Against every point of the mask, P outside of M."""
    n = 1280
    settings = (
        "workload.ranks.B=1", "workload.ranks.H=1", f"workload.ranks.M={n + offset}",
        f"workload.parameters={{window: {window}, sinks: {sinks}, offset: {offset}}}",
        "mapping.phases.attention.loops=[B, H, P2, P1, M1]",
        "mapping.phases.attention.storage.Q.keep=[]",
    )  # fmt: skip
    made = lowered(MASKED, n, *settings)
    p, m = np.ogrid[:n, : n + offset]
    seen = (m <= p + offset) & ((p + offset - m < window) | (m < sinks))
    padded = np.zeros((n, -(-(n + offset) // 256) * 256), np.bool_)
    padded[:, : n + offset] = seen
    whole = np.zeros_like(padded)
    whole[:, : n + offset] = True
    expected = {}
    for tile in np.ndindex(n // 256, padded.shape[1] // 256):
        at = tuple(slice(256 * c, 256 * c + 256) for c in tile)
        if padded[at].any():
            expected[tile] = not padded[at][whole[at]].all()

    names = [loop.name for loop in made.phases[0].loops]
    found = {}
    for tile in tiles(made.phases[0]):
        at = dict(zip(names, tile.coordinates, strict=True))
        p1 = at["P2"] * made.phases[0].loops[names.index("P1")].trips + at["P1"]
        found[p1, at["M1"]] = bool(tile.marks & 1)
    assert found == expected
    assert engine.run(made, "steady").ticks == engine.run(made, "compiled").ticks
    assert engine.run(made, "reference").ticks == engine.run(made, "compiled").ticks


def test_a_gap_needs_the_other_loop_order() -> None:
    with pytest.raises(MappingError, match="left out by the mask and visited again later in M1"):
        lowered(MASKED, 4096, "workload.parameters={window: 512, sinks: 4}")


def test_a_query_without_keys_is_refused() -> None:
    with pytest.raises(MappingError, match="leaves nothing of tile P2 0, P1 0"):
        lowered(MASKED, 1024, "workload.parameters={offset: -256}")


def test_long_sequences_execute_few_tasks() -> None:
    made = lowered(MASKED, 1 << 18)
    ran = engine.run(made, "steady")
    tiles_run = 768 * 1024 * 1025 // 2
    assert ran.phases[0].executed[[t.name for t in made.phases[0].tasks].index("QK")] == tiles_run
    assert ran.phases[0].extrapolation is not None
    assert ran.phases[0].extrapolation.executed < ran.tasks / 5_000


def test_points_are_left_out_by_the_first_unit_that_can() -> None:
    """Tensor cores cannot select: the lanes that read their scores do."""
    small = ("workload.ranks.B=1", "workload.ranks.H=1")
    found = verbs.simulate("gpu_like__attention_1pass_window", "bert", 1024, settings=small).result
    diagonal = 2 * 1024 // 128  # of tiles of 128 queries x 64 keys
    assert found.phases[0]["tasks"]["mask QK"] == diagonal
    assert found.actions["vector"]["mask"] == {"LM": diagonal * 128 * 64}
    whole = verbs.simulate("gpu_like__attention_1pass", "bert", 1024, settings=small).result
    tiles = found.phases[0]["masks"][0]["visited"] / found.phases[0]["masks"][0]["of"]
    of_tiles = sum(n for op in ("max", "add", "mul") for n in found.actions["vector"][op].values())
    dense = sum(n for op in ("max", "add", "mul") for n in whole.actions["vector"][op].values())
    assert of_tiles == tiles * dense
