"""What an execution came to, for whoever asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from math import prod
from typing import Any

import numpy.typing as npt

from accelsim import mapping
from accelsim.cascade import Cascade
from accelsim.cascade.points import Array
from accelsim.errors import AccelsimError
from accelsim.execute.check import Error, check_reference, errors, other
from accelsim.execute.counts import Access, Key, differences, stated
from accelsim.execute.inputs import drawn, from_files
from accelsim.execute.run import Sizes, execute, sizes
from accelsim.execute.tasks import Progress
from accelsim.execute.tiles import BrokenProgramError
from accelsim.execute.written import Formats
from accelsim.program import Guard, Program
from accelsim.program.visits import visits
from accelsim.units import show_bytes

MOST_BYTES = 1 << 33
"""Of inputs, outputs and what goes through memory, as float64."""
MOST_ITERATIONS = 1 << 24
"""Innermost ones, of all phases: hours."""


CLOSE = 1e-6
"""Of errors without formats: more, and digits are lost or a statement is wrong."""


@dataclass(frozen=True)
class Outcome:
    """outputs: tensor -> values, float64, an axis per rank; NaN where it is not defined.

    accesses: by part of the machine, action and tensor. differences: where these are not those of
    the Program; None where levels have formats that it does not know. errors: output -> how far
    it is from float64; None where that was not asked for. reference: the cascade that `errors` are
    against; own_reference: whether it is the very one that was executed. formats: as given. inputs:
    hashes of all files, the seed. notes: what the reader must know.
    """

    name: str
    outputs: Mapping[str, Array]
    ranks: Mapping[str, tuple[str, ...]]
    accesses: Mapping[Key, Access]
    differences: tuple[str, ...] | None
    errors: Mapping[str, Error] | None
    formats: Mapping[str, str]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reference: str | None = None
    own_reference: bool = True

    def as_json(self) -> dict[str, Any]:
        """Without the outputs themselves; of these, ranks and shapes."""
        return {
            "name": self.name,
            "outputs": {
                name: dict(zip(self.ranks[name], values.shape, strict=True))
                for name, values in self.outputs.items()
            },
            "errors": None
            if self.errors is None
            else {name: asdict(error) for name, error in self.errors.items()},
            "reference": self.reference,
            "accesses": self.rows(),
            "differences": None if self.differences is None else list(self.differences),
            "formats": dict(self.formats),
            "inputs": dict(self.inputs),
            "notes": list(self.notes),
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row for each part of the machine, action and tensor. Operations move nothing."""
        return [
            {
                "part": part,
                "action": action,
                "tensor": tensor,
                "count": _plain(access.count),
                "elements": _plain(access.elements),
                "bytes": _plain(access.size_bytes),
                "metadata_bytes": access.metadata_bytes,
            }
            for (part, action, tensor), access in sorted(self.accesses.items())
        ]


def _plain(number: Fraction) -> int | float:
    """Shares of tiles can leave a part of one."""
    return int(number) if number.denominator == 1 else float(number)


def of(
    mapped: mapping.Mapping,
    program: Program,
    shapes: Mapping[str, int],
    tables: Mapping[str, npt.ArrayLike],
    inputs: Mapping[str, npt.ArrayLike] | Sequence[str],
    *,
    seed: int,
    scale: Mapping[str, float],
    formats: Formats,
    check: bool | Cascade,
    progress: Progress | None,
    about: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Outcome:
    """Execute a mapping. Arguments as for `run.execute` and `verbs.execute`.

    Raises AccelsimError: what these raise, a run that would be too long or too large.
    """
    own = sizes(mapped, shapes, tables)
    _refuse(mapped, program, own)
    against = other(own, check) if isinstance(check, Cascade) else None
    if check:
        check_reference(against or own)
    if scale and inputs:
        raise AccelsimError("scale: it is of inputs that are drawn, and these are given")
    said = [*program.notes, *notes]
    if isinstance(inputs, Mapping):
        given: Mapping[str, npt.ArrayLike] = inputs
    else:
        given, unused = from_files(inputs, own)
        said += unused
    if not given:
        given = drawn(own, seed, scale)
        about = {**about, "seed": seed, **({"scale": dict(scale)} if scale else {})}
    try:
        done = execute(
            mapped, program, shapes, given, tables=tables, formats=formats, progress=progress
        )
    except BrokenProgramError as fault:
        message = f"{mapped.name}: the Program does not do what its mapping says: {fault}"
        raise AccelsimError(f"{message} (a fault of accelsim, not of the inputs)") from None
    said += done.notes
    found: tuple[str, ...] | None = tuple(differences(done.counts, stated(program)))
    if formats.of_levels:
        found = None
        names = ", ".join(formats.of_levels)
        said.append(f"{names}: bytes are those of the formats of levels, not of the Program")
    ranks = {name: mapped.cascade.tensor(name).ranks for name in mapped.cascade.outputs}
    found_errors = errors(own, done.outputs, given, against) if check else None
    if found_errors is not None and not formats.given:
        said += _off(found_errors, (against or own).cascade.name)
    return Outcome(
        mapped.name,
        done.outputs,
        ranks,
        done.counts,
        found,
        found_errors,
        {
            f"{tensor}.{place}" if place else tensor: written.name
            for tensor, places in formats.given.items()
            for place, written in places.items()
        },
        about,
        tuple(said),
        (against or own).cascade.name if check else None,
        against is None,
    )


def _off(errors: Mapping[str, Error], reference: str) -> list[str]:
    """What float64 does not explain."""
    return [
        f"{name} is NOT that of {reference}: "
        + (f"{one.wrong:,} values are not finite in one of the two alone" * bool(one.wrong))
        + (", " * bool(one.wrong and one.worst > CLOSE))
        + (f"off by {one.worst:.1g} in a row" * (one.worst > CLOSE))
        for name, one in errors.items()
        if one.wrong or one.worst > CLOSE
    ]


def _refuse(mapped: mapping.Mapping, program: Program, own: Sizes) -> None:
    """Raise AccelsimError for what would take hours, or more memory than there is."""
    help = "take a shorter sequence or fewer heads (--seq-len, --set workload.ranks.RANK=N)"
    cascade = mapped.cascade
    made = {b.einsum.name for nest in mapped.nests for b in nest.bindings}
    moving = {p.tensor for nest in mapped.nests for p in nest.placements if p.stored}
    moving |= {tensor.name for tensor in cascade.tensors} - made
    size = 8 * sum(prod(own.shapes[r] for r in cascade.tensor(t).ranks) for t in moving)
    if size > MOST_BYTES:
        message = f"tensors in memory take {show_bytes(size)} as float64"
        raise AccelsimError(f"{message}, more than {show_bytes(MOST_BYTES)}: {help}")
    number = sum(visits(phase.loops, Guard()) for phase in program.phases)
    if number > MOST_ITERATIONS:
        message = f"{mapped.name} has {number:,} tiles, more than {MOST_ITERATIONS:,}"
        raise AccelsimError(f"{message}: {help}")
