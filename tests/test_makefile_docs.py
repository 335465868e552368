"""The Makefile in docs/ makes everything once, then only what changed; the guide shows that very file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import build_voc
from tests.stages.conftest import SCALES, write_network

DOCS = Path(__file__).parent.parent / "docs"


def test_the_guide_shows_the_file() -> None:
    shown = re.search(r"```make\n(.*?)```", (DOCS / "guide.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    assert shown[1] == (DOCS / "voc.mk").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_only_what_changed_is_made_again(tmp_path: Path) -> None:
    voc = build_voc(tmp_path / "shapes", 8, seed=3)
    write_network(tmp_path / "net.safetensors")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "spp"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m sppcli "$@"\n')
    script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def make() -> list[str]:
        command = ["make", "-f", str(DOCS / "voc.mk"), "DATA=shapes"]
        command.append(f"EXTRACT=--weights net.safetensors --scales {SCALES}")
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("spp ")]

    assert make() == ["propose", "extract", "train-svm", "train-bbox", "detect", "evaluate"]
    assert make() == []
    annotation = voc.annotation(voc.splits["train"][0])
    annotation.write_text(annotation.read_text().replace("<difficult>0", "<difficult>1", 1))
    assert make() == ["train-svm", "train-bbox", "detect", "evaluate"]
    assert make() == []
    os.utime(tmp_path / "proposals.h5")  # newer, but the same: every stage says so, and make is content
    assert set(make()) <= {"extract", "train-svm", "train-bbox", "detect", "evaluate"}
    assert make() == []
