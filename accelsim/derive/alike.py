"""Whether two cascades are the same but for names, order of statements and of what commutes.

Each is drawn as a graph of its tensors, ranks, statements and expressions; a graph isomorphism
tells which name stands for which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx as nx

from accelsim.cascade import Access, Cascade, Einsum, Tensor, cascade_from_text, show
from accelsim.cascade.nodes import (
    At,
    Call,
    Computed,
    Coordinate,
    End,
    Expression,
    Index,
    Literal,
    Value,
)
from accelsim.cascade.whole import Apply, Int, Lookup, Named, Variable, Whole, substitute
from accelsim.derive.algebra import COMMUTATIVE, GROUP_OF, SUMS
from accelsim.derive.terms import Chain, chain

Node = int


def renamed(cascade: Cascade, like: Cascade) -> Cascade | None:
    """The cascade with the names of another that is the same but for names; None if none is.

    Inputs keep the order of their ranks; other tensors take that of `like`.
    """
    found = isomorphism(cascade, like)
    return None if found is None else _with_names(cascade, like, found)


@dataclass(frozen=True)
class Names:
    """Of one cascade -> of the other. variables: by Einsum, those of the one it is."""

    tensors: dict[str, str]
    ranks: dict[str, str]
    variables: dict[str, dict[str, str]]
    parameters: dict[str, str]


def isomorphism(cascade: Cascade, other: Cascade) -> Names | None:
    """Which name stands for which; None when the cascades differ in more than names."""
    ours, theirs = _Graph(cascade), _Graph(other)
    labels = [_refined(one.graph) for one in (ours, theirs)]
    if sorted(labels[0].values()) != sorted(labels[1].values()):
        return None
    for one, label in zip((ours, theirs), labels, strict=True):
        nx.set_node_attributes(one.graph, label, "colour")
    matched = nx.vf2pp_isomorphism(ours.graph, theirs.graph, node_label="colour")
    if matched is None:
        return None
    back = {node: name for name, node in theirs.named.items()}
    tensors, ranks, parameters = {}, {}, {}
    variables: dict[str, dict[str, str]] = {}
    for (kind, owner, name), node in ours.named.items():
        _, _, new = back[matched[node]]
        if kind == "tensor":
            tensors[name] = new
        elif kind == "rank":
            ranks[name] = new
        elif kind == "variable":
            variables.setdefault(owner, {})[name] = new
        else:
            parameters[name] = new
    return Names(tensors, ranks, variables, parameters)


def _refined(graph: nx.DiGraph) -> dict[Node, str]:
    """Labels that tell nodes apart by what is around them, the same for the same graph."""
    colour = {node: str(label) for node, label in graph.nodes(data="label")}
    many = 0
    while len(set(colour.values())) > many:
        many = len(set(colour.values()))
        around = {
            node: repr(
                (
                    colour[node],
                    sorted(colour[n] for n in graph.successors(node)),
                    sorted(colour[n] for n in graph.predecessors(node)),
                )
            )
            for node in graph
        }
        short = {text: str(number) for number, text in enumerate(sorted(set(around.values())))}
        colour = {
            node: f"{graph.nodes[node]['label']} {short[text]}" for node, text in around.items()
        }
    return colour


@dataclass
class _Graph:
    """A cascade as a directed graph. named: (kind, Einsum or "", name) -> node."""

    cascade: Cascade
    graph: nx.DiGraph = field(default_factory=nx.DiGraph)
    named: dict[tuple[str, str, str], Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cascade = self.cascade
        for root in cascade.ranks:
            top = self._name("rank", root, "rank", ())
            for number, part in enumerate(cascade.parts(root)):
                if part != root:
                    self._name("rank", part, f"part {number}", (top,))
        for parameter in cascade.parameters:
            self._name("parameter", parameter.name, f"parameter {parameter.default}", ())
        for table in cascade.tables:
            self._name("table", table.name, f"table {len(table.ranks)}", ())
        for tensor in cascade.tensors:
            role = "input" if tensor.name in cascade.inputs else "made"
            if tensor.name in cascade.outputs:
                role = f"output {cascade.outputs.index(tensor.name)}"
            node = self._name("tensor", tensor.name, f"{role} {tensor.initial}", ())
            for number, rank in enumerate(tensor.ranks):
                # The order of ranks is part of an input and of an output, of no other tensor.
                label = "axis" if role == "made" else f"axis {number}"
                axis = self._node(label, (self.named["rank", "", rank],))
                self.graph.add_edge(node, axis)
        for einsum in cascade.einsums:
            self._einsum(einsum)

    def _node(self, label: str, to: Iterable[Node]) -> Node:
        node = len(self.graph)
        self.graph.add_node(node, label=label)
        self.graph.add_edges_from((node, other) for other in to)
        return node

    def _name(self, kind: str, name: str, label: str, to: Iterable[Node], owner: str = "") -> Node:
        node = self._node(label, to)
        self.named[kind, owner, name] = node
        return node

    def _einsum(self, einsum: Einsum) -> None:
        reduce = einsum.reduce if einsum.reduced else "none"
        node = self._node(f"einsum {reduce}", ())
        self.graph.add_edge(node, self._labelled("output", self._access(einsum.output, einsum)))
        self.graph.add_edge(
            node, self._labelled("value", self._expression(einsum.expression, einsum))
        )
        for condition in einsum.predicate:
            inside = self._labelled("where", self._whole(condition, einsum))
            self.graph.add_edge(node, inside)

    def _labelled(self, label: str, to: Node) -> Node:
        return self._node(label, (to,))

    def _variable(self, name: str, einsum: Einsum) -> Node:
        known = self.named.get(("variable", einsum.name, name))
        if known is not None:
            return known
        over = dict(self.cascade.variables).get(name)
        if over is None:  # the coordinate of a cut rank
            over = next(root for root, _ in self.cascade.partitions if root.lower() == name)
        rank = self.named["rank", "", over]
        return self._name("variable", name, "variable", (rank,), einsum.name)

    def _access(self, access: Access, einsum: Einsum) -> Node:
        tensor = self.named["tensor", "", access.tensor]
        axes = list(self.graph.successors(tensor))
        node = self._node("access", (tensor,))
        for axis, index in zip(axes, access.indices, strict=True):
            self.graph.add_edge(node, self._index(index, axis, einsum))
        return node

    def _index(self, index: Index, axis: Node, einsum: Einsum) -> Node:
        match index:
            case At(variable=variable, offset=offset):
                return self._node(f"at {offset}", (axis, self._variable(variable, einsum)))
            case End():
                return self._node("end", (axis,))
            case Coordinate(value=value):
                return self._node(f"coordinate {value}", (axis,))
            case Computed(whole=whole):
                return self._node("computed", (axis, self._whole(whole, einsum)))

    def _expression(self, expression: Expression, einsum: Einsum) -> Node:
        match expression:
            case Access():
                return self._access(expression, einsum)
            case Literal(value=value):
                return self._node(f"number {value!r}", ())
            case Value(whole=whole):
                return self._labelled("whole", self._whole(whole, einsum))
            case Call("subexp", (a, b)):
                # exp(a - b) with a guard for a maximum of nothing: the same number elsewhere.
                return self._expression(Call("exp", (Call("sub", (a, b)),)), einsum)
            case Call(operator, arguments):
                group = GROUP_OF.get(operator) or (SUMS if operator == "neg" else None)
                if group is not None:
                    of = chain(expression, group)
                    if of != Chain((expression,)):
                        parts = [
                            self._labelled(side, self._expression(one, einsum))
                            for side, ones in (("plus", of.plus), ("minus", of.minus))
                            for one in ones
                        ]
                        return self._node(group.operator, parts)
                inner = [self._expression(a, einsum) for a in arguments]
                if operator not in COMMUTATIVE:
                    inner = [self._labelled(f"argument {n}", a) for n, a in enumerate(inner)]
                else:
                    inner = [self._labelled("argument", a) for a in inner]
                return self._node(operator, inner)

    def _whole(self, whole: Whole, einsum: Einsum) -> Node:
        match whole:
            case Int(value=value):
                return self._node(f"number {value}", ())
            case Variable(name=name):
                return self._labelled("variable's", self._variable(name, einsum))
            case Named(name=name):
                kind = "parameter" if ("parameter", "", name) in self.named else "rank"
                return self._labelled("named", self.named[kind, "", name])
            case Lookup(table=table, indices=indices):
                inner = [
                    self._labelled(f"argument {n}", self._whole(i, einsum))
                    for n, i in enumerate(indices)
                ]
                return self._node("lookup", (self.named["table", "", table], *inner))
            case Apply(operator=operator, arguments=arguments):
                inner = [
                    self._labelled(f"argument {n}", self._whole(a, einsum))
                    for n, a in enumerate(arguments)
                ]
                return self._node(f"whole {operator}", inner)


def _with_names(cascade: Cascade, like: Cascade, names: Names) -> Cascade:
    einsums = []
    for einsum in cascade.einsums:
        named = _Renaming(cascade, like, names, names.variables.get(einsum.name, {}))
        einsums.append(
            Einsum(
                named.access(einsum.output),
                named.expression(einsum.expression),
                einsum.reduce,
                tuple(named.whole(c) for c in einsum.predicate),
            )
        )
    place = {einsum.name: number for number, einsum in enumerate(like.einsums)}
    made = dataclasses.replace(
        like,
        source=cascade.source,
        description=cascade.description,
        tensors=tuple(Tensor(t.name, t.ranks, t.initial) for t in like.tensors),
        einsums=tuple(sorted(einsums, key=lambda e: place[e.name])),
    )
    return cascade_from_text(show(made))


@dataclass(frozen=True)
class _Renaming:
    """Of one Einsum."""

    cascade: Cascade
    like: Cascade
    names: Names
    variables: dict[str, str]

    def access(self, access: Access) -> Access:
        name = self.names.tensors[access.tensor]
        ranks = self.cascade.tensor(access.tensor).ranks
        at = {
            self.names.ranks[rank]: self.index(index)
            for rank, index in zip(ranks, access.indices, strict=True)
        }
        return Access(name, tuple(at[rank] for rank in self.like.tensor(name).ranks))

    def index(self, index: Index) -> Index:
        match index:
            case At(variable=variable, offset=offset):
                return At(self.variables[variable], offset)
            case End(rank=rank):
                return End(self.names.ranks[rank])
            case Computed(whole=whole):
                return Computed(self.whole(whole))
            case _:
                return index

    def expression(self, expression: Expression) -> Expression:
        match expression:
            case Access():
                return self.access(expression)
            case Call(operator, arguments):
                return Call(operator, tuple(self.expression(a) for a in arguments))
            case Value(whole=whole):
                return Value(self.whole(whole))
            case _:
                return expression

    def whole(self, whole: Whole) -> Whole:
        to: dict[str, Whole] = {old: Variable(new) for old, new in self.variables.items()}
        return _named(substitute(whole, to), {**self.names.ranks, **self.names.parameters})


def _named(whole: Whole, names: dict[str, str]) -> Whole:
    match whole:
        case Named(name=name):
            return Named(names.get(name, name))
        case Lookup(table=table, indices=indices):
            return Lookup(names.get(table, table), tuple(_named(i, names) for i in indices))
        case Apply(operator=operator, arguments=arguments):
            return Apply(operator, tuple(_named(a, names) for a in arguments))
        case _:
            return whole
