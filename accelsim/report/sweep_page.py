"""One page that shows the points of a sweep; everything it needs is in it.

The page's own script and style are the files of `explorer/`. Here the points are packed, and the
page is put together so that nothing of a user's text is ever read as markup or run: it goes into
one JSON block without `<`, and the policy of the page runs two scripts, known by their hashes,
and fetches nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from accelsim.errors import AccelsimError
from accelsim.report import packed
from accelsim.report.front import front, spread
from accelsim.report.meaning import WAITS, meaning
from accelsim.report.points import Floats, Points
from accelsim.report.timeline import Span

SCRIPTS = (
    "data.js",
    "choice.js",
    "dom.js",
    "clouds.js",
    "parallel.js",
    "bars.js",
    "waterfall.js",
    "filters.js",
    "table.js",
    "main.js",
)
_SLOT = re.compile(r"\{\{(\w+)\}\}")


def page(points: Points, timelines: Mapping[int, Sequence[Span]]) -> str:
    """The page. timelines: row -> its tasks, in order of their starts."""
    from plotly.offline import get_plotlyjs

    folder = files("accelsim.report") / "explorer"
    own = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{own}}})();\n'
    plotly = get_plotlyjs()
    policy = "; ".join(
        (
            "default-src 'none'",
            # WebGL in plotly makes its drawing functions from text: unsafe-eval.
            f"script-src 'unsafe-eval' {_hash(plotly)} {_hash(script)}",
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    slots = {
        "policy": policy,
        "title": html.escape(points.name),
        "style": (folder / "page.css").read_text(encoding="utf-8"),
        "data": _embedded(document(points, timelines)),
        "plotly": plotly,
        "script": script,
    }
    template = (folder / "page.html").read_text(encoding="utf-8")
    return _SLOT.sub(lambda slot: slots[slot[1]], template)


def rows_of_timelines(points: Points, *, most: int, asked: Sequence[int] = ()) -> list[int]:
    """Rows of the points asked for, by their numbers, and of up to `most` of the front.

    Raises AccelsimError for no point, or a failing one.
    """
    rows = {points.row(point): None for point in asked}
    for row in rows:
        if points.error[row] is not None:
            raise AccelsimError(f"point {points.point[row]} has no timeline: {points.error[row]}")
    values = _less_is_better(points)
    for row in spread(front(values), values, most) if most else ():
        rows.setdefault(row)
    return list(rows)


def _less_is_better(points: Points) -> Floats:
    """[N, K] the objectives, those to be large negated; not a number where
    a point failed or does not keep the constraints."""
    failed = np.array([message is not None for message in points.error])
    signs = {"min": 1.0, "max": -1.0}
    columns = [signs[best] * points.measures[name] for name, best in points.objectives.items()]
    values = np.stack(columns, axis=1) if columns else np.empty((len(failed), 0))
    values[failed | ~points.feasible] = np.nan
    return values


def document(points: Points, timelines: Mapping[int, Sequence[Span]]) -> dict[str, Any]:
    """What the page's script reads, as plain JSON."""
    return {
        "name": points.name,
        "description": points.description,
        "length": len(points.point),
        "ids": packed.floats(points.point.astype(np.float64), exact=True),
        "objectives": points.objectives,
        "columns": [*_axes(points), *_measures(points)],
        "front": packed.rows(front(_less_is_better(points))),
        "errors": packed.codes(points.error),
        "outside": packed.rows(np.nonzero(~points.feasible)[0]),
        "breakdown": _present(points.breakdown, points.measures),
        "causes": WAITS,
        "timelines": [{"row": row, **_spans(s)} for row, s in timelines.items() if s],
    }


def _present(tree: Mapping[str, Any], measures: Mapping[str, Any]) -> dict[str, Any]:
    """A breakdown without the columns that there are not, and what is empty then."""
    out: dict[str, Any] = {}
    for name, inner in tree.items():
        if isinstance(inner, str):
            if inner in measures:
                out[name] = inner
        elif found := _present(inner, measures):
            out[name] = found
    return out


def _axes(points: Points) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "role": "axis",
            "about": "an axis of the study",
            "data": packed.codes(values),
        }
        for name, values in points.axes.items()
    ]


def _measures(points: Points) -> list[dict[str, Any]]:
    out = []
    for name, values in points.measures.items():
        known = meaning(points.measured.get(name, name))
        is_objective = name in points.objectives
        out.append(
            {
                "name": name,
                "label": _label(name, points),
                "role": "objective" if is_objective else "measure",
                "unit": known.unit,
                "factor": known.factor,
                "prefixed": known.prefixed,
                "about": known.about,
                "data": packed.floats(values, exact=is_objective),
            }
        )
    return out


def _label(name: str, points: Points) -> str:
    """A measure's name as the page shows it: without a unit that is not the one shown."""
    short = name.replace("_pj", "").replace("_um2", "")
    taken = {*points.axes, *points.measures} - {name}
    is_own = points.measured.get(name, name) != name
    return name if short in taken or is_own else short


def _spans(spans: Sequence[Span]) -> dict[str, Any]:
    servers, tasks, starts, ends, tiles = (list(column) for column in zip(*spans, strict=True))
    return {
        "server": packed.codes(servers),
        "task": packed.codes(tasks),
        "tile": packed.codes(tiles),
        "start": packed.floats(np.array(starts, np.float64), exact=True),
        "end": packed.floats(np.array(ends, np.float64), exact=True),
    }


def _embedded(value: Any) -> str:
    """JSON that can stand in a script element: of ASCII, without `<`.

    A number that is not finite is null: it can come from a folder, and JSON has none.
    """
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case float() if not np.isfinite(value):
            return None
        case bool() | int() | float() | str() | None:
            return value
    return str(value)


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
