"""A kernel's case as a mapping with a workload: the same tiles, formats, masks and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelsim import spec
from accelsim.errors import AccelsimError, Fault, nearest
from accelsim.units import FORMATS

Described = Mapping[str, Any]
"""A case as kernels/describe.py describes it."""


@dataclass(frozen=True)
class Bound:
    """What to simulate for a case. names: tensor of the kernel -> tensor of the cascade."""

    mapping: str
    settings: tuple[str, ...]
    workload: spec.Document[Any]
    names: Mapping[str, str]


@dataclass(frozen=True)
class _Kernel:
    """mapping: for the order of grids "rows". others: tensors that a cascade calls otherwise."""

    mapping: str
    others: Mapping[str, str]


KERNELS = {
    "flash_fwd": _Kernel("flash_fwd", {"O": "AV"}),
    "flash1": _Kernel("flash1", {"O": "AV", "ON": "O"}),
    "unfused": _Kernel("unfused", {"O": "AV", "S": "QK"}),
    "splitk": _Kernel("splitk", {"O": "AV"}),
    "block_sparse": _Kernel("block_sparse", {"O": "AV"}),
    "lightning": _Kernel("lightning", {"slopes": "SLOPE"}),
}


def bind(described: Described, arch: str = "h200") -> Bound:
    """The mapping, its settings and a workload for a case. Raises AccelsimError."""
    case = described["case"]
    kernel = KERNELS.get(case["kernel"])
    if kernel is None:
        message = f"no mapping describes the kernel {case['kernel']!r}"
        raise AccelsimError(Fault(message, help=nearest(str(case["kernel"]), KERNELS)))
    groups, heads = (case["shape"].get(size) for size in "GH")
    if case["kernel"] == "unfused" and (groups != heads or case["order"] != "rows"):
        raise AccelsimError("unfused: its mapping has no groups, and one order of the grid")
    name = kernel.mapping
    if case["order"] == "heads" and case["kernel"] in {"flash_fwd", "block_sparse"}:
        name += "_heads"
    ranks = dict(case["shape"])
    width = ranks.pop("D", None)
    if width is not None:
        ranks |= {"E": width, "F": width}
    tiles, parameters, more = _of_kernel(case["kernel"], described, ranks)
    settings = [f"mapping.{path}={value}" for path, value in tiles.items()]
    for phase, launch in zip(_phases(f"h200__{name}"), described["launches"], strict=True):
        settings.append(f"mapping.phases.{phase}.launch.threads={32 * launch['warps']}")
    settings += [f"arch.word={FORMATS[case['dtype']]} B"]
    if arch != "h200":
        settings.append(f"mapping.arch={arch}")
    workload = {
        "workload": case["kernel"],
        "source": "a case of a kernel",
        "ranks": {**ranks, **more},
        "parameters": parameters,
        "tables": {name: _entries(table) for name, table in described["tables"].items()},
    }
    # JSON is YAML.
    document = spec.load_text(json.dumps(workload), "workload", f"<case of {case['kernel']}>")
    return Bound(f"h200__{name}", tuple(settings), document, kernel.others)


def _entries(table: Any) -> Any:
    """A kernel's table, with 0 for the entries that it marks as unused by -1."""
    return [_entries(row) for row in table] if isinstance(table, list) else max(table, 0)


def _phases(mapping: str) -> list[str]:
    return list(spec.load(mapping, "mapping").spec.phases)


def _of_kernel(
    kernel: str, described: Described, ranks: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Sizes of parts by their path in the mapping, parameters, further ranks."""
    case = described["case"]
    first = described["launches"][0]
    constants, mask = first["constants"], case["mask"]
    shapes = described["shapes"]
    tiles = {}
    if "block_m" in constants:
        tiles = {"partition.M.M0": constants["block_n"], "partition.P.P0": constants["block_m"]}
    if kernel in {"flash_fwd", "flash1", "block_sparse"}:  # names of their phases, too
        stages = first["stages"]
        tiles |= {f"phases.{kernel}.storage.{tensor}.slots": stages for tensor in ("K", "V")}
    seen: dict[str, int] = {}
    if {"M", "P"} <= ranks.keys():
        # Without a mask, an offset with which all keys lie before every query.
        seen["offset"] = ranks["M"] - ranks["P"] if mask.get("causal") else ranks["M"]
    if mask.get("window"):
        seen |= {"window": mask["window"], "sinks": mask.get("sinks", 0)}
    match kernel:
        case "unfused":
            rows = described["launches"][1]["constants"]["rows"]
            return {**tiles, "phases.softmax.partition.P.P0": rows}, {}, {}
        case "splitk":
            pages = shapes["pages"][1]
            splits = shapes["OP"][0]
            each = -(-pages // splits)
            if -(-pages // each) < splits:
                raise AccelsimError(f"splitk: {pages} pages leave some of {splits} parts empty")
            tiles = {
                "partition.M.M0": constants["page"],
                "partition.M.M1": each,
                "phases.combine.partition.M.M0": constants["page"],
                "phases.combine.partition.M.M1": each,
            }
            return tiles, {}, {"S": shapes["K"][0], "N": pages}
        case "block_sparse":
            seen["causal"] = int(bool(mask.get("causal")))
            return tiles, seen, {"J": shapes["blocks"][2]}
        case "lightning":
            tiles = {"partition.F.F0": constants["block_f"]}
            return tiles, {}, {"I": constants["chunk"]}
    return tiles, seen, {}
