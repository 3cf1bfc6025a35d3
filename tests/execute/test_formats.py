"""Values written in a format: the bits of torch's casts, which are the specification."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch

from accelsim.errors import AccelsimError
from accelsim.execute.formats import FORMATS, encoded, format_named, rounded

TARGETS = {
    "float16": (torch.float16, np.uint16),
    "bfloat16": (torch.bfloat16, np.uint16),
    "float8_e4m3fn": (torch.float8_e4m3fn, np.uint8),
    "float8_e5m2": (torch.float8_e5m2, np.uint8),
}
PATTERNS = np.arange(1 << 16, dtype=np.uint16)


def singles() -> np.ndarray:
    """A million float32: random bits, and both sides of what lies between two of each format."""
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, 1 << 32, 700_000, dtype=np.uint32).view(np.float32)
    halves = PATTERNS.view(np.float16).astype(np.float32)
    brains = PATTERNS.view(ml_dtypes.bfloat16).astype(np.float32)
    eighths = [
        np.arange(256, dtype=np.uint8).view(kind).astype(np.float32)
        for kind in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
    ]
    middles = []
    with np.errstate(all="ignore"):
        for own in (halves, brains, *eighths):
            finite = np.unique(own[np.isfinite(own)])
            between = (finite[1:] + (finite[:-1].astype(np.float64) - finite[1:]) / 2).astype(
                np.float32
            )
            middles += [between, np.nextafter(between, np.inf), np.nextafter(between, -np.inf)]
    tiny = generator.integers(0, 1 << 23, 10_000, dtype=np.uint32).view(np.float32)
    ends = np.array([0.0, -0.0, np.inf, -np.inf, 448, 464, 61440, 65520, 1e38], np.float32)
    return np.concatenate([drawn, *middles, tiny, -tiny, ends, -ends]).astype(np.float32)


SOURCES = {
    "float16": PATTERNS.view(np.float16).astype(np.float32),
    "bfloat16": PATTERNS.view(ml_dtypes.bfloat16).astype(np.float32),
    "float32": singles(),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_the_bits_are_those_of_torch(source: str, target: str) -> None:
    values, (kind, bits) = SOURCES[source], TARGETS[target]
    assert source != "float32" or len(values) >= 1_000_000
    written = encoded(values, FORMATS[target].dtype)
    expected = torch.from_numpy(values).to(kind).view(getattr(torch, bits.__name__)).numpy()
    numbers = ~np.isnan(values)
    assert np.array_equal(written.view(bits)[numbers], expected[numbers])
    assert np.isnan(written[~numbers].astype(np.float32)).all()


@pytest.mark.parametrize("target", TARGETS)
def test_float64_goes_through_float32(target: str) -> None:
    """Just above the middle of two: float32 is that middle, which goes to the even one."""
    values = 1 + np.array([2.0**-11, 2.0**-8, 2.0**-4, 2.0**-3]) + 2.0**-40
    expected = torch.from_numpy(values).to(TARGETS[target][0]).to(torch.float64).numpy()
    assert np.array_equal(rounded(values, FORMATS[target]), expected)


def test_tf32_keeps_ten_bits() -> None:
    values = SOURCES["float32"]
    values = values[np.isfinite(values)].astype(np.float64)
    written = rounded(values, FORMATS["tf32"])
    _, exponent = np.frexp(values)
    # Subnormals of float32 have the spacing of its least normals.
    spacing = np.ldexp(1.0, np.maximum(exponent, -125) - 11)
    expected = np.rint(values / spacing) * spacing
    expected[np.abs(expected) >= 2.0**128] *= np.inf
    assert np.array_equal(written, expected)
    assert np.isnan(rounded([np.nan], FORMATS["tf32"])).all()
    assert rounded([np.inf, -np.inf], FORMATS["tf32"]).tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize(("name", "most"), [("int8", 127), ("int4", 7)])
def test_whole_numbers_share_a_scale(name: str, most: int) -> None:
    tile = np.random.default_rng(1).standard_normal((16, 16))
    tile[0, 0] = np.nan
    scale = float(np.float32(np.nanmax(np.abs(tile)) / most))
    numbers = rounded(tile, FORMATS[name]) / scale
    assert np.isnan(numbers[0, 0])
    numbers, tile = numbers.reshape(-1)[1:], tile.reshape(-1)[1:]
    assert np.array_equal(numbers, np.rint(numbers))
    assert np.abs(numbers).max() == most
    assert np.abs(numbers - tile / scale).max() <= 0.5
    assert rounded(np.zeros(3), FORMATS[name]).tolist() == [0, 0, 0]
    with pytest.raises(AccelsimError, match="no infinity"):
        rounded([-np.inf], FORMATS[name])


def test_an_unknown_format_has_a_nearest_name() -> None:
    with pytest.raises(AccelsimError, match="did you mean 'float16'"):
        format_named("flot16")
