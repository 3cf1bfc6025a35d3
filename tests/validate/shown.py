"""The command line in this process: what it printed and its status."""

from __future__ import annotations

import sys

import pytest

from accelsim.cli import main


def accelsim(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Status, standard output, standard error of `accelsim WORDS`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["accelsim", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err
