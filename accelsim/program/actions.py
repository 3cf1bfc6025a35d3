"""What each task stands for: operations, reads and writes per level and tensor.

A tensor placed in a level crosses between it and the units once per tile and direction, however
many Einsums use it there. Of a tensor carried around an iterative rank, the value made in a tile
is forwarded to its readers in that tile; what crosses is the value from the iteration before,
its end, and the value made. Lines that are only partly used count whole.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, prod

import numpy as np

from accelsim.analysis.counts import point_operations
from accelsim.arch import Level, Machine, Operation
from accelsim.mapping import Binding, Mapping, Nest, Placement
from accelsim.program.program import Action
from accelsim.traced import ratio


def _access(level: Level, action: str, tensor: str, size: Fraction) -> Action:
    return Action(level.name, action, tensor, ratio(ceil(size / level.line_bytes)), size)


def of_load(machine: Machine, placement: Placement) -> tuple[Action, ...]:
    """A tile from the outermost level to the level where it is placed."""
    size = placement.tile_bytes
    out = [_access(machine.shared, "read", placement.tensor, size)]
    if placement.level is not None:
        out.append(_access(placement.level, "write", placement.tensor, size))
    return tuple(out)


def of_store(machine: Machine, placement: Placement) -> tuple[Action, ...]:
    """A tile to the outermost level, from a level or right from the registers."""
    size = placement.tile_bytes
    out = [_access(machine.shared, "write", placement.tensor, size)]
    if placement.level is not None:
        out.insert(0, _access(placement.level, "read", placement.tensor, size))
    return tuple(out)


def made_tile(binding: Binding) -> tuple[tuple[str, int], ...]:
    """Parts of the tile that an Einsum makes: without those that it reduces."""
    return tuple((part, size) for part, size in binding.tile if part not in binding.reduced)


def of_masking(
    binding: Binding, made: tuple[tuple[str, int], ...], operation: Operation
) -> tuple[Action, ...]:
    """Leaving points out of a tile: one operation for each value made, by the unit of a binding."""
    points = ratio(prod(size for _, size in made))
    return tuple(
        Action(binding.unit.name, primitive, binding.einsum.name, points * times)
        for primitive, times in operation.primitives
    )


def of_einsum(mapping: Mapping, nest: Nest, binding: Binding) -> tuple[Action, ...]:
    """Operations of one tile, and what crosses to and from the levels for it."""
    einsum = binding.einsum
    points = prod(size for _, size in binding.tile) * binding.copies
    totals: dict[str, int] = {}
    for name, count in point_operations(einsum).items():
        operation = binding.unit.operation(name)
        assert operation is not None  # rule 1 of the mapping
        for primitive, times in operation.primitives:
            totals[primitive] = totals.get(primitive, 0) + points * count * times
    out = [
        Action(binding.unit.name, primitive, einsum.name, ratio(total))
        for primitive, total in totals.items()
    ]
    for tensor in dict.fromkeys(access.tensor for access in einsum.inputs):
        placement = nest.placement(tensor)
        if placement.level is not None and crosses(nest, placement, einsum.name):
            size = placement.tile_bytes
            out.append(_access(placement.level, "read", tensor, size))
    made = nest.placement(einsum.name)
    if made.level is not None:
        size = made.tile_bytes
        out.append(_access(made.level, "write", einsum.name, size))
        part = _added_to(nest, binding) if made.role == "made" else 0
        if part:
            # What is added to, but for the first time: an instance stands for its share.
            again = _access(made.level, "read", einsum.name, size)
            out.append(replace(again, count=again.count * part, size_bytes=size * part))
    return tuple(out)


def partial_sums(nest: Nest, binding: Binding) -> tuple[int, ...]:
    """Loops over which an Einsum adds to the same tile."""
    kept = nest.placement(binding.einsum.name).iterated
    return tuple(i for i in binding.iterated if i not in kept)


def _added_to(nest: Nest, binding: Binding) -> Fraction:
    """The share of an Einsum's tiles that are not the first of their sum."""
    partial = partial_sums(nest, binding)
    kept = tuple(i for i in binding.iterated if i not in partial)
    tied = {loop for mask in nest.masks for loop in mask.loops}
    share: Fraction = ratio(1, prod(nest.loops[i].trips for i in partial if i not in tied))
    for mask in nest.masks:
        first, every = (
            len(np.unique(mask.key(tuple(loop for loop in mask.loops if loop in own))))
            for own in (kept, binding.iterated)
        )
        share *= Fraction(first, every)
    return 1 - share


def spilled(machine: Machine, placement: Placement, action: str) -> Action:
    """The share of one crossing of a tile that has no room in its level."""
    share = 1 if placement.off_chip else placement.spilled
    size = placement.tile_bytes * share
    line = machine.shared.line_bytes
    return Action(machine.shared.name, action, placement.tensor, size / line, size)


def crosses(nest: Nest, placement: Placement, reader: str) -> bool:
    """Whether it is this reader that fetches the tensor for the tile, of those of its stage."""
    if placement.fetch:
        return reader in placement.fetch
    if placement.role == "state":
        reads = [d for d in nest.dependences if d.tensor == placement.tensor]
        if any(d.kind == "end" and d.consumer == reader for d in reads):
            return True
        readers = {d.consumer for d in reads if d.kind == "carried"}
    else:
        readers = set(nest.readers(placement.tensor))
    stage = nest.binding(reader).stage
    fetching = [b for b in nest.bindings if b.einsum.name in readers and b.stage == stage]
    if not fetching:
        return False
    always = [b for b in fetching if not b.first and not b.last]
    return (always or fetching)[0].einsum.name == reader
