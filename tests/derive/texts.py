"""Small cascades written in tests: statements of known tensors, the rest is filled in."""

from __future__ import annotations

import re

INPUTS = {"X": ("R", "N"), "Y": ("R", "N"), "W": ("N",), "U": ("R",)}


def text(*lines: str, initial: str = "{}", cut: bool = False, outputs: str = "T") -> str:
    """Of statements over ranks R and N (cut into N1, N0), with inputs X, Y [R, N], W [N], U [R];
    V [N0] where N is cut."""
    parts = ("N1", "N0") if cut else ("N",)
    known = INPUTS | ({"V": ("N0",)} if cut else {})
    tensors = {}
    for name, ranks in known.items():
        if any(re.search(rf"\b{name}\[", line) for line in lines):
            tensors[name] = [p for r in ranks for p in (parts if r == "N" else (r,))]
    for line in lines:
        name, _, rest = line.partition("[")
        indices = [index for index in rest.partition("]")[0].split(",") if index]
        tensors[name] = [re.sub(r"\+1", "", index).upper() for index in indices]
    shown = "\n".join(f"  {name}: [{', '.join(ranks)}]" for name, ranks in tensors.items())
    partitions = "partitions: {N: [N1, N0]}\n" if cut else ""
    body = "\n".join(f"  {line}" for line in lines)
    return (
        f"cascade: drawn\nsource: a test\nranks: {{R: rows, N: samples}}\n{partitions}"
        f"tensors:\n{shown}\ninitial: {initial}\noutputs: [{outputs}]\neinsums: |\n{body}\n"
    )
