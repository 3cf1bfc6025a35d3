"""Compiled functions whose cache knows all sources of the engines.

numba keeps a compiled function as long as the file that it stands in is unchanged. Ours take
constants and bodies from their neighbours: with a cache of that kind, an update of one file would
leave old code running on new arrays. So the cache has a folder per state of all these files.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

HERE = Path(__file__).parent
CONFIG: Any = numba.config


def _state() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(HERE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _folder() -> Path:
    """Below NUMBA_CACHE_DIR if set, else beside the engines; there, older states are removed."""
    name = f"accelsim-{_state()}"
    if CONFIG.CACHE_DIR:
        return Path(CONFIG.CACHE_DIR) / name
    beside = HERE / "__pycache__"
    for old in beside.glob("accelsim-*"):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)
    return beside / name


FOLDER = str(_folder())


def compiled_code(function: Callable[..., Any]) -> Any:
    """numba.njit(cache=True), with the cache of this state of the sources."""
    before = CONFIG.CACHE_DIR
    CONFIG.CACHE_DIR = FOLDER
    try:
        return numba.njit(cache=True)(function)
    finally:
        CONFIG.CACHE_DIR = before
