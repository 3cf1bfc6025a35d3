"""Published times of attention on GPUs: errors by family, calibrated numbers; and the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from accelsim import arch, spec
from accelsim.engine import coarse
from accelsim.errors import AccelsimError
from accelsim.explore import published

STUDY = Path(__file__).parents[2] / "studies" / "gpu_validation"
README = (STUDY / "README.md").read_text()
DOCUMENT = published.load(str(STUDY / "validation.yaml"))
HELD = [n for n, f in DOCUMENT.spec.families.items() if f.worst_percent is not None]
QUICK = {"fa3": {"seq_len": [512, 1024]}, "fa2": {"seq_len": [512, 1024]}, "decode": {}}
"""Rows that take a second or less, and of which the kernels' starts and ends are most."""
NOISE = 0.0015
"""Of errors in the README, which have one digit of a percent."""


def recorded(family: str) -> dict[tuple[str, ...], float]:
    """Errors by row, of the README's tables."""
    part = README.split(f"### {family}\n")[1].split("\n#")[0]
    found = re.findall(r"^\| ([^|]+) \| [\d.]+ \| [\d.]+ \| ([+-][\d.]+)(\*?) \|$", part, re.M)
    return {(*row.split(", "), star): float(error) / 100 for row, error, star in found}


def key(row: published.Row) -> tuple[str, ...]:
    return (*map(str, row.at.values()), "" if row.scored else "*")


def of_scored(family: str) -> published.Errors:
    """Of all rows as the README has them; the tests below make sure that it is right."""
    return published.errors(e for (*_, star), e in recorded(family).items() if not star)


@pytest.mark.parametrize("family", HELD)
def test_mean_errors_keep_their_limit(family: str) -> None:
    limits = DOCUMENT.spec.families[family]
    assert limits.mean_percent == 5
    assert limits.worst_percent == 12
    assert of_scored(family).mean <= 0.05


@pytest.mark.parametrize("family", HELD)
def test_worst_errors_keep_their_limit(family: str) -> None:
    assert of_scored(family).worst <= 0.12


@pytest.mark.parametrize("family", [*DOCUMENT.spec.families])
def test_the_summary_is_of_the_rows(family: str) -> None:
    of = published.errors(e for (*_, star), e in recorded(family).items() if not star)
    line = next(one for one in README.splitlines() if one.startswith(f"| {family} |"))
    rows, mean, worst, bias = (float(cell) for cell in line.split(" | ")[1:5])
    assert rows == of.rows
    for shown, number in ((mean, of.mean), (worst, of.worst), (bias, of.bias)):
        assert shown / 100 == pytest.approx(number, abs=NOISE)


@pytest.mark.parametrize("family", HELD)
def test_short_rows_are_as_recorded(family: str) -> None:
    rows = published.predict(DOCUMENT, [family], at=QUICK[family])
    known = recorded(family)
    for row in rows:
        assert row.error == pytest.approx(known[key(row)], abs=NOISE), row


@pytest.mark.long
@pytest.mark.parametrize("family", [*DOCUMENT.spec.families])
def test_all_rows_are_as_recorded(family: str) -> None:
    rows = published.predict(DOCUMENT, [family])
    known = recorded(family)
    assert {key(row) for row in rows} == {*known}
    for row in rows:
        assert row.error == pytest.approx(known[key(row)], abs=NOISE), row


@pytest.mark.parametrize("name", ["a100_start", "a100_slows"])
def test_machines_hold_what_calibration_gives(name: str) -> None:
    """To 1 %: its row is predicted too fast with 1 % less, too slow with 1 % more, or reversed."""
    value = published.standing(DOCUMENT, name)
    less, more = (published.difference(DOCUMENT, name, value * k) for k in (0.99, 1.01))
    assert less * more < 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["h100_clock", "h100_slows", "h100_mma"])
def test_the_h100_holds_what_calibration_gives(name: str) -> None:
    test_machines_hold_what_calibration_gives(name)


def test_few_numbers_are_calibrated_each_on_a_row_that_is_not_scored() -> None:
    of = DOCUMENT.spec.calibrated.values()
    machines = [DOCUMENT.spec.families[number.family].machine for number in of]
    assert all(machines.count(machine) <= 4 for machine in machines)
    for family in HELD:
        kept = [n.at for n in of if n.family == family]
        starred = {row for row in recorded(family) if row[-1]}
        assert starred == {(*map(str, at.values()), "*") for at in kept}


def test_start_is_carried_over_in_cycles() -> None:
    a100, h100 = (arch.build(spec.load(name, "arch")) for name in ("a100", "h100"))
    assert a100.launch is not None
    assert h100.launch is not None
    assert float(h100.launch.start) == pytest.approx(float(a100.launch.start), rel=0.01)


def test_a_number_out_of_its_bounds_is_refused() -> None:
    number = DOCUMENT.spec.calibrated["a100_start"].model_copy(update={"least": 4.0, "most": 5.0})
    other = DOCUMENT.spec.model_copy(update={"calibrated": {"a100_start": number}})
    with pytest.raises(AccelsimError, match="a100_start: no value between 4 and 5"):
        published.calibrate(spec.Document(other, DOCUMENT.source), ["a100_start"])


def test_calibration_finds_a_value_that_was_lost() -> None:
    found = published.calibrate(DOCUMENT, ["a100_slows"], ["arch.launch.start=1.734 us"])
    assert found["a100_slows"] == pytest.approx(
        published.standing(DOCUMENT, "a100_slows"), rel=0.01
    )


def test_rows_are_predicted_with_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    at: published.At = {"width": 128, "mask": "causal", "seq_len": 4096}
    (row,) = published.predict(DOCUMENT, ["fa3"], at=at)
    monkeypatch.setattr(coarse, "MOST_TASKS", 1)
    assert published.predict(DOCUMENT, ["fa3"], at=at) == [row]
