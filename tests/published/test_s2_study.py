"""S2-Attention at 128K tokens: blocks kept, and the tables of the study's README.

Source of the bounds: those of our catalogue, made by counting blocks one by one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accelsim import explore
from tests.published.study import Rows, line

STUDY = Path(__file__).parents[2] / "studies" / "s2"
README = (STUDY / "README.md").read_text()
KEPT = ("8/16", "16/16", "16/1", "32/1", "64/1")
BLOCKS = {"8/16": 7.2, "16/16": 13.0, "16/1": 15.8, "32/1": 31.1, "64/1": 60.3}
OWN, L2 = "18.8796296 GB/s", "66.844 GB/s"


def swept(name: str, **only: list[Any]) -> Rows:
    """(memory, block, kept) -> row, of these values of axes only."""
    document = explore.load(str(STUDY / f"{name}.yaml"))
    axes = {**document.spec.axes, **only}
    document = replace(document, spec=document.spec.model_copy(update={"axes": axes}))
    rows = explore.rows(document, everything=True)
    return {(r["memory"], r["block"], r["kept"]): r for r in rows}


def bound(rows: Rows, memory: str, block: int, kept: str, measure: str) -> float:
    return float(rows[memory, block, kept][measure] / rows[memory, block, "all"][measure])


def over(rows: Rows, base: str, memory: str, block: int, kept: str) -> float:
    return float(rows[memory, block, base]["seconds"] / rows[memory, block, kept]["seconds"])


def test_blocks() -> None:
    rows = swept("blocks")
    found = {k: bound(rows, "400 GiB/s", 1, k, "bound_points") for k in (*KEPT, "32/8", "64/16")}
    assert {k: round(found[k], 1) for k in KEPT} == BLOCKS
    assert line("blocks of 64 x 64", [found[k] for k in KEPT]) in README
    assert found["16/1"] < 25.3 < min(found[k] for k in ("32/8", "64/16", "32/1"))
    assert f"{found['32/8']:.1f}" in README
    assert f"{found['64/16']:.1f}" in README


def check_fusemax(rows: Rows, memory: str, block: int, kept: tuple[str, ...]) -> list[str]:
    """Laws of every run; the lines of its table."""
    tiles = [bound(rows, memory, block, k, "bound_tiles") for k in kept]
    times = [over(rows, "causal", memory, block, k) for k in kept]
    same = [over(rows, "all", memory, block, k) for k in kept]
    assert all(t < b for t, b in zip(same, tiles, strict=True))
    return [
        line(f"blocks of {block}: tiles", tiles),
        line(f"blocks of {block}: over causal, {memory}", times),
        line(f"blocks of {block}: over `all`, {memory}", same),
    ]


@pytest.mark.long
@pytest.mark.parametrize("block", [64, 256])
@pytest.mark.parametrize("memory", ["400 GiB/s", "800 GiB/s"])
def test_fusemax(memory: str, block: int) -> None:
    rows = swept("fusemax", memory=[memory], block=[block])
    for text in check_fusemax(rows, memory, block, KEPT):
        assert text in README, text


def test_fusemax_with_stride_32() -> None:
    """The configuration around the claim, of the same table."""
    rows = swept("fusemax", memory=["400 GiB/s"], block=[256], kept=["causal", "all", "32/1"])
    for text in check_fusemax(rows, "400 GiB/s", 256, ("32/1",)):
        title, number = text.strip("| ").split(" | ")
        of_table = next(x for x in README.splitlines() if x.startswith(f"| {title} |"))
        assert of_table.strip("| ").split(" | ")[1 + KEPT.index("32/1")] == number


@pytest.mark.long
@pytest.mark.parametrize(("memory", "title"), [(OWN, "memory"), (L2, "L2")])
def test_one_sm(memory: str, title: str) -> None:
    rows = swept("gpu_like", memory=[memory])
    tiles = [bound(rows, memory, 64, k, "bound_tiles") for k in KEPT]
    assert line("tiles of 128 x 64", tiles) in README
    times = [over(rows, "causal", memory, 64, k) for k in KEPT]
    assert line(f"over causal, {title}", times) in README
    assert line(f"over `all`, {title}", [over(rows, "all", memory, 64, k) for k in KEPT]) in README
    for which in ("least", "most"):
        visits = [rows[memory, 64, k][f"visits_H_{which}"] for k in KEPT]
        mean = [rows[memory, 64, k]["visits_H_mean"] for k in KEPT]
        shares = [v / m for v, m in zip(visits, mean, strict=True)]
        assert line(f"tiles of a head, {which} over mean", shares, 3) in README
