"""Every malformed input has its message: where, what, what was expected, the nearest known name.

Each cases/NAME.yaml has its cases/NAME.expect, the text of the faults that `accelsim check` prints.
`pytest --update-golden` writes the expectations anew; read the difference before you keep it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim import verbs
from accelsim.errors import AccelsimError

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.stem for path in CASES.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_message(
    name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(CASES)
    with pytest.raises(AccelsimError) as caught:
        verbs.check(f"{name}.yaml")
    actual = f"{caught.value}\n"
    golden = CASES / f"{name}.expect"
    if request.config.getoption("--update-golden"):
        golden.write_text(actual)
    assert golden.exists(), "no expectation: run pytest --update-golden and read what it wrote"
    assert golden.read_text() == actual


def test_there_are_enough_and_none_is_left_over() -> None:
    assert len(NAMES) >= 40
    assert {path.stem for path in CASES.glob("*.expect")} == set(NAMES)
