"""torch's own CPU attention on the inputs of the sweeps: python studies/rounding/torch_attention.py

Writes torch.csv beside it: norm of the difference / norm, against float64. Rows `all` and `inputs`:
on the inputs as they are drawn; `inside`: on the inputs as they are in the format. Of float8 torch
has casts but no attention: inputs are cast to it and back, and attention is in float32.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import scaled_dot_product_attention

from accelsim import verbs
from accelsim.execute.check import error
from accelsim.execute.inputs import drawn
from accelsim.execute.run import sizes

FOLDER = Path(__file__).parent
FORMATS = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
SCORES = (1, 8)
SEED, KEYS, WIDTH = 0, 2048, 64
TILE = 512
"""Keys of a tile in torch's kernel."""
RANKS = ("B", "H", "P", "F")
Array = npt.NDArray[np.float64]


def inputs(scores: int) -> dict[str, torch.Tensor]:
    """Q, K and V as the sweeps draw them, float64, (batch, head, position, width)."""
    loaded = verbs.load("fusemax__attention_1pass", str(FOLDER / "attention.yaml"), KEYS)
    own = sizes(loaded.mapping, loaded.shapes, loaded.tables)
    found = drawn(own, SEED, {"Q": scores / WIDTH**0.5})
    return {name: torch.from_numpy(values).mT.contiguous() for name, values in found.items()}


def attention(given: dict[str, torch.Tensor]) -> torch.Tensor:
    """Scores are scaled already."""
    return scaled_dot_product_attention(given["Q"], given["K"], given["V"], scale=1.0)


def rows(written: str, scores: int) -> list[dict[str, Any]]:
    """Errors of torch's attention in a format, named as formats.yaml names what is rounded."""
    exact = inputs(scores)
    cast = {name: values.to(getattr(torch, written)) for name, values in exact.items()}
    if written.startswith("float8"):
        cast = {name: values.to(torch.float32) for name, values in cast.items()}
        references = {"inputs": exact}
    else:
        same = {name: values.to(torch.float64) for name, values in cast.items()}
        references = {"all": exact, "inside": same}
    found = attention(cast).to(torch.float64).numpy()
    return [
        {
            "design": "one_pass",
            "tile": TILE,
            "rounded": rounded,
            "format": written,
            "scores": scores,
            "error": float(f"{error(found, attention(given).numpy(), RANKS).overall:.4g}"),
            "torch": torch.__version__,
        }
        for rounded, given in references.items()
    ]


def main() -> None:
    table = [row for written in FORMATS for scores in SCORES for row in rows(written, scores)]
    with (FOLDER / "torch.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print(f"{len(table)} rows: {FOLDER / 'torch.csv'}", file=sys.stderr)


if __name__ == "__main__":
    main()
