"""Rewriting cascades by laws: fewer passes, each step proved and checked on numbers."""

from accelsim.derive.alike import isomorphism, renamed
from accelsim.derive.centre import centre
from accelsim.derive.choice import derive
from accelsim.derive.draft import NotApplicableError
from accelsim.derive.local import localise
from accelsim.derive.running import run
from accelsim.derive.strategy import Cost, Derivation, Step, ways
from accelsim.derive.transforms import factor, inline, merge, partition, shared, split, undo

__all__ = [
    "Cost",
    "Derivation",
    "NotApplicableError",
    "Step",
    "centre",
    "derive",
    "factor",
    "inline",
    "isomorphism",
    "localise",
    "merge",
    "partition",
    "renamed",
    "run",
    "shared",
    "split",
    "undo",
    "ways",
]
