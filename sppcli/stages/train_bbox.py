"""proposals.h5 and features.h5 to bbox.h5: ridge regression from a window's features to its object's box."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.models import read_bbox, write_bbox
from sppcli.artefacts.store import Header, is_current, touch_if_older
from sppcli.engine.corpus import Corpus, WindowSettings, open_corpus, plan_training
from sppcli.engine.prefetch import prefetch
from sppcli.engine.progress import NoProgress, Progress
from sppcli.errors import BadInput
from sppcli.geometry.boxes import iou
from sppcli.geometry.regression import encode, widened
from sppcli.learn.ridge import fit_box_regressor
from sppcli.learn.scaling import Normaliser, fit_normaliser
from sppcli.nets.windows import WindowReader
from sppcli.paper import DEFAULT
from sppcli.structures import Boxes, FloatArray

Float64 = npt.NDArray[np.float64]

# Below so many examples a regressor of hundreds of numbers learns nothing; the boxes of the class stay as they are.
MINIMUM_EXAMPLES = 10


@dataclass(frozen=True)
class TrainBboxConfig:
    """``flip``: learn from mirror images too; ``memory``: bytes for examples and solver together.

    What is not said here is as in `paper.Recipe`.
    """

    windows: WindowSettings = field(default_factory=WindowSettings)
    split: str = "trainval"
    min_iou: float = DEFAULT.min_iou
    strict_iou: bool = DEFAULT.strict_iou
    ridge: float = DEFAULT.ridge
    box_width: str = DEFAULT.box_width
    flip: bool = False
    memory: int = 5 * 2**29
    seed: int = 0
    recipe: str = DEFAULT.name


@dataclass(frozen=True)
class RegressorSummary:
    """``examples`` used of ``found``; error of the centre and size targets before and after, on the examples."""

    name: str
    found: int
    examples: int
    error_before: float | None
    error_after: float | None


@dataclass(frozen=True)
class TrainBboxSummary:
    path: Path
    images: int
    layer: str
    levels: tuple[int, ...]
    classes: tuple[RegressorSummary, ...]
    up_to_date: bool = False


@dataclass(frozen=True)
class Examples:
    """Examples of one image: boxes (N, 4), the object of each (N, 4), its class index (N,)."""

    row: int
    boxes: Boxes
    objects: Boxes
    labels: npt.NDArray[np.int64]


def run(
    proposals_path: Path,
    features_path: Path,
    output: Path,
    config: TrainBboxConfig,
    *,
    dataset: Path | None = None,
    weights: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> TrainBboxSummary:
    """Fit a regressor a class to the windows of a split that overlap an object well, and to the objects themselves.

    Raises:
        as `train_svm.run`.
    """
    progress = progress or NoProgress()
    with open_corpus(proposals_path, features_path, config.split, dataset) as corpus:
        training = plan_training(corpus, config.windows, asdict(config), weights)
        header = Header("bbox", training.settings, training.inputs)
        if not force and is_current(output, "bbox", header.fingerprint):
            touch_if_older(output, [proposals_path, features_path])
            return _summary(output, up_to_date=True)
        training.warn_of_data(progress)
        if config.flip:
            corpus = corpus.with_mirrors()
        classes = tuple(sorted({label for row in corpus.rows for label in corpus.truth(row).labels}))
        if not classes:
            raise BadInput(f"there is no object in split {config.split} of {corpus.dataset.root}; annotate some")
        reader = training.reader
        examples = [_examples(corpus, row, classes, config) for row in corpus.rows]
        limit = _limit(config, reader, training.record().layer != "pool5")
        chosen, found = _choose(examples, len(classes), limit, config.seed)
        normaliser, features = _features(corpus, reader, examples, chosen, config.windows, progress)
    boxes = np.concatenate([example.boxes[rows] for example, rows in zip(examples, chosen, strict=True)])
    objects = np.concatenate([example.objects[rows] for example, rows in zip(examples, chosen, strict=True)])
    labels = np.concatenate([example.labels[rows] for example, rows in zip(examples, chosen, strict=True)])
    targets = encode(widened(boxes, config.box_width), widened(objects, config.box_width))
    arrays, rows = _fit(features, targets, labels, classes, found, config.ridge, progress)
    summary = {
        "features": training.record(normaliser.factor).to_json(),
        "images": len(training.corpus.rows),
        "classes": [asdict(row) for row in rows],
    }
    write_bbox(output, Header("bbox", training.settings, training.inputs, training.source, summary), classes, arrays)
    return _summary(output)


def _summary(path: Path, up_to_date: bool = False) -> TrainBboxSummary:
    model = read_bbox(path)
    stored = model.header.summary
    rows = tuple(RegressorSummary(**row) for row in stored["classes"])
    return TrainBboxSummary(path, stored["images"], model.record.layer, model.record.levels, rows, up_to_date)


def _examples(corpus: Corpus, row: int, classes: tuple[str, ...], config: TrainBboxConfig) -> Examples:
    """Objects and proposals, each with the object it overlaps most (of any class; the first on a tie)."""
    truth = corpus.truth(row)
    boxes = np.concatenate([truth.boxes, corpus.windows(row)])
    if not len(truth.boxes):
        return Examples(row, boxes[:0], boxes[:0], np.zeros(0, np.int64))
    overlap = iou(boxes, truth.boxes)
    best = overlap.argmax(axis=1)
    # A window of no width or height has no regression targets.
    sides = widened(boxes, config.box_width)
    solid = (sides[:, 2] > sides[:, 0]) & (sides[:, 3] > sides[:, 1])
    mine = overlap[np.arange(len(boxes)), best]
    good = ((mine > config.min_iou) if config.strict_iou else (mine >= config.min_iou)) & solid & ~truth.crowd[best]
    labels = np.array([classes.index(label) for label in truth.labels], dtype=np.int64)
    return Examples(row, boxes[good], truth.boxes[best[good]], labels[best[good]])


def _limit(config: TrainBboxConfig, reader: WindowReader, through_head: bool) -> int:
    """Examples a class may use: 1/3 of the memory for its float16 features, 1/2 for an N x N float64 system."""
    dimensions = 4096 if through_head else sum(n * n for n in reader.levels) * reader.channels
    return max(MINIMUM_EXAMPLES, int(min(config.memory / 3 / (2 * dimensions), (config.memory / 2 / 8) ** 0.5)))


def _choose(
    examples: list[Examples], classes: int, limit: int, seed: int
) -> tuple[list[npt.NDArray[np.int64]], list[int]]:
    """Rows of each image to use, at most ``limit`` in all for a class, drawn evenly; and how many there were."""
    labels = np.concatenate([example.labels for example in examples])
    image = np.concatenate([np.full(len(example.labels), i) for i, example in enumerate(examples)])
    row = np.concatenate([np.arange(len(example.labels)) for example in examples])
    random = np.random.default_rng(seed)
    # All classes share the memory, so that each has at most an even part of what is left by smaller ones.
    counts = np.bincount(labels, minlength=classes)
    share = limit
    while np.minimum(counts, share).sum() > limit and share > MINIMUM_EXAMPLES:
        share -= max(1, share // 50)
    kept = np.zeros(len(labels), dtype=np.bool_)
    for k in range(classes):
        of_class = np.flatnonzero(labels == k)
        kept[random.permutation(of_class)[:share]] = True
    return [row[kept & (image == i)] for i in range(len(examples))], counts.tolist()


def _features(
    corpus: Corpus,
    reader: WindowReader,
    examples: list[Examples],
    chosen: list[npt.NDArray[np.int64]],
    windows: WindowSettings,
    progress: Progress,
) -> tuple[Normaliser, npt.NDArray[np.float16]]:
    progress.start(len(examples), "images")
    parts: list[npt.NDArray[np.float16]] = []
    normaliser = Normaliser(windows.normalize, windows.feature_norm)

    def load(i: int) -> FloatArray:
        return reader.features(corpus.maps(examples[i].row), examples[i].boxes[chosen[i]])

    busy = [i for i in range(len(examples)) if len(chosen[i])]
    if windows.normalize == "none":
        sample = np.concatenate([load(i)[:200] for i in busy[:: max(1, len(busy) // 200)]])
        normaliser = fit_normaliser(windows.normalize, sample, windows.feature_norm)
    for features in prefetch(load, busy, ahead=1):
        parts.append(normaliser.apply(features).astype(np.float16))
        progress.advance()
    return normaliser, np.concatenate(parts)


def _fit(
    features: npt.NDArray[np.float16],
    targets: Float64,
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    found: list[int],
    ridge: float,
    progress: Progress,
) -> tuple[dict[str, npt.NDArray[Any]], list[RegressorSummary]]:
    k, dimensions = len(classes), features.shape[1]
    arrays: dict[str, npt.NDArray[Any]] = {
        "weights": np.zeros((k, 4, dimensions), np.float32),
        "biases": np.zeros((k, 4), np.float32),
        "unwhiten": np.zeros((k, 4, 4), np.float32),
        "means": np.zeros((k, 4), np.float32),
        "trained": np.zeros(k, np.bool_),
    }
    rows = []
    progress.start(k, "classes")
    for label, name in enumerate(classes):
        mask = labels == label
        count = int(mask.sum())
        if count < MINIMUM_EXAMPLES:
            progress.warn(f"{name} has {count} examples, fewer than {MINIMUM_EXAMPLES}: its boxes stay as they are")
            rows.append(RegressorSummary(name, found[label], count, None, None))
            continue
        mine, wanted = features[mask], targets[mask]
        model = fit_box_regressor(mine, wanted, ridge)
        predicted = np.concatenate(
            [model.targets(mine[i : i + 1024].astype(np.float32)) for i in range(0, len(mine), 1024)]
        )
        before, after = (float(np.abs(value).mean()) for value in (wanted, wanted - predicted))
        rows.append(RegressorSummary(name, found[label], count, before, after))
        arrays["weights"][label], arrays["biases"][label] = model.weights, model.bias
        arrays["unwhiten"][label], arrays["means"][label] = model.unwhiten, model.mean
        arrays["trained"][label] = True
        progress.advance()
    return arrays, rows
