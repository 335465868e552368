"""What is no image, or a damaged, hidden or enormous one, is named in one sentence."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sppcli.errors import BadInput, MissingInput
from sppcli.images import decode, read_image
from tests.drawn_images import COLOURS, encoded, saved


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
