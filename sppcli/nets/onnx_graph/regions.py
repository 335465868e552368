"""Pyramid features of regions in a graph: RoI align of a joint network, and max-pooled cells as SVMs read them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sppcli.geometry.projection import CellGrid
from sppcli.nets.onnx_graph.builder import Graph, f32, f64, i64


def boxes_input(graph: Graph) -> str:
    """The input ``boxes``, (windows, 4) float32, x0 y0 x1 y1 in pixels of the image."""
    return graph.input("boxes", "float32", ("windows", 4))


def to_seen_pixels(graph: Graph, boxes: str, size: str, seen: str) -> str:
    """As `detection.rois.to_input_pixels`."""
    ratio = graph("Div", graph.cast(seen, "float64"), graph.cast(size, "float64"))
    return graph.cast(
        graph("Mul", graph.cast(boxes, "float64"), graph("Gather", ratio, i64(1, 0, 1, 0), axis=0)), "float32"
    )


def aligned(graph: Graph, maps: str, rois: str, grid: CellGrid, bins: int, samples: int) -> str:
    """``bins`` x ``bins`` bins (N, C, bins, bins) of RoIs of ``maps`` (1, C, h, w): see `SppDetector.pooled`."""
    places = graph("Div", graph("Sub", rois, f32(grid.centre + 0.5)), f32(grid.stride))
    cells = graph("Add", places, f32(1.5))
    padded = graph("Pad", maps, i64(0, 0, 1, 1, 0, 0, 1, 1), mode="edge")
    count = graph("Slice", graph("Shape", rois), i64(0), i64(1))
    first = graph("Expand", i64(0), count)
    return graph(
        "RoiAlign",
        padded,
        cells,
        first,
        coordinate_transformation_mode="half_pixel",
        mode="avg",
        output_height=bins,
        output_width=bins,
        sampling_ratio=samples,
        spatial_scale=1.0,
    )


def pyramid_of(graph: Graph, bins: str, side: int, channels: int, levels: Sequence[int]) -> str:
    """As `pyramid.pool_bins`: the vector (N, bins * C) of ``levels`` that divide ``side``, of (N, C, side, side)."""
    pooled = []
    for n in levels:
        k = side // n
        parts = graph("Reshape", bins, i64(0, channels, n, k, n, k))
        maxima = graph("ReduceMax", parts, i64(3, 5), keepdims=0) if k > 1 else bins
        last = graph("Transpose", maxima, perm=[0, 2, 3, 1])
        pooled.append(graph("Reshape", last, i64(0, n * n * channels)))
    return graph("Concat", *pooled, axis=1)


class ScaledMaps:
    """Conv maps of an image at several scales, as one batch (S, C, h, w) whose maps end in zeros.

    ``half``: round them to float16, as features.h5 stores them and SVMs read them.
    """

    def __init__(self, graph: Graph, maps: Sequence[str], channels: int, half: bool = True) -> None:
        self.channels = channels
        sizes = [graph("Slice", graph("Shape", item), i64(2), i64(4)) for item in maps]
        self.sizes = graph("Concat", *(graph("Unsqueeze", item, i64(0)) for item in sizes), axis=0)
        largest = graph("ReduceMax", self.sizes, i64(0), keepdims=0)
        padded = []
        for item, size in zip(maps, sizes, strict=True):
            value = graph.cast(graph.cast(item, "float16"), "float32") if half else item
            pads = graph("Concat", i64(0, 0, 0, 0, 0, 0), graph("Sub", largest, size), axis=0)
            padded.append(graph("Pad", value, pads) if len(maps) > 1 else value)
        self.batch = graph("Concat", *padded, axis=0) if len(padded) > 1 else padded[0]


def pooled(graph: Graph, maps: ScaledMaps, which: str, cells: str, levels: Sequence[int]) -> str:
    """As `pooling.pool_windows`: (N, bins * C) of ``cells`` (N, 4) int64 of the maps ``which`` (N,) int64."""
    levels = tuple(levels)
    # A level that divides another is pooled from it.
    sources = {n: max(m for m in levels if m % n == 0) for n in levels}
    read = {n: _bins(graph, maps, which, cells, n) for n in dict.fromkeys(sources.values())}
    parts = [pyramid_of(graph, read[sources[n]], sources[n], maps.channels, (n,)) for n in levels]
    return graph("Concat", *parts, axis=1)


def whole_map(graph: Graph, maps: str, channels: int, levels: Sequence[int]) -> str:
    """As `pyramid.SpatialPyramidPool`: (1, bins * C) of ``maps`` (1, C, h, w)."""
    batch = ScaledMaps(graph, [maps], channels, half=False)
    corner = graph("Concat", i64(0, 0), graph("Gather", graph("Squeeze", batch.sizes, i64(0)), i64(1, 0)), axis=0)
    return pooled(graph, batch, graph.value(i64(0)), graph("Unsqueeze", corner, i64(0)), levels)


def _bins(graph: Graph, maps: ScaledMaps, which: str, cells: str, n: int) -> str:
    """(N, C, n, n). Each bin is given to the operator as a region of its own: it divides regions in float32."""
    ends = []
    for axis in (0, 1):
        start, stop = (graph("Slice", cells, i64(i), i64(i + 1), i64(1)) for i in (axis, axis + 2))
        extent = graph("Sub", stop, start)
        first = graph("Div", graph("Mul", extent, np.arange(n)[None]), i64(n))
        after = graph("Div", graph("Add", graph("Mul", extent, np.arange(1, n + 1)[None]), i64(n - 1)), i64(n))
        shape = i64(0, 1, n) if axis == 0 else i64(0, n, 1)
        for value, less in ((first, 0), (after, 1)):
            place = graph("Sub", graph("Add", start, value), i64(less))
            ends.append(graph("Expand", graph("Reshape", place, shape), i64(1, n, n)))
    left, right, top, bottom = ends
    number = graph("Expand", graph("Reshape", which, i64(0, 1, 1)), i64(1, n, n))
    columns = [graph("Unsqueeze", item, i64(3)) for item in (number, left, top, right, bottom)]
    rois = graph("Reshape", graph.cast(graph("Concat", *columns, axis=3), "float32"), i64(-1, 5))
    values = graph("MaxRoiPool", maps.batch, rois, pooled_shape=[1, 1])
    bins = graph("Reshape", values, i64(-1, n, n, maps.channels))
    return graph("Transpose", bins, perm=[0, 3, 1, 2])


def choose_scale(graph: Graph, boxes: str, size: str, scales: Sequence[int], input_size: float, rule: str) -> str:
    """As `geometry.projection.choose_scale`: (N,) int64 of ``boxes`` (N, 4) float64."""
    low, high = (graph("Slice", boxes, i64(first), i64(first + 2), i64(1)) for first in (0, 2))
    sides = graph("Max", graph("Sub", high, low), f64(0))
    area = graph("Mul", *(graph("Slice", sides, i64(i), i64(i + 1), i64(1)) for i in (0, 1)))
    shorter = graph.cast(graph("ReduceMin", size, keepdims=1), "float64")
    reached = graph("Mul", shorter, f64(input_size))
    given = np.array(scales, np.float64)[None]
    if rule == "pixels":
        target = graph("Mul", reached, reached)
        distance = graph("Sub", graph("Mul", area, given**2), target)
    else:
        side = graph("Sqrt", area)
        empty = graph("LessOrEqual", side, f64(0))
        wanted = graph("Div", reached, graph("Where", empty, f64(1), side))
        wanted = graph("Where", empty, f64(np.inf), graph("Floor", graph("Add", wanted, f64(0.5))))
        distance = graph("Sub", given, wanted)
    return graph("ArgMin", graph("Abs", distance), axis=1, keepdims=0)


def cells_of(
    graph: Graph, boxes: str, size: str, scales: Sequence[int], maps: ScaledMaps, grid: CellGrid, which: str
) -> str:
    """As `geometry.projection.cells_at`: (N, 4) int64 x0 y0 x1 y1 of ``boxes`` (N, 4) float64 in their maps."""
    shorter = graph.cast(graph("ReduceMin", size, keepdims=1), "float64")
    lengths = graph("Unsqueeze", graph("Gather", np.array(scales, np.float64) - 1, which, axis=0), i64(1))
    pixels = graph("Sub", boxes, f64(0, 0, 1, 1))
    room = graph("Max", graph("Sub", shorter, f64(1)), f64(1))
    scaled = graph("Div", graph("Mul", pixels, lengths), room)
    step, half = grid.stride, grid.stride / 2 - grid.slack
    low, high = (graph("Slice", scaled, i64(first), i64(first + 2), i64(1)) for first in (0, 2))
    low = graph("Div", graph("Add", graph("Sub", low, f64(grid.centre)), f64(half)), f64(step))
    start = graph.cast(graph("Floor", graph("Add", low, f64(0.5))), "int64")
    high = graph("Div", graph("Sub", graph("Sub", high, f64(grid.centre)), f64(half)), f64(step))
    stop = graph("Add", graph.cast(graph("Ceil", graph("Sub", high, f64(0.5))), "int64"), i64(1))
    # Ends that cross become one cell, their middle, counted from 1 and cut towards 0.
    middle = graph("Sub", graph("Div", graph.total("Add", start, i64(1), stop), i64(2)), i64(1))
    crossed = graph("LessOrEqual", stop, start)
    first = graph("Where", crossed, middle, start)
    last = graph("Where", crossed, middle, graph("Sub", stop, i64(1)))
    columns = graph("Gather", graph("Gather", maps.sizes, which, axis=0), i64(1, 0), axis=1)
    limit = graph("Sub", columns, i64(1))
    first, last = (graph("Max", graph("Min", item, limit), i64(0)) for item in (first, last))
    return graph("Concat", first, graph("Add", last, i64(1)), axis=1)
