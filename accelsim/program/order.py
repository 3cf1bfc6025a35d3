"""The order of tasks within and between epochs: stages of loads, and deadlocks refused."""

from __future__ import annotations

import dataclasses

from accelsim.errors import Fault, MappingError
from accelsim.mapping import Binding, Nest
from accelsim.program.draft import DraftEdge, DraftTask


def settle_lags(nest: Nest, tasks: list[DraftTask], edges: list[DraftEdge]) -> list[DraftTask]:
    """Give each load ahead its reader's stage, or the least that its slot's last reader precedes.

    An earlier stage than the reader's would wait, in the epoch of the reader, for the reader.
    What was made here and went off chip comes back at its reader's stage.
    """
    order = {task.name: i for i, task in enumerate(tasks)}
    by_name = {task.name: task for task in tasks}
    for task in tasks:
        waits = [edge for edge in edges if edge.consumer == task.name]
        if task.kind != "load" or not waits or nest.placement(task.tensor).role == "made":
            continue
        others = {by_name[edge.producer].lag for edge in waits}
        later = sorted({0} | {max(0, lag + by) for lag in others for by in (-1, 0, 1)})
        early = min(others) - nest.placement(task.tensor).ahead
        for lag in (max(0, early), *later):
            moved = dataclasses.replace(task, lag=lag)
            by_name[task.name] = moved
            if all(_precedes(nest, by_name, order, edge) for edge in waits):
                break
    return [by_name[task.name] for task in tasks]


def _precedes(
    nest: Nest, tasks: dict[str, DraftTask], order: dict[str, int], edge: DraftEdge
) -> bool:
    """Whether the producer instance meant comes before the consumer's in program order."""
    producer, consumer = tasks[edge.producer], tasks[edge.consumer]
    tiles_between = 0
    stride = 1
    for i in reversed(range(len(nest.loops))):
        trips = nest.loops[i].trips
        if i > edge.loop and i not in edge.matched:
            latest = 0 if i in producer.guard.first else trips - 1
            earliest = trips - 1 if i in consumer.guard.last else 0
            tiles_between += (earliest - latest) * stride
        elif i == edge.loop:
            tiles_between += edge.distance * stride
        stride *= trips
    epochs_between = tiles_between + consumer.lag - producer.lag
    earlier_in_body = order[edge.producer] < order[edge.consumer]
    return epochs_between > 0 or (epochs_between == 0 and earlier_in_body)


def check_order(name: str, nest: Nest, tasks: list[DraftTask], edges: list[DraftEdge]) -> None:
    by_name = {task.name: task for task in tasks}
    order = {task.name: i for i, task in enumerate(tasks)}
    faults = []
    for edge in dict.fromkeys(edges):
        if _precedes(nest, by_name, order, edge):
            continue
        producer, consumer = by_name[edge.producer], by_name[edge.consumer]
        if edge.cause == "slot":
            what = (
                f"{consumer.name} needs a slot of {consumer.tensor} that {producer.name} gives "
                f"back only later; give {consumer.tensor} more slots"
            )
        elif edge.cause == "order":
            what = (
                f"serial: {consumer.name} (stage {consumer.lag}) would wait for "
                f"{producer.name} (stage {producer.lag}) of the tile before, which comes later"
            )
        else:
            what = (
                f"{consumer.name} (stage {consumer.lag}) takes {producer.tensor} of a tile "
                f"before {producer.name} (stage {producer.lag}) has made it; list "
                f"{producer.name} before it, or give {consumer.name} a later stage"
            )
        message = f"order within an epoch deadlocks: {what}"
        bound = _binding_of(nest, consumer) or _binding_of(nest, producer)
        if bound is None or bound.place is None:
            where = f"mapping {name}, phase {nest.name}"
            faults.append(Fault(f"{where}: {message}"))
        else:
            faults.append(dataclasses.replace(bound.place, message=message))
    if faults:
        raise MappingError(faults)


def _binding_of(nest: Nest, task: DraftTask) -> Binding | None:
    return nest.binding(task.name) if task.kind == "einsum" else None
