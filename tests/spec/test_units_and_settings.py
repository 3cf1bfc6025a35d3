"""Units in words, exactly; settings over files."""

from __future__ import annotations

from fractions import Fraction

import pytest

from accelsim import spec, units


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("16 MiB", "capacity", 16 * 2**20),
        ("16MB", "capacity", 16_000_000),
        ("4096 bit", "capacity", 512),
        ("940 MHz", "frequency", 940_000_000),
        ("400 GiB/s", "bandwidth", 400 * 2**30),
        ("4.8 TB/s", "bandwidth", 4_800_000_000_000),
        ("249.6 pJ", "energy", Fraction(2496, 10)),
        ("1.5 nJ", "energy", 1500),
        ("1545 um^2", "area", 1545),
        ("2 mm^2", "area", 2_000_000),
        ("30 ns", "time", Fraction(30, 10**9)),
    ],
)
def test_exact(text: str, kind: str, value: Fraction) -> None:
    assert units.parse(text, kind) == value


@pytest.mark.parametrize(
    "text",
    ["16", 16, "MiB", "16 MHz", "16 foo", "", "-1 MiB", "1 MiB; 2", "1e9999 B", None, "nan B"],
)
def test_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a capacity with its unit, such as '16 MiB'"):
        units.parse(text, "capacity")


@pytest.mark.parametrize(("text", "kind"), [("2 GB/s", "frequency"), ("2 GHz", "bandwidth")])
def test_a_bit_is_no_plain_number(text: str, kind: str) -> None:
    with pytest.raises(ValueError, match="is not a unit of this kind"):
        units.parse(text, kind)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (2**50, "1024.00 TiB")]
)
def test_bytes_are_shown_with_a_prefix(count: int, text: str) -> None:
    assert units.show_bytes(count) == text


def test_merge_keys_may_be_overridden() -> None:
    value, _ = spec.read_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n", "t")
    assert value == {"a": {"x": 1, "y": 2}, "b": {"y": 3, "x": 1}}


def test_positions_of_a_block() -> None:
    _, source = spec.read_text("k: |\n  first\n  second\nl: 1\n", "t")
    place = source.block_position(("k",), 1, 2)
    assert (place.line, place.column) == (3, 5)


def test_a_setting_does_not_touch_what_shares_an_anchor() -> None:
    override = ((("units", "array_2d", "operations", "exp", "uses", "mac"), 3),)
    changed = spec.load("fusemax", "arch", override).spec
    assert changed.units["array_2d"].operations["exp"].uses == {"mac": 3}
    assert changed.units["array_1d"].operations["exp"].uses == {"mac": 6}
