"""Tiles that a mask leaves out: only where nothing would be done in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim import verbs
from accelsim.errors import MappingError
from accelsim.spec import data_root

SMALL = ("workload.ranks.B=1", "workload.ranks.H=2", "workload.parameters={window: 300}")
MADE = """      X: {unit: array_1d, spatial: {lanes: P0}, stage: 1}
    storage:
"""


def run(folder: Path, *changes: tuple[str, str], more: str = "") -> verbs.Run:
    """The masked 1-pass cascade on FuseMax with changes in its text."""
    text = (data_root() / "einsum_cascades/attention_1pass_window.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "c.yaml").write_text(text)
    mapping = (data_root() / "archs/mappings/fusemax__attention_1pass_window.yaml").read_text()
    mapping = mapping.replace("cascade: attention_1pass_window", "cascade: c.yaml")
    (folder / "m.yaml").write_text(mapping.replace("    storage:\n", more or "    storage:\n"))
    return verbs.simulate(str(folder / "m.yaml"), "bert", 2048, settings=SMALL)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("subexp(RM[b,h,m1,p], RM[b,h,m1+1,p])", "exp(RM[b,h,m1,p] - RM[b,h,m1+1,p])"),
        ("SLD[b,h,m1,p] + SPD[b,h,m1,p]", "SPD[b,h,m1,p] + SLD[b,h,m1,p]"),
        ("RD[b,h,m1,p] * PRM[b,h,m1,p]", "PRM[b,h,m1,p] * RD[b,h,m1,p] * 1"),
    ],
)
def test_other_ways_to_do_nothing(tmp_path: Path, old: str, new: str) -> None:
    masks = run(tmp_path, (old, new)).result.phases[0]["masks"]
    assert masks[0]["visited"] < masks[0]["of"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("RD[b,h,m1,p] * PRM[b,h,m1,p]", "RD[b,h,m1,p] * PRM[b,h,m1,p] * 0.5", "RD changes there"),
        ("max(RM[b,h,m1,p], LM", "max(RM[b,h,m1,p] - 1, LM", "RM changes there"),
        ("subexp(RM[b,h,m1,p], RM[b,h,m1+1,p])", "exp(RM[b,h,m1,p])", "RD changes there"),
        ("SLD[b,h,m1,p] + SPD", "SLD[b,h,m1,p] + m1 + SPD", "RD changes there"),
        ("initial: {RM: -inf, RD: 0", "initial: {RM: -inf, RD: 1", "RD changes there"),
        ("seen(p, m): m <= p", "seen(p, m): p < 1024 and m <= p", "AV is to make"),
        ("seen(p, m): m <= p", "seen(p, m): m < p", "nothing at 1 of 2,048 coordinates of p"),
        (
            "seen(p, m): m <= p",
            "seen(p, m): p != 5 and m <= p",
            "nothing at 1 of 2,048 coordinates of p",
        ),
    ],
)
def test_what_is_not_idle_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        run(tmp_path, (old, new))


def test_an_output_of_every_tile_is_refused(tmp_path: Path) -> None:
    changes = (
        ("  AV: [B, H, F, P]\n", "  AV: [B, H, F, P]\n  X: [B, H, M1, P]\n"),
        ("outputs: [AV]", "outputs: [AV, X]"),
        ("  AV[b,h,f,p] =", "  X[b,h,m1,p] = RD[b,h,m1+1,p] * 2\n  AV[b,h,f,p] ="),
    )
    with pytest.raises(MappingError, match=r"X: the mask leaves out tiles .*: X is an output"):
        run(tmp_path, *changes, more=MADE)


def test_heads_that_are_left_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="nothing at 1 of 2 coordinates of h"):
        run(tmp_path, ("| seen(p, m)", "| h < 1 and seen(p, m)"))
