"""Receptive fields that are worked out from the layers, against the pixels that have a gradient."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from sppcli.nets import seen_pixels as module
from sppcli.nets.backbones import SPECS, cut_trunk, run_trunk, torchvision_model
from sppcli.nets.classifier import Layer, build_trunk
from sppcli.nets.lrn import WithinChannel
from sppcli.nets.measured_field import _evened
from sppcli.nets.seen_pixels import Field, seen_pixels

SIZES = ((97, 130), (64, 71))


def cells_of(trunk: nn.Module, pixels: torch.Tensor) -> list[tuple[int, int]]:
    """The corners, the middle, and one beside the border."""
    with torch.inference_mode():
        height, width = run_trunk(trunk, pixels).shape[2:]
    return [(0, 0), (height // 2, width // 2), (height - 1, width - 1), (min(1, height - 1), width - 1)]


def by_gradient(trunk: fx.GraphModule, pixels: torch.Tensor, cells: list[tuple[int, int]]) -> list[Field]:
    """Of the trunk with equal weights, in which every pixel that is read changes every unit that reads it."""
    # So little that ReLU6 is not at its end.
    return module._differentiated(_evened(trunk).float(), torch.full_like(pixels, 1e-3), cells)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["squeezenet1_0", "resnet18", "googlenet", "efficientnet_lite0"])
def test_layers_say_what_gradients_show(name: str, size: tuple[int, int]) -> None:
    trunk = cut_trunk(torchvision_model(name), name, SPECS[name].cut).eval()
    pixels = torch.rand(1, 3, *size)
    cells = cells_of(trunk, pixels)
    assert seen_pixels(trunk, pixels, cells) == by_gradient(trunk, pixels, cells)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_own_networks_and_poolings_that_round_up(size: tuple[int, int]) -> None:
    layers = (Layer("conv", 7, 2, 1, 4), Layer("maxpool", 3, 2), Layer("conv", 5, 2, 0, 4), Layer("conv", 3, 1, 1, 4))
    ceiling = (nn.Conv2d(3, 4, 3, 2, padding=0), nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(2, 2, ceil_mode=True))
    padded = (
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(3, 4, 3, 2, dilation=2),
        nn.Conv2d(4, 4, 1, 2),
        nn.AvgPool2d(3, 2, 1),
    )
    for trunk in (build_trunk(layers), nn.Sequential(*ceiling), nn.Sequential(*padded)):
        pixels = torch.rand(1, 3, *size)
        cells = cells_of(trunk, pixels)
        assert seen_pixels(trunk, pixels, cells) == by_gradient(fx.symbolic_trace(trunk), pixels, cells)


def test_a_neighbourhood_widens_the_field() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), WithinChannel(5, 1.0, 0.75))
    assert seen_pixels(trunk, torch.rand(1, 3, 64, 64), [(10, 12)]) == [(19, 15, 30, 26)]


def test_a_cell_of_squeeze_and_excitation_sees_everything() -> None:
    trunk = cut_trunk(torchvision_model("mobilenet_v3_large"), "mobilenet_v3_large", SPECS["mobilenet_v3_large"].cut)
    assert seen_pixels(trunk.eval(), torch.rand(1, 3, 96, 120), [(1, 1)]) == [(0, 0, 120, 96)]


def test_known_layers_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything differentiated, which took a minute for six cells of a large image."""
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
    monkeypatch.setattr(nn.Conv2d, "forward", lambda *_: pytest.fail("the network was run"))
    assert seen_pixels(trunk, torch.rand(1, 3, 32, 32), [(0, 0), (4, 4)]) == [(0, 0, 2, 2), (7, 7, 10, 10)]


def test_unknown_layers_are_differentiated() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Tanh(), nn.Conv2d(4, 4, 3, 1, 1))
    assert seen_pixels(trunk, torch.rand(1, 3, 32, 32), [(4, 4), (0, 0)]) == [(5, 5, 12, 12), (0, 0, 4, 4)]
