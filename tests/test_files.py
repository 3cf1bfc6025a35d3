"""Output files: whole or not at all, refused before the work."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from accelsim.cli import app
from accelsim.errors import AccelsimError
from accelsim.files import check_output, write_output

GEMM = ("run", "--mapping", "fusemax__gemm", "--model", "gemm")


def test_a_link_is_followed_and_nothing_is_left_beside(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_output(tmp_path / "link", "one")
    write_output(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "two"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "target"]


def test_a_device_stays_a_device() -> None:
    write_output(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()


def test_folders_are_made(tmp_path: Path) -> None:
    check_output(tmp_path / "a" / "b.txt")
    assert not (tmp_path / "a").exists()
    write_output(tmp_path / "a" / "b.txt", "text")
    assert (tmp_path / "a" / "b.txt").read_text() == "text"


def test_what_cannot_be_written_is_said_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(AccelsimError, match="folder"):
            check_output(path)
        for command in (
            (*GEMM, "--timeline", str(path)),
            ("sweep", "studies/fusemax/area.yaml", "--csv", str(path)),
            ("report", "studies/fusemax", "--html", str(path)),
        ):
            shown = CliRunner().invoke(app, list(command))
            assert isinstance(shown.exception, AccelsimError), command
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
