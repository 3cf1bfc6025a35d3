"""Instances of a launch, states off chip, copies, edges: what a mapping says of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.engine import compiled
from accelsim.program import Phase
from accelsim.program.visits import executed
from accelsim.results.launches import launches
from tests.launches import walks
from tests.launches.drawn import DRAWN, built, flash_fwd
from tests.launches.walks import Seen, Walk

SOME = settings(max_examples=60, derandomize=True, deadline=None, database=None)
LINEAR = {"b": 2, "h": 3, "t": 10, "e": 2, "f": 7, "chunk": 4, "f0": 2}


def runs(phase: Phase) -> dict[str, int]:
    """How often each Einsum is done."""
    counted = zip(phase.tasks, executed(phase), strict=True)
    return {task.name: number for task, number in counted if task.kind == "einsum"}


def test_instances_share_nothing() -> None:
    """Scores do not depend on the columns of V: each instance makes its own all the same."""
    walk = walks.lightning(**LINEAR)
    heads, columns, chunks = 2 * 3, 4, 3
    found = runs(built(walk)[1].phases[0])
    assert set(found.values()) == {heads * columns * chunks}
    alone = replace(walk, settings={**walk.settings, "phases.lightning.launch": None})
    once = {name for name, n in runs(built(alone)[1].phases[0]).items() if n == heads * chunks}
    assert once >= {"QK", "QKD", "KD"}
    assert not once & {"INTRA", "INTER", "O", "NEW", "KV"}


def test_copies_do_the_same_work_again() -> None:
    walk = walks.flash_fwd(b=1, h=2, g=1, p=9, m=11, d=4, p0=4, m0=4, seen=Seen(2))
    more = {"phases.flash_fwd.einsums.RD.copies": 12}  # 4 as shipped
    (plain, one), (other, two) = (
        built(w) for w in (walk, replace(walk, settings={**walk.settings, **more}))
    )
    counts, thrice = (launches(*made)[0].operations["vector"]["add"] for made in
                      ((plain, one), (other, two)))  # fmt: skip
    assert thrice == {**counts, "RD": 3 * counts["RD"]}
    busy, longer = (
        {task.name: task.occupancy for task in made.phases[0].tasks} for made in (one, two)
    )
    assert longer == {**busy, "RD": 3 * busy["RD"]}


@given(DRAWN["flash1"], st.integers(1, 3), st.sampled_from(("4800 GB/s", "1 GB/s")))
@SOME
def test_states_go_out_before_they_come_back(walk: Walk, slots: int, bandwidth: str) -> None:
    """And come back before they are used: of each block, in each visit."""
    slot = {f"phases.flash1.storage.{tensor}.slots": slots for tensor in "QKV"}
    changes = (("levels.dram.bandwidth", bandwidth),)
    phase = built(replace(walk, settings={**walk.settings, **slot}), *changes)[1]
    record = compiled.run(phase, None).phases[0].record
    names = [task.name for task in phase.phases[0].tasks]
    done: dict[tuple[int, ...], dict[str, dict[int, tuple[int, int]]]] = {}
    rows = zip(record.task, record.coordinates.tolist(), record.start, record.end, strict=True)
    for task, (batch, head, j, i), start, end in rows:
        of = done.setdefault((batch, head, i), {name: {} for name in names})
        of[names[task]][j] = int(start), int(end)
    for block in done.values():
        visits = list(block["QK"])
        for state, reader in (("RM", "RM"), ("RD", "SPD"), ("O", "SPO")):
            out, back = block[f"spill {state}"], block[f"refill {state} for {reader}"]
            assert list(out) == visits[:-1]
            assert list(back) == visits[1:]
            for before, after in pairwise(visits):
                assert block[state][before][1] <= out[before][0]
                assert out[before][1] <= back[after][0]
                assert back[after][1] <= block[reader][after][0]


@given(flash_fwd())
@SOME
def test_states_off_chip_where_tiles_of_keys_are_innermost(walk: Walk) -> None:
    states = {
        f"phases.flash_fwd.storage.{state}": {"level": "registers", "off_chip": True}
        for state in ("RM", "RD", "RNV")
    }
    mapped, lowered = built(replace(walk, settings={**walk.settings, **states}))
    found = launches(mapped, lowered)[0].requests
    visits: Counter[tuple[int, ...]] = Counter(a.step[:3] for a in walk.launches[0]
                                               if a.tensor == "K")  # fmt: skip
    rows = {a.step[:3]: a.size // 4 for a in walk.launches[0] if a.tensor == "LSE"}
    moved = sum((visits[instance] - 1) * rows[instance] for instance in rows) * walk.word
    if moved:
        each = {"RM": moved, "RD": moved, "RNV": moved * walk.shapes["F"]}
        assert {s: found[s] for s in each} == {s: {"read": n, "write": n} for s, n in each.items()}
    else:
        assert not {"RM", "RD", "RNV"} & found.keys()


@given(
    st.fixed_dictionaries({name: st.integers(1, 3) for name in ("b", "g", "r", "d", "p1", "p2")}),
    st.integers(1, 20),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from((None, ["B"], ["B", "H1"], ["B", "H1", "P2"])),
    st.data(),
)
@SOME
def test_masked_edges_with_stages_kept_tiles_and_loops_in_an_instance(
    n: dict[str, int],
    m: int,
    m0: int,
    p0: int,
    slots: int,
    grid: list[str] | None,
    data: st.DataObject,
) -> None:
    """Loops B, H1, P2, M1, H0, P1: keys once for all heads of a group and P1, queries once."""
    parts = n["p1"] * n["p2"]
    p = data.draw(st.integers((parts - 1) * p0 + 1, parts * p0))
    changes: dict[str, Any] = {"edges": "masked", "partition.M.M0": m0}
    changes["partition.P"] = {"P2": "rest", "P1": n["p1"], "P0": p0}
    changes["phases.attention.launch"] = grid and {"grid": grid, "threads": 32}
    changes |= {f"phases.attention.storage.{tensor}.slots": slots for tensor in "QKV"}
    heads, d = n["g"] * n["r"], n["d"]
    shapes = {"B": n["b"], "H": heads, "G": n["g"], "P": p, "M": m, "E": d, "F": d}
    made = built(Walk("fusemax__attention_grouped", changes, shapes, [], []))
    keys = {"read": n["b"] * n["g"] * n["p2"] * m * d * 2, "write": 0}
    queries = n["b"] * heads * p * d * 2
    assert launches(*made)[0].requests == {
        "Q": {"read": queries, "write": 0},
        "K": keys,
        "V": keys,
        "AV": {"read": 0, "write": queries},
    }


@pytest.mark.parametrize("kernel", ["flash_fwd", "flash1", "unfused"])
@given(data=st.data())
@SOME
def test_padded_edges_move_whole_tiles(kernel: str, data: st.DataObject) -> None:
    """As many bytes as under masked edges where the ranks are as long as all their tiles."""
    walk = data.draw(DRAWN[kernel])
    p0, m0 = (walk.settings[f"partition.{rank}.{rank}0"] for rank in "PM")
    shapes = dict(walk.shapes)
    shapes["P"], shapes["M"] = max(shapes["P"], p0), max(shapes["M"], m0)
    shapes["offset"], shapes["window"] = shapes["M"], 1 << 60
    rows = {"phases.softmax.partition.P.P0": p0} if kernel == "unfused" else {}
    padded = replace(walk, shapes=shapes, settings={**walk.settings, **rows, "edges": "padded"})
    shapes = {**shapes, "P": -(-shapes["P"] // p0) * p0, "M": -(-shapes["M"] // m0) * m0}
    longer = replace(walk, shapes=shapes, settings={**walk.settings, **rows})
    one, other = (launches(*built(w)) for w in (padded, longer))
    for a, b in zip(one, other, strict=True):
        if a.name != "softmax":  # whole rows: no tile ends at M
            assert a.requests == b.requests
