"""What a launch cannot be: each refused with its reason; lengths of sequences to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accelsim import spec, verbs
from accelsim.errors import AccelsimError

PAGED: dict[str, Any] = {
    "ranks": {"B": 2, "H": 4, "G": 2, "E": 32, "F": 32, "M": 64, "S": 9, "N": 4},
    "tables": {"pages": [[3, 1, 8, 0], [2, 4, 6, 5]], "lengths": [64, 50]},
}
BLOCKS: dict[str, Any] = {
    "ranks": {"B": 1, "H": 1, "G": 1, "E": 32, "F": 32, "M": 128, "P": 64, "J": 2},
    "tables": {"blocks": [[[1, 0], [3, 0]]], "counts": [[2, 1]]},
}
PARTS = tuple(
    f"mapping.{at}partition.M.{part}={size}"
    for at in ("", "phases.combine.")
    for part, size in (("M1", 2), ("M0", 16))
)
TILES = ("mapping.partition.M.M0=32", "mapping.partition.P.P0=32")


def traffic(mapping: str, given: dict[str, Any], *settings: str) -> list[dict[str, Any]]:
    text = json.dumps({"workload": "w", "source": "here", **given})
    workload = spec.load_text(text, "workload")
    found: list[dict[str, Any]] = verbs.traffic(mapping, workload, settings=settings)["launches"]
    return found


def with_table(given: dict[str, Any], name: str, entries: Any) -> dict[str, Any]:
    return {**given, "tables": {**given["tables"], name: entries}}


def test_sequences_of_different_lengths() -> None:
    partial, combine = traffic("h200__splitk", PAGED, *PARTS)
    keys = 64 + 50  # of which each group's programs read all of a row
    assert partial["requests"]["K"]["read"] == keys * 2 * 32 * 2
    assert partial["requests"]["pages"]["read"] == 2 * (4 + 4) * 4
    assert partial["requests"]["lengths"]["read"] == 2 * 2 * 2 * 4
    assert combine["requests"]["OP"]["read"] == 2 * 4 * 2 * 32 * 4


def test_a_page_that_is_whole_for_one_sequence_and_not_for_another() -> None:
    """Its bytes would be those of whoever asks first."""
    shared = with_table(PAGED, "pages", [[3, 1, 8, 7], [2, 4, 6, 7]])
    with pytest.raises(AccelsimError, match=r"K: some iterations have more than others of a tile"):
        traffic("h200__splitk", shared, *PARTS)
    whole = with_table(shared, "lengths", [64, 64])
    assert traffic("h200__splitk", whole, *PARTS)[0]["cache"]["read_by_tensor"]["K"] == 14 * 1024


def test_parts_that_a_sequence_does_not_reach() -> None:
    short = with_table(PAGED, "lengths", [64, 20])
    with pytest.raises(AccelsimError, match=r"nothing of instance B 1, M2 1, which a launch has"):
        traffic("h200__splitk", short, *PARTS)


def test_phases_that_cut_a_tensor_apart() -> None:
    with pytest.raises(AccelsimError, match=r"M1 is 4 here and 2 in phase partial"):
        traffic("h200__splitk", PAGED, *PARTS, "mapping.phases.combine.partition.M.M1=4")


@pytest.mark.parametrize("missing", ["blocks", "counts"])
def test_tables_that_are_not_there(missing: str) -> None:
    tables = {name: table for name, table in BLOCKS["tables"].items() if name != missing}
    with pytest.raises(AccelsimError, match=f"table {missing}"):
        traffic("h200__block_sparse", {**BLOCKS, "tables": tables}, *TILES)


@pytest.mark.parametrize("block", [-1, 4, 300])
def test_blocks_that_are_not_there(block: int) -> None:
    wrong = with_table(BLOCKS, "blocks", [[[1, block], [3, 0]]])
    message = rf"K: its index is {block} at H 0, P1 0, J 1, outside of M1 = 4"
    with pytest.raises(AccelsimError, match=message):
        traffic("h200__block_sparse", wrong, *TILES)


def test_entries_behind_a_list_are_no_ones_concern() -> None:
    other = with_table(BLOCKS, "blocks", [[[1, 0], [3, -1]]])
    assert traffic("h200__block_sparse", other, *TILES) == traffic(
        "h200__block_sparse", BLOCKS, *TILES
    )


def test_threads_that_cannot_issue() -> None:
    setting = "mapping.phases.block_sparse.launch.threads=96"
    with pytest.raises(AccelsimError, match=r"96 threads cannot issue wgmma, of 128 each"):
        traffic("h200__block_sparse", BLOCKS, *TILES, setting)
