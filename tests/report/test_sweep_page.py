"""The report page as a file: whole, without a network, and safe from what users write."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs
from typer.testing import CliRunner

from accelsim import explore, verbs
from accelsim.cli import app
from accelsim.report import sweep_page
from accelsim.report.timeline import Span, spans
from tests.report.sweep_folder import timeline, write

HOSTILE = "</script><img src=x onerror=alert(1)><!-- \u2028 & <b>bold</b> {{plotly}}"


class Read(html.parser.HTMLParser):
    """Elements of a page with their attributes, and the text of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        self.inside = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data

    @property
    def data(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.scripts[0])
        return loaded


def made(folder: Path, number: int = 40, **settings: Any) -> str:
    found = explore.points(write(folder, number, **settings))[0]
    rows = sweep_page.rows_of_timelines(found, most=2)
    return sweep_page.page(found, {row: timeline(row) for row in rows})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("page"))


def test_what_users_write_is_never_markup(tmp_path: Path) -> None:
    page = made(
        tmp_path,
        name=HOSTILE,
        description=HOSTILE,
        messages=(HOSTILE,),
        rename={"array": HOSTILE},
    )
    read = Read(page)
    assert len(read.scripts) == 3
    assert "img" not in {tag for tag, _ in read.elements}
    assert "<!--" not in read.scripts[0]
    assert "\u2028" not in page.replace(get_plotlyjs(), "").split("</title>")[1]
    assert read.data["name"] == HOSTILE
    assert read.data["errors"]["of"] == [None, HOSTILE]
    assert HOSTILE in {column["name"] for column in read.data["columns"]}
    assert get_plotlyjs() not in read.scripts[0]


def test_the_page_asks_nothing_of_a_network(page: str) -> None:
    own = page.replace(get_plotlyjs(), "")
    assert set(re.findall(r"https?://[^\s\"')]*", own)) == {"http://www.w3.org/2000/svg"}
    for tag, attributes in Read(page).elements:
        assert "src" not in attributes, tag
        assert tag not in {"iframe", "object", "embed", "base"}
        assert not (attributes.get("href") or "#").startswith("http")


def test_the_policy_runs_the_two_scripts_alone_and_fetches_nothing(page: str) -> None:
    read = Read(page)
    policy = next(
        attributes["content"] or ""
        for _, attributes in read.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in read.scripts[1:]
    ]
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == ["'unsafe-eval'", *hashes]
    assert "connect-src" not in rules
    assert rules["img-src"] == ["data:", "blob:"]


def test_20_000_points_stay_small(tmp_path: Path) -> None:
    found = explore.points(write(tmp_path, 20_000))[0]
    page = sweep_page.page(found, {})
    number = len(found.measures) + len(found.axes)
    assert number > 40
    size = len(page.encode()) - len(get_plotlyjs().encode())
    assert size / 20_000 / number < 5.6  # 4 bytes in base64 are 5.3


def test_the_front_is_that_of_points_that_hold(tmp_path: Path) -> None:
    folder = write(tmp_path, 40)
    found = explore.points(folder)[0]
    front = set(sweep_page.rows_of_timelines(found, most=100))
    best = int(np.nanargmin(found.measures["seconds"]))
    assert best in front
    assert not front & {3}
    kept = [None if row == 3 else row != best for row in range(40)]
    folder = write(tmp_path / "kept", 40, feasible=kept)
    found = explore.points(folder)[0]
    assert best not in sweep_page.rows_of_timelines(found, most=100)
    assert "outside" in Read(sweep_page.page(found, {})).data


def test_a_failing_point_has_no_timeline(tmp_path: Path) -> None:
    found = explore.points(write(tmp_path, 40))[0]
    with pytest.raises(Exception, match="point 3 has no timeline: mapping: K does not fit"):
        sweep_page.rows_of_timelines(found, most=0, asked=[3])
    assert sweep_page.rows_of_timelines(found, most=0, asked=[5]) == [5]


def test_a_name_is_shortened_unless_another_column_has_it(tmp_path: Path) -> None:
    def labels(folder: Path) -> dict[str, str]:
        columns = sweep_page.document(explore.points(folder)[0], {})["columns"]
        return {c["name"]: c["label"] for c in columns if "label" in c}

    assert labels(write(tmp_path / "a", 4))["area_um2"] == "area"
    named = labels(write(tmp_path / "b", 4, rename={"array": "area"}))
    assert named["area_um2"] == "area_um2"


def test_spans_end_with_the_run_and_keep_servers_single() -> None:
    settings = ("workload.ranks.B=1", "workload.ranks.H=1")
    run = verbs.simulate("fusemax__attention_1pass", "bert", 1024, settings=settings, record=10_000)
    found = spans(run.program, run.execution)
    assert len(found) == run.result.tasks
    assert max(end for *_, end, _ in found) == pytest.approx(run.result.seconds, rel=1e-12)
    for server in {span[0] for span in found}:
        own = [span for span in found if span[0] == server]
        for one, other in pairwise(own):
            assert one[3] <= other[2] + 1e-12
    later = spans(run.program, run.execution, 1.0)
    assert later[0][2] == 1.0 + found[0][2]


SWEEP = """
sweep: tiny
source: made up
axes: {seq_len: [1024, 2048]}
objectives: {seconds: min}
cases:
  - workload: bert
    runs:
      first: {mapping: fusemax__attention_1pass, set: [workload.ranks.B=1, workload.ranks.H=1]}
      second: {mapping: fusemax__attention_1pass, set: [workload.ranks.B=1, workload.ranks.H=1]}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A sweep file beside a folder with its rows, as a sweep writes them."""
    path = tmp_path / "tiny.yaml"
    path.write_text(SWEEP)
    explore.run(explore.load(str(path)), tmp_path / "out")
    return path


def report(study: Path, *more: str) -> tuple[str, dict[str, Any]]:
    """What the command said, and the data of the page it wrote."""
    target = study.with_name("page.html")
    target.unlink(missing_ok=True)
    words = ["report", str(study.with_name("out")), "--html", str(target), *more]
    ended = CliRunner().invoke(app, words)
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        return str(ended.exception), {}
    return ended.output, Read(target.read_text()).data


def test_points_are_run_again_for_their_timelines(study: Path) -> None:
    said, data = report(study, "--study", str(study), "--point", "1")
    assert "2 points, 2 timelines" in said
    assert [told["row"] for told in data["timelines"]] == [1, 0]
    assert {where.split()[0] for where in data["timelines"][0]["tile"]["of"]} == {"first", "second"}


def test_the_command_says_what_is_missing(study: Path) -> None:
    assert "2 points, 0 timelines" in report(study)[0]
    assert "--point needs --study" in report(study, "--point", "1")[0]
    assert "no point 7" in report(study, "--study", str(study), "--point", "7")[0]
    other = "studies/fusemax/area.yaml"
    assert "its axes are model, PE_dim, seq_len" in report(study, "--study", other)[0]
    shutil.rmtree(study.with_name("out"))
    assert "no study.json" in report(study, "--study", str(study))[0]


def test_runs_of_a_timeline_follow_one_another(study: Path) -> None:
    found: list[Span] = explore.timeline(
        explore.load(str(study)), {"seq_len": 1024}, record=100_000
    )
    first = max(end for *_, end, where in found if where.startswith("first"))
    second = min(start for _, _, start, _, where in found if where.startswith("second"))
    assert first <= second * (1 + 1e-12)
