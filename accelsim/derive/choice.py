"""Which of the ways of a cascade is taken, and why none is.

Of those that reach the passes that are asked for, the best has the least (passes, error on
adversarial inputs and on how many it is unstable, operations, state).
"""

from __future__ import annotations

import dataclasses
from math import isfinite

from accelsim.analysis import passes
from accelsim.cascade import Cascade, show_einsum
from accelsim.derive.alike import renamed
from accelsim.derive.draft import NotApplicableError
from accelsim.derive.running import late
from accelsim.derive.strategy import Derivation, ways
from accelsim.errors import AccelsimError, Fault, nearest


def derive(
    found: list[Derivation],
    most: int = 1,
    like: Cascade | None = None,
    way: str | None = None,
) -> Derivation:
    """Of the `ways` that a cascade has, the best with that many passes, or fewer.

    like: the result has to be this cascade but for names, and gets its names. way: that one alone.
    Raises AccelsimError with what stops it.
    """
    if way is not None:
        names = [one.way for one in found]
        if way not in names:
            message = f"{found[0].source.name} has no way {way!r}: its ways are {'; '.join(names)}"
            raise AccelsimError(Fault(message, help=nearest(way, names)))
        found = [one for one in found if one.way == way]
    known, found = found, [one for one in found if isfinite(one.error or 0)]
    reached = [one for one in found if one.cost.passes <= most]
    if not found:
        raise AccelsimError(f"{known[0].source.name}: {_no_number(known[0])}")
    if not reached:
        least = min(found, key=lambda one: one.cost)
        message = (
            f"{least.cascade.name}: {_many(least.cascade, least.rank)} over {least.rank} at "
            f"least, by the rewrites that are known, not {most}"
        )
        stopped = [why for one in found for why in one.stopped]
        stopped += [_no_number(one) for one in known if one not in found]
        why = (*stopped, *_kept(least.cascade, least.rank), *_if_cut(least, most))
        why = why or _as_they_are(least.cascade, least.rank)
        raise AccelsimError(Fault(message, help=tuple(dict.fromkeys(why))))
    if like is None:
        exact = [one for one in reached if one.cost.passes == most]
        best = min(exact or reached, key=lambda one: one.cost)
        return dataclasses.replace(best, cascade=_told(best, f"{best.cascade.name}_derived"))
    for one in sorted(reached, key=lambda one: one.cost):
        named = renamed(one.cascade, like)
        if named is not None:
            one = dataclasses.replace(one, cascade=named)
            return dataclasses.replace(one, cascade=_told(one, like.name))
    said = ", ".join(one.way for one in reached)
    message = f"{reached[0].source.name}: what was found ({said}) differs from {like.name} in more "
    raise AccelsimError(Fault(message + "than names", help=_unlike(reached[0], like, most, found)))


def _unlike(made: Derivation, like: Cascade, most: int, found: list[Derivation]) -> tuple[str, ...]:
    """What to ask for instead, as far as cuts and passes tell."""
    help = []
    own, wanted = ([parts for _, parts in one.partitions] for one in (made.cascade, like))
    if [len(parts) for parts in own] != [len(parts) for parts in wanted]:
        cut = [f"{root} into {', '.join(parts)}" for root, parts in like.partitions]
        ask = "leave --partition out"
        if len(wanted) == 1:
            count = len(wanted[0])
            parts = [f"{made.rank}{count - 1 - number}" for number in range(count)]
            ask = f"try --partition {made.rank}={','.join(parts)}"
        help.append(f"{like.name} cuts {' and '.join(cut) or 'no rank'}: {ask}")
    counts = {rank: passes(like).passes.get(rank) or 0 for rank in like.ranks}
    rank = max(like.ranks, key=counts.__getitem__)
    if counts[rank] > most:
        many = counts[rank]
        others = (one.cascade for one in found if most < one.cost.passes <= many)
        reached = any(renamed(other, like) is not None for other in others)
        ask = f": try --passes {many}" * reached
        help.append(f"{like.name} has {many} passes over {rank}{ask}")
    return tuple(help)


def _if_cut(one: Derivation, most: int) -> tuple[str, ...]:
    """Whether tiles have a form that single coordinates have not."""
    made, rank = one.cascade, one.rank
    parts = (f"{rank}1", f"{rank}0")
    kept = {name for name in made.outputs if rank in made.tensor(name).ranks}
    if made.parts(rank) != (rank,) or kept & late(made, rank):
        return ()
    try:
        found = ways(one.source, rank, parts)
    except NotApplicableError:
        return ()
    if not any(other.cost.passes <= most and isfinite(other.error or 0) for other in found):
        return ()
    return (f"cut into tiles it has a form: --partition {rank}={','.join(parts)}",)


def _told(made: Derivation, name: str) -> Cascade:
    """The cascade with a name, and with what was done in its description."""
    steps = ", ".join(f"{step.rewrite} {step.subject}" for step in made.steps) or "nothing"
    description = f"Derived from {made.source.name}: {steps}. {made.cascade.description}".strip()
    return dataclasses.replace(made.cascade, name=name, description=description)


def _as_they_are(cascade: Cascade, rank: str) -> tuple[str, ...]:
    """Why passes are left where no rewrite was tried: recurrences are not taken apart."""
    unit = cascade.parts(rank)[0]
    found = (t for t in cascade.tensors if t.initial is not None and unit in t.ranks)
    return tuple(
        f"{t.name} is a recurrence along {unit} in the source already: it stays as it is"
        for t in found
    ) or ("no rewrite that is known applies",)


def _no_number(one: Derivation) -> str:
    return (
        f"{one.way}: a form with {_many(one.cascade, one.rank)} is known, but gives no number on "
        f"adversarial inputs on which {one.source.name} gives one"
    )


def _many(cascade: Cascade, rank: str) -> str:
    count = passes(cascade).passes.get(rank)
    if count is None:
        return "a pass for each coordinate"
    return "1 pass" if count == 1 else f"{count} passes"


def _kept(cascade: Cascade, rank: str) -> list[str]:
    """Einsums that keep the rank and need what is complete only at its end."""
    unit = cascade.parts(rank)[0]
    ends = late(cascade, unit)
    out = []
    for einsum in cascade.einsums:
        if unit not in cascade.tensor(einsum.name).ranks or einsum.name not in ends:
            continue
        needed = [
            a.tensor
            for a in einsum.inputs
            if a.tensor in ends or unit in {getattr(i, "rank", None) for i in a.indices}
        ]
        out.append(
            f"{show_einsum(einsum)} keeps {rank} and needs {', '.join(dict.fromkeys(needed))}, "
            "complete only at its end"
        )
    return out
