"""From the pixels of an image file to what a network reads, in the very numbers that `images.resize` gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sppcli.images import Normalisation
from sppcli.nets.onnx_graph.builder import Graph, f32, f64, i64

_STEPS = 2048
"""OpenCV's bilinear weights are whole numbers of these parts."""


class Seen(NamedTuple):
    """An image in a graph. ``pixels``: (1, 3, h, w) float32, normalised; ``size`` and ``seen``: vectors of two int64,
    height and width as they came and as the network sees them."""

    pixels: str
    size: str
    seen: str


def image_input(graph: Graph, side: int | None = None) -> str:
    """The input ``image``, (height, width, 3) uint8, RGB; a square of ``side`` pixels where that is given."""
    return graph.input("image", "uint8", (side or "height", side or "width", 3))


def read_image(graph: Graph, image: str, normalisation: Normalisation, scale: int | None) -> Seen:
    """``image`` with its shorter side at ``scale`` pixels (None: as it came), normalised."""
    size = graph("Slice", graph("Shape", image), i64(0), i64(2))
    seen = size if scale is None else _size_at(graph, size, scale)
    resized = graph.cast(image, "int32") if scale is None else _resized(graph, image, size, seen)
    pixels = graph("Transpose", graph.cast(resized, "float32"), perm=[2, 0, 1])
    return Seen(_normalised(graph, graph("Unsqueeze", pixels, i64(0)), normalisation), size, seen)


def _size_at(graph: Graph, size: str, scale: int) -> str:
    """`images.size_at` in whole numbers: ``side * scale / shorter``, halves rounded up, and no less than 1."""
    shorter = graph("ReduceMin", size, keepdims=1)
    twice = graph("Add", graph("Mul", size, i64(2 * scale)), shorter)
    return graph("Max", graph("Div", twice, graph("Mul", shorter, i64(2))), i64(1))


def _resized(graph: Graph, image: str, size: str, seen: str) -> str:
    """(h, w, 3) int32: OpenCV's bilinear resize of bytes, along rows and then along columns, in its whole numbers."""
    values = graph.cast(image, "int32")
    left, right, first, second = _axis(graph, size, seen, 1)
    rows = graph(
        "Add",
        graph("Mul", graph("Gather", values, left, axis=1), first),
        graph("Mul", graph("Gather", values, right, axis=1), second),
    )
    above, below, first, second = _axis(graph, size, seen, 0)
    rows = graph("Div", rows, _whole(16))
    parts = [
        graph("Div", graph("Mul", graph("Gather", rows, line, axis=0), weight), _whole(65536))
        for line, weight in ((above, first), (below, second))
    ]
    total = graph("Div", graph.total("Add", parts[0], parts[1], _whole(2)), _whole(4))
    return graph("Clip", total, _whole(0), _whole(255))


def _axis(graph: Graph, size: str, seen: str, axis: int) -> tuple[str, str, str, str]:
    """Of each pixel along ``axis`` of the resized image: the two that it lies between, int64, and their weights."""
    before, behind = (graph("Slice", item, i64(axis), i64(axis + 1)) for item in (size, seen))
    zero = np.array(0, np.int64)
    index = graph.cast(graph("Range", zero, graph("Squeeze", behind), np.array(1, np.int64)), "float64")
    step = graph("Reciprocal", graph("Div", graph.cast(behind, "float64"), graph.cast(before, "float64")))
    place = graph("Sub", graph("Mul", graph("Add", index, f64(0.5)), step), f64(0.5))
    # OpenCV goes on in float32.
    place = graph.cast(place, "float32")
    floor = graph("Floor", place)
    share = graph("Sub", place, floor)
    near = graph.cast(floor, "int64")
    last = graph("Sub", before, i64(1))
    if axis == 1:
        # Beyond the first and last columns one pixel counts alone; beyond the first and last rows it counts twice.
        outside = graph("Or", graph("Less", near, i64(0)), graph("GreaterOrEqual", near, last))
        share = graph("Where", outside, f32(0), share)
    shape = i64(*([-1] + [1] * (2 - axis)))
    weights = [
        graph("Reshape", graph.cast(graph("Round", graph("Mul", item, f32(_STEPS))), "int32"), shape)
        for item in (graph("Sub", f32(1), share), share)
    ]
    inside = [graph("Max", graph("Min", item, last), i64(0)) for item in (near, graph("Add", near, i64(1)))]
    return inside[0], inside[1], weights[0], weights[1]


def _whole(value: int) -> np.ndarray[tuple[()], np.dtype[np.int32]]:
    return np.array(value, np.int32)


def _normalised(graph: Graph, pixels: str, normalisation: Normalisation) -> str:
    """As `Normalisation.apply`, of (1, 3, h, w) float32."""
    if normalisation.order == "bgr":
        pixels = graph("Gather", pixels, i64(2, 1, 0), axis=1)
    mean = np.array(normalisation.mean, np.float32).reshape(3, 1, 1)
    factor = 1 / np.array(normalisation.std, np.float32).reshape(3, 1, 1)
    return graph("Mul", graph("Sub", graph("Div", pixels, f32(normalisation.divisor)), mean), factor)
