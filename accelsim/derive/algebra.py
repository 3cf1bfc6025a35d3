"""The laws that rewriting relies on, as data: a new operator joins by stating its own.

They hold of real numbers, not of infinite ones: a cascade that makes -inf on the way (other than
by a maximum under a predicate, which has its guard) is none that they speak of. Laws that would
destroy the range of floating point are left out on purpose: exp(x - r) is never split into
exp(x) / exp(r), and (x - r)^2 is never expanded.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """An operator with an inverse: a `inverse` b undoes a `operator` b. unit: its neutral value."""

    operator: str
    inverse: str
    unit: float


SUMS = Group("add", "sub", 0.0)
PRODUCTS = Group("mul", "div", 1.0)
GROUPS = {group.operator: group for group in (SUMS, PRODUCTS)}
GROUP_OF = {name: group for group in GROUPS.values() for name in (group.operator, group.inverse)}

DISTRIBUTES = {"add": PRODUCTS, "max": SUMS, "min": SUMS}
"""Reduce operator -> the group whose operator distributes over it: sum(x * c) = sum(x) * c. Of
products with a maximum this holds for c > 0 alone, and is left out."""

MORPHISMS = {
    "exp": ("add", "mul"),
    "log": ("mul", "add"),
    "sqrt": ("mul", "mul"),
    "square": ("mul", "mul"),
    "abs": ("mul", "mul"),
    "neg": ("add", "add"),
}
"""f(a `first` b) = f(a) `second` f(b)."""

INVERSES = {"log": "exp"}
"""f undoes g for all numbers: log(exp(x)) = x; not exp(log(x)), which needs x above 0."""

ASSOCIATIVE = ("add", "mul", "max", "min")
"""Reduce operators whose reductions may be cut into local ones and one over those."""
COMMUTATIVE = ("add", "mul", "max", "min", "eq", "ne")
