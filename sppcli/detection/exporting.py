"""What of a trained model becomes an ONNX file, and the same numbers by torch, which the file is compared with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from sppcli.artefacts.models import BoxModel, FeatureRecord, SvmModel
from sppcli.detection.models import Model, heads_of_models
from sppcli.detection.new_images import ImageReader
from sppcli.detection.rois import to_input_pixels
from sppcli.detection.scoring import Scorer
from sppcli.errors import UsageProblem
from sppcli.features.conv_maps import Extractor, prepare
from sppcli.features.windows import HeldMaps
from sppcli.geometry.boxes import clip
from sppcli.geometry.projection import CellGrid
from sppcli.geometry.regression import decode
from sppcli.images import Normalisation
from sppcli.nets.backbones import FcHead, Network, run_trunk
from sppcli.nets.classifier import SppClassifier
from sppcli.nets.detector import TARGET_SCALE, SppDetector
from sppcli.nets.onnx_graph import boxes as box_nodes
from sppcli.nets.onnx_graph import parts, regions
from sppcli.nets.onnx_graph.builder import Graph, f32, i64
from sppcli.nets.onnx_graph.images import image_input, read_image
from sppcli.nets.pixels import to_input
from sppcli.structures import Boxes, ByteImage, FloatArray

Outputs = Mapping[str, FloatArray]
_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """``graph``: see `nets.onnx_graph.parts`; ``reference``: what torch gives for an image and windows, by the names of
    the outputs; ``regions``: whether windows are read; ``side``: of the only image that is taken, if there is only one
    size.
    """

    kind: str
    graph: Graph
    facts: dict[str, str]
    reference: Callable[[ByteImage, Boxes], Outputs]
    classes: tuple[str, ...] = ()
    regions: bool = False
    side: int | None = None


def _facts(
    kind: str, normalisation: Normalisation, classes: tuple[str, ...], scales: tuple[int, ...]
) -> dict[str, str]:
    return {
        "kind": kind,
        "classes": json.dumps(list(classes)),
        "scales": json.dumps(list(scales)),
        "normalisation": json.dumps(asdict(normalisation)),
    }


def joint(model: SppDetector, made: Mapping[str, Any], name: str) -> Exportable:
    """A network of `spp train-detector`; ``made``: its settings.

    Raises:
        UsageProblem: torch cannot write a layer of it.
    """
    architecture, scale = model.architecture, int(made["scale"])

    @torch.inference_mode()
    def reference(image: ByteImage, windows: Boxes) -> Outputs:
        size = (image.shape[0], image.shape[1])
        pixels = prepare([image], scale, architecture.normalisation, _CPU)
        rois = to_input_pixels(windows, size, (int(pixels.shape[2]), int(pixels.shape[3])))
        logits, boxes = model.classify(model.maps(pixels), torch.from_numpy(rois))
        scores: FloatArray = logits.softmax(dim=1)[:, 1:].numpy()
        return {"scores": scores, "corrected_boxes": _moved(windows, boxes.numpy() * np.array(TARGET_SCALE), size)}

    facts = _facts("detector", architecture.normalisation, architecture.classes, (scale,))
    facts |= {"scores": "probability", "proposals": json.dumps(made["proposals"])}
    return Exportable(
        kind="detector",
        graph=parts.joint_detector(model, scale, name),
        facts=facts,
        reference=reference,
        classes=architecture.classes,
        regions=True,
    )


def _moved(windows: Boxes, targets: FloatArray, size: tuple[int, int]) -> FloatArray:
    """``windows`` (N, 4) by the ``targets`` (N, K, 4) of each class."""
    limited = np.concatenate([targets[..., :2], np.clip(targets[..., 2:], -4.6, 4.6)], axis=-1)
    moved = [clip(decode(windows, limited[:, k]).astype(np.float32), *size) for k in range(targets.shape[1])]
    return np.stack(moved, axis=1)


def classification(model: SppClassifier, name: str) -> Exportable:
    """A network of `spp train-net`: the whole image as one view.

    Raises:
        UsageProblem: torch cannot write a layer of it.
    """
    architecture = model.architecture
    side = architecture.input_size if architecture.pool else None

    @torch.inference_mode()
    def reference(image: ByteImage, windows: Boxes) -> Outputs:
        logits = model(to_input(torch.from_numpy(image)[None], architecture.normalisation))[0]
        return {"logits": logits.numpy(), "probabilities": logits.softmax(dim=0).numpy()}

    return Exportable(
        kind="classification network",
        graph=parts.classifier(model, name),
        facts=_facts("classification network", architecture.normalisation, architecture.classes, ()),
        reference=reference,
        classes=architecture.classes,
        side=side,
    )


def trunk(network: Network, scale: int | None, name: str) -> Exportable:
    """The conv layers of ``network`` alone, of images at shorter side ``scale``, or as they come.

    Raises:
        UsageProblem: torch cannot write a layer of it.
    """

    @torch.inference_mode()
    def reference(image: ByteImage, windows: Boxes) -> Outputs:
        side = min(image.shape[:2]) if scale is None else scale
        return {"map": run_trunk(network.trunk, prepare([image], side, network.normalisation, _CPU)).numpy()}

    facts = _facts("conv layers", network.normalisation, (), () if scale is None else (scale,))
    facts |= {
        "backbone": network.backbone,
        "cut": network.cut,
        "stride": f"{network.grid.stride:g}",
        "first_centre": f"{network.grid.centre:g}",
        "trunk_sha256": network.digest,
    }
    graph = parts.trunk_alone(network, scale, name)
    return Exportable(kind="conv layers", graph=graph, facts=facts, reference=reference)


def linear_models(pair: Model, network: Network | None, weights: str | None) -> Exportable:
    """SVMs and box regressors over conv maps at several scales.

    ``network``: that of the models, where it has been loaded; ``weights``: where it is now.

    Raises:
        StaleArtefact: another network than the models were trained on.
        UsageProblem: R-CNN's features, or a layer that torch cannot write.
    """
    svm, bbox = pair
    if svm.record.rcnn:
        raise UsageProblem(f"{svm.path}: R-CNN runs the network on every region by itself; export the network alone")
    reader = ImageReader(pair, _CPU, weights=weights, network=network)
    heads = heads_of_models(pair, reader.network)
    exact = _in_fp32(svm, bbox)
    scorer = Scorer(exact.svm, exact.bbox, reader.scales, heads)
    extractor = Extractor(reader.network, _CPU, "fp32")

    def reference(image: ByteImage, windows: Boxes) -> Outputs:
        size = (image.shape[0], image.shape[1])
        maps = HeldMaps(size, tuple(one[0] for one in extractor.batch([image], reader.scales, ["image"])))
        features, scores = scorer.score(maps, windows)
        values = features.spread(features.values)
        moved = [scorer.corrected(maps, windows, values, label) for label in range(len(svm.classes))]
        return {"scores": scores, "corrected_boxes": np.stack(moved, axis=1)}

    facts = _facts("detector", reader.network.normalisation, svm.classes, reader.scales)
    summary = svm.header.summary
    facts |= {"scores": "margin of an SVM", "proposals": json.dumps(summary["proposals"])}
    facts |= {"layer": svm.record.layer, "pyramid": json.dumps(list(svm.record.levels))}
    return Exportable(
        kind="detector",
        graph=_models_graph(pair, reader.network, reader.scales, heads),
        facts=facts,
        reference=reference,
        classes=svm.classes,
        regions=True,
    )


def _in_fp32(svm: SvmModel, bbox: BoxModel | None) -> Model:
    exact = replace(svm, record=replace(svm.record, precision="fp32"))
    return Model(exact, bbox and replace(bbox, record=replace(bbox.record, precision="fp32")))


def _models_graph(
    pair: Model, network: Network, scales: tuple[int, ...], heads: tuple[FcHead | None, FcHead | None]
) -> Graph:
    svm, bbox = pair
    graph = Graph()
    image, boxes = image_input(graph), regions.boxes_input(graph)
    layers = parts.maps_of(network, network.backbone)
    seen = [read_image(graph, image, network.normalisation, scale) for scale in scales]
    maps = regions.ScaledMaps(graph, [graph.inline(layers, one.pixels)[0] for one in seen], network.channels)
    size = seen[0].size
    exact = graph.cast(boxes, "float64")
    features = _features(graph, svm.record, heads[0], scales, maps, exact, size)
    count = len(svm.classes)
    scores = parts.fully_connected(graph, features, svm.weights, svm.biases)
    graph.output("scores", scores, "float32", ("windows", count))
    if bbox is None:
        moved = graph("Expand", graph("Unsqueeze", boxes, i64(1)), i64(1, count, 1))
    else:
        if replace(bbox.record, network=svm.record.network) != svm.record:
            features = _features(graph, bbox.record, heads[1], scales, maps, exact, size)
        flat = parts.fully_connected(graph, features, *_regression(svm, bbox))
        targets = graph("Reshape", flat, i64(0, count, 4))
        moved = box_nodes.corrected(graph, boxes, targets, size, bbox.box_width == "inclusive")
    graph.output("corrected_boxes", moved, "float32", ("windows", count, 4))
    return graph


def _features(
    graph: Graph,
    record: FeatureRecord,
    head: FcHead | None,
    scales: tuple[int, ...],
    maps: regions.ScaledMaps,
    boxes: str,
    size: str,
) -> str:
    """Features (N, D) as ``record`` describes them, of ``boxes`` (N, 4) float64."""
    grid = CellGrid(record.network.stride, record.network.centre, record.slack)
    which = regions.choose_scale(graph, boxes, size, scales, record.window_side, record.scale_rule)
    cells = regions.cells_of(graph, boxes, size, scales, maps, grid, which)
    value = regions.pooled(graph, maps, which, cells, record.levels)
    for name, (weight, bias) in head.layers.items() if head else ():
        assert head is not None
        if name in head.narrow:
            value = graph("MatMul", value, np.ascontiguousarray(head.narrow[name].numpy().T))
        value = graph("Relu", parts.fully_connected(graph, value, weight.numpy(), bias.numpy()))
        if name == record.layer:
            break
    if record.normalize == "sqrt-l2":
        value = graph("Sqrt", graph("Max", value, f32(0)))
    if record.normalize != "none":
        length = graph("ReduceL2", value, i64(1), keepdims=1)
        value = graph("Div", value, graph("Max", length, np.array(np.finfo(np.float32).tiny, np.float32)))
    return graph("Mul", value, f32(record.factor))


def _regression(svm: SvmModel, bbox: BoxModel) -> tuple[FloatArray, FloatArray]:
    """Weights (4 K, D) and biases (4 K,) of all classes of ``svm``; what no regressor corrects stays where it is."""
    weights = np.zeros((len(svm.classes), 4, bbox.weights.shape[2]), np.float32)
    biases = np.zeros((len(svm.classes), 4), np.float32)
    for label, name in enumerate(svm.classes):
        k = bbox.classes.index(name) if name in bbox.classes else None
        if k is not None and bbox.trained[k]:
            unwhiten = bbox.unwhiten[k].astype(np.float64)
            weights[label] = unwhiten.T @ bbox.weights[k]
            biases[label] = bbox.biases[k] @ unwhiten + bbox.means[k]
    return weights.reshape(-1, weights.shape[2]), biases.reshape(-1)
