"""The same inputs and options give the same files, bit for bit: in every run, with any -j and PYTHONHASHSEED."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    ("check", "shapes", "-j", jobs, "--plot", "check.png"),
    ("train-net", "crops", "--net", "tiny", "--sizes", "36", "--epochs", "1"),
    ("train-detector", *network, "--channels", "8", "--fc", "16", "--scale", "96", "--epochs", "1"),
    ("detect", "--network", "detector.safetensors", "-o", "one-network.h5"),
    ("detect", "shapes/JPEGImages", "-j", jobs, "--format", "jsonl", "-o", "new.jsonl"),
    ("detect", "--format", "voc", "-o", "voc"),
    ("convert", "shapes", "coco", "--to", "coco"),
    ("convert", "shapes", "yolo", "--to", "yolo"),
):
    code = main([*command, "-q"])
    assert code == 0, command
"""
KINDS = ("proposals", "features", "svm", "bbox", "detections", "image-features")
FILES = (
    *(f"{kind}.h5" for kind in KINDS),
    "one-network.h5",
    *(f"{name}.safetensors" for name in ("finetuned", "network", "detector")),
    *("detections.json", "new.jsonl"),
    *("shown.png", "recall.png", "check.png"),
)
FOLDERS = ("voc", "coco", "yolo")


def made(folder: Path, jobs: int, seed: str) -> dict[str, bytes]:
    """Every file that the stages make of the data set in ``folder``, in processes of their own."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    for name in FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, str(jobs)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    others = [path for name in FOLDERS for path in (folder / name).rglob("*") if path.is_file()]
    assert len(others) > 20
    paths = [*(folder / name for name in FILES), *others]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("same")
    build_voc(folder / "shapes", 8, per_image=4, seed=1)
    rng = np.random.default_rng(0)
    for name in ("a/1", "a/2", "a/3", "b/1", "b/2", "b/3"):
        (folder / "crops" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 44, 3), np.uint8)).save(folder / "crops" / f"{name}.png")
    write_network(folder / "net.safetensors")
    return folder, made(folder, 1, "0")


@pytest.mark.parametrize(("jobs", "seed"), [(1, "0"), (2, "0"), (1, "4711")], ids=["again", "-j 2", "hash seed"])
def test_bit_for_bit(first: tuple[Path, dict[str, bytes]], jobs: int, seed: str) -> None:
    folder, expected = first
    found = made(folder, jobs, seed)
    assert set(found) == set(expected)
    assert [name for name in found if found[name] != expected[name]] == []
