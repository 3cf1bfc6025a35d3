"""A candidate as a mapping: the record that the mapping stage reads, and the text of its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from accelsim import mapping, spec
from accelsim.errors import MappingError
from accelsim.explore.search import pipeline
from accelsim.explore.search.bounds import Bounds
from accelsim.explore.search.problem import NOWHERE, Problem
from accelsim.explore.search.space import Candidate
from accelsim.spec.mappings import MappingSpec


class Writer:
    """Candidates of a problem as mappings. Keeps what many of them have in common."""

    def __init__(self, problem: Problem, bounds: Bounds) -> None:
        self.problem = problem
        self._bounds = bounds
        self._structures: dict[Any, pipeline.Structure | str] = {}

    def values(self, candidate: Candidate) -> dict[str, Any]:
        """The keys of a mapping file. Raises MappingError for what cannot even be written."""
        problem, cut = self.problem, self.problem.tilings[candidate.tiling]
        if cut.wrong is not None:
            raise MappingError(cut.wrong)
        phases = {}
        for group in candidate.groups:
            key = (candidate.tiling, group.einsums, group.layout.loops)
            if key not in self._structures:
                self._structures[key] = pipeline.structure(
                    problem, cut, group.einsums, group.layout.loops
                )
            shape = self._structures[key]
            if isinstance(shape, str):
                raise MappingError(shape)
            spatial = {
                name: self._bounds.spatial(candidate.tiling, name, unit)
                for name, unit in zip(group.einsums, group.units, strict=True)
            }
            phase = pipeline.phase(problem, shape, group, spatial)
            if phase is None:
                raise MappingError("a recurrence goes through units that are too late for it")
            first, last = group.einsums[0], group.einsums[-1]
            phases[first if first == last else f"{first}_to_{last}"] = phase
        return {
            "mapping": f"{problem.spec.search}",
            "source": "a candidate",
            "arch": problem.spec.arch,
            "cascade": problem.spec.cascade,
            "partition": cut.sizes,
            "phases": phases,
        }

    def built(self, values: dict[str, Any]) -> mapping.Mapping:
        """The mapping. Raises MappingError where it is illegal."""
        problem = self.problem
        try:
            record = MappingSpec.model_validate(values)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"][-2:]))
            raise MappingError(f"{place}: more than a mapping file can say") from None
        document = spec.Document(record, NOWHERE)
        return mapping.build(
            document, problem.cascade, problem.machine, problem.shapes, problem.tables
        )


def text(values: dict[str, Any], problem: Problem, path: Path, about: str) -> str:
    """The file of a mapping at a path. about: how it was found."""
    named = {**values, "source": about}
    if problem.seq_len is not None:
        named = {"mapping": named.pop("mapping"), "description": _says(problem), **named}
    for kind in ("arch", "cascade"):
        if spec.is_path(named[kind], kind):
            found = (problem.folder / named[kind]).resolve()
            named[kind] = Path(os.path.relpath(found, path.resolve().parent)).as_posix()
    phases = named.pop("phases")
    lines = [f"{key}: {_flow(value)}" for key, value in named.items() if key != "partition"]
    lines += ["", "partition:", *_listed(named["partition"], 2), "", "phases:"]
    for name, phase in phases.items():
        lines += [f"  {name}:", f"    loops: {_flow(phase['loops'])}"]
        for key in ("einsums", "storage"):
            lines += [f"    {key}:", *_listed(phase[key], 6)]
    schema = os.path.relpath(spec.data_root() / "schemas" / "mapping.json", path.resolve().parent)
    head = f"# yaml-language-server: $schema={Path(schema).as_posix()}"
    return "\n".join([head, *lines]) + "\n"


def _listed(values: dict[str, Any], indent: int) -> list[str]:
    """A line for each key."""
    return [f"{' ' * indent}{key}: {_flow(value)}" for key, value in values.items()]


def _flow(value: Any) -> str:
    """A value on one line."""
    text: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=1 << 30)
    return text.removesuffix("\n").removesuffix("\n...")


def _says(problem: Problem) -> str:
    return f"for {problem.spec.workload} at {problem.seq_len} tokens"
