"""The detector's module: where RoIs are pooled, its gradients, what learns, and that its file holds everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.images import Normalisation
from sppcli.nets.classifier import Layer
from sppcli.nets.detector import DetectorArchitecture, SppDetector, check_levels, load_detector, save_detector


def small(levels: tuple[int, ...] = (3, 2, 1)) -> SppDetector:
    torch.manual_seed(2)
    plain = Normalisation((0.5,) * 3, (0.25,) * 3)
    layers = (Layer("conv", 5, 2, 0, 6), Layer("maxpool", 3, 2), Layer("conv", 3, 1, 1, 8))
    architecture = DetectorArchitecture(
        backbone="",
        cuts=("",),
        layers=layers,
        normalisation=plain,
        classes=("a", "b"),
        levels=levels,
        channels=5,
        fc=(16,),
    )
    return SppDetector(architecture).eval()


def slowly(model: SppDetector, maps: torch.Tensor, roi: list[float]) -> torch.Tensor:
    """Pooled features of one RoI, sample by sample: bilinear at 2 x 2 places of each of 6 x 6 bins, then maxima."""
    stride, centre = model.grids[0].stride, model.grids[0].centre + 0.5

    def at(y: float, x: float) -> torch.Tensor:
        """The map at a pixel of the image; beyond its centres as at them, within one unit."""
        y, x = (value for value in ((y - centre) / stride, (x - centre) / stride))
        y, x = (float(np.clip(v, 0, n - 1)) for v, n in zip((y, x), maps.shape[2:], strict=True))
        y0, x0 = int(y), int(x)
        y1, x1 = min(y0 + 1, maps.shape[2] - 1), min(x0 + 1, maps.shape[3] - 1)
        top = maps[0, :, y0, x0] * (1 - (x - x0)) + maps[0, :, y0, x1] * (x - x0)
        low = maps[0, :, y1, x0] * (1 - (x - x0)) + maps[0, :, y1, x1] * (x - x0)
        return top * (1 - (y - y0)) + low * (y - y0)

    left, upper, right, lower = roi
    places = [[(k + (i + 0.5) / 2) / 6 for i in range(2)] for k in range(6)]
    bins = [
        [
            sum(at(upper + v * (lower - upper), left + u * (right - left)) for v in rows for u in columns) / 4
            for columns in places
        ]
        for rows in places
    ]
    found = []
    for n in model.architecture.levels:
        step = 6 // n
        for row in range(n):
            for column in range(n):
                mine = [bins[row * step + i][column * step + j] for i in range(step) for j in range(step)]
                found.append(torch.stack(mine).amax(0))
    return torch.cat(found)


@pytest.mark.parametrize("levels", [(3, 2, 1), (6,), (1, 6)])
def test_pooling_and_its_gradient_are_those_of_a_slow_version(levels: tuple[int, ...]) -> None:
    model = small(levels)
    rois = [[10.0, 12.0, 41.5, 37.0], [0.0, 0.0, 64.0, 48.0], [20.25, 3.0, 26.0, 9.0]]
    maps = torch.rand(1, 5, 10, 14, dtype=torch.float32, requires_grad=True)
    fast = model.pooled([maps], torch.tensor(rois))
    slow = torch.stack([slowly(model, maps, roi) for roi in rois])
    assert fast.shape == (3, 5 * sum(n * n for n in levels))
    assert torch.allclose(fast, slow, atol=1e-5)
    # Without gradients, as in detection, the sums are made another way.
    assert torch.allclose(model.pooled([maps.detach()], torch.tensor(rois)), slow, atol=1e-5)
    weight = torch.rand_like(fast)
    (mine,) = torch.autograd.grad((fast * weight).sum(), maps)
    (theirs,) = torch.autograd.grad((slow * weight).sum(), maps)
    assert torch.allclose(mine, theirs, atol=1e-4)


def test_the_loss_reaches_exactly_the_layers_that_train() -> None:
    model = small()
    with pytest.raises(UsageProblem, match=r"no layer 'conv9' to train from; it has conv1, relu1, pool1, conv2"):
        model.train_from("conv9")
    for layer, learning in (("none", set()), ("conv2", {"conv2"}), ("all", {"conv1", "conv2"})):
        parameters = model.train_from(layer)
        named = {name.split(".")[0] for name, p in model.trunk.named_parameters() if p.requires_grad}
        assert named == learning
        assert len(parameters) == 2 * len(learning)
        model.zero_grad(set_to_none=True)
        logits, boxes = model(torch.rand(1, 3, 48, 64), torch.tensor([[4.0, 4.0, 30.0, 30.0]]))
        (logits.square().sum() + boxes.square().sum()).backward()
        reached = {name.split(".")[0] for name, p in model.trunk.named_parameters() if p.grad is not None}
        assert reached == learning


def test_one_file_holds_everything(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "d.safetensors"
    save_detector(path, model, {"scale": 96}, {"fingerprint": "x"})
    again, settings, training = load_detector(path)
    assert (again.architecture, settings, training) == (model.architecture, {"scale": 96}, {"fingerprint": "x"})
    image, rois = torch.rand(1, 3, 48, 64), torch.tensor([[4.0, 4.0, 30.0, 30.0]])
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(model(image, rois), again(image, rois), strict=True))
    with pytest.raises(MissingInput, match="run spp train-detector first"):
        load_detector(tmp_path / "gone.safetensors")


def test_levels_divide_the_bins() -> None:
    check_levels((6, 3, 2, 1))
    with pytest.raises(UsageProblem, match="pyramid level 4 does not divide"):
        check_levels((4, 1))


def test_another_network_is_no_detector(tmp_path: Path) -> None:
    from tests.stages.conftest import write_network

    with pytest.raises(BadInput, match="not a detector that spp train-detector made"):
        load_detector(write_network(tmp_path / "net.safetensors"))
