"""Compiled functions whose cache knows all sources of the engines.

numba keeps a compiled function as long as the file that it stands in is unchanged. Ours take
constants and bodies from their neighbours: with a cache of that kind, an update of one file would
leave old code running on new arrays. So the cache has a folder per state of all these files.
"""

from __future__ import annotations

import hashlib
import os
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


def _folder() -> Path | None:
    """Below NUMBA_CACHE_DIR if set, else beside the engines, else below the user's cache folder.

    None when none of these can be written: code is then compiled in every process. Folders of
    older states are removed.
    """
    name = f"accelsim-{_state()}"
    user = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    given = [CONFIG.CACHE_DIR] if CONFIG.CACHE_DIR else [HERE / "__pycache__", user / "accelsim"]
    for base in map(Path, given):
        folder = base / name
        try:
            folder = folder.expanduser()
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):
            continue
        if not os.access(folder, os.W_OK):
            continue
        for old in folder.parent.glob("accelsim-*") if not CONFIG.CACHE_DIR else ():
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)
        return folder
    return None


FOLDER = _folder()


def compiled_code(function: Callable[..., Any]) -> Any:
    """numba.njit(cache=True), with the cache of this state of the sources."""
    if FOLDER is None:
        return numba.njit(function)
    before = CONFIG.CACHE_DIR
    CONFIG.CACHE_DIR = str(FOLDER)
    try:
        return numba.njit(cache=True)(function)
    finally:
        CONFIG.CACHE_DIR = before
