"""One-pass attention over a list of blocks of keys for each block of queries: one launch.

The loop of the dense kernel (arXiv 2307.08691, Algorithm 1), its blocks of keys read from a
table (block-sparse attention, arXiv 2205.14135, section 3.3).

Shapes: Q, O [B, H, P, D]; K, V [B, G, M, D]; LSE [B, H, P]; `counts` [H, P blocks] and `blocks`
[H, P blocks, longest list], int32, each list ascending and filled up with -1. Head h reads group
h * G // H. A list is kept whole, or under causal (query p at position p + M - P) below and on the
diagonal: then it names all blocks that the diagonal cuts, and none above.
"""

from __future__ import annotations

import itertools

import torch
import triton
import triton.language as tl

from kernels import attention
from kernels.cases import DTYPES, Case, Kernel, Launch, Plan, Tensors, unwritten
from kernels.softmax import carry, natural


@triton.jit
def block_sparse(
    q_ptr,
    k_ptr,
    v_ptr,
    counts_ptr,
    blocks_ptr,
    o_ptr,
    lse_ptr,
    queries,
    keys,
    groups,
    longest,
    scale_log2,
    causal: tl.constexpr,
    ragged: tl.constexpr,
    heads_first: tl.constexpr,
    width: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
):
    """One block of queries of one head. Grid (P blocks, H, B), or (H, P blocks, B)."""
    if heads_first:
        h = tl.program_id(0)
        i = tl.program_id(1)
        heads = tl.num_programs(0)
        lists = tl.num_programs(1)
    else:
        i = tl.program_id(0)
        h = tl.program_id(1)
        lists = tl.num_programs(0)
        heads = tl.num_programs(1)
    b = tl.program_id(2)
    # All heads together may exceed 32 bits; one head does not.
    head = (b * heads + h).to(tl.int64)
    group = (b * groups + h * groups // heads).to(tl.int64)
    k_ptr += group * keys * width
    v_ptr += group * keys * width

    count = tl.load(counts_ptr + h * lists + i)
    row = i * block_m + tl.arange(0, block_m)
    exists = row < queries
    d = tl.arange(0, width)
    offset = row[:, None] * width + d[None, :]
    q = tl.load(q_ptr + head * queries * width + offset, mask=exists[:, None], other=0.0)
    position = row + keys - queries

    maximum = tl.full([block_m], float("-inf"), tl.float32)
    denominator = tl.zeros([block_m], tl.float32)
    acc = tl.zeros([block_m, width], tl.float32)
    for visit in range(0, count):
        j = tl.load(blocks_ptr + (h * lists + i) * longest + visit)
        key = j * block_n + tl.arange(0, block_n)
        kv_offset = key[:, None] * width + d[None, :]
        if ragged:
            k = tl.load(k_ptr + kv_offset, mask=key[:, None] < keys, other=0.0)
            v = tl.load(v_ptr + kv_offset, mask=key[:, None] < keys, other=0.0)
        else:
            k = tl.load(k_ptr + kv_offset)
            v = tl.load(v_ptr + kv_offset)
        score = tl.dot(q, tl.trans(k), input_precision="ieee")
        if causal:
            score = tl.where(key[None, :] <= position[:, None], score, float("-inf"))
        elif ragged:
            score = tl.where(key[None, :] < keys, score, float("-inf"))
        acc, denominator, maximum = carry(acc, denominator, maximum, score, v, scale_log2)

    o = (acc / denominator[:, None]).to(o_ptr.dtype.element_ty)
    tl.store(o_ptr + head * queries * width + offset, o, mask=exists[:, None])
    lse = natural(maximum, denominator)
    tl.store(lse_ptr + head * queries + row, lse, mask=exists)


def _check(case: Case) -> None:
    """Raises ValueError for a case that this kernel cannot run."""
    attention.check(case)
    if not 0 < case.tile.get("density", 0) <= 100:
        raise ValueError(f"tile: density = {case.tile.get('density', 0)} is not in 1..100 percent")


def _diagonal(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Per block of queries the first and last block of keys that the causal diagonal cuts."""
    queries, block_m, block_n = case.shape["P"], case.tile["block_m"], case.tile["block_n"]
    top = torch.arange(0, queries, block_m)
    bottom = (top + block_m).clamp(max=queries) - 1
    shift = case.shape["M"] - queries
    return (top + shift) // block_n, (bottom + shift) // block_n


def check_tables(case: Case, tensors: Tensors) -> None:
    """Raises ValueError for lists that are empty, out of order, or name a block that does not
    exist; under causal also for one that lacks a block on the diagonal or names one above.
    """
    counts, blocks = tensors["counts"].cpu().long(), tensors["blocks"].cpu().long()
    total = triton.cdiv(case.shape["M"], case.tile["block_n"])
    first, last = _diagonal(case)
    for h in range(counts.shape[0]):
        for i in range(counts.shape[1]):
            where = f"blocks: the list of head {h}, block of queries {i}"
            if not 1 <= counts[h, i] <= blocks.shape[2]:
                raise ValueError(f"{where} has {int(counts[h, i])} entries")
            listed = blocks[h, i, : int(counts[h, i])].tolist()
            if listed[0] < 0 or listed[-1] >= total:
                raise ValueError(f"{where} leaves the {total} blocks of keys: {listed}")
            if any(a >= b for a, b in itertools.pairwise(listed)):
                raise ValueError(f"{where} does not ascend: {listed}")
            cut = list(range(int(first[i]), int(last[i]) + 1))
            if case.mask.get("causal") and listed[-len(cut) :] != cut:
                raise ValueError(f"{where} does not end with those on the diagonal: {listed}")


def _tables(case: Case, draw: torch.Generator) -> Tensors:
    """Counts and blocks: each block of keys is listed with the tile's `density` (percent)."""
    lists = triton.cdiv(case.shape["P"], case.tile["block_m"])
    total = triton.cdiv(case.shape["M"], case.tile["block_n"])
    drawn = torch.rand(case.shape["H"], lists, total, generator=draw)
    # The least drawn is listed in any case: no list is empty.
    listed = (drawn < case.tile["density"] / 100) | (drawn == drawn.amin(-1, keepdim=True))
    j = torch.arange(total)
    if case.mask.get("causal"):
        first, last = _diagonal(case)
        listed = (listed | (j >= first[:, None])) & (j <= last[:, None])
    counts = listed.sum(-1)
    ascending = torch.where(listed, j, total).sort(-1).values[..., : int(counts.max())]
    blocks = torch.where(ascending < total, ascending, -1)
    return {"counts": counts.to(torch.int32), "blocks": blocks.to(torch.int32)}


def _kept(case: Case, tables: Tensors, h: int) -> torch.Tensor:
    """The mask of one head, [P, M]: true where a listed block holds a key and causal keeps it."""
    counts, blocks = tables["counts"][h], tables["blocks"][h].long()
    total = triton.cdiv(case.shape["M"], case.tile["block_n"])
    i, visit = (torch.arange(blocks.shape[1], device=blocks.device) < counts[:, None]).nonzero(
        as_tuple=True
    )
    listed = torch.zeros(len(counts), total, dtype=torch.bool, device=blocks.device)
    listed[i, blocks[i, visit]] = True
    keep = listed.repeat_interleave(case.tile["block_m"], 0)[: case.shape["P"]]
    keep = keep.repeat_interleave(case.tile["block_n"], 1)[:, : case.shape["M"]]
    return keep & attention.kept(case, torch.arange(case.shape["P"]), blocks.device)


def inputs(case: Case, device: str) -> Tensors:
    """Q, K, V, counts, blocks, drawn on the CPU and moved; see `attention.inputs`.

    Raises ValueError for a case that this kernel cannot run.
    """
    _check(case)
    batch, heads, groups, queries, keys, width = (case.shape[size] for size in "BHGPMD")
    dtype = DTYPES[case.dtype]
    draw = torch.Generator().manual_seed(case.seed)
    tables = _tables(case, draw)
    q = torch.randn(batch, heads, queries, width, generator=draw)
    k = torch.randn(batch, groups, keys, width, generator=draw)
    v = torch.randn(batch, groups, keys, width, generator=draw)
    if case.inputs == "needle":
        chosen = torch.empty(batch, heads, queries, dtype=torch.long)
        for h in range(heads):
            weight = torch.rand(batch, queries, keys, generator=draw)
            chosen[:, h] = weight.masked_fill(~_kept(case, tables, h), -1.0).argmax(-1)
        q, k = attention.needles(k, chosen, dtype)
    drawn = {"Q": q.to(dtype), "K": k.to(dtype), "V": v.to(dtype), **tables}
    return {name: t.to(device) for name, t in drawn.items()}


def plan(case: Case, tensors: Tensors) -> Plan:
    """One launch over blocks of queries, heads and batch; writes O and LSE.

    Raises ValueError for a case that this kernel cannot run, and for wrong lists.
    """
    _check(case)
    if not tensors["blocks"].is_meta:
        check_tables(case, tensors)
    shape, tile = case.shape, case.tile
    q = tensors["Q"]
    o = unwritten(tuple(q.shape), q.dtype, q.device)
    lse = unwritten((shape["B"], shape["H"], shape["P"]), torch.float32, q.device)
    lists = triton.cdiv(shape["P"], tile["block_m"])
    rows = case.order == "rows"
    launch = Launch(
        function=block_sparse,
        grid=(*((lists, shape["H"]) if rows else (shape["H"], lists)), shape["B"]),
        arguments={
            "q_ptr": q,
            "k_ptr": tensors["K"],
            "v_ptr": tensors["V"],
            "counts_ptr": tensors["counts"],
            "blocks_ptr": tensors["blocks"],
            "o_ptr": o,
            "lse_ptr": lse,
            "queries": shape["P"],
            "keys": shape["M"],
            "groups": shape["G"],
            "longest": tensors["blocks"].shape[2],
            "scale_log2": attention.scale_log2(case),
        },
        constants={
            "causal": bool(case.mask.get("causal")),
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


def reference(case: Case, tensors: Tensors) -> Tensors:
    """O and LSE in float64, dense scores under the dense mask."""
    batch, heads, groups = (case.shape[size] for size in "BHG")
    rows = []
    for h in range(heads):
        keep, g = _kept(case, tensors, h), h * groups // heads
        for b in range(batch):
            q, k, v = tensors["Q"][b, h], tensors["K"][b, g], tensors["V"][b, g]
            rows.append(attention.dense(q, k, v, keep))
    o, lse = (
        torch.stack(parts).unflatten(0, (heads, batch)).transpose(0, 1)
        for parts in zip(*rows, strict=True)
    )
    return {"O": o, "LSE": lse}


KERNEL = Kernel("block_sparse", ("O", "LSE"), inputs, plan, reference)
