"""Compiled code is kept where it can be, and where it cannot everything works all the same.

The superuser may write anywhere, so folders are made impossible, not forbidden: a file stands in the place of each
``__pycache__``, and the home is no folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import sppcli
from sppcli.runtime import compiled

Run = Callable[..., subprocess.CompletedProcess[str]]

# Compiles two functions in a moment and tells where they are kept.
PROBE = """
import numpy as np
from sppcli.geometry import nms
from sppcli.proposals.selective_search import introsort
boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], np.float32)
print(nms.nms(boxes, np.array([1, 2, 3], np.float32)).tolist())
stats = nms._suppress.stats
print(stats.cache_path, introsort.introsort.stats.cache_path, sum(stats.cache_hits.values()))
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Python with a copy of the package, where numba can write neither beside it nor in the user's cache folder."""
    library, temporary, work = (tmp_path / name for name in ("library", "temporary", "work"))
    shutil.copytree(Path(sppcli.__file__).parent, library / "sppcli", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in {path.parent for path in library.rglob("*.py")}:
        (folder / "__pycache__").write_text("")
    temporary.mkdir()
    work.mkdir()
    environment = {name: os.environ[name] for name in os.environ if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    environment |= {"HOME": os.devnull, "TMPDIR": str(temporary), "PYTHONPATH": str(library)}

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=work, capture_output=True, text=True, check=False
        )

    return python


def kept(tmp_path: Path) -> Path:
    return tmp_path / "temporary" / f"sppcli-numba-{os.getuid()}"


def test_the_temporary_folder_serves_the_next_process(run: Run, tmp_path: Path) -> None:
    for hits in (0, 1):
        done = run("-c", PROBE)
        assert done.returncode == 0, done.stderr
        picks, places = done.stdout.splitlines()
        assert picks == "[2, 1]"
        one, other, found = places.split()
        assert Path(one).parent == Path(other).parent == kept(tmp_path)
        assert int(found) == hits
    assert kept(tmp_path).stat().st_mode & 0o777 == 0o700
    assert done.stderr == ""


@pytest.mark.parametrize("obstacle", ["a file", "open to others", "a link"])
def test_where_nothing_can_be_kept_all_is_compiled_anew(run: Run, tmp_path: Path, obstacle: str) -> None:
    """A folder that others can write is not taken: numba runs what it finds there."""
    if obstacle == "a file":
        kept(tmp_path).write_text("")
    elif obstacle == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        kept(tmp_path).symlink_to(tmp_path / "elsewhere")
    else:
        kept(tmp_path).mkdir()
        kept(tmp_path).chmod(0o777)
    done = run("-c", PROBE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[2, 1]", "None None 0"]


def test_propose_works_where_nothing_can_be_kept(run: Run, tmp_path: Path) -> None:
    """OpenCV's engine, so that nobody waits for the compiler; numba refuses when a function is defined."""
    kept(tmp_path).write_text("")
    image = np.zeros((24, 32, 3), np.uint8)
    image[4:20, 8:24] = 200
    cv2.imwrite(str(tmp_path / "work" / "a.png"), image)
    done = run("-m", "sppcli", "propose", "a.png", "--engine", "opencv", "-j", "1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work" / "proposals.h5").exists()


def test_other_errors_are_not_taken_for_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(compiled.numba, "njit", refuse)
    with pytest.raises(RuntimeError, match="something else"):
        compiled.njit()(lambda: None)
