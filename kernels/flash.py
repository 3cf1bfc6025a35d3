"""One-pass attention, forward: a block of queries stays, tiles of keys and values pass.

The order of FlashAttention-2 (arXiv 2307.08691, Algorithm 1): each program holds one block of
queries, its running maxima, denominators and unnormalised outputs, and divides once at the end.
Masks: none, causal, causal with a window, and with sinks besides the window (arXiv 2309.17453).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from kernels import attention
from kernels.cases import Case, Kernel, Launch, Plan, Tensors, unwritten
from kernels.softmax import carry, natural


@triton.jit
def _tiles(
    acc,
    denominator,
    maximum,
    q,
    k_ptr,
    v_ptr,
    begin,
    end,
    position,
    keys,
    scale_log2,
    masked: tl.constexpr,
    causal: tl.constexpr,
    window: tl.constexpr,
    sinks: tl.constexpr,
    width: tl.constexpr,
    block_n: tl.constexpr,
):
    """The softmax carried on over the tiles [begin, end) of keys."""
    d = tl.arange(0, width)
    for j in range(begin, end):
        key = j * block_n + tl.arange(0, block_n)
        offset = key[:, None] * width + d[None, :]
        if masked:
            k = tl.load(k_ptr + offset, mask=key[:, None] < keys, other=0.0)
        else:
            k = tl.load(k_ptr + offset)
        score = tl.dot(q, tl.trans(k), input_precision="ieee")
        if masked:
            keep = key[None, :] <= position[:, None] if causal else key[None, :] < keys
            if window > 0:
                near = position[:, None] - key[None, :] < window
                if sinks > 0:
                    near = near | (key[None, :] < sinks)
                keep = keep & near
            score = tl.where(keep, score, float("-inf"))
            v = tl.load(v_ptr + offset, mask=key[:, None] < keys, other=0.0)
        else:
            v = tl.load(v_ptr + offset)
        acc, denominator, maximum = carry(acc, denominator, maximum, score, v, scale_log2)
    return acc, denominator, maximum


@triton.jit
def flash_fwd(
    q_ptr,
    k_ptr,
    v_ptr,
    o_ptr,
    lse_ptr,
    queries,
    keys,
    heads,
    groups,
    scale_log2,
    causal: tl.constexpr,
    window: tl.constexpr,
    sinks: tl.constexpr,
    ragged: tl.constexpr,
    heads_first: tl.constexpr,
    width: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
):
    """One block of queries of one head."""
    if heads_first:
        h = tl.program_id(0)
        i = tl.program_id(1)
    else:
        i = tl.program_id(0)
        h = tl.program_id(1)
    b = tl.program_id(2)
    # All heads together may exceed 32 bits; one head does not.
    head = (b * heads + h).to(tl.int64)
    group = (b * groups + h * groups // heads).to(tl.int64)
    k_ptr += group * keys * width
    v_ptr += group * keys * width

    row = i * block_m + tl.arange(0, block_m)
    exists = row < queries
    offset = row[:, None] * width + tl.arange(0, width)[None, :]
    q = tl.load(q_ptr + head * queries * width + offset, mask=exists[:, None], other=0.0)

    # Where the query stands among the keys, and those of the first and last that exist.
    position = row + keys - queries
    top = i * block_m + keys - queries
    bottom = tl.minimum((i + 1) * block_m, queries) - 1 + keys - queries

    end = tl.cdiv(keys, block_n)
    whole_end = keys // block_n
    if causal:
        end = bottom // block_n + 1
        whole_end = (top + 1) // block_n
    begin = 0
    whole_begin = 0
    if window > 0:
        begin = tl.maximum(top - window + 1, 0) // block_n
        whole_begin = tl.minimum(tl.cdiv(tl.maximum(bottom - window + 1, 0), block_n), end)
        whole_end = tl.maximum(whole_end, whole_begin)

    # A finite start: a row that keeps nothing of its first tiles then adds zeros, not NaN.
    maximum = tl.full([block_m], -1.0e30, tl.float32)
    denominator = tl.zeros([block_m], tl.float32)
    acc = tl.zeros([block_m, width], tl.float32)
    # fmt: off
    if sinks > 0:
        sinks_end = tl.minimum(tl.cdiv(sinks, block_n), begin)
        acc, denominator, maximum = _tiles(
            acc, denominator, maximum, q, k_ptr, v_ptr, 0, sinks_end,
            position, keys, scale_log2, True, causal, window, sinks, width, block_n,
        )
    if window > 0:
        acc, denominator, maximum = _tiles(
            acc, denominator, maximum, q, k_ptr, v_ptr, begin, whole_begin,
            position, keys, scale_log2, True, causal, window, sinks, width, block_n,
        )
    acc, denominator, maximum = _tiles(
        acc, denominator, maximum, q, k_ptr, v_ptr, whole_begin, whole_end,
        position, keys, scale_log2, False, causal, window, sinks, width, block_n,
    )
    if causal or ragged:
        acc, denominator, maximum = _tiles(
            acc, denominator, maximum, q, k_ptr, v_ptr, whole_end, end,
            position, keys, scale_log2, True, causal, window, sinks, width, block_n,
        )
    # fmt: on

    o = (acc / denominator[:, None]).to(o_ptr.dtype.element_ty)
    tl.store(o_ptr + head * queries * width + offset, o, mask=exists[:, None])
    lse = natural(maximum, denominator)
    tl.store(lse_ptr + head * queries + row, lse, mask=exists)


def inputs(case: Case, device: str) -> Tensors:
    """Q, K, V; see `attention.inputs`. Raises ValueError for a case that this kernel cannot run."""
    attention.check(case, window=True)
    return attention.inputs(case, device)


def plan(case: Case, tensors: Tensors) -> Plan:
    """One launch over blocks of queries, heads and batch; writes O and LSE."""
    attention.check(case, window=True)
    shape, mask, tile = case.shape, case.mask, case.tile
    q = tensors["Q"]
    o = unwritten(tuple(q.shape), q.dtype, q.device)
    lse = unwritten((shape["B"], shape["H"], shape["P"]), torch.float32, q.device)
    blocks = triton.cdiv(shape["P"], tile["block_m"])
    rows = case.order == "rows"
    launch = Launch(
        function=flash_fwd,
        grid=(*((blocks, shape["H"]) if rows else (shape["H"], blocks)), shape["B"]),
        arguments={
            "q_ptr": q,
            "k_ptr": tensors["K"],
            "v_ptr": tensors["V"],
            "o_ptr": o,
            "lse_ptr": lse,
            "queries": shape["P"],
            "keys": shape["M"],
            "heads": shape["H"],
            "groups": shape["G"],
            "scale_log2": attention.scale_log2(case),
        },
        constants={
            "causal": bool(mask.get("causal")),
            "window": mask.get("window", 0),
            "sinks": mask.get("sinks", 0),
            "ragged": shape["M"] % tile["block_n"] != 0,
            "heads_first": not rows,
            "width": shape["D"],
            "block_m": tile["block_m"],
            "block_n": tile["block_n"],
        },
        warps=tile.get("warps", attention.warps(case)),
        stages=tile.get("stages", 2),
    )
    return Plan(written={"O": o, "LSE": lse}, launches=[launch])


KERNEL = Kernel("flash_fwd", ("O", "LSE"), inputs, plan, attention.reference)
