"""What a network reads of an image's bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppcli.images import INPUTS, Normalisation


def test_normalisation_by_hand() -> None:
    pixels = np.array([[[255, 51, 0], [0, 102, 204]]], dtype=np.uint8)
    rgb = Normalisation((0.5, 0.4, 0.3), (0.25, 0.2, 0.1)).apply(pixels)
    assert rgb.dtype == np.float32
    np.testing.assert_allclose(rgb, [[[2, -1, -3], [-2, 0, 5]]], atol=1e-6)
    bgr = Normalisation((104, 117, 123), (1, 1, 2), 1.0, "bgr").apply(pixels)
    np.testing.assert_allclose(bgr, [[[-104, -66, 66], [100, -15, -61.5]]], atol=1e-6)


@pytest.mark.parametrize("name", sorted(INPUTS))
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9))
def test_it_is_the_formula_for_every_byte_and_for_mirrored_images(
    name: str, seed: int, height: int, width: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    kind = INPUTS[name]
    pixels = image[:, :, ::-1] if kind.order == "bgr" else image
    expected = (pixels / kind.divisor - np.array(kind.mean)) / np.array(kind.std)
    for shown, wanted in ((image, expected), (image[:, ::-1], expected[:, ::-1])):
        found = kind.apply(shown)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
