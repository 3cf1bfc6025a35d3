"""Workloads from elsewhere: a model's config, calls of a torch module."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from accelsim import spec
from accelsim.errors import AccelsimError
from accelsim.spec.records import WorkloadSpec
from accelsim.workload.calls import Call
from accelsim.workload.workload import check


def import_model(path: str) -> spec.Document[WorkloadSpec]:
    """A model's config.json as a workload. Raises AccelsimError."""
    if not path.endswith(".json"):
        raise AccelsimError(f"{path!r}: expected a model's config, a file in .json")
    document = spec.load(path, "workload")
    check(document)
    return document


def import_torch(target: str, inputs: Sequence[str] = (), device: str = "meta") -> dict[Call, int]:
    """Calls of attention that a torch module makes -> how often; no numbers are needed for it.

    target: FILE.py:NAME or PACKAGE.MODULE:NAME of a module, or of a function that returns
    MODULE, (MODULE, ARGS) or (MODULE, ARGS, KWARGS). inputs: shapes such as 1x128x512 or
    1x128:int64, instead of ARGS. device: meta or cpu. Raises AccelsimError.
    """
    if importlib.util.find_spec("torch") is None:
        raise AccelsimError("torch is not installed: pip install 'accelsim[kernels]'")
    from accelsim.workload.traced import trace  # imports torch

    return trace(target, inputs, device)
