"""Cases (kernel, shape, mask, tile, inputs), what a kernel offers, and the gates of accuracy.

Nothing here imports Triton: whoever runs kernels decides first whether they are interpreted or
compiled, and Triton looks at `TRITON_INTERPRET` when it is imported.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

Tensors = dict[str, torch.Tensor]

MODULES = {
    "flash_fwd": "kernels.flash",
    "flash1": "kernels.flash1",
    "unfused": "kernels.unfused",
    "splitk": "kernels.decode",
    "block_sparse": "kernels.block_sparse",
    "lightning": "kernels.linear",
}

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}

# Largest relative error against float64 of the same rounded inputs, of the whole output and of its
# worst row. Where float32 is multiplied as tf32, the gate is tf32's.
GATES = {"float64": 1e-12, "float32": 5e-6, "tf32": 1.5e-3, "float16": 1.5e-3, "bfloat16": 1e-2}


@dataclass(frozen=True)
class Case:
    """One kernel on one shape.

    kernel: a name of `MODULES`. dtype: format of the inputs and outputs, a name of `DTYPES`.
    shape: sizes by name (B, H, G, P, M, D; decode B, H, G, M, D; lightning B, H, T, E, F).
    mask: `causal` (0 or 1), `window` and `sinks` in keys, 0 = none.
    tile: `block_m`, `block_n` and what else the kernel takes; `warps` and `stages` of the launch.
    order: "rows" = blocks of queries fastest in the grid, "heads" = heads fastest.
    inputs: "random" = normal; "needle" = each query's softmax is dominated by one key.
    Raises ValueError where a field has no such value.
    """

    kernel: str
    dtype: str
    shape: Mapping[str, int]
    mask: Mapping[str, int] = field(default_factory=dict)
    tile: Mapping[str, int] = field(default_factory=dict)
    order: str = "rows"
    seed: int = 0
    inputs: str = "random"

    def __post_init__(self) -> None:
        choices = {
            "kernel": tuple(MODULES),
            "dtype": tuple(DTYPES),
            "order": ("rows", "heads"),
            "inputs": ("random", "needle"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: {getattr(self, name)!r} is none of {', '.join(known)}")
        unknown = set(self.mask) - {"causal", "window", "sinks"}
        if unknown:
            raise ValueError(f"mask: {', '.join(sorted(unknown))} is none of causal, window, sinks")
        for size, value in self.shape.items():
            if value < 1:
                raise ValueError(f"shape: {size} = {value} is below 1")
        if min(self.mask.values(), default=0) < 0:
            raise ValueError(f"mask: a negative number in {dict(self.mask)}")

    @property
    def name(self) -> str:
        """Every field in one word: equal cases have equal names, different ones different."""

        def numbers(given: Mapping[str, int], join: str) -> str:
            return join.join(f"{key}{int(given[key])}" for key in sorted(given))

        parts = [self.kernel, self.dtype, numbers(self.shape, "")]
        parts += [numbers(self.mask, "_"), numbers(self.tile, "_")]
        parts += [self.order, self.inputs, f"seed{self.seed}"]
        return "-".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Case:
        """Raises ValueError for a field that a case does not have."""
        names = [f.name for f in dataclasses.fields(cls)]
        unknown = set(given) - set(names)
        if unknown:
            raise ValueError(f"case: {', '.join(sorted(unknown))} is none of {', '.join(names)}")
        missing = {"kernel", "dtype", "shape"} - set(given)
        if missing:
            raise ValueError(f"case: without {', '.join(sorted(missing))}")
        return cls(**given)


@dataclass(frozen=True)
class Launch:
    """One launch of a Triton function.

    function: the `@triton.jit` function. grid: programs per axis, program_id(0) first.
    arguments: tensors and numbers by parameter. constants: the `tl.constexpr` parameters.
    """

    function: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    constants: dict[str, Any]
    warps: int
    stages: int

    @property
    def name(self) -> str:
        """The Python function's name, which is also the compiled kernel's."""
        return str(self.function.fn.__name__)

    def __call__(self) -> None:
        self.function[self.grid](
            **self.arguments, **self.constants, num_warps=self.warps, num_stages=self.stages
        )


@dataclass(frozen=True)
class Plan:
    """What a kernel does for a case: the tensors it writes, by name, and its launches in order."""

    written: Tensors
    launches: list[Launch]


@dataclass(frozen=True)
class Kernel:
    """How a module offers its kernel; each module of `MODULES` has one as `KERNEL`.

    outputs: the tensors whose numbers are checked.
    inputs: draws the tensors read, by a CPU generator from case.seed, and moves them: the same
      numbers on every device. Raises ValueError for a case that the kernel cannot run.
    plan: allocates what is written and lists the launches; `meta` tensors do, too, if nothing is
      launched.
    reference: the outputs in float64, from the same rounded inputs, without any tiling.
    """

    name: str
    outputs: tuple[str, ...]
    inputs: Callable[[Case, str], Tensors]
    plan: Callable[[Case, Tensors], Plan]
    reference: Callable[[Case, Tensors], Tensors]

    def run(self, case: Case, tensors: Tensors) -> Tensors:
        """Launches, and returns what was written: outputs and intermediate tensors by name."""
        plan = self.plan(case, tensors)
        for launch in plan.launches:
            launch()
        return plan.written


def kernel(name: str) -> Kernel:
    """The kernel of that name, its module imported (and Triton with it)."""
    offered = importlib.import_module(MODULES[name]).KERNEL
    assert isinstance(offered, Kernel)
    return offered


def unwritten(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor of NaN, so that what no program stores shows in the numbers."""
    return torch.full(shape, math.nan, dtype=dtype, device=device)


def power_of_two(what: str, value: int, least: int = 16) -> None:
    """Raises ValueError unless `value` is a power of two, `least` or more."""
    if value < least or value & (value - 1):
        raise ValueError(f"{what}: {value} is no power of two from {least} on")


def gate(case: Case) -> float:
    """Largest error, of the whole output and of its worst row, that a case may have."""
    return GATES[case.dtype]


def errors(name: str, output: torch.Tensor, reference: torch.Tensor) -> dict[str, float]:
    """Errors of an output against its float64 reference of the same shape.

    "global": norm of the difference over norm of the reference. "worst_row": the largest such
    quotient of a row (last axis); for LSE, whose elements are logarithms, the largest absolute
    error over max(1, |reference|). NaN where the output holds one.
    """
    difference = output.double() - reference
    whole = difference.norm() / reference.norm()
    if name.startswith("LSE"):
        worst = (difference.abs() / reference.abs().clamp(min=1.0)).max()
    else:
        worst = (difference.norm(dim=-1) / reference.norm(dim=-1)).max()
    return {"global": float(whole), "worst_row": float(worst)}
