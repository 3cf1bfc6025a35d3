"""`accelsim validate`: tiers that pass, fail and are skipped, as text, as JSON and as a status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import AccelsimError
from accelsim.validate import kernels, suite, tiers
from accelsim.validate.report import MOST_SHOWN, Report, judged, lines, skipped
from accelsim.validate.tiers import number_faults
from tests.validate.canned import traced
from tests.validate.shown import accelsim

Capture = pytest.CaptureFixture[str]
UNCHECKED = """\
  not checked: time, caches, and what a compiler makes of loads
  not checked: rounding to bfloat16 (the interpreter truncates), which torch checks in the tests
"""
LABEL = "flash_fwd float32 {'causal': 1} {'B': 1, 'H': 2, 'G': 2, 'P': 96, 'M': 96, 'D': 64} random"


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the interpreter is taken to have said: two results without fault."""
    results = [traced(), traced("float16")]

    def canned(cases: list[Any], *, trace: bool) -> list[dict[str, Any]]:
        assert cases == suite.quick()
        assert trace
        return results

    monkeypatch.setattr(kernels, "missing", lambda: None)
    monkeypatch.setattr(kernels, "traced", canned)
    return results


def test_a_tier_without_fault(found: list[dict[str, Any]], capsys: Capture) -> None:
    assert accelsim(capsys, "validate", "--tier", "interpreter") == (
        0,
        "PASSED  interpreter\n"
        "  numbers of 2 of 2 cases within their gates, worst row too\n"
        "  bytes, products and accesses of 2 of 2 equal the mapping's\n"
        "  kernels: flash_fwd\n" + UNCHECKED,
        "",
    )


def test_faults_fail_a_tier(found: list[dict[str, Any]], capsys: Capture) -> None:
    found[0]["launches"][0]["tensors"]["K"]["read"] += 4096
    found[0]["numerics"]["O"]["worst_row"] = 1e-3
    case = {**found[1]["case"], "mask": {}}
    found[1] = {"case": case, "error": "IndexError: flash_fwd: an access of 4 bytes lies outside"}
    assert accelsim(capsys, "validate", "--tier", "interpreter") == (
        1,
        "FAILED  interpreter\n"
        f"  fault: {LABEL}: O: worst_row error 0.001, at most 5e-06\n"
        f"  fault: {LABEL}: flash_fwd: bytes of K, read: measured 102,400, predicted 98,304\n"
        f"  fault: {LABEL.replace('float32', 'float16').replace(str({'causal': 1}), 'dense')}: "
        "IndexError: flash_fwd: an access of 4 bytes lies outside\n"
        "  numbers of 0 of 2 cases within their gates, worst row too\n"
        "  bytes, products and accesses of 0 of 2 equal the mapping's\n"
        "  kernels: flash_fwd\n" + UNCHECKED,
        "",
    )


def test_json(found: list[dict[str, Any]], capsys: Capture) -> None:
    found[0]["finite"] = False
    status, out, err = accelsim(capsys, "validate", "--tier", "interpreter", "--json")
    assert (status, err) == (1, "")
    said = json.loads(out)
    assert said["ok"] is False
    (tier,) = said["tiers"]
    assert tier == {
        "name": "interpreter",
        "status": "failed",
        "reason": "",
        "checked": [
            "numbers of 1 of 2 cases within their gates, worst row too",
            "bytes, products and accesses of 2 of 2 equal the mapping's",
            "kernels: flash_fwd",
        ],
        "faults": [f"{LABEL}: an output is not finite"],
        "misses": [],
        "unchecked": tiers.NOT_INTERPRETED,
        "times": [],
    }


def test_tiers_run_in_the_order_in_which_they_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    ran = {name: (lambda name=name: judged(name, [], [], [])) for name in tiers.TIERS}
    monkeypatch.setattr(tiers, "_TIERS", ran)
    status, out, _ = accelsim(capsys, "validate")
    assert (status, out) == (0, "PASSED  gpu\nPASSED  interpreter\nPASSED  recorded\n")
    words = ("--tier", "recorded", "--tier", "gpu")
    assert accelsim(capsys, "validate", *words)[1] == "PASSED  recorded\nPASSED  gpu\n"


def test_a_misspelt_tier_names_the_nearest(capsys: Capture) -> None:
    error = "no tier 'interpretor'\n    did you mean 'interpreter'?\n"
    assert accelsim(capsys, "validate", "--tier", "interpretor") == (1, "", error)


def test_what_is_not_installed_is_skipped(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(kernels, "MODULES", ("json", "no_torch", "no_triton"))
    reason = "no_torch and no_triton not installed: pip install 'accelsim[kernels]'"
    assert accelsim(capsys, "validate", "--tier", "gpu", "--tier", "interpreter") == (
        0,
        f"SKIPPED  gpu: {reason}\n"
        "  not checked: numbers, counters and rates of a real GPU\n"
        f"SKIPPED  interpreter: {reason}\n"
        "  not checked: numbers and bytes of the kernels\n",
        "",
    )


def program(folder: Path, name: str, text: str) -> None:
    """A program in place of one of the kernels'."""
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").touch()
    (folder / f"{name}.py").write_text(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kernels, "missing", lambda: None)
    monkeypatch.setattr(kernels, "folder", lambda: tmp_path / "kernels")
    return tmp_path / "kernels"


MEASURE = """
import json, os, sys
assert "TRITON_INTERPRET" not in os.environ
_, out, folder, only, *sections = sys.argv
assert (out, only) == ("--out", "--only")
case = {"name": "c", "launches": [{"name": "k", "counters": {"dram__bytes_read.sum": 7}}]}
right = {"name": "c", "passed": True, "errors": {"O": {"global": 1e-3}}, "gate": 1e-2}
wrong = {"name": "d", "passed": False, "errors": {"O": {"global": 1.0}}, "gate": 1e-2}
record = {
    "environment": {"name": "NVIDIA H200"},
    "sections": {
        name: [case] if name.startswith("counters") else [right]
        for name in sections
    },
    "failed": {},
    "not_reached": ["numerics lightning"],
}
del record["sections"]["numerics lightning"]
record["sections"]["numerics splitk"].append(wrong)
json.dump(record, open(folder + "/gpu.json", "w"))
"""
PREDICTED = """\
case,launch,counter,model,least,most,tolerance
c,k,dram_read_bytes,1 partition,14,14,0.05
c,k,dram_write_bytes,1 partition,14,14,0.05
"""


def test_no_gpu_is_skipped(monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: Capture) -> None:
    monkeypatch.setattr(kernels, "no_gpu", lambda: "torch finds no CUDA device")
    program(folder, "records", "print([])")
    assert accelsim(capsys, "validate", "--tier", "gpu", "--tier", "recorded") == (
        0,
        "SKIPPED  gpu: torch finds no CUDA device\n"
        "  not checked: numbers, counters and rates of a real GPU\n"
        "SKIPPED  recorded: no run of a GPU is committed\n"
        "  not checked: what GPUs do\n",
        "",
    )


@pytest.mark.parametrize("ncu", [True, False])
def test_a_gpu_is_measured(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: Capture, ncu: bool
) -> None:
    """Without ncu no counters are asked for; numbers are."""
    monkeypatch.setattr(kernels, "no_gpu", lambda: None)
    monkeypatch.setattr(kernels, "has_ncu", lambda: ncu)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    program(folder, "measure", MEASURE)
    (folder / "predictions").mkdir()
    (folder / "predictions" / "h200.csv").write_text(PREDICTED)
    status, out, _ = accelsim(capsys, "validate", "--tier", "gpu")
    assert status == 1
    miss = "c: k: dram_read_bytes (1 partition): predicted 14, measured 7, -50.00%"
    assert out.splitlines() == [
        "FAILED  gpu",
        '  fault: numerics splitk: d: {"O": {"global": 1.0}}, at most 0.01',
        *([f"  missed prediction: {miss}"] if ncu else []),
        "  numbers of 5 of 6 cases within their gates",
        *(["  0 of 1 counters as predicted"] if ncu else []),
        "  not checked: section numerics lightning: no time was left",
        f"  not checked: {1 if ncu else 2} predicted counters were not measured",
        *([] if ncu else ["  not checked: counters: ncu is not on the path"]),
        "  not checked: time: no attention is timed before its prediction is committed",
    ]


def test_the_protocol_has_the_sections_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    from kernels.measure import SECTIONS

    asked: list[str] = []

    def measured(sections: list[str]) -> dict[str, Any]:
        asked.extend(sections)
        return {"sections": {}, "failed": {}, "not_reached": [], "environment": {"name": "none"}}

    for name, value in (("missing", None), ("no_gpu", None), ("has_ncu", True)):
        monkeypatch.setattr(kernels, name, lambda value=value: value)
    monkeypatch.setattr(kernels, "measured", measured)
    assert tiers.gpu().faults == ["holds no number, no counter and no time that could be checked"]
    of_kernels = [name for name in SECTIONS if name.startswith("numerics ")]
    of_kernels.remove("numerics of rows")
    assert asked == [*of_kernels, "counters shapes", "counters others"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ValueError('why')", "kernels/trace.py ended with status 1: ValueError: why"),
        ("import os; os._exit(7)", "kernels/trace.py ended with status 7: no message"),
        ("import os; os.kill(os.getpid(), 9)", "kernels/trace.py ended with status -9: no message"),
        ("print('[1, 2')", "kernels/trace.py wrote what is no JSON: '[1, 2'"),
        ("", "kernels/trace.py wrote what is no JSON: ''"),
    ],
)
def test_a_program_that_fails_is_an_error(
    folder: Path, capsys: Capture, text: str, message: str
) -> None:
    program(folder, "trace", text)
    expected = (1, f"FAILED  interpreter\n  fault: {message}\n", "")
    assert accelsim(capsys, "validate", "--tier", "interpreter") == expected


def test_a_program_runs_with_the_package_it_belongs_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with a package `kernels` of the folder in which it is called."""
    program(folder, "trace", "import json, kernels; print(json.dumps([kernels.__file__]))")
    other = folder.parent / "elsewhere"
    other.mkdir()
    program(other / "kernels", "trace", "print('[]')")
    monkeypatch.chdir(other)
    assert kernels.traced([]) == [str(folder / "__init__.py")]


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (lambda given: None, []),
        (lambda given: given["numerics"]["O"].update({"global": 5e-6, "worst_row": 5e-6}), []),
        (
            lambda given: given["numerics"]["O"].update({"global": 6e-6}),
            ["O: global error 6e-06, at most 5e-06"],
        ),
        (
            lambda given: given["numerics"]["O"].update({"worst_row": None}),
            ["O: worst_row error None, at most 5e-06"],
        ),
        (
            lambda given: given["numerics"]["O"].update({"worst_row": float("nan")}),
            ["O: worst_row error nan, at most 5e-06"],
        ),
        (lambda given: given.update({"finite": False}), ["an output is not finite"]),
    ],
)
def test_numbers(change: Callable[[dict[str, Any]], None], faults: list[str]) -> None:
    given = traced()
    change(given)
    assert number_faults(given) == faults


def test_long_lists_are_cut_short() -> None:
    many = [f"f{n}" for n in range(MOST_SHOWN + 1001)]
    report = Report(
        [
            judged("gpu", ["held"], many, ["unseen"], ["m"]),
            skipped("recorded", "none is there", ["what GPUs do"]),
        ]
    )
    assert lines(report) == [
        "FAILED  gpu",
        *(f"  fault: {one}" for one in many[:MOST_SHOWN]),
        "  and 1,001 more (--json has all)",
        "  missed prediction: m",
        "  held",
        "  not checked: unseen",
        "SKIPPED  recorded: none is there",
        "  not checked: what GPUs do",
    ]
    assert not report.ok
    assert report.as_json()["tiers"][0]["faults"] == many


def test_what_is_skipped_or_missed_fails_nothing() -> None:
    assert Report([skipped("gpu", "none", []), judged("recorded", [], [], [], ["m"])]).ok


def test_errors_are_for_callers_too(folder: Path) -> None:
    folder.mkdir()
    (folder / "__init__.py").touch()
    with pytest.raises(AccelsimError, match=r"No module named kernels\.trace"):
        kernels.traced([])
