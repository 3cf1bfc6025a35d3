"""Small searches for tests: cascades, a machine, random spaces, and brute force over them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

from accelsim import engine, program
from accelsim.errors import AccelsimError
from accelsim.explore.search import Problem, load_text
from accelsim.explore.search.bounds import Bounds
from accelsim.explore.search.space import Candidate, Space
from accelsim.explore.search.writing import Writer

PRODUCTS = """
cascade: products
source: tests
ranks: {B: batch, E: width, F: width, M: keys, P: queries}
tensors: {Q: [B, E, P], K: [B, E, M], V: [B, F, M], S: [B, M, P], O: [B, F, P]}
outputs: [O]
einsums: |
  S[b,m,p] = Q[b,e,p] * K[b,e,m]
  O[b,f,p] = S[b,m,p] * V[b,f,m]
"""
SOFTMAX = """
cascade: softmax
source: tests
ranks: {B: batch, M: keys, P: queries}
tensors: {X: [B, M, P], G: [B, P], N: [B, M, P], D: [B, P]}
outputs: [N, D]
einsums: |
  G[b,p] = X[b,m,p] :: max
  N[b,m,p] = exp(X[b,m,p] - G[b,p])
  D[b,p] = N[b,m,p]
"""
RUNNING = """
cascade: running
source: tests
ranks: {B: batch, M: keys, P: queries}
partitions: {M: [M1, M0]}
tensors: {X: [B, M1, M0, P], L: [B, M1, P], R: [B, M1, P], Z: [B, P]}
initial: {R: -inf}
outputs: [Z]
einsums: |
  L[b,m1,p] = X[b,m1,m0,p] :: max
  R[b,m1+1,p] = max(R[b,m1,p], L[b,m1,p])
  Z[b,p] = exp(R[b,M1,p])
"""
FORKED = """
cascade: forked
source: tests
ranks: {B: batch, M: keys, P: queries}
tensors: {X: [B, M, P], S: [B, P], Z: [B, P], T: [B, P]}
outputs: [Z, T]
einsums: |
  S[b,p] = X[b,m,p] :: max
  Z[b,p] = X[b,m,p]
  T[b,p] = exp(S[b,p])
"""
CASCADES = {"products": PRODUCTS, "softmax": SOFTMAX, "running": RUNNING, "forked": FORKED}
WORKLOAD = """
workload: small
source: tests
ranks: {B: 2, E: 8, F: 8, M: 32, P: 32}
"""
MOST = 70


def files(folder: Path) -> None:
    """What random searches name."""
    for name, text in CASCADES.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "small.yaml").write_text(WORKLOAD)


def random_search(folder: Path, chance: random.Random) -> Problem:
    """A search with a space of up to 70 candidates."""
    while True:
        phases = chance.choice(["one", "any"])
        sizes = 2 if phases == "one" else 1
        cascade = chance.choice(list(CASCADES))
        cut = {"M": chance.sample([4, 8, 16, 32], sizes)}
        cut["P"] = chance.sample([8, 16, 32], sizes)
        partition = {rank: {f"{rank}1": "rest", f"{rank}0": sizes} for rank, sizes in cut.items()}
        if chance.random() < 0.5:
            partition["P"] = {"P2": "rest", "P1": [chance.choice([1, 2])], "P0": cut["P"][:1]}
        einsums = [
            line.split("[")[0].strip() for line in CASCADES[cascade].splitlines() if "] =" in line
        ]
        unit = chance.choice(["array_1d", "array_2d"])
        units = {name: unit for name in einsums if chance.random() < 0.8}
        wanted: dict[str, Any] = {
            "search": "small",
            "source": "tests",
            "arch": "fusemax",
            "cascade": f"{cascade}.yaml",
            "workload": "small.yaml",
            "set": [
                "arch.units.array_2d.shape={rows: 8, cols: 8}",
                "arch.units.array_1d.shape={lanes: 8}",
                f"arch.levels.dram.bandwidth={chance.choice([1, 20, 400])} GiB/s",
                f"arch.levels.global_buffer.capacity={chance.choice([1, 2, 8, 64])} KiB",
            ],
            "partition": partition,
            "phases": phases,
            "units": units,
            "between": chance.choice(["registers", "global_buffer"]),
            "slots": chance.choice([[1], [2], [1, 2]][: sizes + 1]),
        }
        if chance.random() < 0.5:
            inner = [part for parts in partition.values() for part in list(parts)[:-1]]
            chance.shuffle(inner)
            wanted["loops"] = [*(["B"] if chance.random() < 0.5 else []), *inner]
        problem = load_text(yaml.safe_dump(wanted, sort_keys=False), str(folder / "s.yaml"))
        if 1 < Space(problem).size() <= MOST:
            return problem


def brute_force(problem: Problem) -> list[tuple[Candidate, float | None]]:
    """Every candidate of a space and its cycles; None where it is illegal."""
    space = Space(problem)
    writer = Writer(problem, Bounds(problem, space))
    out: list[tuple[Candidate, float | None]] = []
    for candidate in space.every():
        cycles = None
        try:
            lowered = program.lower(writer.built(writer.values(candidate)))
            cycles = engine.run(lowered).ticks / lowered.ticks_per_cycle
        except AccelsimError:
            pass
        out.append((candidate, cycles))
    return out
