"""A mapped loop nest on numbers: the Program's tasks on real tiles, and what they access."""

from accelsim.execute.formats import FORMATS, Format
from accelsim.execute.outcome import Outcome
from accelsim.execute.run import Executed, execute
from accelsim.execute.tiles import BrokenProgramError
from accelsim.execute.written import Formats

__all__ = [
    "FORMATS",
    "BrokenProgramError",
    "Executed",
    "Format",
    "Formats",
    "Outcome",
    "execute",
]
