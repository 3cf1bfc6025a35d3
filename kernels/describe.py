"""What a case launches, without launching it: whoever predicts traffic needs nothing else.

    python -m kernels.describe < cases.json > described.json

For each case, in order, {"case", "gate": largest error, "launches": [{"name", "grid", "constants",
"warps", "stages"}], "shapes": {tensor: sizes}, "tables": {tensor: whole numbers}}, or {"case",
"error": text}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

from kernels.cases import Case, Plan, Tensors, gate, kernel


def describe(case: Case, tensors: Tensors, plan: Plan) -> dict[str, Any]:
    """One case: its tensors as drawn, its plan. Tables are tensors of whole numbers."""
    every = {**tensors, **plan.written}
    return {
        "case": case.to_dict(),
        "gate": gate(case),
        "launches": [
            {
                "name": launch.name,
                "grid": list(launch.grid),
                "constants": launch.constants,
                "warps": launch.warps,
                "stages": launch.stages,
            }
            for launch in plan.launches
        ],
        "shapes": {name: list(tensor.shape) for name, tensor in every.items()},
        "tables": {n: t.tolist() for n, t in tensors.items() if t.dtype == torch.int32},
    }


def describe_given(given: dict[str, Any]) -> dict[str, Any]:
    """The description of a case read from JSON, or what is wrong with it."""
    try:
        case = Case.from_dict(given)
        offered = kernel(case.kernel)
        tensors = offered.inputs(case, "cpu")
        return describe(case, tensors, offered.plan(case, tensors))
    except ValueError as error:
        return {"case": given, "error": str(error)}


if __name__ == "__main__":
    json.dump([describe_given(given) for given in json.load(sys.stdin)], sys.stdout)
