"""A heap of (time, order, cluster), the first of which is served next: compiled code."""

from __future__ import annotations

from numba import njit

from accelsim.engine.pack import Int


@njit(inline="always")
def before(time: int, order: int, other_time: int, other_order: int) -> bool:
    return time < other_time or (time == other_time and order < other_order)


@njit(inline="always")
def push(heap: Int, size: int, time: int, order: int, cluster: int) -> None:
    place = size
    while place > 0:
        above = (place - 1) >> 1
        if not before(time, order, heap[above, 0], heap[above, 1]):
            break
        heap[place, 0], heap[place, 1], heap[place, 2] = (
            heap[above, 0],
            heap[above, 1],
            heap[above, 2],
        )
        place = above
    heap[place, 0], heap[place, 1], heap[place, 2] = time, order, cluster


@njit(inline="always")
def pop(heap: Int, size: int) -> None:
    """Take the first of `size` away."""
    last = size - 1
    time, order, cluster = heap[last, 0], heap[last, 1], heap[last, 2]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= last:
            break
        if below + 1 < last and before(
            heap[below + 1, 0], heap[below + 1, 1], heap[below, 0], heap[below, 1]
        ):
            below += 1
        if not before(heap[below, 0], heap[below, 1], time, order):
            break
        heap[place, 0], heap[place, 1], heap[place, 2] = (
            heap[below, 0],
            heap[below, 1],
            heap[below, 2],
        )
        place = below
    heap[place, 0], heap[place, 1], heap[place, 2] = time, order, cluster
