"""Cycles of a matrix product's tile on a systolic array of R rows and C columns.

Derived from the dataflow; the spatial ranks say which it is:

* no spatial rank is reduced: outputs stay, operands of K steps enter at two edges, skewed by one
  cycle per row and column. Element (r, c) multiplies in cycles r + c .. r + c + K - 1: a fold takes
  K + (R - 1) + (C - 1) cycles.
* a spatial rank is reduced: one operand stays. Writing it takes R cycles, then each of the L steps
  of the other operand passes R rows and C columns: R + (L + (R - 1) + (C - 1)) cycles.

These are the cycles of SCALE-Sim 3, whose total is one less: it prints the index of the last
cycle, counted from zero. The formula in its paper (ISPASS 2020, equation 1), 2R + C + T - 2 for
every dataflow, adds R cycles to move results out where outputs stay; its code does not.
"""

from __future__ import annotations

from accelsim.mapping import Binding


def systolic_cycles(binding: Binding) -> int | None:
    """Cycles of one tile, all folds; None for what is no matrix product spread over two ranks."""
    einsum = binding.einsum
    extents = dict(binding.unit.shape)
    if len(einsum.inputs) != 2 or not binding.reduced:
        return None
    if len(binding.spatial) != 2 or len(dict(binding.spatial)) != 2:
        return None
    rows, columns = (extents[name] for name, _ in binding.unit.shape)
    spread = {rank: extents[dimension] for dimension, rank in binding.spatial}
    folds, steps = 1, 1
    for rank, size in binding.tile:
        if rank in spread:
            folds *= -(-size // spread[rank])
        else:
            steps *= size
    stays = any(rank in binding.reduced for rank in spread)
    fold = rows + columns + steps - 2
    return folds * (fold + rows if stays else fold)
