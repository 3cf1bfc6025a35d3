"""Tiles as large as a level holds: M0 of FlashAttention-1 on the A100, forward and backward."""

from __future__ import annotations

import pytest

from accelsim import arch, cascade, mapping, program, spec
from accelsim.errors import CapacityError, MappingError

SHAPES = {"B": 1, "H": 2, "E": 64, "F": 64, "M": 1024, "P": 1024}
BLOCK = 64 * 64 * 2
"""Bytes of a block of queries: P0 = E = 64 of 16 bits."""
ROW = 4 * 64 * 2
"""Bytes of a key's rows in the four tiles of M0 x E, of either pass."""


def build(
    name: str,
    capacity: str = "163 KiB",
    shapes: dict[str, int] | None = None,
    *changes: tuple[str, object],
) -> mapping.Mapping:
    document = spec.load(name, "mapping", [(tuple(p.split(".")), v) for p, v in changes])
    machine = arch.build(spec.load("a100", "arch", [(("levels", "shared", "capacity"), capacity)]))
    built = cascade.build(spec.load(document.spec.cascade, "cascade"))
    return mapping.build(document, built, machine, SHAPES | (shapes or {}))


def fitted(made: mapping.Mapping) -> tuple[int, int]:
    sizes = dict(made.nests[0].extents)
    return sizes["M1"], sizes["M0"]


@pytest.mark.parametrize(("name", "blocks"), [("a100__flash1", 2), ("a100__flash1_backward", 4)])
@pytest.mark.parametrize("capacity", [48, 64, 96, 163, 164, 192, 227, 1024])
@pytest.mark.parametrize("keys", [1024, 1000, 997, 96])
def test_an_innermost_part_is_the_largest_divisor_that_fits(
    name: str, blocks: int, capacity: int, keys: int
) -> None:
    """Four tiles of keys, and of queries Q and O, or Q, O, dO and dQ."""
    room = capacity * 1024 - blocks * BLOCK
    largest = max(n for n in range(1, keys + 1) if keys % n == 0 and n * ROW <= room)
    made = build(name, f"{capacity} KiB", {"M": keys})
    assert fitted(made) == (keys // largest, largest)
    assert not made.notes  # nothing padded


def test_a_share_of_a_level() -> None:
    changed = ("partition.M.M0", "fit(shared / 2)")
    assert fitted(build("a100__flash1", "320 KiB")) == (2, 512)
    assert fitted(build("a100__flash1", "320 KiB", None, changed)) == (4, 256)


def test_nothing_fits() -> None:
    with pytest.raises(CapacityError, match=r"holds 16\.00 KiB, but phase forward needs 16\.50"):
        build("a100__flash1", "16 KiB")


def test_a_state_off_chip_takes_its_slots_and_no_tile_for_each_block() -> None:
    held = {r.tensor: r.slots for r in program.lower(build("a100__flash1")).phases[0].reservations}
    assert held == {"Q": 1, "K": 2, "V": 2, "O": 1}
    kept = ("phases.forward.storage.O.off_chip", False)
    on_chip = build("a100__flash1", "1 MiB", None, kept)
    held = {r.tensor: r.slots for r in program.lower(on_chip).phases[0].reservations}
    assert held["O"] == 16
    with pytest.raises(CapacityError, match="O takes most"):
        build("a100__flash1", "163 KiB", {"P": 65536}, kept)


TWO_PHASES = """\
mapping: two_phases
source: scores and their sums, each with as many keys as fit
arch: a100
cascade: two_phases
partition:
  M: {M1: rest, M0: fit(shared)}
phases:
  scores:
    loops: [M1]
    einsums: {S: {unit: vector}}
    storage: {X: {level: shared, slots: 1}}
  sums:
    loops: [M1]
    einsums: {Y: {unit: vector}}
    storage: {S: {level: shared, slots: SLOTS}}
"""


def two_phases(slots: int) -> mapping.Mapping:
    built = cascade.cascade_from_text(
        "cascade: two_phases\nsource: here\nranks: {M: keys}\npartitions: {M: [M1, M0]}\n"
        "tensors: {X: [M1, M0], S: [M1, M0], Y: [M1]}\noutputs: [Y]\neinsums: |\n"
        "  S[m1,m0] = X[m1,m0] + 1\n  Y[m1] = S[m1,m0]\n"
    )
    document = spec.load_text(TWO_PHASES.replace("SLOTS", str(slots)), "mapping")
    machine = arch.build(spec.load("a100", "arch"))
    return mapping.build(document, built, machine, {"M": 1 << 17})


def test_parts_that_the_cascade_cuts_are_fitted_to_one_size() -> None:
    assert [dict(nest.extents)["M0"] for nest in two_phases(1).nests] == [65536, 65536]
    with pytest.raises(MappingError, match="M0 is 32768 here and 65536 in phase scores"):
        two_phases(2)
