"""Which mappings are legal, and what of a mapping follows from its sizes."""

from __future__ import annotations

import pytest

from accelsim import arch, cascade, mapping, program, spec, workload
from accelsim.errors import AccelsimError, CapacityError, MappingError
from accelsim.mapping import slot_count, span
from accelsim.mapping.partition import divisors

SHAPES = {"B": 2, "H": 3, "E": 64, "F": 64, "M": 1024, "P": 2048}


def build(
    name: str = "fusemax__attention_1pass",
    shapes: dict[str, int] | None = None,
    *overrides: tuple[tuple[str, ...], object],
) -> mapping.Mapping:
    document = spec.load(name, "mapping", overrides)
    machine = arch.build(spec.load("fusemax", "arch"))
    built = cascade.build(spec.load("attention_1pass", "cascade"))
    return mapping.build(document, built, machine, SHAPES | (shapes or {}))


def test_sizes_follow_the_array_and_the_buffer() -> None:
    assert dict(build().nests[0].extents) == {
        "B": 2, "H": 3, "E": 64, "F": 64, "M1": 4, "M0": 256, "P2": 1, "P1": 8, "P0": 256
    }  # fmt: skip


@pytest.mark.parametrize(
    ("length", "p1"), [(1024, 4), (16384, 64), (65536, 128), (262144, 128), (1048576, 128)]
)
def test_the_fitted_part_is_the_largest_divisor_that_fits(length: int, p1: int) -> None:
    """At most 251 tiles of P fit 16 MiB at E = F = 64 (paper's rule); its divisor is taken."""
    assert dict(build(shapes={"P": length}).nests[0].extents)["P1"] == p1


def test_held_bytes_are_those_of_the_paper() -> None:
    """Per row of P: 2 (E + F + 2) bytes; K and V two tiles each where the paper counts one."""
    built = build()
    nest = built.nests[0]
    held = sum(
        p.elements * 2 * slot_count(p, nest.loops) for p in nest.placements if p.level is not None
    )
    assert held == 2048 * 2 * (64 + 64 + 2) + 2 * 256 * (64 + 64) * 2


def test_ragged_ranks_are_padded_and_it_is_said() -> None:
    built = build(shapes={"M": 1000, "P": 100})

    extents = dict(built.nests[0].extents)
    assert (extents["M1"], extents["M0"]) == (4, 256)
    assert (extents["P1"], extents["P0"]) == (1, 100)
    assert built.notes == ("M padded from 1000 to 1024: tiles of 256",)


def test_what_does_not_fit_is_refused_with_need_and_limit() -> None:
    sizes = ("partition", "P")
    with pytest.raises(
        CapacityError,
        match=r"holds 16\.00 MiB, but phase attention needs 65\.12 MiB of it; RNV takes most, 32",
    ):
        build("fusemax__attention_1pass", {"P": 1 << 18}, ((*sizes, "P1"), 1024))


def test_a_number_must_divide() -> None:
    with pytest.raises(MappingError, match="3 does not divide the 8 tiles; use one of 1, 2, 4, 8"):
        build("fusemax__attention_1pass", None, (("partition", "P", "P1"), 3))


def test_too_few_slots_deadlock() -> None:
    """QK of the next tile is made before SLN of this one has read its own."""
    storage = ("phases", "attention", "storage", "QK")
    built = build("fusemax__attention_1pass", None, (storage, {"level": "registers", "slots": 1}))
    with pytest.raises(MappingError, match="QK needs a slot of QK that SLN gives back only later"):
        program.lower(built)


def test_a_stage_too_early_deadlocks() -> None:
    stage = ("phases", "attention", "einsums", "SLN", "stage")
    with pytest.raises(MappingError, match=r"SLN \(stage 0\) takes RM of a tile before RM"):
        program.lower(build("fusemax__attention_1pass", None, (stage, 0)))


def test_serial_with_stages_is_refused() -> None:
    serial = (("phases", "attention", "serial"), {"loop": "P1", "beside": ["AV"]})
    with pytest.raises(AccelsimError, match="serial: QK"):
        program.lower(build("fusemax__attention_1pass", None, serial))


def test_three_passes_do_not_fuse() -> None:
    text = """\
mapping: fused
source: a mapping that must be refused
arch: fusemax
cascade: attention_3pass
partition:
  M: {M1: rest, M0: 256}
  P: {P1: rest, P0: 256}
phases:
  all:
    loops: [B, H, P1, M1]
    einsums:
      QK: {unit: array_2d, spatial: {rows: M0, cols: P0}}
      GM: {unit: array_2d, spatial: {rows: M0, cols: P0}}
      SN: {unit: array_2d, spatial: {rows: M0, cols: P0}}
      SD: {unit: array_2d, spatial: {rows: M0, cols: P0}}
      A:  {unit: array_1d, spatial: {lanes: P0}}
      AV: {unit: array_2d, spatial: {rows: M0, cols: P0}}
    storage:
      Q: {level: global_buffer}
      K: {level: global_buffer}
      V: {level: global_buffer}
"""
    built = cascade.build(spec.load("attention_3pass", "cascade"))
    machine = arch.build(spec.load("fusemax", "arch"))
    document = spec.load_text(text, "mapping")
    with pytest.raises(MappingError, match=r"SN is fused across a pass boundary.* GM is complete"):
        mapping.build(document, built, machine, SHAPES)


def test_phases_through_memory() -> None:
    """The same cascade in three phases is legal: what a later phase reads is stored and loaded."""
    text = """\
mapping: three_phases
source: one phase per pass
arch: fusemax
cascade: attention_3pass
partition:
  M: {M1: rest, M0: 256}
  P: {P1: rest, P0: 256}
phases:
  first:
    loops: [B, H, P1, M1]
    einsums:
      QK: {unit: array_2d, spatial: {rows: M0, cols: P0}}
      GM: {unit: array_2d, spatial: {rows: M0, cols: P0}}
    storage: {Q: {level: global_buffer}, K: {level: global_buffer}}
  second:
    loops: [B, H, P1, M1]
    einsums:
      SN: {unit: array_2d, spatial: {rows: M0, cols: P0}}
      SD: {unit: array_2d, spatial: {rows: M0, cols: P0}}
    storage: {QK: {level: global_buffer}, GM: {level: global_buffer}}
  third:
    loops: [B, H, P1, M1]
    einsums:
      A:  {unit: array_1d, spatial: {lanes: P0}}
      AV: {unit: array_2d, spatial: {rows: M0, cols: P0}}
    storage: {SN: {level: global_buffer}, SD: {level: global_buffer}, V: {level: global_buffer}}
"""
    built = cascade.build(spec.load("attention_3pass", "cascade"))
    machine = arch.build(spec.load("fusemax", "arch"))
    lowered = program.lower(mapping.build(spec.load_text(text, "mapping"), built, machine, SHAPES))

    stores = [[t.tensor for t in phase.tasks if t.kind == "store"] for phase in lowered.phases]
    assert stores == [["QK", "GM"], ["SN", "SD"], ["AV"]]


def test_span() -> None:
    assert span((0, 1, 3)) == (1, (3,))
    assert span((2,)) == (-1, (2,))
    assert span(()) == (-1, ())


def test_divisors() -> None:
    for number in (1, 2, 12, 97, 360, 1 << 40):
        small = [d for d in range(1, 400) if number % d == 0]
        assert [d for d in divisors(number) if d < 400] == small[::-1]
    assert len(divisors(1 << 60)) == 61


def test_shapes_of_workloads() -> None:
    document = spec.load("xlm", "workload")
    assert workload.shapes(document, 1024)["M"] == 1024
    with pytest.raises(AccelsimError, match="give --seq-len N"):
        workload.shapes(document, None)
