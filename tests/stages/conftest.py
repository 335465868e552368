"""A small detector, trained once: five commands on a drawn data set with a small network of fixed weights.

The network's weights are drawn at random and fixed: enough to tell coloured shapes apart, and honest about it, since
these tests are about the stages and not about the network.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from sppcli.cli.main import main
from sppcli.images import Normalisation
from sppcli.nets.classifier import Architecture, Layer, SppClassifier
from sppcli.nets.weights import save_network
from tests.conftest import SHAPES, Run, Voc, build_voc
from tests.stages.planting import Planted

__all__ = ["SCALES", "Run", "Work", "write_network"]

SCALES = "96,160"


def write_network(path: Path, seed: int = 0) -> Path:
    """A network of two conv layers and one fc layer, its weights drawn by ``seed``."""
    torch.manual_seed(seed)
    architecture = Architecture(
        "two-layers",
        (Layer("conv", 5, 2, 2, 16), Layer("maxpool", 3, 2), Layer("conv", 3, 1, 1, 24)),
        (4, 2, 1),
        (32,),
        SHAPES,
        Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        48,
    )
    save_network(path, SppClassifier(architecture), {"seed": seed})
    return path


@dataclass(frozen=True)
class Work:
    """A folder with a data set, a network and, in ``trained``, everything the five commands made."""

    folder: Path
    voc: Voc


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("trained")
    voc = build_voc(folder / "shapes", 16, per_image=4, seed=1)
    write_network(folder / "net.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["propose", "shapes", "-q", "-j", "1"]) == 0
        assert main(["extract", "-q", "--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32"]) == 0
        assert main(["train-svm", "-q"]) == 0
        assert main(["train-bbox", "-q"]) == 0
    return Work(folder, voc)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def work(trained: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """A private copy of the trained folder, which is the current directory.

    The copy's artefacts still name the original data set; `shapes` here is a copy of it.
    """
    folder = tmp_path / "work"
    shutil.copytree(trained.folder, folder)
    monkeypatch.chdir(folder)
    return Work(folder, trained.voc)


@pytest.fixture
def planted(make_voc: Callable[..., Voc], tmp_path: Path, run: Run) -> Callable[[str], Planted]:
    """``planted("coco")``: a sound data set of 44 images in that format, and ways to break it."""

    def make(form: str) -> Planted:
        voc = make_voc(44, per_image=4)
        root = voc.root
        if form != "voc":
            root = tmp_path / form
            assert run("convert", str(voc.root), str(root), "--to", form, "-q")[0] == 0
        return Planted(voc, root, form)

    return make
