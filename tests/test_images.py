"""Images: every mode, depth and orientation becomes RGB bytes, upright; what is no image is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sppcli.errors import BadInput, MissingInput
from sppcli.images import decode, read_image, upright_size
from tests.drawn_images import COLOURS, GREYS, RNG, SMOOTH, as_rgb, encoded, same, saved

# --- modes and depths ---


@pytest.mark.parametrize("form", ["png", "tiff", "bmp", "webp"])
def test_rgb(tmp_path: Path, form: str):
    options = {"lossless": True} if form == "webp" else {}
    same(read_image(saved(tmp_path, Image.fromarray(COLOURS), f"a.{form}", **options)), COLOURS)


def test_jpeg(tmp_path: Path):
    found = read_image(saved(tmp_path, Image.fromarray(SMOOTH), "a.jpg", quality=95))
    assert np.abs(found.astype(int) - SMOOTH).mean() < 3
    assert found[:, :, 2].mean() == pytest.approx(160, abs=4)  # the channels in their order


@pytest.mark.parametrize("form", ["png", "tiff", "bmp"])
def test_grey(tmp_path: Path, form: str):
    same(read_image(saved(tmp_path, Image.fromarray(GREYS), f"a.{form}")), as_rgb(GREYS))


def test_black_and_white(tmp_path: Path):
    marks = GREYS > 128
    same(read_image(saved(tmp_path, Image.fromarray(marks), "a.png")), as_rgb(marks.astype(np.uint8) * 255))


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_grey_of_16_bits(tmp_path: Path, form: str):
    """The high byte is kept, all of its range."""
    deep = np.array([[0, 255, 256, 32768], [65535, 65280, 511, 1000]], dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / f"a.{form}"), deep)
    same(read_image(tmp_path / f"a.{form}"), as_rgb((deep // 256).astype(np.uint8)))


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_rgb_of_16_bits(tmp_path: Path, form: str):
    deep = RNG.integers(0, 65536, (11, 7, 3), dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / f"a.{form}"), deep[:, :, ::-1])
    same(read_image(tmp_path / f"a.{form}"), (deep // 256).astype(np.uint8))


def test_floating_point_samples(tmp_path: Path):
    path = saved(tmp_path, Image.fromarray(GREYS.astype(np.float32)), "a.tiff")
    with pytest.raises(BadInput, match=r"a.tiff: .*floating-point samples; convert the image to 8 or 16 bits"):
        read_image(path)


def test_cmyk(tmp_path: Path):
    blocks = np.zeros((16, 32, 4), dtype=np.uint8)
    blocks[:, 16:, 0] = 255  # all cyan: no red
    found = read_image(saved(tmp_path, Image.fromarray(blocks, "CMYK"), "a.jpg", quality=100))
    assert found.shape == (16, 32, 3)
    np.testing.assert_allclose(found[8, 4], [255, 255, 255], atol=3)
    np.testing.assert_allclose(found[8, 28], [0, 255, 255], atol=3)


# --- transparency ---


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[:, :, None] / 255
    return colour * share + 255 * (1 - share)


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_transparency_is_laid_over_white(tmp_path: Path, form: str):
    alpha = RNG.integers(0, 256, (11, 7), dtype=np.uint8)
    alpha[0, 0], alpha[0, 1] = 0, 255
    found = read_image(saved(tmp_path, Image.fromarray(np.dstack([COLOURS, alpha])), f"a.{form}"))
    np.testing.assert_allclose(found, over_white(COLOURS, alpha), atol=1.01)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 1].tolist() == COLOURS[0, 1].tolist()


def test_grey_with_transparency(tmp_path: Path):
    alpha = RNG.integers(0, 256, (11, 7), dtype=np.uint8)
    found = read_image(saved(tmp_path, Image.fromarray(np.dstack([GREYS, alpha])), "a.png"))
    np.testing.assert_allclose(found, over_white(as_rgb(GREYS), alpha), atol=1.01)


def test_palette(tmp_path: Path):
    image = Image.fromarray(COLOURS).quantize(16)
    same(read_image(saved(tmp_path, image, "a.png")), np.array(image.convert("RGB")))


@pytest.mark.parametrize("form", ["png", "gif"])
def test_palette_with_a_transparent_colour(tmp_path: Path, form: str):
    image = Image.new("P", (4, 2), 1)
    image.putpalette([0, 0, 0, 200, 30, 40])
    image.putpixel((0, 0), 0)
    found = read_image(saved(tmp_path, image, f"a.{form}", transparency=0))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[1, 3].tolist() == [200, 30, 40]


def test_palette_with_an_opacity_for_each_colour(tmp_path: Path):
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 200, 0, 100])
    image.putpixel((0, 0), 0)
    found = read_image(saved(tmp_path, image, "a.png", transparency=bytes([255, 51])))
    assert found[0].tolist() == [[0, 0, 0], [244, 204, 224]]  # a fifth of the colour, four fifths white


def test_rgb_with_a_transparent_colour(tmp_path: Path):
    pixels = np.array([[[10, 20, 30], [40, 50, 60]]], dtype=np.uint8)
    found = read_image(saved(tmp_path, Image.fromarray(pixels), "a.png", transparency=(10, 20, 30)))
    assert found.tolist() == [[[255, 255, 255], [40, 50, 60]]]


# --- orientation ---

# What a camera stored, of the upright image that it shows: the definition of each EXIF value.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("form", ["png", "tiff", "jpeg"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation(orientation: int, form: str):
    upright = SMOOTH[:40, :64] if form == "jpeg" else COLOURS
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    found = decode(encoded(stored, form, exif=exif, **({"quality": 100} if form == "jpeg" else {})), "a")
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).max() <= (40 if form == "jpeg" else 0)
    assert np.abs(found.astype(int) - upright).mean() < 3


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_is_none(orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    same(decode(encoded(Image.fromarray(COLOURS), "png", exif=exif), "a"), COLOURS)


# --- shapes and frames ---


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (1, 3000)])
@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_one_pixel_across(size: tuple[int, int], form: str):
    grey = np.full((*size, 3), 77, dtype=np.uint8)
    found = decode(encoded(Image.fromarray(grey), form), "a")
    assert found.shape == (*size, 3)
    assert np.abs(found.astype(int) - 77).max() <= 2


def test_the_first_frame_of_an_animation(tmp_path: Path):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    for form in ("gif", "webp", "png"):
        options = {"lossless": True} if form == "webp" else {}
        path = saved(tmp_path, frames[0], f"a.{form}", save_all=True, append_images=frames[1:], **options)
        same(read_image(path), np.full((4, 6, 3), (200, 0, 0), dtype=np.uint8))


def test_the_first_page_of_a_tiff(tmp_path: Path):
    pages = [Image.fromarray(COLOURS), Image.new("RGB", (30, 20))]
    same(read_image(saved(tmp_path, pages[0], "a.tiff", save_all=True, append_images=pages[1:])), COLOURS)


def test_the_name_does_not_decide_the_format(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(encoded(Image.fromarray(COLOURS), "png"))
    same(read_image(tmp_path / "a.jpg"), COLOURS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_the_upright_size_is_that_of_the_pixels(tmp_path: Path, orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{form.lower()}"
    Image.new("RGB", (7, 11)).save(path, form, exif=exif)
    height, width = read_image(path).shape[:2]
    assert upright_size(path) == (width, height) == ((7, 11) if orientation < 5 else (11, 7))


def test_the_upright_size_of_what_pillow_does_not_know_and_of_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    assert cv2.imwrite(str(path), np.zeros((11, 7, 3), dtype=np.uint16))
    assert upright_size(path) == (7, 11)
    (tmp_path / "b.jpg").write_bytes(b"text")
    with pytest.raises(BadInput, match="not an image"):
        upright_size(tmp_path / "b.jpg")
    with pytest.raises(MissingInput, match="there is no such image"):
        upright_size(tmp_path / "c.jpg")
