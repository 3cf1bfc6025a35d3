"""A kernel's requests and products beside those that its mapping predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from accelsim import verbs
from accelsim.validate.cases import Bound, Described, bind

if TYPE_CHECKING:
    from accelsim.engine.cache import Accesses


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
        programs, instances = prod(launch["grid"]), expected["instances"]
        if programs != instances:
            out.append(Difference(launch["name"], "instances", programs, instances))
    return out


def trace_faults(traced: Described) -> list[str]:
    """Where the accesses of a kernel's programs are not those of the mapping's instances.

    Each program has to do the same steps; in a step, the same loads and stores of as many bytes;
    and two accesses are to one place if and only if they are to one tile. Raises AccelsimError.
    """
    bound = bind(traced)
    streams = verbs.streams(bound.mapping, bound.workload, settings=bound.settings)
    out = []
    for launch, (names, asked) in zip(traced["launches"], streams, strict=True):
        fault = _trace_fault(launch["trace"], bound.names, names, asked)
        out += [] if fault is None else [f"{launch['name']}: {fault}"]
    return out


def _trace_fault(
    trace: list[list[list[Any]]], others: Mapping[str, str], names: list[str], asked: Accesses
) -> str | None:
    assert asked.tensor is not None  # verbs.streams numbers tensors
    if len(trace) != len(asked.instances) - 1:
        return f"{len(trace)} programs, {len(asked.instances) - 1} instances"
    places: dict[int, tuple[str, int]] = {}
    for number, program in enumerate(trace):
        begin, end = asked.instances[number], asked.instances[number + 1]
        total = int(asked.steps[end] - asked.steps[begin])
        if len(program) != total:
            return f"program {number}: {len(program)} accesses, {total} of the instance"
        done = 0
        for step in range(begin, end):
            own = range(int(asked.steps[step]), int(asked.steps[step + 1]))
            wanted = sorted(
                (names[asked.tensor[c]], "w" if asked.write[a] else "r", int(asked.size[c]), int(c))
                for a in own
                for c in [asked.chunk[a]]
            )
            here = sorted(
                (others.get(tensor, tensor), kind, size, first)
                for tensor, kind, first, size in program[done : done + len(own)]
            )
            done += len(own)
            if [w[:3] for w in wanted] != [h[:3] for h in here]:
                return f"program {number}, step {step - begin}: {here}, not {wanted}"
            for (tensor, _, _, chunk), (_, _, _, first) in zip(wanted, here, strict=True):
                if places.setdefault(chunk, (tensor, first)) != (tensor, first):
                    at, other = places[chunk][1], first
                    return f"program {number}: a tile of {tensor} is at {at} and at {other}"
    if len(set(places.values())) != len(places):
        return "two tiles are at one place"
    return None
