"""Linear attention with decay in chunks (Lightning, arXiv 2401.04658): one launch.

O_t = q_t sum_{s <= t} lambda_h^(t - s) k_s v_s^T with lambda_h = exp(-slope_h): no softmax, no
scale. Inside a chunk of positions the product is taken under the decaying mask; what came before
is held in a state [E, F].

Shapes: Q, K [B, H, T, E]; V, O [B, H, T, F]; slopes [H], float32. The state fills registers: on
sm_90 16-bit formats of E = 128 do not spill with chunk 64 and block_f 64, float32 of E = 64 with
chunk 32 and block_f 32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from kernels.cases import DTYPES, Case, Kernel, Launch, Plan, Tensors, power_of_two, unwritten


@triton.jit
def lightning(
    q_ptr,
    k_ptr,
    v_ptr,
    slopes_ptr,
    o_ptr,
    positions,
    key_width: tl.constexpr,
    value_width: tl.constexpr,
    chunk: tl.constexpr,
    block_f: tl.constexpr,
):
    """All chunks of one head, `block_f` columns of its values. Grid (F / block_f, H, B).

    The state is sum_s lambda^(t - s) k_s v_s^T for the last position t of the chunk before. No
    exponent is above 0, so that no decay overflows.
    """
    h = tl.program_id(1)
    head = (tl.program_id(2) * tl.num_programs(1) + h).to(tl.int64)
    q_ptr += head * positions * key_width
    k_ptr += head * positions * key_width
    v_ptr += head * positions * value_width
    o_ptr += head * positions * value_width
    rate = tl.load(slopes_ptr + h) * -1.4426950408889634  # log2(lambda)

    i = tl.arange(0, chunk)
    e = tl.arange(0, key_width)
    f = tl.program_id(0) * block_f + tl.arange(0, block_f)
    # Above the diagonal the exponent would be positive: it is set to 0 before and left out after.
    below = i[:, None] >= i[None, :]
    inside = tl.where(below, i[:, None] - i[None, :], 0).to(tl.float32)
    inside = tl.where(below, tl.exp2(rate * inside), 0.0)
    since_state = tl.exp2(rate * (i + 1).to(tl.float32))
    until_end = tl.exp2(rate * (chunk - 1 - i).to(tl.float32))
    whole = tl.exp2(rate * chunk)

    state = tl.zeros([key_width, block_f], tl.float32)
    for first in range(0, positions, chunk):
        t = first + i
        exists = t[:, None] < positions
        offset = t[:, None] * key_width + e[None, :]
        q = tl.load(q_ptr + offset, mask=exists, other=0.0)
        k = tl.load(k_ptr + offset, mask=exists, other=0.0)
        offset = t[:, None] * value_width + f[None, :]
        v = tl.load(v_ptr + offset, mask=exists, other=0.0)
        o = tl.dot(q, state.to(q.dtype), input_precision="ieee") * since_state[:, None]
        score = tl.dot(q, tl.trans(k), input_precision="ieee") * inside
        o = tl.dot(score.to(v.dtype), v, o, input_precision="ieee")
        faded = (k * until_end[:, None]).to(k.dtype)
        state = tl.dot(tl.trans(faded), v, state * whole, input_precision="ieee")
        tl.store(o_ptr + offset, o.to(o_ptr.dtype.element_ty), mask=exists)


def _check(case: Case) -> None:
    """Raises ValueError for a case that this kernel cannot run."""
    if sorted(case.shape) != sorted("BHTEF"):
        raise ValueError(f"shape: {dict(case.shape)} is not B, H, T, E, F")
    if any(case.mask.values()):
        raise ValueError("lightning: has no mask but its decay")
    if case.order != "rows":
        raise ValueError("lightning: has one order of its grid")
    if case.inputs != "random":
        raise ValueError("lightning: without a softmax no key can dominate")
    power_of_two("shape: E", case.shape["E"])
    power_of_two("tile: chunk", case.tile.get("chunk", 0))
    power_of_two("tile: block_f", case.tile.get("block_f", 0))
    if case.shape["F"] % case.tile["block_f"]:
        raise ValueError(
            f"shape: F = {case.shape['F']} is no multiple of block_f = {case.tile['block_f']}"
        )
    if case.shape["T"] * max(case.shape["E"], case.shape["F"]) >= 2**31:
        raise ValueError("shape: the offsets inside one head exceed 32 bits")


def inputs(case: Case, device: str) -> Tensors:
    """Q, K, V, normal numbers drawn on the CPU and moved, and slopes.

    Slope h of H is 2^(-8 (h + 1) / H), the slopes of arXiv 2108.12409. Raises ValueError for a
    case that this kernel cannot run.
    """
    _check(case)
    batch, heads, positions, key_width, value_width = (case.shape[size] for size in "BHTEF")
    draw = torch.Generator().manual_seed(case.seed)
    drawn = {
        name: torch.randn(batch, heads, positions, width, generator=draw).to(DTYPES[case.dtype])
        for name, width in (("Q", key_width), ("K", key_width), ("V", value_width))
    }
    drawn["slopes"] = torch.exp2(-8.0 * torch.arange(1, heads + 1) / heads)
    return {name: t.to(device) for name, t in drawn.items()}


def plan(case: Case, tensors: Tensors) -> Plan:
    """One launch over blocks of values, heads and batch; writes O."""
    _check(case)
    shape, tile = case.shape, case.tile
    v = tensors["V"]
    o = unwritten(tuple(v.shape), v.dtype, v.device)
    launch = Launch(
        function=lightning,
        grid=(shape["F"] // tile["block_f"], shape["H"], shape["B"]),
        arguments={
            "q_ptr": tensors["Q"],
            "k_ptr": tensors["K"],
            "v_ptr": v,
            "slopes_ptr": tensors["slopes"],
            "o_ptr": o,
            "positions": shape["T"],
        },
        constants={
            "key_width": shape["E"],
            "value_width": shape["F"],
            "chunk": tile["chunk"],
            "block_f": tile["block_f"],
        },
        # As `attention.warps`, with the chunk's positions for the queries.
        warps=tile.get("warps", 8 if v.element_size() == 4 else max(tile["chunk"] // 16, 4)),
        stages=tile.get("stages", 2),
    )
    return Plan(written={"O": o}, launches=[launch])


def reference(case: Case, tensors: Tensors) -> Tensors:
    """O in float64, from the dense matrix of decays."""
    t = torch.arange(case.shape["T"], device=tensors["Q"].device)
    distance = t[:, None] - t[None, :]
    q, k, v = (tensors[name].double() for name in "QKV")
    o = torch.empty_like(v)
    for h, slope in enumerate(tensors["slopes"].double()):
        decay = torch.where(distance >= 0, torch.exp(-slope * distance), 0.0)
        o[:, h] = (q[:, h] @ k[:, h].transpose(-1, -2) * decay) @ v[:, h]
    return {"O": o}


KERNEL = Kernel("lightning", ("O",), inputs, plan, reference)
