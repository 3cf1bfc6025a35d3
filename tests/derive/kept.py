"""Whether a rewrite kept what a cascade computes, on numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from accelsim.cascade import Cascade, interpret, show
from accelsim.cascade.edges import uncut
from accelsim.errors import AccelsimError

Arrays = dict[str, npt.NDArray[np.float64]]
SHAPES = {"R": 3, "N": 5, "N1": 3, "N0": 2, "R1": 3, "R0": 1}
"""N ends inside of its last tile."""
LARGEST = 1e6
"""Of values on the way: more, and rounding alone may be more than the tolerance."""
EXPONENT = 300.0
"""Of values on the way: more, and the exponential of a difference may be none."""
TOLERANCE = 1e-9
NOT_DEFINED = "where it is not defined"
VERDICTS = ("same", "large", "no meaning")


def drawn(cascade: Cascade, seed: int, kind: str) -> Arrays:
    """Inputs, an axis per root rank."""
    rng = np.random.default_rng(seed)
    out = {}
    for name in cascade.inputs:
        roots = dict.fromkeys(cascade.root(rank) for rank in cascade.tensor(name).ranks)
        array = rng.normal(size=[SHAPES[root] for root in roots])
        if kind == "ties":
            array = rng.integers(1, 3, array.shape).astype(np.float64)
        elif kind == "signs":
            array = np.sign(array) * (1 + np.abs(array))
        elif kind == "small":
            array = array * 1e-3
        out[name] = array
    return out


inputs = st.tuples(
    st.integers(0, 2**16), st.sampled_from(("normal", "normal", "ties", "signs", "small"))
)
"""What `drawn` makes inputs from."""


@dataclass(frozen=True)
class Found:
    """Values of all tensors, or why there are none."""

    values: Arrays
    error: str = ""


def values(cascade: Cascade, given: Arrays) -> Found:
    cut = dict(cascade.partitions)
    shapes = {part: SHAPES[part] for root in cascade.ranks for part in (root, *cut.get(root, ()))}
    try:
        needed = {name: given[name] for name in cascade.inputs}
        return Found(interpret(cascade, needed, shapes, keep_all=True))
    except AccelsimError as error:
        return Found({}, str(error))


def verdict(before: Cascade, after: Cascade, given: Arrays) -> str:
    """same; large: no verdict, for values too large on the way; no meaning: the first has none,
    and the second neither, but that it may read what the first did not define; else the fault."""
    first, second = values(before, given), values(after, given)
    if NOT_DEFINED in first.error or (first.error and second.error):
        return "no meaning"
    if first.error:
        return f"a value for what had none: {first.error}"
    if _largest(first.values) > LARGEST or _overflows(before, first.values):
        return "large"
    if second.error and _largest(first.values) > EXPONENT:
        return "large"
    if second.error:
        return f"an error: {second.error}"
    if _largest(second.values) > LARGEST:
        return "large"
    scale = max(1.0, _largest(first.values))
    for name in before.outputs:
        a, b = first.values[name], second.values[name]
        a, b = uncut(before, name, a, SHAPES), uncut(after, name, b, SHAPES)
        if a.shape != b.shape:
            return f"{name} has another shape"
        apart = np.abs(np.where(a == b, 0.0, a) - np.where(a == b, 0.0, b))
        same = (apart <= TOLERANCE * scale) | (np.isnan(a) & np.isnan(b))
        if not same.all():
            return f"{name} differs: {a[~same][:3]} and {b[~same][:3]}"
    return "same"


def _overflows(cascade: Cascade, values: Arrays) -> bool:
    """Whether an infinite value is made of finite ones, other than by a maximum of nothing: laws
    are of real numbers."""
    infinite = {name for name, array in values.items() if np.isinf(array).any()}
    return any(
        e.name in infinite
        and cascade.tensor(e.name).initial is None
        and not (e.reduced and e.reduce in ("max", "min"))
        and infinite.isdisjoint(a.tensor for a in e.inputs)
        for e in cascade.einsums
    )


def _largest(values: Arrays) -> float:
    return max(float(np.abs(a[np.isfinite(a)]).max(initial=0.0)) for a in values.values())


def explained(before: Cascade, after: Cascade, wrong: str) -> str:
    return f"{wrong}\n{show(before)}\n{show(after)}"
