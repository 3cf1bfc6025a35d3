"""The three calls of notebooks: the same numbers as those of files and the command line."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import yaml

import accelsim
from accelsim import api, explore, given, spec
from accelsim.errors import AccelsimError
from accelsim.results.shown import tables

ROOT = Path(__file__).parent.parent
MAPPING = "fusemax__attention_1pass"
BUFFER = {"values": ["1 MiB", "16 MiB"], "set": "arch.levels.global_buffer.capacity"}
STUDY: dict[str, Any] = {
    "mapping": MAPPING,
    "workload": "bert",
    "set": {"arch.clock": "1 GHz"},
    "axes": {"seq_len": [1024, 4096], "buffer": BUFFER},
}


@pytest.mark.parametrize("kind", ["cascade", "arch", "workload"])
def test_every_shipped_name_is_loaded(kind: str) -> None:
    types = {"cascade": accelsim.Cascade, "arch": accelsim.Machine, "workload": spec.Document}
    for name in spec.names(kind):
        found = accelsim.load(name, kind)
        assert isinstance(found, types[kind])
        if name != "gemm":
            assert accelsim.load(name) == found


def test_files_are_loaded_by_their_first_key(tmp_path: Path) -> None:
    (tmp_path / "chip.yaml").write_text((ROOT / "archs" / "fusemax.yaml").read_text())
    assert accelsim.load(tmp_path / "chip.yaml") == accelsim.load("fusemax")
    folder = ROOT / "studies" / "fusemax"
    assert accelsim.load(folder / "area.yaml").spec.sweep == "fusemax_area"
    assert accelsim.load(str(folder / "figures.yaml")).spec.figures == "fusemax"
    (tmp_path / "study.yaml").write_text((folder / "area.yaml").read_text())
    assert accelsim.load(tmp_path).spec.sweep == "fusemax_area"
    assert accelsim.load(MAPPING).spec.mapping == MAPPING


def test_a_mapping_is_checked_with_what_it_names(tmp_path: Path) -> None:
    text = (ROOT / "archs" / "mappings" / f"{MAPPING}.yaml").read_text()
    path = tmp_path / "own.yaml"
    path.write_text(text.replace("array_1d", "array_3d"))
    with pytest.raises(AccelsimError, match="array_3d"):
        accelsim.load(path)


def test_settings_mean_what_they_mean_on_the_command_line() -> None:
    paths = {
        "arch.units.array_2d.shape": {"rows": 128, "cols": 128},
        "arch.clock": "1 GHz",
        "mapping.phases.attention.storage.V.slots": np.int64(2),
        "mapping.phases.attention.loops": ("B", "H", "P2", "M1", "P1"),
    }
    texts = [
        "arch.units.array_2d.shape={rows: 128, cols: 128}",
        "arch.clock=1 GHz",
        "mapping.phases.attention.storage.V.slots=2",
        "mapping.phases.attention.loops=[B, H, P2, M1, P1]",
    ]
    by_path, by_text = (accelsim.simulate(MAPPING, "bert", 4096, set=s) for s in (paths, texts))
    assert by_path.result.ticks == by_text.result.ticks
    assert by_path.seconds == by_text.seconds != accelsim.simulate(MAPPING, "bert", 4096).seconds


@pytest.mark.parametrize("value", [True, 7, 1e-7, 1e30, -2.5, [1, "a: b"], {"x": "1", "y": [None]}])
def test_values_are_read_as_what_they_are(value: Any) -> None:
    (text,) = given.settings({"arch.x": value})
    assert spec.override(text, ("arch",)) == ("arch", ("x",), value)


def test_a_run_has_what_its_result_has() -> None:
    run = accelsim.simulate(MAPPING, "bert", 4096)
    for name in ("seconds", "cycles", "energy_pj", "utilization", "bottleneck", "notes"):
        assert getattr(run, name) == getattr(run.result, name)
    loaded = (accelsim.load(MAPPING), accelsim.load("bert"))
    assert accelsim.simulate(*loaded, 4096).result.ticks == run.result.ticks
    assert len(repr(run)) < 10_000


def test_kinds_of_runs() -> None:
    how = ("fusemax__attention_grouped_decode", "llama3-8b", 4096)
    by_kind = accelsim.simulate(*how, kind="decode")
    assert by_kind.cycles == accelsim.simulate(*how, set=["workload.kind=decode"]).cycles


def test_rows_are_runs() -> None:
    frame = accelsim.sweep(STUDY, progress=False)
    assert list(frame.index) == [0, 1, 2, 3]
    for _, row in frame.iterrows():
        changed = {"arch.clock": "1 GHz", BUFFER["set"]: row["buffer"]}
        result = accelsim.simulate(MAPPING, "bert", int(row["seq_len"]), set=changed).result
        assert row["cycles"] == result.cycles
        assert row["dram_bytes"] == sum(result.traffic_bytes["dram"].values())
        assert row["energy_pj"] == result.energy_pj
    assert frame.attrs["units"] == {
        **{"dram_bytes": "bytes", "seconds": "s"},
        **{"energy_pj": "pJ", "energy_all_registers_pj": "pJ"},
        **{"utilization_array_2d": "share", "utilization_array_1d": "share"},
    }


def test_a_dict_is_a_file(tmp_path: Path) -> None:
    run = {"mapping": MAPPING, "set": ["arch.clock=1 GHz"]}
    whole = {
        **{"sweep": "own", "source": "here", "axes": STUDY["axes"]},
        "cases": [{"workload": "bert", "runs": {"run": run}}],
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
    rows, summary = explore.table(explore.load(str(tmp_path / "own.yaml")))
    for study in (STUDY, whole, tmp_path / "own.yaml", accelsim.load(tmp_path / "own.yaml")):
        frame = accelsim.sweep(study, progress=False)
        assert tuple(frame.columns) == summary.columns
        assert frame.to_dict("records") == rows


def test_a_point_that_fails_is_a_row() -> None:
    study = {**STUDY, "constraints": ["seq_len > 1024"], "axes": {"seq_len": [1024, 4096, 2**61]}}
    with pytest.warns(UserWarning, match=r"1 of 2 points failed \(column 'error'\), most with: "):
        frame = accelsim.sweep(study, progress=False)
    assert list(frame.index) == [1, 2]  # of the study's points, one is left out
    assert list(frame["error"].isna()) == [True, False]
    assert list(frame["cycles"].isna()) == list(frame["seconds"].isna()) == [False, True]
    assert frame["seq_len"].tolist() == [4096, 2**61]
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        **dict.fromkeys(("seq_len", "dram_bytes", "cycles"), "Int64"),
        **dict.fromkeys(("seconds", "energy_pj", "energy_all_registers_pj"), "float64"),
        **dict.fromkeys(("utilization_array_2d", "utilization_array_1d"), "float64"),
        "error": "string",
    }


def test_nothing_is_left_of_a_study() -> None:
    frame = accelsim.sweep({**STUDY, "constraints": ["seq_len < 0"]}, progress=False)
    assert frame.shape == (0, 9)


def test_workers_make_the_same_frame() -> None:
    axes = {"seq_len": range(1024, 1024 * 41, 1024), "buffer": ["16 MiB"]}
    alone, together = (accelsim.sweep(STUDY, axes, workers=n, progress=False) for n in (1, 2))
    assert list(alone.index) == list(range(40))
    assert alone["cycles"].is_monotonic_increasing
    pandas.testing.assert_frame_equal(alone, together)


def test_axes_replace_those_of_a_study() -> None:
    path = ROOT / "studies" / "fusemax" / "attention.yaml"
    every = accelsim.sweep(path, progress=False)
    axes = {"seq_len": np.array([4096, 16384]), "model": ["T5", "BERT"]}
    few = accelsim.sweep(path, axes, progress=False)
    assert list(few["model"].unique()) == ["T5", "BERT"]
    names = ["design", "model", "seq_len"]
    both = few.merge(every, on=names, suffixes=("", "_"), validate="one_to_one")
    assert len(both) == len(few) == 2 * 2 * 5
    assert (both["cycles"] == both["cycles_"]).all()
    clocks = {"values": ["1 GHz", "2 GHz"], "set": "arch.clock"}
    more = accelsim.sweep(path, {**axes, "clock": clocks}, progress=False)
    assert len(more) == 2 * len(few)
    assert accelsim.sweep(STUDY, {"seq_len": range(1024, 2049, 1024)})["seq_len"].max() == 2048


def test_progress_is_said_when_it_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "SILENT_SECONDS", 0.0)
    accelsim.sweep(STUDY)
    assert capsys.readouterr().err.endswith("\r4 of 4 points\n")
    accelsim.sweep(STUDY, progress=False)
    monkeypatch.setattr(api, "SILENT_SECONDS", 1e9)
    accelsim.sweep(STUDY)
    assert capsys.readouterr() == ("", "")


WRONG = [
    (lambda: accelsim.load("gemm"), "gemm: cascade and workload have that name"),
    (lambda: accelsim.load("fusemx"), "did you mean 'fusemax'"),
    (lambda: accelsim.load("none.yaml"), "none.yaml: cannot be read: No such file"),
    (lambda: accelsim.load("fusemax", "archs"), "did you mean 'arch'"),
    (lambda: accelsim.load("fusemax", "cascade"), "no cascade named 'fusemax'"),
    (lambda: accelsim.load(3), "name: expected a name or the path of a file, got int"),
    (lambda: simulated({"arch.clok": 1}), "--set arch.clok: no such key"),
    (lambda: simulated({"arch.clock": {1}}), "set.arch.clock: expected texts, numbers"),
    (lambda: simulated({1: 2}), "set: expected texts as keys, got 1"),
    (lambda: simulated([1]), "--set '1': expected PATH=VALUE"),
    (lambda: simulated(7), "set: expected a dict of paths and values"),
    (lambda: accelsim.simulate(accelsim.load("fusemax"), "bert"), "mapping: expected a name"),
    (lambda: swept(axis={}), "study:8:1: unknown key 'axis'"),
    (lambda: swept(axes=[1]), "axes: expected keys and values, got a list"),
    (lambda: swept(axes={"seq_len": ["a"]}), "seq_len: expected whole numbers from 1 on"),
    (lambda: swept(columns={"x": "second"}), "columns.x: no measure 'second'"),
    (lambda: swept(mapping="fusemax__attention_1pas"), "did you mean 'fusemax__attention_1pass'"),
    (lambda: swept(cases=[]), "mapping, workload, set: goes without `cases`"),
    (lambda: swept(axes={"seq_len": [object()]}), "axes.seq_len.0: expected texts, numbers"),
    (lambda: swept(axes=nested(100)), "axes: nested more than 40 deep"),
    (lambda: accelsim.sweep(3), "study: expected a name or the path of a file, got int"),
    (lambda: accelsim.sweep(STUDY, axes=[1]), "axes: expected a dict of axes and values"),
    (lambda: accelsim.sweep(STUDY, workers=0), "workers: expected a whole number from 1"),
    (lambda: narrowed({"seqlen": [1]}), "did you mean 'seq_len'"),
    (lambda: narrowed({"seq_len": [0]}), "axes:6:12: seq_len: expected whole numbers"),
]


def simulated(settings: Any) -> None:
    accelsim.simulate(MAPPING, "bert", 1024, set=settings)


def swept(**keys: Any) -> None:
    accelsim.sweep({**STUDY, **keys}, progress=False)


def narrowed(axes: Any) -> None:
    accelsim.sweep(ROOT / "studies" / "fusemax" / "attention.yaml", axes, progress=False)


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_said(call: Any, message: str) -> None:
    with pytest.raises(AccelsimError, match=re.escape(message)):
        call()


def test_without_pandas_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(AccelsimError, match=r"pip install 'accelsim\[notebook\]'"):
        accelsim.sweep(STUDY)


class Shown(HTMLParser):
    """Texts of a page, with as many ends of elements as beginnings."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.styles = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.styles += ";" + dict(attrs).get("style", "") + ";"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def pages() -> dict[str, Any]:
    run = accelsim.simulate("fusemax__attention_1pass_window", "bert", 4096)
    every = (accelsim.load("fusemax"), accelsim.load("h200"), accelsim.load(MAPPING))
    return {type(one).__name__ + str(n): one for n, one in enumerate((run, run.result, *every))}


def test_all_that_is_shown_is_text_in_the_colours_of_its_page() -> None:
    for name, one in pages().items():
        page = Shown(one._repr_html_())
        assert set(re.findall(r"[^-]color:([^;]*);", page.styles)) <= {"inherit"}, name
        assert "background" not in page.styles
        assert set(re.findall(r"#\w+|rgba?\(.*?\)", page.styles)) <= {"rgba(128,128,128,.35)"}


def test_a_result_shows_every_cell_of_its_tables_and_every_note() -> None:
    unused = {"workload.parameters": {"window": 5}}
    result = accelsim.simulate(MAPPING, "bert", 4096, set=unused).result
    page = Shown(result._repr_html_())
    for table in tables(result):
        for texts in ((table.title,), table.header, *table.rows):
            assert {text for text in texts if text} <= set(page.texts)
    assert result.notes
    assert {f"note: {note}" for note in result.notes} <= set(page.texts)


def test_names_are_texts_not_markup(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>&<b>"
    text = accelsim.simulate(MAPPING, "bert", 1024).result.to_json().replace("array_1d", bad)
    result = accelsim.Result.from_json(text.replace(MAPPING, bad))
    (tmp_path / "own.yaml").write_text(f"workload: w\nsource: '{bad}'\nranks: {{M: 1}}\n")
    for one in (result, accelsim.load(tmp_path / "own.yaml")):
        page = one._repr_html_()
        assert "<script" not in page
        assert "<b>&" not in page
        assert bad in "".join(Shown(page).texts)


def test_a_cascade_is_shown_as_formulas() -> None:
    shown = accelsim.load("attention_1pass")._repr_latex_()
    assert re.fullmatch(r"\$\$\n\\begin{aligned}.*\\end{aligned}\n\$\$", shown, re.DOTALL)
    assert r"\mathit{RM}_{b, h, m1+1, p} &= \max(" in shown
