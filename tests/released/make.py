"""Made the files of this folder: one of each kind and schema version, small, by the stages themselves.

They are committed and never made again: a version of spp that reads a schema reads these. A new version of a schema
gets a file of its own: ``python -m tests.released.make FOLDER`` writes today's.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from sppcli.artefacts.schema import SCHEMAS
from sppcli.cli.main import main
from sppcli.images import Normalisation
from sppcli.nets.classifier import Architecture, Layer, SppClassifier
from sppcli.nets.weights import save_network
from tests.conftest import SHAPES, build_voc

DETECTOR = ("--channels", "4", "--fc", "8", "--scale", "64", "--pyramid", "2,1")


def make(folder: Path) -> None:
    torch.manual_seed(0)
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        build_voc(Path("shapes"), 8, per_image=4, seed=1)
        normalisation = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        layers = (Layer("conv", 5, 4, 2, 4), Layer("maxpool", 3, 2))
        architecture = Architecture("one-layer", layers, (2, 1), (4,), SHAPES, normalisation, 48)
        save_network(Path("network.safetensors"), SppClassifier(architecture), {"seed": 0})
        network = ("--weights", "network.safetensors", "--precision", "fp32")
        for command in (
            ("propose", "shapes", "-j", "1", "--max-proposals", "20"),
            ("extract", *network, "--scales", "64"),
            ("train-svm",),
            ("train-bbox",),
            ("calibrate", "--folds", "2"),
            ("detect", "--max-per-image", "5"),
            ("features", "shapes", *network, "--side", "48"),
        ):
            assert main([*command, "-q"]) == 0
        assert main(["train-detector", *network, *DETECTOR, "--epochs", "1", "-q"]) == 0
        os.chdir(here)
        for kind, schema in SCHEMAS.items():
            shutil.copy(Path(name) / f"{kind}.h5", folder / f"{kind}-{schema.version}.h5")
        for network in ("network", "detector"):
            shutil.copy(Path(name) / f"{network}.safetensors", folder / f"{network}-1.safetensors")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
