"""Loops of one kind of work each, in PTX: what a multiprocessor does per clock.

An agent is a group of warps that repeats one `Body` until its time is over and counts how often. A
kernel holds one or two agents per multiprocessor: alone or beside each other in one CTA, or in two
CTAs. Written in PTX so that the loop in the binary is known (`kernels.build.loop_bodies` reads it
back), with every operand in registers or shared memory.

Each agent writes 6 numbers of 64 bits (`FIELDS`). Several agents of one kernel can be run one by
one by the argument `running`: the same binary alone and together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

FIELDS = ("iterations", "sm", "clock_start", "clock_end", "ns_start", "ns_end")
BARRIER = 1  # the first named barrier of the agents; 0 is the CTA's own
CHAINS = 16  # independent chains of dependent operations per thread, so that latency does not show


@dataclass(frozen=True)
class Body:
    """What the threads of an agent repeat.

    threads: of the agent. registers: PTX declarations by type, ("f32", "x", 16) = x0 .. x15.
    prologue, loop, epilogue: PTX lines; `value` holds the agent's input pattern, `tid` its thread.
    sink: a 32-bit register that depends on all that was computed.
    work: what the agent does in one iteration, by name, over all its threads.
    shared: bytes of shared memory that the CTA needs, filled with the pattern.
    """

    name: str
    threads: int
    registers: Sequence[tuple[str, str, int]]
    prologue: Sequence[str]
    loop: Sequence[str]
    epilogue: Sequence[str]
    sink: str
    work: Mapping[str, int]
    shared: int = 0


def _all(register: str, count: int) -> str:
    return "{" + ", ".join(f"{register}{i}" for i in range(count)) + "}"


def wgmma(n: int, warpgroups: int = 1, steps: int = 8) -> Body:
    """Products m64 x n x k16 of bfloat16 from shared memory, accumulating in float32.

    Tiles of 64 columns in the 128-byte swizzle; every warpgroup has its own A, all share B, as the
    warpgroups of attention share the keys. One group of products stays in flight.
    """
    tile_a, tile_b = 64 * 128, n * 128
    tiles = steps // 4  # of 64 columns, four steps of 16 each
    first_b = warpgroups * tiles * tile_a
    accumulators = n // 2
    # Descriptor of a tile: address / 16, leading offset 1, stride 1024 / 16, 128-byte swizzle.
    upper = (1 << 30) | 64
    prologue = [f"mov.f32 d{i}, 0f00000000;" for i in range(accumulators)] + [
        "mov.u32 base, tile;",
        "shr.u32 group, tid, 7;",
        "shfl.sync.idx.b32 group, group, 0, 31, 0xffffffff;",
        f"mad.lo.u32 group, group, {tiles * tile_a}, base;",
        "and.b32 group, group, 0x3ffff;",
        "shr.u32 group, group, 4;",
        "or.b32 group, group, 0x10000;",
        f"mov.b64 desc_a, {{group, {upper}}};",
        f"add.u32 base, base, {first_b};",
        "and.b32 base, base, 0x3ffff;",
        "shr.u32 base, base, 4;",
        "or.b32 base, base, 0x10000;",
        f"mov.b64 desc_b, {{base, {upper}}};",
    ]
    loop = ["wgmma.fence.sync.aligned;"]
    for step in range(steps):
        inside = (step % 4) * 2
        loop += [
            f"add.u64 at_a, desc_a, {step // 4 * tile_a // 16 + inside};",
            f"add.u64 at_b, desc_b, {step // 4 * tile_b // 16 + inside};",
            f"wgmma.mma_async.sync.aligned.m64n{n}k16.f32.bf16.bf16 "
            f"{_all('d', accumulators)}, at_a, at_b, 1, 1, 1, 0, 0;",
        ]
    loop += ["wgmma.commit_group.sync.aligned;", "wgmma.wait_group.sync.aligned 1;"]
    epilogue = ["wgmma.wait_group.sync.aligned 0;"]
    epilogue += [f"add.f32 d0, d0, d{i};" for i in range(1, accumulators)]
    return Body(
        name=f"wgmma m64n{n}k16 bf16, {warpgroups} warpgroup{'s' * (warpgroups > 1)}",
        threads=128 * warpgroups,
        registers=[
            ("f32", "d", accumulators),
            ("u32", "base", 0),
            ("u32", "group", 0),
            *((("u64", name, 0)) for name in ("desc_a", "desc_b", "at_a", "at_b")),
        ],
        prologue=prologue,
        loop=loop,
        epilogue=epilogue,
        sink="d0",
        work={"flop": warpgroups * steps * 2 * 64 * n * 16},
        shared=first_b + tiles * tile_b,
    )


def mma_sync(warps: int, ldmatrix: bool) -> Body:
    """Products m16n8k16 of bfloat16 in registers: 32 rows and 64 columns per warp, two steps.

    ldmatrix: the second operand is read from shared memory before each step, by every warp anew, as
    FlashAttention-2's warps read the keys: four products per ldmatrix.x4.
    """
    rows, columns, steps, region = 2, 8, 2, 32768
    b_registers = 2 * columns
    prologue = [f"mov.f32 d{i}, 0f00000000;" for i in range(4 * rows * columns)]
    for name, amount in (("a", 4 * rows), ("b", b_registers)):
        for i in range(amount):  # other mantissas; zeros stay zeros
            prologue += [f"mul.lo.u32 lane, value, {2 * len(prologue) + 3};"]
            prologue += ["and.b32 lane, lane, 0x7f007f;"]
            prologue += [f"xor.b32 {name}{i}, value, lane;"]
    prologue += [
        "mov.u32 base, tile;",
        "and.b32 lane, tid, 31;",
        "mad.lo.u32 base, lane, 16, base;",
        "mov.u32 at, 0;",
    ]
    loop = []
    for step in range(steps):
        if ldmatrix:
            loop += ["add.u32 address, base, at;"]
            loop += [
                "ldmatrix.sync.aligned.m8n8.x4.shared.b16 "
                f"{{b{4 * j}, b{4 * j + 1}, b{4 * j + 2}, b{4 * j + 3}}}, "
                f"[address + {512 * (step * columns // 2 + j)}];"
                for j in range(columns // 2)
            ]
        for i in range(rows):
            for j in range(columns):
                d = ", ".join(f"d{4 * (i * columns + j) + k}" for k in range(4))
                a = ", ".join(f"a{4 * i + k}" for k in range(4))
                loop.append(
                    "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                    f"{{{d}}}, {{{a}}}, {{b{2 * j}, b{2 * j + 1}}}, {{{d}}};"
                )
    if ldmatrix:
        loop += ["add.u32 at, at, 4096;", f"and.b32 at, at, {region // 2 - 1};"]
    return Body(
        name=f"mma.sync m16n8k16 bf16, {warps} warps{', ldmatrix' * ldmatrix}",
        threads=32 * warps,
        registers=[
            ("f32", "d", 4 * rows * columns),
            ("b32", "a", 4 * rows),
            ("b32", "b", b_registers),
            *((("u32", name, 0)) for name in ("base", "lane", "at", "address")),
        ],
        prologue=prologue,
        loop=loop,
        epilogue=[f"add.f32 d0, d0, d{i};" for i in range(1, 4 * rows * columns)],
        sink="d0",
        work={"flop": warps * steps * rows * columns * 2 * 16 * 8 * 16},
        shared=region,
    )


VECTOR = {
    "ex2": ("neg.f32 t, x{i};", "ex2.approx.ftz.f32 x{i}, t;"),
    "max": ("max.f32 x{i}, x{i}, x{next};",),
    "fma": ("fma.rn.f32 x{i}, x{i}, c, s;",),
    "add": ("add.f32 x{i}, x{i}, c;",),
    "convert": ("cvt.rn.bf16x2.f32 t, x{i}, c;", "mov.b32 x{i}, t;"),
}


def _vector(name: str, threads: int, loop: list[str], work: dict[str, int]) -> Body:
    prologue = [f"cvt.rn.f32.u32 x{i}, tid;" for i in range(CHAINS)]
    prologue += [f"fma.rn.f32 x{i}, x{i}, 0fb8d1b717, 0f3f{i:02x}0000;" for i in range(CHAINS)]
    prologue += ["mov.f32 c, 0f3f000000;", "cvt.rn.f32.u32 s, value;"]
    prologue += [f"mov.f32 m{i}, 0fff800000;" for i in range(2)]
    prologue += [f"mov.f32 l{i}, 0f00000000;" for i in range(2)]
    return Body(
        name=f"{name}, {threads // 32} warps",
        threads=threads,
        registers=[
            ("f32", "x", CHAINS),
            *(("f32", row, 2) for row in ("m", "l")),
            *(("f32", one, 0) for one in ("c", "s")),
            ("b32" if name == "convert" else "f32", "t", 0),
        ],
        prologue=prologue,
        loop=loop,
        epilogue=["add.f32 l0, l0, l1;", *(f"add.f32 l0, l0, x{i};" for i in range(CHAINS))],
        sink="l0",
        work={kind: count * threads for kind, count in work.items()},
    )


def vector(kind: str, threads: int, repeats: int = 8) -> Body:
    """One float32 operation of `VECTOR` on each of 16 registers per thread, again and again."""
    lines = [
        line.format(i=i, next=(i + 1) % CHAINS)
        for _ in range(repeats)
        for i in range(CHAINS)
        for line in VECTOR[kind]
    ]
    return _vector(kind, threads, lines, {kind: repeats * CHAINS})


def softmax(threads: int, repeats: int = 4) -> Body:
    """What a score costs: one maximum, one FMA, one ex2, one addition; a thread has two rows."""
    lines = []
    for _ in range(repeats):
        lines += [f"max.f32 m{i % 2}, m{i % 2}, x{i};" for i in range(CHAINS)]
        for i in range(CHAINS):
            lines += [f"neg.f32 t, m{i % 2};", f"fma.rn.f32 x{i}, x{i}, c, t;"]
        lines += [f"ex2.approx.ftz.f32 x{i}, x{i};" for i in range(CHAINS)]
        lines += [f"add.f32 l{i % 2}, l{i % 2}, x{i};" for i in range(CHAINS)]
    return _vector("softmax", threads, lines, {"scores": repeats * CHAINS})


def _agent(body: Body, index: int, inner: int) -> list[str]:
    """The code of one agent: its body until the clock has passed `cycles`.

    All threads of an agent leave in the same iteration: they vote at a barrier every `inner`
    iterations, since products of a warpgroup need all its warps.
    """
    declared = [
        f".reg .{kind} {name}{f'<{count}>' if count else ''};"
        for kind, name, count in body.registers
    ]
    barrier = f"{BARRIER + index}, {body.threads}"
    return [
        f"AGENT{index}:",
        "{",
        *declared,
        ".reg .u64 start, now, deadline, ns, done, place;",
        ".reg .u32 left, sm;",
        ".reg .pred more, any;",
        *body.prologue,
        "mov.u64 done, 0;",
        f"bar.sync {barrier};",
        "mov.u64 ns, %globaltimer;",
        "mov.u64 start, %clock64;",
        "add.u64 deadline, start, cycles;",
        f"OUTER{index}:",
        f"mov.u32 left, {inner};",
        f"INNER{index}:",
        '.pragma "nounroll";',
        *body.loop,
        "sub.u32 left, left, 1;",
        "setp.ne.u32 more, left, 0;",
        f"@more bra INNER{index};",
        f"add.u64 done, done, {inner};",
        "mov.u64 now, %clock64;",
        "setp.lt.u64 more, now, deadline;",
        f"bar.red.or.pred any, {barrier}, more;",
        f"@any bra OUTER{index};",
        *body.epilogue,
        f"bar.sync {barrier};",
        "mov.u64 now, %clock64;",
        "setp.ne.u32 any, tid, 0;",
        f"mov.b32 value, {body.sink};",
        "setp.ne.u32 more, value, 0x7fc12345;",  # never equal: only so that nothing is dead
        "and.pred any, any, more;",
        "@any ret;",
        f"mad.lo.u32 agent, cta, {len(FIELDS) * 8 * 2}, {index * len(FIELDS) * 8};",
        "cvt.u64.u32 place, agent;",
        "add.u64 place, place, out;",
        "mov.u32 sm, %smid;",
        "st.global.u64 [place], done;",
        "cvt.u64.u32 done, sm;",
        "st.global.u64 [place + 8], done;",
        "st.global.u64 [place + 16], start;",
        "st.global.u64 [place + 24], now;",
        "st.global.u64 [place + 32], ns;",
        "mov.u64 ns, %globaltimer;",
        "st.global.u64 [place + 40], ns;",
        "ret;",
        "}",
    ]


def filled(bodies: Iterable[Body]) -> int:
    """Bytes of shared memory that the agents of a CTA read: all start at the same address."""
    return max(body.shared for body in bodies)


def source(bodies: Sequence[Body], split: str = "warps", inner: int = 64) -> str:
    """PTX of a kernel `rate` with one or two agents per multiprocessor.

    split: "warps" = the agents are warps of one CTA, the first agent's first; "ctas" = the CTAs
    that come to a multiprocessor are in turn the first agent and the second (of as many threads).
    Arguments: out (FIELDS per CTA and agent, two agents always), arrived (a counter of 32 bits per
    multiprocessor, even before a launch), cycles, pattern (0 = zeros, else numbers of both signs
    between 1 and 2), running (bit per agent). Raises ValueError for CTAs of two sizes.
    """
    threads = [body.threads for body in bodies]
    if split == "ctas" and len(set(threads)) > 1:
        raise ValueError(f"agents of {threads} threads in CTAs of one size")
    total = sum(threads) if split == "warps" else threads[0]
    fill = filled(bodies)
    lines = [
        ".version 8.0",
        ".target sm_90a",
        ".address_size 64",
        ".extern .shared .align 1024 .b8 tile[];",
        ".visible .entry rate(.param .u64 p_out, .param .u64 p_arrived, .param .u64 p_cycles,",
        "  .param .u32 p_pattern, .param .u32 p_running)",
        f".reqntid {total}, 1, 1",
        "{",
        ".reg .u64 out, arrived, counter, cycles;",
        ".reg .u32 pattern, running, tid, cta, agent, value, at, bit;",
        ".reg .pred here, runs;",
        "ld.param.u64 out, [p_out];",
        "cvta.to.global.u64 out, out;",
        "ld.param.u64 cycles, [p_cycles];",
        "ld.param.u32 pattern, [p_pattern];",
        "ld.param.u32 running, [p_running];",
        "ld.param.u64 arrived, [p_arrived];",
        "cvta.to.global.u64 arrived, arrived;",
        "mov.u32 tid, %tid.x;",
        "mov.u32 cta, %ctaid.x;",
        "mul.lo.u32 at, tid, 4;",
        "FILL:",  # two bfloat16 numbers of random sign and mantissa, exponent 0, or zeros
        "mad.lo.u32 value, at, 0x9e3779b1, 0x7f4a7c15;",
        "shr.u32 bit, value, 15;",
        "xor.b32 value, value, bit;",
        "mul.lo.u32 value, value, 0x85ebca6b;",
        "and.b32 value, value, 0x807f807f;",
        "or.b32 value, value, 0x3f803f80;",
        "setp.eq.u32 here, pattern, 0;",
        "@here mov.u32 value, 0;",
        f"setp.ge.u32 here, at, {fill};",
        "@here bra FILLED;",
        "mov.u32 bit, tile;",
        "add.u32 bit, bit, at;",
        "st.shared.u32 [bit], value;",
        f"add.u32 at, at, {4 * total};",
        "bra FILL;",
        "FILLED:",
    ]
    if split == "ctas":
        lines += [
            "setp.ne.u32 here, tid, 0;",
            "@here bra COUNTED;",
            "mov.u32 bit, %smid;",
            "mul.wide.u32 counter, bit, 4;",
            "add.u64 counter, arrived, counter;",
            "atom.global.add.u32 agent, [counter], 1;",
            f"st.shared.u32 [tile + {fill}], agent;",
            "COUNTED:",
        ]
    lines += ["fence.proxy.async;", "bar.sync 0;"]
    if len(bodies) == 1:
        lines += ["mov.u32 agent, 0;"]
    elif split == "warps":
        # Through a shuffle the compiler knows that a warp's threads agree, as products require.
        lines += ["shr.u32 at, tid, 5;", "shfl.sync.idx.b32 at, at, 0, 31, 0xffffffff;"]
        lines += [f"setp.ge.u32 here, at, {threads[0] // 32};", "selp.u32 agent, 1, 0, here;"]
        lines += [f"@here sub.u32 tid, tid, {threads[0]};"]
    else:
        lines += [f"ld.shared.u32 agent, [tile + {fill}];", "and.b32 agent, agent, 1;"]
    lines += [
        "shl.b32 bit, 1, agent;",
        "and.b32 bit, bit, running;",
        "setp.eq.u32 runs, bit, 0;",
        "@runs ret;",
    ]
    if len(bodies) == 2:
        lines += ["setp.eq.u32 here, agent, 1;", "@here bra AGENT1;"]
    for index, body in enumerate(bodies):
        lines += _agent(body, index, inner)
    return "\n".join([*lines, "}", ""])
