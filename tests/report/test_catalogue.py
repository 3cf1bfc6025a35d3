"""The table of all cascades: docs/cascades.md is what it gives now, and its formulas are right."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from accelsim import analysis, spec, verbs
from accelsim.analysis.bounds import compulsory_words
from accelsim.cascade.nodes import At, Cascade
from accelsim.cli import app
from accelsim.errors import AccelsimError

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "cascades.md"
MADE = verbs.catalogue()


def test_the_document_is_up_to_date() -> None:
    shown = CliRunner().invoke(app, ["list", "cascades", "--markdown"]).output
    assert DOCUMENT.read_text() == shown, "run make docs"


def test_every_cascade_has_a_row_of_all_columns() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| [")]
    assert len(rows) == len(spec.names("cascade"))
    assert {row.count(" | ") for row in rows} == {6}
    links = [row[row.index("](") + 2 : row.index(")")] for row in rows]
    assert all((DOCUMENT.parent / link).is_file() for link in links)


def sizes(built: Cascade) -> dict[str, int]:
    """A shape for every rank and part; a cut rank is the product of its parts."""
    shapes = {rank: 2 + at for at, rank in enumerate(built.ranks)}
    for root, parts in built.partitions:
        shapes |= {part: 3 + at for at, part in enumerate(parts)}
        shapes[root] = 1
        for part in parts:
            shapes[root] *= shapes[part]
    return shapes


@pytest.mark.parametrize("name", MADE)
def test_formulas_give_the_counts_of_the_analysis(name: str) -> None:
    built, known = MADE[name]
    shapes = sizes(built)
    simple = all(
        isinstance(index, At) and not index.offset
        for einsum in built.einsums
        for access in einsum.inputs
        if access.tensor in built.inputs
        for index in access.indices
    )
    if not known.masked:
        counted = analysis.analyze(built, shapes).counted
        found = {op: analysis.evaluate(f, shapes) for op, f in known.operations.items()}
        assert found == counted
        if simple:
            read, written = (analysis.evaluate(f, shapes) for f in (known.read, known.written))
            assert compulsory_words(built, shapes) == read + written


def test_known_lines() -> None:
    three, two, one = (MADE[f"attention_{n}pass"][1] for n in (3, 2, 1))
    assert [k.passes for k in (three, two, one)] == [{"M": 3}, {"M": 2}, {}]
    assert "M" in {r for p in three.live.products for r in p.ranks}
    assert "M" not in {r for p in one.live.products for r in p.ranks}
    assert str(one.read) == "B*E*H*M + B*E*H*P + B*F*H*M"


def test_markdown_is_of_cascades_alone() -> None:
    for words in (["list", "--markdown"], ["list", "cascades", "--markdown", "--json"]):
        shown = CliRunner().invoke(app, words)
        assert isinstance(shown.exception, AccelsimError)
