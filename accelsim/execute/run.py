"""A mapped loop nest on numbers: the tasks of a Program, one after the other, each on its tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from accelsim import mapping
from accelsim.cascade import Cascade, with_parameters
from accelsim.cascade.edges import bounded
from accelsim.cascade.points import Array, Points
from accelsim.execute.counts import Access, Key, Tally
from accelsim.execute.memory import Memory
from accelsim.execute.nest import padded
from accelsim.execute.tasks import Bench, Progress, Tasks
from accelsim.execute.written import Formats
from accelsim.program import Phase, Program
from accelsim.program.instance import coordinates, instance, instances


@dataclass(frozen=True)
class Executed:
    """outputs: of the cascade, float64. counts: by part of the machine, action and tensor.

    notes: values that had no room in their format.
    """

    outputs: dict[str, Array]
    counts: dict[Key, Access]
    notes: list[str]


@dataclass(frozen=True)
class Sizes:
    """What a mapped cascade runs on.

    cascade: with conditions at the ends of ranks. shapes: of ranks, of the parts that the cascade
    cuts, and parameters. padded: rank -> coordinates of all its tiles.
    """

    cascade: Cascade
    shapes: dict[str, int]
    padded: dict[str, int]
    tables: dict[str, npt.NDArray[np.int64]]

    def memory(self, inputs: Mapping[str, npt.ArrayLike]) -> Memory:
        """The outermost level with the inputs. Raises AccelsimError where they do not fit."""
        memory = self.empty()
        memory.give(inputs)
        return memory

    def empty(self) -> Memory:
        points = Points(self.cascade, self.shapes, self.tables)
        return Memory(points, self.shapes, self.padded)


def sizes(
    mapped: mapping.Mapping, shapes: Mapping[str, int], tables: Mapping[str, npt.ArrayLike]
) -> Sizes:
    """Of a mapping, from the shapes, parameters and tables that it was built with."""
    extents = {part: n for nest in mapped.nests for part, n in nest.extents}
    cut = {part: extents[part] for _, parts in mapped.cascade.partitions for part in parts}
    every = {**with_parameters(mapped.cascade, shapes), **cut}
    beyond = padded(mapped)
    own = {table.name for table in mapped.cascade.tables}
    return Sizes(
        bounded(mapped.cascade, every, beyond, kept=False),  # else it would count as a read
        every,
        beyond,
        {name: np.asarray(table, np.int64) for name, table in tables.items() if name in own},
    )


def execute(
    mapped: mapping.Mapping,
    program: Program,
    shapes: Mapping[str, int],
    inputs: Mapping[str, npt.ArrayLike],
    *,
    tables: Mapping[str, npt.ArrayLike] | None = None,
    formats: Formats | None = None,
    progress: Progress | None = None,
) -> Executed:
    """Run every task of a mapping's Program on its tiles.

    shapes: of ranks, and parameters, as the mapping was built with; tables too. inputs: an array
    per input of the cascade, an axis per rank, those cut by the cascade whole or as parts.
    progress: called with the share done.

    Raises AccelsimError: inputs that do not fit, a value that is not a number. Raises
    BrokenProgramError where the Program does not do what its mapping says.
    """
    own = sizes(mapped, shapes, tables or {})
    memory = own.memory(inputs)
    tally = Tally(mapped.machine)
    bench = Bench(mapped.machine, own.cascade, memory.points, memory, tally, formats or Formats())
    total = sum(instances(p) if p.launch is not None else 1 for p in program.phases)
    done = 0
    # Products of tiles are small: threads of a matrix library would wait for each other.
    with np.errstate(all="ignore"), threadpool_limits(1):
        for nest, phase in zip(mapped.nests, program.phases, strict=True):
            for at, one in _instances(phase):
                report = None if progress is None else _part(progress, done / total, 1 / total)
                Tasks(bench, nest, one, at).run(report)
                done += 1
    if progress is not None:
        progress(1.0)
    outputs = {name: memory.whole(name) for name in mapped.cascade.outputs}
    return Executed(outputs, tally.total(), memory.points.overflows.notes)


def _instances(phase: Phase) -> Iterator[tuple[tuple[int, ...], Phase]]:
    if phase.launch is None:
        yield (), phase
        return
    for at in coordinates(phase):
        yield at, instance(phase, at)


def _part(progress: Progress, begin: float, share: float) -> Progress:
    return lambda own: progress(begin + share * own)
