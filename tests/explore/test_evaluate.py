"""Points run many at once come to what each comes to by itself, errors word by word."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from accelsim import verbs
from accelsim.explore import space
from accelsim.explore.evaluate import Evaluate
from accelsim.explore.pointwise import Pointwise
from accelsim.explore.reading import load
from accelsim.traced import Traced

ROOT = Path(__file__).parents[2]

SWEEP = """
sweep: tried
source: a test
axes:
{axes}
cases:
{cases}
"""


def written(folder: Path, axes: dict[str, list[Any]], cases: str) -> Path:
    path = folder / "study.yaml"
    lines = "\n".join(f"  {name}: {values}" for name, values in axes.items())
    path.write_text(SWEEP.format(axes=lines, cases=cases))
    return path


def check(path: Path, most: int, seed: int = 0, few: int = 1) -> Evaluate:
    """Compare a sample of the points of a sweep; all of them are run together, in two parts."""
    document = load(str(path))
    every = space.of(document.spec)
    points = [axes for _, axes in every.points(0, len(every))]
    evaluate = Evaluate(document, few=few)
    by_itself = Pointwise(document, by_run=False)
    half = len(points) // 2
    rows = evaluate(points[:half]) + evaluate(points[half:])
    chosen = random.Random(seed).sample(range(len(points)), min(most, len(points)))
    for number in chosen:
        assert rows[number] == by_itself([points[number]])[0], points[number]
    return evaluate


FUSEMAX = """
  - workload: bert
    runs:
      attention:
        mapping: fusemax__attention_1pass
        set:
          - mapping.partition.P.P1={P1}
          - arch.levels.global_buffer.capacity={buffer} MiB
          - "arch.units.array_2d.shape={rows: {dim}, cols: {dim}}"
          - arch.units.array_1d.shape.lanes={dim}
          - arch.levels.dram.bandwidth={bandwidth}
"""


def test_sizes_of_machine_mapping_and_workload_together(tmp_path: Path) -> None:
    axes = {
        "seq_len": [4096, 65536, 98304, 1048576],
        "P1": [1, 3, 16, 256],
        "buffer": [4, 16, 64],
        "dim": [64, 100, 256],
        "bandwidth": ["25 GiB/s", "400 GiB/s", "333.3 GB/s"],
    }
    evaluate = check(written(tmp_path, axes, FUSEMAX), 25)
    assert evaluate.alone == 0
    assert evaluate.runs < 80, "432 points of 13 ways or so"


def test_words_and_numbers_on_one_axis(tmp_path: Path) -> None:
    """A fitted part, levels by name, a share: what is no number stays apart."""
    axes = {
        "seq_len": [4096, 16384],
        "P1": [1, '"fit(global_buffer)"', 4, '"fit(global_buffer / 2)"', 5],
        "spilled": ["1/129", "0.25", "7"],
    }
    cases = """
  - workload: bert
    runs:
      attention:
        mapping: fusemax__attention_1pass
        set:
          - mapping.partition.P.P1={P1}
          - mapping.phases.attention.storage.RNV.spilled={spilled}
"""
    path = written(tmp_path, axes, cases)
    path.write_text(path.read_text().replace("'\"", '"').replace("\"'", '"'))
    assert check(path, 30).alone == 0


def test_an_error_names_the_setting_of_its_point(tmp_path: Path) -> None:
    """The second of two settings is the wrong one, each time with another number."""
    axes = {"seq_len": [4096], "buffer": [8, 16], "P1": [3, 4, 5, 7]}
    cases = """
  - workload: bert
    runs:
      attention:
        mapping: fusemax__attention_1pass
        set:
          - arch.levels.global_buffer.capacity={buffer} MiB
          - mapping.partition.P.P1={P1}
"""
    assert check(written(tmp_path, axes, cases), 8).alone == 0


@pytest.mark.parametrize("run", range(6))
def test_random_axes(tmp_path: Path, run: int) -> None:
    rng = random.Random(run)
    axes = {
        "seq_len": rng.sample(range(500, 300_000), 3),
        "P1": rng.sample(range(1, 40), 3),
        "buffer": rng.sample(range(1, 200), 3),
        "dim": rng.sample(range(8, 300), 2),
        "bandwidth": [f"{n} GB/s" for n in rng.sample(range(1, 900), 2)],
    }
    assert check(written(tmp_path, axes, FUSEMAX), 12, run).alone == 0


GROUPED = """
  - workload: llama3-8b
    runs:
      attention:
        mapping: {mapping}
        set:
          - {setting}={{n}}
"""


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("workload.ranks.H", [8, 16, 32, 64]),
        ("workload.ranks.G", [1, 2, 4, 8, 3]),
        ("mapping.partition.H.H0", [1, 2, 4, 8]),
    ],
)
@pytest.mark.parametrize("mapping", ["fusemax__attention_grouped", "gpu_like__attention_grouped"])
def test_numbers_that_computed_indices_are_made_of(
    tmp_path: Path, mapping: str, setting: str, values: list[int]
) -> None:
    axes = {"seq_len": [1024], "n": values}
    cases = GROUPED.format(mapping=mapping, setting=setting)
    assert check(written(tmp_path, axes, cases), 5).alone == 0


def test_other_numbers_beside_computed_indices_decide_nothing(tmp_path: Path) -> None:
    axes = {"seq_len": [1024], "n": [f"{n} GB/s" for n in range(100, 140)]}
    cases = GROUPED.format(
        mapping="fusemax__attention_grouped", setting="arch.levels.dram.bandwidth"
    )
    evaluate = check(written(tmp_path, axes, cases), 5)
    assert evaluate.alone == 0
    assert evaluate.runs < 10


def test_what_fails_with_traced_numbers_alone_is_run_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 64 MiB; points that had been done by then keep their rows."""

    def measured(*given: Any) -> Any:
        buffer = given[0].machine.level("global_buffer").capacity_bytes
        if isinstance(buffer, Traced) and buffer == 64 << 20:
            raise TypeError("planted")
        return plain(*given)

    plain = verbs.measured
    monkeypatch.setattr(verbs, "measured", measured)
    axes = {"seq_len": [4096], "P1": [1], "buffer": [8, 16, 64, 128], "dim": [64, 100]}
    evaluate = check(written(tmp_path, axes | {"bandwidth": ["25 GiB/s"]}, FUSEMAX), 8)
    assert 0 < evaluate.alone <= 8


@pytest.mark.parametrize("name", ["fusemax/attention", "sqa/attention", "gna/fusemax"])
def test_points_of_shipped_sweeps(name: str) -> None:
    """Masks and launches are run one by one."""
    evaluate = check(ROOT / "studies" / f"{name}.yaml", 6)
    assert (evaluate.alone > 0) == (name == "gna/fusemax")


def test_few_that_are_alike_are_run_one_by_one(tmp_path: Path) -> None:
    axes = {
        "seq_len": [4096, 8192],
        "P1": [1],
        "buffer": [64],
        "dim": [64],
        "bandwidth": ["1 GB/s"],
    }
    evaluate = check(written(tmp_path, axes, FUSEMAX), 2, few=4)
    assert (evaluate.alone, evaluate.runs) == (2, 0)
