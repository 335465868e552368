"""Classify images with one network or an ensemble: errors on a labelled folder, or the most probable classes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sppcli.datasets import open_dataset
from sppcli.datasets.imagefolder import open_labelled, splits_of
from sppcli.detection.per_image import none_left
from sppcli.errors import BadInput, SppError, UsageProblem
from sppcli.evaluation.topk import top_k_error
from sppcli.features.conv_maps import choose_device, choose_precision
from sppcli.features.views import Viewer, top_classes
from sppcli.images import check_scales, read_image
from sppcli.nets.weights import read_classifier
from sppcli.runtime.batches import same_shape
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.cpus import cpu_threads
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.prefetch import prefetch
from sppcli.runtime.progress import Progress
from sppcli.structures import ByteImage, FloatArray, IntArray

# Pixels of original images that are judged together: enough small ones at once, and large ones one by one.
_TOGETHER = 2_000_000
# Images that may wait for others of their size.
_HELD = 128


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig:
    """``networks``: files, averaged where they are several; the rest as `views.Viewer`'s. ``top``: classes to name."""

    networks: tuple[Path, ...]
    views: str = "ten"
    source: str = "auto"
    scales: tuple[int, ...] | None = None
    split: str | None = None
    predictions: bool = False
    top: int = 5
    precision: str = "auto"


@dataclass(frozen=True)
class Result:
    """The result of one network, or of the ensemble (``network`` is then "ensemble").

    ``views``: of the first image; ``top1_error``, ``top5_error``: shares, None without labels or with fewer than six
    classes; ``seconds``: time of computation, without decoding.
    """

    network: str
    views: int
    source: str
    top1_error: float | None
    top5_error: float | None
    seconds: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of an image, best first, with their probabilities."""

    image: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class ClassifySummary:
    images: int
    classes: int
    labelled: bool
    results: tuple[Result, ...]
    predictions: tuple[Prediction, ...]
    skipped: tuple[str, ...]


@kept_memory()
@announces_compiling
def run(sources: Sequence[Path], config: ClassifyConfig, *, options: RunOptions = USUAL) -> ClassifySummary:
    """Classify ``sources``: a folder with one sub-folder per class, or with such folders in val/ or test/, or any
    images.

    Raises:
        MissingInput: no images or no network.
        BadInput: networks of different classes, a folder that is none of them, or with ``strict`` an unreadable image.
        UsageProblem: views that a network cannot do.
    """
    progress = options.progress
    device = choose_device(options.device)
    autocast = choose_precision(config.precision, device) == "bf16"
    torch.set_num_threads(cpu_threads())
    viewers, classes = _viewers(config, device, autocast)
    paths, labels, names = _images(sources, classes, config, progress)
    scores = np.zeros((len(viewers), len(paths), len(classes)), dtype=np.float32)
    seconds, views = [0.0] * len(viewers), [0] * len(viewers)
    skipped: list[str] = []
    good = np.ones(len(paths), dtype=np.bool_)
    sides = sorted({scale.side for viewer in viewers for scale in viewer.scales})
    progress.start(len(paths), "images")
    for rows, images in _groups(paths, sides, options.strict, good, skipped, progress):
        for i, viewer in enumerate(viewers):
            began = time.monotonic()
            scores[i, rows] = viewer.probabilities(images)
            seconds[i] += time.monotonic() - began
            views[i] = views[i] or viewer.count(*images[0].shape[:2])
        progress.advance(len(rows))
    if not good.any():
        raise none_left(len(paths), "could be read", skipped[0])
    judged = scores[:, good]
    truth = labels[good] if labels is not None else None
    results = [
        _result(str(config.networks[i]), views[i], viewers[i].source, judged[i], truth, seconds[i])
        for i in range(len(viewers))
    ]
    mean = judged.mean(axis=0)
    if len(viewers) > 1:
        kinds = {viewer.source for viewer in viewers}
        source = kinds.pop() if len(kinds) == 1 else "both"
        results.append(_result("ensemble", sum(views), source, mean, truth, sum(seconds)))
    wanted = config.predictions or labels is None
    predictions = _predictions([n for n, g in zip(names, good, strict=True) if g], mean, classes, config.top)
    return ClassifySummary(
        int(good.sum()),
        len(classes),
        labels is not None,
        tuple(results),
        tuple(predictions) if wanted else (),
        tuple(skipped),
    )


def _viewers(config: ClassifyConfig, device: torch.device, autocast: bool) -> tuple[list[Viewer], tuple[str, ...]]:
    models = [read_classifier(path) for path in config.networks]
    classes = models[0].architecture.classes
    for path, model in zip(config.networks, models, strict=True):
        if model.architecture.classes != classes:
            raise BadInput(f"{path} has other classes than {config.networks[0]}; networks are averaged class by class")
    return [Viewer(model, config.views, config.source, config.scales, device, autocast) for model in models], classes


def _images(
    sources: Sequence[Path], classes: tuple[str, ...], config: ClassifyConfig, progress: Progress
) -> tuple[tuple[Path, ...], IntArray | None, list[str]]:
    """Paths, labels where the folders say them, and names to print."""
    folder = sources[0] if len(sources) == 1 and sources[0].is_dir() else None
    splits = splits_of(folder) if folder else ()
    split = config.split or next((name for name in ("val", "test") if name in splits), None)
    if config.split and not splits:
        raise UsageProblem(f"{sources[0]} has no folders train, val or test; leave out --split")
    if folder and (split or any((folder / name).is_dir() for name in classes)):
        labelled = open_labelled(folder, split, classes)
        for warning in labelled.warnings:
            progress.warn(warning)
        return labelled.paths, labelled.labels, [str(path.relative_to(labelled.root)) for path in labelled.paths]
    dataset = open_dataset(sources)
    for warning in dataset.remarks():
        progress.warn(warning)
    paths = tuple(item.path for item in dataset.images)
    return paths, None, [str(path) for path in paths]


def _groups(
    paths: Sequence[Path],
    sides: Sequence[int],
    strict: bool,
    good: npt.NDArray[np.bool_],
    skipped: list[str],
    progress: Progress,
) -> Iterator[tuple[IntArray, list[ByteImage]]]:
    """Images of one size together, with their rows; those that cannot be used are marked and named."""

    def load(row: int) -> tuple[int, ByteImage | SppError]:
        try:
            image = read_image(paths[row])
            check_scales(image.shape[0], image.shape[1], sides, str(paths[row]))
            return row, image
        except SppError as error:
            return row, error

    def readable() -> Iterator[tuple[int, ByteImage]]:
        for row, image in prefetch(load, range(len(paths)), ahead=8):
            if isinstance(image, SppError):
                if strict:
                    raise image
                progress.warn(f"skipped: {image}")
                progress.advance()
                good[row] = False
                skipped.append(str(image))
            else:
                yield row, image

    def at_once(shape: tuple[int, ...]) -> int:
        return min(_HELD, -(-_TOGETHER // (shape[0] * shape[1])))

    for group in same_shape(readable(), lambda item: item[1].shape, at_once, _HELD):
        yield np.array([row for row, _ in group], dtype=np.int64), [image for _, image in group]


def _result(name: str, views: int, source: str, scores: FloatArray, labels: IntArray | None, seconds: float) -> Result:
    if labels is None:
        return Result(name, views, source, None, None, seconds)
    top5 = top_k_error(scores, labels, 5) if scores.shape[1] > 5 else None
    return Result(name, views, source, top_k_error(scores, labels, 1), top5, seconds)


def _predictions(names: Sequence[str], scores: FloatArray, classes: tuple[str, ...], top: int) -> list[Prediction]:
    best = top_classes(scores, min(top, len(classes)))
    return [
        Prediction(name, tuple(classes[i] for i in row), tuple(float(score[i]) for i in row))
        for name, row, score in zip(names, best, scores, strict=True)
    ]
