"""SQA, GQA and MQA: what fewer query heads save, and fewer key and value heads; and the README."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from accelsim import verbs
from accelsim.analysis import analyze
from tests.published.study import Rows, swept

STUDY = Path(__file__).parents[2] / "studies" / "sqa"
README = (STUDY / "README.md").read_text()
HEADS = {
    "MHA": (16, 16), "GQA": (16, 4), "MQA": (16, 1), "SQA": (8, 4), "sSQA": (8, 8),
    "xSQA": (4, 4), "xSMQA": (4, 1),
}  # fmt: skip
LENGTHS = (32768, 131072, 196608)
MACHINES = ("fusemax", "gpu_like")
SMS, PEAK = 108, 1024 * 1.41e9  # SMs of the chip; multiply-accumulates a second on one


@pytest.fixture(scope="module")
def attention() -> Rows:
    return swept("sqa", "attention")


@pytest.fixture(scope="module")
def table3() -> Rows:
    return swept("sqa", "table3")


def published() -> dict[tuple[str, int], float]:
    with (STUDY / "published" / "table3.csv").open() as file:
        return {(r["variant"], int(r["seq_len"])): float(r["step_s"]) for r in csv.DictReader(file)}


def in_readme(row: str) -> None:
    assert row in README.splitlines()


@pytest.mark.parametrize("variant", HEADS)
def test_operations_fall_by_exactly_the_query_heads(variant: str) -> None:
    def operations(queries: int, groups: int) -> dict[str, dict[str, int]]:
        shapes = {"B": 1, "H": queries, "G": groups, "E": 128, "F": 128, "M": 32768, "P": 32768}
        built = verbs.load_cascade("attention_grouped")
        found = analyze(built, shapes | {"M0": 256, "M1": 128}).as_json()["op_counts"]["by_einsum"]
        return {e: {op: one["count"] for op, one in ops.items()} for e, ops in found.items()}

    queries, groups = HEADS[variant]
    base, fewer = operations(16, 16), operations(queries, groups)
    for einsum in ("QK", "SLNV"):
        assert fewer[einsum] == {"mac": queries * 32768**2 * 128}
    for einsum, counts in base.items():
        assert {op: n * queries // 16 for op, n in counts.items()} == fewer[einsum]


def test_over_a_prompt_query_heads_alone_count(attention: Rows) -> None:
    for machine in MACHINES:
        for length in LENGTHS:
            base = attention[machine, "prefill", "MHA", length]
            for variant, (queries, _) in HEADS.items():
                row = attention[machine, "prefill", variant, length]
                speedup = base["seconds"] / row["seconds"]
                assert speedup == pytest.approx(16 / queries, rel=5e-4)
                assert row["busy_seconds_dram"] < 0.61 * row["seconds"]


def test_in_decode_key_and_value_heads_alone_count(attention: Rows) -> None:
    for machine in MACHINES:
        for length in LENGTHS:
            rows = {v: attention[machine, "decode", v, length] for v in HEADS}
            for variant, (_, groups) in HEADS.items():
                row = rows[variant]
                assert row["busy_seconds_dram"] > 0.98 * row["seconds"]
                # Keys and values are 512 bytes a position and group; Q and AV as much a head.
                assert row["dram_bytes"] == 512 * (groups * length + HEADS[variant][0])
                for other, (_, same) in HEADS.items():
                    if same == groups:
                        assert row["seconds"] == pytest.approx(rows[other]["seconds"], rel=5e-4)


def test_attention_is_as_the_readme_says(attention: Rows) -> None:
    for machine in MACHINES:
        for phase in ("prefill", "decode"):
            for length in (LENGTHS[0], LENGTHS[-1]):
                rows = [attention[machine, phase, v, length] for v in HEADS]
                shown = [
                    f"{rows[0]['seconds'] / r['seconds']:.2f} "
                    f"({rows[0]['dram_bytes'] / r['dram_bytes']:.2f})"
                    for r in rows[1:]
                ]
                in_readme(f"| {machine}, {phase}, {length} | {' | '.join(shown)} |")


def test_a_layer_gains_less(attention: Rows) -> None:
    layer = swept("sqa", "end_to_end")
    for length in (4096, *LENGTHS):
        base = layer["MHA", length]["seconds"]
        gains = {v: base / layer[v, length]["seconds"] for v in ("sSQA", "xSQA")}
        assert 1 < gains["sSQA"] < 2 < 4 > gains["xSQA"] > gains["sSQA"]
        shares = [layer[v, length] for v in ("MHA", "sSQA", "xSQA")]
        shown = ", ".join(f"{r['linear_seconds'] / r['seconds'] * 100:.0f} %" for r in shares)
        in_readme(f"| {length} | {gains['sSQA']:.2f} | {gains['xSQA']:.2f} | {shown} |")
    for length in LENGTHS:
        total = {}
        for variant, (queries, groups) in HEADS.items():
            macs = length * 2048 * (128 * (2 * queries + 2 * groups) + 2 * 8192)
            own = attention["gpu_like", "prefill", variant, length]["seconds"]
            total[variant] = own + macs / PEAK
        shown = " | ".join(f"{total['MHA'] / t:.2f}" for v, t in total.items() if v != "MHA")
        in_readme(f"| {length} | {shown} |")


def test_table_3(table3: Rows) -> None:
    theirs = published()
    for length in (1024, 4096, 32768, 131072, 200000):
        shown = []
        for variant in ("GQA", "MQA", "SQA", "sSQA", "xSQA"):
            measured = theirs["MHA", length] / theirs[variant, length]
            ours = table3["MHA", length]["seconds"] / table3[variant, length]["seconds"]
            assert ours == pytest.approx(16 / HEADS[variant][0], rel=1e-3)
            shown.append(f"{measured:.2f} / {ours:.2f}")
        own = table3["MHA", length]["seconds"] - table3["xSQA", length]["seconds"]
        head = (theirs["MHA", length] - theirs["xSQA", length]) / 12 * 1e3
        ours = own / 12 * 8 / SMS * 1e3
        if length >= 32768:
            assert 0.72 < ours / head < 0.785
        in_readme(f"| {length} | {' | '.join(shown)} | {head:.2f} / {ours:.2f} ms |")


def test_the_group_on_its_columns_is_the_plain_mapping() -> None:
    """As many groups as heads, in tiles as large: gpu_like__attention_1pass to the cycle."""
    heads = ("workload.ranks.H=4", "workload.ranks.G=4")
    grouped = ("mapping.partition.P.P0=128", *heads)
    ours, plain = (
        verbs.simulate(name, str(STUDY / "model.yaml"), 8192, settings=settings).result
        for name, settings in (
            ("gpu_like__attention_grouped", grouped),
            ("gpu_like__attention_1pass", heads),
        )
    )
    assert (ours.cycles, ours.traffic_bytes) == (plain.cycles, plain.traffic_bytes)


@pytest.mark.parametrize("groups", [4, 1])
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("length", [2048, 32768])
def test_shared_tiles_divide_keys_and_values(machine: str, length: int, groups: int) -> None:
    small = ("mapping.partition.P.P0=16",) if (machine, groups) == ("gpu_like", 1) else ()
    at = "mapping.phases.attention.storage"
    apart = (f"{at}.K.keep=[]", f"{at}.V.keep=[]")
    model, name = str(STUDY / "model.yaml"), f"{machine}__attention_grouped"
    moved = []
    for settings in ((), apart):
        every = (f"workload.ranks.G={groups}", *small, *settings)
        result = verbs.simulate(name, model, length, settings=every).result
        moved.append(result.traffic_by_tensor["dram"])
    shared, alone = moved
    for tensor in ("K", "V"):
        assert alone[tensor]["read"] == shared[tensor]["read"] * 16 // groups
    for tensor in ("Q", "AV"):
        assert alone[tensor] == shared[tensor]


def test_sharing_is_as_the_readme_says() -> None:
    rows = swept("sqa", "sharing")
    for machine in MACHINES:
        for length in (2048, 32768):
            shown = [rows[machine, "shared", "MHA", length]] + [
                rows[machine, sharing, variant, length]
                for variant in ("GQA", "MQA")
                for sharing in ("shared", "apart")
            ]
            text = " | ".join(f"{row['dram_bytes'] / 2**20:.0f}" for row in shown)
            in_readme(f"| {machine}, {length} | {text} |")
    slower = [
        rows["gpu_like", "apart", v, 32768]["seconds"]
        / rows["gpu_like", "shared", v, 32768]["seconds"]
        for v in ("GQA", "MQA")
    ]
    assert [round(s, 1) for s in slower] == [2.4, 9.5]
