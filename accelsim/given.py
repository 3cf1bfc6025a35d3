"""What is given as Python values, as the texts that files and the command line would have.

So there is one reader, and one place that says what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from accelsim.errors import AccelsimError, shown

STUDY = "study"
"""What errors call a study that stands in no file."""
RUN = "run"
MOST_NESTED = 40


def settings(given: object) -> list[str]:
    """PATH=VALUE of each setting, from these or from path -> value. Texts are YAML already."""
    if isinstance(given, Mapping):
        plain = _plain(given, ("set",))
        return [f"{path}={_value(value)}" for path, value in plain.items()]
    if isinstance(given, str) or not isinstance(given, Sequence):
        expected = "expected a dict of paths and values, or a list of PATH=VALUE"
        raise AccelsimError(f"set: {expected}, got {shown(given)}")
    return [str(text) for text in given]


def study(given: Mapping[str, Any], axes: Mapping[str, Any]) -> str:
    """The text of a sweep file, with these axes over its own.

    `sweep` and `source` may be left out, and in place of `cases`, where one run is enough, stand
    `mapping`, `workload` and `set`.
    """
    value = {"sweep": STUDY, "source": "given in Python", **_plain(given, ())}
    short = {key: value.pop(key) for key in ("mapping", "workload", "set") if key in value}
    if short and "cases" in value:
        raise AccelsimError(f"{', '.join(short)}: goes without `cases`, whose runs have their own")
    if short:
        run = {key: short[key] for key in ("mapping",) if key in short}
        if "set" in short:
            run["set"] = settings(short["set"])
        of = {key: short[key] for key in ("workload",) if key in short}
        value["cases"] = [{**of, "runs": {RUN: run}}]
    own = value.get("axes", {})
    if axes and isinstance(own, dict):
        value["axes"] = {**own, **_plain(axes, ("axes",))}
    return _yaml(value)


def _plain(value: Any, at: tuple[object, ...]) -> Any:
    """Texts, numbers, lists and dicts alone, arrays among them. Raises AccelsimError."""
    if hasattr(value, "tolist"):  # NumPy's and pandas' own
        value = value.tolist()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if len(at) > MOST_NESTED:
        raise AccelsimError(f"{at[0]}: nested more than {MOST_NESTED} deep")
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {_key(key, at): _plain(one, (*at, key)) for key, one in value.items()}
        case list() | tuple() | range():
            return [_plain(one, (*at, number)) for number, one in enumerate(value)]
    where = ".".join(map(str, at))
    expected = "expected texts, numbers, lists and dicts"
    raise AccelsimError(f"{where}: {expected}, got {type(value).__name__}")


def _key(key: object, at: tuple[object, ...]) -> str:
    if isinstance(key, str):
        return key
    where = ".".join(map(str, at)) or STUDY
    raise AccelsimError(f"{where}: expected texts as keys, got {key!r}")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return _yaml(value, flow=True).removesuffix("...\n").strip()


def _yaml(value: Any, flow: bool | None = None) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=flow, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return text
