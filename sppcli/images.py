"""Images in: decoded to RGB uint8 (H, W, 3), resized, normalised. The rest of the package sees arrays only."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from sppcli.errors import BadInput, MissingInput
from sppcli.structures import ByteImage, FloatArray

# Above this many pixels a file is refused as a decompression bomb (32 times a 24-megapixel photograph).
MAX_PIXELS = 768_000_000

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Normalisation:
    """What a network expects: ``(pixel / divisor - mean) / std`` per channel, in RGB or BGR order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    divisor: float = 255.0
    order: str = "rgb"

    def apply(self, image: ByteImage) -> FloatArray:
        """``image`` (H, W, 3) uint8 RGB to (H, W, 3) float32 as the network reads it."""
        pixels = np.ascontiguousarray(image[:, :, ::-1] if self.order == "bgr" else image)
        return np.asarray(cv2.LUT(pixels, self._table), dtype=np.float32)

    @cached_property
    def _table(self) -> FloatArray:
        """(1, 256, 3) float32: what each byte becomes in each channel. Looking it up takes a tenth of computing it."""
        mean = np.asarray(self.mean, dtype=np.float32)
        scale = 1 / np.asarray(self.std, dtype=np.float32)
        values = np.arange(256, dtype=np.float32)[None, :, None]
        return np.asarray((values / np.float32(self.divisor) - mean) * scale, dtype=np.float32)


# What trained weights expect. The release's nets: BGR, 0..255, minus 128 on every channel; Caffe's: minus a mean pixel.
INPUTS = {
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "caffe": Normalisation((104.0, 117.0, 123.0), (1.0, 1.0, 1.0), 1.0, "bgr"),
    "caffe-128": Normalisation((128.0, 128.0, 128.0), (1.0, 1.0, 1.0), 1.0, "bgr"),
}


class _Quiet:
    """Pillow's warnings, about large images (we have a limit of our own) and odd EXIF or palettes (harmless), unsaid.

    The filters are the whole process's, so threads that decode at once share one change of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._saved.__exit__(None, None, None)


_quiet = _Quiet()


def read_bytes(path: Path) -> bytes:
    """The file's bytes, or one sentence on why not."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such image") from None
    except IsADirectoryError:
        raise BadInput(f"{path}: a folder, where an image file is expected") from None
    except PermissionError:
        raise BadInput(f"{path}: not readable; check the file's permissions") from None


def digest(data: bytes) -> str:
    """Content digest of a file, SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def read_image(path: Path) -> ByteImage:
    """Decode an image file to RGB uint8 (H, W, 3), upright.

    Grey, palette and CMYK images are converted to RGB; 16-bit samples keep their high byte; transparency is laid
    over white; EXIF orientation is applied; of animations and multi-page files the first frame is taken.

    Raises:
        MissingInput: no such file.
        BadInput: not an image, damaged, truncated, or too large.
    """
    return decode(read_bytes(path), str(path))


def decode(data: bytes, name: str) -> ByteImage:
    """As `read_image`, from the bytes of a file; ``name`` appears in errors."""
    try:
        with _quiet, Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadInput(f"{name}: {image.width}x{image.height} pixels, more than {MAX_PIXELS:,}; shrink it")
            image.load()
            return _upright_rgb(image)
    except UnidentifiedImageError:
        if not data:
            raise BadInput(f"{name}: the file is empty; replace it or remove it") from None
        return _decode_with_opencv(data, name)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow raises SyntaxError for broken PNGs and ValueError for broken TIFFs and palettes.
        raise BadInput(f"{name}: damaged image ({error}); replace it or remove it") from None


def from_pillow(image: Image.Image) -> ByteImage:
    """As `read_image`, of an image that Pillow has opened or made.

    Raises:
        BadInput: its file is damaged, or its samples are of a type that has no bytes.
    """
    try:
        with _quiet:
            return _upright_rgb(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"the Pillow image of mode {image.mode} cannot be read: {error}") from error


def problem_with(path: Path) -> str:
    """Why a file is not an image, by its first bytes alone; empty if they look right. Damage further on is not seen."""
    try:
        with _quiet, Image.open(path):
            return ""
    except UnidentifiedImageError:
        try:
            decode(read_bytes(path), str(path))
        except (BadInput, MissingInput) as error:
            return str(error)
        return ""
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"{path}: damaged image ({error}); replace it or remove it"


def upright_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image as `read_image` gives it, from its header alone where Pillow knows the format.

    Raises:
        MissingInput: no such file.
        BadInput: not an image.
    """
    (width, height), orientation = stored_frame(path)
    return (height, width) if orientation in SIDEWAYS else (width, height)


def stored_frame(path: Path) -> tuple[tuple[int, int], int]:
    """(width, height) of an image as it is stored, and its EXIF orientation, 1 to 8: 1 where it is upright.

    Raises:
        MissingInput, BadInput: as `upright_size`.
    """
    try:
        with _quiet, Image.open(path) as image:
            return image.size, _orientation(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        height, width = read_image(path).shape[:2]
        return (width, height), 1


def _orientation(image: Image.Image) -> int:
    """The EXIF tag; 1 where there is none, or what is there is no orientation or cannot be parsed."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        value = value[0] if isinstance(value, tuple) and value else value
        return int(value) if int(value) in (1, *_TURNS) else 1
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error, OverflowError):
        return 1


def _upright(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose: it writes the EXIF anew, which fails where one unrelated field is malformed.
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _decode_with_opencv(data: bytes, name: str) -> ByteImage:
    """Formats that Pillow does not know, above all TIFFs of three 16-bit channels."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if pixels is None:
        raise BadInput(f"{name}: not an image that can be decoded; replace it or remove it")
    if pixels.dtype == np.uint16:
        pixels = (pixels // 256).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise BadInput(f"{name}: samples of type {pixels.dtype}; convert the image to 8 or 16 bits")
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _upright_rgb(image: Image.Image) -> ByteImage:
    return _to_rgb(_upright(image))


def _to_rgb(image: Image.Image) -> ByteImage:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "I":
        # Pillow opens 16-bit grey PNGs as 32-bit integers in some versions.
        grey = (np.clip(np.asarray(image), 0, 65535) // 256).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("floating-point samples; convert the image to 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def size_at(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) of an image resized so that its shorter side is ``short_side``, aspect ratio kept."""
    if height <= width:
        return short_side, max(1, int(width * short_side / height + 0.5))
    return max(1, int(height * short_side / width + 0.5)), short_side


def resize(image: ByteImage, height: int, width: int) -> ByteImage:
    """Bilinear resize without antialiasing, as in the release; (H, W, 3) uint8 in and out."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def shorter_side(image: ByteImage, side: int) -> ByteImage:
    """The image with its shorter side at ``side`` pixels, aspect ratio kept; antialiased where it shrinks."""
    height, width = size_at(image.shape[0], image.shape[1], side)
    if image.shape[:2] == (height, width):
        return image
    method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)


# Share of the room at which a crop is in the middle; where the room is odd, above the middle rather than below.
CENTRE = 0.5 - 1e-6


def crop_start(share: float, room: int) -> int:
    """First pixel of a crop with ``room`` pixels to move in: all places from 0 to ``room`` are equally wide."""
    return min(int(share * (room + 1)), room)


def shrink(image: ByteImage, max_side: int) -> tuple[ByteImage, float, float]:
    """The image with its longer side at most ``max_side``, and the (x, y) factors that map its boxes back.

    Antialiased (area averaging): this is for searching, where aliasing would become segments.
    """
    height, width = image.shape[:2]
    if max(height, width) <= max_side:
        return image, 1.0, 1.0
    factor = max_side / max(height, width)
    new_height, new_width = max(1, round(height * factor)), max(1, round(width * factor))
    small = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8), width / new_width, height / new_height
