"""Images are decoded to RGB uint8 (H, W, 3), resized and normalised here; the rest of the package sees arrays only.

Files come from strangers: only the decoders of `DECODERS` see them, sizes are read before pixels, and whatever a
decoder raises is "damaged image" of that one image.
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from sppcli.errors import BadInput, MissingInput, SppError
from sppcli.runtime.inputs import check_regular, read_regular
from sppcli.structures import ByteImage, FloatArray

DECODERS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""Pillow's names of the formats that are read. None of them starts a program, as EPS does Ghostscript."""

MAX_PIXELS = 178_956_970
"""Pixels of an image, seven 24-megapixel photographs: beyond it Pillow too takes a file for a decompression bomb."""

MAX_SCALED_PIXELS = 64_000_000
"""Pixels of an image resized for a network. 1200 x 53,000; the first conv map of more than that fills the memory."""

MAX_BYTES = 2 << 30
"""Bytes of an image file."""

_DEFLATE = 1032
"""What deflate can make of one byte, at most."""

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
    """What a network expects of pixels: ``(pixel / divisor - mean) / std`` per channel, in RGB or BGR order."""

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
        """(1, 256, 3) float32: what each byte becomes in each channel. A look-up takes a tenth of the computation's
        time."""
        mean = np.asarray(self.mean, dtype=np.float32)
        scale = 1 / np.asarray(self.std, dtype=np.float32)
        values = np.arange(256, dtype=np.float32)[None, :, None]
        return np.asarray((values / np.float32(self.divisor) - mean) * scale, dtype=np.float32)


# What trained weights expect: the release's BGR from 0 to 255 minus 128 on every channel, Caffe's minus a mean pixel.
INPUTS = {
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "caffe": Normalisation((104.0, 117.0, 123.0), (1.0, 1.0, 1.0), 1.0, "bgr"),
    "caffe-128": Normalisation((128.0, 128.0, 128.0), (1.0, 1.0, 1.0), 1.0, "bgr"),
}


class _Quiet:
    """Silences Pillow's warnings about large images (we have a limit of our own) and odd EXIF or palettes (harmless).

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
    """Return the file's bytes, or raise one sentence that says why they cannot be read."""
    try:
        return read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such image") from None
    except IsADirectoryError:
        raise BadInput(f"{path}: a folder, where an image file is expected") from None
    except PermissionError:
        raise BadInput(f"{path}: not readable; check the file's permissions") from None
    except OSError as error:
        raise BadInput(f"{path}: not readable ({error.strerror}); replace it or remove it") from None


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
        with _quiet, Image.open(io.BytesIO(data), formats=DECODERS) as image:
            _check_size(image.size, name)
            if image.format == "PNG" and image.width * image.height > 8 * _DEFLATE * len(data):
                raise ValueError(f"{len(data):,} bytes cannot hold {image.width}x{image.height} pixels")
            image.load()
            return _upright_rgb(image)
    except UnidentifiedImageError:
        if not data:
            raise BadInput(f"{name}: the file is empty; replace it or remove it") from None
        return _decode_with_opencv(data, name)
    except SppError:
        raise
    except Exception as error:
        raise _damaged(name, error) from None


def _check_size(size: tuple[int, int], name: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise BadInput(f"{name}: {size[0]}x{size[1]} pixels, more than {MAX_PIXELS:,}; shrink it")


def _damaged(name: str, error: Exception) -> BadInput:
    """Decoders raise what the damage leads them to: OSError, SyntaxError, RuntimeError, struct.error, cv2.error …"""
    why = "it needs more memory than there is" if isinstance(error, MemoryError) else " ".join(str(error).split())
    return BadInput(f"{name}: damaged image ({why[:200] or type(error).__name__}); replace it or remove it")


def from_pillow(image: Image.Image) -> ByteImage:
    """As `read_image`, of an image that Pillow has opened or made.

    Raises:
        BadInput: its file is damaged, or its samples are of a type that has no bytes.
    """
    _check_size(image.size, f"the Pillow image of mode {image.mode}")
    try:
        with _quiet:
            return _upright_rgb(image)
    except Exception as error:
        raise BadInput(f"the Pillow image of mode {image.mode} cannot be read: {error}") from error


def problem_with(path: Path, side: int | None = None) -> str:
    """Why a file is not an image, by its first bytes alone; empty if they look right. Damage further on is not seen.

    ``side``: length of the shorter side at which it will be used, if that is known.
    """
    try:
        check_regular(path)
        with _quiet, Image.open(path, formats=DECODERS) as image:
            _check_size(image.size, str(path))
            if side is not None:
                check_scales(image.height, image.width, (side,), str(path))
            return ""
    except SppError as error:
        return str(error)
    except Exception:
        try:
            decode(read_bytes(path), str(path))
        except (BadInput, MissingInput) as error:
            return str(error)
        return ""


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
        check_regular(path)
        with _quiet, Image.open(path, formats=DECODERS) as image:
            return image.size, _orientation(image)
    except Exception:
        # What is wrong, decoding it will say.
        height, width = read_image(path).shape[:2]
        return (width, height), 1


def _orientation(image: Image.Image) -> int:
    """The EXIF tag; 1 where there is none, or what is there is no orientation or cannot be parsed."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        value = value[0] if isinstance(value, tuple) and value else value
        return int(value) if int(value) in (1, *_TURNS) else 1
    except Exception:
        return 1


def _upright(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose: it writes the EXIF anew, which fails where one unrelated field is malformed.
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _decode_with_opencv(data: bytes, name: str) -> ByteImage:
    """TIFFs that Pillow does not know: those of three 16-bit channels, above all."""
    refused = BadInput(f"{name}: not an image that can be decoded; replace it or remove it")
    if data[:4] not in TiffImagePlugin.PREFIXES:
        raise refused
    try:
        _check_size(_tiff_size(data), name)
        # It writes what is odd about a file to the terminal, file contents and all.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except SppError:
        raise
    except Exception as error:
        raise _damaged(name, error) from None
    if pixels is None:
        raise refused
    if pixels.dtype == np.uint16:
        pixels = (pixels // 256).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise BadInput(f"{name}: samples of type {pixels.dtype}; convert the image to 8 or 16 bits")
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _tiff_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the first page, from its directory."""
    stream = io.BytesIO(data)
    directory = TiffImagePlugin.ImageFileDirectory_v2(stream.read(16 if data[2] == 43 or data[3] == 43 else 8))
    stream.seek(directory.next)
    with _quiet:
        directory.load(stream)
        return int(directory[TiffImagePlugin.IMAGEWIDTH]), int(directory[TiffImagePlugin.IMAGELENGTH])


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


def check_scales(height: int, width: int, sides: Iterable[int], name: str) -> None:
    """Refuse an image that has too many pixels once its shorter side has the length of one of ``sides``.

    Raises:
        BadInput: it has more than `MAX_SCALED_PIXELS`; ``name`` and the side are named.
    """
    for side in sides:
        rows, columns = size_at(height, width, side)
        if rows * columns > MAX_SCALED_PIXELS:
            raise BadInput(
                f"{name}: {width}x{height} pixels would be {columns}x{rows} at scale {side}, more than "
                f"{MAX_SCALED_PIXELS:,} in all; cut it into less oblong parts or use a smaller scale"
            )


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


# Share of the room at which a crop is in the middle; where the room is odd, it lies above the middle.
CENTRE = 0.5 - 1e-6


def crop_start(share: float, room: int) -> int:
    """First pixel of a crop with ``room`` pixels to move in: all places from 0 to ``room`` are equally wide."""
    return min(int(share * (room + 1)), room)


def shrink(image: ByteImage, max_side: int) -> tuple[ByteImage, float, float]:
    """Shrink the image to a longer side of at most ``max_side``; returns it with the (x, y) factors that map boxes
    back.

    Pixels are averaged over areas: the search for proposals would take aliasing for segments.
    """
    height, width = image.shape[:2]
    if max(height, width) <= max_side:
        return image, 1.0, 1.0
    factor = max_side / max(height, width)
    new_height, new_width = max(1, round(height * factor)), max(1, round(width * factor))
    small = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8), width / new_width, height / new_height
