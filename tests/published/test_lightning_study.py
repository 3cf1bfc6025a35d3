"""Linear attention: a flat cost per token, the crossover with softmax attention; and the README."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import pytest

from tests.published.study import swept

STUDY = Path(__file__).parents[2] / "studies" / "lightning"
README = (STUDY / "README.md").read_text()
SMS = 108
HEADS, BATCH, WIDTH = 32, 4, 128
TOKEN = HEADS * BATCH * 4 * WIDTH * 2
"""Bytes that a token moves: Q, K, V and O of all heads."""
BANDWIDTH = {"fusemax": 400 * 2**30, "gpu_like": 2039e9 / SMS}


@pytest.fixture(scope="module")
def crossover() -> dict[tuple[str, int], float]:
    return {(d, n): row["seconds"] for (d, n), row in swept("lightning", "crossover").items()}


def published() -> dict[tuple[str, int], float]:
    with (STUDY / "published" / "bench.csv").open() as file:
        return {(r["design"], int(r["seq_len"])): float(r["seconds"]) for r in csv.DictReader(file)}


def in_readme(row: str) -> None:
    assert row in README.splitlines()


def test_cost_per_token_is_flat() -> None:
    rows = swept("lightning", "cost")
    lengths = [4**n for n in range(5, 11)]
    for length in lengths:
        fusemax, gpu = (rows[m, length]["seconds"] / length * 1e9 for m in BANDWIDTH)
        in_readme(f"| {length} | {fusemax:.1f} | {gpu / SMS:.2f} |")
    for machine, block in (("fusemax", 256), ("gpu_like", 64)):
        every = [rows[machine, length] for length in lengths]
        # Powers of lambda: made once a head, read again for each head of the batch.
        powers = 2 * (block * block + 2 * block + 1) * HEADS * (1 + BATCH)
        for length, row in zip(lengths, every, strict=True):
            assert row["dram_bytes"] == TOKEN * length + powers
        for (n, one), (m, other) in pairwise(zip(lengths, every, strict=True)):
            slope = (other["seconds"] - one["seconds"]) / (m - n)
            assert slope == pytest.approx(TOKEN / BANDWIDTH[machine], rel=1e-6)
        assert every[-1]["busy_seconds_dram"] > 0.99999 * every[-1]["seconds"]


def test_crossover_lies_where_the_readme_says(crossover: dict[tuple[str, int], float]) -> None:
    lengths = sorted({length for _, length in crossover})
    pairs = {
        ("fusemax_lightning2", "fusemax_causal"): (512, 768),
        ("fusemax_lightning2", "fusemax_dense"): (512, 768),
        ("gpu_lightning2", "gpu_causal"): (384, 512),
        ("gpu_lightning2", "gpu_dense"): (256, 384),
        ("gpu_kernel", "gpu_causal"): (1024, 1280),
    }
    for (linear, softmax), (slower, faster) in pairs.items():
        for length in lengths:
            gain = crossover[softmax, length] / crossover[linear, length]
            assert gain < 1 if length <= slower else gain > 1
            assert length <= slower or length >= faster
    theirs = published()
    for length in (256, 512, 768, 1024, 1280, 2048, 4096, 8192, 16384, 32768):
        gains = [
            crossover[softmax, length] / crossover[linear, length]
            for linear, softmax in pairs
            if softmax.endswith("causal")
        ]
        shown = [f"{gain:.2f}" for gain in gains]
        if ("gpu_causal", length) in theirs:
            measured = theirs["gpu_causal", length] / theirs["gpu_lightning2", length]
            assert measured < gains[2] < gains[1]
            in_readme(f"| {length} | {' | '.join(shown)} | {measured:.2f} |")
        else:
            in_readme(f"| {length} | {' | '.join(shown)} | |")


def test_the_published_table(crossover: dict[tuple[str, int], float]) -> None:
    theirs = published()
    for length in (512, 1024, 2048, 4096, 8192, 16384, 32768):
        ours = {d: crossover[d, length] / SMS * 1e3 for d, n in crossover if n == length}
        linear, softmax = (theirs[d, length] * 1e3 for d in ("gpu_lightning2", "gpu_causal"))
        in_readme(
            f"| {length} | {ours['gpu_lightning2']:.3f} / {linear:.3f} | {ours['gpu_kernel']:.3f} "
            f"| {ours['gpu_causal']:.3f} / {softmax:.3f} |"
        )
    for name, least, most in (("gpu_lightning2", 1.96, 2.01), ("gpu_causal", 3.6, 4.02)):
        for length in (4096, 8192, 16384, 32768):
            assert least < crossover[name, length] / crossover[name, length // 2] < most
            assert least < theirs[name, length] / theirs[name, length // 2] < most
