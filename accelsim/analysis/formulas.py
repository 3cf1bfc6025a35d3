"""Formulas in rank shapes: sums of an integer times a product of ranks, such as "2*M0*E + F"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

from accelsim.errors import AccelsimError, nearest


@dataclass(frozen=True)
class Product:
    """An integer times a product of ranks; ranks sorted, repeated when squared."""

    coefficient: int = 1
    ranks: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.ranks:
            return str(self.coefficient)
        shown = "*".join(self.ranks)
        return shown if self.coefficient == 1 else f"{self.coefficient}*{shown}"

    def times(self, other: Product) -> Product:
        return Product(
            self.coefficient * other.coefficient, tuple(sorted((*self.ranks, *other.ranks)))
        )


@dataclass(frozen=True)
class Formula:
    """A sum of products with like terms collected, in the order of their ranks."""

    products: tuple[Product, ...] = ()

    def __str__(self) -> str:
        return " + ".join(str(product) for product in self.products) or "0"


def total(products: Iterable[Product]) -> Formula:
    """The sum, like terms collected."""
    terms: dict[tuple[str, ...], int] = {}
    for product in products:
        terms[product.ranks] = terms.get(product.ranks, 0) + product.coefficient
    return Formula(tuple(Product(c, ranks) for ranks, c in sorted(terms.items()) if c))


def parsed(text: str) -> Formula:
    """The formula that str() shows."""
    out = []
    for term in text.split("+"):
        factors = [factor.strip() for factor in term.split("*")]
        if not all(f.isalnum() for f in factors):
            raise AccelsimError(f"{text!r} is no formula; expected a sum of products like 2*M0*E")
        number = prod(int(f) for f in factors if f.isdigit())
        out.append(Product(number, tuple(sorted(f for f in factors if not f.isdigit()))))
    return total(out)


def evaluate(expression: str | Product | Formula, shapes: Mapping[str, int]) -> int:
    """The value for given rank shapes. Raises AccelsimError when a shape is missing."""

    def shape(rank: str) -> int:
        if rank not in shapes:
            hint = " ".join(nearest(rank, shapes))
            raise AccelsimError(f"{expression} needs the shape of {rank}; {hint or 'none given'}")
        return shapes[rank]

    return _value(expression, shape)


def evaluate_known(
    expression: str | Product | Formula, shape: Callable[[str], int | None]
) -> int | None:
    """The value, or None when some shape is not known."""
    formula = _formula(expression)
    known = {rank: shape(rank) for product in formula.products for rank in product.ranks}
    if None in known.values():
        return None
    return _value(formula, lambda rank: known[rank] or 0)


def _formula(expression: str | Product | Formula) -> Formula:
    if isinstance(expression, str):
        return parsed(expression)
    return total([expression]) if isinstance(expression, Product) else expression


def _value(expression: str | Product | Formula, shape: Callable[[str], int]) -> int:
    return sum(
        product.coefficient * prod(shape(rank) for rank in product.ranks)
        for product in _formula(expression).products
    )
