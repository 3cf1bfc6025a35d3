"""A cascade while it is rewritten: tensors and statements that are added, taken out, replaced."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import networkx as nx

from accelsim.cascade import Access, Cascade, Einsum, Tensor, cascade_from_text, show
from accelsim.cascade.nodes import At, Expression
from accelsim.cascade.whole import Whole
from accelsim.derive.terms import placed, with_accesses
from accelsim.errors import AccelsimError


class NotApplicableError(AccelsimError):
    """A rewrite does not apply; the message says why."""


def statement(cascade: Cascade, name: str) -> Einsum:
    """The Einsum that writes a tensor. Raises NotApplicableError for inputs and unknown names."""
    found = next((einsum for einsum in cascade.einsums if einsum.name == name), None)
    if found is None:
        known = name in cascade.inputs
        why = "is an input" if known else f"is no tensor of {cascade.name}"
        raise NotApplicableError(f"{name} {why}")
    return found


class Draft:
    """Statements by the tensor that they write; in order, as far as they do not need each other."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.tensors = {tensor.name: tensor for tensor in cascade.tensors}
        self.einsums = {einsum.name: einsum for einsum in cascade.einsums}
        self.partitions = cascade.partitions

    def name(self, wanted: str) -> str:
        """A name that is free: the one that is wanted, or with a number."""
        taken = {*self.tensors, *(p.name for p in self.cascade.parameters)}
        taken |= {table.name for table in self.cascade.tables}
        for root in self.cascade.ranks:
            taken |= {root, *self.cascade.parts(root)}
        names = (wanted, *(f"{wanted}{number}" for number in range(2, len(taken) + 3)))
        return next(name for name in names if name not in taken)

    def variables(self, over: Iterable[str]) -> tuple[str, ...]:
        """Rank variables in the order of the cascade's ranks, parts from outermost to innermost."""
        cut = dict(self.partitions)
        order = [p for root in self.cascade.ranks for p in cut.get(root, (root,))]
        place = {rank: number for number, rank in enumerate(order)}
        rank_of = self.rank_of
        return tuple(sorted(set(over), key=lambda v: (place[rank_of(v)], v)))

    def rank_of(self, variable: str) -> str:
        known = dict(self.cascade.variables)
        parts = {p.lower(): p for _, own in self.partitions for p in own}
        return known.get(variable) or parts.get(variable) or variable.upper()

    def add(
        self,
        wanted: str,
        over: Iterable[str],
        expression: Expression,
        *,
        reduce: str = "add",
        predicate: tuple[Whole, ...] = (),
        step: str | None = None,
        initial: float | None = None,
    ) -> Access:
        """A new tensor over these variables; the access that writes it. step: the variable of the
        iterative rank, of a recurrence."""
        name = self.name(wanted)
        ordered = self.variables(over)
        indices = tuple(At(v, int(v == step)) for v in ordered)
        self.tensors[name] = Tensor(name, tuple(self.rank_of(v) for v in ordered), initial)
        self.einsums[name] = Einsum(Access(name, indices), expression, reduce, predicate)
        return Access(name, indices)

    def replace(self, name: str, **fields: object) -> None:
        self.einsums[name] = dataclasses.replace(self.einsums[name], **fields)  # type: ignore[arg-type]

    def redirect(self, tensor: str, to: Expression) -> None:
        """Every read of a tensor, replaced by an expression over the variables that write it."""
        written = self.einsums[tensor].output
        for name, einsum in self.einsums.items():
            if name == tensor or all(a.tensor != tensor for a in einsum.inputs):
                continue

            def moved(access: Access, name: str = name) -> Expression | None:
                if access.tensor != tensor:
                    return None
                at = {
                    out.variable: index
                    for out, index in zip(written.indices, access.indices, strict=True)
                    if isinstance(out, At)
                }
                new = placed(to, at)
                if new is None:
                    raise NotApplicableError(f"{name} reads {tensor} at an end or a coordinate")
                return new

            self.replace(name, expression=with_accesses(einsum.expression, moved))

    def same(self, tensor: str, other: str) -> None:
        """Drop a tensor; whoever reads it reads another, which has the same ranks."""
        self.drop(tensor)
        for name, einsum in self.einsums.items():

            def moved(access: Access) -> Expression | None:
                return Access(other, access.indices) if access.tensor == tensor else None

            self.replace(name, expression=with_accesses(einsum.expression, moved))

    def drop(self, name: str) -> None:
        del self.einsums[name], self.tensors[name]

    def done(self, name: str | None = None) -> Cascade:
        """The cascade, checked; without statements and tensors that no output needs."""
        self._without_dead()
        outputs = self.cascade.outputs
        text = show(
            dataclasses.replace(
                self.cascade,
                name=name or self.cascade.name,
                partitions=self.partitions,
                tensors=tuple(self.tensors.values()),
                einsums=tuple(self.einsums[n] for n in self._order()),
                outputs=outputs,
            )
        )
        return cascade_from_text(text)

    def _without_dead(self) -> None:
        needs = nx.DiGraph()
        needs.add_nodes_from(self.einsums)
        for einsum in self.einsums.values():
            needs.add_edges_from((einsum.name, access.tensor) for access in einsum.inputs)
        alive = set(self.cascade.outputs)
        for output in self.cascade.outputs:
            alive |= nx.descendants(needs, output)
        self.einsums = {n: e for n, e in self.einsums.items() if n in alive}
        self.tensors = {n: t for n, t in self.tensors.items() if n in alive}

    def _order(self) -> list[str]:
        """Definition before use, but for what a recurrence carries; else as they stand."""
        place = {name: number for number, name in enumerate(self.einsums)}
        graph = nx.DiGraph()
        graph.add_nodes_from(self.einsums)
        for einsum in self.einsums.values():
            for access in einsum.inputs:
                if access.tensor in self.einsums and not self._carried(access):
                    graph.add_edge(access.tensor, einsum.name)
        return list(nx.lexicographical_topological_sort(graph, key=place.__getitem__))

    def _carried(self, access: Access) -> bool:
        """Whether a recurrence is read before the step that writes it."""
        if self.tensors[access.tensor].initial is None:
            return False
        for wrote, read in zip(
            self.einsums[access.tensor].output.indices, access.indices, strict=True
        ):
            if isinstance(wrote, At) and isinstance(read, At) and wrote.offset > read.offset:
                return True
            if wrote == At(getattr(read, "variable", "")) and getattr(read, "offset", 0) == 1:
                return True  # it runs down
        return False
