"""Law 6 for mappings nobody wrote: loop orders, slots, places, stages, edges, all drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from accelsim import arch, cascade, mapping, program, spec
from accelsim.cascade import cascade_from_text
from accelsim.errors import MappingError
from tests.execute.small import Case
from tests.execute.test_law import obeys

MACHINE = arch.build(spec.load("fusemax", "arch"))
BUFFER = "global_buffer"
DRAWN, DRAWN_LONG = 80, 3000
Draw = np.random.Generator


def shapes_of(draw: Draw) -> dict[str, int]:
    ranks = {rank: int(draw.integers(1, 4)) for rank in "BHEF"}
    return {**ranks, "M": int(draw.integers(1, 14)), "P": int(draw.integers(1, 14))}


def attention(draw: Draw) -> Case:
    """One-pass attention, dense or under a causal window."""
    masked = bool(draw.integers(2))
    name = "fusemax__attention_1pass" + "_window" * masked
    place: tuple[str | int, ...] = ("phases", "attention")
    loops = ["B", "H", "P2", "M1", "P1"]
    if draw.integers(2):
        draw.shuffle(loops)
    shapes = shapes_of(draw)
    if masked:
        shapes |= {"window": int(draw.integers(1, 14)), "P": shapes["M"]}
    queries = int(draw.integers(1, 5))
    tiles = -(-shapes["P"] // queries)
    divisors = [n for n in range(1, tiles + 1) if tiles % n == 0]
    changes: list[tuple[tuple[str | int, ...], Any]] = [
        (("partition", "M", "M0"), int(draw.integers(1, 5))),
        (("partition", "P", "P0"), queries),
        (("partition", "P", "P1"), int(draw.choice(divisors))),
    ]
    changes.append(((*place, "loops"), loops))
    changes.append((("edges",), str(draw.choice(["masked", "padded"]))))
    for tensor in ("K", "V", "Q"):
        others = ["M1"] if tensor == "Q" else ["P1", "P2"]
        chosen = [loop for loop in others if draw.random() < 0.4]
        keep = [loop for loop in chosen if _outside(loops, loop, tensor)]
        again = [] if masked else [loop for loop in chosen if loop not in keep]
        level = str(draw.choice([BUFFER, BUFFER, "registers"]))
        one: dict[str, Any] = {"level": level, "slots": int(draw.integers(1, 4))}
        one |= {"keep": keep, "again": again}
        if level == BUFFER and draw.random() < 0.2:
            one["spilled"] = 0.25
        changes.append(((*place, "storage", tensor), one))
    for tensor in ("RM", "RD", "RNV"):
        one = {"level": str(draw.choice([BUFFER, "registers"])), "slots": int(draw.integers(1, 3))}
        one["off_chip"] = bool(draw.random() < 0.2)
        changes.append(((*place, "storage", tensor), one))
    for tensor in ("QK", "SLN", "SLNV", "AV"):
        if draw.random() < 0.4:
            one = {"level": BUFFER, "slots": int(draw.integers(1, 4))}
            one["off_chip"] = bool(draw.random() < 0.3) and tensor != "AV"
            changes.append(((*place, "storage", tensor), one))
    if draw.integers(2):
        late = ["SLN", "SLD", "SLNV", "RD", "RNV", "AV"]
        changes += [((*place, "einsums", einsum, "stage"), 0) for einsum in late]
        order = ["QK", "LM", "RM", "SLN", "SLD", "SLNV", "PRM", "SPD", "SPNV", "RD", "RNV", "AV"]
        bound = spec.load(name, "mapping", changes).spec.phases["attention"].einsums
        changes.append(((*place, "einsums"), {e: _as_given(bound[e]) for e in order}))
    document = spec.load(name, "mapping", changes)
    built = cascade.build(spec.load(document.spec.cascade, "cascade"))
    made = mapping.build(document, built, MACHINE, shapes)
    return made, program.lower(made), shapes, {}


def _outside(loops: list[str], loop: str, tensor: str) -> bool:
    """Whether some loop of the tensor's own stands inside of a loop."""
    own = {"B", "H", "P1", "P2"} if tensor == "Q" else {"B", "H", "M1"}
    return any(inner in own for inner in loops[loops.index(loop) + 1 :])


def _as_given(bound: Any) -> dict[str, Any]:
    return bound.model_dump(exclude_unset=True)


SUMS = """
cascade: sums
source: none
ranks: {M: rows, N: columns, K: summed over}
tensors: {A: [M, K], B: [K, N], Z: [M, N], Y: [M, N]}
outputs: [Y]
einsums: |
  Z[m,n] = A[m,k] * B[k,n] {REDUCE} {CONDITION}
  Y[m,n] = Z[m,n] + 1
"""


def sums(draw: Draw) -> Case:
    """Sums and maxima over tiles, their parts in a level or in registers."""
    condition = str(draw.choice(["", "| k <= m", "| m <= k", "| m - k < 2 and k - m < 2"]))
    text = SUMS.replace("{REDUCE}", str(draw.choice(["", ":: max"])))
    built = cascade_from_text(text.replace("{CONDITION}", condition))
    loops = ["K1", "M1", "N1"]
    draw.shuffle(loops)
    storage = {
        tensor: {
            "level": str(draw.choice([BUFFER, "registers"])),
            "slots": int(draw.integers(1, 4)),
        }
        for tensor in ("A", "B", "Z", "Y")
    }
    value = {
        "mapping": "sums",
        "source": "none",
        "arch": "fusemax",
        "cascade": "sums",
        "edges": str(draw.choice(["masked", "padded"])),
        "partition": {
            rank: {f"{rank}1": "rest", f"{rank}0": int(draw.integers(1, 5))} for rank in "MNK"
        },
        "phases": {
            "sums": {
                "loops": loops,
                "einsums": {
                    "Z": {"unit": "array_2d", "spatial": {"rows": "M0", "cols": "N0"}},
                    "Y": {"unit": "array_1d", "stage": int(draw.integers(2))},
                },
                "storage": storage,
            }
        },
    }
    shapes = {rank: int(draw.integers(1, 14)) for rank in "MNK"}
    if condition:
        shapes["K"] = shapes["M"]
    made = mapping.build(
        spec.load_text(yaml.safe_dump(value, sort_keys=False), "mapping"), built, MACHINE, shapes
    )
    return made, program.lower(made), shapes, {}


def law(family: Any, seeds: range) -> int:
    """How many of the drawn mappings were legal; all of these obey."""
    legal = 0
    for seed in seeds:
        try:
            case = family(np.random.default_rng(seed))
        except MappingError:
            continue
        obeys(case)
        legal += 1
    return legal


@pytest.mark.parametrize("family", [attention, sums])
def test_drawn_mappings(family: Any) -> None:
    assert law(family, range(DRAWN)) > DRAWN / 10


@pytest.mark.long
@pytest.mark.parametrize("family", [attention, sums])
def test_many_drawn_mappings(family: Any) -> None:
    assert law(family, range(DRAWN, DRAWN_LONG)) > DRAWN_LONG / 10
