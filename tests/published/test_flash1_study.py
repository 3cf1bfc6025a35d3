"""FlashAttention-1's bytes on the A100, forward and backward, beside figure 2; and the README."""

from __future__ import annotations

import csv
import re
import shlex
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from accelsim import arch, spec, verbs
from accelsim.cli import app

STUDY = Path(__file__).parents[2] / "studies" / "flash1"
README = (STUDY / "README.md").read_text()
FORWARD, BACKWARD = "a100__flash1", "a100__flash1_backward"
BATCH, HEADS, LENGTH, WIDTH = 64, 16, 1024, 64
TENSOR = BATCH * HEADS * LENGTH * WIDTH * 2
"""Bytes of Q, or of any of its shape."""
ROWS = BATCH * HEADS * LENGTH * 4
"""Bytes of the maxima, or the denominators, of all queries."""
SCORES = BATCH * HEADS * LENGTH * LENGTH * 2
TILES = {64: 64, 96: 128, 163: 256, 326: 512, 1024: 1024}
"""KiB of shared memory -> keys of the tile that follows."""
Launch = dict[str, Any]


@cache
def launches(mapping: str, *settings: str) -> list[Launch]:
    found: list[Launch] = verbs.traffic(mapping, "gpt2-medium", LENGTH, settings=settings)[
        "launches"
    ]
    return found


def asked(mapping: str, *settings: str) -> int:
    each = (sizes for one in launches(mapping, *settings) for sizes in one["requests"].values())
    return sum(sizes["read"] + sizes["write"] for sizes in each)


def to_memory(mapping: str, *settings: str) -> int:
    """Written in the end: what the cache still holds, too."""
    ways = ("read", "written", "dirty")
    return sum(int(one["cache"][way]) for one in launches(mapping, *settings) for way in ways)


def keys(mapping: str, *settings: str) -> int:
    """Of a tile: the queries are read once for each."""
    read = launches(mapping, *settings)[0]["requests"]["Q"]["read"]
    return LENGTH * TENSOR // int(read)


def published() -> dict[str, list[float]]:
    out: dict[str, list[float]] = {}
    with (STUDY / "published" / "fig2.csv").open() as file:
        for row in csv.DictReader(file):
            out.setdefault(row["attention"], []).append(float(row["gigabytes"]))
    return out


def in_readme(title: str, *sizes: float) -> None:
    row = " | ".join([f"| {title}", *(f"{size / 1e9:.3f}" for size in sizes)]) + " |"
    assert row in README.splitlines()


def room(kib: int) -> str:
    return f"arch.levels.shared.capacity={kib} KiB"


def by_hand(tile: int) -> tuple[int, int]:
    """Forward, backward of Algorithms 1 and 4: K and V once, per tile of keys what passes it."""
    n = LENGTH // tile
    forward = (2 + n + 2 * n - 1) * TENSOR + (2 * 2 * (n - 1) + 2) * ROWS
    backward = (4 + 3 * n + 2 * n - 1) * TENSOR + 2 * n * ROWS
    return forward, backward


@pytest.mark.parametrize(("kib", "tile"), TILES.items())
def test_bytes_at_the_tile_that_follows(kib: int, tile: int) -> None:
    at = () if kib == 163 else (room(kib),)  # 163 KiB are the A100's
    found = asked(FORWARD, *at), asked(BACKWARD, *at)
    assert (keys(FORWARD, *at), keys(BACKWARD, *at)) == (tile, tile)
    assert found == by_hand(tile)
    memory = to_memory(FORWARD, *at) + to_memory(BACKWARD, *at)
    in_readme(f"{kib} | {tile}", *found, sum(found), memory)


def test_with_one_tile_all_moves_once() -> None:
    one = room(1024)
    assert asked(FORWARD, one) + asked(BACKWARD, one) == 12 * TENSOR + 4 * ROWS
    assert to_memory(FORWARD, one) + to_memory(BACKWARD, one) == 12 * TENSOR + 4 * ROWS
    assert f"{12 * TENSOR / 1e9:.3f} GB" in README


def test_the_published_bytes_lie_between_two_neighbours() -> None:
    """Of powers of two: the tile that follows and the next; in requests and past the cache."""
    (flash,) = published()["flash"]
    for count in (asked, to_memory):
        at, above = ((count(FORWARD, *s) + count(BACKWARD, *s)) / 1e9 for s in ((), (room(326),)))
        assert above < flash < at
    four, three = (sum(by_hand(LENGTH // 4)), 28 * TENSOR + 16 * ROWS)
    assert three < flash * 1e9 < four
    assert 1.11 < four / 1e9 / flash < 1.13
    assert 0.61 < sum(by_hand(512)) / 1e9 / flash < 0.63


def test_the_paper_s_own_rule_has_as_many_tiles() -> None:
    """Bc = ceil(M / 4d), M in words of shared memory."""
    level = arch.build(spec.load("a100", "arch")).level("shared")
    assert level is not None
    assert level.capacity_bytes is not None
    rule = ceil(level.capacity_bytes / 2 / (4 * WIDTH))
    assert rule == 326
    explicit = f"mapping.partition.M.M0={rule}", room(200)
    assert ceil(LENGTH / rule) == 4
    assert asked(FORWARD, *explicit) == asked(FORWARD)
    assert asked(BACKWARD, *explicit) == asked(BACKWARD)


def test_standard_attention() -> None:
    hand = 15 * SCORES + 12 * TENSOR
    memory = to_memory("a100__unfused_training")
    assert 1 < memory / hand < 1.001
    in_readme("15 x 2.147 for scores, 12 x 0.134 for the rest", hand)
    in_readme("to memory, by the model of the L2 cache", memory)
    assert f"11 times: {(11 * SCORES + 12 * TENSOR) / 1e9:.1f} GB" in README
    in_readme("asked for by the launches (tiles of 128)", asked("a100__unfused_training"))
    stated, other = published()["standard"]
    assert 0.95 < memory / 1e9 / stated < 0.97
    (flash,) = published()["flash"]
    ours = memory / (to_memory(FORWARD) + to_memory(BACKWARD))
    assert f"{ours:.1f} times" in README
    assert f"{stated / flash:.1f} and {other / flash:.1f} times" in README


def test_what_the_bracket_depends_on() -> None:
    forward, backward = asked(FORWARD), asked(BACKWARD)
    in_readme("as above", forward + backward)

    # D, 32 bits: written once and read for each later tile.
    outputs = launches(BACKWARD)[0]["requests"]["AV"]["read"]
    kept = outputs // 4 + 4 * ROWS
    title = "outputs read with the first tile of keys only, D kept (the published kernel, "
    title += "`fmha_dgrad_kernel_1xN_loop.h`)"
    in_readme(title, forward + backward - outputs + kept)

    storage = "mapping.phases.{}.storage.{}"
    wide = (
        "mapping.formats={RM: float32, RD: float32, GM: float32, SD: float32, O: float32}",
        "mapping.formats={GM: float32, SD: float32, RQ: float32}",
    )
    aside = storage.format("backward", "RQ.level=registers")
    assert (keys(FORWARD, wide[0]), keys(BACKWARD, wide[1], aside)) == (256, 256)
    both = asked(FORWARD, wide[0]) + asked(BACKWARD, wide[1], aside)
    in_readme("partial outputs and dQ in 32 bits (dQ so in that kernel), dQ in registers", both)
    below = asked(FORWARD, wide[0], room(326)) + asked(BACKWARD, wide[1], aside, room(326))
    assert f"512 below ({below / 1e9:.3f} with" in README

    single = tuple(storage.format("forward", f"{name}.slots=1") for name in "KV")
    assert keys(FORWARD, *single) == 512
    in_readme(
        "forward without loading ahead: 512 keys there, 256 backward",
        asked(FORWARD, *single) + backward,
    )
    held = tuple(
        storage.format("backward", f"{name}={{level: shared, slots: 1}}") for name in ("A", "DS")
    )
    assert keys(BACKWARD, *held) == 128
    in_readme(
        "backward with probabilities and dS in shared memory, too: 128 keys there",
        forward + asked(BACKWARD, *held),
    )


@pytest.mark.parametrize("command", re.findall(r"^    accelsim (.*)$", README, re.MULTILINE))
def test_commands_run(command: str) -> None:
    assert CliRunner().invoke(app, shlex.split(command)).exit_code == 0
