"""The command line: arguments in, verbs called, tables or JSON out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from accelsim import spec
from accelsim.errors import AccelsimError
from accelsim.files import check_output, write_output

app = typer.Typer(
    help="Attention algorithms as cascades of Einsums, simulated on machines written in YAML.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Kind = Annotated[
    str | None, typer.Option(help="kind of the workload: a prompt, one query (its first)")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="PATH=VALUE over a field of arch, mapping or workload"),
]
DEFAULT_SHOWN = 20_000
MOST_SHOWN = 10_000_000
KINDS = {
    "cascades": "cascade",
    "archs": "arch",
    "mappings": "mapping",
    "workloads": "workload",
}


def main() -> None:
    """Entry of the console script: errors of the user end with their message and status 1."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except AccelsimError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except MemoryError as error:
        print(f"not enough memory: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        # Of standard output: files are written, and their errors worded, in files.py.
        if not isinstance(error, BrokenPipeError):
            print(f"output cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _with_kind(kind: str | None, settings: list[str] | None) -> list[str]:
    return ([] if kind is None else [f"workload.kind={kind}"]) + (settings or [])


def _show_version(asked: bool) -> None:
    if asked:
        from accelsim.verbs import version

        print(f"accelsim {version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="and leave")
    ] = False,
) -> None:
    """Attention algorithms as cascades of Einsums, simulated on machines written in YAML."""


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help="cascades, archs, mappings or workloads")] = "",
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
    from accelsim import verbs
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
        _print_json(found)
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
    files: Annotated[list[str], typer.Argument(help="YAML files of any kind")],
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
            if kind.startswith("validation "):
                explore.load_published(name)
            rows.append({"file": name, "ok": True, "is": kind, "faults": []})
        except AccelsimError as error:
            faults = [fault.render() for fault in error.faults]
            rows.append({"file": name, "ok": False, "is": None, "faults": faults})
    if as_json:
        _print_json(rows)
    else:
        for row in rows:
            print(f"{row['file']}: {row['is']}: ok" if row["ok"] else "\n".join(row["faults"]))
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


@app.command()
def analyze(
    cascade: Annotated[str, typer.Argument(help="a shipped cascade, or a .yaml file")],
    model: Annotated[str | None, typer.Option(help="workload for numbers beside formulas")] = None,
    seq_len: Annotated[int | None, typer.Option(help="sequence length of the workload")] = None,
    kind: Kind = None,
    arch: Annotated[
        str | None, typer.Option(help="machine for lower bounds; needs --model")
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
        _print_json(found)
        return
    print(show(built))
    _print_analysis(found)


def _print_analysis(found: dict[str, Any]) -> None:
    from accelsim.report.tables import analysis_tables

    for table in analysis_tables(found):
        Console().print(table)


@app.command()
def sweep(
    path: Annotated[str, typer.Argument(help="a sweep file, such as studies/fusemax/area.yaml")],
    csv: Annotated[Path | None, typer.Option(help="write the rows here")] = None,
    as_json: Json = False,
) -> None:
    """Run every point of a sweep file; one row per point.

    Examples:

      accelsim sweep studies/fusemax/attention.yaml --csv out.csv

      accelsim sweep studies/fusemax/area.yaml --json
    """
    from accelsim import explore
    from accelsim.report.tables import rows_table

    document = explore.load(path)
    if csv is not None:
        check_output(csv)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task("points", total=1.0)
        made = explore.rows(document, lambda share: bar.update(shown, completed=share))
        table = list(made)
    if csv is not None:
        explore.write_csv(table, csv)
        print(f"{len(table)} rows: {csv}", file=sys.stderr)
    if as_json:
        _print_json(table)
    elif csv is None:
        Console().print(rows_table(document.spec.sweep, table))


@app.command()
def report(
    study: Annotated[Path, typer.Argument(help="a study's folder, with figures.yaml")],
    html: Annotated[Path, typer.Option(help="write the page here")],
) -> None:
    """Run the sweeps of a study and draw its figures, ours beside published points.

    Examples:

      accelsim report studies/fusemax --html out.html
    """
    from accelsim import explore
    from accelsim.report.figures import page

    check_output(html)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task("points", total=1.0)
        asked, figures = explore.study_figures(
            study, lambda share: bar.update(shown, completed=share)
        )
    write_output(html, page(asked.figures, asked.description, figures))
    print(f"{len(figures)} figures: {html}", file=sys.stderr)


@app.command()
def published(
    path: Annotated[str, typer.Argument(help="a validation file of a study")],
    family: Annotated[
        list[str] | None, typer.Option(help="of the file's families; all unless said")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="find the calibrated numbers anew instead")
    ] = False,
    variants: Annotated[
        str | None, typer.Option(help="mechanisms or sensitivity: predict with each of them, too")
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict published times: errors by row and family, beside a roofline's. Status 1 past limits.

    Examples:

      accelsim published studies/gpu_validation/validation.yaml --family decode

      accelsim published studies/gpu_validation/validation.yaml --calibrate --json
    """
    from accelsim.explore import published as study
    from accelsim.report.tables import rows_table

    document = study.load(path)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task("rows", total=1.0)
        found = study.report(
            document,
            family,
            calibrated=calibrate,
            variant=variants,
            progress=lambda share: bar.update(shown, completed=share),
        )
    if as_json:
        _print_json(found)
    else:
        for title, rows in study.tables(found):
            Console().print(rows_table(title, rows))
    if not found["within"]:
        raise typer.Exit(1)


@app.command()
def traffic(
    mapping: Annotated[str, typer.Option(help="a shipped mapping, or a .yaml file")],
    model: Annotated[str, typer.Option(help="a shipped workload, or a .yaml file")],
    seq_len: Annotated[int | None, typer.Option(help="sequence length")] = None,
    kind: Kind = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Count what a mapping's launches ask for, and what a cache sends on; nothing is timed.

    Examples:

      accelsim traffic --mapping h200__flash_fwd --model llama3-8b --seq-len 8192

      accelsim traffic --mapping h200__flash_fwd_heads --model llama3-8b --seq-len 16384
      --set arch.levels.l2.partitions=1 --json
    """
    from accelsim import verbs
    from accelsim.report.tables import traffic_tables

    found = verbs.traffic(mapping, model, seq_len, settings=_with_kind(kind, settings))
    if as_json:
        _print_json(found)
    else:
        Console().print(traffic_tables(found))


@app.command()
def validate(
    tiers: Annotated[
        list[str] | None, typer.Option("--tier", help="gpu, interpreter, recorded; all unless said")
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold the simulator against real kernels. Status 1 when something failed.

    Examples:

      accelsim validate

      accelsim validate --tier interpreter --json
    """
    from accelsim.errors import Fault, nearest
    from accelsim.validate import tiers as known
    from accelsim.validate.report import lines

    for name in tiers or ():
        if name not in known.TIERS:
            raise AccelsimError(Fault(f"no tier {name!r}", help=nearest(name, known.TIERS)))
    console = Console(stderr=True)
    with console.status("") as status:
        found = known.validate(
            tiers or known.TIERS, lambda name: status.update(f"tier {name}, up to a minute")
        )
    if as_json:
        _print_json(found.as_json())
    else:
        print("\n".join(lines(found)))
    if not found.ok:
        raise typer.Exit(1)


@app.command()
def run(
    mapping: Annotated[str, typer.Option(help="a shipped mapping, or a .yaml file")],
    model: Annotated[str, typer.Option(help="a shipped workload, or a .yaml file")],
    seq_len: Annotated[int | None, typer.Option(help="sequence length")] = None,
    kind: Kind = None,
    engine: Annotated[str, typer.Option(help="steady, compiled or reference")] = "steady",
    settings: Settings = None,
    warm: Annotated[
        bool, typer.Option(help="begin with the cache as the same launch has left it before")
    ] = False,
    timeline: Annotated[Path | None, typer.Option(help="write a Perfetto timeline here")] = None,
    timeline_tasks: Annotated[
        int | None, typer.Option(help="tasks shown in the timeline (20,000 unless said)")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a cascade on a machine, event by event.

    Examples:

      accelsim run --mapping fusemax__attention_1pass --model bert --seq-len 16384

      accelsim run --mapping fusemax__attention_1pass --model xlm --seq-len 1024 --json

      accelsim run --mapping fusemax__attention_1pass --model bert --seq-len 4096
      --set arch.levels.global_buffer.capacity="8 MiB" --timeline out.json

      accelsim run --mapping h200__flash_fwd --model llama3-8b --seq-len 8192 --warm
    """
    from accelsim import verbs
    from accelsim.report.tables import result_table
    from accelsim.report.timeline import write

    if timeline_tasks is not None and not 1 <= timeline_tasks <= MOST_SHOWN:
        expected = f"expected a number from 1 to {MOST_SHOWN:,}"
        raise AccelsimError(f"--timeline-tasks: {expected}, got {timeline_tasks}")
    if timeline_tasks is not None and timeline is None:
        raise AccelsimError("--timeline-tasks has no effect without --timeline FILE")
    if timeline is not None:
        check_output(timeline)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task("simulating", total=1.0)
        made = verbs.simulate(
            mapping,
            model,
            seq_len,
            engine_name=engine,
            settings=_with_kind(kind, settings),
            warm=warm,
            record=(timeline_tasks or DEFAULT_SHOWN) if timeline else 0,
            progress=lambda share: bar.update(shown, completed=share),
        )
    if as_json:
        print(made.result.to_json())
    else:
        Console().print(result_table(made.result))
    if timeline is not None:
        count = write(made.program, made.execution, timeline)
        message = f"timeline of the first {count:,} of {made.result.tasks:,} tasks: {timeline}"
        print(message, file=sys.stderr)
