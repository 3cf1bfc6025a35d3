"""Commands that look at files: list, check, analyze."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from accelsim.cli.app import Cascade, Json, Kind, app, print_json
from accelsim.cli.completion import one_of, shipped
from accelsim.errors import AccelsimError

KINDS = {
    "cascades": "cascade",
    "archs": "arch",
    "mappings": "mapping",
    "workloads": "workload",
}


@app.command("list")
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help="cascades, archs, mappings or workloads", autocompletion=one_of(*KINDS)
        ),
    ] = "",
    as_json: Json = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="of cascades: docs/cascades.md")
    ] = False,
) -> None:
    """List what is shipped.

    Examples:

      accelsim list

      accelsim list mappings --json
    """
    from accelsim import spec, verbs
    from accelsim.errors import Fault, nearest
    from accelsim.report.catalogue import markdown
    from accelsim.report.tables import rows_table, shortened

    if kind and kind not in KINDS:
        raise AccelsimError(Fault(f"no kind {kind!r} to list", help=nearest(kind, KINDS)))
    if as_markdown and (kind != "cascades" or as_json):
        raise AccelsimError("--markdown is of `list cascades`, and goes without --json")
    if as_markdown:
        print(markdown(verbs.catalogue()), end="")
        return
    kinds = {kind: KINDS[kind]} if kind else KINDS
    found: dict[str, list[dict[str, Any]]] = {}
    for plural, one in kinds.items():
        found[plural] = []
        for name in spec.names(one):
            record = spec.load(name, one).spec
            row = {"name": name, "description": record.description, "source": record.source}
            if one == "cascade":
                row = {"name": name, **verbs.about_cascade(name), **row}
            found[plural].append(row)
    if as_json:
        print_json(found)
        return
    for plural, rows in found.items():
        for row in rows:  # --json has the rest
            source = row.pop("source")
            if "passes" in row:
                row.pop("description")
                row["hash"] = row["hash"][:8]
                row["source"] = shortened(source)
                row["passes"] = ", ".join(f"{r} {n}" for r, n in row["passes"].items()) or "1"
        Console().print(rows_table(plural, rows))


@app.command()
def check(
    files: Annotated[
        list[str], typer.Argument(help="YAML files of any kind, a model's config.json")
    ],
    as_json: Json = False,
) -> None:
    """Check files; every fault with its place. Status 1 when there is one.

    Examples:

      accelsim check my_cascade.yaml my_arch.yaml

      accelsim check archs/mappings/*.yaml --json
    """
    from accelsim import explore, verbs

    rows: list[dict[str, Any]] = []
    for name in files:
        try:
            kind = verbs.check(name)
            if kind.startswith("sweep "):
                explore.check_points(explore.load(name))
            if kind.startswith("figures "):
                explore.check_figures(name)
            if kind.startswith("search "):
                explore.load_search(name)
            if kind.startswith("validation "):
                explore.load_published(name)
            rows.append({"file": name, "ok": True, "is": kind, "faults": []})
        except AccelsimError as error:
            faults = [fault.render() for fault in error.faults]
            rows.append({"file": name, "ok": False, "is": None, "faults": faults})
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            print(f"{row['file']}: {row['is']}: ok" if row["ok"] else "\n".join(row["faults"]))
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


@app.command()
def analyze(
    cascade: Cascade,
    model: Annotated[
        str | None,
        typer.Option(
            help="workload for numbers beside formulas", autocompletion=shipped("workload")
        ),
    ] = None,
    seq_len: Annotated[int | None, typer.Option(help="sequence length of the workload")] = None,
    kind: Kind = None,
    arch: Annotated[
        str | None,
        typer.Option(
            help="machine for lower bounds; needs --model", autocompletion=shipped("arch")
        ),
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="print the cascade as LaTeX")] = False,
    as_json: Json = False,
) -> None:
    """What is true of a cascade on any machine: passes, footprints, operation counts.

    Examples:

      accelsim analyze attention_1pass

      accelsim analyze attention_3pass --model bert --seq-len 16384 --arch fusemax --json
    """
    from accelsim import verbs
    from accelsim.cascade import latex as as_latex
    from accelsim.cascade import show

    if latex and (as_json or model or arch):
        raise AccelsimError("--latex prints the cascade alone; it goes with no other option")
    built = verbs.load_cascade(cascade)
    found = verbs.analyze(built, model, seq_len, kind, arch)
    if latex:
        print(as_latex(built))
        return
    if as_json:
        print_json(found)
        return
    print(show(built))
    _print_analysis(found)


def _print_analysis(found: dict[str, Any]) -> None:
    from accelsim.report.tables import analysis_tables

    for table in analysis_tables(found):
        Console().print(table)
