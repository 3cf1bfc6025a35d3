"""What a mapping lowers to: occupancies, order on the channel, what each task stands for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from accelsim import arch, cascade, mapping, program, spec
from accelsim.program import Phase
from accelsim.spec.load import Override


def phase(
    name: str, length: int = 1024, overrides: Sequence[Override] = (), **ranks: int
) -> tuple[Phase, int]:
    shapes = {"B": 2, "H": 3, "E": 64, "F": 64, "M": length, "P": length} | ranks
    machine = arch.build(spec.load("fusemax", "arch"))
    built = cascade.build(spec.load("attention_1pass", "cascade"))
    lowered = program.lower(
        mapping.build(spec.load(name, "mapping", overrides), built, machine, shapes)
    )
    return lowered.phases[0], lowered.ticks_per_cycle


BINDING, SERIAL = "fusemax__attention_1pass", "fusemax__attention_1pass_serial"


@pytest.mark.parametrize("name", [BINDING, SERIAL])
def test_cycles_of_a_tile_are_those_of_the_paper(name: str) -> None:
    made, per_cycle = phase(name, E=128, F=32)
    cycles = {t.name: t.occupancy / per_cycle for t in made.tasks if t.kind == "einsum"}
    assert cycles == {
        "QK": 128, "LM": 1, "SLN": 7, "SLD": 1, "SLNV": 32, "RM": 1, "PRM": 7, "SPD": 1, "RD": 1,
        "SPNV": 32, "RNV": 32, "AV": 32,
    }  # fmt: skip


def test_order_on_the_channel_keeps_stores_behind_the_next_loads() -> None:
    made, _ = phase(BINDING)
    channel = [t.name for t in made.tasks if t.kind != "einsum"]
    assert channel == [
        "load Q", "load K", "load V", "load K ahead", "load V ahead", "load Q ahead", "store AV"
    ]  # fmt: skip


def test_av_runs_at_the_last_tile_of_keys() -> None:
    made, _ = phase(BINDING)
    av = next(t for t in made.tasks if t.name == "AV")
    assert [made.loops[l].name for l in av.guard.last] == ["M1"]
    assert av.guard.first == ()


def test_buffer_lines_of_a_tile() -> None:
    """2E + F reads of Q, K, V; RM, RD, RNV read and written once; AV reads the ends."""
    made, _ = phase(BINDING)
    lines = {
        (t.name, a.action, a.tensor): int(a.count)
        for t in made.tasks
        for a in t.actions
        if a.part == "global_buffer"
    }
    assert {key: n for key, n in lines.items() if key[0] in {"QK", "SLNV"}} == {
        ("QK", "read", "Q"): 64, ("QK", "read", "K"): 64, ("SLNV", "read", "V"): 64
    }  # fmt: skip
    state = {(a, t): n for (_, a, t), n in lines.items() if t in {"RM", "RD"}}
    assert state == dict.fromkeys([(a, t) for a in ("read", "write") for t in ("RM", "RD")], 1)
    assert [n for (_, _, t), n in lines.items() if t == "RNV"] == [64, 64, 64]
    assert lines["AV", "read", "RNV"] == 64


def test_what_runs_one_tile_at_a_time_is_ordered() -> None:
    made, _ = phase(SERIAL)
    ordered = [e for e in made.edges if e.cause == "order"]
    names = {made.tasks[e.producer].name for e in ordered}
    assert names == {"SLNV", "RNV"}
    assert {made.tasks[e.consumer].name for e in ordered} == {"QK", "RM"}


def test_no_edge_stays_within_a_server() -> None:
    for name in (BINDING, SERIAL):
        made, _ = phase(name)
        for edge in made.edges:
            same = made.tasks[edge.producer].server == made.tasks[edge.consumer].server
            assert edge.latency or not same


def test_a_value_carried_between_units_starts_afresh_with_each_run() -> None:
    """SPNV on the other array reads the RNV of the M1 before, at the same P1."""
    at = ("phases", "attention", "einsums", "SPNV")
    moved = [((*at, "unit"), "array_2d"), ((*at, "spatial"), {"cols": "P0"})]
    made, _ = phase(BINDING, overrides=moved)
    names = [t.name for t in made.tasks]
    carried = next(
        e for e in made.edges
        if (names[e.producer], names[e.consumer], e.cause) == ("RNV", "SPNV", "data")
    )  # fmt: skip
    assert [made.loops[l].name for l in (carried.loop, *carried.matched)] == ["M1", "P1"]
    assert (carried.distance, carried.reset) == (1, True)
