"""The same cascade and machine under another loop order: FlashAttention-2's, P outside M."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim import arch, cascade, engine, mapping, program, spec, workload
from accelsim.results.measure import measure

TEXT = spec.find("fusemax__attention_1pass", "mapping").read_text()
P_OUTSIDE = (
    TEXT.replace("P: {P2: rest, P1: fit(global_buffer), P0", "P: {P1: rest, P0")
    .replace("loops: [B, H, P2, M1, P1]", "loops: [B, H, P1, M1]")
    .replace(", keep: [M1]", "")
)


def lowered(text: str, length: int) -> tuple[program.Program, arch.Machine]:
    machine = arch.build(spec.load("fusemax", "arch"))
    built = cascade.build(spec.load("attention_1pass", "cascade"))
    shapes = workload.shapes(spec.load("bert", "workload"), length) | {"B": 1, "H": 2}
    made = mapping.build(spec.load_text(text, "mapping"), built, machine, shapes)
    return program.lower(made), machine


@pytest.mark.parametrize("length", [256, 768, 1024])
def test_engines_agree(length: int) -> None:
    made, _ = lowered(P_OUTSIDE, length)
    one, other = (
        engine.run(made, name, record=100_000).phases[0] for name in ("compiled", "reference")
    )
    np.testing.assert_array_equal(one.record.end, other.record.end)


def test_keys_and_values_are_fetched_for_every_tile_of_queries() -> None:
    made, machine = lowered(P_OUTSIDE, 2048)
    traffic = measure(made, machine, engine.run(made), bounds={}, inputs={}).traffic_by_tensor[
        "dram"
    ]
    once = 2 * 2048 * 64 * 2
    assert {t: row["read"] for t, row in traffic.items() if t != "AV"} == {
        "Q": once, "K": 8 * once, "V": 8 * once
    }  # fmt: skip
    assert traffic["AV"] == {"read": 0, "write": once}


def test_one_tile_of_state_is_held() -> None:
    made, _ = lowered(P_OUTSIDE, 2048)
    held = {r.tensor: r.slots for r in made.phases[0].reservations}
    assert held == {"Q": 1, "K": 2, "V": 2, "RM": 1, "RD": 1, "RNV": 1}
