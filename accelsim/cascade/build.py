"""A cascade file to a Cascade: names, ranks, single writer, order, recurrences."""

from __future__ import annotations

import dataclasses

import networkx as nx

from accelsim.cascade.declare import Declarations, counted
from accelsim.cascade.nodes import (
    Access,
    At,
    Call,
    Cascade,
    Computed,
    Coordinate,
    Einsum,
    End,
    Expression,
    Parameter,
    Partitions,
    Table,
    Value,
    iteration_variables,
    whole_coordinates,
    wholes,
)
from accelsim.cascade.parse import EMPTY, parse_statement
from accelsim.cascade.parse_whole import Vocabulary
from accelsim.cascade.whole import (
    Apply,
    Lookup,
    Whole,
    names,
    substitute,
    variables,
    walk,
)
from accelsim.errors import Fault, Position, SpecError, nearest
from accelsim.spec import Document, Source, load_text
from accelsim.spec.records import CascadeSpec


def cascade_from_text(text: str, name: str = "<text>") -> Cascade:
    """The cascade that a YAML text states. Raises SpecError."""
    return build(load_text(text, "cascade", name))


def build(document: Document[CascadeSpec]) -> Cascade:
    """The cascade that a file states. Raises SpecError with all faults found."""
    builder = _Builder(document)
    for stage in (
        (builder.check_ranks, builder.read_names, builder.read_definitions, builder.read_tensors),
        (builder.read_einsums,),
        (builder.check_accesses,),
        (builder.check_order, builder.check_wholes),
        (builder.check_recurrences,),
    ):
        for step in stage:
            step()
        if builder.faults:
            raise SpecError(builder.faults)
    return builder.cascade()


def read_statements(
    text: str, source: Source, vocabulary: Vocabulary = EMPTY
) -> tuple[list[Einsum], list[Fault]]:
    """The Einsums of the block `einsums`, one a line, and the faults of those that are none."""
    einsums: list[Einsum] = []
    faults: list[Fault] = []
    for number, line in enumerate(text.split("\n")):
        statement = line.split("#", 1)[0].rstrip()
        if not statement.strip():
            continue
        offset = len(statement) - len(statement.lstrip())

        def place(column: int, number: int = number, offset: int = offset) -> Position:
            return source.block_position(("einsums",), number, column + offset)

        excerpt = source.line(place(0).line)
        found = parse_statement(statement.strip(), place, excerpt, vocabulary)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            einsums.append(found)
    if not einsums and not faults:
        faults.append(source.fault(("einsums",), "expected at least one Einsum"))
    return einsums, faults


class _Builder(Declarations):
    """Stages, each of which may rely on those before having found no fault."""

    def cascade(self) -> Cascade:
        ranks = {rank: None for rank in self.iterative.values()}
        used: dict[str, str] = {}
        for einsum in self.einsums:
            for variable in iteration_variables(einsum):
                used.setdefault(variable, self.rank_of[variable])
        return Cascade(
            name=self.spec.cascade,
            source=self.spec.source,
            description=self.spec.description,
            ranks=tuple(self.spec.ranks),
            partitions=self._cut,
            variables=tuple(used.items()),
            tensors=tuple(self.tensors.values()),
            iterative=tuple(ranks),
            outputs=tuple(self.spec.outputs),
            einsums=tuple(self.einsums),
            parameters=tuple(
                Parameter(name, p.description, p.default)
                for name, p in self.spec.parameters.items()
            ),
            tables=tuple(Table(name, tuple(r)) for name, r in self.spec.tables.items()),
            family=self.spec.family,
            alike=tuple(self.spec.alike.items()),
        )

    # Einsums ------------------------------------------------------------------------------------

    @property
    def _cut(self) -> Partitions:
        return tuple((root, tuple(parts)) for root, parts in self.spec.partitions.items())

    def read_einsums(self) -> None:
        self.einsums, faults = read_statements(self.spec.einsums, self.source, self.vocabulary)
        self.faults += faults
        self.einsums = [self._with_parts(einsum) for einsum in self.einsums]

    def _with_parts(self, einsum: Einsum) -> Einsum:
        """Computed indices and values with M0*m1 + m0 for m, where m1 and m0 are iterated over.

        A predicate keeps the coordinate of the whole rank: masks are about that.
        """
        indices = [i for a in (einsum.output, *einsum.inputs) for i in a.indices]
        over = {i.variable for i in indices if isinstance(i, At) and i.variable in self.rank_of}
        places = whole_coordinates(sorted(over), self.rank_of, self._cut)
        if not places:
            return einsum
        return dataclasses.replace(einsum, expression=_placed(einsum.expression, places))

    # Accesses ---------------------------------------------------------------------------------

    def check_accesses(self) -> None:
        for einsum in self.einsums:
            for access in (einsum.output, *einsum.inputs):
                self._check_access(einsum, access)
        if self.faults:
            return
        writers: dict[str, Einsum] = {}
        for einsum in self.einsums:
            if einsum.name in writers:
                first = writers[einsum.name].position
                line = f"line {first.line}" if first else "an earlier line"
                message = f"{einsum.name} is written twice; the first time in {line}"
                self._in(einsum.output, message, len(einsum.name))
            writers.setdefault(einsum.name, einsum)
            self._check_output(einsum)
        for index, name in enumerate(self.spec.outputs):
            if name not in writers:
                message = f"output {name} is written by no Einsum"
                self._at(("outputs", index), message, nearest(name, writers))
        read = {
            access.tensor for e in self.einsums for access in e.inputs if e.name != access.tensor
        }
        for name in self.tensors:
            if name not in read and name not in writers:
                self._at(("tensors", name), f"tensor {name} is used by no Einsum", key=True)
        for einsum in self.einsums:
            if einsum.name not in read and einsum.name not in self.spec.outputs:
                message = f"{einsum.name} is read by no Einsum and is no output"
                self._in(einsum.output, message, len(einsum.name))
        for name, tensor in self.tensors.items():
            if tensor.initial is not None and name not in self.iterative and not self.faults:
                message = f"{name} has an initial value but is not defined by a recurrence"
                self._at(("initial", name), message, key=True)

    def _check_access(self, einsum: Einsum, access: Access) -> None:
        tensor = self.tensors.get(access.tensor)
        if tensor is None:
            message = f"unknown tensor {access.tensor}"
            self._in(access, message, len(access.tensor), nearest(access.tensor, self.tensors))
            return
        shown = f"[{', '.join(tensor.ranks)}]"
        line = tensor.position.line if tensor.position else 0
        declared = f"{tensor.name} is declared at line {line}: {tensor.name}: {shown}"
        if len(access.indices) != len(tensor.ranks):
            ranks = counted(len(tensor.ranks), "rank")
            coordinates = counted(len(access.indices), "coordinate")
            names = f" ({', '.join(tensor.ranks)})" if tensor.ranks else ""
            message = f"{tensor.name} has {ranks}{names} but is indexed by {coordinates}"
            self._in(access, message, self._width(access), (declared,))
            return
        for index, rank in zip(access.indices, tensor.ranks, strict=True):
            match index:
                case At(variable=variable):
                    over = self.rank_of.get(variable)
                    if over is None:
                        message = f"unknown rank variable {variable!r} in {tensor.name}"
                        help = (*nearest(variable, self.rank_of), declared)
                        self._in(access, message, self._width(access), help)
                    elif over != rank:
                        message = (
                            f"{variable} ranges over {over}, but {tensor.name} has {rank} there"
                        )
                        self._in(access, message, self._width(access), (declared,))
                case End(rank=end):
                    if end != rank:
                        message = f"{end} is not the rank that {tensor.name} has there, {rank}"
                        self._in(access, message, self._width(access), (declared,))
                case Computed(whole=whole):
                    for variable in variables(whole):
                        if variable not in self.rank_of:
                            message = f"unknown rank variable {variable!r} in {tensor.name}"
                            help = (*nearest(variable, self.rank_of), declared)
                            self._in(access, message, self._width(access), help)
                case Coordinate():
                    pass

    def _check_output(self, einsum: Einsum) -> None:
        """Output indices are distinct variables; `v+1`, or `v` with an initial value, recurs."""
        tensor = self.tensors[einsum.name]
        variables = [i.variable for i in einsum.output.indices if isinstance(i, At)]
        if len(variables) < len(einsum.output.indices) or len(set(variables)) < len(variables):
            message = f"{einsum.name} is defined at each point: its indices are distinct variables"
            self._in(einsum.output, message, self._width(einsum.output))
            return
        for index, rank in zip(einsum.output.indices, tensor.ranks, strict=True):
            assert isinstance(index, At)
            if index.offset == 0:
                continue
            shown = f"{index.variable}{index.offset:+d}"
            if index.offset != 1:
                message = f"{einsum.name} is written at {shown}; a recurrence writes at v+1"
                self._in(einsum.output, message, self._width(einsum.output))
            elif tensor.initial is None:
                message = f"{einsum.name} is written at {shown} but has no initial value"
                help = (f"add it: initial: {{{einsum.name}: ...}}",)
                self._in(einsum.output, message, self._width(einsum.output), help)
            elif einsum.name in self.iterative:
                message = f"{einsum.name} recurs along {self.iterative[einsum.name]} and {rank}"
                self._in(einsum.output, message, self._width(einsum.output))
            else:
                self.iterative[einsum.name] = rank
        if tensor.initial is not None and einsum.name not in self.iterative:
            # Written at v and read at v+1: a recurrence that runs down its rank.
            for position, rank in enumerate(tensor.ranks):
                for other in self.einsums:
                    for access in other.inputs:
                        read = access.indices[position] if access.tensor == tensor.name else None
                        if isinstance(read, At) and read.offset == 1:
                            self.iterative[einsum.name] = rank

    # Order ------------------------------------------------------------------------------------

    def check_order(self) -> None:
        """Definition before use, but for values carried from an earlier iteration."""
        written = {einsum.name: number for number, einsum in enumerate(self.einsums)}
        for number, einsum in enumerate(self.einsums):
            for access in einsum.inputs:
                tensor = self.tensors[access.tensor]
                maker = written.get(tensor.name)
                rank = self.iterative.get(tensor.name)
                for index, own in zip(access.indices, tensor.ranks, strict=True):
                    if isinstance(index, End) and own != rank:
                        message = f"{tensor.name} is not iterative in {own}: it has no end {own}"
                        self._in(access, message, self._width(access))
                if maker is None or maker < number:
                    continue
                if rank is not None and self._distance(einsum, access) > 0:
                    continue
                name = "itself" if maker == number else tensor.name
                message = f"{einsum.name} uses {name} before it is defined"
                if maker == number and any(isinstance(i, End) for i in access.indices):
                    message += f": its end is known only after the last {rank}"
                self._in(access, message, self._width(access))

    def _distance(self, consumer: Einsum, access: Access) -> int:
        """Iterations of the recurrence between the write and this read; 0 when the same or none."""
        rank = self.iterative[access.tensor]
        maker = next(e for e in self.einsums if e.name == access.tensor)
        position = self.tensors[access.tensor].ranks.index(rank)
        wrote, read = maker.output.indices[position], access.indices[position]
        if not isinstance(wrote, At) or not isinstance(read, At):
            return 0
        step = wrote.offset - read.offset
        return step if wrote.offset else -step

    def check_recurrences(self) -> None:
        """Each cyclic group of Einsums advances along one rank, and none needs its own end."""
        graph = nx.DiGraph()
        writers = {einsum.name: einsum for einsum in self.einsums}
        graph.add_nodes_from(writers)
        for einsum in self.einsums:
            for access in einsum.inputs:
                if access.tensor in writers:
                    graph.add_edge(access.tensor, einsum.name)
        for group in nx.strongly_connected_components(graph):
            cyclic = len(group) > 1 or any(graph.has_edge(n, n) for n in group)
            if not cyclic:
                continue
            ranks = {self.iterative[name] for name in group if name in self.iterative}
            for einsum in (e for e in self.einsums if e.name in group):
                for access in einsum.inputs:
                    if access.tensor not in group:
                        continue
                    if any(isinstance(index, End) for index in access.indices):
                        message = f"{einsum.name} needs the end of {access.tensor}, which needs it"
                        self._in(access, message, self._width(access))
                    elif access.tensor in self.iterative and self._distance(einsum, access) < 0:
                        message = f"{einsum.name} reads {access.tensor} ahead of its recurrence"
                        self._in(access, message, self._width(access))
                    elif len(ranks) != 1 and not self.faults:
                        message = (
                            f"{einsum.name} and {access.tensor} need each other along "
                            f"{' and '.join(sorted(ranks)) or 'no iterative rank'}"
                        )
                        self._in(access, message, self._width(access))
                if einsum.name in group and len(ranks) == 1 and not self.faults:
                    rank = next(iter(ranks))
                    over = {self.rank_of[v] for v in iteration_variables(einsum)}
                    outputs = {
                        self.rank_of[i.variable] for i in einsum.output.indices if isinstance(i, At)
                    }
                    if rank in over and rank not in outputs:
                        message = f"{einsum.name} reduces {rank} inside the recurrence along it"
                        self._in(einsum.output, message, len(einsum.name))

    # Whole-number expressions -------------------------------------------------------------------

    def check_wholes(self) -> None:
        """Names, tables and rank variables of predicates, computed indices and values."""
        known_names = [*self._indexable(), *self.spec.parameters]
        for einsum in self.einsums:
            inside = iteration_variables(einsum)
            roots = whole_coordinates(inside, self.rank_of, self._cut)
            for whole in wholes(einsum):
                predicate = whole in einsum.predicate
                for variable in variables(whole):
                    if variable not in inside and variable not in roots:
                        message = f"{variable!r} is no rank variable of {einsum.name}"
                        self._in_whole(einsum, variable, message, inside, predicate)
                for name in names(whole):
                    if name not in known_names:
                        message = f"{name} is no rank" + (" and no parameter" * (not predicate))
                        if name in self.tensors:
                            message = f"{name} is a tensor: give its indices, {name}[...]"
                        self._in_whole(einsum, name, message, known_names, predicate)
                for lookup in (w for w in walk(whole) if isinstance(w, Lookup)):
                    ranks = self.spec.tables[lookup.table]
                    if len(lookup.indices) != len(ranks):
                        message = f"table {lookup.table} has {counted(len(ranks), 'rank')}"
                        message += f" but is read at {counted(len(lookup.indices), 'coordinate')}"
                        self._in_whole(einsum, lookup.table, message, (), predicate)
            for condition in einsum.predicate:
                if not variables(condition):
                    message = "predicate: a comparison without rank variables has no effect"
                    self._in(einsum.output, message, len(einsum.name))
                elif isinstance(condition, Apply) and len(set(condition.arguments)) == 1 < len(
                    condition.arguments
                ):
                    message = "predicate: both sides are the same; the comparison has no effect"
                    self._in(einsum.output, message, len(einsum.name))


def _placed(expression: Expression, places: dict[str, Whole]) -> Expression:
    """An expression with other expressions for coordinates in its values and indices."""
    match expression:
        case Value(whole=whole):
            return Value(substitute(whole, places))
        case Call(operator=operator, arguments=arguments):
            return Call(operator, tuple(_placed(a, places) for a in arguments))
        case Access(tensor=tensor, indices=indices, position=position):
            moved = tuple(
                Computed(substitute(i.whole, places)) if isinstance(i, Computed) else i
                for i in indices
            )
            return Access(tensor, moved, position)
        case _:
            return expression
