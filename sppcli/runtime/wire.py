"""The wire format of protocol buffers, in which Caffe's files and ONNX's are written, read without a schema."""

from __future__ import annotations

from collections.abc import Iterator


class Damaged(Exception):
    """The bytes are no message, or a part of one."""


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) one after another: integers, and the bytes of everything else.

    Raises:
        Damaged: says what is wrong.
    """
    position = 0
    while position < len(data):
        key, position = varint(data, position)
        number, wire = key >> 3, key & 7
        if number == 0 or wire not in (0, 1, 2, 5):
            raise Damaged(f"no field begins with {key}")
        if wire == 0:
            value, position = varint(data, position)
            yield number, value
            continue
        length = {1: 8, 5: 4}.get(wire, 0)
        if wire == 2:
            length, position = varint(data, position)
        if position + length > len(data):
            raise Damaged(f"its last field lacks {position + length - len(data):,} bytes")
        yield number, data[position : position + length]
        position += length


def varint(data: memoryview, position: int) -> tuple[int, int]:
    """The number at ``position``, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise Damaged("it ends inside a number")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise Damaged("a number of more than ten bytes")
