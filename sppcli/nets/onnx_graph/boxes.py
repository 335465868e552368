"""Bounding-box regression in a graph: `geometry.regression.decode`, and clipping to the image."""

from __future__ import annotations

import numpy as np

from sppcli.nets.onnx_graph.builder import Graph, f64, i64

_LARGEST = 4.6
"""Limit of the logarithms: a side that would grow a hundredfold is no prediction."""


def corrected(graph: Graph, boxes: str, targets: str, size: str, inclusive: bool = False) -> str:
    """``boxes`` (N, 4) float32 moved by ``targets`` (N, K, 4) of each class and clipped: (N, K, 4) float32.

    ``size``: height and width of the image; ``inclusive``: see `geometry.regression.widened`.
    """
    ends = np.array([0.0, 0.0, float(inclusive), float(inclusive)])
    wide = graph("Unsqueeze", graph("Sub", graph.cast(boxes, "float64"), ends), i64(1))
    low, high = (graph("Slice", wide, i64(first), i64(first + 2), i64(2)) for first in (0, 2))
    sides = graph("Sub", high, low)
    half = graph("Div", sides, f64(2))
    moves = graph.cast(targets, "float64")
    shift, growth = (graph("Slice", moves, i64(first), i64(first + 2), i64(2)) for first in (0, 2))
    centre = graph("Add", graph("Add", low, half), graph("Mul", shift, sides))
    factor = graph("Exp", graph("Clip", growth, f64(-_LARGEST), f64(_LARGEST)))
    half = graph("Div", graph("Mul", sides, factor), f64(2))
    moved = graph("Concat", graph("Sub", centre, half), graph("Add", centre, half), axis=2)
    moved = graph.cast(graph("Add", moved, ends), "float32")
    height, width = (graph("Slice", size, i64(axis), i64(axis + 1)) for axis in (0, 1))
    limits = graph.cast(graph("Concat", width, height, width, height, axis=0), "float32")
    return graph("Max", graph("Min", moved, limits), np.array(0, np.float32))
