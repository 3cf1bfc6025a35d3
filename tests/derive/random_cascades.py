"""Random cascades of reductions that need each other: rewrites apply to them often.

Ranks R and N (whole, or cut into N1 and N0); inputs X, Y [R, N], W [N] and U [R]. Statements are
point-wise tensors, reductions over any ranks, and recurrences along N (N1 where it is cut).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

LEADING = (
    "{a}",
    "{a} * {b}",
    "{a} / {b}",
    "{a} - {b}",
    "{a} + {b} * {c}",
    "({a} - {b}) * {c}",
    "({a} - {b}) / {c}",
    "{a} * {b} / {c}",
    "{a} * ({b} + {c})",
    "-{a} * {b} + {c} * {a}",
    "exp({a} - {b})",
    "exp({a} - {b}) * {c}",
    "exp({a} - {b}) / {c}",
    "exp(0.5 * ({a} - {b}))",
    "exp(({a} - {b}) / {c})",
    "exp({a} - {b}) * square({c} - {a})",
    "subexp({a}, {b})",
    "square({a} - {b})",
    "({a} - {b}) * ({a} - {b}) * {c}",
    "square({a}) * {b} - {c}",
    "{a} / (1 + square({b}))",
    "{a} / (1 + exp({b}))",
    "max({a}, {b})",
    "{a} + max({b}, {c})",
    "abs({a} - {b})",
    "log(1 + exp({a} - {b}))",
    "{a} / whole(r + 1)",
    "{a} / N",
    "where({a} > {b}, {a}, {c})",
)
"""Of operands: `a` goes over all variables of the statement, the others over some of them."""
MASKS = ("n <= r", "n + r >= 3", "n >= r", "n >= 1", "r >= 1", "n <= r and r >= 1", "n1 >= 1")
INPUTS = {"X": ("R", "N"), "Y": ("R", "N"), "W": ("N",), "U": ("R",)}


@dataclass
class _Text:
    """A cascade while it is drawn. operands: (access, variables) of what can be read."""

    parts: tuple[str, ...]
    ranks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    initial: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    operands: list[tuple[str, frozenset[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, ranks in INPUTS.items():
            cut = [part for rank in ranks for part in (self.parts if rank == "N" else (rank,))]
            self.made(name, tuple(rank.lower() for rank in cut))

    @property
    def order(self) -> tuple[str, ...]:
        return ("r", *(part.lower() for part in self.parts))

    @property
    def step(self) -> str:
        return self.parts[0].lower()

    def made(self, name: str, over: tuple[str, ...]) -> None:
        self.ranks[name] = tuple(v.upper() for v in over)
        self.operands.append((access(name, over), frozenset(over)))

    def made_along(self, name: str, over: tuple[str, ...]) -> None:
        """A recurrence along the step's rank: read after a step, at the end, and before a step
        where it begins with a number: laws of numbers say nothing of -inf."""
        self.ranks[name] = tuple(v.upper() for v in over)
        before = () if "inf" in self.initial[name] else (self.step,)
        for index in (*before, f"{self.step}+1", self.step.upper()):
            at = tuple(index if v == self.step else v for v in over)
            gone = {self.step} if index.isupper() else set()
            self.operands.append((access(name, at), frozenset(over) - gone))

    def text(self, outputs: list[str]) -> str:
        cut = f"partitions: {{N: [{', '.join(self.parts)}]}}\n" if len(self.parts) > 1 else ""
        start = ", ".join(f"{name}: {value}" for name, value in self.initial.items())
        body = "\n".join(f"  {line}" for line in self.lines)
        kept = [n for n in self.ranks if n not in INPUTS or f"{n}[" in body]
        tensors = "\n".join(f"  {n}: [{', '.join(self.ranks[n])}]" for n in kept)
        return (
            f"cascade: random\nsource: drawn\nranks: {{R: rows, N: samples}}\n{cut}"
            f"tensors:\n{tensors}\ninitial: {{{start}}}\noutputs: [{', '.join(outputs)}]\n"
            f"einsums: |\n{body}\n"
        )


def access(name: str, indices: tuple[str, ...]) -> str:
    return f"{name}[{','.join(indices)}]"


@st.composite
def cascades(draw: st.DrawFn, *, cut: bool | None = None) -> str:
    """The text of two to six statements. cut: whether N is cut; either unless said."""
    is_cut = draw(st.booleans()) if cut is None else cut
    text = _Text(("N1", "N0") if is_cut else ("N",))
    mask = draw(st.sampled_from((None, None, *MASKS)))
    for number in range(draw(st.integers(2, 6))):
        kind = draw(st.integers(0, 5))
        if kind == 0:
            _pair(draw, text, f"T{number}")
        elif kind == 1:
            _needed(draw, text, f"T{number}")
        else:
            _statement(draw, text, f"T{number}", mask)
    made = [name for name in text.ranks if name not in INPUTS]
    ends = [
        name
        for name in made
        if not any(f"{name}[" in line for line in text.lines if not line.startswith(f"{name}["))
    ]
    others = [name for name in made if name not in ends]
    extra = [draw(st.sampled_from(others))] if others and draw(st.integers(0, 3)) == 0 else []
    return text.text([*ends, *extra])


def _statement(draw: st.DrawFn, text: _Text, name: str, mask: str | None) -> None:
    inner = tuple(part.lower() for part in text.parts)
    spaces = [("r", *inner)] * 4 + [("r",), inner, ("r", text.step)]
    over = draw(st.sampled_from(spaces))
    leading = [one for one, used in text.operands if used == frozenset(over)]
    if not leading:
        over = ("r", *inner)
        leading = [one for one, used in text.operands if used == frozenset(over)]
    within = [one for one, used in text.operands if used <= frozenset(over)]
    latest = st.sampled_from([*within, *within[-3:], *within[-1:]])
    a = draw(st.sampled_from([*leading, leading[-1]]))
    expression = draw(st.sampled_from(LEADING)).format(a=a, b=draw(latest), c=draw(latest))
    if "r" not in over:
        expression = expression.replace("whole(r + 1)", "3")
    kind = draw(st.sampled_from(("map", "map", "reduce", "reduce", "reduce", "run")))
    if kind == "run" and text.step not in over:
        kind = "map"
    where = ""
    if kind == "run" and mask != "r >= 1":
        mask = None
    if mask and _looked_at(mask, text.parts) <= set(over) and draw(st.integers(0, 6)):
        where = f" | {mask}"
    if kind == "map":
        text.lines.append(f"{access(name, over)} = {expression}{where}")
        text.made(name, over)
    elif kind == "reduce":
        gone = draw(st.sampled_from(_reduced(over, text.step)))
        kept = tuple(v for v in over if v not in gone)
        how = draw(st.sampled_from(("", "", " :: max", " :: min")))
        text.lines.append(f"{access(name, kept)} = {expression}{how}{where}")
        text.made(name, kept)
    else:
        step = access(name, tuple(f"{v}+1" if v == text.step else v for v in over))
        how, start = draw(
            st.sampled_from((("max({}, {})", "-inf"), ("{} + {}", "0"), ("{} * 0.5 + {}", "1")))
        )
        made = how.format(access(name, over), f"({expression})")
        text.lines.append(f"{step} = {made}{where}")
        text.initial[name] = start
        text.made_along(name, over)


def _pair(draw: st.DrawFn, text: _Text, name: str) -> None:
    """A reduction of a product, and what it is reduced further to, times something or not."""
    inner = [part.lower() for part in text.parts[1:]] or [text.step]
    samples = [part.lower() for part in text.parts]
    a = draw(st.sampled_from([one for one, used in text.operands if used == {"r", *samples}]))
    how, joined = draw(st.sampled_from((("", "*"), (" :: max", "+"), (" :: min", "-"))))
    kept = tuple(v for v in text.order if v not in inner)
    local = access(f"P{name[1:]}", kept)
    text.lines.append(f"{local} = {a}{draw(st.sampled_from(('', f' {joined} U[r]')))}{how}")
    text.made(f"P{name[1:]}", kept)
    more = "" if draw(st.booleans()) else f" {joined} {draw(st.sampled_from(('U[r]', '2')))}"
    out = tuple(v for v in kept if v != (text.step if len(kept) > 1 else "r"))
    text.lines.append(f"{access(name, out)} = {local}{more}{how}")
    text.made(name, out)


def _needed(draw: st.DrawFn, text: _Text, name: str) -> None:
    """A reduction over all samples, and a statement over all of them that needs it."""
    over = frozenset(text.order)
    a = draw(st.sampled_from([one for one, used in text.operands if used == over]))
    how = draw(st.sampled_from(("", " :: max", " :: min", " :: max")))
    whole = access(f"P{name[1:]}", ("r",))
    text.lines.append(f"{whole} = {a}{how}")
    text.made(f"P{name[1:]}", ("r",))
    within = draw(st.sampled_from([one for one, used in text.operands if used <= over]))
    expression = draw(st.sampled_from(LEADING)).format(a=a, b=whole, c=within)
    out = draw(st.sampled_from((text.order, ("r",), ("r", text.step))))
    text.lines.append(f"{access(name, out)} = {expression}{draw(st.sampled_from(('', how)))}")
    text.made(name, out)


def _looked_at(mask: str, parts: tuple[str, ...]) -> set[str]:
    """Variables that a statement needs for a mask to be said of it."""
    if "n1" in mask:
        return {"n1"}
    samples = {part.lower() for part in parts} if "n" in mask.replace("and", "") else set()
    return samples | ({"r"} if "r" in mask else set())


def _reduced(over: tuple[str, ...], step: str) -> list[tuple[str, ...]]:
    """What a statement over these variables may reduce; all parts of N more often."""
    samples = tuple(v for v in over if v != "r")
    out = [samples, samples, samples, samples, over] if samples else []
    out += [(v,) for v in over]
    return [gone for gone in out if gone]
