"""Random legal cascades, for laws that hold of every cascade."""

from __future__ import annotations

from hypothesis import strategies as st

from accelsim.cascade import Cascade, cascade_from_text

UNARY = ("exp", "relu", "abs", "square", "-")
BINARY = ("+", "-", "*", "max", "min")


@st.composite
def cascades(draw: st.DrawFn) -> Cascade:
    """Two to six Einsums over ranks I, J, K: maps, reductions, prefixes, running recurrences."""
    ranks: dict[str, list[str]] = {"X": ["I", "J"], "Y": ["J", "K"]}
    initial: dict[str, str] = {}
    lines: list[str] = []
    for number in range(draw(st.integers(2, 6))):
        name = f"T{number}"
        kind = draw(st.sampled_from(("map", "map", "reduce", "run", "prefix")))
        source = draw(st.sampled_from(sorted(ranks)))
        if kind in {"reduce", "run", "prefix"} and not ranks[source]:
            kind = "map"
        if kind == "map":
            other = draw(st.sampled_from(sorted(ranks)))
            out = sorted({*ranks[source], *ranks[other]})
            text = _map(draw, _at(source, ranks, initial), _at(other, ranks, initial))
            lines.append(f"{name}{_index(out)} = {text}")
        elif kind == "reduce":
            gone = draw(st.sampled_from(ranks[source]))
            out = [rank for rank in ranks[source] if rank != gone]
            how = draw(st.sampled_from(("+", "max", "min")))
            lines.append(f"{name}{_index(out)} = {_at(source, ranks, initial)} :: {how}")
        elif kind == "prefix" and "I" in ranks[source] and source not in initial:
            out = ranks[source]
            read = _index(out).replace("i", "q")
            lines.append(f"{name}{_index(out)} = {source}{read} | q <= i")
        else:
            along = draw(st.sampled_from(ranks[source]))
            out = ranks[source]
            step = _index(out).replace(along.lower(), f"{along.lower()}+1")
            how = draw(st.sampled_from(("max({}, {})", "{} + {}")))
            read = how.format(f"{name}{_index(out)}", _at(source, ranks, initial))
            lines.append(f"{name}{step} = {read}")
            initial[name] = "0"
        ranks[name] = out
    used = {word.split("[")[0] for line in lines for word in line.replace("(", " ").split()}
    return cascade_from_text(_text(ranks, initial, lines, used))


def _text(
    ranks: dict[str, list[str]], initial: dict[str, str], lines: list[str], used: set[str]
) -> str:
    made = [name for name in ranks if name.startswith("T")]
    kept = [name for name in ranks if name in made or name in used or f"-{name}" in used]
    tensors = "\n".join(f"  {name}: [{', '.join(ranks[name])}]" for name in kept)
    start = (
        f"initial: {{{', '.join(f'{k}: {v}' for k, v in initial.items())}}}\n" if initial else ""
    )
    body = "\n".join(f"  {line}" for line in lines)
    return (
        "cascade: random\nsource: drawn\nranks: {I: one, J: two, K: three}\nvariables: {q: I}\n"
        f"tensors:\n{tensors}\n{start}outputs: [{', '.join(made)}]\neinsums: |\n{body}\n"
    )


def _index(ranks: list[str]) -> str:
    return f"[{','.join(rank.lower() for rank in ranks)}]"


def _at(name: str, ranks: dict[str, list[str]], initial: dict[str, str]) -> str:
    """An access at the current point; of a recurrence, the value before the step."""
    return f"{name}{_index(ranks[name])}"


def _map(draw: st.DrawFn, left: str, right: str) -> str:
    operator = draw(st.sampled_from((*BINARY, *UNARY)))
    if operator == "-" and draw(st.booleans()):
        return f"-{left} + {right}"
    if operator in {"max", "min"}:
        return f"{operator}({left}, {right})"
    if operator in {"exp", "relu", "abs", "square"}:
        return f"{operator}({left} * 0.5) + {right}"
    return f"{left} {operator} ({right} + 1)"
