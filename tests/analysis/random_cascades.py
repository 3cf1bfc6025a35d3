"""Random cascades with what makes pass counting hard: ends, halos, windows, both directions, tiles.

They are analysed and unrolled, never interpreted: a point that lacks an operand is no point.
"""

from __future__ import annotations

from hypothesis import strategies as st

from accelsim.cascade import Cascade, cascade_from_text
from tests.analysis.cascades import text

Declared = dict[str, tuple[str, ...]]


@st.composite
def hard_cascades(draw: st.DrawFn) -> Cascade:
    """Two to six Einsums over I and J, or over J and the parts I1 and I0 of I."""
    cut = draw(st.integers(0, 2)) == 0
    whole = ("I1", "I0") if cut else ("I",)
    declared: Declared = {"X": (*whole, "J"), "V": whole}
    runs: dict[str, str] = {}  # tensor -> "up I", "down J"
    lines: list[str] = []
    for number in range(draw(st.integers(2, 6))):
        name = f"T{number}"
        lines.append(draw(_einsums(name, declared, runs)))
    used = [n for n in declared if n not in {"X", "V"} or any(f"{n}[" in line for line in lines)]
    more = {}
    if cut:
        more["partitions"] = "{I: [I1, I0]}"
    own = [v for v, rank in (("q", "I"), ("q1", "I1")) if any(f"{v}," in x + "," or
           f"[{v}]" in x or f"[{v}," in x for x in lines) and rank in whole]  # fmt: skip
    if own:
        more["variables"] = "{" + ", ".join(f"{v}: {'I1' if v == 'q1' else 'I'}" for v in own) + "}"
    if runs:
        more["initial"] = "{" + ", ".join(f"{n}: 0" for n in runs) + "}"
    tensors = " ".join(f"{n}:{','.join(declared[n])}" for n in used)
    made = ", ".join(n for n in declared if n.startswith("T"))
    return cascade_from_text(text("hard", "I J", tensors, made, "\n".join(lines), **more))


@st.composite
def _einsums(draw: st.DrawFn, name: str, declared: Declared, runs: dict[str, str]) -> str:
    """One statement, drawn; declares its tensor."""
    source = draw(st.sampled_from(list(declared)))
    ranks = declared[source]
    kind = draw(st.sampled_from(("map", "map", "reduce", "reduce", "run", "window")))
    unit = next((r for r in ("I", "I1") if r in ranks), None)
    if kind == "map" or not ranks or (kind == "window" and unit is None):
        other = draw(st.sampled_from(list(declared)))
        left = draw(_reads(source, ranks, runs))
        right = draw(_reads(other, declared[other], runs))
        found = {
            r for r in (*ranks, *declared[other]) if f"{r.lower()}" in _variables(left + right)
        }
        declared[name] = tuple(r for r in ("I", "I1", "I0", "J") if r in found)
        return f"{name}[{_list(declared[name])}] = {left} * {right}"
    if kind == "reduce":
        gone = draw(st.sampled_from(ranks))
        declared[name] = tuple(r for r in ranks if r != gone)
        return f"{name}[{_list(declared[name])}] = {source}[{_list(ranks)}] :: max"
    declared[name] = ranks
    if kind == "window":
        assert unit is not None
        v, q = unit.lower(), "q" if unit == "I" else "q1"
        condition = draw(
            st.sampled_from(
                (f"{q} <= {v}", f"{q} >= {v}", f"{q} <= {v} and {q} > {v} - 3", f"{q} == {v}")
            )
        )
        read = ",".join(q if r == unit else r.lower() for r in ranks)
        return f"{name}[{_list(ranks)}] = {source}[{read}] | {condition}"
    along = draw(st.sampled_from([r for r in ranks if r != "I0"] or list(ranks)))
    step = ",".join(f"{r.lower()}+1" if r == along else r.lower() for r in ranks)
    here = _list(ranks)
    up = draw(st.booleans())
    runs[name] = f"{'up' if up else 'down'} {along}"
    others = {k: v for k, v in runs.items() if k != name}
    read = draw(_reads(source, ranks, others, at_point=True))  # a halo would leave ends undefined
    wrote, old = (step, here) if up else (here, step)
    return f"{name}[{wrote}] = {name}[{old}] + {read}"


@st.composite
def _reads(
    draw: st.DrawFn,
    name: str,
    ranks: tuple[str, ...],
    runs: dict[str, str],
    *,
    at_point: bool = False,
) -> str:
    """An access at the point, near it, or at the end of a recurrence."""
    way, _, along = runs.get(name, "").partition(" ")
    out = []
    for rank in ranks:
        v = rank.lower()
        choice = draw(st.integers(0, 5))
        if rank == along and way == "up":
            out.append(rank if choice < 2 and not at_point else f"{v}+1" if choice < 4 else v)
        elif rank == along:
            out.append("0" if choice < 2 and not at_point else v)
        elif choice == 0 and rank in {"I", "I1"} and not way and not at_point:
            out.append(draw(st.sampled_from((f"{v}-1", f"{v}+1"))))
        else:
            out.append(v)
    return f"{name}[{','.join(out)}]"


def _variables(accesses: str) -> set[str]:
    """Variables that occur in accesses."""
    inside = accesses.replace("]", "[").split("[")[1::2]
    return {x.split("+")[0].split("-")[0] for each in inside for x in each.split(",")}


def _list(ranks: tuple[str, ...]) -> str:
    return ",".join(rank.lower() for rank in ranks)
