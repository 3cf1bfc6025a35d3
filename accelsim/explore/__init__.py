"""Many runs: sweeps over machines, mappings and workloads; times beside published ones."""

from accelsim.explore.drive import Summary, run, solved, table
from accelsim.explore.published import load as load_published
from accelsim.explore.query import query
from accelsim.explore.reading import load, load_text
from accelsim.explore.search import load as load_search
from accelsim.explore.search import run as run_search
from accelsim.explore.shown import points
from accelsim.explore.study import check_figures, study_figures
from accelsim.explore.sweep import check_points, rows, timeline, write_csv

__all__ = [
    "Summary",
    "check_figures",
    "check_points",
    "load",
    "load_published",
    "load_search",
    "load_text",
    "points",
    "query",
    "rows",
    "run",
    "run_search",
    "solved",
    "study_figures",
    "table",
    "timeline",
    "write_csv",
]
