"""Stride and centre of trunks against a measurement of what their units see; heads against torchvision's; digests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import fx, nn
from torchvision.models import vgg
from torchvision.ops import SqueezeExcitation

from sppcli.errors import UsageProblem
from sppcli.features.pooling import pool_windows
from sppcli.features.windows import HeldMaps, WindowReader
from sppcli.geometry.projection import CellGrid
from sppcli.nets.backbones import SPECS, FcHead, cut_trunk, describe, run_trunk, torchvision_model, trunk_digest
from sppcli.nets.classifier import Layer, build_trunk
from sppcli.nets.receptive_field import grid_of
from tests.golden_convention import golden

ZF5 = (
    Layer("conv", 7, 2, 1, 4),
    Layer("maxpool", 3, 2),
    Layer("conv", 5, 2, 0, 4),
    Layer("maxpool", 3, 2),
    *[Layer("conv", 3, 1, 1, 4)] * 3,
)


# --- the measurement ---


class OneChannel(nn.Module):
    """A convolution or pooling over the same pixels, adding them up: every pixel that is read has a gradient."""

    def __init__(self, layer: nn.Conv2d | nn.MaxPool2d) -> None:
        super().__init__()
        pair = nn.modules.utils._pair
        self.weight = torch.ones(1, 1, *pair(layer.kernel_size), dtype=torch.float64)
        self.weight /= self.weight.numel()
        self.stride, self.padding, self.dilation = pair(layer.stride), pair(layer.padding), pair(layer.dilation)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        total = maps.mean(1, keepdim=True)
        return nn.functional.conv2d(total, self.weight, None, self.stride, self.padding, self.dilation)


def adding_up(trunk: nn.Module) -> nn.Module:
    """``trunk`` with one channel everywhere, positive weights and no maxima."""
    for name, layer in list(trunk.named_modules()):
        parent, _, own = name.rpartition(".")
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
            setattr(trunk.get_submodule(parent), own, OneChannel(layer))
        elif isinstance(layer, nn.BatchNorm2d | nn.Hardswish | nn.ReLU6 | SqueezeExcitation):
            setattr(trunk.get_submodule(parent), own, nn.Identity())
    return trunk


def measure(trunk: nn.Module, height: int = 624, width: int = 672) -> tuple[CellGrid, CellGrid]:
    """Grid along rows and along columns: the middles of what two neighbouring units in the middle of the map see."""
    image = torch.ones(1, 3, height, width, dtype=torch.float64, requires_grad=True)
    conv_map = run_trunk(adding_up(trunk), image)
    row, column = conv_map.shape[2] // 2, conv_map.shape[3] // 2
    middles = []
    for i, j in ((row, column), (row + 1, column + 1)):
        (gradient,) = torch.autograd.grad(conv_map[0, 0, i, j], image, retain_graph=True)
        seen = gradient[0, 0] > 0
        middle = []
        for line, length in ((seen.any(1), height), (seen.any(0), width)):
            first, last = int(line.nonzero()[0]), int(line.nonzero()[-1])
            assert first > 0  # the whole field is inside the image, or its middle would be off
            assert last < length - 1
            middle.append((first + last) / 2)
        middles.append(middle)
    (y, x), (next_y, next_x) = middles
    return CellGrid(next_y - y, y - row * (next_y - y)), CellGrid(next_x - x, x - column * (next_x - x))


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    """Every backbone once; VGG without the memory of its fc layers."""
    made = {name: torchvision_model(name) for name in SPECS if name != "vgg16"}
    made["vgg16"] = slim_vgg16()
    return made


def slim_vgg16() -> nn.Module:
    """torchvision's VGG-16 with 16 units in its fc layers instead of 4096 (400 MB)."""
    with torch.device("meta"):
        model = vgg.VGG(vgg.make_layers(vgg.cfgs["D"]), num_classes=2, init_weights=False)
    model.features.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in model.features:
            if isinstance(layer, nn.Conv2d):
                layer.weight.normal_(0, (2 / layer.weight[0].numel()) ** 0.5, generator=generator)
                layer.bias.uniform_(-0.05, 0.05, generator=generator)
    sizes = (512 * 7 * 7, 16, 16, 2)
    for index, (inside, outside) in zip((0, 3, 6), pairwise(sizes), strict=True):
        model.classifier[index] = nn.Linear(inside, outside)
    return model.eval()


CUTS = [
    *((name, spec.cut) for name, spec in SPECS.items()),
    ("alexnet", "features.5"),
    ("squeezenet1_1", "features.6.squeeze"),
    ("resnet18", "layer4"),
    ("resnet50", "layer2"),
    ("efficientnet_lite0", "blocks.5.expand"),
    ("efficientnet_lite0", "head"),
]


@pytest.mark.parametrize(("backbone", "cut"), CUTS)
def test_grid_of_backbones(models: dict[str, nn.Module], backbone: str, cut: str):
    derived = grid_of(cut_trunk(models[backbone], backbone, cut), backbone)
    size = (1100, 1200) if cut in ("layer4", "head") else (624, 672)
    assert measure(cut_trunk(models[backbone], backbone, cut), *size) == (derived, derived)


def test_the_measurement_sees_a_difference():
    """Padding moves the centre, and a stride the stride: or the tests above would hold of any grid."""
    plain = measure(build_trunk([Layer("conv", 3, 2, 1, 2)]), 40, 50)
    assert plain == (CellGrid(2, 0), CellGrid(2, 0))
    assert measure(build_trunk([Layer("conv", 3, 2, 0, 2)]), 40, 50) == (CellGrid(2, 1), CellGrid(2, 1))
    assert measure(build_trunk([Layer("conv", 4, 3, 0, 2)]), 40, 50) == (CellGrid(3, 1.5), CellGrid(3, 1.5))


# --- networks of our own ---


def test_zf5_has_the_grid_of_the_release():
    trunk = build_trunk(ZF5)
    assert grid_of(fx.symbolic_trace(trunk), "zf5") == CellGrid(16, 20)
    assert measure(build_trunk(ZF5)) == (CellGrid(16, 20), CellGrid(16, 20))


@pytest.mark.parametrize(("side", "cells"), [(224, 13), (180, 10)])
def test_zf5_has_the_maps_of_the_paper(side: int, cells: int):
    assert build_trunk(ZF5)(torch.zeros(1, 3, side, side)).shape == (1, 4, cells, cells)


def test_dilation_and_average_pooling():
    trunk = nn.Sequential(nn.Conv2d(3, 2, 3, 2, 2, dilation=2), nn.ReLU(), nn.AvgPool2d(2, 2), nn.Conv2d(2, 2, 2))
    # centre: 2 * 1 - 2 = 0; + 2 * 0.5 = 1; + 4 * 0.5 = 3
    assert grid_of(fx.symbolic_trace(trunk), "net") == CellGrid(4, 3)


class Meeting(nn.Module):
    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.left(images) + self.right(images)


def test_branches_that_agree():
    trunk = fx.symbolic_trace(Meeting(nn.Conv2d(3, 2, 3, 2, 1), nn.Conv2d(3, 2, 1, 2)))
    assert grid_of(trunk, "net") == CellGrid(2, 0)


@pytest.mark.parametrize("right", [nn.Conv2d(3, 2, 1, 1), nn.Conv2d(3, 2, 3, 2, 0)], ids=["stride", "centre"])
def test_branches_that_do_not_agree(right: nn.Module):
    trunk = fx.symbolic_trace(Meeting(nn.Conv2d(3, 2, 3, 2, 1), right))
    with pytest.raises(UsageProblem, match=r"net: branches meet at add with different strides or centres"):
        grid_of(trunk, "net")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(3, 2, (3, 1)), "layer 0 is not the same along both axes"),
        (nn.MaxPool2d(2, (2, 1)), "layer 0 is not the same along both axes"),
        (nn.ZeroPad2d((1, 2, 0, 2)), "layer 0 is not the same along both axes"),
        (nn.AdaptiveAvgPool2d(3), r"the geometry of layer 0 \(AdaptiveAvgPool2d\) is not known; cut earlier"),
        (nn.ConvTranspose2d(3, 2, 2), r"the geometry of layer 0 \(ConvTranspose2d\) is not known; cut earlier"),
    ],
)
def test_layers_without_a_grid(layer: nn.Module, message: str):
    with pytest.raises(UsageProblem, match=f"net: {message}"):
        grid_of(fx.symbolic_trace(nn.Sequential(layer)), "net")


# --- cuts ---


def test_an_unknown_cut_names_the_known_ones(models: dict[str, nn.Module]):
    with pytest.raises(UsageProblem, match=r"alexnet has no layer 'conv5'.* default is 'features.11'.*features.12"):
        cut_trunk(models["alexnet"], "alexnet", "conv5")
    with pytest.raises(UsageProblem, match=r"has no layer 'features\.1x'"):
        cut_trunk(models["alexnet"], "alexnet", "features.1x")
    with pytest.raises(UsageProblem, match="has no layer 'feature'"):  # not a name, though names begin with it
        cut_trunk(models["alexnet"], "alexnet", "feature")


def test_a_cut_behind_the_maps(models: dict[str, nn.Module]):
    with pytest.raises(UsageProblem, match="is not known; cut earlier"):
        describe("alexnet", models["alexnet"], "classifier.1", "random")


def test_a_cut_elsewhere_has_no_head(models: dict[str, nn.Module]):
    network = describe("squeezenet1_1", models["squeezenet1_1"], "features.7", "random")
    assert (network.cut, network.head, network.channels) == ("features.7", None, 256)


# --- heads ---


def whole(conv_map: np.ndarray) -> np.ndarray:
    return np.array([[0, 0, conv_map.shape[1], conv_map.shape[0]]])


def close(ours: torch.Tensor | np.ndarray, theirs: torch.Tensor) -> None:
    ours, expected = np.asarray(ours), theirs.numpy()
    assert expected.std() > 0
    assert np.abs(ours - expected).max() < 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("backbone", "cells", "fc6", "fc7"), [("alexnet", 13, 1, 4), ("vgg16", 14, 0, 3)])
def test_head_is_torchvisions(models: dict[str, nn.Module], backbone: str, cells: int, fc6: int, fc7: int):
    """At 224 x 224 the head's pyramid pools what the last pooling layer pools, and its weights fit that vector."""
    model = models[backbone]
    network = describe(backbone, model, None, "random")
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps = run_trunk(network.trunk, images)
        vector = torch.flatten(model.avgpool(model.features(images)), 1)
        expected6 = torch.relu(model.classifier[fc6](vector))
        expected7 = torch.relu(model.classifier[fc7](expected6))
    conv_map = np.ascontiguousarray(maps[0].permute(1, 2, 0).numpy())
    assert conv_map.shape[:2] == (cells, cells)
    assert network.channels == conv_map.shape[2]
    pooled = pool_windows(conv_map, whole(conv_map), network.head.levels)
    level = network.head.levels[0]
    in_their_order = pooled.reshape(level, level, -1).transpose(2, 0, 1).ravel()
    np.testing.assert_array_equal(in_their_order, vector[0].numpy())
    with torch.inference_mode():
        close(network.head.run(torch.from_numpy(pooled), "fc6"), expected6)
        close(network.head.run(torch.from_numpy(pooled), "fc7"), expected7)
    # The same as detection reads it: a window over the whole image, at the one scale 224.
    reader = WindowReader(
        (224,),
        CellGrid(network.grid.stride, network.grid.centre),
        network.input_size,
        network.channels,
        network.head.levels,
        "side",
        "fc7",
        network.head,
    )
    close(reader.features(HeldMaps((224, 224), (conv_map,)), np.array([[0, 0, 224, 224]])), expected7)


def test_fc_layers_of_the_release():
    case = {name: torch.from_numpy(np.asarray(value)) for name, value in golden("fc_layers").items()}
    head = FcHead((1,), {"fc6": (case["w6"], case["b6"]), "fc7": (case["w7"], case["b7"])})
    assert (head.run(case["pool"], "fc6") - case["layer6"]).abs().max() < 1e-5
    assert (head.run(case["pool"], "fc7") - case["layer7"]).abs().max() < 1e-5
    assert (case["layer7"] == 0).any()  # the ReLU is part of a layer
    np.testing.assert_array_equal(case["pool"], golden("fc_layers")["layer5"])  # and its input is left as it was


def test_a_head_has_no_other_layers(models: dict[str, nn.Module]):
    head = describe("alexnet", models["alexnet"], None, "random").head
    with pytest.raises(UsageProblem, match="no layer fc8; it has pool5, fc6, fc7"):
        head.run(torch.zeros(1, 9216), "fc8")


# --- digests ---


def altered(trunk: nn.Module) -> Sequence[str]:
    """The trunk's digest after each change of one number by the least there is, one tensor after the other."""
    found = []
    for tensor in trunk.state_dict().values():
        first = tensor.view(-1)[:1]
        kept = first.clone()
        first.copy_(torch.nextafter(first, first + 1))
        found.append(trunk_digest(trunk, "net"))
        first.copy_(kept)
    return found


def test_digest_changes_with_any_weight(models: dict[str, nn.Module]):
    trunk = cut_trunk(models["squeezenet1_1"], "squeezenet1_1", "features.4")
    digest = trunk_digest(trunk, "net")
    changed = altered(trunk)
    assert len(changed) == 14
    assert len({digest, *changed}) == 15
    assert trunk_digest(trunk, "net") == digest


def test_digest_changes_with_the_description_and_the_cut(models: dict[str, nn.Module]):
    model = models["squeezenet1_1"]
    trunk = cut_trunk(model, "squeezenet1_1", "features.4")
    assert trunk_digest(trunk, "net") != trunk_digest(trunk, "another normalisation")
    digests = [describe("squeezenet1_1", model, cut, "random").digest for cut in ("features.4", "features.5", None)]
    assert len(set(digests)) == 3  # features.5 is a pooling layer: it adds no weight, and another map


def test_digest_does_not_change_with_what_maps_do_not_depend_on(models: dict[str, nn.Module]):
    model = models["resnet18"]
    trunk = cut_trunk(model, "resnet18", "layer1")
    digest = trunk_digest(trunk, "net")
    trunk.to(memory_format=torch.channels_last)
    assert trunk_digest(trunk, "net") == digest
    trunk.get_submodule("bn1").num_batches_tracked += 1
    assert trunk_digest(trunk, "net") == digest
    with torch.no_grad():
        model.fc.bias += 1
    assert trunk_digest(cut_trunk(model, "resnet18", "layer1"), "net") == digest
    with torch.no_grad():
        trunk.get_submodule("bn1").running_mean += 1
    assert trunk_digest(trunk, "net") != digest
