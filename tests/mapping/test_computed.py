"""Tensors read at computed indices: what a tile is, when it is shared, what it costs."""

from __future__ import annotations

import random
from itertools import product
from math import prod
from pathlib import Path

import pytest

from accelsim import cascade, spec, verbs
from accelsim.analysis.pieces import Numbers
from accelsim.cascade.whole import evaluate
from accelsim.errors import AccelsimError, MappingError
from accelsim.mapping import Loop
from accelsim.mapping.computed import reads
from accelsim.mapping.depend import Nesting
from accelsim.results import Result

GROUPED = "fusemax__attention_grouped"
APART = tuple(f"mapping.phases.attention.storage.{t}.keep=[]" for t in "KV")


def run(mapping: str, model: str, length: int | None, *settings: str) -> Result:
    return verbs.simulate(mapping, model, length, settings=settings).result


def keys_and_values(result: Result) -> int | float:
    moved = result.traffic_by_tensor["dram"]
    return moved["K"]["read"] + moved["V"]["read"]


@pytest.mark.parametrize("groups", [32, 16, 8, 4])
def test_a_group_shares_its_keys_only_where_the_mapping_says_so(groups: int) -> None:
    """32 heads, E = F = 128, 2048 keys of 2 bytes: each fetched once a group, or once a head."""
    of_a_head = 2 * 2048 * 128 * 2
    many = f"workload.ranks.G={groups}"
    shared = run(GROUPED, "llama3-8b", 2048, many)
    apart = run(GROUPED, "llama3-8b", 2048, many, *APART)
    assert keys_and_values(shared) == groups * of_a_head
    assert keys_and_values(apart) == 32 * of_a_head
    assert shared.traffic_by_tensor["dram"]["Q"] == apart.traffic_by_tensor["dram"]["Q"]


def test_as_many_groups_as_heads_is_plain_attention() -> None:
    one = run(GROUPED, "llama3-8b", 2048, "workload.ranks.G=32")
    plain = run("fusemax__attention_1pass", "llama3-8b", 2048)
    assert (one.cycles, one.energy_pj) == (plain.cycles, plain.energy_pj)


def test_heads_that_straddle_groups_share_nothing() -> None:
    with pytest.raises(MappingError, match="each iteration of H0 reads another tile of K"):
        run(GROUPED, "llama3-8b", 2048, "mapping.partition.H.H0=8")
    with pytest.raises(MappingError, match="32 is no multiple of 5"):
        run(GROUPED, "llama3-8b", 2048, "workload.ranks.G=5")


def test_all_heads_in_one_tile_share_all_groups() -> None:
    """No loop is over heads: a tile of K is that of all groups, and is loaded once for them."""
    settings = (
        *APART,
        "mapping.partition={M: {M1: rest, M0: 256}, P: {P2: rest, P1: 1, P0: 256}}",
        "mapping.phases.attention.loops=[B, P2, M1, P1]",
        *("workload.ranks.B=1", "workload.ranks.H=4", "workload.ranks.G=2"),
    )
    found = run(GROUPED, "llama3-8b", 2048, *settings)
    blocks_of_queries, of_a_group = 8, 2 * 2048 * 128 * 2
    assert keys_and_values(found) == blocks_of_queries * 2 * of_a_group


def test_decode_moves_each_key_once() -> None:
    settings = ("workload.kind=decode", "workload.ranks.B=3")
    found = run("fusemax__attention_grouped_decode", "llama3-8b", 32768, *settings)
    assert keys_and_values(found) == 2 * 3 * 8 * 32768 * 128 * 2
    assert found.bottleneck == "dram"
    assert found.cycles < 1.01 * found.bounds["cycles"]


def test_a_tile_that_reads_more_than_another_is_refused() -> None:
    """Of groups of two heads, three heads read two; of groups of three, two read one or two."""
    name = "fusemax__attention_grouped_decode"
    settings = ("workload.kind=decode", "workload.ranks.H=6", "workload.ranks.G=3")
    run(name, "llama3-8b", 2048, *settings, "mapping.partition.H.H0=3")
    with pytest.raises(MappingError, match="K: its tiles read 1 to 2 coordinates"):
        run(name, "llama3-8b", 2048, *settings, "workload.ranks.H=9", "mapping.partition.H.H0=2")


PAGED = """
cascade: paged
source: here
ranks: {B: sequences, N: pages of all sequences, E: width, M: keys of a sequence, P: queries}
partitions: {M: [M1, M0]}
tables: {pages: [B, M1]}
tensors: {Q: [B, E, P], K: [N, M0, E], Z: [B, M1, M0, P]}
outputs: [Z]
einsums: |
  Z[b,m1,m0,p] = Q[b,e,p] * K[pages[b,m1],m0,e]
"""
MAPPING = """
mapping: paged
source: here
arch: fusemax
cascade: paged.yaml
partition: {M: {M1: rest, M0: 16}}
phases:
  all:
    loops: [B, M1]
    einsums: {Z: {unit: array_2d, spatial: {rows: M0, cols: P}}}
    storage: {Q: {level: global_buffer}, K: {level: global_buffer, slots: 2}}
"""
WORKLOAD = """
workload: cache
source: here
ranks: {B: 2, N: 5, E: 8, M: 48, M1: 3, P: 1}
tables: {pages: [[4, 0, 1], [0, 2, 3]]}
"""


@pytest.fixture
def paged(tmp_path: Path) -> Path:
    for name, text in (("paged", PAGED), ("mapping", MAPPING), ("cache", WORKLOAD)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def test_pages_are_fetched_through_their_table(paged: Path) -> None:
    found = run(str(paged / "mapping.yaml"), str(paged / "cache.yaml"), None)
    assert found.traffic_by_tensor["dram"]["K"]["read"] == 2 * 3 * 16 * 8 * 2
    assert found.bounds["traffic_bytes"] == (5 * 16 * 8 + 2 * 8 + 2 * 48) * 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[0, 2, 3]", "[0, 2, 5]", "5"),
        ("[[4, 0, 1], [0, 2, 3]]", "[4, 0, 1]", "pages"),
        ("tables: {pages: [[4, 0, 1], [0, 2, 3]]}", "", "does not give the table pages"),
    ],
)
def test_tables_that_do_not_fit(paged: Path, old: str, new: str, message: str) -> None:
    path = paged / "cache.yaml"
    path.write_text(WORKLOAD.replace(old, new))
    with pytest.raises(AccelsimError, match=message):
        run(str(paged / "mapping.yaml"), str(path), None)


def test_reads_are_those_of_each_point() -> None:
    """Random indices over cut ranks, against sets of coordinates."""
    steady = 0
    for seed in range(300):
        rng = random.Random(seed)
        h0, h1, q0, q1 = (rng.randint(1, 4) for _ in range(4))
        index = rng.choice(
            ["h // {}", "(h + q) // {}", "h * 2 // {}", "(q + h * 3) % {}", "q % {}"]
        )
        text = f"""
cascade: c
source: here
ranks: {{H: h, Q: q, G: g, E: e}}
tensors: {{K: [G, E], A: [H, Q], Z: [H, Q, E]}}
outputs: [Z]
einsums: |
  Z[h,q,e] = A[h,q] * K[{index.format(rng.randint(1, 4))},e]
"""
        built = cascade.build(spec.load_text(text, "cascade"))
        einsum = built.einsum("Z")
        extents = {"H1": h1, "H0": h0, "Q1": q1, "Q0": q0, "G": 99, "E": 5}
        parts = {"H": ("H1", "H0"), "Q": ("Q1", "Q0"), "G": ("G",), "E": ("E",)}
        loops = tuple(Loop(r, extents[r]) for r in rng.choice([("H1", "Q1"), ("H1", "H0", "Q1")]))
        nesting = Nesting(built, loops, parts, (einsum,))
        shapes = {"H": h1 * h0, "Q": q1 * q0, "G": 99, "E": 5}
        (found,) = reads(nesting, einsum.inputs[1], extents, Numbers(shapes, {}))
        highest = int(found.value.max())
        if highest:
            with pytest.raises(AccelsimError, match=rf"it is \d+, outside of G = {highest}"):
                reads(nesting, einsum.inputs[1], extents, Numbers({**shapes, "G": highest}, {}))

        seen: dict[tuple[int, ...], set[int]] = {}
        whole = einsum.inputs[1].indices[0].whole  # type: ignore[union-attr]
        for a, b, c, d in product(range(h1), range(h0), range(q1), range(q0)):
            at = {"H1": a, "H0": b, "Q1": c, "Q0": d}
            tile = tuple(at[loop.rank] for loop in loops)
            value = int(evaluate(whole, {"h": a * h0 + b, "q": c * q0 + d}, {}))
            seen.setdefault(tile, set()).add(value)
        assert prod(loop.trips for loop in loops) == len(seen)
        sizes = {len(values) for values in seen.values()}
        every = tuple(range(len(loops)))
        if len(sizes) == 1:
            assert found.elements(every) == sizes.pop() * 5
        else:
            with pytest.raises(AccelsimError, match="its tiles read"):
                found.elements(every)
        for loop in found.loops:
            along: dict[tuple[int, ...], list[set[int]]] = {}
            for tile, values in seen.items():
                along.setdefault(tile[:loop] + tile[loop + 1 :], []).append(values)
            same = all(values == row[0] for row in along.values() for values in row)
            assert found.steady_along(loop) == same
            steady += same
    assert 100 < steady < 700
