"""What the compiler makes of the kernels, without a GPU: instructions of each loop, resources.

`builds.json` holds what has no formula. `pytest tests/kernels/test_build.py --update-golden` writes
it anew.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import pytest

from accelsim.validate import kernels
from accelsim.validate.cases import bind
from accelsim.validate.compare import predict
from kernels.build import count, ctas_per_sm, loop_bodies, read_sass
from kernels.cases import Case
from tests.kernels.traced import ROOT, needs_triton, python

GOLDEN = Path(__file__).parent / "builds.json"
CONSTRAINTS = ROOT / "tests" / "constraints.txt"
# Of the goldens' instructions those that a model of the machine would count.
COUNTED = ("HGMMA", "HMMA", "MUFU", "LDG", "LDS", "STG", "STS", "FFMA", "FADD", "FMUL", "FMNMX")


def attention(kernel: str, dtype: str, width: int, block_m: int, block_n: int, **rest: Any) -> Case:
    shape = {"B": 1, "H": 2, "G": 2, "P": 256, "M": 256, "D": width}
    tile = {"block_m": block_m, "block_n": block_n, **rest.pop("tile", {})}
    return Case(kernel, dtype, shape, tile=tile, **rest)


CAUSAL = {"causal": 1}
FORMULA = [
    (attention("flash_fwd", "float16", 64, 64, 64), 90),
    (attention("flash_fwd", "bfloat16", 64, 128, 64, mask=CAUSAL), 90),
    (attention("flash_fwd", "float16", 128, 128, 128, mask=CAUSAL, order="heads"), 90),
    (attention("flash_fwd", "bfloat16", 128, 128, 64, mask={**CAUSAL, "window": 128}), 90),
    (attention("flash_fwd", "bfloat16", 128, 128, 128), 90),
    (attention("flash_fwd", "float16", 64, 64, 64, mask=CAUSAL), 80),
    (attention("flash_fwd", "bfloat16", 64, 128, 64), 80),
    (attention("flash_fwd", "float16", 128, 128, 64, mask=CAUSAL), 80),
    (attention("flash_fwd", "bfloat16", 128, 128, 64), 80),
]
DECODE = {"B": 2, "H": 8, "G": 2, "M": 256, "D": 128}
LINEAR = {"B": 1, "H": 2, "T": 256, "E": 128, "F": 128}
OTHERS = [
    (attention("flash1", "float16", 64, 64, 64), 90),
    (attention("unfused", "bfloat16", 128, 128, 128), 90),
    (Case("splitk", "bfloat16", DECODE, tile={"page": 64, "splits": 2}), 90),
    (attention("block_sparse", "bfloat16", 128, 128, 128, tile={"density": 50}), 90),
    (Case("lightning", "bfloat16", LINEAR, tile={"chunk": 64, "block_f": 64}), 90),
    (attention("unfused", "float16", 64, 64, 64, mask=CAUSAL), 80),
]
REFUSED = attention("flash_fwd", "float16", 48, 64, 64)


ARCHS = {90: "h200", 80: "a100"}


def expected_instructions(described: dict[str, Any], target: int) -> dict[str, int]:
    """What the mapping predicts of one warp's tile of keys; and keys and values in 16-byte copies.

    (As formulas: on sm_90 m64 n k16 by the 4 warps of a warpgroup together, block_n or D wide; on
    sm_80 m16 n8 k16 by each warp; one ex2 per score and thread, and one per query for the
    rescaling, whose row four threads hold.)
    """
    bound = bind(described, ARCHS[target])
    (launch,) = predict(bound)["launches"]
    constants = described["launches"][0]["constants"]
    copied = 2 * constants["block_n"] * constants["width"] * 2
    return {
        **{opcode: sum(by.values()) for opcode, by in launch["loop_body"].items()},
        "LDGSTS": copied // 16 // launch["threads"],
    }


def built(requests: list[tuple[Case, int]], folder: Path) -> list[dict[str, Any]]:
    """Results of kernels/build.py in a process of its own, Triton's cache in the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(folder))
        return kernels.built([{"case": c.to_dict(), "target": target} for c, target in requests])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    requests = [(REFUSED, 90), *FORMULA, *OTHERS]
    return built(requests, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def described() -> list[dict[str, Any]]:
    return kernels.described([case.to_dict() for case, _ in FORMULA])


@needs_triton
@pytest.mark.parametrize("index", range(len(FORMULA)))
def test_loops_hold_what_a_tile_needs(
    results: list[dict[str, Any]], described: list[dict[str, Any]], index: int
) -> None:
    case, target = FORMULA[index]
    (launch,) = results[1 + index]["launches"]
    expected = expected_instructions(described[index], target)
    assert expected.keys() == {"HGMMA" if target == 90 else "HMMA", "MUFU.EX2", "LDGSTS"}
    found = [{kind: loop.get(kind, 0) for kind in expected} for loop in launch["loops"]]
    # One loop over whole tiles; besides, one over those cut by the diagonal and by the window.
    kinds = 1 + sum(bool(case.mask.get(cut)) for cut in ("causal", "window"))
    assert found == [expected] * kinds, case.name
    if target == 90:
        held = predict(bind(described[index]))["launches"][0]["level_bytes"]
        assert launch["shared"] == held["shared"], "tiles held in shared memory"
        assert launch["stack"] == 0, "registers spill"
        assert launch["ctas_per_sm"] >= 1


@needs_triton
def test_other_kernels_as_recorded(
    results: list[dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    """Registers, shared memory, spills, CTAs per multiprocessor of all; loops without formula."""
    found = {"triton": importlib.metadata.version("triton"), "builds": {}}
    for (case, target), result in zip(FORMULA, results[1:], strict=False):
        launches = [
            {k: v for k, v in launch.items() if k not in ("instructions", "loops")}
            for launch in result["launches"]
        ]
        found["builds"][f"sm_{target} {case.name}"] = launches
    for (case, target), result in zip(OTHERS, results[1 + len(FORMULA) :], strict=True):
        launches = [
            {
                **{k: v for k, v in launch.items() if k not in ("instructions", "loops")},
                "loops": [counted(loop) for loop in launch["loops"]],
                "instructions": counted(launch["instructions"]),
            }
            for launch in result["launches"]
        ]
        found["builds"][f"sm_{target} {case.name}"] = launches
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    pinned = re.search(r"^triton==(\S+)$", CONSTRAINTS.read_text(), re.MULTILINE)
    assert pinned is not None
    assert golden["triton"] == pinned[1], "builds.json is not of the triton that tests install"
    if found["triton"] == pinned[1]:
        assert found == golden
    else:  # another compiler's instructions differ: what it builds has to be the same launches
        assert found["builds"].keys() == golden["builds"].keys()


def counted(instructions: dict[str, int]) -> dict[str, int]:
    return {kind: n for kind, n in instructions.items() if kind.startswith(COUNTED)}


@needs_triton
def test_one_refusal_loses_no_other(results: list[dict[str, Any]]) -> None:
    assert "ValueError" in results[0]["error"]
    assert "power of two" in results[0]["error"]
    assert all("launches" in result for result in results[1:]), results


@needs_triton
def test_nothing_is_compiled_while_interpreting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = python("-m", "kernels.build", given="[]")
    assert done.returncode
    assert "TRITON_INTERPRET" in done.stderr


SASS = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;   /* 0x00000a00ff017b82 */
        /*0010*/                   MOV R2, RZ ;
        /*0020*/                   FADD R3, R3, R2 ;
        /*0030*/                   MUFU.EX2 R4, R4 ;
        /*0040*/              @!P0 HGMMA.64x64x16.F32 R24, gdesc[UR4], R24 ;
        /*0050*/               @P1 BRA 0x30 ;
        /*0060*/              @UP0 LDGSTS.E.BYPASS.128 [R5], desc[UR8][R6.64] ;
        /*0070*/               @P0 BRA 0x20 ;
        /*0080*/                   MUFU.RCP R4, R4 ;
        /*0090*/                   IADD3 R7, R7, 0x1, RZ ;
        /*00a0*/               @P2 BRA.U 0x90 ;
        /*00b0*/                   EXIT ;
        /*00c0*/                   BRA 0xc0;
"""


def test_loops_are_read_from_machine_code() -> None:
    instructions = read_sass(SASS)
    assert [count(body) for body in loop_bodies(instructions)] == [
        {"BRA": 1, "HGMMA": 1, "MUFU.EX2": 1},  # not the loop around it, not the branch to itself
        {"BRA": 1, "IADD3": 1},
    ]
    assert count(instructions)["MUFU.RCP"] == 1
    assert len(instructions) == SASS.count("/*00")
    with pytest.raises(ValueError, match="no instruction"):
        read_sass("Fatbin elf code:")


@pytest.mark.parametrize(
    ("registers", "shared", "warps", "target", "ctas"),
    [
        (134, 40960, 4, 90, 3),  # registers
        (174, 131072, 8, 90, 1),
        (247, 163840, 8, 90, 1),
        (108, 40960, 4, 90, 4),
        (128, 49152, 8, 90, 2),
        (32, 114688, 4, 90, 2),  # exactly twice with the reserve: 2 * 113 KiB
        (32, 116736, 4, 90, 1),
        (32, 0, 4, 90, 16),  # warps
        (16, 0, 1, 90, 32),  # CTAs
        (255, 98304, 8, 80, 1),
        (32, 83 * 1024, 4, 80, 1),
        (170, 0, 4, 90, 2),  # 11 warps by all registers, 8 by those of a quarter
        (32, 262144, 8, 90, 0),  # fits nowhere
    ],
)
def test_ctas_that_fit(registers: int, shared: int, warps: int, target: int, ctas: int) -> None:
    assert ctas_per_sm(registers, shared, warps, target) == ctas
