"""What launches ask for, byte for byte, and in their order, against kernels as plain loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelsim import engine
from accelsim.engine.cache import Accesses
from accelsim.engine.stream import accesses, through_cache
from accelsim.mapping import Nest
from accelsim.program.visits import executed
from accelsim.results.launches import launches
from tests.launches import walks
from tests.launches.drawn import DRAWN, built, with_slots
from tests.launches.walks import Access, Seen, Walk

SOME = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
KERNELS = pytest.mark.parametrize("kernel", DRAWN)


@KERNELS
@given(data=st.data())
@SOME
def test_requests(kernel: str, data: st.DataObject) -> None:
    walk = with_slots(data.draw(DRAWN[kernel]), data.draw(st.integers(1, 3)))
    mapped, lowered = built(walk)
    for found, expected, grid in zip(
        launches(mapped, lowered), walk.launches, walk.grid, strict=True
    ):
        moved: Counter[tuple[str, str]] = Counter()
        for access in expected:
            moved[access.tensor, "write" if access.write else "read"] += access.size
        requests = {
            (tensor, way): size
            for tensor, sizes in found.requests.items()
            for way, size in sizes.items()
            if size
        }
        assert requests == dict(moved)
        instances = {access.step[:grid] for access in expected}
        assert found.instances == prod(found.grid.values()) >= len(instances)
    ran = engine.run(lowered, "compiled")
    for phase, run in zip(lowered.phases, ran.phases, strict=True):
        assert executed(phase) == run.executed.tolist()


def moves(asked: Accesses, nest: Nest) -> list[list[tuple[str, int, int, bool]]]:
    """Per step: tensor, chunk, bytes, whether it is a store."""
    assert asked.tensor is not None
    names = [placement.tensor for placement in nest.placements]
    return [
        [
            (names[asked.tensor[c]], int(c), int(asked.size[c]), bool(w))
            for c, w in zip(asked.chunk[begin:end], asked.write[begin:end], strict=True)
        ]
        for begin, end in zip(asked.steps[:-1], asked.steps[1:], strict=True)
    ]


def same_stream(asked: Accesses, nest: Nest, expected: Sequence[Access], grid: int) -> None:
    """Instances, their steps, what each step moves in which order; and one chunk is one tile."""
    found = moves(asked, nest)
    wanted = [list(own) for _, own in groupby(expected, lambda access: access.step)]
    assert len(found) == len(wanted)
    of_instance = [len(list(own)) for _, own in groupby(wanted, lambda own: own[0].step[:grid])]
    assert np.diff(asked.instances).tolist() == of_instance
    chunk_of: dict[tuple[str, tuple[int, ...]], int] = {}
    for here, there in zip(found, wanted, strict=True):
        assert [(t, size, write) for t, _, size, write in here] == [
            (access.tensor, access.size, access.write) for access in there
        ]
        for (tensor, chunk, *_), access in zip(here, there, strict=True):
            assert chunk_of.setdefault((tensor, access.tile), chunk) == chunk
    assert len(set(chunk_of.values())) == len(chunk_of)


@KERNELS
@given(data=st.data())
@SOME
def test_streams(kernel: str, data: st.DataObject) -> None:
    walk = data.draw(DRAWN[kernel])
    mapped, lowered = built(walk)
    for nest, phase, expected, grid in zip(
        mapped.nests, lowered.phases, walk.launches, walk.grid, strict=True
    ):
        asked = accesses(nest, phase)
        same_stream(asked, nest, expected, grid)
        once = through_cache(mapped.machine, nest, phase)
        first: dict[tuple[str, tuple[int, ...]], Access] = {}
        for access in expected:
            first.setdefault((access.tensor, access.tile), access)
        footprint = sum(access.size for access in first.values() if not access.write)
        made = {(a.tensor, a.tile): a.size for a in expected if a.write}
        # All of it fits into the cache.
        assert once["compulsory"] == once["read"] == footprint
        assert (once["written"], once["dirty"]) == (0, sum(made.values()))


def chunks(walk: Walk, launch: int = 0) -> list[str]:
    """Per instance, its accesses as tensor and number of the tensor's chunk, < where stored.

    A bar stands between steps.
    """
    mapped, lowered = built(walk)
    asked = accesses(mapped.nests[launch], lowered.phases[launch])
    steps = moves(asked, mapped.nests[launch])
    every = sorted({(tensor, chunk) for step in steps for tensor, chunk, *_ in step})
    number = {
        (tensor, chunk): n
        for _, own in groupby(every, lambda pair: pair[0])
        for n, (tensor, chunk) in enumerate(own)
    }
    shown = [
        " ".join(f"{t}{number[t, c]}{'<' if write else ''}" for t, c, _, write in step)
        for step in steps
    ]
    return [
        " | ".join(shown[begin:end])
        for begin, end in zip(asked.instances[:-1], asked.instances[1:], strict=True)
    ]


HEADS_OF_A_GROUP = {"b": 1, "h": 2, "g": 1, "p": 4, "m": 6, "d": 2, "p0": 2, "m0": 2}


def test_a_stream_by_hand() -> None:
    """Two blocks of queries, two heads that share three tiles of keys and values."""
    assert chunks(walks.flash_fwd(**HEADS_OF_A_GROUP, seen=Seen(6))) == [
        "Q0 K0 V0 | K1 V1 | K2 V2 AV0< LSE0<",
        "Q1 K0 V0 | K1 V1 | K2 V2 AV1< LSE1<",
        "Q2 K0 V0 | K1 V1 | K2 V2 AV2< LSE2<",
        "Q3 K0 V0 | K1 V1 | K2 V2 AV3< LSE3<",
    ]


def test_a_stream_by_hand_with_heads_first_and_a_causal_mask() -> None:
    causal = walks.flash_fwd(**HEADS_OF_A_GROUP, seen=Seen(2), heads_first=True)
    assert chunks(causal) == [
        "Q0 K0 V0 | K1 V1 AV0< LSE0<",
        "Q1 K0 V0 | K1 V1 AV1< LSE1<",
        "Q2 K0 V0 | K1 V1 | K2 V2 AV2< LSE2<",
        "Q3 K0 V0 | K1 V1 | K2 V2 AV3< LSE3<",
    ]


def test_a_stream_by_hand_of_pages() -> None:
    """Page 4 begins both sequences; the first has one part of two pages, of which it fills one."""
    pages = [[4, 0], [4, 2]]
    paged = walks.splitk(h=1, g=1, m=4, d=1, m0=2, m1=2, pages=pages, lengths=[2, 3])
    assert chunks(paged) == [
        "lengths0 pages0 Q0 K1 V1 OP0< LSEP0<",
        "lengths1 pages1 Q1 K1 V1 | pages2 K0 V0 OP1< LSEP1<",
    ]
    assert chunks(paged, 1) == [
        "lengths0 LSEP0 OP0 AV0< LSE0<",
        "lengths1 LSEP1 OP1 AV1< LSE1<",
    ]


def test_a_stream_by_hand_of_states_that_come_and_go() -> None:
    """Two blocks of queries, two tiles of keys of which the first block sees one."""
    found = chunks(walks.flash1(b=1, h=1, p=4, m=4, d=1, p0=2, m0=2, offset=0))
    assert found == ["Q0 K0 V0 AV0< | Q1 RM0< RD0< O0< | Q1 K1 V1 RM0 RD0 O0 AV1<"]
