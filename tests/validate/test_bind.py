"""What is simulated for a case of a kernel: mapping, settings, workload, names."""

from __future__ import annotations

from typing import Any

import pytest

from accelsim.errors import AccelsimError
from accelsim.validate import kernels
from accelsim.validate.cases import KERNELS, bind
from accelsim.validate.compare import differences
from tests.kernels.traced import needs_triton
from tests.validate.canned import traced

SHAPE = {"B": 1, "H": 4, "G": 2, "P": 75, "M": 107, "D": 64}
TILE = {"block_m": 32, "block_n": 16}
WINDOW = {"causal": 1, "window": 30, "sinks": 3}


def _case(kernel: str, shape: dict[str, int], tile: dict[str, int], **more: Any) -> dict[str, Any]:
    return {"kernel": kernel, "dtype": "float16", "shape": shape, "tile": tile, **more}


ALL_HEADS = {**SHAPE, "G": 4}
DECODE = {"B": 2, "H": 6, "G": 2, "M": 121, "D": 64}
LINEAR = {"B": 2, "H": 2, "T": 75, "E": 64, "F": 128}
CASES = [
    _case("flash_fwd", SHAPE, TILE, mask=WINDOW, dtype="float32"),
    _case("flash_fwd", SHAPE, {**TILE, "warps": 8, "stages": 3}, order="heads"),
    _case("flash1", ALL_HEADS, TILE, mask={"causal": 1}),
    _case("unfused", ALL_HEADS, {**TILE, "rows": 4}),
    _case("splitk", DECODE, {"page": 16, "splits": 3}),
    _case("block_sparse", SHAPE, {**TILE, "density": 40}, order="heads", mask={"causal": 1}),
    _case("lightning", LINEAR, {"chunk": 32, "block_f": 64}),
]
# Mapping, its settings (`mapping.` left out), word, sizes beside the shape's, parameters, names.
EXPECTED: list[tuple[str, list[str], int, dict[str, int], dict[str, int], dict[str, str]]] = [
    (
        "h200__flash_fwd",
        [
            "partition.M.M0=16",
            "partition.P.P0=32",
            "phases.flash_fwd.storage.K.slots=2",
            "phases.flash_fwd.storage.V.slots=2",
            "phases.flash_fwd.launch.threads=256",
        ],
        4,
        {},
        {"offset": 32, "window": 30, "sinks": 3},
        {"O": "AV"},
    ),
    (
        "h200__flash_fwd_heads",
        [
            "partition.M.M0=16",
            "partition.P.P0=32",
            "phases.flash_fwd.storage.K.slots=3",
            "phases.flash_fwd.storage.V.slots=3",
            "phases.flash_fwd.launch.threads=256",
        ],
        2,
        {},
        {"offset": 107},  # all keys lie before every query
        {"O": "AV"},
    ),
    (
        "h200__flash1",
        [
            "partition.M.M0=16",
            "partition.P.P0=32",
            "phases.flash1.storage.K.slots=1",
            "phases.flash1.storage.V.slots=1",
            "phases.flash1.launch.threads=128",
        ],
        2,
        {},
        {"offset": 32},
        {"O": "AV", "ON": "O"},
    ),
    (
        "h200__unfused",
        [
            "partition.M.M0=16",
            "partition.P.P0=32",
            "phases.softmax.partition.P.P0=4",
            "phases.scores.launch.threads=128",
            "phases.softmax.launch.threads=256",
            "phases.values.launch.threads=128",
        ],
        2,
        {},
        {},
        {"O": "AV", "S": "QK"},
    ),
    (
        "h200__splitk",
        [
            "partition.M.M0=16",
            "partition.M.M1=3",  # 8 pages in 3 parts
            "phases.combine.partition.M.M0=16",
            "phases.combine.partition.M.M1=3",
            "phases.partial.launch.threads=128",
            "phases.combine.launch.threads=128",
        ],
        2,
        {"S": 21, "N": 8},  # 16 pages are used, a quarter and one more exist
        {},
        {"O": "AV"},
    ),
    (
        "h200__block_sparse_heads",
        [
            "partition.M.M0=16",
            "partition.P.P0=32",
            "phases.block_sparse.storage.K.slots=2",
            "phases.block_sparse.storage.V.slots=2",
            "phases.block_sparse.launch.threads=128",
        ],
        2,
        {"J": 5},
        {"offset": 32, "causal": 1},
        {"O": "AV"},
    ),
    (
        "h200__lightning",
        ["partition.F.F0=64", "phases.lightning.launch.threads=128"],
        2,
        {"I": 32},
        {},
        {"slopes": "SLOPE"},
    ),
]


@pytest.fixture(scope="module")
def described() -> list[dict[str, Any]]:
    return kernels.described(CASES)


@needs_triton
@pytest.mark.parametrize("number", range(len(CASES)))
def test_a_case_is_bound_to_a_mapping(described: list[dict[str, Any]], number: int) -> None:
    mapping, settings, word, more, parameters, names = EXPECTED[number]
    bound = bind(described[number])
    assert bound.mapping == mapping
    expected = [*(f"mapping.{setting}" for setting in settings), f"arch.word={word} B"]
    assert list(bound.settings) == expected
    assert bound.names == names
    ranks = dict(CASES[number]["shape"])
    width = ranks.pop("D", None)
    ranks |= {} if width is None else {"E": width, "F": width}
    workload = bound.workload.spec
    assert workload.ranks == {**ranks, **more}
    assert workload.parameters == parameters
    assert workload.tables.keys() == described[number]["tables"].keys()


def test_every_kernel_has_a_case_here() -> None:
    assert {case["kernel"] for case in CASES} == set(KERNELS)


@needs_triton
def test_tables_are_of_the_case(described: list[dict[str, Any]]) -> None:
    splitk, sparse = described[4]["tables"], described[5]["tables"]
    assert splitk["lengths"] == [121, 121]
    assert len({page for row in splitk["pages"] for page in row}) == 16
    assert sparse.keys() == {"blocks", "counts"}


def test_another_machine_is_a_setting() -> None:
    there, here = (bind(traced(), arch) for arch in ("a100", "h200"))
    assert there.settings == (*here.settings, "mapping.arch=a100")
    assert there.mapping == here.mapping


def test_an_unknown_kernel_names_the_nearest() -> None:
    given = traced()
    given["case"]["kernel"] = "flash_bwd"
    with pytest.raises(AccelsimError) as raised:
        bind(given)
    message = "no mapping describes the kernel 'flash_bwd'\n    did you mean 'flash_fwd'?"
    assert str(raised.value) == message


def test_what_is_not_as_predicted_is_said_with_both_numbers() -> None:
    assert differences(traced()) == []
    given = traced()
    (launch,) = given["launches"]
    launch["tensors"]["K"]["read"] += 4096
    launch["tensors"]["V"]["atomic"] = 4
    del launch["tensors"]["LSE"]
    launch["dots"] = 7
    launch["grid"] = [2, 2, 1]
    assert [str(found) for found in differences(given)] == [
        "flash_fwd: bytes of K, read: measured 102,400, predicted 98,304",
        "flash_fwd: bytes of LSE, write: measured 0, predicted 768",
        "flash_fwd: bytes of V, atomic: measured 4, predicted 0",
        "flash_fwd: products: measured 7, predicted 1,572,864",
        "flash_fwd: instances: measured 4, predicted 6",
    ]
