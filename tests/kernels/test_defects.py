"""Each gate is needed: defects planted in a copy of the kernels, and which gates see them.

A defect is a replacement in a kernel's text. The kernel then runs as `accelsim validate` runs it,
and exactly the gates that are named have to find fault. Those that are not named show what would go
unseen without the others.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from accelsim.validate import kernels
from accelsim.validate.compare import differences, trace_faults
from accelsim.validate.tiers import number_faults
from tests.kernels.traced import ROOT, needs_triton

pytestmark = needs_triton

Result = dict[str, Any]


def _differ(result: Result, what: str) -> list[str]:
    return [str(found) for found in differences(result) if found.what.startswith(what)]


GATES: dict[str, Callable[[Result], list[str]]] = {
    "finite": lambda result: number_faults(result, ()),
    "whole": lambda result: number_faults(result, ("global",)),
    "worst row": lambda result: number_faults(result, ("worst_row",)),
    "bytes": lambda result: _differ(result, "bytes"),
    "products": lambda result: _differ(result, "products"),
    "accesses": trace_faults,
}


def caught(result: Result) -> set[str]:
    """The gates that find fault."""
    assert "error" not in result, result["error"]
    return {name for name, faults in GATES.items() if faults(result)}


def _flash(mask: dict[str, int], **other: Any) -> dict[str, Any]:
    return {
        "kernel": "flash_fwd",
        "dtype": "float32",
        "shape": {"B": 1, "H": 4, "G": 2, "P": 96, "M": 96, "D": 64},
        "mask": mask,
        "tile": {"block_m": 32, "block_n": 16},
        **other,
    }


DENSE = _flash({})
CAUSAL = _flash({"causal": 1})
RAGGED = _flash({}, shape={"B": 1, "H": 2, "G": 2, "P": 75, "M": 107, "D": 64})
WINDOW = _flash({"causal": 1, "window": 20})
DECODE = {
    "kernel": "splitk",
    "dtype": "float32",
    "shape": {"B": 2, "H": 4, "G": 2, "M": 128, "D": 64},
    "tile": {"page": 16, "splits": 2},
}
LONG = _flash(
    {},
    dtype="bfloat16",
    shape={"B": 1, "H": 1, "G": 1, "P": 16, "M": 16384, "D": 64},
    tile={"block_m": 16, "block_n": 256},
)
NEEDLES = {**LONG, "inputs": "needle"}
CASES = {
    "dense": DENSE,
    "ragged": RAGGED,
    "causal": CAUSAL,
    "window": WINDOW,
    "decode": DECODE,
    "long": LONG,
    "needles": NEEDLES,
}


@dataclass(frozen=True)
class Defect:
    """In a file of the kernels, `old` becomes `new`. seen: by these gates, of each case.

    What no gate sees in one case is a defect only in another: where all tiles are alike, their
    order is no one's concern.
    """

    file: str
    old: str
    new: str
    seen: dict[str, set[str]]


NUMBERS = {"whole", "worst row"}
TILES = {"bytes", "products", "accesses"}
DEFECTS = {
    "dropped rescale": Defect(
        "softmax.py", "v, acc * alpha[:, None],", "v, acc,", {"causal": NUMBERS}
    ),
    "exp for exp2": Defect(
        "softmax.py", "p = tl.exp2(score", "p = tl.exp(score", {"causal": NUMBERS}
    ),
    "heads share other groups": Defect(
        "flash.py", "h * groups // heads)", "h % groups)", {"causal": NUMBERS | {"accesses"}}
    ),
    "maximum from -inf": Defect(
        "flash.py", "-1.0e30, tl", 'float("-inf"), tl', {"window": {*NUMBERS, "finite"}}
    ),
    "dropped causal bound": Defect(
        "flash.py",
        "end = bottom // block_n + 1",
        "end = tl.cdiv(keys, block_n)",
        {"causal": TILES},
    ),
    "extra tile": Defect(
        "flash.py",
        "end = bottom // block_n + 1",
        "end = tl.minimum(bottom // block_n + 2, tl.cdiv(keys, block_n))",
        {"causal": TILES},
    ),
    "tile beyond all keys": Defect(
        "flash.py",
        "end = tl.cdiv(keys, block_n)\n    whole",
        "end = tl.cdiv(keys, block_n) + 1\n    whole",
        {"ragged": {"products"}},
    ),
    "reloaded tile": Defect(
        "flash.py",
        "k = tl.load(k_ptr + offset)",
        "k = tl.load(k_ptr + offset) + 0 * tl.load(k_ptr + offset)",
        {"causal": {"bytes", "accesses"}},
    ),
    "tiles backwards": Defect(
        "flash.py",
        "key = j * block_n +",
        "key = (begin + end - 1 - j) * block_n +",
        {"dense": set(), "causal": {"accesses"}},
    ),
    "blocks backwards": Defect(
        "flash.py",
        "i = tl.program_id(0)",
        "i = tl.num_programs(0) - 1 - tl.program_id(0)",
        {"dense": set(), "ragged": {"accesses"}},
    ),
    "wrong page": Defect(
        "decode.py",
        "b * table_width + j)",
        "b * table_width + begin)",
        {"decode": NUMBERS | {"accesses"}},
    ),
    # The needle of one query. In random inputs it weighs little, and all rows together hide it.
    "one dropped key": Defect(
        "flash.py",
        "score = tl.dot(q, tl.trans(k)",
        'score = tl.where(key[None, :] == 14673, float("-inf"), 0.0) + tl.dot(q, tl.trans(k)',
        {"long": {"worst row"}, "needles": NUMBERS},
    ),
}


@pytest.fixture(scope="module")
def sound() -> dict[str, Result]:
    results = kernels.traced(list(CASES.values()), trace=True)
    return dict(zip(CASES, results, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_no_gate_finds_fault_with_the_kernels_as_they_are(
    sound: dict[str, Result], name: str
) -> None:
    assert caught(sound[name]) == set()


def test_no_gate_does_for_another() -> None:
    """Switched off one by one or as numbers and requests, some defect is no longer seen."""
    seen = [gates for defect in DEFECTS.values() for gates in defect.seen.values()]
    for alone in ({"worst row"}, {"products"}, {"accesses"}, NUMBERS, {"bytes", "accesses"}):
        assert alone in seen


@pytest.mark.parametrize("name", DEFECTS)
def test_the_gates_that_see_a_defect(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defect = DEFECTS[name]
    copy = tmp_path / "kernels"
    shutil.copytree(ROOT / "kernels", copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = (copy / defect.file).read_text()
    assert text.count(defect.old) == 1, f"{defect.old!r} stands {text.count(defect.old)} times"
    (copy / defect.file).write_text(text.replace(defect.old, defect.new))
    monkeypatch.setattr(kernels, "folder", lambda: copy)
    results = kernels.traced([CASES[case] for case in defect.seen], trace=True)
    seen = {case: caught(result) for case, result in zip(defect.seen, results, strict=True)}
    assert seen == defect.seen
