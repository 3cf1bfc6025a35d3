"""A cascade on numbers: that a rewrite kept what it computes, and what it costs in digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.cascade import Cascade, interpret
from accelsim.errors import AccelsimError

Arrays = dict[str, npt.NDArray[np.float64]]
CLASSES = ((1e-12, "exact"), (1e-6, "loses digits"), (float("inf"), "unstable"))
"""Relative error on adversarial inputs, up to -> in a word."""
PART, OTHERS = 3, (2, 4, 3, 5)
"""Shapes of trials: of every part of a rank; of ranks that are whole, in turns."""
USUAL = (16, 64)
"""Shapes for counting: of the outermost part of a rank; of everything else."""


@dataclass(frozen=True)
class Trial:
    """Inputs [shapes of the source's ranks] and shapes of all ranks and parts."""

    inputs: Arrays
    shapes: dict[str, int]


def shapes(cascade: Cascade, parts: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Small shapes of all ranks. parts: of those that will be cut, too."""
    cut = {**dict(cascade.partitions), **parts}
    out: dict[str, int] = {}
    for number, root in enumerate(cascade.ranks):
        for part in cut.get(root, ()):
            out[part] = PART
        own = [out[part] for part in cut.get(root, ())]
        out[root] = prod(own) if own else OTHERS[number % len(OTHERS)]
    return out


def usual_shapes(cascade: Cascade) -> dict[str, int]:
    """Shapes of all ranks of a cascade, for counting operations."""
    out: dict[str, int] = {}
    for root in cascade.ranks:
        parts = cascade.parts(root)
        own = [USUAL[0], *([USUAL[1]] * (len(parts) - 1))] if parts != (root,) else [USUAL[1]]
        out |= dict(zip(parts, own, strict=True))
        out[root] = prod(own)
    return out


def trials(
    cascade: Cascade, sizes: dict[str, int], *, adversarial: bool, seed: int = 0
) -> Iterator[Trial]:
    """Normal inputs, or those on which digits are lost: each input in turn with an offset of 1e8,
    with values 1e4 apart, and all equal."""
    rng = np.random.default_rng(seed)

    def drawn() -> Arrays:
        out = {}
        for name in cascade.inputs:
            ranks = dict.fromkeys(cascade.root(rank) for rank in cascade.tensor(name).ranks)
            out[name] = rng.normal(size=[sizes[rank] for rank in ranks])
        return out

    if not adversarial:
        yield Trial(drawn(), sizes)
        return
    for name in cascade.inputs:
        for slope, offset in ((1.0, 1e8), (1e4, 0.0), (0.0, 1.0)):
            inputs = drawn()
            yield Trial({**inputs, name: slope * inputs[name] + offset}, sizes)


def difference(
    source: Cascade, made: Cascade, trial: Trial, usual: Mapping[str, float] | None = None
) -> float:
    """Largest difference of an output over its largest value, or over its usual one where that is
    more; inf where one of the two is no number and the other is."""
    before, after = (_outputs(one, trial) for one in (source, made))
    if before is None or after is None:
        return 0.0 if before is after else float("inf")
    worst = 0.0
    for name in source.outputs:
        a, b = before[name], after[name]
        b = b.reshape(a.shape)
        if (np.isnan(a) != np.isnan(b)).any():
            return float("inf")
        largest = np.nanmax(np.abs(a), initial=(usual or {}).get(name, 0.0))
        with np.errstate(invalid="ignore"):  # infinities that are equal
            apart = np.nanmax(np.abs(np.where(a == b, 0.0, a - b)), initial=0.0)
        worst = max(worst, float(apart / largest if largest > 0 else apart))
    return worst


def _outputs(cascade: Cascade, trial: Trial) -> Arrays | None:
    parts = {p: trial.shapes[p] for _, own in cascade.partitions for p in own}
    try:
        return interpret(cascade, trial.inputs, parts)
    except AccelsimError:
        return None


def can_be_tried(cascade: Cascade) -> bool:
    """Whether shapes are all that has to be made up."""
    return not cascade.tables and all(p.default is not None for p in cascade.parameters)


def worst(source: Cascade, made: Cascade, sizes: dict[str, int]) -> float:
    """Of adversarial inputs, against the source."""
    (normal,) = trials(source, sizes, adversarial=False)
    outputs = _outputs(source, normal) or {}
    usual = {name: float(np.nanmax(np.abs(array))) for name, array in outputs.items()}
    return max(difference(source, made, t, usual) for t in trials(source, sizes, adversarial=True))


def in_a_word(error: float) -> str:
    return next(word for most, word in CLASSES if error <= most)
