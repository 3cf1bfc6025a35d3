"""The best mapping of a cascade on a machine: a space of mappings, bounds, a search."""

from accelsim.explore.search.drive import Outcome, Progress, run
from accelsim.explore.search.problem import Problem, load, load_text

__all__ = ["Outcome", "Problem", "Progress", "load", "load_text", "run"]
