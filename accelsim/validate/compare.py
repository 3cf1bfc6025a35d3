"""A kernel's requests and products beside those that its mapping predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelsim import verbs
from accelsim.validate.cases import Bound, Described, bind


@dataclass(frozen=True)
class Difference:
    """A number of a launch that did not come out as predicted."""

    launch: str
    what: str
    measured: int
    predicted: int

    def __str__(self) -> str:
        return (
            f"{self.launch}: {self.what}: measured {self.measured:,}, predicted {self.predicted:,}"
        )


def predict(bound: Bound, *, cache: bool = False) -> dict[str, Any]:
    """What `verbs.traffic` says of a case. Raises AccelsimError."""
    return verbs.traffic(bound.mapping, bound.workload, settings=bound.settings, cache=cache)


def requests(launch: Mapping[str, Any], names: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """(tensor of the cascade, read or write) -> bytes that a launch of a kernel requested."""
    found = {}
    for tensor, counts in launch["tensors"].items():
        name = names.get(tensor, tensor)
        for way, measured in (("read", counts["read"]), ("write", counts["written"])):
            if measured:
                found[name, way] = measured
        if counts["atomic"]:
            found[name, "atomic"] = counts["atomic"]
    return found


def differences(traced: Described) -> list[Difference]:
    """Every number of a traced case that is not as predicted. Raises AccelsimError."""
    bound = bind(traced)
    predicted = predict(bound)["launches"]
    out = []
    for launch, expected in zip(traced["launches"], predicted, strict=True):
        measured = requests(launch, bound.names)
        wanted = {
            (tensor, way): size
            for tensor, sizes in expected["requests"].items()
            for way, size in sizes.items()
            if size
        }
        for key in sorted({*measured, *wanted}):
            one, other = measured.get(key, 0), wanted.get(key, 0)
            if one != other:
                what = f"bytes of {key[0]}, {key[1]}"
                out.append(Difference(launch["name"], what, one, other))
        products = sum(expected["issued"].values())
        if launch["dots"] != products:
            out.append(Difference(launch["name"], "products", launch["dots"], products))
        instances = expected["instances"]
        programs = 1
        for size in launch["grid"]:
            programs *= size
        if programs != instances:
            out.append(Difference(launch["name"], "instances", programs, instances))
    return out
