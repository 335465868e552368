"""``spp extract --input``: what weights of torchvision's networks were trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sppcli.artefacts.features import open_features
from sppcli.images import read_image, resize, size_at
from tests.stages.conftest import Run, Work


def test_pixels_from_minus_one_to_one(work: Work, run: Run) -> None:
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.squeezenet1_0(weights=None).eval()
    torch.save(model.state_dict(), "squeeze.pth")
    arguments = ("--backbone", "squeezenet1_0", "--weights", "squeeze.pth", "--scales", "96", "--precision", "fp32")
    for reads in ("inception", "imagenet"):
        code, _, err = run("extract", *arguments, "--input", reads, "-o", f"{reads}.h5", "-q")
        assert code == 0, err
    with open_features(Path("inception.h5")) as features, open_features(Path("imagenet.h5")) as others:
        assert features.fingerprint != others.fingerprint
        image = read_image(features.images.absolute(features.root, 1))
        pixels = resize(image, *size_at(*image.shape[:2], 96)).astype(np.float32) / 127.5 - 1
        with torch.inference_mode():
            # Up to features.12, where the network is cut by default.
            maps = model.features[:13](torch.from_numpy(pixels).permute(2, 0, 1)[None])
        expected = maps[0].permute(1, 2, 0).numpy()
        stored, other = features.maps(1).read(0), others.maps(1).read(0)
    assert np.abs(stored - expected).max() <= 2e-3 * np.abs(expected).max()
    assert np.abs(other - expected).max() > 0.05 * np.abs(expected).max()
