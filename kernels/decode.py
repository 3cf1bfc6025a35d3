"""Decode with the keys split among programs (FlashDecoding) over a paged cache: two launches.

One query per sequence. The keys of a sequence are cut into `splits` parts of whole pages; each
part gives a normalised partial output and the logarithm of its denominator, and a second launch
weights the parts: with L_i = LSE of part i, O = sum_i exp(L_i) O_i / sum_i exp(L_i), as blocks
of a softmax are merged in arXiv 2205.14135, section 3.1. Pages: arXiv 2309.06180.

Shapes: Q, O [B, H, D]; LSE [B, H]; K, V [pages, page, G, D]; table `pages`
[B, pages per sequence] and `lengths` [B], int32; OP [splits, B, H, D] and LSEP [splits, B, H],
float32. Head h reads group h * G // H. Entries of the table beyond a sequence's keys are -1.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from kernels import attention
from kernels.cases import DTYPES, Case, Kernel, Launch, Plan, Tensors, power_of_two, unwritten
from kernels.softmax import carry, natural


@triton.jit
def splitk_partial(
    q_ptr,
    k_ptr,
    v_ptr,
    pages_ptr,
    lengths_ptr,
    op_ptr,
    lsep_ptr,
    longest,
    table_width,
    scale_log2,
    queries: tl.constexpr,
    rows: tl.constexpr,
    page: tl.constexpr,
    width: tl.constexpr,
):
    """One split of one group of one sequence. Grid (splits, groups, sequences).

    `queries` heads share the group's keys, padded to the `rows` that a dot needs.
    """
    split = tl.program_id(0)
    g = tl.program_id(1)
    b = tl.program_id(2)
    splits = tl.num_programs(0)
    groups = tl.num_programs(1)
    batch = tl.num_programs(2)

    length = tl.load(lengths_ptr + b)
    part = tl.cdiv(tl.cdiv(longest, page), splits)
    begin = split * part
    end = tl.minimum(begin + part, tl.cdiv(length, page))

    row = tl.arange(0, rows)
    exists = row < queries
    d = tl.arange(0, width)
    slot = tl.arange(0, page)
    head = (b * groups + g) * queries + row
    # The partial results of all splits together may exceed 32 bits.
    partial = split.to(tl.int64) * batch * groups * queries + head
    if begin >= end:
        tl.store(lsep_ptr + partial, tl.full([rows], float("-inf"), tl.float32), mask=exists)
    else:
        offset = head[:, None] * width + d[None, :]
        q = tl.load(q_ptr + offset, mask=exists[:, None], other=0.0)
        maximum = tl.full([rows], float("-inf"), tl.float32)
        denominator = tl.zeros([rows], tl.float32)
        acc = tl.zeros([rows, width], tl.float32)
        for j in range(begin, end):
            physical = tl.load(pages_ptr + b * table_width + j).to(tl.int64)
            keep = j * page + slot < length
            kv_offset = ((physical * page + slot) * groups + g)[:, None] * width + d[None, :]
            k = tl.load(k_ptr + kv_offset, mask=keep[:, None], other=0.0)
            score = tl.dot(q, tl.trans(k), input_precision="ieee")
            score = tl.where(keep[None, :], score, float("-inf"))
            v = tl.load(v_ptr + kv_offset, mask=keep[:, None], other=0.0)
            acc, denominator, maximum = carry(acc, denominator, maximum, score, v, scale_log2)
        offset = partial[:, None] * width + d[None, :]
        tl.store(op_ptr + offset, acc / denominator[:, None], mask=exists[:, None])
        tl.store(lsep_ptr + partial, natural(maximum, denominator), mask=exists)


@triton.jit
def splitk_combine(
    op_ptr,
    lsep_ptr,
    lengths_ptr,
    o_ptr,
    lse_ptr,
    longest,
    splits: tl.constexpr,
    parts: tl.constexpr,
    page: tl.constexpr,
    width: tl.constexpr,
):
    """The parts of one head of one sequence, weighted. Grid (heads, sequences).

    `parts` is the power of two that holds `splits`. Parts without keys are not read.
    """
    h = tl.program_id(0)
    b = tl.program_id(1)
    heads = tl.num_programs(0)
    batch = tl.num_programs(1)

    length = tl.load(lengths_ptr + b)
    part = tl.cdiv(tl.cdiv(longest, page), splits)
    used = tl.cdiv(tl.cdiv(length, page), part)

    split = tl.arange(0, parts)
    d = tl.arange(0, width)
    keep = split < used
    head = b * heads + h
    partial = split.to(tl.int64) * batch * heads + head
    lsep = tl.load(lsep_ptr + partial, mask=keep, other=float("-inf"))
    lsep *= 1.4426950408889634  # log2(e)
    maximum = tl.max(lsep, 0)
    weight = tl.exp2(lsep - maximum)
    denominator = tl.sum(weight, 0)
    offset = partial[:, None] * width + d[None, :]
    op = tl.load(op_ptr + offset, mask=keep[:, None], other=0.0)
    o = tl.sum(op * weight[:, None], 0) / denominator
    tl.store(o_ptr + head * width + d, o.to(o_ptr.dtype.element_ty))
    tl.store(lse_ptr + head, natural(maximum, denominator))


def _check(case: Case) -> None:
    """Raises ValueError for a case that this kernel cannot run."""
    if sorted(case.shape) != sorted("BHGMD"):
        raise ValueError(f"shape: {dict(case.shape)} is not B, H, G, M, D")
    if case.shape["H"] % case.shape["G"]:
        raise ValueError(f"shape: H = {case.shape['H']} is no multiple of G = {case.shape['G']}")
    if any(case.mask.values()):
        raise ValueError("splitk: has no mask but the lengths")
    if case.order != "rows":
        raise ValueError("splitk: has one order of its grid")
    power_of_two("shape: D", case.shape["D"])
    power_of_two("tile: page", case.tile.get("page", 0))
    if case.tile.get("splits", 0) < 1:
        raise ValueError(f"tile: splits = {case.tile.get('splits', 0)} is below 1")


def check_tables(case: Case, tensors: Tensors) -> None:
    """Raises ValueError for a length outside 1..M or a page that is used and does not exist."""
    longest, page = case.shape["M"], case.tile["page"]
    lengths, pages = tensors["lengths"].cpu(), tensors["pages"].cpu()
    if lengths.min() < 1 or lengths.max() > longest:
        raise ValueError(f"lengths: {lengths.tolist()} are not all in 1..{longest}")
    used = torch.arange(pages.shape[1]) * page < lengths[:, None]
    wrong = used & ((pages < 0) | (pages >= len(tensors["K"])))
    if wrong.any():
        b, j = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"pages: entry {j} of sequence {b} is {int(pages[b, j])}, of {len(tensors['K'])} pages"
        )


def inputs(case: Case, device: str) -> Tensors:
    """Q, K, V, pages, lengths, drawn on the CPU and moved.

    Lengths are all M, or with tile `ragged` 1 drawn in 1..M with one of them M. Pages stand in
    random order among more than are used; what no key fills holds 10000, which would show.
    Raises ValueError for a case that this kernel cannot run.
    """
    _check(case)
    batch, heads, groups, longest, width = (case.shape[size] for size in "BHGMD")
    page = case.tile["page"]
    dtype = DTYPES[case.dtype]
    draw = torch.Generator().manual_seed(case.seed)
    lengths = torch.full((batch,), longest)
    if case.tile.get("ragged"):
        lengths = torch.randint(1, longest + 1, (batch,), generator=draw)
        lengths[torch.randint(batch, (1,), generator=draw)] = longest
    q = torch.randn(batch, heads, 1, width, generator=draw)
    k = torch.randn(batch, groups, longest, width, generator=draw)
    v = torch.randn(batch, groups, longest, width, generator=draw)
    if case.inputs == "needle":
        chosen = torch.rand(batch, heads, 1, generator=draw) * lengths[:, None, None]
        chosen = torch.minimum(chosen.long(), lengths[:, None, None] - 1)
        q, k = attention.needles(k, chosen, dtype)

    used = torch.arange(triton.cdiv(longest, page)) * page < lengths[:, None]
    count = int(used.sum())
    allocated = count + count // 4 + 1
    pages = torch.full(used.shape, -1, dtype=torch.int32)
    pages[used] = torch.randperm(allocated, generator=draw)[:count].to(torch.int32)
    drawn = {"Q": q[:, :, 0].to(dtype)}
    b, m = (torch.arange(longest) < lengths[:, None]).nonzero(as_tuple=True)
    for name, dense in (("K", k), ("V", v)):
        pool = torch.full((allocated, page, groups, width), 1.0e4, dtype=dtype)
        pool[pages[b, m // page].long(), m % page] = dense[b, :, m].to(dtype)
        drawn[name] = pool
    drawn |= {"pages": pages, "lengths": lengths.to(torch.int32)}
    return {name: t.to(device) for name, t in drawn.items()}


def plan(case: Case, tensors: Tensors) -> Plan:
    """Two launches; writes O and LSE, and OP and LSEP between them.

    Raises ValueError for a case that this kernel cannot run, and for tables that name what does
    not exist.
    """
    _check(case)
    if not tensors["pages"].is_meta:
        check_tables(case, tensors)
    batch, heads, groups, longest, width = (case.shape[size] for size in "BHGMD")
    page, splits = case.tile["page"], case.tile["splits"]
    q = tensors["Q"]
    written = {
        "O": unwritten((batch, heads, width), q.dtype, q.device),
        "LSE": unwritten((batch, heads), torch.float32, q.device),
        "OP": unwritten((splits, batch, heads, width), torch.float32, q.device),
        "LSEP": unwritten((splits, batch, heads), torch.float32, q.device),
    }
    partial = Launch(
        function=splitk_partial,
        grid=(splits, groups, batch),
        arguments={
            "q_ptr": q,
            "k_ptr": tensors["K"],
            "v_ptr": tensors["V"],
            "pages_ptr": tensors["pages"],
            "lengths_ptr": tensors["lengths"],
            "op_ptr": written["OP"],
            "lsep_ptr": written["LSEP"],
            "longest": longest,
            "table_width": tensors["pages"].shape[1],
            "scale_log2": attention.scale_log2(case),
        },
        constants={
            "queries": heads // groups,
            "rows": max(16, triton.next_power_of_2(heads // groups)),
            "page": page,
            "width": width,
        },
        warps=case.tile.get("warps", 4),
        stages=case.tile.get("stages", 2),
    )
    combine = Launch(
        function=splitk_combine,
        grid=(heads, batch),
        arguments={
            "op_ptr": written["OP"],
            "lsep_ptr": written["LSEP"],
            "lengths_ptr": tensors["lengths"],
            "o_ptr": written["O"],
            "lse_ptr": written["LSE"],
            "longest": longest,
        },
        constants={
            "splits": splits,
            "parts": triton.next_power_of_2(splits),
            "page": page,
            "width": width,
        },
        warps=4,
        stages=1,
    )
    return Plan(written=written, launches=[partial, combine])


def reference(case: Case, tensors: Tensors) -> Tensors:
    """O and LSE in float64: the pages gathered first, then dense attention of each head."""
    heads, groups = case.shape["H"], case.shape["G"]
    rows = []
    for b, length in enumerate(tensors["lengths"].tolist()):
        table = tensors["pages"][b, : triton.cdiv(length, case.tile["page"])].long()
        k, v = (tensors[name][table].flatten(0, 1)[:length] for name in "KV")
        keep = torch.ones(1, length, dtype=torch.bool, device=k.device)
        for h in range(heads):
            g = h * groups // heads
            rows.append(attention.dense(tensors["Q"][b, h, None], k[:, g], v[:, g], keep))
    o, lse = (torch.cat(parts).unflatten(0, (-1, heads)) for parts in zip(*rows, strict=True))
    return {"O": o, "LSE": lse}


KERNEL = Kernel("splitk", ("O", "LSE"), inputs, plan, reference)
