"""Text to typed records with positions. Knows YAML and spelling, no meaning."""

from accelsim.shipped import data_root, find, names
from accelsim.spec.load import kind_of, load, load_text, validate
from accelsim.spec.reader import Document, Source, override, read_file, read_text

__all__ = [
    "Document",
    "Source",
    "data_root",
    "find",
    "kind_of",
    "load",
    "load_text",
    "names",
    "override",
    "read_file",
    "read_text",
    "validate",
]
