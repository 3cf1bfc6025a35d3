"""What is shipped, for tests that run all of it."""

from dataclasses import replace

from accelsim import spec
from tests.launches import walks
from tests.launches.walks import Seen, Walk

_OF_FUSEMAX = {
    "attention_1pass",
    "attention_1pass_window",
    "attention_3pass",
    "encoder_linear",
}
MAPPINGS = [
    name
    for name in spec.names("mapping")
    if spec.load(name, "mapping").spec.cascade in _OF_FUSEMAX
    and spec.load(name, "mapping").spec.arch in {"fusemax", "flat"}
    and not name.endswith("_sinks")
]
"""Mappings that run on the models of FuseMax."""

_LAYOUT = tuple(
    f"workload.parameters.{name}={n}"
    for name, n in {"X": 64, "Y": 32, "wx": 20, "wy": 12, "sx": 3}.items()
)
_STRIPES = "workload.parameters={block: 64, local: 2, stride: 7, dense_heads: 1}"
RUNS: dict[str, tuple[str, int | None, tuple[str, ...]]] = {
    "fusemax__gemm": ("gemm", None, ()),
    "fusemax__attention_grouped": ("llama3-8b", 2048, ("workload.ranks.E=64",)),
    "fusemax__attention_grouped_decode": ("llama3-8b", 2048, ("workload.kind=decode",)),
    "fusemax__attention_1pass_sinks": (
        "bert",
        2048,
        (
            "workload.parameters={window: 600, sinks: 4}",
            "workload.ranks.B=1",
            "workload.ranks.H=2",
        ),
    ),
    "fusemax__attention_gna": (
        "flux",
        None,
        (*_LAYOUT, "workload.ranks.M=2048", "workload.ranks.P=2048", "workload.ranks.H=3"),
    ),
    "gpu_like__attention_gna": (
        "flux",
        None,
        (
            *_LAYOUT,
            "workload.parameters.KY=8",
            "workload.parameters.QY=8",
            "workload.ranks.M=2048",
            "workload.ranks.P=2048",
            "workload.ranks.H=3",
        ),
    ),
    "fusemax__attention_s2": ("s2", 2560, ("workload.ranks.H=5", _STRIPES)),
    "gpu_like__attention_s2": ("s2", 1920, ("workload.ranks.H=5", _STRIPES)),
    "gpu_like__attention_1pass": ("bert", 1024, ("workload.ranks.B=1", "workload.ranks.H=3")),
    "gpu_like__attention_1pass_window": (
        "bert",
        1024,
        ("workload.ranks.B=1", "workload.ranks.H=3", "workload.parameters={window: 300}"),
    ),
    "gpu_like__attention_grouped": (
        "llama3-8b",
        1024,
        ("workload.ranks.H=8", "workload.ranks.G=2"),
    ),
    "gpu_like__attention_grouped_decode": ("llama3-8b", 2048, ("workload.kind=decode",)),
    "fusemax__linear_lightning2": ("lightning", 2048, ("workload.ranks.B=1",)),
    "gpu_like__linear_lightning2": (
        "lightning",
        2048,
        ("workload.ranks.B=2", "workload.ranks.H=3", "workload.ranks.T0=64", "workload.ranks.I=64"),
    ),
}
"""The others: a workload, a sequence length and settings for each."""

_LISTS = [[[0], [1, 0], [0, 2]], [[0], [0, 1], [2, 0, 3]]]
_GROUPED = {"b": 2, "h": 4, "g": 2, "p": 300, "m": 700, "d": 64, "p0": 128, "m0": 128}
_SPARSE = {"b": 2, "h": 2, "g": 1, "p": 150, "m": 220, "d": 64, "p0": 64, "m0": 64}
_PAGES = [[8, 1, 2, 3], [4, 5, 6, 7]]


def _of_half(walk: Walk) -> Walk:
    """With inputs of 8 bits."""
    launches = [
        [a._replace(size=a.size // 2) if a.tensor in {"Q", "K", "V"} else a for a in launch]
        for launch in walk.launches
    ]
    return replace(walk, launches=launches)


LAUNCHED = {
    walk.mapping: walk
    for walk in (
        walks.flash_fwd(**_GROUPED, seen=Seen(400)),
        walks.flash_fwd(**_GROUPED, seen=Seen(400, 140, 3), heads_first=True),
        *(
            replace(walks.flash_fwd(**_GROUPED, seen=Seen(400)), mapping=name)
            for name in ("h100__fa2", "h100__fa3", "a100__fa2")
        ),
        _of_half(replace(walks.flash_fwd(**_GROUPED, seen=Seen(400)), mapping="h100__fa3_fp8")),
        walks.pingpong(b=2, h=2, p=256, m=300, d=64, p0=64, m0=64, offset=44),
        walks.flash1(b=1, h=2, p=500, m=600, d=64, p0=64, m0=64, offset=100),
        *(walk(b=1, h=2, p=500, m=600, d=64, p0=64, m0=64) for walk in walks.TRAINED),
        walks.unfused(b=2, h=2, p=300, m=200, d=64, p0=64, m0=64, rows=4),
        walks.unfused_training(b=2, h=2, p=300, m=200, d=64, p0=128, m0=128, rows=4),
        walks.splitk(h=8, g=2, m=250, d=64, m0=64, m1=2, pages=_PAGES, lengths=[250, 190]),
        walks.block_sparse(**_SPARSE, lists=_LISTS, offset=None),
        walks.block_sparse(**_SPARSE, lists=_LISTS, offset=70, heads_first=True),
        walks.lightning(b=2, h=2, t=700, e=64, f=128, chunk=64, f0=64),
    )
}
"""Those of a machine of clusters: what each moves in a small case."""
