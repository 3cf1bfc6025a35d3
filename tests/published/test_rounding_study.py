"""Rounding in attention: the README's numbers, what it concludes, and torch's own attention."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim import explore

STUDY = Path(__file__).parents[2] / "studies" / "rounding"
LINES = (STUDY / "README.md").read_text().splitlines()
DESIGNS = {"one_pass": "one pass", "three_pass": "three passes", "no_maximum": "no maximum"}
FORMATS = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
Errors = dict[tuple[Any, ...], float | None]


def errors(name: str, **axes: list[Any]) -> Errors:
    """Of a part of a sweep, by the axes that are given; None where it is not a number."""
    document = explore.load(str(STUDY / f"{name}.yaml"))
    some = document.spec.model_copy(update={"axes": document.spec.axes | axes})
    rows = explore.rows(dataclasses.replace(document, spec=some))
    return {tuple(row[axis] for axis in axes): row["error"] for row in rows}


def shown(error: float | None) -> str:
    return "not a number" if error is None else f"{error:.3g}"


def known(error: float | None) -> float:
    assert error is not None
    return error


def in_readme(*cells: str) -> None:
    assert f"| {' | '.join(cells)} |" in LINES


def published() -> list[dict[str, str]]:
    with (STUDY / "torch.csv").open() as file:
        return list(csv.DictReader(file))


def test_formats_and_passes() -> None:
    found = errors("tiles", design=list(DESIGNS), format=FORMATS, sums=["float32"], tile=[128])
    size = {(design, written): known(error) for (design, written, *_), error in found.items()}
    for design, title in DESIGNS.items():
        in_readme(title, *(shown(size[design, written]) for written in FORMATS))
    for finer, coarser, factor in zip(FORMATS, FORMATS[1:], (8, 16, 2), strict=False):
        for design in ("one_pass", "no_maximum"):
            ratio = size[design, coarser] / size[design, finer]
            assert ratio == pytest.approx(factor, rel=0.03)
    for written in FORMATS:
        ratio = size["three_pass", written] / size["one_pass", written]
        assert ratio > 20 if written == "float8_e4m3fn" else 1.4 < ratio < 1.51
        assert 1.045 < size["no_maximum", written] / size["one_pass", written] < 1.075


def test_tiles_matter_where_sums_are_rounded() -> None:
    axes = {"tile": [16, 1024], "format": ["float16", "bfloat16"], "sums": ["float32", "float16"]}
    found = errors("tiles", design=["one_pass"], **axes)
    size = {at: known(error) for (_, *at_), error in found.items() for at in (tuple(at_),)}
    for tile in (16, 1024):
        cells = [size[tile, w, sums] for w in axes["format"] for sums in axes["sums"]]
        in_readme(str(tile), *map(shown, cells))
        worse = size[tile, "float16", "float16"] / size[tile, "float16", "float32"]
        assert worse == pytest.approx({16: 11.1, 1024: 2.28}[tile], rel=0.01)
    for written in ("float16", "bfloat16"):
        ratio = size[1024, written, "float32"] / size[16, written, "float32"]
        assert ratio == pytest.approx(1, abs=0.035)


def test_without_a_maximum() -> None:
    designs, scores = ["one_pass", "no_maximum"], [2, 8]
    axes = {"scores": scores, "format": FORMATS, "design": designs}
    found = errors("logits", sums=["float32"], **axes)
    size = {tuple(at[1:]): error for at, error in found.items()}
    for score in scores:
        cells = [", ".join(shown(size[score, w, d]) for d in designs) for w in FORMATS]
        in_readme(str(score), *cells)
    assert {at for at, error in size.items() if error is None} == {
        (8, "float16", "no_maximum"),
        (8, "float8_e5m2", "no_maximum"),
    }
    assert known(size[8, "float8_e4m3fn", "no_maximum"]) > 0.99
    rounded = errors("logits", scores=[8], format=["bfloat16"], design=designs, sums=["float16"])
    assert [error is None for error in rounded.values()] == [False, True]


def test_torch_is_predicted() -> None:
    theirs = published()
    assert len(theirs) == 12
    every = sorted({row["rounded"] for row in theirs})
    axes = {"rounded": every, "format": FORMATS, "scores": [1, 8]}
    found = errors("formats", design=["one_pass"], **axes)
    passes = errors("formats", design=["three_pass"], **axes | {"rounded": ["inside"]})
    for row in theirs:
        at = (row["rounded"], row["format"], int(row["scores"]))
        ours, error = known(found["one_pass", *at]), float(row["error"])
        in_readme(*map(str, at), shown(ours), shown(error))
        assert ours == pytest.approx(error, rel=2e-4 if "float8" in row["format"] else 0.02)
        if row["rounded"] == "inside":
            assert 1.21 < known(passes["three_pass", *at]) / error < 1.325


def test_three_passes_by_scores() -> None:
    axes = {"scores": [2, 4, 8], "format": FORMATS}
    found = {
        design: {at[2:]: known(e) for at, e in made.items()}
        for design in ("one_pass", "three_pass")
        for made in [errors("logits", design=[design], sums=["float32"], **axes)]
    }
    own = ", ".join(shown(found["three_pass"][score, "float8_e4m3fn"]) for score in (2, 4, 8))
    assert any(f"({own} at deviations of 2, 4, 8)" in line for line in LINES)
    for written in FORMATS:
        assert 4 < found["three_pass"][8, written] / found["one_pass"][8, written] < 5


def script() -> Any:
    spec = importlib.util.spec_from_file_location("torch_attention", STUDY / "torch_attention.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("written", "scores"), [("bfloat16", 1), ("float8_e4m3fn", 8)])
def test_torch_computes_its_rows_again(written: str, scores: int) -> None:
    """To 1 %: another release, or another processor, adds in another order."""
    stored = [r for r in published() if (r["format"], r["scores"]) == (written, str(scores))]
    made = script().rows(written, scores)
    assert [row["rounded"] for row in made] == [row["rounded"] for row in stored]
    for row, other in zip(made, stored, strict=True):
        assert row["error"] == pytest.approx(float(other["error"]), rel=0.01)


def test_why_formats_differ() -> None:
    """Shares of the largest numerator, and of weights that float8_e4m3fn does not hold well."""
    found = {}
    for scores in (1, 2, 4, 8):
        given = script().inputs(scores)
        product = (given["Q"] @ given["K"].mT).numpy()[0, 0]
        numerators = np.exp(product - product.max(axis=1, keepdims=True))
        weights = numerators / numerators.sum(axis=1, keepdims=True)
        largest = (weights.max(axis=1) ** 2).sum() / (weights**2).sum()
        below = weights[numerators < 2.0**-6].sum() / len(weights)
        lost = weights[weights < 2.0**-10].sum() / len(weights)
        found[scores] = [round(100 * float(share)) for share in (largest, below, lost)]
    assert (found[1][0], found[8][0]) == (8, 91)
    assert [found[scores][1] for scores in (1, 2, 4)] == [5, 26, 12]
    assert found[1][2] == 58


def test_figures_have_torch_beside_them() -> None:
    from accelsim import spec
    from accelsim.report.figures import read_published

    asked = spec.load(str(STUDY / "figures.yaml"), "figures").spec
    explore.check_figures(str(STUDY / "figures.yaml"))
    marks = [read_published(asked, plot, STUDY) for plot in asked.plots if plot.published]
    assert [len(rows) for rows in marks] == [12, 12]
    assert all(row["tile"] == 512 and row["error_AV"] > 0 for rows in marks for row in rows)
