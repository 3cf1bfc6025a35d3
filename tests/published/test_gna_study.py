"""Neighbourhood attention: bounds of NATTEN's cases, and the tables of the study's README.

Source of the bounds: layout / window, and tiles / tiles that a tile of queries meets on average,
each a product over axes.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.published.study import Rows, line, swept

STUDY = Path(__file__).parents[2] / "studies" / "gna"
README = (STUDY / "README.md").read_text()
LAYOUTS, METHODS = ("flux", "hunyuan"), ("stride_1", "strided")
OWN, L2 = "18.8796296 GB/s", "66.844 GB/s"
POINTS = {"flux": 256 * 256 / (80 * 80), "hunyuan": 30 * 48 * 80 / (18 * 24 * 24)}
TILES = {
    ("flux", "128 x 128", "stride_1"): 7.51,
    ("flux", "256 x 128", "stride_1"): 7.06,
    ("hunyuan", "128 x 128", "stride_1"): 5.44,
    ("hunyuan", "256 x 128", "stride_1"): 5.24,
}


@pytest.fixture(scope="module")
def fusemax() -> Rows:
    """(layout, memory, method) -> row."""
    return swept("gna", "fusemax")


@pytest.fixture(scope="module")
def sm() -> Rows:
    """(layout, memory, method, tile) -> row."""
    return swept("gna", "gpu_like")


def over(rows: Rows, base: str, layout: str, memory: str, method: str, *tile: str) -> float:
    found = rows[(layout, memory, method, *tile)]["seconds"]
    return float(rows[(layout, memory, base, *tile)]["seconds"] / found)


CASES = [(layout, method) for layout in LAYOUTS for method in METHODS]


def test_bounds(sm: Rows, fusemax: Rows) -> None:
    for (layout, _, method, tile), row in sm.items():
        if method in METHODS:
            assert row["bound_points"] == pytest.approx(POINTS[layout], rel=1e-12)
            expected = TILES.get((layout, tile, method))
            if expected is None:  # strided: whole tiles
                assert row["bound_tiles"] == row["bound_points"]
                assert row["tiles_in_part"] == 0
            else:
                assert round(row["bound_tiles"], 2) == expected
        else:
            assert row["bound_points"] == row["bound_tiles"] == 1
    for (layout, _, method), row in fusemax.items():
        bound = POINTS[layout] if method in METHODS else 1
        assert row["bound_points"] == pytest.approx(bound, rel=1e-12)
        assert row["bound_tiles"] <= row["bound_points"]


def test_no_speedup_beats_its_tile_bound(sm: Rows, fusemax: Rows) -> None:
    for rows in (sm, fusemax):
        for (layout, memory, method, *tile), row in rows.items():
            if method in METHODS:
                assert over(rows, "full", layout, memory, method, *tile) < row["bound_tiles"]


def test_fusemax_table(fusemax: Rows) -> None:
    at = [fusemax[layout, "400 GiB/s", method] for layout, method in CASES]
    assert line("bound of points", [r["bound_points"] for r in at]) in README
    assert line("bound of tiles", [r["bound_tiles"] for r in at]) in README
    shares = [r["tiles_in_part"] / r["tiles_visited"] for r in at]
    assert line("share of tiles in part", shares) in README
    for memory in ("400 GiB/s", "800 GiB/s"):
        for base, title in (("dense", "dense"), ("full", "`full`")):
            times = [over(fusemax, base, la, memory, me) for la, me in CASES]
            assert line(f"over {title}, {memory}", times) in README


@pytest.mark.parametrize("tile", ["128 x 128", "256 x 128"])
def test_sm_tables(sm: Rows, tile: str) -> None:
    at = [sm[layout, OWN, method, tile] for layout, method in CASES]
    assert line(f"{tile}: bound of tiles", [r["bound_tiles"] for r in at]) in README
    shares = [r["tiles_in_part"] / r["tiles_visited"] for r in at]
    assert line(f"{tile}: share of tiles in part", shares) in README
    for base, memory, title in (
        ("full", OWN, "over `full`, memory"),
        ("dense", OWN, "over dense, memory"),
        ("dense", L2, "over dense, L2"),
    ):
        times = [over(sm, base, la, memory, me, tile) for la, me in CASES]
        assert line(f"{tile}: {title}", times) in README


def test_waste_and_traffic_of_the_unfused_form(sm: Rows, fusemax: Rows) -> None:
    """Weights: 2 B each, of 24 heads, out and in after the first product, and after softmax."""
    found = []
    for layout in LAYOUTS:
        tiles = [
            fusemax[layout, "400 GiB/s", "stride_1"],
            *(sm[layout, OWN, "stride_1", tile] for tile in ("128 x 128", "256 x 128")),
        ]
        for row, title in zip(tiles, ("256 x 256", "128 x 128", "256 x 128"), strict=True):
            weights = 24 * 2 * 4 * row["points_kept"]
            waste = row["bound_points"] / row["bound_tiles"]
            ratio = (row["dram_bytes"] + weights) / row["dram_bytes"]
            name = {"flux": "FLUX", "hunyuan": "Hunyuan"}[layout]
            if (layout, title) != ("hunyuan", "256 x 128"):  # padded queries keep points, too
                found.append(line(f"{name}, {title}", [waste, row["dram_bytes"] / 1e9, ratio]))
    for text in found:
        assert text in README, text


@pytest.mark.parametrize(("gpu", "tile"), [("H100", "128 x 128"), ("B200", "256 x 128")])
def test_what_tiles_in_part_cost_on_real_machines(sm: Rows, gpu: str, tile: str) -> None:
    """t(stride_1) / t(strided) = tiles / tiles x (1 + share in part x (cost - 1))."""
    with (STUDY / "published" / "natten.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["memory"].startswith(gpu)]
    measured = {(r["layout"], r["method"]): float(r["seconds"]) for r in rows}
    costs = []
    for layout in LAYOUTS:
        one, other = (sm[layout, OWN, method, tile] for method in METHODS)
        times = measured[layout, "stride_1"] / measured[layout, "strided"]
        each = times / (one["tiles_visited"] / other["tiles_visited"])
        costs.append(1 + (each - 1) * one["tiles_visited"] / one["tiles_in_part"])
        dense = measured[layout, "dense"]
        for method in METHODS:
            digits = 2 if dense / measured[layout, method] < 10 else 1
            assert f"*{dense / measured[layout, method]:.{digits}f}*" in README
    assert line(f"{gpu}, tiles in part over whole tiles", costs) in README
