"""Forward kernels in the interpreter: numbers within the gates, bytes equal to the formulas."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from kernels.cases import Case, gate
from tests.kernels.traced import needs_triton, python, traced

pytestmark = needs_triton

SIZE = {"float16": 2, "float32": 4}


def shape(*sizes: int) -> dict[str, int]:
    return dict(zip("BHGPMD", sizes, strict=True))


CAUSAL = {"causal": 1}
WINDOW = {"causal": 1, "window": 40}
SINKS = {"causal": 1, "window": 40, "sinks": 5}
TILE = {"block_m": 32, "block_n": 16}
EVEN = shape(1, 2, 2, 96, 96, 64)
RAGGED = shape(1, 1, 1, 70, 101, 64)
GROUPED = shape(2, 4, 2, 48, 64, 64)

FLASH = [
    Case("flash_fwd", "float32", EVEN, {}, TILE),
    Case("flash_fwd", "float32", EVEN, CAUSAL, TILE, order="heads"),
    Case("flash_fwd", "float16", EVEN, WINDOW, TILE),
    Case("flash_fwd", "float16", RAGGED, {}, TILE, order="heads", inputs="needle"),
    Case("flash_fwd", "float32", RAGGED, CAUSAL, TILE, seed=1),
    Case("flash_fwd", "float32", RAGGED, WINDOW, TILE, inputs="needle"),
    Case("flash_fwd", "float16", RAGGED, SINKS, TILE, seed=2),
    # The last block has 6 of 32 queries: the window of its last row alone leaves whole tiles.
    Case("flash_fwd", "float32", RAGGED, {"causal": 1, "window": 60, "sinks": 33}, TILE),
    Case("flash_fwd", "float32", RAGGED, {"causal": 1, "window": 1}, TILE, inputs="needle"),
    Case("flash_fwd", "float16", GROUPED, CAUSAL, {"block_m": 16, "block_n": 32}),
    Case("flash_fwd", "float32", GROUPED, {}, TILE, order="heads"),
]
FLASH1 = [
    Case("flash1", "float32", shape(2, 2, 2, 64, 64, 64), {}, TILE),
    Case("flash1", "float32", RAGGED, CAUSAL, TILE),
    Case("flash1", "float16", RAGGED, {}, TILE, inputs="needle"),
    Case("flash1", "float16", EVEN, CAUSAL, TILE),
]
UNFUSED = [
    Case("unfused", "float32", GROUPED, {}, {**TILE, "rows": 4}),
    Case("unfused", "float32", RAGGED, CAUSAL, {**TILE, "rows": 4}, order="heads"),
    Case("unfused", "float16", RAGGED, {}, {**TILE, "rows": 2}, inputs="needle"),
    Case("unfused", "float16", GROUPED, CAUSAL, {**TILE, "rows": 8}),
]
CASES = [*FLASH, *FLASH1, *UNFUSED]


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    return {case.name: done for case, done in zip(CASES, traced(CASES), strict=True)}


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def moved(launch: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Bytes read and written by tensor."""
    return {name: (t["read"], t["written"]) for name, t in launch["tensors"].items()}


def visits(case: Case) -> np.ndarray:
    """Which tiles of keys a block of queries visits, [blocks, tiles]: those with a pair kept."""
    queries, keys = case.shape["P"], case.shape["M"]
    position = np.arange(queries)[:, None] + keys - queries
    key = np.arange(keys)[None, :]
    keep = np.ones((queries, keys), dtype=bool)
    if case.mask.get("causal"):
        keep &= key <= position
    if case.mask.get("window"):
        keep &= (position - key < case.mask["window"]) | (key < case.mask.get("sinks", 0))
    rows, columns = case.tile["block_m"], case.tile["block_n"]
    return np.array(
        [
            [keep[p : p + rows, m : m + columns].any() for m in range(0, keys, columns)]
            for p in range(0, queries, rows)
        ]
    )


def tile_sizes(case: Case) -> np.ndarray:
    """Keys that exist in each tile."""
    keys, columns = case.shape["M"], case.tile["block_n"]
    return np.array([min(columns, keys - m) for m in range(0, keys, columns)])


@named(CASES)
def test_numbers_are_within_the_gates(case: Case, results: dict[str, dict[str, Any]]) -> None:
    done = results[case.name]
    assert "error" not in done, done["error"]
    assert done["finite"]
    assert set(done["numerics"]) == ({"O", "LSE"} if case.kernel == "flash_fwd" else {"O"})
    for error in done["numerics"].values():
        assert error["global"] <= gate(case)
        assert error["worst_row"] <= gate(case)


@named(FLASH)
def test_flash_requests_the_tiles_that_keep_a_pair(
    case: Case, results: dict[str, dict[str, Any]]
) -> None:
    (launch,) = results[case.name]["launches"]
    batch, heads, _, queries, _, width = (case.shape[size] for size in "BHGPMD")
    row = width * SIZE[case.dtype]
    rows = batch * heads * queries
    keys = batch * heads * int((visits(case) * tile_sizes(case)).sum())
    assert moved(launch) == {
        "Q": (rows * row, 0),
        "K": (keys * row, 0),
        "V": (keys * row, 0),
        "O": (0, rows * row),
        "LSE": (0, rows * 4),
    }
    tiles = batch * heads * int(visits(case).sum())
    assert launch["dot_calls"] == 2 * tiles
    assert launch["dots"] == 2 * tiles * case.tile["block_m"] * case.tile["block_n"] * width
    blocks = visits(case).shape[0]
    assert launch["grid"] == (
        [blocks, heads, batch] if case.order == "rows" else [heads, blocks, batch]
    )


def test_flash_bytes_of_closed_formulas(results: dict[str, dict[str, Any]]) -> None:
    dense, causal, window = (moved(results[case.name]["launches"][0])["K"][0] for case in FLASH[:3])
    assert dense == 2 * 3 * 96 * 64 * 4  # heads x blocks x keys x width x size
    assert causal == 2 * (2 + 4 + 6) * 16 * 64 * 4  # block i sees 2 (i + 1) tiles of 16
    # Block 2 starts at row 64, which sees keys from 25: tile 0 falls out.
    assert window == 2 * (2 + 4 + 5) * 16 * 64 * 2


@named(FLASH1)
def test_flash1_bytes(case: Case, results: dict[str, dict[str, Any]]) -> None:
    (launch,) = results[case.name]["launches"]
    queries, keys = case.shape["P"], case.shape["M"]
    heads = case.shape["B"] * case.shape["H"]
    size = SIZE[case.dtype]
    row = case.shape["D"] * size
    block = case.tile["block_m"]
    in_block = np.array([min(block, queries - p) for p in range(0, queries, block)])
    seen = visits(case)
    visited = heads * int((seen.sum(axis=1) * in_block).sum())  # rows of Q, once per visit
    state = visited - heads * queries  # neither the first visit reads nor the last writes
    assert moved(launch) == {
        "K": (heads * keys * row, 0),
        "V": (heads * keys * row, 0),
        "Q": (visited * row, 0),
        "RM": (state * 4, state * 4),
        "RD": (state * 4, state * 4),
        "ON": (state * case.shape["D"] * 4,) * 2,
        "O": (0, heads * queries * row),
    }


@named(UNFUSED)
def test_unfused_bytes(case: Case, results: dict[str, dict[str, Any]]) -> None:
    batch, heads, _, queries, keys, width = (case.shape[size] for size in "BHGPMD")
    heads *= batch
    size = SIZE[case.dtype]
    rows = -(-queries // case.tile["block_m"])
    columns = -(-keys // case.tile["block_n"])
    pairs = heads * queries * keys
    a, s = pairs * size, pairs * 4  # scores are float32 in every format
    q, k = heads * queries * width * size, heads * keys * width * size
    launches = results[case.name]["launches"]
    assert [launch["name"] for launch in launches] == ["scores", "softmax", "values"]
    scores, softmax, values = launches
    assert moved(scores) == {"Q": (q * columns, 0), "K": (k * rows, 0), "S": (0, s)}
    assert moved(softmax) == {"S": (s, 0), "A": (0, a)}
    assert moved(values) == {"A": (a, 0), "V": (k * rows, 0), "O": (0, q)}
    assert softmax["dots"] == 0


def test_sectors_are_counted_once_per_access(results: dict[str, dict[str, Any]]) -> None:
    """Rows of K are whole sectors; a row of 101 float32 scores starts in the midst of one."""
    case = FLASH[4]
    k = results[case.name]["launches"][0]["tensors"]["K"]
    assert k["sectors_read"] * 32 == k["read"]
    s = results[UNFUSED[2].name]["launches"][1]["tensors"]["S"]
    pairs = [range(404 * p, 404 * p + 808, 4) for p in range(0, 70, 2)]  # two rows per program
    assert s["sectors_read"] == sum(len({at // 32 for at in both}) for both in pairs)


TINY = [
    Case(
        "flash_fwd", "float16", shape(1, 2, 1, 24, 24, 16), CAUSAL, {"block_m": 16, "block_n": 16},
        order=order,
    )
    for order in ("rows", "heads")
]  # fmt: skip


def test_trace_lists_every_access_in_order() -> None:
    def block(head: int, i: int) -> list[list[Any]]:
        """16 queries and keys, then 8: the second block sees both tiles of the only group."""
        first, rows = head * 24 + 16 * i, (16, 8)[i]
        keys = [[name, "r", j * 256, (512, 256)[j]] for j in range(i + 1) for name in "KV"]
        return [
            ["Q", "r", first * 16, rows * 32],
            *keys,
            ["O", "w", first * 16, rows * 32],
            ["LSE", "w", first, rows * 4],
        ]

    traces = [done["launches"][0]["trace"] for done in traced(TINY, "--trace", "--no-numerics")]
    assert traces[0] == [block(0, 0), block(0, 1), block(1, 0), block(1, 1)]
    assert traces[1] == [block(0, 0), block(1, 0), block(0, 1), block(1, 1)]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"dtype": "float64"}, "'float64' is none of float16, bfloat16, float32"),
    ({"mask": {"diagonal": 1}}, "diagonal is none of causal, window, sinks"),
    ({"shape": shape(1, 2, 1, 25, 24, 16)}, "25 queries above M = 24 keys"),
    ({"mask": {"window": 3}}, "a window without causal"),
    ({"mask": {"causal": 1, "sinks": 3}}, "sinks without a window"),
    ({"shape": shape(1, 3, 2, 16, 16, 16)}, "H = 3 is no multiple of G = 2"),
    ({"shape": shape(1, 2, 2, 16, 16, 24)}, "D: 24 is no power of two"),
    ({"shape": shape(1, 2, 2, 0, 16, 16)}, "P = 0 is below 1"),
    ({"tile": {"block_m": 16}}, "without block_n"),
    ({"kernel": "unfused", "mask": WINDOW}, "unfused: has no window and no sinks"),
    ({"kernel": "flash1"}, "flash1: G = 1 must equal H = 2"),
    ({"kernel": "unfused", "tile": {**TILE, "rows": 3}}, "rows: 3 is no power of two"),
]


def test_processes_keep_the_order_and_what_cannot_run_says_why() -> None:
    wrong = [{**TINY[0].to_dict(), **changed} for changed, _ in REFUSED]
    given = [TINY[1], *wrong, TINY[0], {"kernel": "flash_fwd"}]
    first, *refused, last, nothing = traced(given, "--jobs", "2", "--no-numerics")
    assert [first["case"], last["case"]] == [TINY[1].to_dict(), TINY[0].to_dict()]
    assert "numerics" not in first
    assert "trace" not in first["launches"][0]
    for done, (_, said) in zip(refused, REFUSED, strict=True):
        assert said in done["error"]
    assert "without dtype, shape" in nothing["error"]


def test_an_access_outside_every_tensor_is_an_error() -> None:
    """K and V cut to 16 of 24 keys, while the kernel is told of 24."""
    done = python(
        "-c",
        """
import os, sys, json
os.environ["TRITON_INTERPRET"] = "1"
import dataclasses
from kernels import flash, trace
from kernels.cases import Case
def cut(*given):
    drawn = flash.inputs(*given)
    return {n: t[:, :, :16].clone() if n in "KV" else t for n, t in drawn.items()}
flash.KERNEL = dataclasses.replace(flash.KERNEL, inputs=cut)
print(trace.trace_given(json.load(sys.stdin), trace=False, numerics=False)["error"])
""",
        given=json.dumps(TINY[0].to_dict()),
    )
    assert "IndexError: flash_fwd: an access" in done.stdout, done.stdout + done.stderr
    assert "outside of every tensor" in done.stdout
