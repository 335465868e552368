"""Caffe's binary files: the arrays of a .caffemodel, and the mean image of a .binaryproto.

The wire format of protocol buffers is read directly: of Caffe's hundreds of fields, the names of layers and their blobs
are all that is needed, so that a reader of one page replaces generated code, which would bring a dependency, a schema
to maintain and copies of every array. The file is mapped, and arrays are views into it. Field numbers are those of
BVLC's caffe.proto:

| message | field |
|---|---|
| NetParameter | layers = 2 (V1LayerParameter), layer = 100 (LayerParameter) |
| LayerParameter | name = 1, blobs = 7 |
| V1LayerParameter | layer = 1 (V0LayerParameter), name = 4, blobs = 6 |
| V0LayerParameter | name = 1, blobs = 50 |
| BlobProto | num, channels, height, width = 1 … 4, data = 5, shape = 7, double_data = 8 |
| BlobShape | dim = 1 |
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.errors import BadInput, MissingInput
from sppcli.runtime.inputs import check_regular, open_regular
from sppcli.runtime.wire import Damaged, fields, varint
from sppcli.structures import FloatArray

# (field of the network's layers, field of the name, field of the blobs), newest first.
_NEW, _V1, _V0 = (100, 1, 7), (2, 4, 6), (1, 1, 50)

_LARGEST = 1e6
"""Pixels are up to 255, or 65,535."""


@dataclass(frozen=True)
class Blob:
    """An array in the file ``path``: ``values`` flat, float32 or float64; ``shape`` as written, or the four lengths of
    old files."""

    path: Path
    shape: tuple[int, ...]
    values: npt.NDArray[Any]


Blobs = dict[str, list[Blob]]


def read_caffemodel(path: Path) -> Blobs:
    """Read the arrays of every layer that has some, by the layer's name.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is another kind of file, or ends in the middle.
    """
    data = _map(path, ".caffemodel")
    found: Blobs = {}
    try:
        for number, value in fields(data):
            if isinstance(value, memoryview) and number in (_NEW[0], _V1[0]):
                _, name_field, blob_field = _NEW if number == _NEW[0] else _V1
                name, blobs = _layer(value, name_field, blob_field, path)
                if number == _V1[0] and not name:
                    inner = [v for n, v in fields(value) if n == _V0[0] and isinstance(v, memoryview)]
                    for layer in inner:
                        name, blobs = _layer(layer, *_V0[1:], path)
                if blobs:
                    found[name] = blobs
    except Damaged as error:
        raise BadInput(
            f"{path}: not a .caffemodel file, or only a part of one ({error}); fetch it again and compare its size"
        ) from None
    if not found:
        raise BadInput(f"{path}: holds no layer with weights; give the network's .caffemodel file")
    return found


def read_mean(path: Path) -> FloatArray:
    """Return the mean pixel of a mean image: float32 (3,), in the file's order of channels (Caffe's: BGR).

    A .binaryproto, or a .npy of shape (3,), (3, H, W), (1, 3, H, W) or (H, W, 3), as ilsvrc_2012_mean.npy.

    Raises:
        MissingInput, BadInput: no such file; not three channels.
    """
    if path.suffix.lower() == ".npy":
        return _mean_of_npy(path)
    data = _map(path, ".binaryproto")
    try:
        blob = _blob(data, path)
    except Damaged as error:
        raise BadInput(f"{path}: not a mean image, or only a part of one ({error}); fetch it again") from None
    shape = blob.shape[-3:]
    if len(shape) != 3 or shape[0] != 3 or not len(blob.values) or prod(blob.shape) != len(blob.values):
        raise BadInput(
            f"{path}: not a mean image of three channels but {len(blob.values):,} numbers of shape {blob.shape}; "
            "give the mean.binaryproto of the network's training"
        )
    return _mean_pixel(blob.values, path)


def _mean_of_npy(path: Path) -> FloatArray:
    try:
        check_regular(path)
        # Mapped, so that a size that is not there is not asked for.
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such .npy file") from None
    except Exception as error:
        # numpy raises whatever a damaged header leads it to.
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"{path}: not a readable .npy file of numbers ({why})") from None
    image = np.asarray(values)
    shape = image.shape
    if image.ndim == 4 and len(image) == 1:
        image = image[0]
    if image.ndim == 3 and image.shape[0] != 3:
        image = image.transpose(2, 0, 1)
    if image.dtype.kind not in "fiu" or image.ndim not in (1, 3) or image.shape[0] != 3 or not image.size:
        raise BadInput(
            f"{path}: not a mean image of three channels but {image.dtype} numbers of shape {shape}; give one of shape "
            "(3,), (3, H, W) or (H, W, 3)"
        )
    return _mean_pixel(image, path)


def _mean_pixel(image: npt.NDArray[Any], path: Path) -> FloatArray:
    """float32 (3,), of channels first."""
    if not (np.abs(image) <= _LARGEST).all():
        raise BadInput(f"{path}: not a mean image: it has numbers that are not finite, or huge; fetch it again")
    return np.asarray(image.reshape(3, -1).mean(axis=1, dtype=np.float64), dtype=np.float32)


def _map(path: Path, kind: str) -> memoryview:
    try:
        with open_regular(path) as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise MissingInput(f"{path}: there is no such {kind} file") from None
    except ValueError:
        raise BadInput(f"{path}: the file is empty; fetch it again") from None
    except OSError as error:
        raise BadInput(f"{path}: not a readable {kind} file ({error.strerror})") from None
    if bytes(data[:4]) == b"\x89HDF":
        raise BadInput(f"{path}: Caffe's HDF5 form of weights; save them as a binary {kind} file with Caffe")
    return data


def _layer(data: memoryview, name_field: int, blob_field: int, path: Path) -> tuple[str, list[Blob]]:
    name, blobs = "", []
    for number, value in fields(data):
        if isinstance(value, memoryview):
            if number == name_field:
                name = bytes(value).decode(errors="replace")
            elif number == blob_field:
                blobs.append(_blob(value, path))
    return name, blobs


def _blob(data: memoryview, path: Path) -> Blob:
    old: dict[int, int] = {}
    shape: list[int] | None = None
    single: list[memoryview] = []
    double: list[memoryview] = []
    for number, value in fields(data):
        if isinstance(value, int):
            if number in (1, 2, 3, 4):
                old[number] = value
        elif number == 5:
            single.append(value)
        elif number == 8:
            double.append(value)
        elif number == 7:
            shape = [*(shape or ()), *_dims(value)]
    values = _array(double, "<f8") if double else _array(single, "<f4")
    return Blob(path, tuple(old.get(n, 0) for n in (1, 2, 3, 4)) if shape is None else tuple(shape), values)


def _array(chunks: list[memoryview], dtype: str) -> npt.NDArray[Any]:
    # Caffe writes one chunk; the format allows more, even one for each number.
    data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if len(data) % np.dtype(dtype).itemsize:
        raise Damaged("an array ends inside a number")
    return np.frombuffer(data, dtype)


def _dims(data: memoryview) -> Iterator[int]:
    for number, value in fields(data):
        if number == 1 and isinstance(value, int):
            yield value
        elif number == 1:
            assert isinstance(value, memoryview)
            position = 0
            while position < len(value):
                dim, position = varint(value, position)
                yield dim
