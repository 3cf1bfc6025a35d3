"""What the compiler makes of each kernel, without a GPU: registers, shared memory and the
instructions of every loop.

    python -m kernels.build < requests.json > results.json

A request is {"case": a case, "target": 90 | 80}. The case's own launches are compiled with their
own arguments, by the path that a launch on that GPU takes: the same alignment of pointers, the same
divisibility of sizes. (A small shape whose sizes have the same divisors builds the same binary as a
large one.)

A result is {"case", "target", "launches": [...]}, in the order of the launches, or {"case",
"target", "error"}. Of each launch:

* "name", "grid", "warps", "stages";
* "registers" per thread, "stack" bytes per thread (above 0 when registers spill), "shared" bytes
  per CTA;
* "ctas_per_sm": how many CTAs fit on a multiprocessor at once;
* "loops": for every innermost loop, in the order of the code, how many instructions of each kind
  lie in its body. Counts are per warp (an HGMMA is issued by the 4 warps of a warpgroup together).
  What the compiler placed before or behind the loop (a prologue of loads) is not in them;
* "instructions": the same counts for the whole binary.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels.cases import Case, Launch, kernel

SM_SHARED = {80: 164 * 1024, 90: 228 * 1024}  # bytes; CUDA C++ Programming Guide, table of limits
SM_WARPS, SM_CTAS = 64, 32
QUARTER_REGISTERS = 16384  # a multiprocessor has four quarters, a warp lives in one of them
CTA_SHARED = 1024  # bytes which the system takes of each CTA's shared memory

# "/*0a10*/  @!P0 BRA 0x820 ;" and its like
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);")


@dataclass(frozen=True)
class Instruction:
    """One instruction of a binary: byte address, operation with its modifiers, operands."""

    address: int
    operation: str
    operands: str

    @property
    def kind(self) -> str:
        """The operation without modifiers, except the function that an MUFU computes."""
        name, *modifiers = self.operation.split(".")
        return f"{name}.{modifiers[0]}" if name == "MUFU" and modifiers else name


def read_sass(text: str) -> list[Instruction]:
    """The instructions of a disassembly as cuobjdump prints it. Raises ValueError on none."""
    found = [Instruction(int(a, 16), op, rest) for a, op, rest in INSTRUCTION.findall(text)]
    if not found:
        raise ValueError("no instruction in the disassembly")
    return found


def count(instructions: list[Instruction]) -> dict[str, int]:
    """How many instructions of each kind, in alphabetical order."""
    return dict(sorted(Counter(i.kind for i in instructions).items()))


def loop_bodies(instructions: list[Instruction]) -> list[list[Instruction]]:
    """The innermost loops: what lies between the target of a backward branch and the branch.

    A branch to itself, which fills the end of a binary, is no loop.
    """
    spans = set()
    for instruction in instructions:
        target = re.search(r"0x([0-9a-f]+)", instruction.operands)
        if instruction.operation.split(".")[0] == "BRA" and target:
            start = int(target[1], 16)
            if start < instruction.address:
                spans.add((start, instruction.address))
    innermost = [
        (a, b)
        for a, b in spans
        if not any((c, d) != (a, b) and a <= c and d <= b for c, d in spans)
    ]
    return [[i for i in instructions if a <= i.address <= b] for a, b in sorted(innermost)]


def ctas_per_sm(registers: int, shared: int, warps: int, target: int) -> int:
    """How many CTAs a multiprocessor holds at once.

    registers per thread, shared bytes per CTA. Registers are given to a warp in units of 256 and
    come from its quarter of the multiprocessor; shared memory in units of 128 bytes. (The rules of
    CUDA's occupancy calculator.)
    """
    warp_registers = -(-max(registers, 1) * 32 // 256) * 256
    by_registers = QUARTER_REGISTERS // warp_registers * 4 // warps
    by_shared = SM_SHARED[target] // (-(-shared // 128) * 128 + CTA_SHARED)
    return min(by_registers, by_shared, SM_WARPS // warps, SM_CTAS)


def compiled(launch: Launch, target: int) -> Any:
    """Triton's compiled kernel of a launch on sm_`target`: the path of a launch, short of running.

    Triton is given a device of the target, as much of it as compilation asks for.
    """
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    class Device:
        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", target, 32)

        def get_current_device(self) -> int:
            return target  # Triton keeps what it compiled by device: one per target

        def get_current_stream(self, device: int) -> int:
            return 0

    driver.set_active(Device())
    return launch.function.warmup(
        grid=launch.grid,
        **launch.arguments,
        **launch.constants,
        num_warps=launch.warps,
        num_stages=launch.stages,
    )


def tool(name: str) -> str:
    """Where one of NVIDIA's tools is: the one that comes with Triton, else the one installed.

    Raises FileNotFoundError.
    """
    triton = importlib.util.find_spec("triton")
    beside = Path((triton and triton.origin) or "/").parent / "backends/nvidia/bin" / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name}: neither with Triton nor installed")
    return found


def read_binary(cubin: bytes) -> tuple[list[Instruction], int, int]:
    """Instructions, registers per thread and stack bytes per thread of a binary."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()

        def dump(option: str) -> str:
            command = [tool("cuobjdump"), option, file.name]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        usage, sass = dump("-res-usage"), dump("-sass")
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if not found:
        raise ValueError(f"no registers in what cuobjdump says: {usage!r}")
    return read_sass(sass), int(found[1]), int(found[2])


def describe(launch: Launch, target: int) -> dict[str, Any]:
    """The result of one launch; see the head of this file."""
    kernel = compiled(launch, target)
    instructions, registers, stack = read_binary(kernel.asm["cubin"])
    shared, warps = kernel.metadata.shared, kernel.metadata.num_warps
    return {
        "name": launch.name,
        "grid": list(launch.grid),
        "warps": warps,
        "stages": kernel.metadata.num_stages,
        "registers": registers,
        "stack": stack,
        "shared": shared,
        "ctas_per_sm": ctas_per_sm(registers, shared, warps, target),
        "loops": [count(body) for body in loop_bodies(instructions)],
        "instructions": count(instructions),
    }


def build(case: Case, target: int) -> list[dict[str, Any]]:
    """The launches of a case, compiled for sm_`target` (90 or 80)."""
    offered = kernel(case.kernel)
    plan = offered.plan(case, offered.inputs(case, "cpu"))
    return [describe(launch, target) for launch in plan.launches]


def main() -> None:
    """Read requests from standard input, write results to standard output."""
    if os.environ.get("TRITON_INTERPRET", "0") != "0":
        sys.exit("kernels.build: TRITON_INTERPRET is set; nothing is compiled under it")
    results = []
    for request in json.load(sys.stdin):
        case, target = Case.from_dict(request["case"]), request["target"]
        result: dict[str, Any] = {"case": case.name, "target": target}
        try:
            result["launches"] = build(case, target)
        except Exception as error:  # a case that cannot be built must not lose the others
            result["error"] = f"{type(error).__name__}: {error}"
        results.append(result)
    json.dump(results, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
