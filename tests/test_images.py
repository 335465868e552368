"""Images: every mode, depth and orientation becomes RGB bytes, upright; what is no image is named."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sppcli.errors import BadInput, MissingInput
from sppcli.images import decode, digest, read_bytes, read_image, resize, shrink, size_at, upright_size

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (11, 7, 3), dtype=np.uint8)
GREYS = RNG.integers(0, 256, (11, 7), dtype=np.uint8)
SMOOTH = np.stack(
    [np.add.outer(np.arange(48) * 3, np.arange(64)) % 256, np.full((48, 64), 90), np.full((48, 64), 160)], axis=2
).astype(np.uint8)
laws = settings(max_examples=100, deadline=None)


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


# --- what is no image ---


def refusal(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_image(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def photograph(form: str, side: int = 200) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), form)


@pytest.mark.parametrize("form", ["jpeg", "png", "gif", "tiff", "webp", "bmp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_file(tmp_path: Path, form: str, share: float):
    whole = photograph(form)
    path = tmp_path / f"half.{form}"
    path.write_bytes(whole[: int(len(whole) * share)])
    text = refusal(path)
    assert "damaged image" in text or "not an image that can be decoded" in text
    assert text.endswith("replace it or remove it")


@pytest.mark.parametrize("form", ["jpeg", "png", "gif", "tiff", "webp", "bmp"])
def test_damage_anywhere_is_an_image_or_a_refusal(form: str):
    """A few bytes changed: the decoder may not notice, and must not fail with another error."""
    whole = photograph(form, 40)
    rng = np.random.default_rng(2)
    for _ in range(25):
        data = bytearray(whole)
        for position in rng.integers(0, min(len(data), 600), 4):
            data[position] = rng.integers(0, 256)
        try:
            found = decode(bytes(data), "a")
        except BadInput:
            continue
        assert found.dtype == np.uint8
        assert found.ndim == 3


def test_an_empty_file(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"")
    assert refusal(tmp_path / "a.jpg").endswith("the file is empty; replace it or remove it")


@pytest.mark.parametrize(
    "content", [b"not an image\n", b"<html></html>", b"\0" * 100, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]
)
def test_text_named_as_an_image(tmp_path: Path, content: bytes):
    (tmp_path / "a.jpg").write_bytes(content)
    assert "replace it or remove it" in refusal(tmp_path / "a.jpg")


def test_a_folder(tmp_path: Path):
    (tmp_path / "a.jpg").mkdir()
    assert "a folder, where an image file is expected" in refusal(tmp_path / "a.jpg")


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(MissingInput, match=r"a.jpg: there is no such image"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(MissingInput, match=r"b.jpg: there is no such image"):
        read_image(tmp_path / "no folder" / "b.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path):
    path = saved(tmp_path, Image.fromarray(COLOURS), "a.png")
    path.chmod(0)
    assert "not readable; check the file's permissions" in refusal(path)


def test_an_image_too_large_to_decode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = saved(tmp_path, Image.new("L", (200, 150)), "a.png")
    monkeypatch.setattr("sppcli.images.MAX_PIXELS", 200 * 150)
    assert read_image(path).shape == (150, 200, 3)
    monkeypatch.setattr("sppcli.images.MAX_PIXELS", 200 * 150 - 1)
    assert "200x150 pixels, more than 29,999; shrink it" in refusal(path)


def test_a_decompression_bomb(tmp_path: Path):
    """The header of a PNG of 60,000 x 60,000 pixels: refused before memory is asked for."""
    data = bytearray(encoded(Image.new("1", (1, 1)), "png"))
    data[16:24] = struct.pack(">II", 60000, 60000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "bomb.png").write_bytes(data)
    text = refusal(tmp_path / "bomb.png")
    assert "pixels" in text


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


# --- normalisation ---


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
