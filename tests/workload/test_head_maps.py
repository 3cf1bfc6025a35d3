"""Head maps that do not fit: said with the place, whatever is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim import verbs
from accelsim.errors import AccelsimError
from accelsim.spec import data_root


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("h * G // H + 1", "outside of G = 8"),
        ("h * G // H - 1", "= -1, outside of G = 8"),
        ("h // (G - 8)", "division by 0"),
    ],
)
def test_a_head_map_that_leaves_the_groups(tmp_path: Path, head: str, message: str) -> None:
    text = (data_root() / "einsum_cascades/attention_grouped.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace('"gk(h)": h * G // H', f'"gk(h)": {head}'))
    line = 1 + text[: text.index("  QK[b,h,m1,m0,p] =")].count("\n")
    with pytest.raises(AccelsimError, match=rf"mine.yaml:{line}:\d+: .*{message}"):
        verbs.analyze(verbs.load_cascade(str(path)), "llama3-8b", 1024)


def test_a_table_that_is_not_given_is_said() -> None:
    found = verbs.analyze(verbs.load_cascade("attention_qcqa"), "llama3-8b", 1024)
    assert found["notes"] == ["llama3-8b gives no table group: counted without it"]


def test_a_misspelt_parameter_is_said() -> None:
    settings = ("workload.parameters={widow: 5}", "workload.ranks.B=1")
    name = "fusemax__attention_1pass_window"
    notes = verbs.simulate(name, "bert", 1024, settings=settings).result.notes
    assert any("has no parameter widow; it is set without effect" in note for note in notes)
