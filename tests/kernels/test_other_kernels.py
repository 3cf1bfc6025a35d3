"""Decode, block-sparse and linear kernels: numbers, bytes by closed formulas, order, refusals."""

from __future__ import annotations

import dataclasses
import json
from math import ceil
from typing import Any

import pytest

from kernels.cases import Case, gate
from tests.kernels.traced import needs_triton, python, traced

pytestmark = needs_triton

SIZE = {"float32": 4, "float16": 2, "bfloat16": 2}


def shape(names: str, *sizes: int) -> dict[str, int]:
    return dict(zip(names, sizes, strict=True))


# Lengths 31, 62 and 100 with seed 6, 100, 88 and 2 with seed 2: splits without any key, with some.
RAGGED = shape("BHGMD", 3, 8, 2, 100, 64)
# 3 pages, of which 5 splits take one each: two are empty. The last page is not full.
EMPTY = shape("BHGMD", 2, 3, 3, 45, 64)
# 20 queries of one group: more than the 16 rows of the smallest dot.
WIDE = shape("BHGMD", 1, 20, 1, 64, 128)
THREE = {"page": 16, "splits": 3, "ragged": 1}
FIVE = {"page": 16, "splits": 5}
DECODE = [
    Case("splitk", "float32", RAGGED, {}, THREE, seed=6),
    Case("splitk", "float16", RAGGED, {}, THREE, seed=2, inputs="needle"),
    Case("splitk", "float32", EMPTY, {}, FIVE, inputs="needle"),
    Case("splitk", "float16", EMPTY, {}, FIVE),
    Case("splitk", "float16", WIDE, {}, {"page": 32, "splits": 2}),
    Case("splitk", "bfloat16", WIDE, {}, {"page": 32, "splits": 1}),
]

CAUSAL = {"causal": 1}
TAILS = shape("BHGPMD", 2, 4, 2, 100, 150, 64)
WHOLE = shape("BHGPMD", 1, 2, 2, 128, 128, 64)


def lists(block_m: int, block_n: int, density: int) -> dict[str, int]:
    return {"block_m": block_m, "block_n": block_n, "density": density}


SPARSE = [
    Case("block_sparse", "float32", TAILS, {}, lists(32, 32, 40)),
    Case("block_sparse", "float16", TAILS, CAUSAL, lists(32, 16, 40), "heads", inputs="needle"),
    Case("block_sparse", "float32", WHOLE, CAUSAL, lists(16, 64, 10), inputs="needle"),
    Case("block_sparse", "float16", WHOLE, {}, lists(64, 16, 5), "heads"),
    Case("block_sparse", "bfloat16", WHOLE, CAUSAL, lists(32, 32, 100)),
]

LINEAR = [
    Case("lightning", dtype, shape("BHTEF", *sizes), {}, {"chunk": chunk, "block_f": block_f})
    for dtype, sizes, chunk, block_f in (
        ("float32", (2, 3, 100, 64, 128), 32, 64),
        ("float16", (1, 2, 256, 64, 64), 64, 64),
        ("float16", (1, 2, 50, 128, 64), 64, 16),
        ("bfloat16", (1, 1, 50, 64, 64), 32, 32),
    )
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


def tables_of(asked: list[tuple[Case, tuple[str, tuple[int, ...], int] | None]]) -> list[Any]:
    """The answers of `TABLES`."""
    given = [(case.to_dict(), change) for case, change in asked]
    done = python("-c", TABLES, given=json.dumps(given))
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def results() -> list[tuple[Case, dict[str, Any], dict[str, Any]]]:
    """Every case, its trace and its tables."""
    cases = [*DECODE, *SPARSE, *LINEAR]
    traces = traced(cases, "--trace", "--jobs", "2")
    for trace in traces:
        assert "error" not in trace, trace
    return list(zip(cases, traces, tables_of([(case, None) for case in cases]), strict=True))


def of(results: list[Any], kernel: str) -> list[Any]:
    return [result for result in results if result[0].kernel == kernel]


def bytes_of(launch: dict[str, Any]) -> dict[str, int]:
    """Bytes by tensor and way, those that are not 0."""
    return {
        f"{way} {name}": counts[way]
        for name, counts in launch["tensors"].items()
        for way in ("read", "written", "atomic")
        if counts[way]
    }


def test_numbers(results: list[Any]) -> None:
    for case, trace, _ in results:
        assert trace["finite"], case
        assert set(trace["numerics"]) == ({"O"} if case.kernel == "lightning" else {"O", "LSE"})
        if case.dtype == "bfloat16":  # the interpreter truncates
            continue
        for name, error in trace["numerics"].items():
            for kind in ("global", "worst_row"):
                assert error[kind] <= gate(case), (case, name, error)


def test_bytes_of_decode(results: list[Any]) -> None:
    for case, trace, tables in of(results, "splitk"):
        b, h, g, m, d = (case.shape[size] for size in "BHGMD")
        page, splits = case.tile["page"], case.tile["splits"]
        size = SIZE[case.dtype]
        lengths = tables["lengths"]
        part = ceil(ceil(m / page) / splits)
        pages = sum(ceil(n / page) for n in lengths)
        used = sum(ceil(ceil(n / page) / part) for n in lengths)

        assert len(lengths) == b
        assert max(lengths) == m
        assert (len(set(lengths)) > 1) == bool(case.tile.get("ragged"))
        physical = [p for row in tables["pages"] for p in row if p >= 0]
        assert len(set(physical)) == len(physical) == pages < tables["pool"]

        partial, combine = trace["launches"]
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


def test_order_of_decode(results: list[Any]) -> None:
    _, trace, tables = of(results, "splitk")[0]
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
            for program in trace["launches"][0]["trace"]
        ]
        assert found == expected
    assert [] in expected
    program = [(tensor, way) for tensor, way, *_ in trace["launches"][0]["trace"][0]]
    visit = [("pages", "r"), ("K", "r"), ("V", "r")]
    stores = [("OP", "w"), ("LSEP", "w")]
    assert program == [("lengths", "r"), ("Q", "r"), *visit * len(expected[0]), *stores]


def test_bytes_of_block_sparse(results: list[Any]) -> None:
    for case, trace, tables in of(results, "block_sparse"):
        b, h, p, m, d = (case.shape[size] for size in "BHPMD")
        block_m, block_n = case.tile["block_m"], case.tile["block_n"]
        size = SIZE[case.dtype]
        lists = [row for head in tables["blocks"] for row in head]
        visited = [j for row in lists for j in row if j >= 0]
        keys = sum(min(m, (j + 1) * block_n) - j * block_n for j in visited)

        assert len(lists) == h * ceil(p / block_m)
        if case.tile["density"] < 100:
            assert tables["blocks"][0] != tables["blocks"][1]
        (launch,) = trace["launches"]
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


def test_order_of_block_sparse(results: list[Any]) -> None:
    for case, trace, tables in of(results, "block_sparse"):
        b, h, g, p, m, d = (case.shape[size] for size in "BHGPMD")
        lists, block_n = ceil(p / case.tile["block_m"]), case.tile["block_n"]
        if case.order == "rows":
            grid = [lists, h, b]
            programs = [(z, y, x) for z in range(b) for y in range(h) for x in range(lists)]
        else:
            grid = [h, lists, b]
            programs = [(z, x, y) for z in range(b) for y in range(lists) for x in range(h)]
        (launch,) = trace["launches"]
        assert launch["grid"] == grid
        for (batch, head, i), program in zip(programs, launch["trace"], strict=True):
            listed = [j for j in tables["blocks"][head][i] if j >= 0]
            base = (batch * g + head * g // h) * m
            expected = [(base + j * block_n) * d for j in listed]
            for name in "KV":
                assert [first for tensor, _, first, _ in program if tensor == name] == expected
            names = [tensor for tensor, *_ in program]
            assert names == ["counts", "Q", *["blocks", "K", "V"] * len(listed), "O", "LSE"]


def test_a_full_causal_list_is_the_triangle(results: list[Any]) -> None:
    case, _, tables = of(results, "block_sparse")[-1]
    assert case.tile["density"] == 100
    assert tables["counts"] == [[1, 2, 3, 4]] * 2
    assert tables["blocks"][0] == [[0, -1, -1, -1], [0, 1, -1, -1], [0, 1, 2, -1], [0, 1, 2, 3]]


def test_bytes_of_lightning(results: list[Any]) -> None:
    for case, trace, _ in of(results, "lightning"):
        b, h, t, e, f = (case.shape[size] for size in "BHTEF")
        chunk, block_f = case.tile["chunk"], case.tile["block_f"]
        size = SIZE[case.dtype]
        programs = f // block_f * h * b
        (launch,) = trace["launches"]
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
    changed = dataclasses.replace
    decode, causal, plain, linear = DECODE[0], SPARSE[2], SPARSE[3], LINEAR[0]
    wrong: list[tuple[Case, tuple[str, tuple[int, ...], int] | None, str]] = [
        (decode, ("pages", (0, 0), 1000), "entry 0 of sequence 0 is 1000"),
        (decode, ("pages", (0, 1), -1), "entry 1 of sequence 0 is -1"),
        (decode, ("lengths", (1,), 0), "not all in 1..100"),
        (decode, ("lengths", (1,), 101), "not all in 1..100"),
        (changed(decode, tile={"page": 24, "splits": 2}), None, "page: 24 is no power of two"),
        (changed(decode, tile={"page": 16}), None, "splits = 0"),
        (changed(decode, mask=CAUSAL), None, "no mask"),
        (changed(decode, order="heads"), None, "one order"),
        (changed(decode, shape={**RAGGED, "G": 3}), None, "H = 8 is no multiple of G = 3"),
        (plain, ("blocks", (0, 0, 0), 8), "leaves the 8 blocks"),
        (plain, ("blocks", (0, 0, 0), -1), "leaves the 8 blocks"),
        (plain, ("counts", (1, 0), 0), "head 1, block of queries 0 has 0 entries"),
        (plain, ("counts", (1, 0), 9), "has 9 entries"),
        (SPARSE[4], ("blocks", (0, 1, 0), 1), "does not ascend: [1, 1]"),
        (causal, ("blocks", (0, 0, 0), 1), "does not end with those on the diagonal"),
        (changed(plain, tile=lists(64, 16, 0)), None, "density = 0"),
        (changed(plain, shape={**WHOLE, "P": 129}, mask=CAUSAL), None, "without any key"),
        (changed(linear, inputs="needle"), None, "no key can dominate"),
        (changed(linear, tile={"chunk": 32, "block_f": 256}), None, "multiple of block_f = 256"),
        (changed(linear, shape=RAGGED), None, "is not B, H, T, E, F"),
    ]
    answers = tables_of([(case, change) for case, change, _ in wrong])
    for (case, change, text), answer in zip(wrong, answers, strict=True):
        assert isinstance(answer, str), (case, change)
        assert text in answer
