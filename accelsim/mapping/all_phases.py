"""Rules of a mapping as a whole: what it binds, what it gives formats, what its phases share."""

from __future__ import annotations

from accelsim.cascade import Cascade
from accelsim.errors import Fault, nearest
from accelsim.spec import Document
from accelsim.spec.mappings import MappingSpec


def coverage(document: Document[MappingSpec], cascade: Cascade) -> list[Fault]:
    """Every Einsum bound exactly once; phases make what later ones read (rules 1 and 3)."""
    spec, source = document.spec, document.source
    known = [einsum.name for einsum in cascade.einsums]
    faults: list[Fault] = []
    home: dict[str, str] = {}
    for phase_name, phase in spec.phases.items():
        for name in phase.einsums:
            at = ("phases", phase_name, "einsums", name)
            if name not in known:
                message = f"{cascade.name} has no Einsum {name}"
                faults.append(source.fault(at, message, help=nearest(name, known), key=True))
            elif name in home:
                message = f"{name} is bound already, in phase {home[name]}"
                faults.append(source.fault(at, message, key=True))
            else:
                home[name] = phase_name
    missing = [name for name in known if name not in home]
    if missing and not faults:
        message = f"no phase binds {', '.join(missing)} of {cascade.name}"
        faults.append(source.fault(("phases",), message, key=True))
    if faults:
        return faults
    order = list(spec.phases)
    for einsum in cascade.einsums:
        for access in einsum.inputs:
            made_in = home.get(access.tensor)
            if made_in and order.index(made_in) > order.index(home[einsum.name]):
                at = ("phases", home[einsum.name], "einsums", einsum.name)
                message = f"{einsum.name} reads {access.tensor}, which a later phase makes"
                faults.append(source.fault(at, message, key=True))
    return faults


def formats(document: Document[MappingSpec], cascade: Cascade) -> list[Fault]:
    """Formats are of tensors and tables that there are."""
    known = [t.name for t in cascade.tensors] + [t.name for t in cascade.tables]
    return [
        document.source.fault(
            ("formats", name),
            f"formats: {cascade.name} has no tensor or table {name}",
            help=nearest(name, known),
            key=True,
        )
        for name in document.spec.formats
        if name not in known
    ]


def cut_alike(
    document: Document[MappingSpec], cascade: Cascade, cuts: dict[str, dict[str, int]]
) -> list[Fault]:
    """Parts that the cascade itself cuts are of one size in all phases: tensors have them.

    cuts: phase -> part -> its size, fitted ones too.
    """
    faults, sizes = [], dict[str, tuple[str, int]]()
    for phase, extents in cuts.items():
        for part in (p for _, parts in cascade.partitions for p in parts):
            size = extents.get(part)
            other, expected = sizes.setdefault(part, (phase, size or 0))
            if size is not None and size != expected:
                message = f"{part} is {size} here and {expected} in phase {other}: tensors have it"
                faults.append(document.source.fault(("phases", phase), message, key=True))
    return faults
