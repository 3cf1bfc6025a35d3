"""A cascade on numbers: that a rewrite kept what it computes, and what it costs in digits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.cascade import Cascade, interpret
from accelsim.cascade.edges import uncut, uncut_ranks
from accelsim.cascade.nodes import Computed
from accelsim.derive import adversarial
from accelsim.derive.terms import looked_at
from accelsim.errors import AccelsimError, NotANumberError

Arrays = dict[str, npt.NDArray[np.float64]]
Tables = dict[str, npt.NDArray[np.int64]]
CLASSES = ((1e-12, "exact"), (1e-6, "loses digits"), (float("inf"), "unstable"))
"""Relative error on adversarial inputs, up to -> in a word."""
PART, OTHERS = 3, (2, 5, 3, 5)
"""Shapes of trials: of every part of a rank, which ends inside of its last tile; of ranks that are
whole, in turns."""
LONG = 7
"""Shape of the rank, also where it is cut in two, and of whole ranks that predicates look at:
masks cut through several tiles of others. No power of 2, by which divisions are exact."""
STEADY = 1e-6
"""Inputs whose last digit changes the source's outputs by more are no measure of a rewrite."""
TINIEST = 1e-290
"""Below, numbers have fewer digits."""
LEAST = 1e-3
"""Outputs of inputs of size 1 that are smaller are what is left of sums that cancel."""
DRAWS = 40
"""Shapes that are drawn where those do not go together (a width that has to be twice another)."""
MADE_UP = ((2, "0 and 1 in turns"), (1, "all 1"), (1, "all 0"))
"""Parameters without a default, and tables, until the source has numbers."""
USUAL = (16, 64)
"""Shapes for counting: of the outermost part of a rank; of everything else."""


@dataclass(frozen=True)
class Trial:
    """Inputs [shapes of the source's ranks], shapes of all ranks and parts, parameters and tables
    that are made up, and the outputs of the source, of which ranks that are cut are whole. scale:
    of outputs, by what inputs are scaled by."""

    inputs: Arrays
    shapes: dict[str, int]
    parameters: dict[str, int]
    tables: Tables
    outputs: Arrays
    scale: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trials:
    """On which a source has numbers. usual: normal inputs, and positive ones, on tiles of one
    coordinate. adversarial: on which digits are lost (adversarial.py). made_up: parameters and
    tables -> what they are. unchecked: why there are none."""

    usual: tuple[Trial, ...] = ()
    adversarial: tuple[Trial, ...] = ()
    made_up: dict[str, str] = field(default_factory=dict)
    unchecked: str = ""

    def apart(self, made: Cascade) -> float:
        """Largest relative difference of a cascade from the source on usual inputs."""
        least = dict.fromkeys(made.outputs, LEAST)
        return max((difference(made, one, least) for one in self.usual), default=0.0)

    def errors(self, made: Cascade) -> list[float]:
        """On each of the adversarial inputs; relative to usual outputs where these are larger.

        At most 1, no digit, on tiny and huge ones: a product on the way may be out of range.
        """
        least = dict.fromkeys(made.outputs, LEAST)
        for one in self.usual[:1]:
            for name, array in one.outputs.items():
                least[name] = float(np.nanmax(np.abs(array), initial=LEAST))
        found = [(_scaled(made, one, least), one) for one in self.adversarial]
        return [min(error, 1.0) if one.scale else error for error, one in found]

    def out_of_range(self, made: Cascade) -> bool:
        """Whether a cascade gives no number where inputs are tiny or huge."""
        least = dict.fromkeys(made.outputs, LEAST)
        return any(_scaled(made, t, least) == float("inf") for t in self.adversarial if t.scale)


def trials(
    source: Cascade, parts: Mapping[str, tuple[str, ...]], seed: int = 0, rank: str = ""
) -> Trials:
    """Of a cascade; parts: of ranks that will be cut, too. rank: along which inputs begin in
    adversarial ways.

    Raises AccelsimError where it reads outside of its tensors whatever the shapes.
    """
    faults: list[AccelsimError] = []
    needs = bool(source.tables) or any(p.default is None for p in source.parameters)
    for others in _others(source, seed):
        for number, said in MADE_UP if needs else MADE_UP[:1]:
            try:
                usual, adversarial = _of(source, parts, rank, seed, others, number, said)
            except AccelsimError as fault:
                faults.append(fault)
                continue
            made_up = {p.name: str(number) for p in source.parameters if p.default is None}
            made_up |= {table.name: said for table in source.tables}
            return Trials(usual, adversarial, made_up)
    why = faults[0]
    computed = any(
        isinstance(index, Computed) for e in source.einsums for a in e.inputs for index in a.indices
    )
    if not needs and not computed and not any(isinstance(f, NotANumberError) for f in faults):
        raise why
    return Trials(unchecked=f"{source.name} has no numbers on trial inputs: {why}")


def _others(source: Cascade, seed: int) -> Iterator[tuple[int, ...]]:
    """Shapes of whole ranks, until there are some that go together."""
    yield OTHERS
    yield (max(OTHERS),)
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        yield tuple(int(n) for n in rng.integers(1, max(OTHERS) + 1, len(source.ranks)))


def _of(
    source: Cascade,
    parts: Mapping[str, tuple[str, ...]],
    rank: str,
    seed: int,
    others: Sequence[int],
    number: int,
    said: str,
) -> tuple[tuple[Trial, ...], tuple[Trial, ...]]:
    """Usual and adversarial trials. Raises AccelsimError where the source has no usual numbers."""
    faults: list[AccelsimError] = []

    def drawn(rng: np.random.Generator, sizes: dict[str, int]) -> Arrays:
        out = {}
        for name in source.inputs:
            out[name] = rng.normal(size=[sizes[rank] for rank in uncut_ranks(source, name)])
        return out

    def tried(inputs: Arrays, sizes: dict[str, int]) -> tuple[Trial, ...]:
        parameters = {p.name: number for p in source.parameters if p.default is None}
        extents = {table.name: [sizes[r] for r in table.ranks] for table in source.tables}
        tables = {
            name: (np.arange(prod(own)) % 2 if "turns" in said else np.full(prod(own), "1" in said))
            .astype(np.int64)
            .reshape(own)
            for name, own in extents.items()
        }
        one = Trial(inputs, sizes, parameters, tables, {})
        try:
            return (dataclasses.replace(one, outputs=_outputs(source, one)),)
        except AccelsimError as fault:
            faults.append(fault)
            return ()

    sizes, ones = (shapes(source, parts, inner, others, rank) for inner in (PART, 1))
    rng, again, other = (np.random.default_rng(number) for number in (seed, seed, seed + 1))
    usual = tried(drawn(rng, sizes), sizes)
    usual += tried({name: np.abs(array) for name, array in drawn(other, ones).items()}, ones)
    if not usual:
        raise faults[0]
    drawings = [drawn(again, sizes), {n: np.abs(a) for n, a in drawn(again, sizes).items()}]
    adversarials = [one for made in adversarial.each(drawings[0]) for one in tried(made, sizes)]
    ranks = {name: uncut_ranks(source, name) for name in source.inputs}
    axes = {name: own.index(rank) for name, own in ranks.items() if rank in own}
    first = prod(sizes[part] for part in {**dict(source.partitions), **parts}.get(rank, ())[1:])
    for inputs in drawings:
        for made in adversarial.along(inputs, axes, first if first > 1 else PART):
            for one in tried(made, sizes):
                near = tried(adversarial.nudged(made, again), sizes)
                if _is_steady(one, near):
                    adversarials.append(one)
        for before in tried(inputs, sizes):
            for made in adversarial.scaled(inputs):
                adversarials += [
                    dataclasses.replace(one, scale=scale)
                    for one in tried(made, sizes)
                    if (scale := _scale(source, before, one)) is not None
                ]
    return usual, tuple(adversarials)


def _is_steady(one: Trial, near: Sequence[Trial]) -> bool:
    """Whether the source has finite outputs, which inputs that are all but the same hardly move."""
    for other in near:
        for name, array in one.outputs.items():
            if not np.isfinite(array).all() or not np.isfinite(other.outputs[name]).all():
                return False
            largest = np.max(np.abs(array), initial=LEAST)
            if np.max(np.abs(array - other.outputs[name]), initial=0.0) > STEADY * largest:
                return False
    return bool(near)


def _scale(source: Cascade, before: Trial, one: Trial) -> dict[str, float] | None:
    """How much larger outputs are; None where the source has not the digits of all of them, or
    goes beyond what numbers can be on the way."""
    if any(np.isinf(array).any() for array in _interpreted(source, one, keep_all=True).values()):
        return None
    out = {}
    for name, array in one.outputs.items():
        size, usual = (np.max(np.abs(a), initial=0.0) for a in (array, before.outputs[name]))
        if not (TINIEST < size < float("inf") and 0 < usual < float("inf")):
            return None
        out[name] = float(size / usual)
    return out


def shapes(
    cascade: Cascade,
    parts: Mapping[str, tuple[str, ...]],
    inner: int = PART,
    others: Sequence[int] = OTHERS,
    rank: str = "",
) -> dict[str, int]:
    """Small shapes of all ranks. parts: of those that will be cut, too. inner: of parts but the
    outermost, which makes the rank as large with any; 1: all tiles are full. others: of ranks that
    are whole, but for this one."""
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
        usual = others[number % len(others)]
        out[root] = LONG if root in {*masked, rank} and others is OTHERS else usual
        if own:
            out[root] = PART ** len(own) - PART ** (len(own) - 1) // 2 - 1
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
    try:
        after = _outputs(made, trial)
    except AccelsimError:
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


def _outputs(cascade: Cascade, trial: Trial) -> Arrays:
    """Raises AccelsimError where a value is none."""
    found = _interpreted(cascade, trial)
    return {name: uncut(cascade, name, values, trial.shapes) for name, values in found.items()}


def _scaled(made: Cascade, trial: Trial, least: Mapping[str, float]) -> float:
    """The difference, where outputs are scaled relative to scaled ones."""
    own = {name: size * trial.scale.get(name, 1.0) for name, size in least.items()}
    return difference(made, trial, own)


def _interpreted(cascade: Cascade, trial: Trial, *, keep_all: bool = False) -> Arrays:
    cut = {part for _, own in cascade.partitions for part in own}
    sizes = {rank: n for rank, n in trial.shapes.items() if rank in {*cascade.ranks, *cut}}
    return interpret(
        cascade,
        trial.inputs,
        sizes,
        parameters=trial.parameters,
        tables=trial.tables,
        keep_all=keep_all,
    )


def in_a_word(error: float) -> str:
    return next(word for most, word in CLASSES if error <= most)
