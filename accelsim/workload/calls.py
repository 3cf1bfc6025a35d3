"""Calls of attention, as workloads: what of a traced module a run looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from accelsim.spec.records import WorkloadSpec


@dataclass(frozen=True)
class Call:
    """A call of scaled-dot-product attention; shapes in elements.

    heads: of queries; groups: of keys and values. width: of queries and keys. causal: query p sees
    the keys up to p, as torch counts them. mask: type and shape of an explicit one, or nothing.
    """

    batch: int
    heads: int
    groups: int
    queries: int
    keys: int
    width: int
    value_width: int
    causal: bool
    mask: str
    dtype: str

    @property
    def sizes(self) -> tuple[dict[str, int], dict[str, int]]:
        """Ranks, and parameters of masked cascades: without `causal`, a query sees all keys."""
        ranks = {
            "B": self.batch,
            "H": self.heads,
            "G": self.groups,
            "E": self.width,
            "F": self.value_width,
            "M": self.keys,
            "P": self.queries,
        }
        return ranks, {"offset": 0 if self.causal else self.keys - 1}

    @property
    def words(self) -> str:
        seen = "causal" if self.causal else "all keys"
        mask = f", under a mask ({self.mask}) that is left out" if self.mask else ""
        return f"{seen}{mask}, {self.dtype}"


def as_json(calls: Mapping[Call, int]) -> list[dict[str, Any]]:
    """Every distinct call, with how often it was made."""
    return [{**asdict(call), "count": count} for call, count in calls.items()]


def workload_of(name: str, source: str, calls: Mapping[Call, int]) -> WorkloadSpec:
    """A workload with a kind per shape; what all kinds have in common stands outside of them."""
    shapes: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
    said: dict[str, list[str]] = {}
    for call, count in calls.items():
        key = repr(call.sizes)
        shapes[key] = call.sizes
        said.setdefault(key, []).append(f"{count} x {call.words}")
    first_ranks, first_parameters = next(iter(shapes.values()))
    ranks = {k: v for k, v in first_ranks.items() if all(s[0][k] == v for s in shapes.values())}
    parameters = {
        k: v for k, v in first_parameters.items() if all(s[1][k] == v for s in shapes.values())
    }
    kinds = {
        f"call{number}": {
            "description": "; ".join(said[key]),
            "ranks": {k: v for k, v in own[0].items() if k not in ranks},
            "parameters": {k: v for k, v in own[1].items() if k not in parameters},
        }
        for number, (key, own) in enumerate(shapes.items(), start=1)
    }
    alone = "; ".join(said[next(iter(shapes))]) if len(shapes) == 1 else ""
    every = f"{sum(calls.values())} calls of attention"
    return WorkloadSpec.model_validate(
        {
            "workload": name,
            "description": f"{every}: {alone}" if alone else every,
            "source": source,
            "ranks": ranks,
            "parameters": parameters,
            "kinds": kinds if len(shapes) > 1 else {},
        }
    )
