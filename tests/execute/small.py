"""Every shipped mapping at a size that whole tensors have room for, with several tiles of each."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from accelsim import program, spec, verbs
from accelsim.mapping import Mapping
from accelsim.program import Program
from tests.launches import walks
from tests.launches.drawn import built
from tests.launches.walks import Seen
from tests.shipped import LAUNCHED, MAPPINGS, RUNS

Case = tuple[Mapping, Program, dict[str, int], dict[str, object]]
"""A mapping, its Program, the shapes and tables that it was built for."""

_HEADS = ("workload.ranks.B=2", "workload.ranks.H=2")
_NARROW = ("workload.ranks.E=8", "workload.ranks.F=8")
_TILES = ("mapping.partition.M.M0=16", "mapping.partition.P.P0=16")
_LINEAR = tuple(
    f"workload.ranks.{rank}={n}" for rank, n in {"T": 70, "N": 36, "D": 40, "S": 90}.items()
)
_ARRAY = ("arch.units.array_2d.shape={rows: 16, cols: 16}",)
_LAYOUT = tuple(
    f"workload.parameters.{name}={n}"
    for name, n in {"X": 16, "Y": 6, "wx": 5, "wy": 3, "sx": 3, "KY": 2, "QY": 2}.items()
)
_GNA = (*_HEADS, *_NARROW, *_TILES, *_LAYOUT, "workload.ranks.M=96", "workload.ranks.P=96")
_STRIPES = "workload.parameters={block: 8, local: 2, stride: 3, dense_heads: 1}"
_S2 = ("workload.ranks.H=4", *_NARROW, *_TILES, _STRIPES)
_SINKS = "workload.parameters={window: 20, sinks: 3}"
_GROUPS = ("workload.ranks.B=1", "workload.ranks.H=6", "workload.ranks.G=2", *_NARROW)
_FIT = ("mapping.partition.P.P1=2",)
_BUFFER = ("arch.levels.global_buffer.capacity=12 KiB",)
_CHUNKS = (*_HEADS, *_NARROW, "workload.ranks.T0=16", "workload.ranks.I=16")
SMALL: dict[str, tuple[str, int | None, tuple[str, ...]]] = {
    "fusemax__gemm": (
        "gemm",
        None,
        (*_ARRAY, *(f"workload.ranks.{r}={n}" for r, n in (("M", 50), ("N", 70), ("K", 40)))),
    ),
    "fusemax__attention_grouped": ("llama3-8b", 96, (*_GROUPS, *_TILES, *_FIT)),
    "fusemax__attention_grouped_decode": (
        "llama3-8b",
        70,
        (*_GROUPS, "mapping.partition.M.M0=16", "workload.kind=decode"),
    ),
    "fusemax__attention_1pass_sinks": ("bert", 96, (*_HEADS, *_NARROW, *_TILES, _SINKS)),
    "fusemax__attention_1pass_window": ("bert", 96, (*_HEADS, *_NARROW, *_TILES, *_FIT)),
    "fusemax__attention_gna": ("flux", None, _GNA),
    "gpu_like__attention_gna": ("flux", None, _GNA),
    "fusemax__attention_s2": ("s2", 96, _S2),
    "gpu_like__attention_s2": ("s2", 96, _S2),
    "gpu_like__attention_1pass": ("bert", 90, (*_HEADS, *_NARROW, *_TILES)),
    "gpu_like__attention_1pass_window": (
        "bert",
        90,
        (*_HEADS, *_NARROW, *_TILES, "workload.parameters={window: 30}"),
    ),
    "gpu_like__attention_grouped": ("llama3-8b", 90, (*_GROUPS, *_TILES)),
    "gpu_like__attention_grouped_decode": (
        "llama3-8b",
        70,
        (*_GROUPS, "mapping.partition.M.M0=16", "workload.kind=decode"),
    ),
    "fusemax__linear_lightning2": ("lightning", 96, _CHUNKS),
    "gpu_like__linear_lightning2": ("lightning", 96, _CHUNKS),
}
"""Those of machines without clusters: a workload, a length and settings."""
for _name in MAPPINGS:
    if _name.endswith("encoder_linear"):
        SMALL[_name] = ("bert", 96, (*_ARRAY, *_LINEAR))
    elif _name not in SMALL:
        _fitted = any(
            "fit(" in str(size) for size in spec.load(_name, "mapping").spec.partition["P"].values()
        )
        SMALL[_name] = ("bert", 96, (*_HEADS, *_NARROW, *_TILES, *(_FIT if _fitted else ())))

_G = {"b": 2, "h": 4, "g": 2, "p": 30, "m": 70, "d": 8, "p0": 12, "m0": 16}
_S = {"b": 2, "h": 2, "g": 1, "p": 30, "m": 44, "d": 8, "p0": 12, "m0": 12}
_T = {"b": 2, "h": 2, "p": 30, "m": 40, "d": 8, "p0": 12, "m0": 16}
_LISTS = [[[0], [1, 0], [0, 2]], [[0], [0, 1], [2, 0, 3]]]
_PAGES = [[8, 1, 2, 3], [4, 5, 6, 7]]
WALKS = {
    walk.mapping: walk
    for walk in (
        walks.flash_fwd(**_G, seen=Seen(40)),
        walks.flash_fwd(**_G, seen=Seen(40, 14, 3), heads_first=True),
        walks.pingpong(b=2, h=2, p=48, m=60, d=8, p0=12, m0=16, offset=12),
        walks.flash1(b=1, h=2, p=50, m=60, d=8, p0=12, m0=16, offset=10),
        *(walk(**_T) for walk in walks.TRAINED),
        walks.unfused(**_T, rows=4),
        walks.unfused_training(**_T, rows=4),
        walks.splitk(h=8, g=2, m=60, d=8, m0=16, m1=2, pages=_PAGES, lengths=[60, 39]),
        walks.block_sparse(**_S, lists=_LISTS, offset=None),
        walks.block_sparse(**_S, lists=_LISTS, offset=14, heads_first=True),
        walks.lightning(b=2, h=2, t=70, e=8, f=16, chunk=16, f0=8),
    )
}
EVERY = tuple(sorted({*MAPPINGS, *RUNS, *LAUNCHED}))


@cache
def small(name: str) -> Case:
    """A shipped mapping at its small size."""
    if name in SMALL:
        model, length, settings = SMALL[name]
        loaded = verbs.load(name, model, length, settings=settings)
        return loaded.mapping, program.lower(loaded.mapping), loaded.shapes, dict(loaded.tables)
    walk = WALKS.get(name)
    if walk is None:  # the same walk on another machine
        walk = replace(WALKS["h200__flash_fwd"], mapping=name)
    mapped, lowered = built(walk)
    return mapped, lowered, dict(walk.shapes), dict(walk.tables)
