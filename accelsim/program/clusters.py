"""What a launch adds to the lowering of a phase: servers of clusters, what tasks occupy there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, prod

from accelsim.analysis.counts import point_operations
from accelsim.arch import Machine
from accelsim.errors import AccelsimError, MappingError
from accelsim.mapping import Binding, Mapping, Nest, span
from accelsim.program.draft import DraftEdge, DraftTask
from accelsim.program.instance import inner_guard, instances
from accelsim.program.launch import Channel, Hold, Launch, Memory, Moved
from accelsim.program.program import Program, Server
from accelsim.program.ticks import LIMIT
from accelsim.program.visits import executed

TICKS_PER_CYCLE = 256
"""Of programs with launches: their times are rounded up to one of these."""


def in_clusters(machine: Machine) -> bool:
    return machine.clusters > 1 or machine.cache is not None


def servers(machine: Machine) -> tuple[Server, ...]:
    """Units and channels, the outermost last. Units, levels inside and ports are of a cluster."""
    shared = not in_clusters(machine)
    found = [Server(unit.name, "unit", unit.instances, shared) for unit in machine.units]
    if not shared:
        inner = [level for level in machine.levels[1:] if level.bandwidth is not None]
        found += [Server(level.name, "channel", shared=False) for level in inner]
        if machine.cache is not None and machine.cache.port is not None:
            found.append(Server(_port(machine), "channel", shared=False))
        if machine.cache is not None and machine.cache.level.bandwidth is not None:
            found.append(Server(machine.cache.name, "channel"))
    return (*found, Server(machine.outermost.name, "channel"))


def _port(machine: Machine) -> str:
    assert machine.cache is not None  # whoever asks has looked
    return f"{machine.cache.name}_port"


def memory(machine: Machine, servers: Sequence[Server]) -> Memory | None:
    """The channels of transfers; None on a machine without clusters."""
    if not in_clusters(machine):
        return None
    number = {server.name: i for i, server in enumerate(servers)}

    def channel(name: str, bandwidth: Fraction | None, latency: Fraction) -> Channel | None:
        if bandwidth is None:
            return None
        return Channel(number[name], TICKS_PER_CYCLE / bandwidth, ceil(latency * TICKS_PER_CYCLE))

    outer = channel(machine.outermost.name, machine.outermost.bandwidth, machine.outermost.latency)
    assert outer is not None  # arch.build asks for it
    inner = [channel(level.name, level.bandwidth, Fraction(0)) for level in machine.levels[1:]]
    cache = machine.cache
    found = Memory(outer, tuple(one for one in inner if one is not None))
    if cache is None:
        return found
    return dataclasses.replace(
        found,
        port=channel(_port(machine), cache.port, Fraction(0)),
        cache=channel(cache.name, cache.level.bandwidth, Fraction(0)),
        cache_latency=ceil(cache.level.latency * TICKS_PER_CYCLE),
        capacity_bytes=cache.level.capacity_bytes,
        partitions=cache.partitions,
    )


def check_launched(mapping: Mapping) -> None:
    """Raise MappingError for phases that a machine cannot run as they are mapped."""
    machine = mapping.machine
    faults = []
    for nest in mapping.nests if in_clusters(machine) else ():
        at = ("phases", nest.name)
        if nest.launch is None:
            message = f"{nest.name}: {machine.name} has clusters, which run what is launched"
            help = ("say with `launch` which loops choose an instance",)
            faults.append(mapping.source.fault(at, message, help=help, key=True))
        if nest.serial is not None:
            message = f"{nest.name}: serial has no effect on {machine.name}, which has clusters"
            help = ("without `overlap`, Einsums of an instance run one at a time",)
            faults.append(mapping.source.fault((*at, "serial"), message, help=help, key=True))
    if faults:
        raise MappingError(faults)


def check_time(made: Program) -> None:
    """Raise AccelsimError when launches could take longer than 64-bit ticks can tell.

    As if one thing followed the other on one cluster, and each cluster waited for all of it.
    """
    memory = made.memory
    if memory is None:
        return
    channels = [c for c in (*memory.inner, memory.port, memory.cache, memory.outer) if c]
    per_byte = sum((c.ticks_per_byte for c in channels), Fraction(0))
    late = memory.cache_latency + sum(c.latency for c in channels)
    total = Fraction(0)
    for phase in made.phases:
        if phase.launch is None:
            continue
        waits = max((edge.latency for edge in phase.edges), default=0)
        total += phase.launch.cost
        total += instances(phase) * max(phase.launch.start, phase.launch.next)
        for task, times in zip(phase.tasks, executed(phase), strict=True):
            each = Fraction(task.occupancy + waits)
            each += sum(hold.ticks for hold in (*task.also, *task.slows))
            if task.moved is not None:
                moved = phase.moved[task.moved]
                each += late + 2 * (moved.elements * moved.word_bytes * per_byte + len(channels))
            total += times * each
    if total * made.clusters >= LIMIT:
        cycles = float(total / made.ticks_per_cycle)
        raise AccelsimError(
            f"a run of up to {cycles:.3g} cycles on {made.clusters} clusters does not fit 64-bit "
            "time: look at the machine's launch times, latencies and bandwidths"
        )


def launch(machine: Machine, nest: Nest) -> Launch | None:
    """The launch of a phase in ticks; None on a machine without clusters."""
    given, cost = nest.launch, machine.launch
    if given is None or not in_clusters(machine):
        return None
    ticks = [Fraction(0)] * 3 if cost is None else [cost.cost, cost.start, cost.next]
    of_launch, start, following = (ceil(cycles * TICKS_PER_CYCLE) for cycles in ticks)
    return Launch(
        grid=given.grid,
        slots=given.resident,
        schedule=given.schedule,
        in_order=not given.overlap,
        cost=of_launch,
        start=start,
        next=following,
    )


def moved(nest: Nest, servers: Sequence[Server], tasks: Sequence[DraftTask]) -> tuple[Moved, ...]:
    """Tiles of each tensor that some task moves, numbered one tensor after the other."""
    names = {task.tensor for task in tasks if task.kind != "einsum"}
    number = {server.name: i for i, server in enumerate(servers)}
    found: list[Moved] = []
    first = 0
    for placement in nest.placements:
        if placement.tensor not in names:
            continue
        identity = placement.identity
        tiles = prod(nest.loops[loop].trips for loop in identity.loops)
        if identity.names is not None:
            tiles *= int(identity.names.max()) + 1
        level = placement.level
        found.append(
            Moved(
                tensor=placement.tensor,
                identity=identity,
                first=first,
                tiles=tiles,
                elements=placement.elements,
                word_bytes=placement.word_bytes,
                ends=placement.ends,
                server=number.get(level.name) if level is not None else None,
            )
        )
        first += tiles
    return tuple(found)


def launched(
    machine: Machine,
    nest: Nest,
    tasks: Sequence[DraftTask],
    edges: Sequence[DraftEdge],
    server: dict[str, int],
) -> tuple[list[DraftTask], list[DraftEdge]]:
    """Tasks and edges of a phase as an instance has them.

    Guards look at loops inside the grid only; transfers know their tiles; Einsums, what they read
    of a level and whom they slow. What never runs in an instance is left out.
    """
    assert nest.launch is not None
    grid = nest.launch.grid
    out = []
    for task in tasks:
        guard = inner_guard(task.guard, grid)
        if guard is None:
            continue
        task = dataclasses.replace(task, guard=guard)
        if task.kind == "einsum":
            task = _with_holds(machine, nest, task, server)
        else:
            loop, matched = span(task.iterated)
            ahead = task.name == f"load {task.tensor} ahead"
            task = dataclasses.replace(task, next_of=(loop, matched) if ahead else None)
        out.append(task)
    there = {task.name: task for task in out}
    kept = []
    for edge in edges:
        if edge.producer in there and edge.consumer in there:
            late = there[edge.producer].kind != "load"  # what is loaded has a latency of its own
            kept.append(edge if late else dataclasses.replace(edge, latency=Fraction(0)))
    return out, kept


def _with_holds(machine: Machine, nest: Nest, task: DraftTask, server: dict[str, int]) -> DraftTask:
    """An Einsum's task with what it occupies beside its unit, and what it takes from others.

    Masking is done on what stands in registers: it reads nothing of a level.
    """
    unit = next(unit for unit in machine.units if server[unit.name] == task.server)
    also = []
    for level in machine.levels[1:]:
        if level.bandwidth is None or task.name != task.tensor:
            continue
        size = _crossing(nest, nest.binding(task.tensor), level.name)
        if size:
            also.append((server[level.name], size / level.bandwidth))
    slows = tuple(
        (server[name], task.cycles * share) for name, share in unit.slows if name in server
    )
    return dataclasses.replace(task, also=tuple(also), slows=slows)


def _crossing(nest: Nest, binding: Binding, level: str) -> Fraction:
    """Bytes that the threads of an instance read of a level, and write there, for one tile."""
    times = dict(binding.reads)
    tensors = dict.fromkeys(access.tensor for access in binding.einsum.inputs)
    tensors[binding.einsum.name] = None
    return sum(
        (
            placement.tile_bytes * times.get(placement.tensor, 1)
            for placement in map(nest.placement, tensors)
            if placement.level is not None and placement.level.name == level
        ),
        Fraction(0),
    )


def rate(binding: Binding) -> Fraction:
    """Of a unit's own, at which the instruction of an Einsum is done."""
    one = binding.instruction
    if one is None or one.operation not in point_operations(binding.einsum):
        return Fraction(1)
    return one.rate


def in_ticks(held: Sequence[tuple[int, Fraction]]) -> tuple[Hold, ...]:
    return tuple(Hold(server, ceil(cycles * TICKS_PER_CYCLE)) for server, cycles in held)
