"""Times of attention on a GPU, predicted: `python -m accelsim.validate.predict_times h200`.

This project's kernels run as the mapping that describes them, with as many instances on a cluster
as the compiler's registers and shared memory allow. Of torch's own it is not known what runs: the
flash backend is taken for FlashAttention-2, cuDNN's for FlashAttention-3, and one query over a
cache for the split kernel of this project; their rows say so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from accelsim import spec, verbs
from accelsim.arch import build
from accelsim.errors import AccelsimError
from accelsim.validate import kernels
from accelsim.validate.cases import Bound, bind
from accelsim.validate.predictions import SM
from accelsim.validate.times import Row, as_csv

# github.com/Dao-AILab/flash-attention. Of FlashAttention-2 (csrc/flash_attn/src): queries and keys
# of a tile. Of FlashAttention-3 (hopper/, July 2024): warpgroups of 64 queries, keys, keys where
# masked, registers of a thread.
TILES_2 = {64: (128, 128), 128: (128, 64), 256: (64, 64)}
TILES_3 = {64: (3, 128, 128, 128), 128: (2, 176, 128, 168), 256: (2, 80, 80, 168)}
PAGE, WARPS = 64, 4


def predict(cases: Iterable[dict[str, Any]], arch: str) -> Iterator[Row]:
    """The time of each case as kernels.timing describes it. Raises AccelsimError."""
    given = list(cases)
    clusters = build(spec.load(arch, "arch")).clusters
    own = [timed["case"] for timed in given if not timed["kernel"].startswith("sdpa")]
    described = iter(kernels.described(own))
    built = iter(kernels.built([{"case": case, "target": SM[arch]} for case in own]))
    for timed in given:
        if timed["kernel"].startswith("sdpa"):
            bound, note = _of_torch(timed["kernel"], timed["case"], clusters)
            settings: tuple[str, ...] = (*bound.settings, f"mapping.arch={arch}")
        else:
            about, binary = next(described), next(built)
            for found in (about, binary):
                if "error" in found:
                    raise AccelsimError(f"{timed['name']}: {found['error']}")
            bound, note = bind(about, arch), ""
            settings = (*bound.settings, *_resident(bound, binary))
        run = verbs.simulate(
            bound.mapping,
            bound.workload,
            settings=settings,
            warm=True,
            engine_name="compiled",  # every task executed
        )
        result = run.result
        yield Row(timed["name"], timed["kernel"], result.seconds, result.bottleneck, note)


def _resident(bound: Bound, binary: Mapping[str, Any]) -> list[str]:
    """Instances on a cluster of each launch, by what the compiler has made of it."""
    phases = spec.load(bound.mapping, "mapping").spec.phases
    return [
        f"mapping.phases.{phase}.launch.resident={max(1, launch['ctas_per_sm'])}"
        for phase, launch in zip(phases, binary["launches"], strict=True)
    ]


def _of_torch(kernel: str, case: Mapping[str, Any], clusters: int) -> tuple[Bound, str]:
    """What torch's attention is taken for, and that in words."""
    shape = dict(case["shape"])
    width, causal = shape.pop("D"), bool(case["mask"].get("causal"))
    ranks = {**shape, "E": width, "F": width}
    if shape["P"] == 1:
        del ranks["P"]
        return _split(ranks, clusters), "taken for this project's split kernel"
    # Both go through the keys from the last to the first.
    seen = {"offset": shape["M"] - shape["P"] if causal else shape["M"], "from_last": 1}
    if kernel == "sdpa_flash":
        queries, keys = TILES_2[width]
        settings = [f"mapping.partition.P.P0={queries}", f"mapping.partition.M.M0={keys}"]
        bound = Bound("h100__fa2", tuple(settings), _workload(ranks, seen), {})
        return bound, "taken for FlashAttention-2"
    groups, keys, masked, registers = TILES_3[width]
    launch = "mapping.phases.flash_fwd.launch"
    settings = [
        f"mapping.partition.P.P0={64 * groups}",
        f"mapping.partition.M.M0={masked if causal else keys}",
        f"{launch}.threads={128 * groups}",
        f"{launch}.registers={registers}",
        f"{launch}.schedule={'dynamic' if causal else 'static'}",
    ]
    bound = Bound("h100__fa3", tuple(settings), _workload(ranks, seen), {})
    return bound, "taken for FlashAttention-3"


def _split(ranks: Mapping[str, int], clusters: int) -> Bound:
    """One query over a cache in one piece: its pages lie one behind the other."""
    batch, keys = ranks["B"], ranks["M"]
    pages = -(-keys // PAGE)
    # About two instances for each cluster.
    splits = max(1, min(pages, 2 * clusters // (batch * ranks["G"])))
    each = next(n for n in range(-(-pages // splits), pages + 1) if pages % n == 0)
    settings = [
        f"{part}={each}"
        for part in ("mapping.partition.M.M1", "mapping.phases.combine.partition.M.M1")
    ]
    tables = {
        "lengths": [keys] * batch,
        "pages": [[b * pages + page for page in range(pages)] for b in range(batch)],
    }
    more = {**ranks, "S": batch * pages, "N": pages}
    return Bound("h200__splitk", tuple(settings), _workload(more, {}, tables), {})


def _workload(
    ranks: Mapping[str, int], parameters: Mapping[str, int], tables: Mapping[str, Any] | None = None
) -> spec.Document[Any]:
    workload = {
        "workload": "torch",
        "source": "a case of torch's attention",
        "ranks": dict(ranks),
        "parameters": dict(parameters),
        "tables": dict(tables or {}),
    }
    # JSON is YAML.
    return spec.load_text(json.dumps(workload), "workload", "<case of torch's attention>")


def main() -> None:
    arch = sys.argv[1] if len(sys.argv) > 1 else "h200"
    try:
        text = as_csv(predict(kernels.timed(), arch))
    except AccelsimError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
