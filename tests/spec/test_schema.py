"""The schemas for editors say what the loader does, of every file that is shipped or refused."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from accelsim import spec
from accelsim.cli import app
from accelsim.errors import AccelsimError
from accelsim.shipped import FOLDERS
from accelsim.spec.load import RECORDS, record_at
from accelsim.spec.records import Record
from accelsim.spec.schema import about, schema, text

ROOT = Path(__file__).parent.parent.parent
SHIPPED = sorted(
    path
    for folder in ("archs", "einsum_cascades", "studies", "workloads")
    for path in (ROOT / folder).rglob("*.yaml")
)
CASES = sorted((ROOT / "tests" / "errors" / "cases").rglob("*.yaml"))
VALIDATORS = {kind: jsonschema.Draft7Validator(schema(kind)) for kind in RECORDS}

NOT_TOLD = {
    "arch_slows_by_more_than_all": "a share written as text, '3/2'",
    "mapping_spilled_too_much": "a share written as text, '3/2'",
    "unit_bits_for_a_rate": "a unit of another quantity",
    "unit_division": "a unit of another quantity",
    "unit_unknown": "a unit that there is not",
    "unit_wrong_kind": "a unit of another quantity",
}
"""Files that the loader refuses and a schema cannot, with what it does not tell."""


def loader_takes(value: Any, kind: str) -> bool:
    _, source = spec.read_text("a: 1", "t")
    try:
        spec.validate(value, source, kind)
    except AccelsimError:
        return False
    return True


def read(path: Path) -> tuple[Any, str]:
    value, source = spec.read_file(path)
    return value, spec.kind_of(value, source)


# Files --------------------------------------------------------------------------------------------


def test_the_schemas_in_the_repository_are_those_of_the_records() -> None:
    """Else: make docs."""
    files = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "schemas").iterdir()}

    assert files == {kind: text(kind) for kind in RECORDS}
    assert set(RECORDS) == set(FOLDERS)


@pytest.mark.parametrize("kind", RECORDS)
def test_a_schema_is_one(kind: str) -> None:
    jsonschema.Draft7Validator.check_schema(schema(kind))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_file_fits_the_schema_that_it_names(path: Path) -> None:
    value, kind = read(path)
    first = path.read_text(encoding="utf-8").splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)

    assert named is not None
    assert (path.parent / named[1]).resolve() == ROOT / "schemas" / f"{kind}.json"
    VALIDATORS[kind].validate(value)


def test_what_is_refused_is_refused_by_both() -> None:
    """And what the loader takes, as only its meaning is wrong, the schema takes."""
    differ = set()
    refused = 0
    for path in CASES:
        try:
            value, kind = read(path)
        except AccelsimError:  # no YAML, or of no kind: before any schema
            continue
        taken = loader_takes(value, kind)
        refused += not taken
        if taken != VALIDATORS[kind].is_valid(value):
            assert not taken, f"{path.stem}: the schema refuses what the loader takes"
            differ.add(path.stem)

    assert differ == set(NOT_TOLD)
    assert refused > 50


# Damage -------------------------------------------------------------------------------------------

ODD = (
    *(None, True, 0, 1, -1, 1.5, 1 << 63),
    *("", "x", "yes", "0.5", "m 1", "M1", "-inf", "1/2", "seq_len", "7 kg m"),
    *([], {}, ["M"], [[]], {"P1": 1}, {"x": "y"}),
)


def paths(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place below `value`; of lists, the first entries."""
    inside: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        inside = list(enumerate(value))[:3]
    for key, entry in inside:
        yield (*at, key)
        yield from paths(entry, (*at, key))


FILES = [(value, kind, list(paths(value))) for value, kind in map(read, SHIPPED)]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Any, str, bool]:
    """A shipped file with one thing changed; its kind; whether no reader may take it."""
    value, kind, places = draw(st.sampled_from(FILES))
    value = copy.deepcopy(value)
    *above, key = draw(st.sampled_from(places))
    here = value
    for step in above:
        here = here[step]
    record = record_at(RECORDS[kind], above)
    if isinstance(here, list):
        here[key] = draw(st.sampled_from(ODD))
        return value, kind, False
    how = draw(st.sampled_from(("renamed", "removed", "of another type", "odd")))
    if how == "renamed":
        here[draw(st.sampled_from((f"{key}s", f"{key} ", key.upper() + "_")))] = here.pop(key)
    elif how == "removed":
        del here[key]
        return value, kind, record is not None and record.model_fields[key].is_required()
    elif how == "of another type":
        here[key] = [[]] if isinstance(here[key], dict) else {"wrong": []}
    else:
        here[key] = draw(st.sampled_from(ODD))
    return value, kind, record is not None and how != "odd"


@given(damaged())
@settings(max_examples=400, deadline=None)
def test_damage_is_refused_by_both_or_by_none(case: tuple[Any, str, bool]) -> None:
    value, kind, hopeless = case
    taken = loader_takes(value, kind)

    assert VALIDATORS[kind].is_valid(value) == taken
    assert not (hopeless and taken)


def every_place() -> Iterator[tuple[Any, str, list[str | int], str | int]]:
    """Each key of each record, and each free one, in the smallest file that has its record."""
    seen = set()
    for value, kind, places in sorted(FILES, key=lambda file: len(file[2])):
        for *above, last in places:
            here = value
            for step in above:
                here = here[step]
            # An axis may be a list where it can be a record.
            record = record_at(RECORDS[kind], above) if isinstance(here, dict) else None
            for key in record.model_fields if record else [last]:
                free = tuple(
                    "*" if record_at(RECORDS[kind], above[:i]) is None else above[i]
                    for i in range(len(above))
                )
                place = (kind, free, key if record else "*")
                if place not in seen:
                    seen.add(place)
                    yield value, kind, above, key


def test_odd_values_are_taken_by_both_or_by_none() -> None:
    for whole, kind, above, key in every_place():
        value = copy.deepcopy(whole)
        here = value
        for step in above:
            here = here[step]
        for odd in ODD:
            here[key] = odd
            taken = loader_takes(value, kind)
            assert VALIDATORS[kind].is_valid(value) == taken, (kind, above, key, odd)


# Words --------------------------------------------------------------------------------------------


def every_record(base: type[Record]) -> Iterator[type[Record]]:
    for record in base.__subclasses__():
        yield record
        yield from every_record(record)


@pytest.mark.parametrize("record", [*every_record(Record)], ids=lambda record: record.__name__)
def test_every_key_is_described(record: type[Record]) -> None:
    said, keys = about(record)

    assert said
    assert set(keys) >= set(record.model_fields)


def test_what_an_editor_shows() -> None:
    made = schema("arch")

    assert made["properties"]["clock"]["description"] == (
        "The frequency of its cycles. Expected: a frequency with its unit, such as '940 MHz'."
    )
    assert made["definitions"]["UnitSpec"]["properties"]["timing"]["enum"] == ["ideal", "systolic"]
    assert "default" not in made["definitions"]["LevelSpec"]["properties"]["area"]


# The command --------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke

    kinds = run(app, ["schema"]).output.splitlines()
    assert [line.split()[0] for line in kinds] == list(FOLDERS)
    assert json.loads(run(app, ["schema", "mapping"]).output) == schema("mapping")
    run(app, ["schema", "mapping", "--out", str(tmp_path / "one" / "m.json")])
    assert (tmp_path / "one" / "m.json").read_text(encoding="utf-8") == text("mapping")
    run(app, ["schema", "--all", str(tmp_path / "all")])
    assert {path.stem for path in (tmp_path / "all").iterdir()} == set(RECORDS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["maping"], "no kind of file 'maping'\n    did you mean 'mapping'?"),
        (["--out", "x.json"], "--out FILE: which kind?"),
        (["arch", "--all", "x"], "--all writes every kind"),
        (["arch", "--out", "."], "is a folder; expected a file"),
    ],
)
def test_what_the_command_refuses(words: list[str], message: str) -> None:
    shown = CliRunner().invoke(app, ["schema", *words])

    assert isinstance(shown.exception, AccelsimError)
    assert message in str(shown.exception)
    assert not Path("x").exists()
