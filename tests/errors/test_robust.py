"""Whatever the input, the answer is a result or a message, never a traceback."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import accelsim
from accelsim import spec, verbs
from accelsim.cli import app, main
from accelsim.errors import AccelsimError

RUN = ("run", "--mapping", "fusemax__attention_1pass", "--model", "bert", "--seq-len", "256")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"arch: big\n" + b"# filler\n" * 1_200_000, "at most 1,048,576 are read"),
        (bytes(range(256)), "not UTF-8 text"),
        (b"\x00\x01\x02", "not YAML"),
        (b"cascade: " + b"[" * 100_000, "nested more than 40 deep"),
        (b"workload: w\nsource: s\nranks: {B: 4611686018427387905}", r"from 1 to 2\^62"),
    ],
)
def test_hostile_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(AccelsimError, match=message):
        verbs.check(str(path))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(AccelsimError, match="cannot be read: No such file"):
        verbs.check(str(tmp_path / "none.yaml"))
    with pytest.raises(AccelsimError, match="cannot be read: Is a directory"):
        verbs.check(str(tmp_path))


@pytest.mark.parametrize(
    ("case", "old", "new", "message"),
    [
        ("mapping_too_large", "P1: 4", "P1: 0x1" + "0" * 6000, "got a number of 24001 bits"),
        (
            "mapping_too_large",
            "slots: 512",
            "slots: 0x1" + "0" * 6000,
            "at most 1024, got a number",
        ),
        ("arch_zero_rows", "rows: 0", "rows: 0x1" + "0" * 6000, "got a number of 24001 bits"),
        ("arch_zero_rows", "1 GHz", "1" + "0" * 5000 + " GHz", "expected a frequency"),
        ("arch_zero_rows", "1 GHz", "1e999 GHz", "from 1e-30 to 1e30 hertz"),
        ("arch_zero_rows", "here", "[" + "1, " * 50_000 + "]", "that is not empty, got a list"),
    ],
)
def test_monstrous_values_have_a_short_message(
    tmp_path: Path, case: str, old: str, new: str, message: str
) -> None:
    text = (Path(__file__).parent / "cases" / f"{case}.yaml").read_text()
    assert old in text
    path = tmp_path / "x.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(AccelsimError, match=message) as caught:
        verbs.check(str(path))
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("arch.clok=1 GHz", "--set arch.clok: no such key\n    did you mean 'clock'?"),
        ("arch.clock=1 GHerz", "--set arch.clock: expected a frequency with its unit"),
        ("arch.levels.global_bufer.capacity=8 MiB", "did you mean 'global_buffer'?"),
        ("machine.clock=1 GHz", "'machine' is none of arch, mapping, workload"),
        ("arch.clock", "expected PATH=VALUE"),
        ("arch.clock.hz=3", "there is nothing below a plain value"),
        ("workload.ranks.BB=3", "no such key"),
        ("mapping.phases.attention.loops.9=M1", "expected an index from 0 to 4"),
        ("mapping.phases.attention.storage.X={level: registers}", "has no tensor X"),
        ("arch.units.array_2d.shape.rows=0", "expected a number from 1 to 2^62, got 0"),
        ("arch.clock=[", "not YAML"),
    ],
)
def test_settings(setting: str, message: str) -> None:
    with pytest.raises(AccelsimError) as caught:
        verbs.simulate("fusemax__attention_1pass", "bert", 256, settings=(setting,))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "arch.clok=1 GHz"), "--set arch.clok: no such key\n    did you mean 'clock'?\n"),
        (
            ("--timeline-tasks", "0"),
            "--timeline-tasks: expected a number from 1 to 10,000,000, got 0\n",
        ),
    ],
)
def test_the_console_script_ends_with_1_and_only_the_message(
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["accelsim", *RUN, *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", message)


@pytest.mark.parametrize("length", [0, -5, 1 << 63])
def test_sequence_lengths(length: int) -> None:
    with pytest.raises(AccelsimError, match=r"--seq-len: expected a number from 1 to 2\^62"):
        verbs.simulate("fusemax__attention_1pass", "bert", length)


def test_what_cannot_be_counted_in_64_bits_is_refused() -> None:
    with pytest.raises(AccelsimError, match="does not fit 64-bit time"):
        verbs.simulate("fusemax__attention_1pass", "bert", 1 << 40)


def test_settings_of_a_workload_that_is_loaded_already() -> None:
    loaded = spec.load("llama3-8b", "workload")
    assert verbs.traffic("h200__flash_fwd", loaded, 256, cache=False)["launches"]
    with pytest.raises(AccelsimError, match="the workload is loaded already"):
        verbs.traffic("h200__flash_fwd", loaded, 256, settings=("workload.ranks.B=3",))


@pytest.mark.parametrize(
    ("length", "setting", "message"),
    [
        (256, "mapping.phases.flash_fwd.launch=null", "phase flash_fwd is not launched"),
        (131072, "workload.ranks.B=3", "50,380,800 iterations, more than 20,000,000"),
        (256, "arch.levels.l2.capacity=16 KiB", "does not fit into a partition of 8192 bytes"),
    ],
)
def test_what_the_model_of_a_cache_cannot_do_is_a_note(
    length: int, setting: str, message: str
) -> None:
    found = verbs.traffic("h200__flash_fwd", "llama3-8b", length, settings=(setting,))
    assert found["launches"][0]["cache"] is None
    assert found["launches"][0]["requests"]["Q"]["read"] > 0
    (note,) = found["notes"]
    assert note.startswith("l2 is left out: ")
    assert message in note


def test_check_reports_and_exits_with_1() -> None:
    bad = Path(__file__).parent / "cases" / "cascade_unclosed_bracket.yaml"
    good = spec.data_root() / "workloads" / "bert.yaml"
    shown = CliRunner().invoke(app, ["check", str(good), str(bad)])
    assert shown.exit_code == 1
    assert "bert.yaml: workload bert: ok" in shown.output
    assert "`[` is never closed" in shown.output
    rows = json.loads(CliRunner().invoke(app, ["check", str(good), str(bad), "--json"]).output)
    assert [row["ok"] for row in rows] == [True, False]


@pytest.mark.parametrize("kind", ["cascade", "arch", "mapping", "workload"])
def test_shipped_files_are_without_fault(kind: str) -> None:
    for name in spec.names(kind):
        assert verbs.check(str(spec.find(name, kind))) == f"{kind} {name}"


def mutated(text: str, rng: random.Random) -> str:
    """One to three lines or characters changed."""
    lines = text.split("\n")
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                lines.pop(i)
                lines = lines or [""]
            case 1:
                lines.insert(i, lines[rng.randrange(len(lines))])
            case 2:
                lines[i] = lines[i].replace("[", "", 1)
            case 3:
                j = rng.randrange(len(lines[i]) + 1)
                lines[i] = lines[i][:j] + rng.choice(":[]{}*&!|>'\"#,-+ 09aM\t") + lines[i][j + 1 :]
            case _:
                lines[i] = " " + lines[i]
    return "\n".join(lines)


@pytest.mark.parametrize("kind", ["cascade", "arch", "mapping", "workload"])
def test_mutated_files_never_end_in_a_traceback(kind: str, tmp_path: Path) -> None:
    rng = random.Random(940)
    path = tmp_path / "x.yaml"
    for _ in range(120):
        path.write_text(mutated(spec.find(rng.choice(spec.names(kind)), kind).read_text(), rng))
        with suppress(AccelsimError):
            verbs.check(str(path))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"seq_len": "128"}, "seq_len: expected a whole number, got '128'"),
        ({"set": "arch.clock=1 GHz"}, "set: expected a dict of paths and values"),
        ({"record": -1}, "record: expected 0 or more"),
        ({"model": 3}, "model: expected a name"),
    ],
)
def test_calls_from_python_say_what_was_expected(call: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"model": "bert", "seq_len": 128, **call}
    with pytest.raises(AccelsimError, match=message):
        accelsim.simulate("fusemax__attention_1pass", **given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("analyze", "gemm", "--latex", "--json"), "--latex prints the cascade alone"),
        ((*RUN, "--timeline-tasks", "5"), "has no effect without --timeline"),
        ((*RUN, "--set", "arch.clock=0 Hz"), "--set arch.clock='0 Hz': clock: expected more"),
        ((*RUN, "--set", "arch.clock="), "expected a value after the `=`"),
    ],
)
def test_options_without_effect_are_refused(arguments: tuple[str, ...], message: str) -> None:
    shown = CliRunner().invoke(app, list(arguments))
    assert message in str(shown.exception)


def test_more_tiles_than_can_be_told_apart() -> None:
    settings = (
        "arch.levels.global_buffer.capacity=1 GiB",
        "mapping.phases.attention.loops=[M1, H, P1, B, P2]",
        "mapping.phases.attention.einsums.AV.stage={M1: 1}",
        "workload.ranks.F=8",
        "arch.units.array_2d.shape={rows: 64, cols: 4}",
    )
    with pytest.raises(AccelsimError, match="tiles would have to be told apart"):
        accelsim.simulate("fusemax__attention_1pass_serial", "bert", 3000, set=settings)
