"""Decode, block-sparse and linear kernels: numbers, bytes by closed formulas, order, refusals.

Kernels run in processes of their own: Triton must find TRITON_INTERPRET set when it is imported.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from math import ceil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or importlib.util.find_spec("torch") is None,
    reason="triton or torch is not installed",
)

ROOT = Path(__file__).parents[2]
GATES = {"float32": 5e-6, "float16": 1.5e-3}
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def splitk(dtype: str, shape: dict[str, int], inputs: str = "random", **tile: int) -> dict:
    return {"kernel": "splitk", "dtype": dtype, "shape": shape, "tile": tile, "inputs": inputs}


def sparse(
    dtype: str, shape: dict[str, int], causal: int, order: str, inputs: str = "random", **tile: int
) -> dict:
    case = {"kernel": "block_sparse", "dtype": dtype, "shape": shape, "mask": {"causal": causal}}
    return {**case, "tile": tile, "order": order, "inputs": inputs}


def lightning(dtype: str, shape: dict[str, int], **tile: int) -> dict:
    return {"kernel": "lightning", "dtype": dtype, "shape": shape, "tile": tile}


# Lengths 31, 62 and 100 with seed 6, 100, 88 and 2 with seed 2: splits without any key, with some.
RAGGED = {"B": 3, "H": 8, "G": 2, "M": 100, "D": 64}
# 3 pages, of which 5 splits take one each: two are empty. The last page is not full.
EMPTY = {"B": 2, "H": 3, "G": 3, "M": 45, "D": 64}
# 20 queries of one group: more than the 16 rows of the smallest dot.
WIDE = {"B": 1, "H": 20, "G": 1, "M": 64, "D": 128}
DECODE = [
    {**splitk("float32", RAGGED, page=16, splits=3, ragged=1), "seed": 6},
    {**splitk("float16", RAGGED, "needle", page=16, splits=3, ragged=1), "seed": 2},
    splitk("float32", EMPTY, "needle", page=16, splits=5),
    splitk("float16", EMPTY, page=16, splits=5),
    splitk("float16", WIDE, page=32, splits=2),
    splitk("bfloat16", WIDE, page=32, splits=1),
]

TAILS = {"B": 2, "H": 4, "G": 2, "P": 100, "M": 150, "D": 64}
WHOLE = {"B": 1, "H": 2, "G": 2, "P": 128, "M": 128, "D": 64}
SPARSE = [
    sparse("float32", TAILS, 0, "rows", block_m=32, block_n=32, density=40),
    sparse("float16", TAILS, 1, "heads", "needle", block_m=32, block_n=16, density=40),
    sparse("float32", WHOLE, 1, "rows", "needle", block_m=16, block_n=64, density=10),
    sparse("float16", WHOLE, 0, "heads", block_m=64, block_n=16, density=5),
    sparse("bfloat16", WHOLE, 1, "rows", block_m=32, block_n=32, density=100),
]

LINEAR = [
    lightning("float32", {"B": 2, "H": 3, "T": 100, "E": 64, "F": 128}, chunk=32, block_f=64),
    lightning("float16", {"B": 1, "H": 2, "T": 256, "E": 64, "F": 64}, chunk=64, block_f=64),
    lightning("float16", {"B": 1, "H": 2, "T": 50, "E": 128, "F": 64}, chunk=64, block_f=16),
    lightning("bfloat16", {"B": 1, "H": 1, "T": 50, "E": 64, "F": 64}, chunk=32, block_f=32),
]

# Prints the tables of cases, or what a case says if one entry of a table is set to a value.
TABLES = """
import json, sys
from kernels.cases import Case, kernel
answers = []
for given, change in json.load(sys.stdin):
    case = Case.from_dict(given)
    try:
        tensors = kernel(case.kernel).inputs(case, "cpu")
        if change:
            name, at, value = change
            tensors[name][tuple(at)] = value
        kernel(case.kernel).plan(case, tensors)
        tables = ("pages", "lengths", "counts", "blocks")
        answers.append({n: tensors[n].tolist() for n in tables if n in tensors})
        answers[-1]["pool"] = len(tensors["K"])
    except ValueError as error:
        answers.append(str(error))
json.dump(answers, sys.stdout)
"""


def python(arguments: list[str], given: object) -> Any:
    done = subprocess.run(
        [sys.executable, *arguments],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def traced() -> list[tuple[dict, dict]]:
    """Every case's result and tables."""
    cases = [*DECODE, *SPARSE, *LINEAR]
    results = python(["-m", "kernels.trace", "--trace", "--jobs", "2"], cases)
    tables = python(["-c", TABLES], [(case, None) for case in cases])
    for result in results:
        assert "error" not in result, result
    return list(zip(results, tables, strict=True))


def of(traced: list[tuple[dict, dict]], kernel: str) -> list[tuple[dict, dict]]:
    return [pair for pair in traced if pair[0]["case"]["kernel"] == kernel]


def bytes_of(launch: dict) -> dict[str, int]:
    """Bytes by tensor and way, those that are not 0."""
    return {
        f"{way} {name}": counts[way]
        for name, counts in launch["tensors"].items()
        for way in ("read", "written", "atomic")
        if counts[way]
    }


def test_numbers(traced: list[tuple[dict, dict]]) -> None:
    for result, _ in traced:
        case = result["case"]
        assert result["finite"], case
        assert set(result["numerics"]) == ({"O"} if case["kernel"] == "lightning" else {"O", "LSE"})
        if case["dtype"] not in GATES:  # the interpreter truncates to bfloat16
            continue
        for name, error in result["numerics"].items():
            for kind in ("global", "worst_row"):
                assert error[kind] <= GATES[case["dtype"]], (case, name, error)


def test_bytes_of_decode(traced: list[tuple[dict, dict]]) -> None:
    for result, tables in of(traced, "splitk"):
        case = result["case"]
        b, h, g, m, d = (case["shape"][size] for size in "BHGMD")
        page, splits = case["tile"]["page"], case["tile"]["splits"]
        size = BYTES[case["dtype"]]
        lengths = tables["lengths"]
        part = ceil(ceil(m / page) / splits)
        pages = sum(ceil(n / page) for n in lengths)
        used = sum(ceil(ceil(n / page) / part) for n in lengths)

        assert len(lengths) == b
        assert max(lengths) == m
        assert (len(set(lengths)) > 1) == bool(case["tile"].get("ragged"))
        physical = [p for row in tables["pages"] for p in row if p >= 0]
        assert len(set(physical)) == len(physical) == pages < tables["pool"]

        partial, combine = result["launches"]
        assert partial["name"] == "splitk_partial"
        assert partial["grid"] == [splits, g, b]
        assert bytes_of(partial) == {
            "read lengths": splits * g * b * 4,
            "read pages": g * pages * 4,
            "read Q": used * h * d * size,
            "read K": g * sum(lengths) * d * size,
            "read V": g * sum(lengths) * d * size,
            "written OP": used * h * d * 4,
            "written LSEP": splits * b * h * 4,
        }
        rows = 32 if h // g > 16 else 16
        assert partial["dot_calls"] == 2 * g * pages
        assert partial["dots"] == 2 * g * pages * rows * page * d
        assert combine["name"] == "splitk_combine"
        assert combine["grid"] == [h, b, 1]
        assert bytes_of(combine) == {
            "read lengths": h * b * 4,
            "read LSEP": used * h * 4,
            "read OP": used * h * d * 4,
            "written O": b * h * d * size,
            "written LSE": b * h * 4,
        }
        assert combine["dots"] == 0


def test_order_of_decode(traced: list[tuple[dict, dict]]) -> None:
    result, tables = of(traced, "splitk")[0]
    width = RAGGED["G"] * RAGGED["D"]
    expected = []
    for b, length in enumerate(tables["lengths"]):
        used = tables["pages"][b][: ceil(length / 16)]
        for g in range(RAGGED["G"]):
            # 7 pages of the longest sequence in 3 splits: 3, 3 and 1.
            for split in (used[0:3], used[3:6], used[6:9]):
                expected.append([p * 16 * width + g * RAGGED["D"] for p in split])
    for name in "KV":
        found = [
            [first for tensor, _, first, _ in program if tensor == name]
            for program in result["launches"][0]["trace"]
        ]
        assert found == expected
    assert [] in expected
    program = [(tensor, way) for tensor, way, *_ in result["launches"][0]["trace"][0]]
    visit = [("pages", "r"), ("K", "r"), ("V", "r")]
    stores = [("OP", "w"), ("LSEP", "w")]
    assert program == [("lengths", "r"), ("Q", "r"), *visit * len(expected[0]), *stores]


def test_bytes_of_block_sparse(traced: list[tuple[dict, dict]]) -> None:
    for result, tables in of(traced, "block_sparse"):
        case = result["case"]
        b, h, p, m, d = (case["shape"][size] for size in "BHPMD")
        block_m, block_n = case["tile"]["block_m"], case["tile"]["block_n"]
        size = BYTES[case["dtype"]]
        lists = [row for head in tables["blocks"] for row in head]
        visited = [j for row in lists for j in row if j >= 0]
        keys = sum(min(m, (j + 1) * block_n) - j * block_n for j in visited)

        assert len(lists) == h * ceil(p / block_m)
        if case["tile"]["density"] < 100:
            assert tables["blocks"][0] != tables["blocks"][1]
        (launch,) = result["launches"]
        assert launch["name"] == "block_sparse"
        assert bytes_of(launch) == {
            "read counts": b * len(lists) * 4,
            "read blocks": b * len(visited) * 4,
            "read Q": b * h * p * d * size,
            "read K": b * keys * d * size,
            "read V": b * keys * d * size,
            "written O": b * h * p * d * size,
            "written LSE": b * h * p * 4,
        }
        assert launch["dots"] == 2 * b * len(visited) * block_m * block_n * d


def test_order_of_block_sparse(traced: list[tuple[dict, dict]]) -> None:
    for result, tables in of(traced, "block_sparse"):
        case = result["case"]
        b, h, g, p, m, d = (case["shape"][size] for size in "BHGPMD")
        lists, block_n = ceil(p / case["tile"]["block_m"]), case["tile"]["block_n"]
        if case["order"] == "rows":
            grid = [lists, h, b]
            programs = [(z, y, x) for z in range(b) for y in range(h) for x in range(lists)]
        else:
            grid = [h, lists, b]
            programs = [(z, x, y) for z in range(b) for y in range(lists) for x in range(h)]
        (launch,) = result["launches"]
        assert launch["grid"] == grid
        for (batch, head, i), program in zip(programs, launch["trace"], strict=True):
            listed = [j for j in tables["blocks"][head][i] if j >= 0]
            base = (batch * g + head * g // h) * m
            expected = [(base + j * block_n) * d for j in listed]
            for name in "KV":
                assert [first for tensor, _, first, _ in program if tensor == name] == expected
            names = [tensor for tensor, *_ in program]
            assert names == ["counts", "Q", *["blocks", "K", "V"] * len(listed), "O", "LSE"]


def test_a_full_causal_list_is_the_triangle(traced: list[tuple[dict, dict]]) -> None:
    result, tables = of(traced, "block_sparse")[-1]
    assert result["case"]["tile"]["density"] == 100
    assert tables["counts"] == [[1, 2, 3, 4]] * 2
    assert tables["blocks"][0] == [[0, -1, -1, -1], [0, 1, -1, -1], [0, 1, 2, -1], [0, 1, 2, 3]]


def test_bytes_of_lightning(traced: list[tuple[dict, dict]]) -> None:
    for result, _ in of(traced, "lightning"):
        case = result["case"]
        b, h, t, e, f = (case["shape"][size] for size in "BHTEF")
        chunk, block_f = case["tile"]["chunk"], case["tile"]["block_f"]
        size = BYTES[case["dtype"]]
        programs = f // block_f * h * b
        (launch,) = result["launches"]
        assert launch["name"] == "lightning"
        assert launch["grid"] == [f // block_f, h, b]
        assert bytes_of(launch) == {
            "read slopes": programs * 4,
            "read Q": programs * t * e * size,
            "read K": programs * t * e * size,
            "read V": b * h * t * f * size,
            "written O": b * h * t * f * size,
        }
        chunks = programs * ceil(t / chunk)
        assert launch["dot_calls"] == 4 * chunks
        per_chunk = chunk * chunk * (e + block_f) + 2 * chunk * e * block_f
        assert launch["dots"] == chunks * per_chunk
        per_program = ["slopes", *["Q", "K", "V", "O"] * ceil(t / chunk)]
        assert all([tensor for tensor, *_ in p] == per_program for p in launch["trace"])


def test_refusals() -> None:
    decode, causal, plain = DECODE[0], SPARSE[2], SPARSE[3]
    linear = LINEAR[0]
    wrong = [
        (decode, ("pages", (0, 0), 1000), "entry 0 of sequence 0 is 1000"),
        (decode, ("pages", (0, 1), -1), "entry 1 of sequence 0 is -1"),
        (decode, ("lengths", (1,), 0), "not all in 1..100"),
        (decode, ("lengths", (1,), 101), "not all in 1..100"),
        ({**decode, "tile": {"page": 24, "splits": 2}}, None, "page: 24 is no power of two"),
        ({**decode, "tile": {"page": 16}}, None, "splits = 0"),
        ({**decode, "mask": {"causal": 1}}, None, "no mask"),
        ({**decode, "order": "heads"}, None, "one order"),
        ({**decode, "shape": {**RAGGED, "G": 3}}, None, "H = 8 is no multiple of G = 3"),
        (plain, ("blocks", (0, 0, 0), 8), "leaves the 8 blocks"),
        (plain, ("blocks", (0, 0, 0), -1), "leaves the 8 blocks"),
        (plain, ("counts", (1, 0), 0), "head 1, block of queries 0 has 0 entries"),
        (plain, ("counts", (1, 0), 9), "has 9 entries"),
        (SPARSE[4], ("blocks", (0, 1, 0), 1), "does not ascend: [1, 1]"),
        (causal, ("blocks", (0, 0, 0), 1), "does not end with those on the diagonal"),
        ({**plain, "tile": {**plain["tile"], "density": 0}}, None, "density = 0"),
        ({**plain, "shape": {**WHOLE, "P": 129}, "mask": {"causal": 1}}, None, "without any key"),
        ({**linear, "inputs": "needle"}, None, "no key can dominate"),
        ({**linear, "tile": {"chunk": 32, "block_f": 256}}, None, "no multiple of block_f = 256"),
        ({**linear, "shape": RAGGED}, None, "is not B, H, T, E, F"),
    ]
    answers = python(["-c", TABLES], [(case, change) for case, change, _ in wrong])
    for (case, change, text), answer in zip(wrong, answers, strict=True):
        assert isinstance(answer, str), (case, change)
        assert text in answer
