"""Attention in three launches, with the scores and probabilities of all pairs in memory.

S = Q K^T / sqrt(D) and A = softmax(S) are written in the input's format. Every pair is computed and
read also under a causal mask, which the softmax applies to what it has read, as libraries do that
compose attention of such parts. Shapes: Q, O [B, H, P, D]; K, V [B, G, M, D]; S, A [B, H, P, M].
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from kernels import attention
from kernels.cases import Case, Kernel, Launch, Plan, Tensors, power_of_two, unwritten


@triton.jit
def scores(
    q_ptr,
    k_ptr,
    s_ptr,
    queries,
    keys,
    heads,
    groups,
    scale,
    heads_first: tl.constexpr,
    width: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
):
    """One tile of S of one head; the heads of all sequences count as one axis of the grid."""
    if heads_first:
        head = tl.program_id(0)
        i = tl.program_id(1)
        j = tl.program_id(2)
    else:
        i = tl.program_id(0)
        j = tl.program_id(1)
        head = tl.program_id(2)
    group = (head // heads * groups + head % heads * groups // heads).to(tl.int64)
    first_row = head.to(tl.int64) * queries + i * block_m
    m = tl.arange(0, block_m)
    n = tl.arange(0, block_n)
    d = tl.arange(0, width)
    row = (i * block_m + m < queries)[:, None]
    key = j * block_n + n < keys
    q = tl.load(q_ptr + first_row * width + m[:, None] * width + d[None, :], mask=row, other=0.0)
    first_key = group * keys + j * block_n
    k_at = first_key * width + n[:, None] * width + d[None, :]
    k = tl.load(k_ptr + k_at, mask=key[:, None], other=0.0)
    s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    s_at = first_row * keys + j * block_n + m[:, None] * keys + n[None, :]
    tl.store(s_ptr + s_at, s.to(s_ptr.dtype.element_ty), mask=row & key[None, :])


@triton.jit
def softmax(
    s_ptr,
    a_ptr,
    queries,
    keys,
    causal: tl.constexpr,
    heads_first: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
):
    """Some whole rows of A of one head; block: M rounded up to a power of two."""
    i = tl.program_id(1 if heads_first else 0)
    head = tl.program_id(0 if heads_first else 1)
    first_row = head.to(tl.int64) * queries + i * rows
    row = i * rows + tl.arange(0, rows)
    key = tl.arange(0, block)
    at = first_row * keys + tl.arange(0, rows)[:, None] * keys + key[None, :]
    exists = (row < queries)[:, None] & (key < keys)[None, :]
    s = tl.load(s_ptr + at, mask=exists, other=float("-inf")).to(tl.float32)
    if causal:
        s = tl.where(key[None, :] <= (row + keys - queries)[:, None], s, float("-inf"))
    p = tl.exp2((s - tl.max(s, 1)[:, None]) * 1.4426950408889634)
    a = p / tl.sum(p, 1)[:, None]
    tl.store(a_ptr + at, a.to(a_ptr.dtype.element_ty), mask=exists)


@triton.jit
def values(
    a_ptr,
    v_ptr,
    o_ptr,
    queries,
    keys,
    heads,
    groups,
    heads_first: tl.constexpr,
    width: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
):
    """One block of O of one head."""
    i = tl.program_id(1 if heads_first else 0)
    head = tl.program_id(0 if heads_first else 1)
    group = (head // heads * groups + head % heads * groups // heads).to(tl.int64)
    first_row = head.to(tl.int64) * queries + i * block_m
    m = tl.arange(0, block_m)
    d = tl.arange(0, width)
    row = (i * block_m + m < queries)[:, None]
    a_ptr += first_row * keys
    v_ptr += group * keys * width
    acc = tl.zeros([block_m, width], tl.float32)
    for j in range(0, tl.cdiv(keys, block_n)):
        key = j * block_n + tl.arange(0, block_n)
        a_at = m[:, None] * keys + key[None, :]
        a = tl.load(a_ptr + a_at, mask=row & (key < keys)[None, :], other=0.0)
        v_at = key[:, None] * width + d[None, :]
        v = tl.load(v_ptr + v_at, mask=(key < keys)[:, None], other=0.0)
        acc = tl.dot(a, v, acc, input_precision="ieee")
    o_at = first_row * width + m[:, None] * width + d[None, :]
    tl.store(o_ptr + o_at, acc.to(o_ptr.dtype.element_ty), mask=row)


def _check(case: Case) -> None:
    attention.check(case)
    power_of_two("tile: rows", case.tile.get("rows", 1), least=1)
    if case.tile["block_m"] * case.shape["M"] >= 2**31:
        raise ValueError("shape: the offsets inside one block of scores exceed 32 bits")


def inputs(case: Case, device: str) -> Tensors:
    """Q, K, V; see `attention.inputs`. Raises ValueError for a case that these kernels cannot run.

    tile: `rows` = rows per program of the softmax, a power of two, 1 by default.
    """
    _check(case)
    return attention.inputs(case, device)


def plan(case: Case, tensors: Tensors) -> Plan:
    """The launches `scores`, `softmax`, `values`; they write S, A and O."""
    _check(case)
    shape, tile = case.shape, case.tile
    q = tensors["Q"]
    pairs = (shape["B"], shape["H"], shape["P"], shape["M"])
    # Scores of 16 bits would cost more than the gates allow: half a unit in the last place of 8.
    s, a = (unwritten(pairs, dtype, q.device) for dtype in (torch.float32, q.dtype))
    o = unwritten(tuple(q.shape), q.dtype, q.device)
    heads_first = case.order == "heads"
    rows = tile.get("rows", 1)
    row_blocks = triton.cdiv(shape["P"], tile["block_m"])
    key_blocks = triton.cdiv(shape["M"], tile["block_n"])

    def grid(*blocks: int) -> tuple[int, ...]:
        heads = shape["B"] * shape["H"]
        return (heads, *blocks) if heads_first else (*blocks, heads)

    sizes = {"queries": shape["P"], "keys": shape["M"]}
    grouped = {**sizes, "heads": shape["H"], "groups": shape["G"]}
    constants = {
        "heads_first": heads_first,
        "width": shape["D"],
        "block_m": tile["block_m"],
        "block_n": tile["block_n"],
    }
    warps, stages = tile.get("warps", attention.warps(case)), tile.get("stages", 2)
    launches = [
        Launch(
            function=scores,
            grid=grid(row_blocks, key_blocks),
            arguments={
                "q_ptr": q,
                "k_ptr": tensors["K"],
                "s_ptr": s,
                **grouped,
                "scale": 1 / math.sqrt(shape["D"]),
            },
            constants=constants,
            warps=warps,
            stages=stages,
        ),
        Launch(
            function=softmax,
            grid=grid(triton.cdiv(shape["P"], rows)),
            arguments={"s_ptr": s, "a_ptr": a, **sizes},
            constants={
                "causal": bool(case.mask.get("causal")),
                "heads_first": heads_first,
                "rows": rows,
                "block": triton.next_power_of_2(shape["M"]),
            },
            warps=8,
            stages=1,
        ),
        Launch(
            function=values,
            grid=grid(row_blocks),
            arguments={"a_ptr": a, "v_ptr": tensors["V"], "o_ptr": o, **grouped},
            constants=constants,
            warps=warps,
            stages=stages,
        ),
    ]
    return Plan({"S": s, "A": a, "O": o}, launches)


def reference(case: Case, tensors: Tensors) -> Tensors:
    """O in float64."""
    return {"O": attention.reference(case, tensors)["O"]}


KERNEL = Kernel("unfused", ("O",), inputs, plan, reference)
