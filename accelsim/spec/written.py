"""A workload's record as the YAML file that says it."""

from __future__ import annotations

import textwrap

import yaml

from accelsim.spec.records import WorkloadSpec

WIDTH = 150
LEGEND = {
    "B": "batch",
    "H": "query heads",
    "G": "key and value heads",
    "E": "query and key width",
    "I": "rotary pairs of the width",
    "J": "the two of a pair",
    "F": "value width",
    "R": "latent width of keys and values",
    "M": "keys",
    "P": "queries",
    "D": "model width",
    "S": "FFN width",
    "T": "tokens (batch x queries)",
    "N": "all query heads' values",
}


def written(spec: WorkloadSpec) -> str:
    """The text of a workload file; read again, it is the same record."""
    ranks = {*spec.ranks, *(rank for kind in spec.kinds.values() for rank in kind.ranks)}
    legend = ", ".join(f"{rank} {what}" for rank, what in LEGEND.items() if rank in ranks)
    head = textwrap.fill(legend, WIDTH, initial_indent="# ", subsequent_indent="# ")
    values = spec.model_dump(exclude_defaults=True)
    text: str = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=WIDTH)
    return f"{head}\n{text}"
