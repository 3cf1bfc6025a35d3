"""The parameters and tables that a cascade is given, checked against what it declares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from accelsim.cascade.nodes import Cascade
from accelsim.errors import AccelsimError, Fault, nearest


def settle_parameters(cascade: Cascade, given: Mapping[str, int]) -> dict[str, int]:
    """Every parameter's value. Raises AccelsimError: one missing or unknown."""
    known = {parameter.name: parameter.default for parameter in cascade.parameters}
    for name in given:
        if name not in known:
            message = f"{name} is no parameter of {cascade.name}"
            raise AccelsimError(Fault(message, help=nearest(name, known)))
    settled = {name: given.get(name, default) for name, default in known.items()}
    missing = [name for name, value in settled.items() if value is None]
    if missing:
        raise AccelsimError(f"{cascade.name}: parameter {', '.join(missing)} is missing")
    return {name: int(value) for name, value in settled.items() if value is not None}


def check_tables(
    cascade: Cascade, given: Mapping[str, npt.ArrayLike]
) -> dict[str, npt.NDArray[np.int64]]:
    """Every table as whole numbers. Raises AccelsimError: missing, unknown, of the wrong kind."""
    known = {table.name: table.ranks for table in cascade.tables}
    for name in given:
        if name not in known:
            message = f"{name} is no table of {cascade.name}"
            raise AccelsimError(Fault(message, help=nearest(name, known)))
    out = {}
    for name, ranks in known.items():
        if name not in given:
            raise AccelsimError(f"{cascade.name}: table {name} [{', '.join(ranks)}] is missing")
        array = np.asarray(given[name])
        if array.dtype.kind not in "iub" or array.ndim != len(ranks):
            shown = ", ".join(ranks)
            raise AccelsimError(f"table {name}: expected whole numbers with axes {shown}")
        out[name] = array.astype(np.int64)
    return out
