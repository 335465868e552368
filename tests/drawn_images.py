"""Images that tests write: noise, ramps, and what a decoder must make of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (11, 7, 3), dtype=np.uint8)
GREYS = RNG.integers(0, 256, (11, 7), dtype=np.uint8)
SMOOTH = np.stack(
    [np.add.outer(np.arange(48) * 3, np.arange(64)) % 256, np.full((48, 64), 90), np.full((48, 64), 160)], axis=2
).astype(np.uint8)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def saved(tmp_path: Path, image: Image.Image, name: str, **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)
