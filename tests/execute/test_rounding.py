"""Where values are rounded, and what of that is counted."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from accelsim import verbs
from accelsim.errors import AccelsimError, NotANumberError
from accelsim.execute.check import error, reference
from accelsim.execute.formats import FORMATS, rounded
from accelsim.execute.inputs import drawn
from accelsim.execute.outcome import Outcome
from accelsim.execute.run import execute, sizes
from accelsim.execute.written import Formats, read_formats, settled
from tests.execute.small import SMALL, small
from tests.execute.test_law import CLOSE

ONE_PASS, UNFUSED = "fusemax__attention_1pass", "h200__unfused"
Array = np.ndarray


def as_type(dtype: object) -> Callable[[Array], Array]:
    return lambda values: np.asarray(values, np.float32).astype(dtype).astype(np.float64)


single, half, brain = as_type(np.float32), as_type(np.float16), as_type(ml_dtypes.bfloat16)


def asked(
    name: str, formats: str, inputs: dict[str, Array] | None = None, length: int | None = None
) -> Outcome:
    model, own, settings = SMALL[name]
    given = read_formats(formats)
    return verbs.execute(
        name, model, length or own, settings=settings, formats=given, inputs=inputs or {}
    )


def short(shape: tuple[int, ...], seed: int) -> Array:
    """Multiples of 1/4: sums of their products are exact in float64, in any order."""
    return np.random.default_rng(seed).integers(-6, 7, shape) / 4


@pytest.mark.parametrize("name", [ONE_PASS, "gpu_like__attention_1pass"])
def test_one_pass_attention_rounds_where_it_writes(name: str) -> None:
    """The same in plain loops over tiles of 16 keys: products are rounded once per tile, running
    values after each; what goes to the buffer is rounded again, and read back from there. A unit
    that keeps them in registers goes on with its own."""
    carried = half if name == ONE_PASS else single
    q, k, v = (short((2, 2, 8, 96), seed) for seed in range(3))
    formats = "QK=float32,SLN=bfloat16,SLD=float32,SLNV=float32,PRM=float32,SPD=float32,RD=float32"
    formats += ",SPNV=float32,RNV=float16,RNV.accumulate=float32,AV=float16,AV.accumulate=float32"
    found = asked(name, formats, {"Q": q, "K": k, "V": v}, 96)
    expected = np.empty((2, 2, 8, 96))
    for b, h in np.ndindex(2, 2):
        rm, rd, rnv = np.full(96, -np.inf), np.zeros(96), np.zeros((8, 96))
        for m in range(0, 96, 16):
            keys, values = k[b, h, :, m : m + 16], v[b, h, :, m : m + 16]
            qk = single(np.einsum("em,ep->mp", keys, q[b, h]))
            old, rm = rm, np.maximum(rm, qk.max(axis=0))
            sln, prm = brain(np.exp(qk - rm)), single(np.exp(old - rm))
            rd = single(single(sln.sum(axis=0)) + single(rd * prm))
            tile = single(np.einsum("mp,fm->fp", sln, values))
            rnv = carried(single(tile + single(rnv * prm)))
        expected[b, h] = half(single(half(rnv) / rd))
    assert np.array_equal(found.outputs["AV"], expected)
    assert found.differences == ()


def test_a_reduction_over_tiles_is_rounded_after_each() -> None:
    mapped, lowered, shapes, tables = small(UNFUSED)
    own = sizes(mapped, shapes, tables)
    inputs = drawn(own, 0)
    formats = settled({"A": "float16", "AV.accumulate": "float16"}, mapped)
    found = execute(mapped, lowered, shapes, inputs, formats=formats).outputs["AV"]
    scores = np.einsum("bhem,bhep->bhmp", inputs["K"], inputs["Q"])
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights = half(half(weights / weights.sum(axis=2, keepdims=True)))
    total = np.zeros(found.shape)
    for m in range(0, shapes["M"], 16):
        tile = slice(m, m + 16)
        part = np.einsum("bhmp,bhfm->bhfp", weights[:, :, tile], inputs["V"][..., tile])
        total = half(total + half(part))
    # A last bit of float64 may decide which way a sum is rounded.
    assert np.mean(found != total) < 1e-3
    assert np.abs(found - total).max() <= 2 * np.finfo(np.float16).eps * np.abs(total).max()


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_inputs_are_rounded_when_they_are_loaded(name: str) -> None:
    """As `interpret` on inputs that are rounded tile by tile beforehand."""
    mapped, lowered, shapes, tables = small(ONE_PASS)
    own = sizes(mapped, shapes, tables)
    inputs = drawn(own, 0)
    formats = Formats({tensor: {"": FORMATS[name]} for tensor in "QKV"})
    found = execute(mapped, lowered, shapes, inputs, formats=formats)
    given = {}
    for tensor, values in inputs.items():
        tiles = values.reshape(*values.shape[:-1], -1, 16)
        given[tensor] = np.empty_like(tiles)
        for b, h, n in np.ndindex(*tiles.shape[:2], tiles.shape[3]):
            given[tensor][b, h, :, n] = rounded(tiles[b, h, :, n], FORMATS[name])
    given = {tensor: values.reshape(inputs[tensor].shape) for tensor, values in given.items()}
    expected = reference(own, given)["AV"]
    assert error(found.outputs["AV"], expected, ("B", "H", "F", "P")).overall <= CLOSE
    scales = {key: access.metadata_bytes for key, access in found.counts.items()}
    every = mapped.nests[0].loops
    trips = {loop.rank: loop.trips for loop in every}
    loads = trips["B"] * trips["H"] * trips["P2"] * trips["M1"]
    assert scales["dram", "read", "K"] == (4 * loads if name.startswith("int") else 0)
    assert scales["dram", "write", "AV"] == 0


@pytest.mark.parametrize("name", [ONE_PASS, "flat__attention_3pass_offchip"])
def test_bytes_are_those_of_the_format(name: str) -> None:
    """With formats of tensors, the Program counts the same bytes; with float64, those of before."""
    plain, low = asked(name, ""), asked(name, "K=int4,QK=float8_e4m3fn,AV=float32")
    assert plain.differences == low.differences == ()
    for key, access in plain.accesses.items():
        times = {"K": 1 / 4, "QK": 1 / 2, "AV": 2}.get(key[2], 1)
        assert low.accesses[key].size_bytes == access.size_bytes * times
        assert low.accesses[key].elements == access.elements


def test_a_level_can_have_a_format_of_its_own() -> None:
    plain = asked(ONE_PASS, "")
    low = asked(ONE_PASS, "K.global_buffer=float8_e5m2")
    assert low.differences is None
    assert "K" in low.notes[-1]
    key = ("global_buffer", "read", "K")
    assert low.accesses[key].size_bytes == plain.accesses[key].size_bytes / 2
    key = ("dram", "read", "K")
    assert low.accesses[key] == plain.accesses[key]
    assert not np.array_equal(low.outputs["AV"], plain.outputs["AV"])
    other = asked(ONE_PASS, "K.dram=float8_e5m2")
    assert other.accesses[key].size_bytes == plain.accesses[key].size_bytes / 2
    assert np.array_equal(other.outputs["AV"], low.outputs["AV"])


@pytest.mark.parametrize(
    ("formats", "said"),
    [
        ("KK=float16", "no tensor KK"),
        ("K=float17", "did you mean 'float16'"),
        ("K", "got 'K'"),
        ("K=float16,K=float32", "given twice"),
        ("K.accumulate=float32", "K is an input"),
        ("K.global_bufer=float16", "did you mean 'global_buffer'"),
        ("SLN.global_buffer=float16", "SLN is never written in global_buffer"),
        ("QK=float8_e5m2,RM=float8_e5m2,Q=int8,QK.dram=float16", "QK is never written in dram"),
    ],
)
def test_a_format_that_would_have_no_effect(formats: str, said: str) -> None:
    with pytest.raises(AccelsimError, match=said):
        asked(ONE_PASS, formats)


OVERFLOWS = "QK = 80,000 is out of the range of {}, whose largest number is {}"


def test_a_value_that_overflows_is_a_failure() -> None:
    """Scores of 80,000 are infinite in float16: the difference of two is not a number."""
    inputs = {name: np.full((2, 2, 8, 96), 100.0) for name in "QKV"}
    said = OVERFLOWS.format("float16", "65,504")
    with pytest.raises(NotANumberError, match=f"SLN is not a number at some point: {said}; in the"):
        asked(ONE_PASS, "QK=float16", inputs)
    with pytest.raises(AccelsimError, match=f"int8 has no infinity.*\n    {said}$"):
        asked(ONE_PASS, "QK=int8,QK.accumulate=float16", inputs)
    inputs["K"] *= 10  # 448 in float8_e4m3fn, which makes no infinity
    with pytest.raises(NotANumberError, match=r"point: QK = 358,400 is out of [^;]*; in the tile"):
        asked(ONE_PASS, "K=float8_e4m3fn,QK=float16", inputs)


def test_a_value_that_overflows_without_a_failure_is_told() -> None:
    """The largest magnitude of all tiles; what has room, or rounds to the largest, is not told."""
    inputs = {name: np.full((2, 2, 8, 96), 100.0) for name in "QKV"}
    assert asked(ONE_PASS, "QK=float8_e4m3fn", inputs).notes[-1] == (
        f"{OVERFLOWS.format('float8_e4m3fn', '448')}: it became 448"
    )
    # 65,519.5 is rounded to 65,504, 65,520 to infinity.
    inputs["V"] = np.linspace(-65504, 65519.5, 96) * np.ones((2, 2, 8, 1))
    assert asked(ONE_PASS, "V=float16", inputs).notes == ()
    inputs["V"][0, 0, 2] = 70_000.0
    inputs["V"][1, 1, 3] = -131_008.0
    inputs["V"][1, 1, 3, ::2] = -70_000.0
    inputs["V"][1, 1, 4] = 70_000.0
    assert asked(ONE_PASS, "V=float16,AV=float16", inputs).notes == (
        "V = -131,008 is out of the range of float16, whose largest number is 65,504: it became "
        "infinite",
    )


def test_a_value_too_large_for_float64_is_named() -> None:
    inputs = {name: np.full((2, 2, 8, 96), 1e200) for name in "QKV"}
    said = "QK is out of the range of float64, whose largest number is 1.79769e"
    with pytest.raises(NotANumberError, match=f"SLN is not a number at some point: {said}"):
        asked(ONE_PASS, "", inputs)
