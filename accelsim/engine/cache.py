"""The L2 cache of a GPU: what of a kernel's loads and stores goes on to DRAM.

A kernel is a list of program instances (CTAs), each a list of steps, each a list of accesses to
chunks (tiles, or parts of them). Three rules make traffic of it:

* **Schedule.** Instances are dispatched in grid order to free slots, the lowest slot first. In a
  round every occupied slot does one step, in the order of slots, and its accesses in their order.
  An instance that has done its last step frees its slot for the next round; one without steps
  takes no slot.
* **Cache.** Whole chunks, evicted least recently used first, capacity in bytes; a chunk is used
  when it is read or written. A read that misses reads the chunk from DRAM. A write makes the chunk
  dirty and does not read it, since whole tiles are written. A dirty chunk that is evicted is
  written to DRAM. What is dirty at the end is told apart: a cache may keep it after the kernel, so
  DRAM writes lie between `dram_written` and `dram_written + dirty`.
* **Two partitions** (optional). Each is such a cache of half the capacity. Slot s is near to
  partition s % 2; a chunk has one home, bit 63 of SplitMix64 of its id (Steele, Lea and Flood,
  doi 10.1145/2660193.2660195), 0 or 1. A read looks in the near partition. If the chunk is not
  there and its home is the other one, it is asked for there and crosses the fabric; the home reads
  it from DRAM on a miss; then it is kept in both, the home first. A write goes to the home, across
  the fabric if that is not near, and removes the copy in the other partition. So only homes are
  dirty. A copy outlives the eviction of its home.

Assumed, not known: full associativity, exact LRU, slots in lockstep, multiprocessors alternating
between partitions, copies of far chunks kept like all others. The two partitions of an A100 or
H100, each for the multiprocessors connected to it, are in NVIDIA's A100 whitepaper (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from accelsim.engine.jit import compiled_code
from accelsim.errors import AccelsimError

Int: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Accesses:
    """All accesses of a kernel, 9 bytes each and 8 per step. Raises AccelsimError if ill-formed.

    instances: [instances + 1] where each instance begins in `steps`, in grid order.
    steps: [steps + 1] where each step (an iteration of the innermost loop) begins in `chunk`.
    chunk, write: [accesses] the chunk of each access, from 0, and whether it is a store.
    size: [chunks] bytes of each chunk; an access always moves all of it.
    tensor: [chunks] the tensor of each chunk, from 0, where traffic per tensor is wanted.
    """

    instances: Int
    steps: Int
    chunk: Int
    write: Bool
    size: Int
    tensor: Int | None = None

    def __post_init__(self) -> None:
        for name in ("instances", "steps", "chunk", "size", "tensor"):
            if (array := getattr(self, name)) is not None:
                _expect(array, name, np.int64)
        _expect(self.write, "write", np.bool_)
        _expect_offsets(self.steps, "steps", len(self.chunk), "accesses")
        _expect_offsets(self.instances, "instances", len(self.steps) - 1, "steps")
        chunks = len(self.size)
        if len(self.write) != len(self.chunk):
            raise AccelsimError(f"{len(self.chunk)} accesses, but `write` has {len(self.write)}")
        if len(self.chunk) and not (self.chunk.min() >= 0 and self.chunk.max() < chunks):
            bad = int(np.flatnonzero((self.chunk < 0) | (self.chunk >= chunks))[0])
            raise AccelsimError(
                f"access {bad} is to chunk {self.chunk[bad]}, but there are {chunks} chunks from 0"
            )
        if chunks and self.size.min() < 1:
            bad = int(self.size.argmin())
            raise AccelsimError(f"chunk {bad} has {self.size[bad]} bytes, expected 1 or more")
        if self.tensor is not None:
            if len(self.tensor) != chunks:
                raise AccelsimError(f"{chunks} chunks, but `tensor` has {len(self.tensor)}")
            if chunks and self.tensor.min() < 0:
                raise AccelsimError(f"tensor {self.tensor.min()}, expected 0 or more")


@dataclass(frozen=True)
class Traffic:
    """Bytes of one run.

    requested_*: what the instances loaded and stored.
    dram_read, dram_written: what of it passed between L2 and DRAM while the kernel ran.
    dirty: written, and still only in L2 at the end.
    fabric: what crossed between the partitions, loads and stores.
    dram_read_of: dram_read of each tensor; empty where tensors are not given.
    """

    requested_read: int
    requested_written: int
    dram_read: int
    dram_written: int
    dirty: int
    fabric: int
    dram_read_of: tuple[int, ...] = ()


def run(accesses: Accesses, *, slots: int, capacity: int, partitions: int = 1) -> Traffic:
    """Traffic of a kernel that starts with an empty L2. Exact; one pass, O(1) per access.

    slots: instances that run at once (multiprocessors x instances on each).
    capacity: bytes of L2, all partitions together. partitions: 1 or 2.
    Raises AccelsimError if the machine makes no sense or a chunk is larger than a partition.
    """
    if slots < 1:
        raise AccelsimError(f"{slots} slots, expected 1 or more")
    if partitions not in (1, 2):
        raise AccelsimError(f"{partitions} partitions, expected 1 or 2")
    room = capacity // partitions
    size = accesses.size
    chunks = len(size)
    if room < (largest := int(size.max(initial=0))):
        raise AccelsimError(
            f"chunk {size.argmax()} of {largest} bytes does not fit into "
            f"{'a partition' if partitions == 2 else 'a cache'} of {room} bytes"
        )
    links, dirty, fetched, totals = empty(chunks, partitions)
    # More slots than instances are never occupied.
    state = np.zeros((min(slots, len(accesses.instances) - 1), 2), np.int64)
    _run(
        accesses.instances, accesses.steps, accesses.chunk, accesses.write, size,
        homes_of(chunks, partitions), partitions, room, state, links, dirty, fetched, totals,
    )  # fmt: skip
    read = fetched * size
    of: tuple[int, ...] = ()
    if accesses.tensor is not None:
        per_tensor = np.zeros(int(accesses.tensor.max(initial=-1)) + 1, np.int64)
        np.add.at(per_tensor, accesses.tensor, read)
        of = tuple(per_tensor.tolist())
    return Traffic(
        requested_read=int(totals[REQUESTED_READ]),
        requested_written=int(totals[REQUESTED_WRITTEN]),
        dram_read=int(read.sum()),
        dram_written=int(totals[DRAM_WRITTEN]),
        dirty=int((dirty.reshape(partitions, chunks + 1)[:, :chunks] * size).sum()),
        fabric=int(totals[FABRIC]),
        dram_read_of=of,
    )


def empty(chunks: int, partitions: int) -> tuple[Int, Bool, Int, Int]:
    """An L2 without anything in it: links, dirty, fetched, totals of `ask`."""
    links = np.full((partitions * (chunks + 1), 2), ABSENT, np.int64)
    for partition in range(partitions):
        links[_end(partition, chunks)] = _end(partition, chunks)
    return (
        links,
        np.zeros(len(links), np.bool_),
        np.zeros(chunks, np.int64),
        np.zeros(N_TOTALS, np.int64),
    )


def _expect(array: Any, name: str, kind: type) -> None:
    """What the compiled code can index without looking."""
    if not (
        isinstance(array, np.ndarray)
        and array.ndim == 1
        and array.dtype == kind
        and array.flags.c_contiguous
    ):
        raise AccelsimError(
            f"`{name}`: expected a contiguous array of one dimension and {kind.__name__}"
        )


def _expect_offsets(offsets: Int, name: str, end: int, counted: str) -> None:
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != end:
        raise AccelsimError(f"`{name}`: expected offsets from 0 to {end}, the number of {counted}")
    falls = np.flatnonzero(offsets[1:] < offsets[:-1])
    if len(falls):
        at = int(falls[0])
        raise AccelsimError(
            f"`{name}` descends at {at + 1}, from {offsets[at]} to {offsets[at + 1]}"
        )


def homes_of(chunks: int, partitions: int) -> Int:
    """The home partition of each chunk (all arithmetic modulo 2^64)."""
    mixed = (np.arange(chunks, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(63)).astype(np.int64) * (partitions - 1)


# The recency order of a partition is a ring of nodes in `links` [nodes, 2]. Node
# partition * (chunks + 1) + chunk is a chunk's copy there, and the last node of each partition is
# where its ring begins and ends: OLDER of it is the chunk used last, NEWER the next to be evicted.
OLDER, NEWER = 0, 1
ABSENT = -1
REQUESTED_READ, REQUESTED_WRITTEN, DRAM_WRITTEN, FABRIC, USED = range(5)
N_TOTALS = 6  # USED for each of two partitions


def _end(partition: int, chunks: int) -> int:
    return partition * (chunks + 1) + chunks


@njit(inline="always")
def _unlink(links: Int, node: int) -> None:
    older, newer = links[node, OLDER], links[node, NEWER]
    links[newer, OLDER] = older
    links[older, NEWER] = newer


@njit(inline="always")
def _use_now(links: Int, node: int, end: int) -> None:
    first = links[end, OLDER]
    links[node, OLDER], links[node, NEWER] = first, end
    links[first, NEWER] = node
    links[end, OLDER] = node


@njit(inline="always")
def _use(
    links: Int, dirty: Bool, size: Int, totals: Int, partition: int, chunk: int, room: int
) -> bool:
    """Make a chunk the one used last, evicting what leaves no room; whether it was there."""
    base = partition * (len(size) + 1)
    node, end = base + chunk, base + len(size)
    if links[node, OLDER] != ABSENT:
        _unlink(links, node)
        _use_now(links, node, end)
        return True
    used = totals[USED + partition] + size[chunk]
    while used > room:
        victim = links[end, NEWER]
        _unlink(links, victim)
        links[victim, OLDER] = ABSENT
        used -= size[victim - base]
        if dirty[victim]:
            dirty[victim] = False
            totals[DRAM_WRITTEN] += size[victim - base]
    totals[USED + partition] = used
    _use_now(links, node, end)
    return False


@njit(inline="always")
def ask(
    links: Int,
    dirty: Bool,
    size: Int,
    totals: Int,
    fetched: Int,
    home: int,
    partitions: int,
    near: int,
    chunk: int,
    write: bool,
    room: int,
) -> None:
    """One access to a chunk from near a partition."""
    stride = len(size) + 1
    if write:
        totals[REQUESTED_WRITTEN] += size[chunk]
        if home != near:
            totals[FABRIC] += size[chunk]
        if partitions == 2:
            copy = (1 - home) * stride + chunk
            if links[copy, OLDER] != ABSENT:
                _unlink(links, copy)
                links[copy, OLDER] = ABSENT
                totals[USED + 1 - home] -= size[chunk]
        _use(links, dirty, size, totals, home, chunk, room)
        dirty[home * stride + chunk] = True
        return
    totals[REQUESTED_READ] += size[chunk]
    if home != near:
        if links[near * stride + chunk, OLDER] == ABSENT:
            totals[FABRIC] += size[chunk]
            if not _use(links, dirty, size, totals, home, chunk, room):
                fetched[chunk] += 1
        _use(links, dirty, size, totals, near, chunk, room)
    elif not _use(links, dirty, size, totals, near, chunk, room):
        fetched[chunk] += 1


@compiled_code
def _run(
    instances: Int,
    steps: Int,
    chunks: Int,
    write: Bool,
    size: Int,
    homes: Int,
    partitions: int,
    room: int,
    state: Int,
    links: Int,
    dirty: Bool,
    fetched: Int,
    totals: Int,
) -> None:
    """All rounds. state [slots, 2]: next step of the instance there and the end of its steps.

    fetched: [chunks] reads from DRAM of each. dirty: [nodes].
    """
    following = 0
    busy = True
    while busy:
        busy = False
        for slot in range(len(state)):
            while state[slot, 0] == state[slot, 1] and following < len(instances) - 1:
                state[slot, 0] = instances[following]
                state[slot, 1] = instances[following + 1]
                following += 1
            step = state[slot, 0]
            if step == state[slot, 1]:
                continue
            busy = True
            state[slot, 0] = step + 1
            near = slot & (partitions - 1)
            for access in range(steps[step], steps[step + 1]):
                chunk = chunks[access]
                ask(
                    links, dirty, size, totals, fetched, homes[chunk], partitions, near, chunk,
                    write[access], room,
                )  # fmt: skip
