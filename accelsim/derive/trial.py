"""A cascade on numbers: that a rewrite kept what it computes, and what it costs in digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.cascade import Cascade, interpret
from accelsim.cascade.edges import uncut, uncut_ranks
from accelsim.derive.terms import looked_at
from accelsim.errors import AccelsimError

Arrays = dict[str, npt.NDArray[np.float64]]
CLASSES = ((1e-12, "exact"), (1e-6, "loses digits"), (float("inf"), "unstable"))
"""Relative error on adversarial inputs, up to -> in a word."""
PART, OTHERS = 3, (2, 4, 3, 5)
"""Shapes of trials: of every part of a rank, which ends inside of its last tile; of ranks that are
whole, in turns."""
MASKED = 7
"""Shape of whole ranks that predicates look at: masks cut through several tiles of others."""
LEAST = 1e-3
"""Outputs of inputs of size 1 that are smaller are what is left of sums that cancel."""
USUAL = (16, 64)
"""Shapes for counting: of the outermost part of a rank; of everything else."""


@dataclass(frozen=True)
class Trial:
    """Inputs [shapes of the source's ranks], shapes of all ranks and parts, and the outputs of the
    source, of which ranks that are cut are whole."""

    inputs: Arrays
    shapes: dict[str, int]
    outputs: Arrays


@dataclass(frozen=True)
class Trials:
    """On which a source has numbers. usual: normal inputs, and positive ones, on tiles of one
    coordinate. adversarial: on which digits are lost: each input in turn with an offset of 1e8,
    with values 1e4 apart, and all equal."""

    usual: tuple[Trial, ...] = ()
    adversarial: tuple[Trial, ...] = ()

    def apart(self, made: Cascade) -> float:
        """Largest relative difference of a cascade from the source on usual inputs."""
        least = dict.fromkeys(made.outputs, LEAST)
        return max((difference(made, one, least) for one in self.usual), default=0.0)

    def worst(self, made: Cascade) -> float:
        """Of adversarial inputs; relative to usual outputs where these are larger."""
        least = dict.fromkeys(made.outputs, LEAST)
        for one in self.usual[:1]:
            for name, array in one.outputs.items():
                least[name] = float(np.nanmax(np.abs(array), initial=LEAST))
        return max((difference(made, one, least) for one in self.adversarial), default=0.0)


def trials(source: Cascade, parts: Mapping[str, tuple[str, ...]], seed: int = 0) -> Trials:
    """Of a cascade; parts: of ranks that will be cut, too."""

    def drawn(rng: np.random.Generator, sizes: dict[str, int]) -> Arrays:
        out = {}
        for name in source.inputs:
            out[name] = rng.normal(size=[sizes[rank] for rank in uncut_ranks(source, name)])
        return out

    def tried(inputs: Arrays, sizes: dict[str, int]) -> tuple[Trial, ...]:
        outputs = _outputs(source, inputs, sizes)
        return () if outputs is None else (Trial(inputs, sizes, outputs),)

    sizes, ones = shapes(source, parts), shapes(source, parts, inner=1)
    rng, again, other = (np.random.default_rng(number) for number in (seed, seed, seed + 1))
    usual = tried(drawn(rng, sizes), sizes)
    usual += tried({name: np.abs(array) for name, array in drawn(other, ones).items()}, ones)
    adversarial: tuple[Trial, ...] = ()
    for name in source.inputs:
        for slope, offset in ((1.0, 1e8), (1e4, 0.0), (0.0, 1.0)):
            inputs = drawn(again, sizes)
            adversarial += tried({**inputs, name: slope * inputs[name] + offset}, sizes)
    return Trials(usual, adversarial)


def shapes(
    cascade: Cascade, parts: Mapping[str, tuple[str, ...]], inner: int = PART
) -> dict[str, int]:
    """Small shapes of all ranks. parts: of those that will be cut, too. inner: of parts but the
    outermost, which makes the rank as large with any; 1: all tiles are full."""
    cut = {**dict(cascade.partitions), **parts}
    masked = {
        cascade.root(cascade.rank_of(variable))
        for einsum in cascade.einsums
        for condition in einsum.predicate
        for variable in looked_at(condition, einsum, cascade)
    }
    out: dict[str, int] = {}
    for number, root in enumerate(cascade.ranks):
        own = cut.get(root, ())
        out[root] = MASKED if root in masked else OTHERS[number % len(OTHERS)]
        if own:
            out[root] = PART ** len(own) - PART ** (len(own) - 1) // 2
            out |= dict.fromkeys(own, inner)
            out[own[0]] = -(-out[root] // inner ** (len(own) - 1))
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


def difference(made: Cascade, trial: Trial, least: Mapping[str, float]) -> float:
    """Largest difference of an output over its largest value, or over `least` where that is more;
    inf where one of the two is no number and the other is."""
    after = _outputs(made, trial.inputs, trial.shapes)
    if after is None:
        return float("inf")
    worst = 0.0
    for name, a in trial.outputs.items():
        b = after[name]
        if (np.isnan(a) != np.isnan(b)).any():
            return float("inf")
        largest = np.nanmax(np.abs(a), initial=least[name])
        with np.errstate(invalid="ignore"):  # infinities that are equal
            apart = np.nanmax(np.abs(np.where(a == b, 0.0, a - b)), initial=0.0)
        if np.isinf(apart):
            return float("inf")
        worst = max(worst, float(apart / largest))
    return worst


def _outputs(cascade: Cascade, inputs: Arrays, sizes: Mapping[str, int]) -> Arrays | None:
    parts = {p: sizes[p] for _, own in cascade.partitions for p in own}
    try:
        found = interpret(cascade, inputs, parts)
    except AccelsimError:
        return None
    return {name: uncut(cascade, name, values, sizes) for name, values in found.items()}


def can_be_tried(cascade: Cascade) -> bool:
    """Whether shapes are all that has to be made up."""
    return not cascade.tables and all(p.default is not None for p in cascade.parameters)


def in_a_word(error: float) -> str:
    return next(word for most, word in CLASSES if error <= most)
