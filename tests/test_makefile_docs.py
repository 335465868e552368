"""The Makefile in docs/ makes everything once, then only what changed; the guide shows that very file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sppcli.images import Normalisation
from sppcli.nets.classifier import Architecture, Layer, SppClassifier
from sppcli.nets.weights import save_network
from tests.conftest import build_voc
from tests.stages.conftest import SCALES, write_network

DOCS = Path(__file__).parent.parent / "docs"


def test_the_guide_shows_the_file() -> None:
    shown = re.search(r"```make\n(.*?)```", (DOCS / "guide.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    assert shown[1] == (DOCS / "voc.mk").read_text(encoding="utf-8")


def with_spp(folder: Path) -> dict[str, str]:
    """An environment whose ``spp`` is this one."""
    (folder / "bin").mkdir()
    script = folder / "bin" / "spp"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m sppcli "$@"\n')
    script.chmod(0o755)
    # The tests may themselves be run by make, whose own settings are not for the make under test.
    outer = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return {**outer, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@needs_make
def test_only_what_changed_is_made_again(tmp_path: Path) -> None:
    voc = build_voc(tmp_path / "shapes", 8, seed=3)
    write_network(tmp_path / "net.safetensors")
    environment = with_spp(tmp_path)

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
    made = ("features.h5", "svm.h5", "bbox.h5", "detections.h5")
    before = [(tmp_path / name).stat().st_ino for name in made]
    os.utime(tmp_path / "proposals.h5")  # newer, but the same: every stage says so, and make is content
    assert make() == ["extract", "train-svm", "train-bbox", "detect", "evaluate"]
    assert [(tmp_path / name).stat().st_ino for name in made] == before
    assert make() == []


NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@needs_make
def test_table_nine_on_a_stand_in_for_voc_2007(tmp_path: Path) -> None:
    """Every step but the download, on drawn images with the real one's layout, names and flags."""
    build_voc(tmp_path / "VOC2007", 24, per_image=4, classes=NAMES, difficult_every=9, seed=5)
    torch.manual_seed(0)
    plain = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    layers = (Layer("conv", 5, 2, 2, 8), Layer("maxpool", 3, 2), Layer("conv", 3, 1, 1, 8))
    design = Architecture("small", layers, (4, 2, 1), (32, 32), ("a", "b"), plain, 48)
    save_network(tmp_path / "net.safetensors", SppClassifier(design), {})
    command = ["make", "-f", str(DOCS / "voc2007.mk"), "OUT=out", f"DATA={tmp_path / 'VOC2007'}", "NUMBERS=5"]
    command += [f"NET=--weights {tmp_path / 'net.safetensors'}", f"SCALES_5={SCALES}", "FINETUNE=--iterations 12 -q"]
    command += [f"PYTHON={sys.executable}"]

    environment = with_spp(tmp_path)

    def make() -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    first = make().splitlines()
    assert [line for line in first if "spp" in line.split()]
    table = first[-7:]
    assert table[0].split() == ["5", "scales", "paper"]
    assert [line.split()[-1] for line in table[1:6]] == ["44.9", "44.8", "53.7", "55.2", "59.2"]
    for line, cell in zip(table[1:6], ("pool5", "fc6", "ft-fc6", "ft-fc7", "ft-fc7-bb"), strict=True):
        found = json.loads((tmp_path / "out" / "scales-5" / cell / "ap.json").read_text())
        assert set(found["ap"]) == set(NAMES)
        assert line.split()[-2] == f"{100 * found['mAP']:.1f}"
    again = make()
    assert not [line for line in again.splitlines() if "spp" in line.split()]
