"""A point of a sweep on numbers: what its run comes to, as measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelsim import verbs
from accelsim.errors import AccelsimError, NotANumberError
from accelsim.execute import Outcome

Row = dict[str, Any]


def executed(
    mapping: str,
    workload: str,
    seq_len: int | None,
    *,
    seed: int,
    scale: Mapping[str, float],
    formats: Mapping[str, str],
    settings: Sequence[str],
) -> Row:
    """Measures of one run. Arguments as for `verbs.execute`.

    Where a value was not a number, which ends a run, those of the outputs are None. Raises
    AccelsimError; also where what was accessed is not what the Program states.
    """
    try:
        outcome = verbs.execute(
            mapping,
            workload,
            seq_len,
            seed=seed,
            scale=scale,
            formats=formats,
            settings=settings,
            check=True,
        )
    except NotANumberError:
        loaded = verbs.load(mapping, workload, seq_len, settings)
        return _row(loaded.mapping.cascade.outputs, None)
    if outcome.differences:
        raise AccelsimError(f"{outcome.name}: what was accessed is not what the Program states")
    return _row(tuple(outcome.outputs), outcome)


def _row(outputs: Sequence[str], outcome: Outcome | None) -> Row:
    errors = {} if outcome is None else outcome.errors or {}
    row: Row = {"not_a_number": int(outcome is None)}
    for name in outputs:
        error = errors.get(name)
        row[f"error_{name}"] = None if error is None else error.overall
        row[f"worst_row_{name}"] = None if error is None else error.worst
        row[f"not_finite_{name}"] = None if error is None else error.wrong
    return row
