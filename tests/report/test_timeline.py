"""The timeline: the rules of the Chrome trace format, and what its tracks must hold."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from accelsim import verbs
from accelsim.report import timeline


@pytest.fixture(scope="module")
def run() -> verbs.Run:
    settings = ("workload.ranks.B=1", "workload.ranks.H=2")
    return verbs.simulate(
        "fusemax__attention_1pass", "bert", 1024, settings=settings, record=10_000
    )


@pytest.fixture(scope="module")
def trace(run: verbs.Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("timeline") / "run.json"
    assert timeline.write(run.program, run.execution, path) == run.result.tasks
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def slices(trace: dict[str, Any]) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] == "X"]


def test_one_named_track_per_server(trace: dict[str, Any]) -> None:
    names = {
        event["tid"]: event["args"]["name"]
        for event in trace["traceEvents"]
        if event["ph"] == "M" and event["name"] == "thread_name"
    }
    assert names == {1: "array_2d", 2: "array_1d", 3: "dram"}
    assert {event["tid"] for event in slices(trace)} == set(names)


def test_time_is_real(run: verbs.Run, trace: dict[str, Any]) -> None:
    end = max(event["ts"] + event["dur"] for event in slices(trace))
    assert end == pytest.approx(run.result.seconds * 1e6, rel=1e-12)


def test_a_server_does_one_task_at_a_time(trace: dict[str, Any]) -> None:
    for track in (1, 2, 3):
        own = sorted((e["ts"], e["dur"]) for e in slices(trace) if e["tid"] == track)
        for (start, length), (following, _) in pairwise(own):
            assert start + length <= following + 1e-9


def test_buffer_counters_stay_within_what_is_reserved(
    run: verbs.Run, trace: dict[str, Any]
) -> None:
    reserved = run.result.buffers["global_buffer"]["by_tensor"]
    counters = [e for e in trace["traceEvents"] if e["name"] == "global_buffer bytes"]
    assert counters
    for event in counters:
        for tensor, held in event["args"].items():
            assert 0 <= held <= reserved[tensor], (event, tensor)
    assert max(e["args"].get("K", 0) for e in counters) == reserved["K"]


def test_bandwidth_counter_is_that_of_the_machine(trace: dict[str, Any]) -> None:
    rates = {e["args"]["GB/s"] for e in trace["traceEvents"] if e["name"] == "dram GB/s"}
    assert max(rates) == pytest.approx(400 * 2**30 / 1e9)
    assert min(rates) == 0


def test_the_number_of_tasks_is_capped(tmp_path: Path) -> None:
    settings = ("workload.ranks.B=1", "workload.ranks.H=1")
    run = verbs.simulate("fusemax__attention_1pass", "bert", 1024, settings=settings, record=50)
    assert timeline.write(run.program, run.execution, tmp_path / "x.json") == 50
    assert run.execution.phases[0].record.truncated


def test_same_run_same_bytes(run: verbs.Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        timeline.write(run.program, run.execution, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
