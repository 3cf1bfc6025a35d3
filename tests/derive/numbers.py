"""Numbers on which a derived cascade is held against what it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

from accelsim import verbs
from accelsim.cascade import Cascade, interpret
from accelsim.cascade.edges import uncut, uncut_ranks
from accelsim.derive import Derivation, derive, ways

Arrays = dict[str, npt.NDArray[np.float64]]
ADVERSARIAL = ("equal", "apart", "offset", "scaled", "one")


def derived(
    cascade: str | Cascade,
    *,
    most: int = 1,
    rank: str | None = None,
    parts: tuple[str, ...] = (),
    like: str | None = None,
) -> Derivation:
    source = verbs.load_cascade(cascade) if isinstance(cascade, str) else cascade
    wanted = None if like is None else verbs.load_cascade(like)
    return derive(_ways(source, rank, parts), most, wanted)


@cache
def _ways(cascade: Cascade, rank: str | None, parts: tuple[str, ...]) -> list[Derivation]:
    return ways(cascade, rank, parts)


def given(
    cascade: Cascade, rng: np.random.Generator, kind: str, extents: Mapping[str, int]
) -> Arrays:
    """Inputs, an axis per root rank; the first input is the adversarial one."""
    out = {}
    for number, name in enumerate(cascade.inputs):
        array = rng.normal(size=[extents[rank] for rank in uncut_ranks(cascade, name)])
        if number == 0:
            if kind == "equal":
                array[:] = array.flat[0]
            elif kind == "apart":
                array *= 1e4
            elif kind == "offset":
                array += 1e8
            elif kind == "scaled":
                array *= 10.0 ** rng.uniform(-1, 2)
            elif kind == "one":
                array *= 0
                array.flat[array.size // 2] = 1e4
        out[name] = array
    return out


def extents(
    cascade: Cascade, rng: np.random.Generator, parts: Mapping[str, tuple[str, ...]]
) -> dict[str, int]:
    """Random shapes of all ranks, and of parts that a rank is cut into: its end is somewhere in the
    last tile."""
    out: dict[str, int] = {}
    for root in cascade.ranks:
        own = [int(rng.integers(1, 5)) + (n == 0) for n, _ in enumerate(parts.get(root, ()))]
        out |= dict(zip(parts.get(root, ()), own, strict=True))
        tiles = int(np.prod(own[1:])) if own else 1
        out[root] = own[0] * tiles - int(rng.integers(tiles)) if own else int(rng.integers(2, 7))
    return out


def both(
    before: Cascade, after: Cascade, *, many: int, kinds: tuple[str, ...], seed: int = 7
) -> Iterator[tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Kind of inputs, an output of one, the same of the other: of random shapes."""
    rng = np.random.default_rng(seed)
    for number in range(many):
        kind = kinds[number % len(kinds)]
        sizes = extents(before, rng, dict(after.partitions))
        inputs = given(before, rng, kind, sizes)
        known = [
            {part: sizes[part] for _, own in one.partitions for part in own}
            for one in (before, after)
        ]
        first, second = (
            interpret(one, inputs, shapes)
            for one, shapes in zip((before, after), known, strict=True)
        )
        for name in before.outputs:
            yield (
                kind,
                *(
                    uncut(one, name, values[name], sizes)
                    for one, values in ((before, first), (after, second))
                ),
            )


def apart(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], least: float = 0.0
) -> float:
    """Largest difference over the largest value, or over `least`; nan where one is none."""
    if before.shape != after.shape or np.isnan(before).any() or np.isnan(after).any():
        return float("nan")
    return float(np.abs(before - after).max() / max(np.abs(before).max(), least, 1e-300))
