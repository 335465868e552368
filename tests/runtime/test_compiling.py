"""Whoever waits for the compiler is told: by numba's own word, in whatever thread of a stage it works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sppcli.runtime import compiling

NOTES = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from sppcli.runtime.compiling import announced
from sppcli.runtime.progress import NoProgress

class Told(NoProgress):
    def note(self, text):
        print(repr(text))
    def warn(self, text):
        print("warning", text)

boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], np.float32)
with announced(Told()):
    from sppcli.geometry.nms import nms
    with ThreadPoolExecutor(1) as pool:
        picks = pool.submit(nms, boxes, np.array([1, 2, 3], np.float32), 0.5).result()
print(picks.tolist())
"""
COLD = "'compiling geometry.nms, once on this computer'"


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_compilation_is_told_once_and_a_kept_result_not_at_all(tmp_path: Path) -> None:
    folder = str(tmp_path / "cache")
    assert python("-c", NOTES, NUMBA_CACHE_DIR=folder).stdout.splitlines() == [COLD, "''", "[2, 1]"]
    assert python("-c", NOTES, NUMBA_CACHE_DIR=folder).stdout.splitlines() == ["[2, 1]"]


def test_outside_nobody_is_told(tmp_path: Path) -> None:
    code = NOTES.replace("with announced(Told()):", "if True:")
    assert python("-c", code, NUMBA_CACHE_DIR=str(tmp_path / "cache")).stdout.splitlines() == ["[2, 1]"]


class _Function:
    """As numba's dispatchers, of a function whose compiled form can be kept nowhere."""

    class stats:  # noqa: N801
        cache_path = None

    class py_func:  # noqa: N801
        __module__ = "sppcli.features.pooling"


class _Told:
    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, total: int, unit: str, found: int = 0) -> None:
        pass

    def advance(self, n: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(f"warning: {text}")


def test_where_nothing_can_be_kept_one_warning_says_so() -> None:
    progress = _Told()
    with compiling.announced(progress):
        for _ in range(2):
            compiling.begins(_Function)
            # What it calls is compiled on the way.
            compiling.begins(_Function)
            compiling.ends()
            compiling.ends()
    compiling.begins(_Function)
    compiling.ends()
    note = "compiling features.pooling, in every run"
    assert progress.said[1:] == [note, "", note, ""]
    assert progress.said[0].startswith("warning: compiled code can be kept nowhere")
    assert "NUMBA_CACHE_DIR" in progress.said[0]
