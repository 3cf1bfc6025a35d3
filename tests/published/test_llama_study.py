"""A layer of Llama 3 8B on chips of equal area: what the README says; what the mappings compute."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from accelsim import explore, verbs
from accelsim.cascade import interpret
from accelsim.cli import app
from accelsim.explore import sweep
from accelsim.results import Result

STUDY = Path(__file__).parents[2] / "studies" / "llama"
README = (STUDY / "README.md").read_text()
BUDGET = 1302951650
Chip = tuple[int, int, int]
BEST, OTHER, FUSEMAX = (342, 205, 2), (256, 274, 2), (256, 256, 16)
CHIPS = [
    BEST, OTHER, (274, 249, 8), (293, 228, 16), FUSEMAX, (128, 512, 16), (171, 410, 2),
    (293, 205, 32), (228, 249, 48), (205, 256, 64), (256, 128, 128),
]  # fmt: skip


@cache
def results(chip: Chip, *settings: str) -> dict[str, Result]:
    axes = dict(zip(("rows", "cols", "buffer_mib"), chip, strict=True))
    return sweep.point(explore.load(str(STUDY / "study.yaml")), axes, settings)


def name(chip: Chip) -> str:
    return f"{chip[0]} x {chip[1]}, {chip[2]} MiB"


def milliseconds(result: Result) -> float:
    return float(result.seconds * 1e3)


def share_of_bound(result: Result) -> float:
    return float(result.bounds["cycles"] / result.cycles)


def moved(result: Result) -> float:
    return float(sum(result.traffic_bytes["dram"].values()))


def energy(chip: Chip) -> float:
    return sum(float(r.energy_all_registers_pj) for r in results(chip).values()) / 1e12


@pytest.mark.parametrize("chip", CHIPS, ids=name)
def test_a_row_of_the_readme(chip: Chip) -> None:
    prefill, decode = results(chip)["prefill"], results(chip)["decode"]
    surplus = round((float(sum(prefill.area_um2.values())) / BUDGET - 1) * 100, 1)
    assert abs(surplus) <= 2
    cells = [
        name(chip),
        f"{surplus + 0.0:+.1f} %",
        f"{milliseconds(prefill):.2f} ms, {share_of_bound(prefill):.1%}".replace("%", " %"),
        f"{moved(prefill) / 1e9:.1f} GB",
        f"{milliseconds(decode):.3f} ms, {share_of_bound(decode):.1%}".replace("%", " %"),
        f"{energy(chip):.1f} J",
    ]
    assert f"| {' | '.join(cells)} |" in README.splitlines()


def test_all_chips(tmp_path: Path) -> None:
    folder = tmp_path / "llama"
    assert CliRunner().invoke(app, ["sweep", str(STUDY), "--out", str(folder)]).exit_code == 0
    shares = "prefill_bound_seconds / prefill_seconds AS share, energy_pj_dram AS memory, *"
    found = explore.query(folder, f"SELECT {shares} FROM results WHERE feasible")
    rows = [dict(zip(found.names, one, strict=True)) for one in found.rows]
    assert len(rows) == 36
    fastest: dict[int, tuple[float, Chip]] = {}
    for row in rows:
        chip = (row["rows"], row["cols"], row["buffer_mib"])
        one = (row["prefill_seconds"], chip)
        fastest[chip[2]] = min(fastest.get(chip[2], one), one)
    assert min(fastest.values())[1] == BEST
    shown = [chip for _, chip in fastest.values() if chip[2] <= 64]
    assert set(shown) == {CHIPS[0], *CHIPS[2:4], *CHIPS[7:10]}
    assert results(BEST)["decode"].seconds < 1.002 * min(row["decode_seconds"] for row in rows)
    assert min(row["share"] for row in rows) > 0.89
    energies = [row["energy_all_registers_pj"] for row in rows]
    assert [round(e / 1e12, 1) for e in (min(energies), max(energies))] == [49.9, 51.1]
    memory = [row["memory"] / row["energy_all_registers_pj"] * 100 for row in rows]
    assert [round(m, 1) for m in (min(memory), max(memory))] == [0.1, 0.8]


def test_the_answer() -> None:
    best, paper = results(BEST), results(FUSEMAX)
    saved = 1 - milliseconds(best["prefill"]) / milliseconds(paper["prefill"])
    more = milliseconds(best["decode"]) / milliseconds(paper["decode"]) - 1
    bytes_ = moved(best["prefill"]) / moved(paper["prefill"])
    answer = " ".join(README[README.index("**Answer**") : README.index("## What is run")].split())
    for said in (
        f"{name(BEST).replace(',', ' PEs with')}.",
        f"{milliseconds(best['prefill']):.2f} ms, {saved * 100:.1f} % less",
        f"at {share_of_bound(best['prefill']) * 100:.1f} % of the lower bound",
        f"decode {milliseconds(best['decode']):.3f} ms, ",
        f"{share_of_bound(best['decode']) * 100:.1f} % of its bound and {more * 100:.1f} % more",
        f"{bytes_:.1f} times the bytes",
        f"energy is {(energy(BEST) / energy(FUSEMAX) - 1) * 100:.1f} % higher",
    ):
        assert said in answer


def test_where_a_prompts_time_goes() -> None:
    result = results(BEST)["prefill"]
    waits = {cause: float(n / result.cycles) for cause, n in result.wait_cycles["array_2d"].items()}
    assert waits["bandwidth"] == pytest.approx(0.026, abs=5e-4)
    assert waits["data"] == pytest.approx(0.006, abs=5e-4)
    rest = float(result.utilization["array_2d"]) - share_of_bound(result)
    assert rest == pytest.approx(0.013, abs=5e-4)
    of: dict[str, float] = {}
    for phase in result.phases:
        took = float(phase["end_cycles"] - phase["begin_cycles"]) / 940e3
        part = {"widen": "ffn", "narrow": "ffn", "attention": "attention"}.get(
            phase["name"], "rest"
        )
        of[part] = of.get(part, 0) + took
    assert {part: round(took, 1) for part, took in of.items()} == {
        "ffn": 22.5,
        "rest": 5.5,
        "attention": 4.8,
    }


def test_work_and_least_bytes_are_those_of_the_layer() -> None:
    weights = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096
    prefill, decode = results(BEST)["prefill"], results(BEST)["decode"]
    pairs = 8192 * 8193 // 2
    macs = 8192 * weights + 2 * 32 * 128 * pairs
    assert float(prefill.flops_per_second * prefill.seconds) == pytest.approx(2 * macs)
    ends = {"Q": 4096, "AV": 4096, "A": 4096, "Z": 8192, "Y": 28672, "X": 12288, "O": 4096}
    new = 4096 + 2 * 1024
    assert moved(results(FUSEMAX)["decode"]) == 2 * (
        weights + 2 * 32768 * 1024 + sum(ends.values()) + new
    )
    assert moved(decode) < 1.003 * moved(results(FUSEMAX)["decode"])


@pytest.mark.parametrize("bandwidth", [400, 300, 200])
def test_other_bandwidths(bandwidth: int) -> None:
    setting = f"arch.levels.dram.bandwidth={bandwidth} GiB/s"
    chips = (BEST, FUSEMAX, (293, 205, 32))
    times = [f"{milliseconds(results(chip, setting)['prefill']):.2f}" for chip in chips]
    assert f"| {bandwidth} GiB/s | {' | '.join(times)} |" in README.splitlines()


def test_an_array_that_drains() -> None:
    decode = []
    for chip in (FUSEMAX, BEST):
        drained = results(chip, "arch.units.array_2d.timing=systolic")
        prompt = f"{milliseconds(drained['prefill']):.2f} ms on {chip[0]} x {chip[1]} with"
        assert prompt in README
        decode.append(f"{milliseconds(drained['decode']):.2f}")
    assert f"({' and '.join(decode)} ms)" in README


def test_areas_of_buffers_follow_from_two_published_ones() -> None:
    small, large = 2797486.3, 84201221
    for capacity in (2, 8, 16, 32, 48, 64, 96, 128):
        area = (
            small + (capacity - 0.5) * (large - small) / 15.5
            if capacity < 16
            else capacity // 16 * large
        )
        text = f"{{buffer_mib: {capacity}}}, runs: {{prefill: {{set: &b{capacity} [arch.levels."
        assert f"{text}global_buffer.area={area:.0f} um^2]}}" in (STUDY / "study.yaml").read_text()


# What is simulated is the layer -----------------------------------------------------------------

SHAPES = {"H": 4, "G": 2, "E": 8, "F": 8, "D": 32, "N": 32, "C": 16, "S": 64}
SMALL = (
    *(f"workload.ranks.{rank}={n}" for rank, n in SHAPES.items()),
    "workload.kinds.prefill.ranks={M: 64, P: 64, T: 64}",
    "workload.kinds.decode.ranks={M: 64, P: 1, T: 1}",
    "workload.kinds.decode.parameters={offset: 63}",
    "arch.units.array_2d.shape={rows: 8, cols: 8}",
)
PIECES = {
    "queries": "D.D0", "projection": "N.N0", "widen": "D.D0", "narrow": "S.S0",
}  # fmt: skip


def pieces(*more: str) -> list[str]:
    found = {**PIECES, **dict.fromkeys(more, "D.D0")}
    return [f"mapping.phases.{phase}.partition.{part}=8" for phase, part in found.items()]


@pytest.mark.parametrize(
    ("mapping", "settings"),
    [
        (
            "fusemax__prefill",
            [
                "mapping.phases.narrow.partition.S.S0=16",
                "arch.levels.global_buffer.capacity=20 KiB",
            ],
        ),
        ("fusemax__prefill_streamed", pieces("keys_values")),
        ("fusemax__decode", [*pieces("keys", "values"), "workload.kind=decode"]),
    ],
)
def test_mappings_compute_the_layer(mapping: str, settings: list[str]) -> None:
    path, model = str(STUDY / f"{mapping}.yaml"), str(STUDY / "model.yaml")
    found = verbs.execute(path, model, settings=[*SMALL, *settings], check=True)
    assert found.differences == ()
    assert found.errors is not None
    assert set(found.errors) == {"QN", "KN", "VN", "AV", "O"}
    assert all(error.overall < 1e-14 for error in found.errors.values())


def test_the_cascade_is_the_layer() -> None:
    rng = np.random.default_rng(0)
    tokens, width, ffn, heads, groups, e = 6, 5, 7, 4, 2, 3
    shapes = {
        "X": (width, tokens), "WQ": (heads * e, width), "WK": (groups * e, width),
        "WV": (groups * e, width), "Q": (1, heads, e, tokens), "K": (1, groups, e, tokens),
        "V": (1, groups, e, tokens), "A": (heads * e, tokens), "WZ": (width, heads * e),
        "W1": (ffn, width), "W2": (ffn, width), "W3": (width, ffn),
    }  # fmt: skip
    given: dict[str, Any] = {tensor: rng.standard_normal(s) for tensor, s in shapes.items()}
    found = interpret(verbs.load_cascade(str(STUDY / "layer.yaml")), given, {"M0": 3})
    for made, weights in (("QN", "WQ"), ("KN", "WK"), ("VN", "WV")):
        np.testing.assert_allclose(found[made], given[weights] @ given["X"])
    keys, values = (given[t].repeat(heads // groups, axis=1) for t in ("K", "V"))
    scores = np.einsum("bhep,bhem->bhpm", given["Q"], keys)
    weights = np.exp(np.where(np.tri(tokens, dtype=bool), scores, -np.inf))
    weights /= weights.sum(-1, keepdims=True)
    np.testing.assert_allclose(found["AV"], np.einsum("bhpm,bhfm->bhfp", weights, values))
    z = given["WZ"] @ given["A"]
    expected = given["W3"] @ ((given["W1"] @ z) * (given["W2"] @ z))
    np.testing.assert_allclose(found["O"], expected)
