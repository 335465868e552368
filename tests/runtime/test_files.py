"""Files that are whole under their name: nothing half-written, nothing left behind, the usual permissions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sppcli.errors import MissingInput
from sppcli.runtime.files import replacing, temporary_name


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("new, in part")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]


def test_permissions_are_the_usual_ones_whoever_makes_the_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "a.bin") as temporary:
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))  # as safetensors does
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_a_killed_process_left_is_swept_and_what_a_running_one_writes_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    name = temporary_name(tmp_path / "a.bin").name
    leftover, living = (tmp_path / name.replace(str(os.getpid()), str(pid)) for pid in (dead.pid, os.getppid()))
    leftover.touch()
    living.touch()
    with replacing(tmp_path / "a.bin") as temporary:
        temporary.write_text("new")
    assert not leftover.exists()
    assert living.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="nowhere does not exist; create it"), replacing(tmp_path / "nowhere" / "a"):
        pass
