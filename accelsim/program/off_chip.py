"""Transfers of what has no room in its level or is kept off chip: back for use, out when made."""

from __future__ import annotations

import dataclasses

from accelsim.arch import Machine
from accelsim.mapping import Binding, Nest, Placement, span
from accelsim.program import actions
from accelsim.program.draft import DraftEdge, DraftTask
from accelsim.program.program import Guard


def off_chip(
    machine: Machine, nest: Nest, channel: int
) -> tuple[list[DraftTask], list[DraftTask], list[DraftEdge]]:
    """Refills, spills, and the edges between them and the Einsums. channel: number of a server."""
    moves = _Moves(machine, nest, channel)
    for placement in nest.placements:
        if placement.spilled or placement.off_chip:
            moves.of(placement)
    return moves.refills, moves.spills, moves.edges


class _Moves:
    def __init__(self, machine: Machine, nest: Nest, channel: int) -> None:
        self.machine = machine
        self.nest = nest
        self.channel = channel
        self.refills: list[DraftTask] = []
        self.spills: list[DraftTask] = []
        self.edges: list[DraftEdge] = []

    def of(self, placement: Placement) -> None:
        tensor = placement.tensor
        for reader in self._fetching(placement):
            binding = self.nest.binding(reader)
            guard = Guard(first=binding.first, last=binding.last)
            if placement.role != "made":
                # Not what a load has just brought, nor a state at its beginning.
                kept = tuple(i for i in binding.iterated if i not in placement.iterated)
                if not kept:
                    continue  # fetched anew every time
                guard = dataclasses.replace(guard, not_first=kept)
            name = f"refill {tensor} for {reader}"
            refill = self._transfer(name, placement, "read", guard, binding, binding.stage)
            self.refills.append(refill)
            loop, matched = span(binding.iterated)
            self.edges.append(DraftEdge(name, reader, loop, 0, matched, cause="bandwidth"))
            if placement.role == "state" and placement.off_chip:
                self._state(placement, name)
        if placement.role == "made":
            binding = self.nest.binding(tensor)
            guard = Guard(first=binding.first, last=binding.last)
            name = f"spill {tensor}"
            # One tile behind: the channel does not wait for what is made last in an epoch.
            lag = binding.stage + 1
            self.spills.append(self._transfer(name, placement, "write", guard, binding, lag))
            loop, matched = span(binding.iterated)
            self.edges.append(DraftEdge(tensor, name, loop, 0, matched))
            if placement.off_chip:
                # In order on the channel: an edge that only says so, for order.py.
                self.edges += [
                    DraftEdge(name, f"refill {tensor} for {reader}", loop, 0, matched)
                    for reader in self._fetching(placement)
                ]

    def _fetching(self, placement: Placement) -> list[str]:
        """Einsums before which a tile comes back."""
        readers = self.nest.readers(placement.tensor)
        if not placement.off_chip:
            return [r for r in readers if actions.crosses(self.nest, placement, r)]
        if placement.role == "state":
            own = (d for d in self.nest.dependences if d.tensor == placement.tensor)
            carried = {d.consumer for d in own if d.kind == "carried"}
            readers = [r for r in readers if r in carried]
        return sorted(readers, key=lambda r: self.nest.binding(r).stage)[:1]

    def _state(self, placement: Placement, refill: str) -> None:
        """A state's way out, but at its end; its way back waits for that."""
        binding = self.nest.binding(placement.tensor)
        over = tuple(i for i in binding.iterated if i not in placement.iterated)
        guard = Guard(first=binding.first, last=binding.last, not_last=over)
        name = f"spill {placement.tensor}"
        loop, matched = span(binding.iterated)
        self.edges.append(DraftEdge(placement.tensor, name, loop, 0, matched))
        inside = tuple(i for i in binding.iterated if i > over[-1])
        self.edges.append(DraftEdge(name, refill, over[-1], 1, inside, reset=True))
        self.spills.append(self._transfer(name, placement, "write", guard, binding, binding.stage))

    def _transfer(
        self, name: str, placement: Placement, action: str, guard: Guard, binding: Binding, lag: int
    ) -> DraftTask:
        level = self.machine.outermost
        moved = actions.spilled(self.machine, placement, action)
        assert level.bandwidth is not None  # arch.build asks for it
        return DraftTask(
            name=name,
            kind="load" if action == "read" else "store",
            tensor=placement.tensor,
            server=self.channel,
            cycles=moved.size_bytes / level.bandwidth,
            guard=guard,
            lag=lag,
            actions=(moved,),
            iterated=binding.iterated,
        )
