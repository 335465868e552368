"""Whole networks as graphs: the detector of `spp train-detector`, networks of `spp train-net`, a trunk by itself."""

from __future__ import annotations

import onnx
from torch import fx, nn

from sppcli.nets.backbones import Network, run_trunk
from sppcli.nets.classifier import FixedPool, SppClassifier
from sppcli.nets.detector import BINS, SAMPLES, TARGET_SCALE, SppDetector
from sppcli.nets.folding import folded
from sppcli.nets.onnx_graph.boxes import corrected
from sppcli.nets.onnx_graph.builder import Graph, f32, i64
from sppcli.nets.onnx_graph.images import image_input, read_image
from sppcli.nets.onnx_graph.regions import aligned, boxes_input, pyramid_of, to_seen_pixels, whole_map
from sppcli.nets.onnx_graph.trunk import conv_layers
from sppcli.nets.pyramid import SpatialPyramidPool
from sppcli.structures import FloatArray


def joint_detector(model: SppDetector, scale: int, name: str) -> Graph:
    """``image`` and ``boxes`` in, ``scores`` (windows, classes) and ``corrected_boxes`` (windows, classes, 4) out.

    ``scale``: shorter side that the network reads, in pixels.

    Raises:
        UsageProblem: see `trunk.conv_layers`.
    """
    graph = Graph()
    seen = read_image(graph, image_input(graph), model.architecture.normalisation, scale)
    boxes = boxes_input(graph)
    maps = graph.inline(conv_layers(model, model.maps, name), seen.pixels)
    rois = to_seen_pixels(graph, boxes, seen.size, seen.seen)
    channels, levels = model.architecture.channels, model.architecture.levels
    vectors = []
    for one, grid in zip(maps, model.grids, strict=True):
        bins = aligned(graph, one, rois, grid, BINS, SAMPLES)
        vectors.append(pyramid_of(graph, bins, BINS, channels, levels))
    value = graph("Concat", *vectors, axis=1)
    for layer in model.fc:
        value = graph("Relu", linear(graph, value, layer))
    classes = len(model.architecture.classes)
    likely = graph("Softmax", linear(graph, value, model.scores), axis=1)
    graph.output("scores", graph("Slice", likely, i64(1), i64(classes + 1), i64(1)), "float32", ("windows", classes))
    targets = graph("Reshape", linear(graph, value, model.boxes), i64(0, classes, 4))
    moved = corrected(graph, boxes, graph("Mul", targets, f32(*TARGET_SCALE)), seen.size)
    graph.output("corrected_boxes", moved, "float32", ("windows", classes, 4))
    return graph


def classifier(model: SppClassifier, name: str) -> Graph:
    """``image`` in, ``probabilities`` (classes,) and ``logits`` (classes,) out, of the whole image as one view.

    Raises:
        UsageProblem: see `trunk.conv_layers`.
    """
    graph = Graph()
    pool = model.pool
    side = model.architecture.input_size if isinstance(pool, FixedPool) else None
    seen = read_image(graph, image_input(graph, side), model.architecture.normalisation, None)
    pooled: nn.Module = pool if isinstance(pool, FixedPool) else nn.Identity()
    trunk = for_export(model.trunk)
    layers = nn.ModuleList([trunk, pooled])
    (value,) = graph.inline(conv_layers(layers, lambda pixels: [pooled(run_trunk(trunk, pixels))], name), seen.pixels)
    if isinstance(pool, SpatialPyramidPool):
        value = whole_map(graph, value, model.channels, pool.levels)
    for layer in model.fc.values():
        value = graph("Relu", linear(graph, value, layer))
    logits = graph("Squeeze", linear(graph, value, model.last), i64(0))
    classes = len(model.architecture.classes)
    graph.output("probabilities", graph("Softmax", logits, axis=0), "float32", (classes,))
    graph.output("logits", logits, "float32", (classes,))
    return graph


def trunk_alone(network: Network, scale: int | None, name: str) -> Graph:
    """``image`` in, ``map`` (1, channels, rows, columns) out.

    ``scale``: shorter side that the image is resized to, in pixels; None: it is read as it comes.

    Raises:
        UsageProblem: see `trunk.conv_layers`.
    """
    graph = Graph()
    seen = read_image(graph, image_input(graph), network.normalisation, scale)
    (value,) = graph.inline(maps_of(network, name), seen.pixels)
    graph.output("map", value, "float32", (1, network.channels, "rows", "columns"))
    return graph


def maps_of(network: Network, name: str) -> onnx.ModelProto:
    """The trunk of ``network``, as `trunk.conv_layers` gives it."""
    trunk = for_export(network.trunk)
    return conv_layers(trunk, lambda pixels: [run_trunk(trunk, pixels)], name)


def for_export(trunk: nn.Module) -> nn.Module:
    """``trunk`` with batch normalisation folded away."""
    return folded(trunk.eval()) if isinstance(trunk, fx.GraphModule) else trunk


def linear(graph: Graph, value: str, layer: nn.Module) -> str:
    """A `torch.nn.Linear` on (N, D)."""
    assert isinstance(layer, nn.Linear)
    return fully_connected(graph, value, layer.weight.detach().numpy(), layer.bias.detach().numpy())


def fully_connected(graph: Graph, value: str, weight: FloatArray, bias: FloatArray) -> str:
    """``value`` (N, D) @ ``weight`` (K, D) transposed + ``bias`` (K,)."""
    return graph("Gemm", value, weight, bias, transB=1)
