"""What the instances of a launch ask of the cache, tile by tile, in their order."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.arch import Machine
from accelsim.engine import cache
from accelsim.engine.cache import Accesses
from accelsim.errors import AccelsimError
from accelsim.mapping import Nest, Placement
from accelsim.program import Guard, Phase
from accelsim.program.visits import Tiles, tiles, visits

Int = npt.NDArray[np.int64]
MOST_ITERATIONS = 20_000_000


def accesses(nest: Nest, phase: Phase) -> Accesses:
    """The loads and stores of a launch. A step is an iteration of the nest.

    nest, phase: the same, as mapped and as lowered. Within a step come loads as Einsums ask for
    them, what comes back from off chip, then stores. Tensors are numbered as nest.placements.
    Raises AccelsimError when there is no launch, or more than MOST_ITERATIONS.
    """
    if nest.launch is None:
        raise AccelsimError(f"phase {nest.name} is not launched: its mapping gives no `launch`")
    number = visits(phase.loops, Guard())
    if number > MOST_ITERATIONS:
        message = f"{nest.name} has {number:,} iterations, more than {MOST_ITERATIONS:,}"
        raise AccelsimError(f"{message}: too many to list what each asks for")
    visited = tiles(phase.loops, range(len(phase.loops)))
    order = {task.name: number for number, task in enumerate(phase.tasks)}
    step, place, chunk, write = [], [], [], []
    sizes: list[Int] = []
    known = 0
    for number, placement in enumerate(nest.placements):
        moves = _moves(nest, phase, visited, placement, order)
        if not moves:
            continue
        key = _tile(nest, visited, placement)
        names, first, numbered = np.unique(key, return_index=True, return_inverse=True)
        sizes.append(
            np.stack([_bytes(nest, visited, placement)[first], np.full(len(names), number)])
        )
        for at, rank, stores in moves:
            step.append(at)
            place.append(np.full(len(at), rank))
            chunk.append(known + numbered[at])
            write.append(np.full(len(at), stores))
        known += len(names)
    steps = np.concatenate(step)
    sequence = np.lexsort((np.concatenate(place), steps))
    chunks = np.concatenate(sizes, axis=1)
    number_of = _instance(nest, visited)
    begins = np.flatnonzero(np.diff(number_of, prepend=-1))
    return Accesses(
        instances=np.append(begins, len(visited)).astype(np.int64),
        steps=np.searchsorted(steps[sequence], np.arange(len(visited) + 1)).astype(np.int64),
        chunk=np.ascontiguousarray(np.concatenate(chunk)[sequence]),
        write=np.ascontiguousarray(np.concatenate(write)[sequence]),
        size=np.ascontiguousarray(chunks[0]),
        tensor=np.ascontiguousarray(chunks[1]),
    )


def _moves(
    nest: Nest, phase: Phase, visited: Tiles, placement: Placement, order: dict[str, int]
) -> list[tuple[Int, int, bool]]:
    """(steps at which it moves, place among the moves of a step, whether it is a store)."""
    out = []
    if placement.role == "load":
        others = tuple(i for i in range(len(nest.loops)) if i not in placement.iterated)
        key = _key(nest, visited, placement.iterated)
        first = np.unique(key, return_index=True)[1] if others else np.arange(len(visited))
        out.append((np.sort(first), order[f"load {placement.tensor}"], False))
    for task in phase.tasks:
        name, _, tensor = task.name.partition(" ")
        if task.tensor == placement.tensor and name in {"refill", "spill", "store"} and tensor:
            at = np.flatnonzero(visited.holds(task.guard))
            out.append((at, order[task.name], name != "refill"))
    return out


def _key(nest: Nest, visited: Tiles, loops: tuple[int, ...]) -> Int:
    found = np.zeros(len(visited), np.int64)
    for loop in loops:
        found = found * nest.loops[loop].trips + visited.at[loop]
    return found


def _tile(nest: Nest, visited: Tiles, placement: Placement) -> Int:
    """A number for each step, equal where it works on the same tile."""
    identity = placement.identity
    found = _key(nest, visited, identity.loops)
    if identity.names is not None:
        name = identity.names[_key(nest, visited, identity.computed)]
        found = found * (int(identity.names.max()) + 1) + name
    return found


def _bytes(nest: Nest, visited: Tiles, placement: Placement) -> Int:
    """Of the tile of each step, what there is of it."""
    found = np.full(len(visited), placement.elements, np.int64)
    for end in placement.ends:
        found = found // end.size * end.kept[_key(nest, visited, end.loops)]
    word = Fraction(placement.word_bytes)
    return found * word.numerator // word.denominator


def _instance(nest: Nest, visited: Tiles) -> Int:
    """Which instance of the grid a step belongs to."""
    assert nest.launch is not None
    return _key(nest, visited, tuple(range(nest.launch.grid)))


def through_cache(machine: Machine, nest: Nest, phase: Phase) -> dict[str, Any]:
    """What of a launch's requests goes on to the outermost level, by the model of cache.py.

    Bytes: `read`, `written`, `dirty` (still in the cache at the end), `fabric` (between its
    partitions), `compulsory` (each tile read once that the launch does not make itself), and
    `read_by_tensor`. The cache is empty at the beginning. Raises AccelsimError.
    """
    assert machine.cache is not None  # whoever asks has looked
    asked = accesses(nest, phase)
    capacity = machine.cache.level.capacity_bytes
    assert capacity is not None  # arch.build asks for it
    resident = nest.launch.resident if nest.launch is not None else 1
    slots = machine.clusters * resident
    found = cache.run(asked, slots=slots, capacity=capacity, partitions=machine.cache.partitions)
    names = [placement.tensor for placement in nest.placements]
    by_tensor = {names[i]: n for i, n in enumerate(found.dram_read_of) if n}
    chunks, first = np.unique(asked.chunk, return_index=True)
    needed = chunks[~asked.write[first]]
    return {
        "level": machine.outermost.name,
        "slots": slots,
        "read": found.dram_read,
        "written": found.dram_written,
        "dirty": found.dirty,
        "fabric": found.fabric,
        "compulsory": int(asked.size[needed].sum()),
        "read_by_tensor": by_tensor,
    }
