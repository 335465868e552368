"""The networks of Table 1: what they hold, what maps they make, and that a baseline is one level of a pyramid."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from sppcli.errors import UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.nets.architectures import TABLE_1, architecture
from sppcli.nets.backbones import SPECS, run_trunk
from sppcli.nets.classifier import BatchDropout, FixedPool, Layer, SppClassifier
from sppcli.nets.pyramid import SpatialPyramidPool

CLASSES = [f"class{i}" for i in range(7)]
PAPERS = ("zf5", "convnet5", "overfeat5", "overfeat7")

# Written down from the table: (inputs, filters, size) of each convolution, and the last map at 224.
CONVOLUTIONS = {
    "zf5": ([(3, 96, 7), (96, 256, 5), (256, 384, 3), (384, 384, 3), (384, 256, 3)], 13),
    "convnet5": ([(3, 96, 11), (96, 256, 5), (256, 384, 3), (384, 384, 3), (384, 256, 3)], 13),
    "overfeat5": ([(3, 96, 7), (96, 256, 5), (256, 512, 3), (512, 512, 3), (512, 512, 3)], 18),
    "overfeat7": ([(3, 96, 7), (96, 256, 5), (256, 512, 3)] + [(512, 512, 3)] * 4, 18),
}


def count(convolutions: list[tuple[int, int, int]], bins: int, classes: int) -> int:
    """Weights and biases of a network of the table, from its numbers alone."""
    widths = [bins * convolutions[-1][1], 4096, 4096, classes]
    conv = sum(out * (inputs * size * size + 1) for inputs, out, size in convolutions)
    return conv + sum((a + 1) * b for a, b in pairwise(widths))


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize(("pyramid", "bins"), [((), 36), ((6, 3, 2, 1), 50), ((4, 3, 2, 1), 30), ((4, 2, 1), 21)])
def test_parameters(name: str, pyramid: tuple[int, ...], bins: int) -> None:
    with torch.device("meta"):  # shapes are enough
        built = SppClassifier(architecture(name, [str(i) for i in range(1000)], pyramid))
    assert sum(p.numel() for p in built.parameters()) == count(CONVOLUTIONS[name][0], bins, 1000)


@pytest.mark.parametrize("name", PAPERS)
def test_the_thirty_bin_network_is_smaller_than_its_baseline(name: str) -> None:
    assert count(CONVOLUTIONS[name][0], 30, 1000) < count(CONVOLUTIONS[name][0], 36, 1000)


@pytest.mark.parametrize(
    ("name", "at_224", "at_180", "grid"),
    [
        ("zf5", 13, 10, CellGrid(16, 20)),
        ("convnet5", 13, 10, CellGrid(16, 15)),
        ("overfeat5", 18, 14, CellGrid(12, 7)),
        ("overfeat7", 18, 14, CellGrid(12, 7)),
    ],
)
def test_map_sizes(name: str, at_224: int, at_180: int, grid: CellGrid) -> None:
    model = SppClassifier(architecture(name, CLASSES, fc=(8,)))
    with torch.inference_mode():
        for side, cells in ((224, at_224), (180, at_180)):
            maps = run_trunk(model.trunk, torch.zeros(1, 3, side, side))
            assert maps.shape == (1, model.channels, cells, cells)
    assert (model.cells, model.grid()) == (at_224, grid)


@pytest.mark.parametrize("name", TABLE_1)
def test_a_baselines_pooling_is_level_six_of_its_canonical_map(name: str) -> None:
    with torch.device("meta"):
        model = SppClassifier(architecture(name, CLASSES, ()))
    assert model.levels == (6,)
    pool = model.architecture.pool
    assert pool is not None
    maps = torch.randn(2, 5, model.cells, model.cells)
    assert torch.equal(FixedPool(pool)(maps), SpatialPyramidPool((6,))(maps))


@pytest.mark.parametrize("name", SPECS)
def test_torchvision_trunks_take_any_size_and_learn(name: str) -> None:
    design = architecture(name, CLASSES, (2, 1), fc=(8,), side=96)
    torch.manual_seed(0)
    model = SppClassifier(design).train()
    for height, width in ((96, 96), (96, 128)):
        out = model(torch.randn(2, 3, height, width))
        assert out.shape == (2, 7)
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert design.cut == SPECS[name].cut
    assert SppClassifier(replace(design, cut=design.cut)).grid() == model.grid()


def test_what_does_not_exist_is_said() -> None:
    with pytest.raises(UsageProblem, match=r"unknown network 'zf6'; choose one of zf5, convnet5"):
        architecture("zf6", CLASSES)
    with pytest.raises(UsageProblem, match=r"resnet18: only zf5, .* have a baseline"):
        architecture("resnet18", CLASSES, ())
    with pytest.raises(UsageProblem, match="--cut is for torchvision's"):
        architecture("zf5", CLASSES, cut="conv3")
    with pytest.raises(UsageProblem, match="resnet18 has no layer 'layer9'"):
        SppClassifier(architecture("resnet18", CLASSES, cut="layer9"))


def test_dropout_of_a_shared_batch_is_that_of_the_whole() -> None:
    dropout = BatchDropout(0.5).train()
    value = torch.ones(10, 30)
    torch.manual_seed(4)
    whole = dropout(value)
    assert set(whole.unique().tolist()) == {0.0, 2.0}
    parts = []
    for rows in (slice(0, 3), slice(3, 10), torch.tensor([7, 2, 9])):
        torch.manual_seed(4)
        dropout.share = (rows, 10)
        parts.append(dropout(value[rows]))
    assert torch.equal(torch.cat(parts[:2]), whole)
    assert torch.equal(parts[2], whole[[7, 2, 9]])
    assert torch.equal(dropout.eval()(value), value)


def test_a_trunk_of_groups() -> None:
    with_groups = replace(
        architecture("tiny", CLASSES, (1,), fc=()),
        layers=(Layer("conv", 3, 1, 1, 8), Layer("conv", 3, 1, 1, 6, groups=2)),
    )
    assert SppClassifier(with_groups).trunk.get_submodule("conv2").weight.shape == (6, 4, 3, 3)
