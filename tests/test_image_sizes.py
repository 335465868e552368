"""Sizes of resized images, and how pixels are resampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.images import digest, read_bytes, resize, shrink, size_at
from tests.drawn_images import COLOURS

laws = settings(max_examples=100, deadline=None)


# --- bytes ---


def test_bytes_and_digest(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    assert read_bytes(tmp_path / "a") == b"abc"
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- sizes ---


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((375, 500), 480, (480, 640)),
        ((500, 375), 480, (640, 480)),
        ((375, 500), 375, (375, 500)),
        ((300, 300), 688, (688, 688)),
        ((3, 4), 2, (2, 3)),  # 2.67
        ((4, 6), 3, (3, 5)),  # 4.5: up
        ((1, 1000), 2, (2, 2000)),
        ((1000, 1), 1, (1000, 1)),
    ],
)
def test_size_at(size: tuple[int, int], short: int, expected: tuple[int, int]):
    assert size_at(*size, short) == expected


@laws
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 1300))
def test_size_at_keeps_the_shape(height: int, width: int, short: int):
    new_height, new_width = size_at(height, width, short)
    assert min(new_height, new_width) == short
    assert size_at(width, height, short) == (new_width, new_height)
    long = max(height, width) * short / min(height, width)
    assert abs(max(new_height, new_width) - long) <= 0.5 + 1e-9


def test_resize_is_bilinear_between_pixel_centres():
    row = np.repeat(np.array([[0, 100, 200]], dtype=np.uint8)[:, :, None], 3, axis=2)
    found = resize(np.repeat(row, 2, axis=0), 2, 6)
    assert found[0, :, 0].tolist() == [0, 25, 75, 125, 175, 200]


def test_resize_does_not_smooth():
    """Without antialiasing, as in the release: every third column is read as it is."""
    stripes = np.zeros((9, 9, 3), dtype=np.uint8)
    stripes[:, 1::3] = 255
    assert (resize(stripes, 3, 3) == 255).all()


def test_resize_to_its_own_size():
    assert resize(COLOURS, 11, 7) is COLOURS
    assert resize(COLOURS, 20, 30).shape == (20, 30, 3)


@laws
@given(st.integers(1, 120), st.integers(1, 120), st.integers(1, 130))
def test_shrink(height: int, width: int, limit: int):
    image = np.full((height, width, 3), 9, dtype=np.uint8)
    small, x, y = shrink(image, limit)
    assert small.dtype == np.uint8
    assert max(small.shape[:2]) == min(limit, max(height, width))
    assert (small.shape[1] * x, small.shape[0] * y) == pytest.approx((width, height))
    assert (small == 9).all()


def test_shrink_leaves_small_images():
    small, x, y = shrink(COLOURS, 11)
    assert small is COLOURS
    assert (x, y) == (1.0, 1.0)


def test_shrink_averages():
    checks = np.zeros((64, 64, 3), dtype=np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 200
    small, _, _ = shrink(checks, 16)
    assert (small == 100).all()
