"""bfloat16, which Triton's interpreter rounds wrongly: the same roundings made by torch.

The one-pass algorithm, tile by tile, with probabilities and outputs rounded where the kernel rounds
them, and torch's own attention, within the gate of bfloat16; the references hold for both.
"""

from __future__ import annotations

import math

import pytest
import torch

from kernels import attention
from kernels.cases import Case, Tensors, errors, gate

SHAPE = {"B": 1, "H": 4, "G": 2, "P": 96, "M": 160, "D": 64}
MASKS = ({}, {"causal": 1}, {"causal": 1, "window": 40}, {"causal": 1, "window": 40, "sinks": 4})
CASES = [
    Case("flash_fwd", "bfloat16", SHAPE, mask, {"block_m": 32, "block_n": 32}, inputs=inputs)
    for mask in MASKS
    for inputs in ("random", "needle")
]


def one_pass(case: Case, tensors: Tensors, drop: int | None = None) -> Tensors:
    """O and LSE by tiles of keys, in float32 with the kernel's roundings. drop: a key left out."""
    q, k, v = (tensors[name].float() for name in "QKV")
    times = case.shape["H"] // case.shape["G"]
    k, v = (t.repeat_interleave(times, dim=1) for t in (k, v))
    keep = attention.kept(case, torch.arange(case.shape["P"]), q.device)
    if drop is not None:
        keep[:, drop] = False
    scale = math.log2(math.e) / math.sqrt(case.shape["D"])
    maximum = torch.full(q.shape[:-1], -1e30)
    total, out = torch.zeros_like(maximum), torch.zeros_like(q)
    for begin in range(0, case.shape["M"], case.tile["block_n"]):
        tile = slice(begin, begin + case.tile["block_n"])
        score = (q @ k[:, :, tile].mT * scale).masked_fill(~keep[:, tile], -math.inf)
        above = torch.maximum(maximum, score.amax(-1))
        p = torch.exp2(score - above[..., None])
        again = torch.exp2(maximum - above)
        total = total * again + p.sum(-1)
        out = out * again[..., None] + p.bfloat16().float() @ v[:, :, tile]
        maximum = above
    lse = (maximum + torch.log2(total)) * math.log(2)
    return {"O": (out / total[..., None]).bfloat16(), "LSE": lse}


def worst(case: Case, outputs: Tensors, references: Tensors) -> float:
    found = (errors(name, outputs[name], references[name]) for name in outputs)
    return max(max(error.values()) for error in found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.mask} {case.inputs}")
def test_roundings_of_the_kernel_stay_within_the_gate(case: Case) -> None:
    tensors = attention.inputs(case, "cpu")
    references = attention.reference(case, tensors)
    found = worst(case, one_pass(case, tensors), references)
    assert found <= gate(case)
    if case.inputs == "random":
        assert found > 1e-4, "nothing was rounded"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.mask} {case.inputs}")
def test_attention_of_torch_stays_within_the_gate(case: Case) -> None:
    tensors = attention.inputs(case, "cpu")
    keep = attention.kept(case, torch.arange(case.shape["P"]), torch.device("cpu"))
    out = torch.nn.functional.scaled_dot_product_attention(
        tensors["Q"], tensors["K"], tensors["V"], attn_mask=keep, enable_gqa=True
    )
    references = {"O": attention.reference(case, tensors)["O"]}
    assert worst(case, {"O": out}, references) <= gate(case)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.inputs == "needle"], ids=lambda c: f"{c.mask}"
)
def test_a_dropped_key_shows_in_needles(case: Case) -> None:
    tensors = attention.inputs(case, "cpu")
    last = tensors["Q"][0, 0, -1].float() @ tensors["K"][0, 0].float().T
    outputs = one_pass(case, tensors, drop=int(last.argmax()))
    assert worst(case, outputs, attention.reference(case, tensors)) > 0.5
