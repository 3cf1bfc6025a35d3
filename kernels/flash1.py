"""Attention with tiles of keys as the outer loop: the order of FlashAttention-1.

arXiv 2205.14135, Algorithm 1: a tile of keys and values stays while the blocks of queries that see
a key of it pass, each with its running output ON (normalised after every tile), maximum RM and
denominator RD, float32, in global memory. They are read except at a block's first visit, which is
that of tile 0, and written except at its last, where O is written instead. One program per head.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from kernels import attention
from kernels.cases import Case, Kernel, Launch, Plan, Tensors, unwritten


@triton.jit
def flash1(
    q_ptr,
    k_ptr,
    v_ptr,
    on_ptr,
    rm_ptr,
    rd_ptr,
    o_ptr,
    queries,
    keys,
    heads,
    scale_log2,
    causal: tl.constexpr,
    ragged: tl.constexpr,
    width: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
):
    """One head. RM is in exponents of 2: the scores times scale_log2."""
    head = (tl.program_id(1) * heads + tl.program_id(0)).to(tl.int64)
    q_ptr += head * queries * width
    o_ptr += head * queries * width
    on_ptr += head * queries * width
    rm_ptr += head * queries
    rd_ptr += head * queries
    k_ptr += head * keys * width
    v_ptr += head * keys * width
    d = tl.arange(0, width)
    shift = keys - queries

    for j in range(0, tl.cdiv(keys, block_n)):
        key = j * block_n + tl.arange(0, block_n)
        in_tile = key[:, None] * width + d[None, :]
        k = tl.load(k_ptr + in_tile, mask=key[:, None] < keys, other=0.0)
        v = tl.load(v_ptr + in_tile, mask=key[:, None] < keys, other=0.0)
        first_block = 0
        if causal:
            first_block = tl.maximum(j * block_n - shift, 0) // block_m
        for i in range(first_block, tl.cdiv(queries, block_m)):
            row = i * block_m + tl.arange(0, block_m)
            exists = row < queries
            in_block = row[:, None] * width + d[None, :]
            last_key = keys - 1
            if causal:
                last_key = tl.minimum((i + 1) * block_m, queries) - 1 + shift
            again = exists & (j > 0)
            done = exists & (j == last_key // block_n)
            kept = exists & (j < last_key // block_n)

            q = tl.load(q_ptr + in_block, mask=exists[:, None], other=0.0)
            maximum = tl.load(rm_ptr + row, mask=again, other=-1.0e30)
            denominator = tl.load(rd_ptr + row, mask=again, other=0.0)
            o = tl.load(on_ptr + in_block, mask=again[:, None], other=0.0)

            score = tl.dot(q, tl.trans(k), input_precision="ieee")
            if causal:
                score = tl.where(key[None, :] <= row[:, None] + shift, score, float("-inf"))
            elif ragged:
                score = tl.where(key[None, :] < keys, score, float("-inf"))
            above = tl.maximum(maximum, tl.max(score, 1) * scale_log2)
            p = tl.exp2(score * scale_log2 - above[:, None])
            before = denominator * tl.exp2(maximum - above)
            denominator = before + tl.sum(p, 1)
            product = tl.dot(p.to(v.dtype), v, o * before[:, None], input_precision="ieee")
            o = product / denominator[:, None]

            # An element may be loaded by several threads; all have it before one overwrites it.
            tl.debug_barrier()
            tl.store(rm_ptr + row, above, mask=kept)
            tl.store(rd_ptr + row, denominator, mask=kept)
            tl.store(on_ptr + in_block, o, mask=kept[:, None])
            tl.store(o_ptr + in_block, o.to(o_ptr.dtype.element_ty), mask=done[:, None])
        # The next tile loads what this one stored, an element perhaps in another thread: each
        # access is laid out over the threads as suits it.
        tl.debug_barrier()


def _check(case: Case) -> None:
    attention.check(case, groups=False)


def inputs(case: Case, device: str) -> Tensors:
    """Q, K, V; see `attention.inputs`. Raises ValueError for windows and for groups."""
    _check(case)
    return attention.inputs(case, device)


def plan(case: Case, tensors: Tensors) -> Plan:
    """One launch over heads and batch; writes O, and ON, RM, RD on the way."""
    _check(case)
    shape, tile = case.shape, case.tile
    q = tensors["Q"]
    rows = (shape["B"], shape["H"], shape["P"])
    written = {
        "O": unwritten(tuple(q.shape), q.dtype, q.device),
        "ON": unwritten(tuple(q.shape), torch.float32, q.device),
        "RM": unwritten(rows, torch.float32, q.device),
        "RD": unwritten(rows, torch.float32, q.device),
    }
    launch = Launch(
        function=flash1,
        grid=(shape["H"], shape["B"]),
        arguments={
            "q_ptr": q,
            "k_ptr": tensors["K"],
            "v_ptr": tensors["V"],
            "on_ptr": written["ON"],
            "rm_ptr": written["RM"],
            "rd_ptr": written["RD"],
            "o_ptr": written["O"],
            "queries": shape["P"],
            "keys": shape["M"],
            "heads": shape["H"],
            "scale_log2": attention.scale_log2(case),
        },
        constants={
            "causal": bool(case.mask.get("causal")),
            "ragged": shape["M"] % tile["block_n"] != 0,
            "width": shape["D"],
            "block_m": tile["block_m"],
            "block_n": tile["block_n"],
        },
        warps=tile.get("warps", attention.warps(case)),
        # No load runs ahead of its iteration, and so none ahead of a store it depends on.
        stages=tile.get("stages", 1),
    )
    return Plan(written, [launch])


def reference(case: Case, tensors: Tensors) -> Tensors:
    """O in float64."""
    return {"O": attention.reference(case, tensors)["O"]}


KERNEL = Kernel("flash1", ("O",), inputs, plan, reference)
