"""What ``spp features`` reads of the default backbone where no layer is named: its last map, as classifiers do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sppcli.artefacts.image_features import read_image_features
from sppcli.images import INPUTS
from sppcli.nets.efficientnet_lite import EfficientNetLite0
from sppcli.nets.fitting import Wanted, fit
from sppcli.nets.registry import BACKBONES
from sppcli.nets.weight_files import read_weights
from sppcli.nets.weights import fetch_imagenet
from tests.stages.conftest import Run

NAME = "efficientnet_lite0"
MAXIMA = ("--side", "64", "--precision", "fp32", "--pyramid", "1", "--normalize", "none", "--json")


@pytest.fixture(scope="module")
def model() -> EfficientNetLite0:
    """The whole network, with its classifier."""
    whole = EfficientNetLite0().eval()
    found, _ = read_weights(fetch_imagenet(NAME)[0])
    whole.load_state_dict(dict(fit(Wanted.of(whole, whole, BACKBONES[NAME].load().other_names), found, "it").tensors))
    return whole


@pytest.fixture
def pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """The only image of the folder set/, (1, 3, 64, 64) as the network reads it."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    (tmp_path / "set").mkdir()
    Image.fromarray(image).save(tmp_path / "set" / "a.png")
    monkeypatch.chdir(tmp_path)
    return torch.from_numpy(INPUTS["inception"].apply(image)).permute(2, 0, 1)[None]


@pytest.mark.parametrize("source", ["nothing named", "a file"])
def test_the_last_map_is_pooled(source: str, model: EfficientNetLite0, pixels: torch.Tensor, run: Run) -> None:
    """Of a file that is recognised too."""
    torch.save(model.state_dict(), "weights.pth")
    code, out, err = run("features", "set", *MAXIMA, *(("--weights", "weights.pth") if source == "a file" else ()))
    assert code == 0, err
    assert json.loads(out)["network"]["cut"] == "head"
    with torch.inference_mode():
        expected = model.head(model.blocks(model.stem(pixels))).amax(dim=(2, 3))
    np.testing.assert_allclose(read_image_features(Path("image-features.h5")).vectors, expected, rtol=1e-3, atol=1e-3)


def test_another_layer_can_be_named(model: EfficientNetLite0, pixels: torch.Tensor, run: Run) -> None:
    code, out, err = run("features", "set", *MAXIMA, "--cut", "blocks.11.expand")
    assert code == 0, err
    assert (json.loads(out)["network"]["cut"], json.loads(out)["features"]) == ("blocks.11.expand", 672)
