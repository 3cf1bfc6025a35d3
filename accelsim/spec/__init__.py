"""Text to typed records with positions. Knows YAML and spelling, no meaning."""

from accelsim.shipped import data_root, find, is_path, names
from accelsim.spec.load import kind_of, load, load_text, read_file, validate
from accelsim.spec.reader import Document, Source, override, read_text
from accelsim.spec.written import written

__all__ = [
    "Document",
    "Source",
    "data_root",
    "find",
    "is_path",
    "kind_of",
    "load",
    "load_text",
    "names",
    "override",
    "read_file",
    "read_text",
    "validate",
    "written",
]
