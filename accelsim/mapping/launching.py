"""How a phase is launched: instances, their threads, how many a cluster has room for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction

from accelsim.arch import Machine
from accelsim.cascade import Access
from accelsim.cascade.nodes import At, Computed
from accelsim.cascade.whole import variables
from accelsim.mapping.depend import Nesting
from accelsim.mapping.nest import Binding, Launch, Loop, Nest, Placement, slot_count
from accelsim.spec.mappings import LaunchSpec

Complain = Callable[[tuple[str | int, ...], str], None]


def launch(spec: LaunchSpec | None, loops: tuple[Loop, ...], complain: Complain) -> Launch | None:
    """The launch that a mapping file asks for; `resident` is 1 where it is left to the machine."""
    if spec is None:
        return None
    ranks = [loop.rank for loop in loops]
    if not spec.grid or spec.grid != ranks[: len(spec.grid)]:
        message = f"grid: expected the outermost of the loops {', '.join(ranks)}, in this order"
        complain(("launch", "grid"), message)
        return None
    teams = 1
    if spec.teams is not None:
        if spec.teams not in ranks[len(spec.grid) :]:
            inside = ", ".join(ranks[len(spec.grid) :]) or "none"
            message = f"teams: expected a loop inside the grid ({inside}), got {spec.teams}"
            complain(("launch", "teams"), message)
            return None
        teams = loops[ranks.index(spec.teams)].trips
    if spec.threads % teams:
        complain(("launch", "threads"), f"{spec.threads} threads do not divide into {teams} teams")
    return Launch(
        grid=len(spec.grid),
        threads=spec.threads,
        resident=spec.resident or 1,
        loaders=spec.loaders,
        registers=spec.registers,
        schedule=spec.schedule,
        overlap=spec.overlap,
        teams=teams,
    )


def with_threads(
    launch: Launch, bindings: tuple[Binding, ...], nesting: Nesting, complain: Complain
) -> tuple[Binding, ...]:
    """Bindings that know how often the threads of their team read a tile.

    Those that issue an instruction together take a share of the unit's first dimension; what lacks
    its rank each of them reads whole.
    """
    threads = launch.threads // launch.teams
    for binding in bindings:
        one = binding.instruction
        if one is not None and threads % one.threads:
            of = (
                f" of a team, {launch.teams} of which share {launch.threads},"
                if launch.teams > 1
                else ""
            )
            message = f"{threads} threads{of} cannot issue {one.name}, of {one.threads} each"
            complain(("launch", "threads"), message)
            return bindings
    return tuple(_with_reads(binding, threads, nesting) for binding in bindings)


def _with_reads(binding: Binding, threads: int, nesting: Nesting) -> Binding:
    one = binding.instruction
    if one is None or threads <= one.threads:
        return binding
    first = binding.unit.shape[0][0]
    shared_out = {part for dimension, part in binding.spatial if dimension == first}
    whole = [
        access.tensor
        for access in binding.einsum.inputs
        if not any(shared_out & {*nesting.parts[rank]} for rank in _ranks(nesting, access))
    ]
    reads = tuple((tensor, threads // one.threads) for tensor in dict.fromkeys(whole))
    return dataclasses.replace(binding, reads=reads)


def _ranks(nesting: Nesting, access: Access) -> list[str]:
    """Ranks whose variables an access looks at."""
    over: list[str] = []
    for index in access.indices:
        if isinstance(index, At):
            over.append(index.variable)
        elif isinstance(index, Computed):
            over += variables(index.whole)
    return [nesting.cascade.rank_of(variable) for variable in over]


def resident(
    launch: Launch, spec: LaunchSpec | None, most: tuple[int | None, str], complain: Complain
) -> Launch:
    """The launch with as many instances on a cluster as asked for, or else as fit."""
    asked = spec.resident if spec is not None else None
    if asked is None and most[0] == 0:
        complain(("launch", "threads"), f"{most[1]} allow no instance on a cluster")
    return dataclasses.replace(launch, resident=asked or most[0] or 1)


def crowded(machine: Machine, nest: Nest) -> list[str]:
    """A note on more instances on a cluster than fit by what is known of them here.

    A compiler may hold less in a level than a mapping does: it is what the file says that counts.
    """
    if nest.launch is None:
        return []
    most, why = fitting_instances(machine, nest.launch, nest.placements, nest.loops)
    if most is None or most >= nest.launch.resident:
        return []
    many = f"{nest.launch.resident} instances on a cluster, as the mapping says"
    return [f"phase {nest.name}: {many}; {why} allow {most}"]


def fitting_instances(
    machine: Machine, launch: Launch, placements: tuple[Placement, ...], loops: tuple[Loop, ...]
) -> tuple[int | None, str]:
    """The most that fit, and what it is that allows no more. None where nothing limits them.

    What a level holds of an instance, its registers and its threads against what the machine says
    that a cluster has. A level's capacity is what one instance can have of it: what the machine
    reserves for each comes on top of it once.
    """
    limits = machine.limits
    if limits is None:
        return None, ""
    threads = launch.threads + launch.loaders
    found = [(limits.instances, "its places"), (limits.threads // threads, "its threads")]
    if launch.registers is not None:
        found.append((limits.registers // (threads * launch.registers), "its registers"))
    for level in machine.levels[1:]:
        if level.capacity_bytes is None:
            continue
        held = sum(
            (
                p.tile_bytes * slot_count(p, loops)
                for p in placements
                if p.level is level and not p.overbook
            ),
            Fraction(0),
        )
        spare = limits.reserved_bytes if level is machine.levels[-1] else 0
        each = held + spare
        if each:
            found.append(
                (int((level.capacity_bytes + spare) // each), f"the bytes of {level.name}")
            )
    return min(found)
