"""`accelsim traffic`: what it prints of a small case, as a table and as JSON."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from accelsim.cli import app

CASE = ["traffic", "--mapping", "h200__flash_fwd", "--model", "llama3-8b", "--seq-len", "512"]
SHOWN = """\
flash_fwd: grid P1 4 x H 32 x B 1; requested of l2:
┏━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━┓
┃ tensor ┃ read      ┃ write     ┃
┡━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━┩
│ Q      │ 4.00 MiB  │ 0 B       │
│ K      │ 10.00 MiB │ 0 B       │
│ V      │ 10.00 MiB │ 0 B       │
│ AV     │ 0 B       │ 4.00 MiB  │
│ LSE    │ 0 B       │ 64.00 KiB │
└────────┴───────────┴───────────┘
a thread's innermost iteration: 16 HGMMA, 66 MUFU.EX2
dram: 6.00 MiB read (1.00 times what must be), 0 B written, 4.06 MiB still in
the cache; 132 instances at a time
"""
HEADS, GROUPS, KEYS, WIDTH, TILE, WORD = 32, 8, 512, 128, 128, 2


def test_table() -> None:
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, CASE)
    assert (shown.exit_code, shown.output.replace(" \n", "\n")) == (0, SHOWN)


def test_json() -> None:
    shown = CliRunner().invoke(app, [*CASE, "--json"])
    said = json.loads(shown.output)
    assert list(said) == ["name", "requested_of", "launches", "inputs", "notes"]
    assert (said["name"], said["requested_of"], said["notes"]) == ("h200__flash_fwd", "l2", [])
    assert said["inputs"]["workload"]["name"] == "llama3-8b"
    (launch,) = said["launches"]
    tiles = HEADS * (1 + 2 + 3 + 4)  # block i of queries sees i + 1 tiles of keys
    queries, passed = HEADS * KEYS * WIDTH * WORD, tiles * TILE * WIDTH * WORD
    logarithms, held = HEADS * KEYS * 4, GROUPS * KEYS * WIDTH * WORD
    macs = 2 * tiles * TILE * TILE * WIDTH
    operations = launch.pop("operations")
    assert operations["tensor_core"]["mac"] == {"QK": macs // 2, "SLNV": macs // 2}
    assert operations["sfu"]["exp"]["SLN"] == tiles * TILE * TILE
    ex2 = tiles * (64 + 2) * 8  # of 8 warps; a row is in 4 threads
    fabric = launch["cache"].pop("fabric")
    assert 0 < fabric < queries + 2 * passed
    assert launch == {
        "name": "flash_fwd",
        "grid": {"P1": 4, "H": 32, "B": 1},
        "instances": 128,
        "threads": 256,
        "resident": 1,
        "requests": {
            "Q": {"read": queries, "write": 0},
            "K": {"read": passed, "write": 0},
            "V": {"read": passed, "write": 0},
            "AV": {"read": 0, "write": queries},
            "LSE": {"read": 0, "write": logarithms},
        },
        "lines": {"read": queries + 2 * passed, "write": queries + logarithms},
        "issued": {"tensor_core": macs},
        "level_bytes": {"shared": (TILE + 2 * 2 * TILE) * WIDTH * WORD},
        "loop_body": {"HGMMA": {"QK": 8, "SLNV": 8}, "MUFU.EX2": {"PRM": 2, "SLN": 64}},
        "instructions": {"HGMMA": tiles * 16 * 8, "MUFU.EX2": ex2},
        "cache": {
            "level": "dram",
            "slots": 132,
            "read": queries + 2 * held,
            "written": 0,
            "dirty": queries + logarithms,
            "compulsory": queries + 2 * held,
            "read_by_tensor": {"Q": queries, "K": held, "V": held},
        },
    }
