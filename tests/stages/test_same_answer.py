"""The same inputs and options give the same files, bit for bit: in every run, with any -j and PYTHONHASHSEED."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import build_voc
from tests.stages.conftest import write_network

SCRIPT = """
import sys
from sppcli.cli.main import main
from tests.stages.conftest import SCALES
jobs = sys.argv[1]
network = ("--weights", "net.safetensors", "--precision", "fp32")
for command in (
    ("propose", "shapes", "-j", jobs, "--max-proposals", "60"),
    ("extract", *network, "--scales", SCALES),
    ("train-svm",),
    ("train-bbox",),
    ("detect",),
    ("detect", "--format", "coco", "-o", "detections.json"),
    ("features", "shapes", *network, "--side", "48"),
    ("finetune", "--iterations", "4"),
    ("show", "detections.h5", "--count", "2", "-o", "shown.png"),
    ("evaluate", "--proposals", "--plot", "recall.png"),
):
    code = main([*command, "-q"])
    assert code == 0, command
"""
KINDS = ("proposals", "features", "svm", "bbox", "detections", "image-features")
FILES = (*(f"{kind}.h5" for kind in KINDS), "detections.json", "finetuned.safetensors", "shown.png", "recall.png")


def made(folder: Path, jobs: int, seed: str) -> dict[str, bytes]:
    """Every file that the stages make of the data set in ``folder``, in processes of their own."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, str(jobs)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("same")
    build_voc(folder / "shapes", 8, per_image=4, seed=1)
    write_network(folder / "net.safetensors")
    return folder, made(folder, 1, "0")


@pytest.mark.parametrize(("jobs", "seed"), [(1, "0"), (2, "0"), (1, "4711")], ids=["again", "-j 2", "hash seed"])
def test_bit_for_bit(first: tuple[Path, dict[str, bytes]], jobs: int, seed: str) -> None:
    folder, expected = first
    found = made(folder, jobs, seed)
    assert [name for name in FILES if found[name] != expected[name]] == []
