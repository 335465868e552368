"""Crops, flips and colours: every place is reached, and nothing but what was drawn changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppcli.images import INPUTS, Normalisation
from sppcli.learn.augment import centred, crops, draw
from sppcli.nets.pixels import to_input

PLAIN = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0)


def places(height: int, width: int) -> np.ndarray:
    """An image whose pixels say where they are."""
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([y, x, x], axis=2)


def test_crops_are_cut_at_random_places_inside() -> None:
    draws = draw(400, np.random.default_rng(0), flip=False)
    cut = crops([places(24, 22)] * 400, 20, draws)
    corners = cut[:, 0, 0, :2]
    assert cut.shape == (400, 20, 20, 3)
    assert {tuple(corner) for corner in corners} == {(a, b) for a in range(5) for b in range(3)}
    np.testing.assert_array_equal(cut[:, -1, -1, :2], corners + 19)
    with pytest.raises(ValueError, match="24x24 pixels is smaller than the crop of 25"):
        crops([places(24, 24)], 25, centred(1))


def test_corners_and_the_centre() -> None:
    draws = draw(400, np.random.default_rng(0), crop="corners", flip=False)
    cut = crops([places(24, 23)] * 400, 20, draws)
    assert {tuple(corner) for corner in cut[:, 0, 0, :2]} == {(0, 0), (0, 3), (4, 0), (4, 3), (2, 1)}
    np.testing.assert_array_equal(crops([places(25, 23)], 20, centred(1))[0, 0, 0, :2], (2, 1))


def test_half_of_them_are_mirrored() -> None:
    draws = draw(1000, np.random.default_rng(0))
    cut = crops([places(20, 20)] * 1000, 20, draws)
    assert set(cut[:, 0, 0, 1].tolist()) == {0, 19}
    assert 400 < int((cut[:, 0, 0, 1] == 19).sum()) < 600
    assert not draw(50, np.random.default_rng(0), flip=False).flipped.any()


def test_colours() -> None:
    image = torch.full((300, 4, 4, 3), 120, dtype=torch.uint8)

    def altered(colour: str) -> np.ndarray:
        draws = draw(300, np.random.default_rng(1), colour=colour)
        value = to_input(image, PLAIN, 4, torch.from_numpy(draws.gain), torch.from_numpy(draws.lift)).numpy()
        assert np.ptp(value, axis=(2, 3)).max() == 0  # one change for the whole of an image
        return value[:, :, 0, 0] - 120

    assert not altered("none").any()
    assert 20 < altered("jitter").std() < 45
    change = altered("pca")
    # The first component is brightness: channels move together, by 0.1 of its deviation of 0.2175 * 0.58 of 255.
    assert 2.2 < change.std() < 4.5
    assert np.corrcoef(change.T).min() > 0.9


def test_pixels_stay_pixels() -> None:
    image = torch.tensor([0, 250], dtype=torch.uint8).repeat_interleave(3).reshape(2, 1, 1, 3)
    lift = torch.tensor([[-9.0, -9, -9], [9, 9, 9]])
    value = to_input(image, PLAIN, 1, torch.ones(2, 3), lift)
    assert value[:, 0, 0, 0].tolist() == [0, 255]


@pytest.mark.parametrize("reads", list(INPUTS))
def test_tensors_and_arrays_are_normalised_alike(reads: str) -> None:
    image = np.random.default_rng(3).integers(0, 256, (1, 5, 5, 3), dtype=np.uint8)
    value = to_input(torch.from_numpy(image), INPUTS[reads])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(value, INPUTS[reads].apply(image[0]), rtol=1e-5, atol=1e-5)


def test_the_smaller_image_is_the_same_crop_resized() -> None:
    row = np.arange(0, 240, 12, dtype=np.uint8)
    ramp = np.ascontiguousarray(np.broadcast_to(row[None, None, :, None], (1, 20, 20, 3)))
    large, small = to_input(torch.from_numpy(ramp), PLAIN), to_input(torch.from_numpy(ramp), PLAIN, 10)
    np.testing.assert_array_equal(large[0, 0, 0], ramp[0, 0, :, 0])
    # Halved with antialiasing, a ramp stays the ramp: it shows all of the crop, not its middle.
    np.testing.assert_allclose(small[0, 0, 0, 1:-1], np.arange(6, 240, 24)[1:-1], atol=0.5)
