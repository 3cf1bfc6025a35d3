"""What a cascade file declares: ranks, parameters, tables, definitions, tensors."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from accelsim.cascade.nodes import Access, Einsum, Tensor
from accelsim.cascade.parse import FUNCTIONS, parse_definition
from accelsim.cascade.parse_whole import Definition, Vocabulary
from accelsim.cascade.whole import WHOLE_FUNCTIONS, Whole, names, variables
from accelsim.errors import Fault, Position, nearest
from accelsim.spec import Document
from accelsim.spec.records import CascadeSpec

_VARIABLE = re.compile(r"[a-z][a-z0-9]*")


class Declarations:
    """Reads them, and collects faults."""

    def __init__(self, document: Document[CascadeSpec]) -> None:
        self.spec = document.spec
        self.source = document.source
        self.faults: list[Fault] = []
        self.tensors: dict[str, Tensor] = {}
        self.einsums: list[Einsum] = []
        self.rank_of: dict[str, str] = {}
        self.iterative: dict[str, str] = {}
        self.definitions: dict[str, Definition] = {}

    # Declarations -----------------------------------------------------------------------------

    def check_ranks(self) -> None:
        seen = set(self.spec.ranks)
        for root, parts in self.spec.partitions.items():
            if root not in self.spec.ranks:
                help = nearest(root, self.spec.ranks)
                self._at(("partitions", root), f"{root} is no declared rank", help, key=True)
            if len(parts) < 2:
                self._at(("partitions", root), f"{root} is cut into at least two parts", key=True)
            for index, part in enumerate(parts):
                if part in seen:
                    message = f"{part} is the name of another rank or part"
                    self._at(("partitions", root, index), message)
                seen.add(part)
        innermost = {parts[-1] for parts in self.spec.partitions.values() if parts}
        whole = [rank for rank in self.spec.ranks if rank not in self.spec.partitions]
        for rank, part in self.spec.alike.items():
            if rank not in whole:
                message = f"alike: {rank} is no declared rank that stays whole"
                self._at(("alike", rank), message, nearest(rank, whole), key=True)
            if part not in innermost:
                message = f"alike: {part} is no innermost part of a rank"
                self._at(("alike", rank), message, nearest(part, innermost))
        known = self._indexable()
        self.rank_of = {rank.lower(): rank for rank in known}
        for variable, rank in self.spec.variables.items():
            at = ("variables", variable)
            if _VARIABLE.fullmatch(variable) is None:
                self._at(at, f"{variable}: a rank variable is lower-case", key=True)
            elif variable in self.rank_of:
                message = f"{variable} already ranges over {self.rank_of[variable]}"
                self._at(at, message, key=True)
            elif rank not in known:
                self._at(at, f"{rank} is no rank that tensors can have", nearest(rank, known))
            else:
                self.rank_of[variable] = rank

    def read_names(self) -> None:
        """Parameters and tables: names of their own, ranks that are known."""
        taken = {
            **dict.fromkeys(self._indexable(), "rank"),
            **dict.fromkeys(self.rank_of, "rank variable"),
        }
        taken |= dict.fromkeys(self.spec.tensors, "tensor") | dict.fromkeys(
            WHOLE_FUNCTIONS, "function"
        )
        for section, declared in (
            ("parameters", self.spec.parameters),
            ("tables", self.spec.tables),
        ):
            for name in declared:
                if name in taken:
                    message = f"{name} is the name of another {taken[name]}"
                    self._at((section, name), message, key=True)
                taken[name] = section[:-1]
        known = self._indexable()
        for name, ranks in self.spec.tables.items():
            if not ranks:
                self._at(("tables", name), f"{name} has no ranks; make it a parameter", key=True)
            for index, rank in enumerate(ranks):
                if rank not in known:
                    message = f"{name} has unknown rank {rank}"
                    self._at(("tables", name, index), message, nearest(rank, known))

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(
            frozenset(self.spec.parameters), frozenset(self.spec.tables), self.definitions
        )

    def read_definitions(self) -> None:
        for head, body in self.spec.define.items():
            path = ("define", head)

            def place(column: int, path: tuple[str, ...] = path) -> Position:
                return self.source.block_position(path, 0, column)

            excerpt = self.source.line(place(0).line)
            found = parse_definition(head, body.strip(), place, excerpt, self.vocabulary)
            if isinstance(found, Fault):
                self.faults.append(found)
                continue
            name, definition = found
            if name in self.definitions or name in {*FUNCTIONS, *WHOLE_FUNCTIONS}:
                self._at(path, f"{name} is the name of another function", key=True)
            for argument in definition.arguments:
                if _VARIABLE.fullmatch(argument) is None or argument in self.spec.parameters:
                    message = f"{argument}: an argument is a lower-case name of its own"
                    self._at(path, message, key=True)
            for variable in variables(definition.body):
                if variable not in definition.arguments:
                    help = nearest(variable, definition.arguments)
                    self._at(path, f"{variable!r} is no argument of {name}", help)
            self._check_names(definition.body, path)
            self.definitions[name] = definition

    def _check_names(self, whole: Whole, path: tuple[str, ...]) -> None:
        known = [*self._indexable(), *self.spec.parameters]
        for name in names(whole):
            if name not in known:
                self._at(path, f"{name} is no rank and no parameter", nearest(name, known))

    def _indexable(self) -> list[str]:
        """Ranks that tensors may have: parts, and the roots that are not cut, and roots too."""
        parts = [part for parts in self.spec.partitions.values() for part in parts]
        return [*self.spec.ranks, *parts]

    def read_tensors(self) -> None:
        known = self._indexable()
        for name, ranks in self.spec.tensors.items():
            for index, rank in enumerate(ranks):
                if rank not in known:
                    message = f"{name} has unknown rank {rank}"
                    self._at(("tensors", name, index), message, nearest(rank, known))
                elif rank in self.spec.partitions:
                    parts = ", ".join(self.spec.partitions[rank])
                    message = f"{name}: {rank} is cut; give {name} its parts {parts}"
                    self._at(("tensors", name, index), message)
            initial = self.spec.initial.get(name)
            position = self.source.position(("tensors", name))
            self.tensors[name] = Tensor(name, tuple(ranks), initial, position)
        for name in self.spec.initial:
            if name not in self.tensors:
                message = f"initial value for unknown tensor {name}"
                self._at(("initial", name), message, nearest(name, self.tensors), key=True)

    # Faults -----------------------------------------------------------------------------------

    def _at(
        self,
        path: tuple[str | int, ...],
        message: str,
        help: tuple[str, ...] = (),
        *,
        key: bool = False,
    ) -> None:
        self.faults.append(self.source.fault(path, message, help=help, key=key))

    def _in(self, access: Access, message: str, width: int, help: tuple[str, ...] = ()) -> None:
        place = access.position
        assert place is not None  # the parser gives every access one
        self.faults.append(Fault(message, place, self.source.line(place.line), width, help))

    def _in_whole(
        self, einsum: Einsum, word: str, message: str, known: Iterable[str], predicate: bool
    ) -> None:
        """A fault at a word of the statement; one of a predicate stands after its `|`."""
        place = einsum.output.position
        assert place is not None  # the parser gives every access one
        line = self.source.line(place.line)
        found = re.compile(rf"\b{word}\b").search(
            line, max(0, line.find("|", place.column)) if predicate else place.column
        )
        if found is not None:
            place = dataclasses.replace(place, column=found.start() + 1)
        access = dataclasses.replace(einsum.output, position=place)
        message = f"predicate: {message}" if predicate else message
        self._in(access, message, len(word), nearest(word, known))

    def _width(self, access: Access) -> int:
        """Length of the access as written: to the `]` that closes it."""
        assert access.position is not None
        line = self.source.line(access.position.line)
        start = access.position.column - 1
        return max(1, line.find("]", start) + 1 - start)


def counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
