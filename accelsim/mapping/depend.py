"""Dependences between the Einsums of one nest, and when each Einsum runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from accelsim.cascade import Cascade, Einsum
from accelsim.cascade.nodes import Access, At, End, Index, iteration_variables, reduced_variables
from accelsim.mapping.nest import Dependence, Loop, span

Complain = Callable[..., None]


@dataclass(frozen=True)
class Nesting:
    """The Einsums of a phase, the loops around them, and how ranks are cut into parts.

    grid: how many of the loops, from the outermost, choose an instance. Instances share nothing:
    each has tiles of its own of everything.
    """

    cascade: Cascade
    loops: tuple[Loop, ...]
    parts: dict[str, tuple[str, ...]]
    einsums: tuple[Einsum, ...]
    grid: int = 0

    def loops_of(self, ranks: tuple[str, ...]) -> tuple[int, ...]:
        """Loops over some part of these ranks of the cascade."""
        parts = {part for rank in ranks for part in self.parts[rank]}
        return tuple(i for i, loop in enumerate(self.loops) if loop.rank in parts)

    def iterated(self, einsum: Einsum) -> tuple[int, ...]:
        return self.with_grid(self.loops_of(self._ranks(iteration_variables(einsum))))

    def with_grid(self, loops: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted({*range(self.grid), *loops}))

    def reduced(self, einsum: Einsum) -> tuple[int, ...]:
        return self.loops_of(self._ranks(reduced_variables(einsum)))

    def reduced_parts(self, einsum: Einsum) -> tuple[str, ...]:
        """Parts, looped over or not, of the ranks that an Einsum reduces."""
        ranks = self._ranks(reduced_variables(einsum))
        return tuple(part for rank in ranks for part in self.parts[rank])

    def tile(self, einsum: Einsum) -> tuple[str, ...]:
        """Parts of the iteration space inside the loops."""
        looped = {loop.rank for loop in self.loops}
        ranks = self._ranks(iteration_variables(einsum))
        return tuple(part for rank in ranks for part in self.parts[rank] if part not in looped)

    def _ranks(self, variables: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.cascade.rank_of(variable) for variable in variables)


def dependences(
    nesting: Nesting, stages: dict[str, int], complain: Complain
) -> tuple[tuple[Dependence, ...], dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Dependences, and for every Einsum the loops at whose first, and last, coordinate it runs.

    An Einsum that lacks the rank of a loop runs once in it: at its last coordinate when it reads
    something complete only then (a reduction over the loop, the end of a recurrence), else at the
    first. An Einsum that has the rank and reads such a thing crosses a pass boundary: complained,
    unless its stage is a whole run of the loop behind. stages: epochs behind the first, by Einsum.
    """
    for einsum in nesting.einsums:
        shared = [i for i in nesting.reduced(einsum) if i < nesting.grid]
        if shared:
            rank = nesting.loops[shared[0]].rank
            message = f"{einsum.name} is reduced over {rank}, of the grid: instances share nothing"
            complain(einsum.name, message)
    first, last, crossings = in_loops(nesting)
    for crossing in crossings:
        consumer, tensor = crossing.consumer, crossing.producer
        run = prod(loop.trips for loop in nesting.loops[crossing.loop :])
        if stages[consumer] - stages[tensor] < run:
            rank = nesting.loops[crossing.loop].rank
            complain(
                consumer,
                f"{consumer} is fused across a pass boundary: it runs in the loop over "
                f"{rank}, but {tensor} is complete only after the last {rank}",
                help=(
                    f"bind {consumer} in a later phase than {tensor}, or in a stage "
                    "that is a whole run of that loop later",
                ),
            )
    made = {einsum.name: einsum for einsum in nesting.einsums}
    out: list[Dependence] = []
    for einsum in nesting.einsums:
        for access in dict.fromkeys(einsum.inputs):
            if access.tensor in made:
                found = _dependence(nesting, made[access.tensor], einsum, access, complain)
                if found is not None and found not in out:
                    out.append(found)
    return tuple(out), first, last


@dataclass(frozen=True)
class Crossing:
    """`consumer` runs in a loop only after whose last iteration what `producer` makes is there."""

    producer: str
    consumer: str
    loop: int


def in_loops(
    nesting: Nesting,
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]], tuple[Crossing, ...]]:
    """For every Einsum the loops at whose first, and last, coordinate it runs; pass boundaries.

    As `dependences` says. The loop of a crossing is the outermost that is crossed.
    """
    made = {einsum.name: einsum for einsum in nesting.einsums}
    order = {einsum.name: i for i, einsum in enumerate(nesting.cascade.einsums)}
    first: dict[str, tuple[int, ...]] = {}
    last: dict[str, tuple[int, ...]] = {}
    found: list[Crossing] = []
    for einsum in sorted(nesting.einsums, key=lambda e: order[e.name]):
        iterated = nesting.iterated(einsum)
        at_end: set[int] = set()
        for access in einsum.inputs:
            producer = made.get(access.tensor)
            if producer is None:
                continue
            final = set(nesting.reduced(producer)) | set(last.get(producer.name, ()))
            final |= set(_end_loops(nesting, access))
            crossing = final & set(iterated)
            if crossing:
                found.append(Crossing(producer.name, einsum.name, min(crossing)))
            at_end |= final - crossing
        rest = [i for i in range(len(nesting.loops)) if i not in iterated]
        last[einsum.name] = tuple(i for i in rest if i in at_end)
        first[einsum.name] = tuple(i for i in rest if i not in at_end)
    return first, last, tuple(found)


def _end_loops(nesting: Nesting, access: Access) -> tuple[int, ...]:
    ends = tuple(index.rank for index in access.indices if isinstance(index, End))
    return nesting.loops_of(ends)


def _dependence(
    nesting: Nesting, producer: Einsum, consumer: Einsum, access: Access, complain: Complain
) -> Dependence | None:
    """How `consumer` waits for `producer` through this access; None after a complaint."""
    tensor = nesting.cascade.tensor(access.tensor)
    loop, matched = span(nesting.iterated(producer))
    kind: str = "tile"
    distance = 0
    for rank, written, read in zip(
        tensor.ranks, producer.output.indices, access.indices, strict=True
    ):
        step = _step(written, read)
        if step is None:
            complain(
                consumer.name,
                f"{consumer.name} reads {tensor.name} at a coordinate of {rank} that no tile of "
                "this phase is at; a mapping takes v, v+1 and the end of an iterative rank",
            )
            return None
        if tensor.initial is None or not _moves(written):
            if step != 0:
                complain(
                    consumer.name,
                    f"{consumer.name} reads {tensor.name} at an offset on {rank}: "
                    "a halo cannot be mapped",
                )
                return None
            continue
        over = nesting.loops_of((rank,))
        if len(over) != len(nesting.parts[rank]):
            message = f"{rank} is iterative: every part of it must be a loop of this phase"
            complain(consumer.name, message)
            return None
        if isinstance(read, End):
            kind = "end"
        elif step > 0:
            iterated = nesting.iterated(producer)
            kind, distance, loop = "carried", step, over[-1]
            matched = tuple(i for i in iterated if i > loop)
            if any(i not in iterated for i in range(loop)):
                rank_outside = next(i for i in range(loop) if i not in iterated)
                message = (
                    f"{producer.name} does not have the rank of the loop over "
                    f"{nesting.loops[rank_outside].rank}, which stands outside its recurrence"
                )
                complain(consumer.name, message)
                return None
        elif step < 0:
            complain(consumer.name, f"{consumer.name} reads {tensor.name} before it is made")
            return None
    if kind == "tile" and set(nesting.reduced(producer)) & set(nesting.iterated(consumer)):
        # Complete after a whole run of the loops that it is reduced over: the last one made.
        loop, matched = span(nesting.loops_of(tensor.ranks))
    if kind == "tile":
        return Dependence(tensor.name, producer.name, consumer.name, "tile", loop, 0, matched)
    if kind == "end":
        return Dependence(tensor.name, producer.name, consumer.name, "end", loop, 0, matched)
    return Dependence(tensor.name, producer.name, consumer.name, "carried", loop, distance, matched)


def _moves(written: Index) -> bool:
    return isinstance(written, At) and written.offset != 0


def _step(written: Index, read: Index) -> int | None:
    """Iterations from the write to the read of one coordinate; 0 at the end; None when neither."""
    match written, read:
        case At(offset=a), At(offset=c):
            return a - c
        case At(), End():
            return 0
        case _:
            return None
