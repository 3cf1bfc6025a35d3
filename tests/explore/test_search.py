"""Searches on the shipped machines, and what does not change what they find."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accelsim import verbs
from accelsim.cli import app
from accelsim.errors import AccelsimError
from accelsim.explore import search
from accelsim.explore.search import breed
from accelsim.explore.search.evaluate import Evaluate
from accelsim.explore.search.record import FILE
from tests.explore.searches import files

ROOT = Path(__file__).parents[2]
FLAT = ("arch.units.array_1d.operations.sub.cycles=0",)
STUDY = ROOT / "studies" / "fusemax" / "search.yaml"
SMALL = """
search: small
source: tests
arch: fusemax
cascade: softmax.yaml
workload: small.yaml
set: ["arch.units.array_2d.shape={rows: 8, cols: 8}", "arch.units.array_1d.shape={lanes: 8}"]
partition: {M: {M1: rest, M0: [4, 16]}, P: {P1: rest, P0: [8, 32]}}
"""
LONG = """
search: long
source: tests
arch: fusemax
cascade: attention_1pass
workload: bert
seq_len: 2048
partition: {M: {M1: rest, M0: 512}, P: {P2: rest, P1: [2, 4], P0: 256}}
between: registers
"""
BRED = SMALL + "method: nsga2\nbudget: {points: 150}\nobjectives: {cycles: min, energy_pj: min}\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    files(tmp_path)
    (tmp_path / "s.yaml").write_text(SMALL)
    (tmp_path / "long.yaml").write_text(LONG)
    (tmp_path / "bred.yaml").write_text(BRED)
    return tmp_path


def found(*words: str) -> dict[str, object]:
    shown = CliRunner().invoke(app, ["search", *words, "--json"])
    assert shown.exit_code == 0, shown.output
    value: dict[str, object] = json.loads(shown.stdout)
    return value


def timed(mapping: str, seq_len: int, settings: tuple[str, ...]) -> int:
    return verbs.simulate(mapping, "bert", seq_len, settings=settings).result.cycles


def check_found(
    study: Path, mapping: str, seq_len: int, folder: Path, settings: tuple[str, ...] = ()
) -> None:
    """Optimal, no slower than a mapping by hand; the file that it writes gives the same."""
    best = folder / "best.yaml"
    outcome = found(str(study), "--seq-len", str(seq_len), "--save", str(best))
    assert outcome["settled"] == "optimal"
    cycles = outcome["front"][0]["cycles"]  # type: ignore[index]
    assert cycles <= timed(mapping, seq_len, settings)
    assert cycles == timed(str(best), seq_len, settings)
    assert verbs.check(str(best)).startswith("mapping ")


def test_fusemax_is_no_slower_than_the_papers_binding(tmp_path: Path) -> None:
    check_found(STUDY, "fusemax__attention_1pass", 4096, tmp_path)


@pytest.mark.parametrize("seq_len", [65536, 1048576])
def test_fusemax_at_length(seq_len: int, tmp_path: Path) -> None:
    check_found(STUDY, "fusemax__attention_1pass", seq_len, tmp_path)


def test_flat_is_no_slower_than_flats(tmp_path: Path) -> None:
    study = ROOT / "studies" / "flat" / "search.yaml"
    check_found(study, "flat__attention_3pass", 4096, tmp_path, FLAT)


BOTH_WAYS = """search: both_ways
source: here
arch: fusemax
cascade: attention_1pass
workload: bert
seq_len: 1024
partition: {M: {M1: rest, M0: 256}, P: {P1: rest, P0: 256}}
phases: one
units: {QK: array_2d, LM: array_2d, SLN: array_2d, SLD: array_2d, SLNV: array_2d, RNV: array_2d,
        RM: array_1d, PRM: array_1d, SPD: array_1d, RD: array_1d, SPNV: array_1d, AV: array_1d}
"""


def test_a_recurrence_may_cross_units_both_ways(tmp_path: Path) -> None:
    """The 2D array forms RNV of a tile while the 1D array scales the one before: by hand, with
    SLN, SLD, SLNV, RNV, RD and AV in stage 1, in 1,696,328 cycles."""
    path = tmp_path / "both_ways.yaml"
    path.write_text(BOTH_WAYS)
    outcome = found(str(path))
    assert outcome["settled"] == "optimal"
    assert outcome["front"][0]["cycles"] <= 1_696_328  # type: ignore[index]


@pytest.mark.parametrize("name", ["s.yaml", "bred.yaml"])
def test_workers_change_nothing(name: str, small: Path) -> None:
    study = str(small / name)
    assert found(study) == found(study, "--workers", "2")


@pytest.mark.parametrize("name", ["s.yaml", "bred.yaml"])
def test_a_stop_changes_nothing(name: str, small: Path) -> None:
    """What was found out before a kill is some first part of the answers."""
    study, out = str(small / name), small / "out"
    whole = found(study, "--out", str(out))
    record = json.loads((out / FILE).read_text())
    assert len(record["answers"]) > 3
    for kept in (0, 1, len(record["answers"]) // 2):
        (out / FILE).write_text(json.dumps(record | {"answers": record["answers"][:kept]}))
        assert found(study, "--out", str(out), "--resume") == whole
        assert json.loads((out / FILE).read_text()) == record


def test_a_killed_search_goes_on(small: Path) -> None:
    study, out = str(small / "long.yaml"), small / "out"
    code = f"""
import os, signal
from pathlib import Path
from accelsim.explore import search
from accelsim.explore.search import record
record.SECONDS = 0
def told(now):
    if now.tried > 100:
        os.kill(os.getpid(), signal.SIGKILL)
search.run(search.load({study!r}), out=Path({str(out)!r}), told=told)
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert killed.returncode == -9
    kept = json.loads((out / FILE).read_text())["answers"]
    assert kept
    assert found(study, "--out", str(out), "--resume") == found(study)
    answers = json.loads((out / FILE).read_text())["answers"]
    assert answers[: len(kept)] == kept
    assert len(answers) > len(kept)


def test_an_interrupt_keeps_the_best(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(now: search.Progress) -> None:
        if now.best is not None:
            raise KeyboardInterrupt

    outcome = search.run(search.load(str(small / "s.yaml")), told=stop)
    assert outcome.settled == "stopped"
    assert outcome.front
    monkeypatch.setattr("accelsim.cli.search._told", lambda: stop)
    words = ["search", str(small / "s.yaml"), "--out", str(small / "out")]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 130
    assert "--resume" in shown.output
    assert "not proved best" in shown.output


def test_breeding_finds_a_front_and_its_files(small: Path) -> None:
    outcome = search.run(search.load(str(small / "bred.yaml")))
    assert outcome.settled == "bred"
    assert outcome.counts.tried >= 150
    values = [one for one, _ in outcome.front]
    for number, (cycles, energy) in enumerate(values):
        path = small / f"{number}.yaml"
        path.write_text(outcome.file(path, number))
        settings = [one.replace("search.", "") for one in outcome.problem.spec.set]
        result = verbs.simulate(str(path), str(small / "small.yaml"), settings=settings).result
        assert (result.ticks / result.ticks_per_cycle, result.energy_pj) == (cycles, energy)
        assert not any(a <= cycles and b <= energy for a, b in values if (a, b) != (cycles, energy))


def test_a_budget_too_small_is_bred_from(small: Path) -> None:
    text = SMALL + "budget: {points: 10}\n"
    outcome = search.run(search.load_text(text, str(small / "s.yaml")))
    assert (outcome.method, outcome.settled) == ("nsga2", "bred")
    text += "method: exhaustive\n"
    outcome = search.run(search.load_text(text, str(small / "s.yaml")))
    assert (outcome.method, outcome.settled) == ("exhaustive", "budget")
    assert "not proved best" in outcome.claim


def test_within_says_so_and_holds(small: Path) -> None:
    best = search.run(search.load(str(small / "long.yaml")))
    text = LONG + "within: 0.2\n"
    near = search.run(search.load_text(text, str(small / "s.yaml")))
    assert "to within 0.2" in near.claim
    assert near.counts.tried < best.counts.tried
    assert best.front[0][0][0] >= near.front[0][0][0] * 0.8


def test_a_genome_is_that_of_its_candidate(small: Path) -> None:
    space = Evaluate(search.load(str(small / "s.yaml"))).space
    for number, candidate in enumerate(space.every()):
        if number % 997 == 0:
            assert breed.decoded(space, breed.genome(space, candidate)) == candidate
        if number > 60_000:
            break


def test_folders_that_are_not_gone_on_with(small: Path) -> None:
    problem = search.load_text(SMALL + "budget: {points: 40}\n", str(small / "s.yaml"))
    out = small / "out"
    search.run(problem, out=out)
    with pytest.raises(AccelsimError, match="--resume goes on"):
        search.run(problem, out=out)
    other = search.load_text(SMALL + "budget: {points: 50}\n", str(small / "s.yaml"))
    with pytest.raises(AccelsimError, match="changed: search"):
        search.run(other, out=out, resume=True)
    record = json.loads((out / FILE).read_text())
    record["answers"][0][0] = "another"
    (out / FILE).write_text(json.dumps(record))
    with pytest.raises(AccelsimError, match="not asked now"):
        search.run(problem, out=out, resume=True)
    (out / FILE).write_text('{"answers": ')
    with pytest.raises(AccelsimError, match="not what `accelsim search"):
        search.run(problem, out=out, resume=True)
    (small / "full").mkdir()
    (small / "full" / "notes").write_text("mine")
    with pytest.raises(AccelsimError, match="it is no search"):
        search.run(problem, out=small / "full", resume=True)


def test_no_legal_mapping_says_which_rule_refused(small: Path) -> None:
    text = (SMALL + "budget: {points: 100}\n").replace(
        '"arch.units.array_2d', '"arch.levels.global_buffer.capacity=64 B", "arch.units.array_2d', 1
    )
    with pytest.raises(AccelsimError) as error:
        search.run(search.load_text(text, str(small / "s.yaml")))
    assert "no legal mapping among those tried" in str(error.value)
    assert "x what is held does not fit its level" in str(error.value)
