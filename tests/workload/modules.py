"""Torch modules whose attention is known, for test_traced.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention as by_its_own_name

print("imported: a user's module may print")


class Own(nn.Module):
    """A call of each form."""

    def forward(self, x: torch.Tensor) -> None:
        b, p, _ = x.shape
        q = torch.zeros(b, 8, p, 16, dtype=torch.bfloat16)
        k, v = torch.zeros(b, 2, 24, 16).bfloat16(), torch.zeros(b, 2, 24, 32).bfloat16()
        for _ in range(3):
            functional.scaled_dot_product_attention(q, k, v, enable_gqa=True, is_causal=True)
        by_its_own_name(q, k, v, attn_mask=torch.ones(p, 24, dtype=torch.bool), enable_gqa=True)
        one = torch.zeros(5, 7)
        by_its_own_name(one, one, one)
        few, many = torch.zeros(1, 1, p, 16), torch.zeros(b, 4, p, 16)
        by_its_own_name(many, few, few)
        by_its_own_name(many[:1], many[:, :1], many[:, :1])


def own() -> Any:
    return Own(), torch.zeros(2, 12, 4)


class Ready(nn.Module):
    """torch's own modules; weights: whether the first is asked for them."""

    def __init__(self, weights: bool = True) -> None:
        super().__init__()
        self.weights = weights
        self.cross = nn.MultiheadAttention(64, 4, batch_first=True, add_bias_kv=True)
        layer = nn.TransformerEncoderLayer(64, 4, batch_first=True)
        self.stack = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        y, w = self.cross(x, memory, memory, need_weights=self.weights)
        assert (None if w is None else w.shape) == ((2, 12, 21) if self.weights else None)
        mask = nn.Transformer.generate_square_subsequent_mask(12)
        return self.stack(y, mask=mask, is_causal=True) + y


def ready() -> Any:
    return Ready().eval(), (torch.zeros(2, 12, 64),), {"memory": torch.zeros(2, 20, 64)}


def without_weights() -> Any:
    return Ready(False).train(), (torch.zeros(2, 12, 64),), {"memory": torch.zeros(2, 20, 64)}


def compiled() -> Any:
    module, *given = ready()
    return torch.compile(module, fullgraph=True), *given


def large() -> Any:
    """2.6 TB of weights."""
    layer = nn.TransformerEncoderLayer(1 << 17, 1024, 1 << 19, batch_first=True)
    stack = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    return stack, torch.zeros(1, 4096, 1 << 17)


class Looks(nn.Module):
    def forward(self, x: torch.Tensor) -> None:
        if x.sum().item() == 0:
            by_its_own_name(x, x, x)


def looks() -> Any:
    return Looks(), torch.zeros(4, 8, 16)


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(100, 32)

    def forward(self, tokens: torch.Tensor) -> None:
        x = self.table(tokens).unsqueeze(1)
        by_its_own_name(x, x, x)


def no_attention() -> Any:
    return nn.Linear(4, 4), torch.zeros(2, 4)


def no_module() -> Any:
    return "module", 3


def refused() -> Any:
    return Ready(), torch.zeros(1, 2, 3), {"memory": torch.zeros(1, 2, 3)}


def leaves() -> Any:
    raise SystemExit(3)
