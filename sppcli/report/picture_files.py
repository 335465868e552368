"""Pictures as files: PNG, or JPEG where the name says so."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sppcli.runtime.files import inside, replacing
from sppcli.structures import ByteImage

PNG, JPEG = (".png",), (".jpg", ".jpeg")
LARGEST_JPEG = 1_000_000
"""Bytes of a JPEG that goes through mail and chats as it is."""
_LONGEST = 200  # bytes of a picture's name
_QUALITIES = (90, 85, 78, 70, 62)


def write_picture(path: Path, image: ByteImage) -> None:
    """Write (H, W, 3) uint8 RGB by the name's ending: whole under its name, or not there at all.

    A JPEG has less than `LARGEST_JPEG` bytes: its quality, and then its size, is reduced until it has.

    Raises:
        MissingInput: the folder is not there.
    """
    if path.suffix.lower() in JPEG:
        data = _jpeg(Image.fromarray(image))
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    else:
        write_png(path, image)


def write_png(path: Path, image: ByteImage) -> None:
    """Write (H, W, 3) uint8 RGB as PNG: whole under its name, or not there at all.

    Raises:
        MissingInput: the folder is not there.
    """
    made_by = PngInfo()
    made_by.add_text("Software", "spp")
    with replacing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(image)).save(temporary, format="PNG", pnginfo=made_by)


def names_in(folder: Path, ids: Iterable[str]) -> dict[str, Path]:
    """A file for each id; ids may hold slashes, and must not lead out of the folder or to one another's file."""
    names: dict[str, Path] = {}
    taken: set[str] = set()
    for image_id in ids:
        plain = image_id.replace("/", "__").replace("\\", "__").lstrip(".") or "image"
        name = base = plain.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        names[image_id] = inside(folder, f"{name}.png")
    return names


def _jpeg(picture: Image.Image) -> bytes:
    while True:
        for quality in _QUALITIES:
            stream = io.BytesIO()
            # Thin lines of pure colours smear unless colours are stored as finely as brightness.
            picture.save(stream, format="JPEG", quality=quality, subsampling=0, optimize=True, comment=b"spp show")
            if stream.tell() < LARGEST_JPEG:
                return stream.getvalue()
        size = (max(1, int(picture.width * 0.85)), max(1, int(picture.height * 0.85)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
