"""R-CNN's windows: the cut against a slow version in the release's own terms, features against the bare network."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sppcli.errors import BadInput, UsageProblem
from sppcli.features.rcnn import RcnnReader, RcnnVectors, warped
from sppcli.geometry.warp import warp_of
from sppcli.images import INPUTS, Normalisation
from sppcli.nets.backbones import describe, torchvision_model
from sppcli.nets.weights import load_network, read_classifier
from tests.stages.conftest import write_network

# Pixels as they are, less a mean, so that what the cut holds can be read off.
PLAIN = Normalisation((100.0, 110.0, 120.0), (1.0, 1.0, 1.0), 1.0)


def matlab_round(x: float) -> int:
    return math.floor(x + 0.5) if x >= 0 else -math.floor(-x + 0.5)


def bilinear(window: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """imresize(..., 'bilinear', 'antialiasing', false), pixel by pixel."""
    rows, columns = window.shape[:2]
    out = np.zeros((height, width, 3))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * rows / height - 0.5, 0), rows - 1)
            x = min(max((j + 0.5) * columns / width - 0.5, 0), columns - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, rows - 1), min(x0 + 1, columns - 1)
            top = window[y0, x0] * (1 - (x - x0)) + window[y0, x1] * (x - x0)
            bottom = window[y1, x0] * (1 - (x - x0)) + window[y1, x1] * (x - x0)
            out[i, j] = top * (1 - (y - y0)) + bottom * (y - y0)
    return out


def im_crop(
    image: npt.NDArray[np.uint8], bbox: list[int], crop_size: int, padding: int, mean: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The release's cut, in its terms: ``bbox`` x1 y1 x2 y2 counts from 1 and includes its last pixel."""
    x1, y1, x2, y2 = bbox
    pad_w = pad_h = 0
    crop_width = crop_height = crop_size
    if padding > 0:
        scale = crop_size / (crop_size - padding * 2)
        half_height, half_width = (y2 - y1 + 1) / 2, (x2 - x1 + 1) / 2
        center_x, center_y = x1 + half_width, y1 + half_height
        x1, x2 = matlab_round(center_x - half_width * scale), matlab_round(center_x + half_width * scale)
        y1, y2 = matlab_round(center_y - half_height * scale), matlab_round(center_y + half_height * scale)
        scale_x, scale_y = crop_size / (x2 - x1 + 1), crop_size / (y2 - y1 + 1)
        pad_x1, pad_y1 = max(0, 1 - x1), max(0, 1 - y1)
        x1, y1 = max(1, x1), max(1, y1)
        x2, y2 = min(image.shape[1], x2), min(image.shape[0], y2)
        crop_width = matlab_round((x2 - x1 + 1) * scale_x)
        crop_height = matlab_round((y2 - y1 + 1) * scale_y)
        pad_w, pad_h = matlab_round(pad_x1 * scale_x), matlab_round(pad_y1 * scale_y)
        crop_height = min(crop_height, crop_size - pad_h)
        crop_width = min(crop_width, crop_size - pad_w)
    window = image[y1 - 1 : y2, x1 - 1 : x2].astype(np.float64)
    square = np.zeros((crop_size, crop_size, 3))
    square[pad_h : pad_h + crop_height, pad_w : pad_w + crop_width] = bilinear(window, crop_height, crop_width) - mean
    return square


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, list[int], int, int, int]:
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    side = draw(st.integers(8, 40))
    context = draw(st.integers(0, (side - 1) // 2 - 1))
    return height, width, [x0, y0, x1, y1], side, context, draw(st.integers(0, 2**20))


@given(cases())
def test_the_cut_is_the_releases(case: tuple[int, int, list[int], int, int, int]) -> None:
    height, width, box, side, context, seed = case
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = warped(image, box, side, context, PLAIN)
    one_based = [box[0] + 1, box[1] + 1, box[2], box[3]]
    expected = im_crop(image, one_based, side, context, np.array(PLAIN.mean))
    assert found.shape == (side, side, 3)
    # Resizing rounds to whole levels.
    assert np.abs(found - expected).max() <= 1.0 + 1e-4


def test_the_windows_own_pixels_lie_context_pixels_from_the_border() -> None:
    """A white window on black in the middle of an image, 227 with 16 around it as R-CNN."""
    image = np.zeros((900, 900, 3), np.uint8)
    image[300:600, 200:700] = 255
    square = warped(image, [200, 300, 700, 600], 227, 16, Normalisation((0, 0, 0), (1, 1, 1), 1.0))[:, :, 0]
    for profile in (square[113], square[:, 113]):
        white = np.flatnonzero(profile > 127)
        assert abs(white[0] - 16) <= 1
        assert abs(white[-1] - 210) <= 1


def test_outside_the_image_is_the_mean_pixel() -> None:
    image = np.full((50, 60, 3), 200, np.uint8)
    square = warped(image, [0, 0, 60, 50], 64, 8, PLAIN)
    assert (square[:6] == 0).all()
    assert (square[:, :6] == 0).all()
    assert (square[-6:] == 0).all()
    np.testing.assert_array_equal(square[32, 32], [100, 90, 80])


@given(
    st.floats(0, 30, width=32),
    st.floats(0, 20, width=32),
    st.floats(0, 30, width=32),
    st.floats(0, 20, width=32),
    st.integers(0, 10),
)
def test_any_box_in_the_image_is_cut_somewhere(a: float, b: float, c: float, d: float, context: int) -> None:
    """Fractions of a pixel, boxes at the border and boxes without extent too."""
    box = (min(a, c), min(b, d), max(a, c), max(b, d))
    warp = warp_of(box, 20, 30, 24, context)
    for (x0, y0, x1, y1), width, height in ((warp.source, 30, 20), (warp.target, 24, 24)):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


def test_a_context_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing"):
        warp_of((0, 0, 5, 5), 10, 10, 32, 16)


@pytest.mark.parametrize("layer", ["pool5", "fc6"])
@pytest.mark.parametrize("side", [48, 61])
def test_features_are_the_networks_on_the_cut(tmp_path: Path, layer: str, side: int) -> None:
    path = write_network(tmp_path / "net.safetensors")
    network, model = load_network(str(path)), read_classifier(path)
    rng = np.random.default_rng(side)
    image = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
    ends = np.sort(rng.random((7, 2, 2)), axis=1).reshape(7, 4) * [100, 80, 100, 80]
    boxes = np.concatenate([ends, [[0, 0, 100, 80]]]).astype(np.float32)
    reader = RcnnReader(network, torch.device("cpu"), "fp32", network.levels or (), layer, network.head, side, 6, 3)
    found = RcnnVectors(reader, image, (80, 100), "x").of(boxes)
    cuts = np.stack([warped(image, box, side, 6, network.normalisation) for box in boxes.tolist()])
    with torch.inference_mode():
        expected = model.pool(model.trunk(torch.from_numpy(cuts).permute(0, 3, 1, 2)))
        if layer == "fc6":
            expected = torch.relu(model.fc["fc6"](expected))
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-3, atol=2e-3)


def test_what_cannot_be_run_or_stored_is_one_sentence(tmp_path: Path) -> None:
    network = load_network(str(write_network(tmp_path / "net.safetensors")))
    with pytest.raises(UsageProblem, match="--side 1 leaves nothing"):
        RcnnReader(network, torch.device("cpu"), "fp32", (1,), "pool5", None, 1, 0)
    for parameter in network.trunk.parameters():
        parameter.data.mul_(1e4)
    reader = RcnnReader(network, torch.device("cpu"), "fp32", (1,), "pool5", None, 48, 4)
    image = np.full((20, 20, 3), 255, np.uint8)
    image[::2] = 0
    with pytest.raises(BadInput, match=r"photo\.jpg"):
        reader(image, np.array([[0, 0, 20, 20]], np.float32), "photo.jpg")


def test_the_mean_pixel_is_nought_whatever_the_normalisation() -> None:
    for name, normalisation in INPUTS.items():
        mean = np.array(normalisation.mean) * normalisation.divisor
        if normalisation.order == "bgr":
            mean = mean[::-1]
        pixel = np.broadcast_to(np.round(mean), (4, 4, 3)).astype(np.uint8)
        assert np.abs(normalisation.apply(pixel)).max() < 0.51 / min(normalisation.std) / normalisation.divisor, name


def test_fc7_of_alexnet_is_torchvisions_own_on_the_warped_window() -> None:
    """Pooling and fc layers over the map of a 224 cut are AlexNet's own last pooling and classifier."""
    torch.manual_seed(0)
    model = torchvision_model("alexnet").eval()
    network = describe("alexnet", model, None, "random")
    assert network.head is not None
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    boxes = np.array([[10, 20, 90, 100], [0, 0, 160, 120], [140, 3, 160, 110]], np.float32)
    reader = RcnnReader(
        network, torch.device("cpu"), "fp32", network.head.levels, "fc7", network.head, network.input_size, 16
    )
    found = reader(image, boxes).astype(np.float32)
    cuts = np.stack([warped(image, box, 224, 16, network.normalisation) for box in boxes.tolist()])
    with torch.inference_mode():
        maps = model.features(torch.from_numpy(cuts).permute(0, 3, 1, 2))
        expected = model.classifier[:6](model.avgpool(maps).flatten(1)).numpy()
    assert found.shape == (3, 4096)
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4 * expected.max())
