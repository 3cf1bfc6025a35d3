"""All cascades as one Markdown table: what is true of each on any machine."""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.analysis import Summary
from accelsim.cascade import Cascade

HEAD = """# Cascades

What is true of every shipped cascade on any machine, made by `make docs` from the analysis
(`accelsim analyze NAME` has all of it).

* **passes** over a rank that is gone through more than once; 1 where no rank is.
* **live**: words of all that is made, per fiber, each rank at its least. What grows with M or T
  has to be held, spilled or made again at long sequences.
* **operations** as formulas in the shapes of ranks. Of a masked cascade they count all points;
  `accelsim analyze NAME --model MODEL` counts those that the mask leaves.
* **read**, **written**: words that every mapping moves, each input that is used and each output
  once. Of a masked or gathered input less may be used.
"""
COLUMNS = ("cascade", "family", "passes", "live", "operations", "read", "written")
FIRST = ("mac", "exp", "max")


def markdown(found: Mapping[str, tuple[Cascade, Summary]]) -> str:
    """The document, a row per cascade in the order given."""
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    rows += [_row(name, cascade, known) for name, (cascade, known) in found.items()]
    return "\n".join((HEAD, *(f"| {' | '.join(row)} |" for row in rows))) + "\n"


def _row(name: str, cascade: Cascade, known: Summary) -> tuple[str, ...]:
    many = (f"{rank}: {n or 'one per coordinate'}" for rank, n in known.passes.items())
    order = sorted(known.operations, key=lambda op: (op not in FIRST, op))
    order.sort(key=lambda op: FIRST.index(op) if op in FIRST else len(FIRST))
    return (
        f"[{name}](../einsum_cascades/{name}.yaml)" + (", masked" if known.masked else ""),
        cascade.family,
        ", ".join(many) or "1",
        _plain(known.live),
        "<br>".join(f"{op}: {_plain(known.operations[op])}" for op in order),
        _plain(known.read),
        _plain(known.written),
    )


def _plain(formula: object) -> str:
    """A formula without signs that Markdown reads."""
    return str(formula).replace("*", " ")
