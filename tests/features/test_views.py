"""Views: how many there are, that they are what the paper says, and that maps and crops see the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppcli.errors import UsageProblem
from sppcli.features.views import Viewer, scales_of, top_classes
from sppcli.images import INPUTS, shorter_side
from sppcli.nets.architectures import architecture
from sppcli.nets.classifier import Architecture, Layer, SppClassifier
from sppcli.nets.pixels import to_input


def model_of(name: str = "tiny", pyramid: tuple[int, ...] = (3, 2, 1)) -> SppClassifier:
    torch.manual_seed(1)
    return SppClassifier(architecture(name, ["a", "b", "c"], pyramid, fc=(16,))).eval()


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, size=(height // 4, width // 4, 3), dtype=np.uint8)
    return np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)


def softmax(model: SppClassifier, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        value = to_input(torch.from_numpy(np.ascontiguousarray(pixels))[None], model.architecture.normalisation)
        return model(value).softmax(1)[0].numpy()


def test_the_papers_ninety_six_views_and_two() -> None:
    viewer = Viewer(model_of(), "multi")
    assert [scale.side for scale in viewer.scales] == [32, 37, 43, 51, 64, 80, 37]
    assert viewer.count(120, 160) == 98
    assert Viewer(model_of("zf5"), "multi").scales[0].side == 224
    assert [scale.side for scale in scales_of("multi", 224)] == [224, 256, 300, 360, 448, 560, 256]
    # Of a square image at the crop's own size only the one view is left.
    assert viewer.count(100, 100) == 98 - 4


@pytest.mark.parametrize(("views", "count"), [("center", 1), ("ten", 10), ("full", 1)])
def test_other_protocols(views: str, count: int) -> None:
    assert Viewer(model_of(), views).count(60, 80) == count


def test_ten_views_are_the_crops_of_the_paper() -> None:
    model, picture = model_of(), image(60, 80)
    resized = shorter_side(picture, 37)
    height, width = resized.shape[:2]
    assert (height, width) == (37, 49)
    expected = []
    for pixels in (resized, resized[:, ::-1]):
        for y, x in ((0, 0), (0, width - 32), (height - 32, 0), (height - 32, width - 32), (2, 8)):
            expected.append(softmax(model, pixels[y : y + 32, x : x + 32]))
    got = Viewer(model, "ten", "crops").probabilities([picture])[0]
    np.testing.assert_allclose(got, np.mean(expected, axis=0), atol=1e-6)


def test_the_full_image_is_one_view_of_any_shape() -> None:
    model, picture = model_of(), image(60, 120)
    np.testing.assert_allclose(
        Viewer(model, "full").probabilities([picture])[0], softmax(model, shorter_side(picture, 37)), atol=1e-6
    )
    at_two = Viewer(model, "full", sides=(37, 50)).probabilities([picture])[0]
    expected = (softmax(model, shorter_side(picture, 37)) + softmax(model, shorter_side(picture, 50))) / 2
    np.testing.assert_allclose(at_two, expected, atol=1e-6)


def test_windows_of_maps_are_crops_where_no_border_is_near() -> None:
    """Without padding a crop's map is a window of the image's map, cell for cell, when it starts on the stride."""
    layers = (Layer("conv", 5, 1, 0, 8), Layer("maxpool", 2, 2), Layer("conv", 3, 1, 0, 8))
    design = Architecture("bare", layers, (3, 1), (8,), ("a", "b"), INPUTS["imagenet"], 32)
    torch.manual_seed(2)
    model = SppClassifier(design).eval()
    pictures = [image(36, 48, seed) for seed in range(3)]  # 36: room of 4 and 16 pixels, corners on even pixels
    both = [Viewer(model, "ten", source, sides=(36,)).probabilities(pictures) for source in ("crops", "maps")]
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)
    assert np.ptp(both[0], axis=0).max() > 1e-4  # the pictures are told apart


def test_together_or_one_by_one() -> None:
    viewer = Viewer(model_of(), "multi")
    pictures = [image(48, 64, seed) for seed in range(3)]
    together = viewer.probabilities(pictures)
    for row, picture in zip(together, pictures, strict=True):
        np.testing.assert_allclose(viewer.probabilities([picture])[0], row, atol=1e-5)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)


def test_a_baseline_has_crops_only() -> None:
    baseline = model_of(pyramid=())
    assert Viewer(baseline, "ten").source == "crops"
    assert Viewer(model_of(), "ten").source == "maps"
    for views in ("full", "multi"):
        with pytest.raises(UsageProblem, match="takes inputs of 32 pixels only; its views are center and ten"):
            Viewer(baseline, views)
    with pytest.raises(UsageProblem, match="leave out --from maps"):
        Viewer(baseline, "ten", "maps")
    with pytest.raises(UsageProblem, match="an image of 30 pixels has no view of 32; raise --scales"):
        Viewer(baseline, "ten", sides=(30,))


def test_top_classes() -> None:
    scores = np.array([[0.1, 0.6, 0.3], [0.4, 0.2, 0.4]])
    assert top_classes(scores, 2).tolist() == [[1, 2], [0, 2]]
