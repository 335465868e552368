"""Images of strangers in every stage: no program is started, none takes the memory, one that is bad is one less."""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from sppcli import images
from sppcli.artefacts.features import open_features
from sppcli.artefacts.proposals import read_proposals
from sppcli.errors import BadInput
from sppcli.images import check_scales, decode
from tests.conftest import Run
from tests.stages.conftest import write_network

FAST = ("--method", "edge-boxes", "--edges", "gradient", "-j", "1", "--max-proposals", "5", "-q")
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n%%EOF\n"


def png_of(width: int, height: int, depth: int = 1, colour: int = 0) -> bytes:
    """The header of a PNG of that size, and a few pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"IDAT" + zlib.compress(bytes(64))
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (head, body))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff_of(width: int, height: int) -> bytes:
    """A TIFF of three 16-bit channels, which goes past Pillow, that says it has that size."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[256], directory[257], directory[258] = width, height, (16, 16, 16)
    directory[259], directory[262], directory[277], directory[278] = 1, 2, 3, height
    directory[273], directory[279] = 8, 64
    stream = io.BytesIO(b"II*\0" + struct.pack("<I", 8 + 64) + bytes(64))
    stream.seek(72)
    directory.save(stream)
    return stream.getvalue()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network, and in set/ a good image for each of two classes, in train/ and val/."""
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "net.safetensors")
    rng = np.random.default_rng(0)
    for number, place in enumerate(("train/cat", "train/dog", "val/cat", "val/dog")):
        path = tmp_path / "set" / place / f"{number}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    return tmp_path


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.ppm"])
def test_no_program_is_started(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An EPS, whatever it is called, is no image; Ghostscript would run what it says."""
    script = here / "bin" / "gs"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\ntouch {here}/STARTED\n[ "$1" = --version ] && echo 10.0\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    (here / "set" / "train" / "cat" / name).write_bytes(EPS)
    code, _, err = run("propose", "set/train/cat", *FAST)
    assert code == 0, err
    assert f"set/train/cat/{name}: not an image that can be decoded" in err
    assert run("check", "set/train/cat")[0] in (0, 3)
    assert not (here / "STARTED").exists()


@pytest.mark.parametrize("form", ["EPS", "PSD", "PCX", "TGA", "SGI", "ICO", "DDS", "JPEG2000", "AVIF"])
def test_only_the_decoders_named_see_a_file(form: str) -> None:
    stream = io.BytesIO()
    try:
        Image.new("RGB", (16, 16), (200, 10, 10)).save(stream, form)
    except (KeyError, OSError, ValueError):
        pytest.skip(f"Pillow cannot write {form}")
    with pytest.raises(BadInput, match="not an image that can be decoded"):
        decode(stream.getvalue(), "a.jpg")


@pytest.mark.parametrize(
    "data",
    [png_of(60000, 60000), png_of(13000, 13000), png_of(31, 36864, 0), tiff_of(60000, 60000), tiff_of(2**31, 2**31)],
    ids=["png-too-large", "png-of-few-bytes", "png-of-no-depth", "tiff-too-large", "tiff-of-2-to-the-62"],
)
def test_pixels_are_not_asked_for_before_the_size_is_known(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("cv2.imdecode", never)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", never)
    with pytest.raises(BadInput, match=r"damaged image|not an image|pixels, more than"):
        decode(data, "a.png")


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, struct.error, SyntaxError, EOFError, ZeroDivisionError])
def test_whatever_a_decoder_raises_is_one_damaged_image(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    good = Image.Image.convert

    def convert(self: Image.Image, mode: str) -> Image.Image:
        if self.size == (13, 17):
            raise error("from within")
        return good(self, mode)

    monkeypatch.setattr(Image.Image, "convert", convert)
    Image.new("RGB", (13, 17)).save(here / "set" / "train" / "cat" / "z.png")
    code, _, err = run("propose", "set/train/cat", *FAST)
    assert code == 0, err
    assert "set/train/cat/z.png: damaged image (" in err
    assert read_proposals(Path("proposals.h5")).images.ids == ("0",)


def oblong(folder: Path) -> Path:
    """An image whose shorter side of 1 becomes 48, and whose longer one then nearly three millions."""
    path = folder / "oblong.png"
    Image.new("RGB", (60000, 1), (200, 100, 0)).save(path)
    return path


def test_budget_of_scaled_pixels() -> None:
    check_scales(375, 500, (1200,), "a.jpg")
    check_scales(1000, 20000, (1200,), "a.jpg")
    with pytest.raises(BadInput, match=r"a.jpg: 60000x1 pixels would be 72000000x1200 at scale 1200, more than 64,000"):
        check_scales(1, 60000, (12, 1200), "a.jpg")


@pytest.mark.parametrize("flip", [(), ("--flip",)])
def test_extract_skips_what_is_too_large_at_a_scale(here: Path, run: Run, flip: tuple[str, ...]) -> None:
    oblong(here / "set" / "train" / "cat")
    assert run("propose", "set/train/cat", *FAST)[0] == 0
    code, _, err = run("extract", "--weights", "net.safetensors", "--scales", "48", "-q", *flip)
    assert code == 0, err
    assert "skipped: " in err
    assert "oblong.png: 60000x1 pixels would be 2880000x48 at scale 48" in err
    with open_features(Path("features.h5")) as features:
        assert features.images.ids == ("0",)


def test_features_skips_it(here: Path, run: Run) -> None:
    oblong(here / "set" / "val" / "cat")
    code, _, err = run("features", "set/val/cat", "--weights", "net.safetensors", "--side", "48")
    assert code == 0, err
    assert "oblong.png: 60000x1 pixels would be 2880000x48 at scale 48" in err


def test_classify_skips_it(here: Path, run: Run) -> None:
    oblong(here / "set" / "val" / "cat")
    code, _, err = run("classify", "set/val/cat", "--network", "net.safetensors", "--views", "center")
    assert code == 0, err
    assert "oblong.png: 60000x1 pixels would be" in err


def test_train_net_leaves_it_out(here: Path, run: Run) -> None:
    oblong(here / "set" / "train" / "cat")
    code, _, err = run("train-net", "set", "--net", "tiny", "--sizes", "36", "--epochs", "1", "-q")
    assert code == 0, err
    assert "set/train/cat/oblong.png: 60000x1 pixels would be" in err


def test_a_file_of_too_many_bytes(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 20_000)
    with (here / "set" / "train" / "cat" / "big.png").open("wb") as file:
        file.truncate(20_001)
    code, _, err = run("propose", "set/train/cat", *FAST)
    assert code == 0, err
    assert "big.png: not readable (its 20,001 bytes are more than the 20,000 that are read)" in err
