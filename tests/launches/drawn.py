"""Random walks, and the mapping of each as accelsim builds it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import strategies as st

from accelsim import arch, cascade, mapping, program, spec
from accelsim.arch import Machine
from accelsim.cascade import Cascade
from accelsim.mapping import Mapping
from accelsim.program import Program
from tests.launches import walks
from tests.launches.walks import Seen, Walk

SMALL, TILE = st.integers(1, 13), st.integers(1, 6)


@cache
def _machine(name: str, changes: tuple[tuple[str, str], ...]) -> Machine:
    return arch.build(spec.load(name, "arch", [(tuple(p.split(".")), v) for p, v in changes]))


@cache
def _cascade(name: str) -> Cascade:
    return cascade.build(spec.load(name, "cascade"))


def built(walk: Walk, *changes: tuple[str, str]) -> tuple[Mapping, Program]:
    """changes: of the machine that the mapping names."""
    settings = [(tuple(path.split(".")), value) for path, value in walk.settings.items()]
    document = spec.load(walk.mapping, "mapping", settings)
    tables = {name: np.asarray(table) for name, table in walk.tables.items()}
    machine = _machine(document.spec.arch, (("word", f"{walk.word} B"), *changes))
    own = _cascade(document.spec.cascade)
    mapped = mapping.build(document, own, machine, dict(walk.shapes), tables)
    return mapped, program.lower(mapped)


@st.composite
def _shapes(draw: st.DrawFn) -> dict[str, int]:
    """Of attention, with heads for a whole number of groups."""
    g = draw(st.integers(1, 2))
    return {
        **{"b": draw(st.integers(1, 2)), "h": g * draw(st.integers(1, 3)), "g": g},
        **{"p": draw(SMALL), "m": draw(SMALL), "d": draw(st.integers(1, 3))},
        **{"p0": draw(TILE), "m0": draw(TILE), "word": draw(st.sampled_from((1, 2, 4)))},
    }


def _ungrouped(shapes: dict[str, int]) -> dict[str, int]:
    return {name: n for name, n in shapes.items() if name != "g"}


@st.composite
def flash_fwd(draw: st.DrawFn) -> Walk:
    shapes = draw(_shapes())
    m, kind = shapes["m"], draw(st.sampled_from(("dense", "causal", "window")))
    seen = Seen(m if kind == "dense" else draw(st.integers(0, m)))
    if kind == "window":  # aligned at the end, so that every query sees its own key
        shapes["p"] = min(shapes["p"], m)
        window, sinks = draw(st.integers(1, m)), draw(st.integers(0, 3))
        seen = Seen(m - shapes["p"], window, sinks)
    return walks.flash_fwd(**shapes, seen=seen, heads_first=draw(st.booleans()))


@st.composite
def flash1(draw: st.DrawFn) -> Walk:
    shapes = _ungrouped(draw(_shapes()))
    return walks.flash1(**shapes, offset=draw(st.integers(0, shapes["m"])))


@st.composite
def flash1_trained(draw: st.DrawFn) -> Walk:
    """Forward or backward, on the A100."""
    return draw(st.sampled_from(walks.TRAINED))(**_ungrouped(draw(_shapes())))


@st.composite
def unfused(draw: st.DrawFn) -> Walk:
    return walks.unfused(**_ungrouped(draw(_shapes())), rows=draw(TILE))


@st.composite
def unfused_training(draw: st.DrawFn) -> Walk:
    return walks.unfused_training(**_ungrouped(draw(_shapes())), rows=draw(TILE))


@st.composite
def splitk(draw: st.DrawFn) -> Walk:
    """Sequences may share pages that all of them fill, as those with one beginning do."""
    shapes = {name: n for name, n in draw(_shapes()).items() if name not in {"b", "p", "p0", "m"}}
    m1, number = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    m = m1 * number * shapes["m0"] - draw(st.integers(0, shapes["m0"] - 1))
    b, n = draw(st.integers(1, 3)), m1 * number
    least = (number - 1) * m1 * shapes["m0"] + 1
    lengths = draw(st.lists(st.integers(least, m), min_size=b, max_size=b))
    shared = draw(st.integers(0, min(lengths) // shapes["m0"]))
    order = draw(st.permutations(range(b * n + 1)))
    pages = [[*order[:shared], *order[i * n + shared : i * n + n]] for i in range(b)]
    return walks.splitk(**shapes, m=m, m1=m1, pages=pages, lengths=lengths)


@st.composite
def block_sparse(draw: st.DrawFn) -> Walk:
    """Lists in any order; under a causal mask with tile 0, which all queries see a key of.

    A block of queries that is not whole has no tile in its list that it does not see: the padding's
    queries count as its own there.
    """
    shapes = draw(_shapes())
    offset = draw(st.one_of(st.none(), st.integers(0, shapes["m"])))
    number, blocks = -(-shapes["m"] // shapes["m0"]), -(-shapes["p"] // shapes["p0"])
    one = st.lists(st.integers(0, number - 1), min_size=1, unique=True)
    if offset is not None:
        end = shapes["p"] + offset if shapes["p"] % shapes["p0"] else number * shapes["m0"]
        one = one.map(lambda own: [0, *(j for j in own if 0 < j * shapes["m0"] < end)])
    lists = draw(
        st.lists(
            st.lists(one, min_size=blocks, max_size=blocks),
            min_size=shapes["h"],
            max_size=shapes["h"],
        )
    )
    heads_first = draw(st.booleans())
    return walks.block_sparse(**shapes, lists=lists, offset=offset, heads_first=heads_first)


@st.composite
def lightning(draw: st.DrawFn) -> Walk:
    few = st.integers(1, 3)
    names = {"b": few, "h": few, "t": SMALL, "e": few, "f": SMALL, "chunk": TILE, "f0": TILE}
    return walks.lightning(**{name: draw(n) for name, n in names.items()})


def with_slots(walk: Walk, slots: int) -> Walk:
    """A walk under a mapping that holds so many tiles of what it loads: the same is moved."""
    phases = spec.load(walk.mapping, "mapping").spec.phases
    held = {
        f"phases.{phase}.storage.{tensor}.slots": slots
        for phase, one in phases.items()
        for tensor, storage in one.storage.items()
        if not storage.off_chip
    }
    return replace(walk, settings={**walk.settings, **held})


DRAWN = {
    "flash_fwd": flash_fwd(),
    "flash1": flash1(),
    "flash1_trained": flash1_trained(),
    "unfused": unfused(),
    "unfused_training": unfused_training(),
    "splitk": splitk(),
    "block_sparse": block_sparse(),
    "lightning": lightning(),
}
