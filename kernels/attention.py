"""What the kernels of softmax attention share: checks, seeded inputs, the mask, the reference.

Shapes: Q, O [B, H, P, D]; K, V [B, G, M, D]; LSE [B, H, P]. Head h reads group h * G // H. Masks
align bottom-right: query p stands at position p + M - P among the keys.
"""

from __future__ import annotations

import math

import torch

from kernels.cases import DTYPES, Case, Tensors, power_of_two


def check(case: Case, *, window: bool = False, groups: bool = True) -> None:
    """Raises ValueError for a case that attention cannot have, or that the kernel does not offer.

    window: the kernel offers windows and sinks. groups: it offers G < H.
    """
    missing = [size for size in "BHGPMD" if size not in case.shape]
    if missing or len(case.shape) != 6:
        raise ValueError(f"shape: {dict(case.shape)} is not B, H, G, P, M, D")
    heads, group_count = case.shape["H"], case.shape["G"]
    if heads % group_count:
        raise ValueError(f"shape: H = {heads} is no multiple of G = {group_count}")
    if not groups and heads != group_count:
        raise ValueError(f"{case.kernel}: G = {group_count} must equal H = {heads}")
    for name in ("block_m", "block_n"):
        if name not in case.tile:
            raise ValueError(f"tile: without {name}")
        power_of_two(f"tile: {name}", case.tile[name])
    power_of_two("shape: D", case.shape["D"])
    if max(case.shape["M"], case.shape["P"]) * case.shape["D"] >= 2**31:
        raise ValueError("shape: the offsets inside one head exceed 32 bits")
    mask = case.mask
    if (mask.get("window") or mask.get("sinks")) and not window:
        raise ValueError(f"{case.kernel}: has no window and no sinks")
    if mask.get("window") and not mask.get("causal"):
        raise ValueError("mask: a window without causal")
    if mask.get("sinks") and not mask.get("window"):
        raise ValueError("mask: sinks without a window")
    if mask.get("causal") and case.shape["P"] > case.shape["M"]:
        raise ValueError(
            f"mask: causal with P = {case.shape['P']} queries above M = {case.shape['M']} keys "
            "leaves the first queries without any key"
        )


def _spans(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per query the keys kept: [first, last], and besides them the first `sinks` keys."""
    queries, keys = case.shape["P"], case.shape["M"]
    position = torch.arange(queries) + keys - queries
    last = position if case.mask.get("causal") else torch.full_like(position, keys - 1)
    first = torch.zeros_like(position)
    if case.mask.get("window"):
        first = (position - case.mask["window"] + 1).clamp(min=0)
    sinks = first.clamp(max=case.mask.get("sinks", 0))
    return first, last, sinks


def inputs(case: Case, device: str) -> Tensors:
    """Q, K and V of a case, drawn on the CPU and moved.

    Random: normal numbers. Needle: each query aims at one key drawn among those it keeps, see
    `needles`.
    """
    batch, heads, groups, queries, keys, width = (case.shape[size] for size in "BHGPMD")
    dtype = DTYPES[case.dtype]
    draw = torch.Generator().manual_seed(case.seed)
    q = torch.randn(batch, heads, queries, width, generator=draw)
    k = torch.randn(batch, groups, keys, width, generator=draw)
    v = torch.randn(batch, groups, keys, width, generator=draw)
    if case.inputs == "needle":
        first, last, sinks = _spans(case)
        count = sinks + last - first + 1
        chosen = (torch.rand(batch, heads, queries, generator=draw) * count).long()
        chosen = torch.minimum(chosen, count - 1)
        chosen = torch.where(chosen < sinks, chosen, chosen - sinks + first)
        q, k = needles(k, chosen, dtype)
    return {name: t.to(dtype).to(device) for name, t in (("Q", q), ("K", k), ("V", v))}


def needles(
    k: torch.Tensor, chosen: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Q [B, H, P, D] that aim each at one key, and K [B, G, M, D] scaled and rounded for it.

    chosen: the key of each query, [B, H, P]. Rows of K get the norm sqrt(D), and each query is a
    multiple of its key, so that this key's score stands about 30 above the others' (whose scores
    before the multiple are normal: hardly one reaches 5).
    """
    width = k.shape[-1]
    k = (k * (math.sqrt(width) / k.norm(dim=-1, keepdim=True))).to(dtype).float()
    of_heads = k.repeat_interleave(chosen.shape[1] // k.shape[1], dim=1)
    q = torch.gather(of_heads, 2, chosen[..., None].expand(-1, -1, -1, width))
    return q * (30.0 / (math.sqrt(width) - 5.0 if width > 36 else 1.0)), k


def kept(case: Case, rows: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The mask of some queries: [rows, M], true where a key is kept."""
    position = (rows.to(device) + case.shape["M"] - case.shape["P"])[:, None]
    key = torch.arange(case.shape["M"], device=device)[None, :]
    keep = torch.ones(len(rows), case.shape["M"], dtype=torch.bool, device=device)
    if case.mask.get("causal"):
        keep &= key <= position
    if case.mask.get("window"):
        keep &= (position - key < case.mask["window"]) | (key < case.mask.get("sinks", 0))
    return keep


def reference_rows(
    case: Case, tensors: Tensors, b: int, h: int, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """O [rows, D] and LSE [rows] of some queries of one head, in float64 from the dense scores."""
    g = h * case.shape["G"] // case.shape["H"]
    q = tensors["Q"][b, h, rows.to(tensors["Q"].device)]
    return dense(q, tensors["K"][b, g], tensors["V"][b, g], kept(case, rows, q.device))


def dense(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, keep: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """O [P, D] and LSE [P] in float64 from the scores of all keys and a mask [P, M]."""
    scores = q.double() @ k.double().T / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~keep, -math.inf)
    lse = torch.logsumexp(scores, dim=-1)
    return torch.exp(scores - lse[:, None]) @ v.double(), lse


def reference(case: Case, tensors: Tensors) -> Tensors:
    """O and LSE in float64."""
    every = torch.arange(case.shape["P"])
    heads = [
        reference_rows(case, tensors, b, h, every)
        for b in range(case.shape["B"])
        for h in range(case.shape["H"])
    ]
    leading = (case.shape["B"], case.shape["H"])
    o, lse = (torch.stack(parts) for parts in zip(*heads, strict=True))
    return {"O": o.reshape(*leading, *o.shape[1:]), "LSE": lse.reshape(*leading, -1)}


def scale_log2(case: Case) -> float:
    """1 / sqrt(D) times log2(e): exp(x / sqrt(D)) = exp2(x * scale_log2)."""
    return math.log2(math.e) / math.sqrt(case.shape["D"])


def warps(case: Case) -> int:
    """Warps of a program: a warpgroup per 64 queries, the rows of one wgmma.

    float32 is not multiplied by wgmma, and takes 8 to have registers enough.
    """
    return 8 if case.dtype == "float32" else max(case.tile["block_m"] // 16, 4)
