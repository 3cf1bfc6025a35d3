"""What is computed: cascades of Einsums, their meaning, their text."""

from accelsim.cascade.build import build, cascade_from_text, read_statements
from accelsim.cascade.identity import fingerprint
from accelsim.cascade.interpret import interpret
from accelsim.cascade.nodes import Access, Cascade, Einsum, Tensor, looked_up, with_parameters
from accelsim.cascade.show import latex, show, show_einsum

__all__ = [
    "Access",
    "Cascade",
    "Einsum",
    "Tensor",
    "build",
    "cascade_from_text",
    "fingerprint",
    "interpret",
    "latex",
    "looked_up",
    "read_statements",
    "show",
    "show_einsum",
    "with_parameters",
]
