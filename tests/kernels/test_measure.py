"""The GPU protocol without a GPU: a dry run, budgets, ncu's CSV, records, what loops hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kernels import measure, ncu, protocol, records
from kernels.cases import MODULES
from kernels.ncu import Counted
from tests.kernels.traced import DONE, ROOT, needs_triton, python

WIDE = """==PROF== Connected to process 7 (python3)
==PROF== Profiling "flash_fwd" - 0: 0%....100% - 14 passes
"ID","Process ID","Kernel Name","Block Size","Grid Size","CC","dram__bytes_read.sum","lts__t.sum"
"","","","","","","byte","sector"
"0","7","flash_fwd","(256, 1, 1)","(128, 4, 1)","9.0","12,582,912","1,179,648"
"1","7","void other<int>(int *, float)","(32, 1, 1)","(1, 1, 1)","9.0","0","3.5"
"""
LONG = """"ID","Kernel Name","Grid Size","Section Name","Metric Name","Metric Unit","Metric Value"
"0","flash_fwd","(128, 4, 1)","Command line","dram__bytes_read.sum","Mbyte","12.582912"
"0","flash_fwd","(128, 4, 1)","Command line","lts__t.sum","sector","1,179,648"
"1","void other<int>(int *, float)","(1, 1, 1)","Command line","dram__bytes_read.sum","byte","0"
"1","void other<int>(int *, float)","(1, 1, 1)","Command line","lts__t.sum","sector","3.5"
"""
PARSED = [
    Counted("flash_fwd", (128, 4, 1), {"dram__bytes_read.sum": 12582912, "lts__t.sum": 1179648}),
    Counted("void other<int>", (1, 1, 1), {"dram__bytes_read.sum": 0, "lts__t.sum": 3.5}),
]


@pytest.mark.parametrize("text", [WIDE, LONG])
def test_both_forms_of_the_csv_say_the_same(text: str) -> None:
    assert ncu.parse(text) == PARSED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WIDE.replace('"byte"', '"furlong"'), "furlong"),
        (LONG.replace("Mbyte", "Mibyte"), "Mibyte"),
        (WIDE.replace("12,582,912", "12.582.912"), "no number"),
        (WIDE.replace("12,582,912", "1258,2912"), "no number"),
        (LONG.replace("1,179,648", "n/a"), "no number"),
        (WIDE.replace("lts__t.sum", "gpu__time_duration.sum"), "times"),
        (LONG.replace("lts__t.sum", "sm__cycles_elapsed.max"), "times"),
        (WIDE[:-8], "cut off"),
        (re.sub('"","".*\n', "", WIDE), "units"),
        (re.sub('(?m)^"[01]".*\n', "", WIDE), "no launch"),
        ("==ERROR== no permission\n", "no header"),
    ],
)
def test_a_csv_that_is_not_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ncu.parse(text)


def test_metrics_that_a_chip_lacks_are_left_out() -> None:
    found, missing = ncu.available({"dram__bytes_read", "launch__waves_per_multiprocessor"})
    assert found == ["dram__bytes_read.sum", "launch__waves_per_multiprocessor"]
    assert len(found) + len(missing) == len(ncu.METRICS)
    for metric in ncu.METRICS:
        ncu.refuse_times({metric: 0})


MANIFEST: list[dict[str, Any]] = [
    {"case": {}, "launches": [{"name": "a", "grid": [2]}, {"name": "b", "grid": [2, 3]}]}
]
COUNTED = [Counted("a", (2, 1, 1), {"m": 1}), Counted("b", (2, 3, 1), {"m": 2})]


def test_counters_are_joined_to_launches() -> None:
    (case,) = records.join(COUNTED, MANIFEST)
    assert [launch["counters"]["m"] for launch in case["launches"]] == [1, 2]
    for wrong in (COUNTED[:1], COUNTED[::-1], [COUNTED[0], Counted("b", (3, 2, 1), {})]):
        with pytest.raises(ValueError, match=r"launched|made"):
            records.join(wrong, MANIFEST)


class Fake(measure.Run):
    """A run whose sections take 100 s each of a clock that is turned by hand; the second fails."""

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self.path = path
        self.record = {"sections": {}, "failed": {}, "not_reached": []}
        self.given: list[float] = []

    def do(self, name: str, seconds: float) -> Any:
        self.now += 100.0
        self.given.append(seconds)
        assert json.loads(self.path.read_text())["sections"] == self.record["sections"]
        if len(self.given) == 2:
            raise RuntimeError('File "/some/where/flash.py", line 7: 5 s / 3')
        return name


def test_a_run_ends_with_its_budget(tmp_path: Path) -> None:
    run = Fake(tmp_path / "r.json")
    names = list(measure.SECTIONS)
    measure.conduct(run, names, 230.0, lambda: run.now)
    written = json.loads(run.path.read_text())
    assert written == run.record
    assert list(written["sections"]) == [names[0], names[2]]
    assert written["failed"] == {names[1]: 'RuntimeError: File "flash.py", line 7: 5 s / 3'}
    assert written["not_reached"] == names[3:]
    limits = [measure.SECTIONS[name].limit for name in names[:3]]
    assert run.given == [min(limits[0], 230), min(limits[1], 130), min(limits[2], 30)]


def test_what_hangs_is_stopped() -> None:
    with pytest.raises(RuntimeError, match="stopped after"):
        measure.run(["sh", "-c", "sleep 60 & sleep 60"], 0.2, dry_run=False)
    with pytest.raises(RuntimeError, match="exit code 3: why"):
        measure.run(["sh", "-c", "echo why; exit 3"], 10, dry_run=False)


def test_records_are_never_overwritten(tmp_path: Path) -> None:
    first, second = (records.new_file(tmp_path / "runs", "NVIDIA H200") for _ in range(2))
    assert re.fullmatch(r"nvidia-h200-\d{4}-\d\d-\d\d-1\.json", first.name)
    assert second.name == first.name.replace("-1.json", "-2.json")


@needs_triton
def test_a_dry_run_goes_all_the_way(dry_run: Path) -> None:
    record = json.loads(dry_run.read_text())
    assert record["failed"] == {}
    assert record["not_reached"] == []
    assert list(record["sections"]) == DONE
    assert set(record["sources"]) == {path.name for path in (ROOT / "kernels").glob("*.py")}
    for name in ("numerics flash_fwd", "numerics of rows"):
        assert [result["passed"] for result in record["sections"][name]] == [True]
    (case,) = record["sections"]["counters order"]
    assert len(case["inputs_sha256"]) == 64
    (launch,) = case["launches"]
    assert list(launch["counters"]) == list(ncu.METRICS)
    raw = records.sections(records.raw_file(dry_run).read_text())
    assert list(raw) == ["counters order"]
    records.check_seal(dry_run)


def test_sections_are_known_by_name(tmp_path: Path) -> None:
    done = python("-m", "kernels.measure", "--out", str(tmp_path), "--only", "numeric flash")
    assert done.returncode == 2
    assert "invalid choice: 'numeric flash'" in done.stderr
    assert not list(tmp_path.iterdir())


@needs_triton
def test_no_record_has_times_of_attention(dry_run: Path) -> None:
    def keys(tree: Any) -> set[str]:
        if isinstance(tree, dict):
            return set(tree) | {key for value in tree.values() for key in keys(value)}
        return {key for value in tree for key in keys(value)} if isinstance(tree, list) else set()

    record = json.loads(dry_run.read_text())
    timed = re.compile(r"time|duration|cycles|second|elapsed|clock|_m?s$")
    attention = {
        name: tree
        for name, tree in record["sections"].items()
        if name.startswith(("numerics", "counters"))
    }
    assert len(attention) == 3
    assert not [key for key in keys(attention) if timed.search(key)]
    assert "clock_hz" in [key for key in keys(record["sections"]) if timed.search(key)]


def test_the_protocol_has_the_groups_it_names() -> None:
    names = [case.name for case in protocol.protocol()]
    assert len(names) == len(set(names))
    assert len(protocol.order()) == 6
    assert [case.shape["M"] // 1024 for case in protocol.knee()] == [16, 32, 48, 64, 80, 96, 128]
    assert {case.kernel for case in protocol.protocol()} == set(MODULES)
    assert {f"numerics {name}" for name in MODULES} < set(measure.SECTIONS)
    kinds = {(case.kernel, case.dtype) for case in protocol.numerics()}
    assert len(kinds) == 3 * len(MODULES)


@needs_triton
def test_kernels_take_every_case() -> None:
    code = """if True:
        import dataclasses
        from kernels import protocol
        from kernels.cases import kernel
        from kernels.measure import small

        def short(case):
            shape = {n: min(v, 130) if n in "PMT" else v for n, v in case.shape.items()}
            return dataclasses.replace(case, shape=shape)

        given = protocol.protocol() + protocol.numerics()
        for case in [*map(short, given), *(one for case in given for one in small([case]))]:
            offered = kernel(case.kernel)
            assert offered.plan(case, offered.inputs(case, "cpu")).launches, case
    """
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
