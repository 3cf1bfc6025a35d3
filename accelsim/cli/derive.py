"""The command that rewrites a cascade: derive."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from accelsim.cli.app import Cascade, Json, app, print_json
from accelsim.cli.completion import shipped
from accelsim.errors import AccelsimError
from accelsim.files import check_output, write_output

if TYPE_CHECKING:
    from accelsim.derive import Derivation


@app.command()
def derive(
    cascade: Cascade,
    passes: Annotated[int, typer.Option(min=1, help="passes over the rank, or fewer")] = 1,
    rank: Annotated[str | None, typer.Option(help="the one with most passes unless said")] = None,
    partition: Annotated[
        str | None, typer.Option(help="cut the rank first: M=M1,M0 (outermost first)")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="a cascade that it has to be but for names; it gets them",
            autocompletion=shipped("cascade"),
        ),
    ] = None,
    way: Annotated[
        str | None,
        typer.Option(help="one of the ways that are listed, such as running; the best unless said"),
    ] = None,
    yaml: Annotated[Path | None, typer.Option(help="write the cascade here")] = None,
    latex: Annotated[Path | None, typer.Option(help="write it as LaTeX here")] = None,
    as_json: Json = False,
) -> None:
    """Rewrite a cascade so that it needs fewer passes over a rank; every step is shown.

    Examples:

      accelsim derive attention_3pass --passes 1 --partition M=M1,M0 --like attention_1pass

      accelsim derive mean_variance --yaml welford.yaml --latex welford.tex

      accelsim derive attention_3pass --partition M=M1,M0 --json
    """
    from accelsim import derive as derivations
    from accelsim import verbs
    from accelsim.cascade import latex as as_latex
    from accelsim.cascade import show
    from accelsim.derive import trial

    for path in (yaml, latex):
        if path is not None:
            check_output(path)
    if yaml is not None and latex is not None and yaml.resolve() == latex.resolve():
        raise AccelsimError(f"--latex: expected another file than --yaml, got {str(latex)!r}")
    parts: list[str] = []
    if partition is not None:
        root, _, text = partition.partition("=")
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not root or len(parts) < 2 or rank not in (None, root):
            own = "" if rank is None else f" of {rank}, the rank that is asked for"
            message = f"--partition: expected a rank and its parts{own}, such as M=M1,M0"
            raise AccelsimError(f"{message}, got {partition!r}")
        rank = root
    wanted = verbs.load_cascade(like) if like is not None else None
    found = derivations.ways(verbs.load_cascade(cascade), rank, parts)
    best = derivations.derive(found, passes, wanted, way)
    text = show(best.cascade)
    for path, content in ((yaml, text), (latex, as_latex(best.cascade))):
        if path is not None:
            write_output(path, content)
            print(f"{best.cascade.name}: {path}", file=sys.stderr)
    if best.cost.error == len(trial.CLASSES) - 1:
        off = f"{best.error:.0e} off {best.source.name}, which keeps its digits there"
        print(f"warning: on adversarial inputs the form is {off}", file=sys.stderr)
    if best.unchecked:
        print(f"warning: the form is not checked: {best.unchecked}", file=sys.stderr)
    if as_json:
        print_json(_record(best, found, text, as_latex(best.cascade)))
        return
    _print(best, found)
    if yaml is None:
        print(text, end="")


def _steps(one: Derivation) -> list[dict[str, Any]]:
    counts = [one.before, *(step.passes for step in one.steps)]
    return [
        {"rewrite": step.rewrite, "of": step.subject, "passes_before": a, "passes_after": b}
        for step, a, b in zip(one.steps, counts, counts[1:], strict=False)
    ]


def _costs(one: Derivation) -> dict[str, Any]:
    cost = dataclasses.asdict(one.cost)
    operations = cost["operations"] if one.counted else None
    return {"way": one.way, **cost, "error": one.error, "operations": operations}


def _record(best: Derivation, found: list[Derivation], text: str, as_latex: str) -> dict[str, Any]:
    return {
        "cascade": best.cascade.name,
        "from": best.source.name,
        "rank": best.rank,
        "steps": _steps(best),
        **_costs(best),
        "unchecked": best.unchecked or None,
        "made_up": dict(best.made_up),
        "not_done": list(best.stopped),
        "ways": [_costs(one) for one in found],
        "yaml": text,
        "latex": as_latex,
    }


def _print(best: Derivation, found: list[Derivation]) -> None:
    from accelsim.report.tables import rows_table

    console = Console()
    if rows := [
        {key: "one a coordinate" if value is None else value for key, value in row.items()}
        for row in _steps(best)
    ]:
        console.print(rows_table(f"{best.source.name}: {best.way}, passes over {best.rank}", rows))
    ways = [
        {
            **_costs(one),
            "error": "not tried" if one.error is None else f"{one.error:.0e}",
            "operations": one.cost.operations if one.counted else "not known",
        }
        for one in sorted(found, key=lambda one: one.cost)
    ]
    console.print(rows_table("ways (ranks of 64, 16 tiles; error on adversarial inputs)", ways))
    for name, value in best.made_up:
        print(f"trials: {name} is {value}")
    for why in best.stopped:
        print(f"not done: {why}")
