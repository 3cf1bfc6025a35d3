"""Laws of every result: conservation, energy as a sum, bounds, the same bytes again."""

from __future__ import annotations

import json

import pytest

from accelsim import analysis, arch, spec, verbs
from accelsim.errors import AccelsimError
from accelsim.results import Result
from tests.shipped import MAPPINGS, RUNS

EVERY: list[tuple[str, str, int | None, tuple[str, ...]]] = [
    (mapping, model, length, ("workload.ranks.B=3",))
    for mapping in MAPPINGS
    for model in ("t5", "xlm")
    for length in (256, 1024, 2048)
] + [(mapping, *run) for mapping, run in RUNS.items()]


@pytest.fixture(params=EVERY, ids=lambda r: "-".join(map(str, r[:3])))
def result(request: pytest.FixtureRequest) -> Result:
    mapping, model, length, settings = request.param
    return verbs.simulate(mapping, model, length, settings=settings).result


def test_what_leaves_memory_enters_the_buffer(result: Result) -> None:
    memory = result.traffic_by_tensor["dram"]
    mapping = spec.load(result.name, "mapping").spec
    made = {einsum for phase in mapping.phases.values() for einsum in phase.einsums}
    for phase in mapping.phases.values():
        for tensor, storage in phase.storage.items():
            if tensor not in made and storage.level != "registers":
                buffer = result.traffic_by_tensor[storage.level]
                assert memory[tensor]["read"] == buffer[tensor]["write"] > 0
                assert buffer[tensor]["read"] >= buffer[tensor]["write"]
    assert result.traffic_bytes["dram"]["write"] > 0


def test_every_server_accounts_for_all_time(result: Result) -> None:
    total = result.ticks / result.ticks_per_cycle
    for name, busy in result.busy_cycles.items():
        parts = busy + sum(result.wait_cycles[name].values()) + result.tail_cycles[name]
        assert parts == pytest.approx(total, rel=1e-12)
        assert 0 <= busy <= total


def test_energy_is_count_times_energy(result: Result) -> None:
    mapping = spec.load(result.name, "mapping").spec
    machine = arch.build(spec.load(mapping.arch, "arch"))
    total = 0.0
    for part, actions in result.actions.items():
        for action, tensors in actions.items():
            count = sum(tensors.values())
            level, unit = machine.level(part), machine.unit(part)
            if level is not None:
                total += count * float(level.read_pj if action == "read" else level.write_pj)
            if unit is not None:
                operation = unit.operation(action)
                assert operation is not None
                registers = 2 * unit.register_read_pj + unit.register_write_pj
                each = operation.energy_pj + registers / unit.instances
                total += count * float(each)
    assert total == pytest.approx(result.energy_pj, rel=1e-12)
    assert sum(result.energy_by_part_pj.values()) == pytest.approx(result.energy_pj, rel=1e-12)
    given = not any("gives no energies" in note for note in result.notes)
    assert (result.energy_all_registers_pj > result.energy_pj) == given == (total > 0)


def test_bounds_hold(result: Result) -> None:
    assert result.bounds["cycles"] <= result.cycles
    assert result.bounds["traffic_bytes"] <= sum(result.traffic_bytes["dram"].values())


def test_reserved_within_capacity(result: Result) -> None:
    for room in result.buffers.values():
        assert 0 < room["reserved_bytes"] <= room["capacity_bytes"]
        assert sum(room["by_tensor"].values()) == room["reserved_bytes"]


def test_json_there_and_back(result: Result) -> None:
    text = result.to_json()
    assert Result.from_json(text) == result
    assert Result.from_json(text).to_json() == text
    assert set(json.loads(text)) >= {
        "cycles", "seconds", "energy_pj", "utilization", "traffic_bytes", "tasks", "engine",
        "bottleneck",
    }  # fmt: skip


def test_same_inputs_same_bytes() -> None:
    once, again = (
        verbs.simulate("fusemax__attention_1pass", "bert", 512).result.to_json() for _ in range(2)
    )
    assert once == again


def test_engines_give_one_result() -> None:
    settings = ("workload.ranks.B=1",)
    fast, slow = (
        json.loads(
            verbs.simulate(
                "fusemax__attention_1pass", "bert", 768, engine_name=name, settings=settings
            ).result.to_json()
        )
        for name in ("compiled", "reference")
    )
    assert (fast.pop("engine"), slow.pop("engine")) == ("compiled", "reference")
    assert fast == slow


def test_settings_and_files_show_in_the_hashes() -> None:
    plain = verbs.simulate("fusemax__attention_1pass", "bert", 256).result.inputs
    slower = verbs.simulate(
        "fusemax__attention_1pass", "bert", 256, settings=("arch.clock=1 GHz",)
    ).result.inputs
    assert plain["arch"]["sha256"] != slower["arch"]["sha256"]
    assert plain["mapping"] == slower["mapping"]


def test_the_reference_does_not_swallow_the_memory() -> None:
    with pytest.raises(AccelsimError, match="engine compiled gives the same times"):
        verbs.simulate("fusemax__attention_1pass", "bert", 16384, engine_name="reference")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not a result"), ("[]", "expected a JSON object"), ("{}", "missing"),
     ('{"cycle": 1}', "unknown key 'cycle'")],
)  # fmt: skip
def test_what_is_no_result(text: str, message: str) -> None:
    with pytest.raises(AccelsimError, match=message):
        Result.from_json(text)


def test_formats_scale_what_moves_and_its_bound() -> None:
    """In BERT's heads each tensor is moved once: halves of bytes of one that is int4."""
    formats = {"Q": "int4", "K": "int8", "V": "float32", "AV": "float64"}
    bytes_of = {"Q": 0.5, "K": 1, "V": 4, "AV": 8}
    given = "{" + ", ".join(f"{t}: {f}" for t, f in formats.items()) + "}"
    model = ("fusemax__attention_1pass", "bert", 1024)
    plain = verbs.simulate(*model).result
    other = verbs.simulate(*model, settings=(f"mapping.formats={given}",)).result
    for tensor, size in bytes_of.items():
        one, two = (r.traffic_by_tensor["dram"][tensor] for r in (plain, other))
        assert {way: n * size / 2 for way, n in one.items()} == two
    assert other.bounds["traffic_bytes"] == sum(other.traffic_bytes["dram"].values())
    assert other.bounds["cycles"] <= other.cycles


def test_clusters_share_the_work_of_a_bound() -> None:
    whole, one = (
        analysis.bounds(
            verbs.load_cascade("attention_1pass"),
            {"B": 1, "H": 8, "E": 64, "F": 64, "M": 512, "P": 512, "M0": 128, "M1": 4},
            verbs.machine_rates(arch.build(spec.load("h200", "arch", changes))),
        )
        for changes in ((), ((("clusters",), 1),))
    )
    assert one.compute_cycles == 132 * whole.compute_cycles > 0
    assert one.traffic_cycles == whole.traffic_cycles
