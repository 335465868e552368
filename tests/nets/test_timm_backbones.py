"""timm's networks as backbones: maps and grids against our own networks, weights from files and the cache, refusals."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from sppcli.errors import MissingInput, UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.images import INPUTS
from sppcli.nets import timm_backbones
from sppcli.nets.backbones import SPECS, cut_trunk, describe, run_trunk
from sppcli.nets.detector import DetectorArchitecture, SppDetector
from sppcli.nets.efficientnet_lite import _name_in_timm
from sppcli.nets.local import for_inference
from sppcli.nets.measured_field import measured_grid
from sppcli.nets.receptive_field import grid_of
from sppcli.nets.weights import load_network
from tests.conftest import Run

needs_timm = pytest.mark.skipif(timm_backbones.find_spec("timm") is None, reason="timm is not installed")
SMALL = "timm/mobilenetv3_small_050"


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_backbones, "find_spec", lambda _: None)
    with pytest.raises(MissingInput, match=r"timm/resnet18_x is timm's, .*; run pip install 'sppcli\[timm\]'"):
        load_network("imagenet", "timm/resnet18_x")


@needs_timm
def test_maps_are_those_of_our_own_network(tmp_path: Path) -> None:
    """Odd sides too, where TensorFlow's padding would look elsewhere."""
    ours = load_network("imagenet", "efficientnet_lite0")
    model = SPECS["timm/tf_efficientnet_lite0"].build()
    own = {_name_in_timm(name): value for name, value in ours.trunk.state_dict().items()}
    torch.save({**model.state_dict(), **own}, tmp_path / "w.pth")
    theirs = load_network(str(tmp_path / "w.pth"), "timm/tf_efficientnet_lite0", "blocks.5.0.bn1")
    assert (theirs.grid, theirs.channels, theirs.normalisation) == (ours.grid, 672, INPUTS["inception"])
    image = torch.randn(1, 3, 133, 201, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = run_trunk(ours.trunk, image)
        assert torch.equal(run_trunk(theirs.trunk, image), expected)
        folded = run_trunk(for_inference(theirs.trunk), image)
    assert (folded - expected).abs().max() < 1e-4 * expected.abs().max()


@needs_timm
@pytest.mark.parametrize(
    ("name", "cut", "grid", "channels"),
    [
        ("resnet18", "layer3", CellGrid(16, 0), 256),
        ("regnety_002", "s3", CellGrid(16, 0), 152),  # squeeze and excitation
        ("tf_efficientnet_b0", "blocks.4", CellGrid(16, 15), 112),
        ("convnext_atto", "stages.2", CellGrid(16, 7.5), 160),  # measured: patches of 4, 2 and 2 pixels
    ],
)
def test_networks_are_cut_after_their_last_stage_of_stride_16(name, cut, grid, channels) -> None:
    spec = SPECS[f"timm/{name}"]
    network = describe(f"timm/{name}", spec.build(), None, "random")
    assert (network.cut, network.grid, network.channels, network.input_cells) == (cut, grid, channels, 14)


@needs_timm
def test_what_is_measured_is_what_is_derived() -> None:
    for name in ("timm/mobilenetv4_conv_small", "timm/tf_mobilenetv3_small_minimal_100"):
        trunk = cut_trunk(SPECS[name].build(), name, SPECS[name].cut).eval()
        assert measured_grid(trunk, name) == grid_of(trunk, name)


@needs_timm
def test_a_detector_on_a_network_of_timm() -> None:
    network = describe(SMALL, SPECS[SMALL].build(), None, "random")
    made = SppDetector(DetectorArchitecture.on(network, ("a", "b"), (3, 2, 1), 8, (16,)))
    made.initialise(network)
    scores, boxes = made(torch.randn(1, 3, 96, 128), torch.tensor([[4.0, 4, 60, 50]]))
    assert (scores.shape, boxes.shape, made.grids) == ((1, 3), (1, 2, 4), (CellGrid(16, 0),))


@needs_timm
def test_features_of_images(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photos/a.png")
    torch.save(SPECS[SMALL].build().state_dict(), "w.pth")
    code, out, err = run(
        "features", "photos", "--backbone", SMALL, "--weights", "w.pth", "--side", "64", "--pyramid", "2,1"
    )
    assert code == 0, err
    assert f"1 image of 120 features ({SMALL}, pool5)" in out


@needs_timm
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet81", r"timm has no network 'resnet81'; did you mean timm/resnet18"),
        ("vit_tiny_patch16_224", r"vit_tiny_patch16_224: its map of 512 x 512 pixels cannot be made \(Input height"),
        ("resnet18.another", "timm has no network"),
    ],
)
def test_networks_that_are_refused(name: str, message: str) -> None:
    with pytest.raises(UsageProblem, match=message):
        describe(f"timm/{name}", SPECS[f"timm/{name}"].build(), None, "random")


@needs_timm
def test_weights_from_the_cache_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    torch.save(SPECS[SMALL].build().state_dict(), tmp_path / "w.pth")

    def cached(repository: str, file: str) -> str | None:
        asked.append((repository, file))
        return str(tmp_path / "w.pth") if len(asked) == 2 else None

    monkeypatch.setattr(timm_backbones, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(try_to_load_from_cache=cached))
    assert load_network("imagenet", SMALL).channels == 24
    assert asked == [(f"{SMALL}.lamb_in1k", "model.safetensors"), (f"{SMALL}.lamb_in1k", "pytorch_model.bin")]
    with pytest.raises(MissingInput, match=r"does not download them; run python -c .*'mobilenetv3_small_050'"):
        load_network("imagenet", SMALL)
