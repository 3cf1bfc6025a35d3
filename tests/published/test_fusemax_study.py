"""The whole FuseMax paper from its sweep files, against the published rows.

Source of the rows: studies/fusemax/published/SOURCE.md.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from accelsim import explore, verbs

STUDY = Path(__file__).parents[2] / "studies" / "fusemax"
DESIGN = {
    "Unfused": "unfused",
    "FLAT": "flat",
    "+Cascade": "cascade",
    "+Architecture": "architecture",
    "+Binding (FuseMax)": "binding",
}
LENGTH = {"1K": 1024, "16K": 16384, "256K": 262144}
TIME = {"architecture": 0.02}
MODELS, LENGTHS = ("BERT", "TrXL", "T5", "XLM"), [2**n for n in (10, 12, 14, 16, 18, 20)]
FLAT = "flat__attention_3pass"
Row = dict[str, Any]


def published(name: str) -> list[Row]:
    with (STUDY / "published" / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def swept(name: str) -> dict[tuple[Any, ...], Row]:
    rows = explore.rows(explore.load(str(STUDY / f"{name}.yaml")))
    return {tuple(list(row.values())[:3]): row for row in rows}


@pytest.fixture(scope="module")
def attention() -> dict[tuple[Any, ...], Row]:
    return swept("attention")


@pytest.fixture(scope="module")
def end_to_end() -> dict[tuple[Any, ...], Row]:
    return swept("end_to_end")


ENERGY = {
    (r["design"], r["model"], r["seq_len"]): float(r["corrected_energy_pJ"])
    for r in published("energy_corrected_for_artifact_bugs")
}
LINEAR = {
    (r["arch"], r["model"], r["seq_len"]): float(r["energy_pJ"]) for r in published("linear_layers")
}


def key(row: Row) -> tuple[str, str, int]:
    return DESIGN[row["design"]], row["model"], LENGTH[row["seq_len"]]


@pytest.mark.parametrize(
    "row", published("attention_all"), ids=lambda r: "-".join(map(str, key(r)))
)
def test_attention(row: Row, attention: dict[tuple[Any, ...], Row]) -> None:
    ours = attention[key(row)]
    near = TIME.get(ours["design"], 0.01)
    assert ours["dram_bytes"] == round(float(row["dram_traffic_bytes"]))
    assert ours["seconds"] == pytest.approx(float(row["latency_s"]), rel=near)
    assert ours["utilization_array_2d"] == pytest.approx(float(row["util_2d"]), rel=near)
    assert ours["utilization_array_1d"] == pytest.approx(float(row["util_1d"]), rel=near)
    energy = ENERGY[row["design"], row["model"], row["seq_len"]]
    assert ours["energy_pj"] == pytest.approx(energy, rel=0.005)
    assert ours["energy_all_registers_pj"] > ours["energy_pj"]


@pytest.mark.parametrize("row", published("end2end_all"), ids=lambda r: "-".join(map(str, key(r))))
def test_end_to_end(row: Row, end_to_end: dict[tuple[Any, ...], Row]) -> None:
    ours = end_to_end[key(row)]
    machine = "proposal" if ours["design"] in {"architecture", "binding"} else "flat"
    energy = ENERGY[row["design"], row["model"], row["seq_len"]]
    energy += LINEAR[machine, row["model"], row["seq_len"]]
    assert ours["dram_traffic_bytes"] == round(float(row["dram_traffic_bytes"]))
    near = TIME.get(ours["design"], 0.01)
    assert ours["latency_s"] == pytest.approx(float(row["latency_s"]), rel=near)
    assert ours["energy_pJ"] == pytest.approx(energy, rel=0.005)


def test_area() -> None:
    ours = swept("area")
    for row in published("fig12_pareto"):
        mine = ours[row["model"], int(row["PE_dim"]), int(row["seq_len"])]
        assert mine["dram_traffic_bytes"] == int(row["dram_traffic_bytes"])
        for column in ("array_2d_area_um2", "total_area_um2"):
            assert mine[column] == pytest.approx(float(row[column]), rel=0.001)
        for column in (
            "mem_latency_s",
            "compute_2d_latency_s",
            "compute_1d_latency_s",
            "latency_s",
        ):
            assert mine[column] == pytest.approx(float(row[column]), rel=0.01)
    assert len(ours) == 24


@pytest.mark.parametrize("row", published("area_summary"), ids=lambda r: r["design"])
def test_area_of_the_machines(row: Row) -> None:
    mapping = {"FuseMax": "fusemax__attention_1pass", "FLAT": FLAT}[row["design"]]
    area = verbs.simulate(mapping, "bert", 1024).result.area_um2
    assert area["array_2d"] == pytest.approx(float(row["array_2d_um2"]), rel=1e-9)
    assert area["array_1d"] == pytest.approx(float(row["array_1d_um2"]), rel=1e-9)
    assert sum(area.values()) == pytest.approx(float(row["chip_total_um2"]), rel=1e-6)


def mean(rows: dict[tuple[Any, ...], Row], column: str, one: str, other: str) -> float:
    """Arithmetic mean over 24 points of the ratio one / other, as the paper takes it."""
    points = [(m, n) for m in MODELS for n in LENGTHS]
    return sum(rows[one, *p][column] / rows[other, *p][column] for p in points) / len(points)


def test_headline(attention: dict[tuple[Any, ...], Row], end_to_end: Any) -> None:
    assert mean(attention, "seconds", "flat", "binding") == pytest.approx(6.7, rel=0.02)
    assert mean(attention, "seconds", "unfused", "binding") == pytest.approx(10, rel=0.02)
    assert mean(end_to_end, "latency_s", "flat", "binding") == pytest.approx(5.3, rel=0.02)
    assert mean(end_to_end, "latency_s", "unfused", "binding") == pytest.approx(7.6, rel=0.02)
    assert mean(attention, "energy_pj", "binding", "flat") == pytest.approx(0.79, abs=0.01)
    assert mean(end_to_end, "energy_pJ", "binding", "flat") == pytest.approx(0.83, abs=0.01)


# A simulation, not a formula: what is changed moves the answer ---------------------------------


def cycles(mapping: str, *settings: str, length: int = 4096) -> int:
    return verbs.simulate(mapping, "bert", length, settings=settings).result.cycles


def test_one_tile_in_flight_and_a_drained_array_take_the_serial_mappings_cycles() -> None:
    binding = verbs.simulate("fusemax__attention_1pass", "bert", 4096).result.cycles
    at = "mapping.phases.attention"
    einsums = {
        "QK": "2d", "LM": "2d", "RM": "1d", "SLN": "2d", "SLD": "2d", "SLNV": "2d", "PRM": "1d",
        "SPD": "1d", "SPNV": "1d", "RD": "1d", "RNV": "1d", "AV": "1d",
    }  # fmt: skip
    spatial = {"2d": "{rows: M0, cols: P0}", "1d": "{lanes: P0}"}
    order = ", ".join(
        f"{e}: {{unit: array_{u}, spatial: {spatial[u]}"
        + (", drain: array_2d.rows}" if e == "LM" else "}")
        for e, u in einsums.items()
    )
    serial = cycles(
        "fusemax__attention_1pass",
        f"{at}.einsums={{{order}}}",
        f"{at}.serial={{loop: P1, beside: [AV]}}",
    )
    assert serial == cycles("fusemax__attention_1pass_serial") > 3 * binding


def test_order_in_the_binding_matters() -> None:
    """With all Einsums in one stage, the order of the binding deadlocks, and it is said."""
    at = "mapping.phases.attention.einsums"
    names = ("SLN", "SLD", "SLNV", "RD", "RNV", "AV")
    with pytest.raises(verbs.AccelsimError, match="deadlocks"):
        cycles("fusemax__attention_1pass", *(f"{at}.{e}.stage=0" for e in names))


def test_another_legal_binding_order_takes_another_time() -> None:
    """AV in the tile of A, not one behind: the 2D array holds the next scores up."""
    late = cycles(FLAT, "mapping.phases.attention.einsums.AV.stage={P1: 2}")
    assert late > 1.2 * cycles(FLAT)


@pytest.mark.parametrize("mapping", ["flat__attention_3pass_unfused", "flat__attention_1pass"])
def test_bandwidth_and_buffer_move_the_answer(mapping: str) -> None:
    slow = cycles(mapping, "arch.levels.dram.bandwidth=8 GiB/s")
    assert slow > 1.2 * cycles(mapping)
    bytes_of = [
        sum(
            verbs.simulate(
                mapping, "bert", 65536, settings=(f"arch.levels.global_buffer.capacity={size} MiB",)
            )
            .result.traffic_bytes["dram"]
            .values()
        )
        for size in (4, 8, 32)
    ]
    assert bytes_of[0] > bytes_of[1] > bytes_of[2]


def test_spilled_shares_move_bytes_and_time() -> None:
    at = "mapping.phases.attention.storage"
    shares = [f"{at}.{t}.spilled=1/3" for t in ("QK", "SN", "A")]
    slow = "arch.levels.dram.bandwidth=100 GiB/s"
    whole = verbs.simulate(FLAT, "bert", 4096, settings=(slow,)).result
    part = verbs.simulate(FLAT, "bert", 4096, settings=(slow, *shares)).result
    moved = [sum(r.traffic_bytes["dram"].values()) for r in (whole, part)]
    scores = 64 * 12 * 4096 * 4096 * 2
    assert moved[1] - moved[0] == pytest.approx(7 * scores / 3, rel=1e-12)
    assert part.cycles > 1.05 * whole.cycles


def test_a_stage_of_a_whole_loop_is_what_lets_three_passes_fuse() -> None:
    late = "mapping.phases.attention.einsums.SN.stage=0"
    with pytest.raises(verbs.AccelsimError, match="fused across a pass boundary"):
        cycles(FLAT, late)


def test_what_is_overbooked_is_said() -> None:
    far = verbs.simulate(f"{FLAT}_offchip", "bert", 262144).result
    assert far.notes == [
        "overbooked by the mapping: phase attention has 1.00 GiB in global_buffer of 32.00 MiB "
        "(QK, SN)"
    ]
    assert verbs.simulate(FLAT, "bert", 4096).result.notes == []
