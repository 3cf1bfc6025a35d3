"""The times of attention: which cases, how they are measured, what a run is refused for.

What needs a GPU is replaced: the tests see how often things are launched and what becomes of times.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from accelsim import spec
from kernels import attention, measure, records, stopwatch, timing
from kernels.cases import Case
from kernels.timing import Timed
from tests.kernels.traced import needs_triton, python


def test_the_grid_is_that_of_the_benchmarks() -> None:
    found = timing.times()
    assert len({timed.name for timed in found}) == len(found)
    assert 60 <= len(found) <= 100
    assert list(timing.FAMILIES) == list(dict.fromkeys(timed.family for timed in found))
    for causal, cases in ((0, timing.family("dense")), (1, timing.family("causal"))):
        shapes = [timed.case.shape for timed in cases]
        assert {s["B"] * s["P"] for s in shapes} == {16384}
        assert {s["H"] * s["D"] for s in shapes} == {2048}
        lengths = (512, 1024, 2048, 4096, 8192, 16384)
        assert [(s["D"], s["M"]) for s in shapes] == [
            (d, m) for d in (64, 128, 256) for m in lengths
        ]
        assert {timed.case.mask.get("causal", 0) for timed in cases} == {causal}
    assert max(timed.case.shape["M"] for timed in timing.family("long")) == 131072
    kernels = Counter(timed.kernel for timed in found)
    assert kernels["sdpa_flash"] == kernels["sdpa_cudnn"] > 20
    assert {kernel for kernel, n in kernels.items() if n == 1} == set(timing.OTHERS)


def test_torch_has_shapes_that_own_kernels_have() -> None:
    def what(timed: Timed) -> tuple[Any, ...]:
        shape = {size: n for size, n in timed.case.shape.items() if (size, n) != ("P", 1)}
        return tuple(shape.items()), tuple(timed.case.mask.items())

    own = {what(timed) for timed in timing.times() if timed.own}
    assert {what(timed) for timed in timing.times() if not timed.own} < own


def test_pairs_are_those_of_the_mask() -> None:
    for mask in (
        {},
        {"causal": 1},
        {"causal": 1, "window": 20},
        {"causal": 1, "window": 9, "sinks": 4},
    ):
        for queries, keys in ((33, 33), (5, 70), (1, 64)):
            shape = {"B": 1, "H": 1, "G": 1, "P": queries, "M": keys, "D": 64}
            case = Case("flash_fwd", "float16", shape, mask)
            kept = attention.kept(case, torch.arange(queries), torch.device("cpu"))
            assert timing.pairs(case) == int(kept.sum()), (mask, shape)


def of(kernel: str, **rest: Any) -> tuple[int, int]:
    shape = {"B": 2, "H": 4, "G": 2, "P": 128, "M": 256, "D": 64}
    return timing.work(Case(kernel, "bfloat16", **{"shape": shape, **rest}))


def test_work_of_a_case() -> None:
    pairs, rows = 2 * 4 * 128 * 256, 2 * (4 * 128 + 2 * 256) * 64 * 2 * 2
    assert of("flash_fwd") == (4 * pairs * 64, rows)
    assert of("block_sparse", tile={"density": 25}) == (pairs * 64, rows)
    assert of("unfused", mask={"causal": 1}) == (4 * pairs * 64, rows + 2 * pairs * (4 + 2))
    cache = {"B": 3, "H": 8, "G": 2, "M": 100, "D": 64}
    moved = 2 * 3 * (8 + 2 * 100) * 64 * 2
    assert of("splitk", shape=cache) == (4 * 3 * 8 * 100 * 64, moved)
    linear = {"B": 1, "H": 2, "T": 256, "E": 32, "F": 64}
    each = 2 * (2 * 32 * 64 + 64 * (32 + 64))  # state read and added to; scores, values of a chunk
    assert of("lightning", shape=linear, tile={"chunk": 64}) == (512 * each, 512 * 192 * 2)


def test_the_roofline_has_the_rates_of_the_machine() -> None:
    machine = spec.load("h200", "arch").spec.model_dump()
    bandwidth = float(machine["levels"]["dram"]["bandwidth"])
    clock = (
        1830e6  # at which the datasheet's rate is that of the units; the machine's is calibrated
    )
    multiplied = math.prod(machine["units"]["tensor_core"]["shape"].values())
    flops = 2 * multiplied * machine["clusters"] * clock
    assert [bandwidth, flops] == pytest.approx([timing.BANDWIDTH, timing.FLOPS], rel=1e-3)


def test_repeats_and_launches_of_a_graph() -> None:
    seconds = [4.1e-6, 1e-4, 1e-3, 5e-3, 1.0]
    assert [timing.repeats(s) for s in seconds] == [200, 200, 100, 20, 10]
    assert [timing.batch(s) for s in seconds] == [488, 20, 2, 1, 1]


def test_a_run_takes_less_than_eight_minutes() -> None:
    planned = timing.planned()
    assert sum(planned.values()) < 480
    assert all(seconds < measure.TIMES[f"times {name}"].limit for name, seconds in planned.items())


@needs_triton
def test_tiles_of_all_widths_fit_without_spilling() -> None:
    cases = {
        (timed.case.shape["D"], timed.family): timed.case
        for timed in [*timing.family("dense"), *timing.family("causal")]
    }
    requests = [{"target": 90, "case": case.to_dict()} for case in cases.values()]
    done = python("-m", "kernels.build", given=json.dumps(requests))
    assert done.returncode == 0, done.stderr
    launches = [result["launches"][0] for result in json.loads(done.stdout)]
    assert [launch["stack"] for launch in launches] == [0] * 6
    assert [launch["shared"] // 1024 for launch in launches] == [48, 160, 192] * 2  # of 227
    assert [launch["ctas_per_sm"] for launch in launches] == [2, 1, 1, 2, 1, 1]


def test_the_clock_between_two_readings() -> None:
    before = [(0, 1000, 100), (1, 0, 0), (2, 0, 0)]
    after = [(0, 3000, 1100), (1, 1500, 1000), (3, 9, 9)]
    found = {"median": 1.75e9, "least": 1.5e9, "most": 2e9, "sms": 2}
    assert stopwatch.clock(before, after) == found
    assert stopwatch.between(torch.tensor(before), torch.tensor(after)) == found
    assert stopwatch.between(torch.tensor(before), "why") == {"error": "why"}
    with pytest.raises(ValueError, match="no multiprocessor"):
        stopwatch.clock(before, [(0, 1000, 200), (3, 9, 9)])


@needs_triton
def test_the_probe_assembles() -> None:
    assert len(stopwatch.assemble(stopwatch.PROBE)[0]) > 1000


class Device:
    """In place of a GPU: a launch takes 0.4 ms, in a graph 0.25 ms; from a cold L2 0.5 ms."""

    def __init__(self, patch: pytest.MonkeyPatch, captures: bool = True) -> None:
        self.launched: list[tuple[str, int]] = []
        self.captures = captures
        for name in ("milliseconds", "in_graph", "from_cold", "reading"):
            patch.setattr(stopwatch, name, getattr(self, name))
        patch.setattr(torch.cuda, "synchronize", lambda: None)

    def in_graph(self, work: Callable[[], object], launches: int) -> Callable[[], object]:
        if not self.captures:
            raise RuntimeError("operation not permitted when stream is capturing")
        return lambda: launches

    def milliseconds(self, work: Callable[[], Any], repeats: int) -> list[float]:
        found = work()
        self.launched.append(("back to back", repeats))
        each = 0.4 * (len(found) if isinstance(found, list) else 1)
        return [0.25 * found if isinstance(found, int) else each] * repeats

    def from_cold(self, work: Callable[[], object], count: int) -> list[float]:
        self.launched.append(("cold", count))
        return [0.5] * count

    def reading(self) -> Any:
        return torch.tensor([[0, 10**9 * len(self.launched), 10**9 * len(self.launched)]])


def test_times_are_per_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch)
    found = stopwatch.on_gpu(lambda: None)
    assert (found["graph"], found["launches"]) == (True, 8)
    assert len(found["takes"]) == 2
    for take in found["takes"]:
        warm, cold = take["back_to_back_s"], take["flushed_s"]
        assert (warm["median"], warm["repeats"]) == (pytest.approx(0.25e-3), 50)
        assert (cold["median"], cold["repeats"]) == (pytest.approx(0.5e-3), 200)
        assert take["clock_hz"]["median"] == 1e9
    burst = [("back to back", 50), ("cold", 200)]
    assert device.launched[-5:] == [("back to back", 50), *burst, *burst]


def test_without_a_graph_the_host_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch, captures=False)
    found = stopwatch.on_gpu(lambda: None)
    assert (found["graph"], found["launches"]) == (False, 5)
    assert found["takes"][0]["back_to_back_s"]["median"] == pytest.approx(0.4e-3)


SHAPE = {"B": 1, "H": 4, "G": 2, "P": 64, "M": 64, "D": 32}


def runs(monkeypatch: pytest.MonkeyPatch, kernel: str, outcome: Any) -> dict[str, Any]:
    """The row of a case whose run gives a tensor or raises."""

    def work() -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return [torch.tensor([outcome])]

    monkeypatch.setattr(stopwatch, "runner", lambda timed, tensors: work)
    tile = {"block_m": 64, "block_n": 64} if kernel == "flash_fwd" else {}
    case = Case("flash_fwd", "float16", SHAPE, tile=tile)
    (row,) = stopwatch.measured([Timed(kernel, "dense", case)], dry_run=True)
    return row


def test_what_does_not_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    none = RuntimeError("No available kernel.\nAborting")
    row = runs(monkeypatch, "sdpa_cudnn", none)
    assert (row["refused"], "takes" in row) == ("RuntimeError: No available kernel.", False)
    assert runs(monkeypatch, "flash_fwd", none)["failed"] == row["refused"]
    memory = torch.cuda.OutOfMemoryError("CUDA out of memory")
    failed = "OutOfMemoryError: CUDA out of memory"
    assert runs(monkeypatch, "sdpa_cudnn", memory)["failed"] == failed
    row = runs(monkeypatch, "flash_fwd", float("nan"))
    assert (row["failed"], "takes" in row) == ("an output is not finite", False)
    assert runs(monkeypatch, "sdpa_flash", ValueError("why"))["failed"] == "ValueError: why"
    row = runs(monkeypatch, "flash_fwd", 1.0)
    assert (len(row["takes"]), len(row["source_sha256"])) == (2, 64)


def test_torch_computes_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grouped heads and the mask are passed on."""
    for mask in ({}, {"causal": 1}):
        case = Case("flash_fwd", "float32", SHAPE, mask)
        timed = Timed("sdpa_flash", "sdpa_flash", case)
        tensors = stopwatch.inputs(timed, "cpu")
        (o,) = stopwatch.runner(timed, tensors)()
        assert torch.allclose(o.double(), attention.reference(case, tensors)["O"], atol=1e-5)


@needs_triton
def test_a_dry_run_of_times(timed_run: tuple[Path, str]) -> None:
    path, printed = timed_run
    first, *_ = printed.splitlines()
    number, seconds = len(timing.times()), sum(timing.planned().values())
    assert first == f"{number} cases, about {seconds:.0f} s on an H200"
    record = json.loads(path.read_text())
    assert record["failed"] == {}
    assert list(record["sections"]) == list(measure.TIMES)
    rows = [row for section in record["sections"].values() for row in section]
    assert {row["kernel"] for row in rows} == {timed.kernel for timed in timing.times()}
    assert [row for row in rows if len(row.get("takes", ())) != 2] == []
    with pytest.raises(ValueError, match="dry run"):
        records.load(path)


@needs_triton
def test_the_record_of_a_run_names_its_predictions(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from kernels import measure, records; "
        "records.PREDICTIONS = pathlib.Path(sys.argv.pop()); measure.main()"
    )
    rows = [f"{timed.name},{timed.kernel},1.0,x," for timed in timing.times()]
    path = tmp_path / "times_h200.csv"
    path.write_text("\n".join(["case,kernel,seconds,bottleneck,note", *rows, ""]))
    records.seal(path)
    words = ("--times", "--dry-run", "--only", "times sdpa_flash", "--out", str(tmp_path / "out"))
    done = python("-c", code, *words, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "refused" not in done.stdout
    (record,) = (tmp_path / "out").glob("*.json")
    expected = {"file": path.name, "sha256": records.sha256(path), "commit": None}
    assert json.loads(record.read_text())["predictions"] == expected


def test_times_and_all_else_are_measured_apart(tmp_path: Path) -> None:
    for words in (("--only", "times dense"), ("--times", "--only", "clocks")):
        done = python("-m", "kernels.measure", "--out", str(tmp_path), *words)
        assert done.returncode == 2
        assert f"{words[-1]}: times are measured with --times, and nothing else is" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_run_of_times_without_predictions_is_refused(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from kernels import measure, records; "
        "records.PREDICTIONS = pathlib.Path(sys.argv.pop()); measure.main()"
    )
    out, folder = tmp_path / "out", tmp_path / "predictions"
    done = python("-c", code, "--times", "--out", str(out), str(folder))
    assert done.returncode == 1
    assert "measure: refused: times_" in done.stderr
    assert "is missing: times are predicted before they are measured" in done.stderr
    assert not out.exists()


CSV = "case,kernel,seconds,bottleneck,note\na,k,1.0,x,\nb,k,1.0,x,\n"


@pytest.fixture
def predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sealed file of two cases."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    monkeypatch.setattr(records, "PREDICTIONS", folder)
    path = records.times_file("NVIDIA H200")
    path.write_text(CSV)
    assert records.seal_predictions(folder, tmp_path) == ["times_h200.csv"]
    return path


def test_a_record_names_its_predictions(predictions: Path) -> None:
    found = records.predictions(predictions, ["a", "b"])
    digest = records.sha256(predictions)
    assert found == {"file": "times_h200.csv", "sha256": digest, "commit": None}
    seal = predictions.with_suffix(".sha256").read_text()
    assert seal == f"{digest}  times_h200.csv\n"


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.unlink, "times_h200.csv is missing: times are predicted before"),
    "no seal": (
        lambda path: path.with_suffix(".sha256").unlink(),
        "has no seal: times_h200.sha256 is missing",
    ),
    "altered": (
        lambda path: path.write_text(CSV.replace("1.0", "2.0")),
        "times_h200.csv is not what times_h200.sha256 says",
    ),
    "a case without": (
        lambda path: (path.write_text(CSV[: CSV.index("b,k")]), records.seal(path)),
        "times_h200.csv is without 1 cases: b",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_predictions_that_are_none(predictions: Path, name: str) -> None:
    edit, message = REFUSED[name]
    edit(predictions)
    with pytest.raises(ValueError, match=message):
        records.predictions(predictions, ["a", "b"])


def test_predictions_are_committed_where_there_is_a_repository(predictions: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(predictions.parent), *who, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def refused() -> None:
        message = r"times_h200\.csv and times_h200\.sha256 are not committed as they are"
        with pytest.raises(ValueError, match=message):
            records.predictions(predictions, ["a"])

    git("init", "-q")
    refused()
    exclude = predictions.parent / ".git" / "info" / "exclude"
    exclude.write_text("*\n")  # as if ignored
    refused()
    exclude.write_text("")
    git("add", predictions.name)
    git("commit", "-qm", "a")
    refused()  # without the seal
    git("add", ".")
    refused()
    git("commit", "-qm", "b")
    assert records.predictions(predictions, ["a"])["commit"] == git("rev-parse", "HEAD")
    predictions.write_text(CSV.replace("1.0", "3.0"))
    records.seal(predictions)
    refused()


def test_what_a_run_was_made_with_is_not_sealed_anew(predictions: Path, tmp_path: Path) -> None:
    predictions.write_text(CSV.replace("1.0", "3.0"))
    assert records.seal_predictions(predictions.parent, tmp_path) == ["times_h200.csv"]
    (tmp_path / "run.json").write_text(json.dumps({"sha256": records.sha256(predictions)}))
    assert records.seal_predictions(predictions.parent, tmp_path) == ["times_h200.csv"]
    predictions.write_text(CSV)
    with pytest.raises(ValueError, match="a run was made with it as it was"):
        records.seal_predictions(predictions.parent, tmp_path)


def test_times_that_were_not_predicted_are_no_evidence() -> None:
    for before in ({}, {"predictions": None}, {"predictions": {"file": "times_h200.csv"}}):
        with pytest.raises(ValueError, match="not predicted before"):
            records.check_predicted({"sections": {"times dense": []}, **before})
    records.check_predicted({"sections": {"clocks": {}}})
    predicted = {"predictions": {"sha256": "0" * 64}}
    records.check_predicted({"sections": {"times dense": []}, **predicted})
