"""A MATLAB 5 file put together by hand from the published format, so that not only scipy says how one looks."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_INT8, _UINT16, _INT32, _UINT32, _DOUBLE, _MATRIX = 1, 4, 5, 6, 9, 14
_CELL, _CHAR, _DOUBLES = 1, 4, 6


def mat_file(images: Sequence[str], boxes: Sequence[Sequence[Sequence[float]]]) -> bytes:
    """``images``: an N x 1 cell of texts; ``boxes``: a 1 x N cell of K x 4 doubles; little-endian, uncompressed."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    texts = [_matrix(_CHAR, (1, len(text)), "", _element(_UINT16, text.encode("utf-16-le"))) for text in images]
    tables = []
    for rows in boxes:
        by_column = [float(row[column]) for column in range(4) for row in rows]
        data = _element(_DOUBLE, struct.pack(f"<{len(by_column)}d", *by_column))
        tables.append(_matrix(_DOUBLES, (len(rows), 4), "", data))
    return (
        header
        + _matrix(_CELL, (len(texts), 1), "images", b"".join(texts))
        + _matrix(_CELL, (1, len(tables)), "boxes", b"".join(tables))
    )


def _element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def _matrix(kind: int, shape: tuple[int, int], name: str, content: bytes) -> bytes:
    flags = _element(_UINT32, struct.pack("<II", kind, 0))
    dimensions = _element(_INT32, struct.pack("<ii", *shape))
    return _element(_MATRIX, flags + dimensions + _element(_INT8, name.encode()) + content)
