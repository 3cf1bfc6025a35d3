"""A Mapping to a Program: servers, tasks, edges, reservations.

Body order of an epoch: first loads, the Einsums as bound, loads for the next iteration and stores.
The order on a channel is the order of these tasks. A load for iteration n+1 of the loop that it
follows is issued in iteration n: right away when it has a free slot (slots >= 2), else behind the
last reader of the tile that it replaces. A store never keeps the load of a next tile waiting.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from math import ceil, prod

from accelsim.analysis.counts import point_operations
from accelsim.mapping import Binding, Dependence, Mapping, Nest, Placement, slot_count, span
from accelsim.program import actions, clusters
from accelsim.program.check import check
from accelsim.program.draft import DraftEdge, DraftTask
from accelsim.program.instance import inner_guard
from accelsim.program.masked import PARTIAL, Marks
from accelsim.program.off_chip import off_chip
from accelsim.program.order import check_order, settle_lags
from accelsim.program.program import (
    ROOT,
    Edge,
    Guard,
    Loop,
    Phase,
    Program,
    Reservation,
    Server,
    Task,
)
from accelsim.program.systolic import systolic_cycles
from accelsim.program.ticks import to_ticks
from accelsim.program.visits import visits
from accelsim.traced import ratio, whole

# Values of a recurrence that a unit holds beside the one in its level: being read and being made.
FORWARDED_SLOTS = 2


def lower(mapping: Mapping) -> Program:
    """The Program of a mapping. Raises MappingError when the order within an epoch deadlocks."""
    machine = mapping.machine
    servers = clusters.servers(machine)
    drafts = [_Lowering(mapping, nest, servers).run() for nest in mapping.nests]
    per_cycle, rounded = to_ticks(
        [
            (
                [loop.trips for loop in loops],
                [task.cycles for task in tasks],
                [edge.latency for edge in edges],
            )
            for loops, tasks, edges, _ in drafts
        ],
        clusters.TICKS_PER_CYCLE if clusters.in_clusters(machine) else None,
    )
    phases = []
    for nest, (loops, tasks, edges, reservations) in zip(mapping.nests, drafts, strict=True):
        index = {task.name: i for i, task in enumerate(tasks)}
        launch = clusters.launch(machine, nest)
        moved = clusters.moved(nest, servers, tasks) if launch is not None else ()
        numbers = {one.tensor: i for i, one in enumerate(moved)}
        phases.append(
            Phase(
                nest.name,
                loops,
                tuple(_task(task, per_cycle, numbers) for task in tasks),
                tuple(
                    Edge(
                        index[edge.producer],
                        index[edge.consumer],
                        edge.loop,
                        edge.distance,
                        edge.matched,
                        edge.reset,
                        ceil(edge.latency * per_cycle),
                        edge.cause,
                    )
                    for edge in edges
                ),
                reservations,
                launch,
                moved,
            )
        )
    notes = (*mapping.notes, *((rounded,) if rounded else ()))
    made = Program(
        mapping.name,
        machine.clock_hz,
        per_cycle,
        servers,
        tuple(phases),
        notes,
        machine.clusters,
        clusters.memory(machine, servers),
    )
    check(made)
    clusters.check_time(made)
    return made


def _task(task: DraftTask, per_cycle: int, moved: dict[str, int]) -> Task:
    """A task in ticks. moved: numbers of the tensors that transfers move, in a launch."""
    number = moved.get(task.tensor) if task.kind != "einsum" else None
    return Task(
        task.name,
        task.kind,
        task.tensor,
        task.server,
        ceil(task.cycles * per_cycle) if number is None else 0,
        task.guard,
        task.lag,
        task.actions,
        task.active,
        clusters.in_ticks(task.also),
        clusters.in_ticks(task.slows),
        number,
        task.next_of,
    )


class _Lowering:
    """Lowers one nest."""

    def __init__(self, mapping: Mapping, nest: Nest, servers: tuple[Server, ...]) -> None:
        self.mapping = mapping
        self.machine = mapping.machine
        self.nest = nest
        self.loops = tuple(Loop(loop.rank, loop.trips) for loop in nest.loops)
        self.server = {server.name: i for i, server in enumerate(servers)}
        self.channel = servers[-1].name
        self.position = {b.einsum.name: i for i, b in enumerate(nest.bindings)}
        self.edges: list[DraftEdge] = []
        self.reservations: list[Reservation] = []
        self.marks = Marks(nest.masks)

    def run(
        self,
    ) -> tuple[tuple[Loop, ...], list[DraftTask], list[DraftEdge], tuple[Reservation, ...]]:
        einsums = [self._einsum_task(binding) for binding in self.nest.bindings]
        loads = [p for p in self.nest.placements if p.role == "load"]
        loads.sort(key=lambda p: min(self.position[r] for r in self.nest.readers(p.tensor)))
        first = [self._load(p, ahead=False) for p in loads]
        ahead = [p for p in loads if span(p.iterated)[0] != ROOT]
        following = [self._load(p, ahead=True) for p in ahead if p.slots > 1]
        # What waits for the end of an Einsum, in the order in which these end; of what waits for
        # the same one, its store first: a load takes longer, and is needed later.
        ending = [
            (self._ends([p.tensor]), 0, self._store(p)) for p in self.nest.placements if p.stored
        ]
        ending += [
            (self._ends(self.nest.readers(p.tensor)), 1, self._load(p, ahead=True))
            for p in ahead
            if p.slots == 1
        ]
        ending.sort(key=lambda item: item[:2])
        refills, spills, moving = off_chip(self.machine, self.nest, self.server[self.channel])
        self.edges += moving
        tasks = [*first, *refills, *einsums, *following, *spills, *(task for _, _, task in ending)]
        for dependence in self.nest.dependences:
            self._dependence_edges(dependence)
        for placement in loads:
            self._load_edges(placement)
        for placement in self.nest.placements:
            if placement.stored:
                self._store_edges(placement)
        self._serial_edges(einsums)
        tasks = self._with_masking(tasks)
        tasks = settle_lags(self.nest, tasks, self.edges)
        check_order(self.mapping.name, self.nest, tasks, self.edges)
        tasks = [
            dataclasses.replace(t, guard=self.marks.turned(t.guard, t.iterated)) for t in tasks
        ]
        if self.nest.launch is not None:
            tasks, self.edges = clusters.launched(
                self.machine, self.nest, tasks, self.edges, self.server
            )
        index = {task.name: i for i, task in enumerate(tasks)}
        for placement in self.nest.placements:
            self._reserve(placement, index)
        server_of = {task.name: task.server for task in tasks}
        loops = self.marks.loops(self.loops)
        tasks = [self._without_outside(task, loops) for task in tasks]
        # What an instance loads can be used later than the transfer ends.
        late = {t.name for t in tasks if self.nest.launch is not None and t.kind == "load"}
        needed = [
            edge
            for edge in dict.fromkeys(self.edges)
            if edge.latency
            or server_of[edge.producer] != server_of[edge.consumer]
            or edge.producer in late
        ]
        return loops, tasks, needed, tuple(self.reservations)

    def _without_outside(self, task: DraftTask, loops: tuple[Loop, ...]) -> DraftTask:
        """A transfer that knows what of its tiles lies beyond the ends of ranks."""
        if task.kind == "einsum" or not self.nest.placement(task.tensor).ends:
            return task
        placement = self.nest.placement(task.tensor)
        tile = prod(end.size for end in placement.ends)
        kept = visits(loops, task.guard, placement.ends)
        runs = visits(loops, task.guard)
        if task.name == self._load_name(task.tensor, ahead=True):
            # It runs on the tile before: what all loads move, but for the first.
            every = Guard(first=tuple(i for i in range(len(loops)) if i not in task.iterated))
            first = self._load(placement, ahead=False).guard
            every, first = (self.marks.turned(g, task.iterated) for g in (every, first))
            if self.nest.launch is not None:
                grid = self.nest.launch.grid
                every, first = (inner_guard(g, grid) or g for g in (every, first))
            kept = visits(loops, every, placement.ends) - visits(loops, first, placement.ends)
        missing = runs - Fraction(kept, tile)
        moved = tuple(
            dataclasses.replace(action, outside_bytes=action.size_bytes * missing)
            if action.part == self.machine.shared.name
            else action
            for action in task.actions
        )
        return dataclasses.replace(task, actions=moved)

    def _ends(self, einsums: list[str]) -> tuple[int, int]:
        """When the last of these Einsums ends on a tile: its stage, and its place in the order."""
        return max((self.nest.binding(name).stage, self.position[name]) for name in einsums)

    # Tasks ------------------------------------------------------------------------------------

    def _einsum_task(self, binding: Binding) -> DraftTask:
        _, active = _steps(binding)
        return DraftTask(
            name=binding.einsum.name,
            kind="einsum",
            tensor=binding.einsum.name,
            server=self.server[binding.unit.name],
            cycles=einsum_cycles(binding),
            guard=Guard(first=binding.first, last=binding.last),
            lag=binding.stage,
            actions=actions.of_einsum(self.mapping, self.nest, binding),
            active=active,
            iterated=binding.iterated,
        )

    def _with_masking(self, tasks: list[DraftTask]) -> list[DraftTask]:
        """The tasks, and behind each Einsum that leaves points out the work of doing so.

        Only at tiles that are left in part; readers wait for it.
        """
        out = []
        for task in tasks:
            out.append(task)
            for of in dict.fromkeys(
                of for m in self.nest.masks for of, by in m.done if by == task.name
            ):
                under = [
                    m for m in self.nest.masks if m.partial.any() and (of, task.name) in m.done
                ]
                binding = self.nest.binding(task.name)
                operation = binding.unit.operation("mask")
                if operation is None or not under:
                    continue
                made = actions.made_tile(self.nest.binding(of))
                # Of ranks that no loop cuts, every tile is left in part.
                marked = (PARTIAL,) if all(mask.loops for mask in under) else ()
                kept = dataclasses.replace(binding, tile=made)
                masking = dataclasses.replace(
                    task,
                    name=f"mask {of}",
                    cycles=ratio(_steps(kept)[0] * operation.cycles),
                    guard=dataclasses.replace(task.guard, marked=marked),
                    actions=actions.of_masking(binding, made, operation),
                )
                out.append(masking)
                self.edges += [
                    dataclasses.replace(edge, producer=masking.name)
                    for edge in self.edges
                    if edge.producer == task.name and edge.cause == "data"
                ]
        return out

    def _load(self, placement: Placement, *, ahead: bool) -> DraftTask:
        loop, _ = span(placement.iterated)
        outer = tuple(range(loop + 1))
        others = tuple(
            i for i in range(len(self.loops)) if i > loop and i not in placement.iterated
        )
        guard = Guard(first=(*outer, *others))
        if ahead:
            at_last = placement.slots == 1
            guard = Guard(
                first=() if at_last else others, last=others if at_last else (), not_last=outer
            )
        level = self.machine.outermost
        assert level.bandwidth is not None  # arch.build asks for it
        size = placement.tile_bytes
        return DraftTask(
            name=self._load_name(placement.tensor, ahead=ahead),
            kind="load",
            tensor=placement.tensor,
            server=self.server[self.channel],
            cycles=size / level.bandwidth,
            guard=guard,
            actions=actions.of_load(self.machine, placement),
            iterated=placement.iterated,
        )

    def _store(self, placement: Placement) -> DraftTask:
        binding = self.nest.binding(placement.tensor)
        level = self.machine.outermost
        assert level.bandwidth is not None  # arch.build asks for it
        return DraftTask(
            name=f"store {placement.tensor}",
            kind="store",
            tensor=placement.tensor,
            server=self.server[self.channel],
            cycles=placement.tile_bytes / level.bandwidth,
            guard=self._final(binding),
            lag=binding.stage,
            actions=actions.of_store(self.machine, placement),
            iterated=placement.iterated,
        )

    def _final(self, binding: Binding) -> Guard:
        """When the tile that an Einsum makes is complete: last in what it reduces, too."""
        kept = self.nest.placement(binding.einsum.name).iterated
        reduced = {i for i in binding.iterated if i not in kept}
        return Guard(first=binding.first, last=tuple(sorted({*binding.last, *reduced})))

    @staticmethod
    def _load_name(tensor: str, *, ahead: bool) -> str:
        return f"load {tensor} ahead" if ahead else f"load {tensor}"

    # Edges ------------------------------------------------------------------------------------

    def _dependence_edges(self, dep: Dependence) -> None:
        """The wait for the data, and the wait of the next producer for a free slot."""
        producer, consumer = self.nest.binding(dep.producer), self.nest.binding(dep.consumer)
        leaves = ratio(producer.drain if producer.unit is not consumer.unit else 0)
        self.edges.append(
            DraftEdge(
                dep.producer,
                dep.consumer,
                dep.loop,
                dep.distance,
                dep.matched,
                reset=dep.kind == "carried",
                latency=leaves,
            )
        )
        placement = self.nest.placement(dep.tensor)
        loop, matched = span(placement.iterated)
        slots = placement.slots
        if dep.kind == "tile" and placement.role == "state":
            (loop, matched), slots = span(producer.iterated), FORWARDED_SLOTS
        # The state of a recurrence starts afresh in the next run of its loop, not before its end
        # was read; a value carried within a run is read before it is replaced (FORWARDED_SLOTS).
        if dep.kind != "carried" and loop != ROOT:
            self.edges.append(
                DraftEdge(dep.consumer, dep.producer, loop, slots, matched, cause="slot")
            )

    def _load_edges(self, placement: Placement) -> None:
        loop, matched = span(placement.iterated)
        latency = self.machine.outermost.latency
        first = self._load_name(placement.tensor, ahead=False)
        ahead = self._load_name(placement.tensor, ahead=True)
        for reader in self.nest.readers(placement.tensor):
            self.edges.append(
                DraftEdge(first, reader, loop, 0, matched, latency=latency, cause="bandwidth")
            )
            if loop == ROOT:
                continue
            self.edges.append(
                DraftEdge(ahead, reader, loop, 1, matched, latency=latency, cause="bandwidth")
            )
            self.edges.append(
                DraftEdge(reader, ahead, loop, placement.slots - 1, matched, cause="slot")
            )

    def _store_edges(self, placement: Placement) -> None:
        binding = self.nest.binding(placement.tensor)
        loop, matched = span(binding.iterated)
        store = f"store {placement.tensor}"
        leaves = ratio(binding.drain)
        self.edges.append(DraftEdge(placement.tensor, store, loop, 0, matched, latency=leaves))
        slot_loop, slot_matched = span(placement.iterated)
        if slot_loop != ROOT:
            self.edges.append(
                DraftEdge(
                    store, placement.tensor, slot_loop, placement.slots, slot_matched, cause="slot"
                )
            )

    def _serial_edges(self, tasks: list[DraftTask]) -> None:
        """No Einsum of an iteration starts before all of the iteration before have ended.

        Enough: on each server, the tasks up to the first that always runs wait for those from the
        last that always runs.
        """
        if self.nest.serial is None:
            return
        bound = [task for task in tasks if task.name not in self.nest.beside]
        servers = sorted({task.server for task in bound})
        firsts: list[DraftTask] = []
        lasts: list[DraftTask] = []
        for server in servers:
            own = [task for task in bound if task.server == server]
            firsts += _through_unguarded(own)
            lasts += _through_unguarded(own[::-1])
        for producer in lasts:
            for consumer in firsts:
                self.edges.append(
                    DraftEdge(
                        producer.name,
                        consumer.name,
                        self.nest.serial,
                        1,
                        latency=ratio(self.nest.binding(producer.name).drain),
                        cause="order",
                    )
                )

    # Reservations -----------------------------------------------------------------------------

    def _reserve(self, placement: Placement, index: dict[str, int]) -> None:
        if placement.level is None:
            return
        takes: tuple[int, ...] = ()
        gives: tuple[tuple[int, Guard], ...] = ()
        turned = self.marks.turned
        readers = self.nest.readers(placement.tensor)
        inside = tuple(
            i
            for i in range(len(self.loops))
            if i not in placement.iterated and i > span(placement.iterated)[0]
        )
        if placement.role == "load":
            names = [self._load_name(placement.tensor, ahead=ahead) for ahead in (False, True)]
            takes = tuple(index[name] for name in names if name in index)
            last_reader = max(readers, key=lambda r: (self.nest.binding(r).stage, index[r]))
            gives = ((index[last_reader], turned(Guard(last=inside), placement.iterated)),)
        elif placement.role == "made" and (readers or placement.stored):
            takes = (index[placement.tensor],)
            last = max(readers, key=lambda r: (self.nest.binding(r).stage, index[r]), default="")
            name = f"store {placement.tensor}" if placement.stored else last
            gives = ((index[name], Guard()),)
        self.reservations.append(
            Reservation(
                placement.level.name,
                placement.tensor,
                slot_count(placement, self.nest.loops),
                whole(placement.tile_bytes),
                takes,
                gives,
            )
        )


def einsum_cycles(binding: Binding) -> Fraction:
    """Cycles that a tile of an Einsum keeps its unit busy."""
    per_point = 0
    for name, count in point_operations(binding.einsum).items():
        operation = binding.unit.operation(name)
        assert operation is not None  # rule 1 of the mapping
        per_point += count * operation.cycles
    taken = systolic_cycles(binding) if binding.unit.systolic else None
    cycles: Fraction = ratio(_steps(binding)[0] * per_point if taken is None else taken)
    return cycles / clusters.rate(binding)


def _steps(binding: Binding) -> tuple[int, Fraction]:
    """Points of a tile that one element does in turn, and the share of elements used."""
    spread = {dimension: 1 for dimension, _ in binding.spatial}
    dimension_of = {rank: dimension for dimension, rank in binding.spatial}
    steps = binding.copies
    for rank, size in binding.tile:
        if rank in dimension_of:
            spread[dimension_of[rank]] *= size
        else:
            steps *= size
    active: Fraction = Fraction(1)
    for dimension, extent in binding.unit.shape:
        points = spread.get(dimension, 1)
        folds = -(-points // extent)
        steps *= folds
        active *= ratio(points, folds * extent)
    return steps, active


def _through_unguarded(tasks: list[DraftTask]) -> list[DraftTask]:
    """Tasks up to and with the first that has no guard."""
    out = []
    for task in tasks:
        out.append(task)
        if task.guard == Guard():
            break
    return out
