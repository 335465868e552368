"""Detections in images that their detector was not trained on, from which its scores are calibrated.

SVMs that were trained on all labelled images have none left. Their images are then divided into folds: for each, SVMs
and box regression are trained anew on the other folds, in the way that the detector's own were, and detect in it
(cross-validation). Or one part of the images is held out, and one training anew, on the others, does. The scores stand
for those of the detector itself, which has seen a little more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from sppcli.artefacts.models import BoxModel, SvmModel, check_trunk
from sppcli.artefacts.store import Header
from sppcli.datasets.base import Dataset
from sppcli.detection.box_training import BoxTrainer, FoundExamples, TrainBboxConfig
from sppcli.detection.detecting import gather
from sppcli.detection.models import Model
from sppcli.detection.over_features import over_features, union_scorer
from sppcli.detection.scoring import DetectSettings
from sppcli.detection.split import SplitData
from sppcli.detection.svm_training import SvmTrainer, TrainSvmConfig, trained_classes
from sppcli.detection.training_plan import Training, WindowSettings, plan_training
from sppcli.errors import BadInput, MissingInput, StaleArtefact, UsageProblem
from sppcli.runtime.options import RunOptions
from sppcli.structures import Annotations, Detections, Found, IntArray

TEST = "test"
"""The split that nothing may be chosen on."""


@dataclass(frozen=True)
class HeldOut:
    """``detections`` in images that the models which found them had not seen, and the ``truth`` of each, by id."""

    detections: Detections
    truth: dict[str, Annotations]


def check_split(dataset: Dataset, split: str, trained_on: str, who: Path, remedy: str) -> None:
    """Refuse images to calibrate on that the detector ``who`` was trained on, or that are to test it.

    Raises:
        UsageProblem: ``split`` shares images with ``trained_on``, or with the split test.
        MissingInput: no such split.
    """
    wanted = set(dataset.labelled(dataset.split(split)))
    both = wanted & set(dataset.split(trained_on))
    if both:
        raise UsageProblem(
            f"{who} was trained on split {trained_on}, which has {len(both)} of the {len(wanted)} images of {split}, "
            f"the first {min(both)}; name another with --split, {remedy}"
        )
    try:
        both = wanted & set(dataset.split(TEST))
    except MissingInput:
        return
    if both:
        raise UsageProblem(
            f"split {split} holds {len(both)} images of the split {TEST}: thresholds chosen there would make its "
            "figures too good; name another --split"
        )


def check_images(model: SvmModel, data: SplitData) -> None:
    """Refuse ``data`` unless it holds the images that ``model`` was trained on, annotated as they were.

    Raises:
        StaleArtefact: it does not.
    """
    if data.annotation_digest() != model.header.inputs["annotations"]:
        raise StaleArtefact(
            f"{model.path} was trained on other images or annotations of split {data.split} than {data.dataset.root} "
            "holds now; run spp train-svm and spp train-bbox again"
        )


def in_split(
    models: Sequence[Model], splits: Sequence[SplitData], settings: DetectSettings, options: RunOptions
) -> HeldOut:
    """What ``models`` find in ``splits``, one of each, whose images they have not seen."""
    return _held_out(_found(models, splits, settings, options), splits[0], models[0].svm.classes)


def in_folds(
    models: Sequence[Model],
    splits: Sequence[SplitData],
    count: int,
    settings: DetectSettings,
    seed: int,
    options: RunOptions,
) -> HeldOut:
    """What models trained like ``models`` on the other folds find in each of ``count`` folds of ``splits``.

    Raises:
        BadInput: fewer images than folds.
        StaleArtefact: features or fc layers other than those of the training.
    """
    for pair, data in zip(models, splits, strict=True):
        for model in pair:
            if model is not None:
                check_trunk(model, data.features)
    first = splits[0]
    if len(first.images) < count:
        raise BadInput(f"split {first.split} has {len(first.images)} images, too few for {count} folds; label more")
    fold = folds_of([first.truth(image).labels for image in first.images], count, seed)
    found: list[Found] = []
    for number in range(count):
        inside, outside = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        options.progress.say(
            f"fold {number + 1} of {count}: training on {len(outside)} images, detecting in the other {len(inside)}"
        )
        found += _found_anew(models, splits, inside, outside, settings, options)
    return _held_out(found, first, models[0].svm.classes)


def in_part(
    models: Sequence[Model],
    splits: Sequence[SplitData],
    share: float,
    settings: DetectSettings,
    seed: int,
    options: RunOptions,
) -> HeldOut:
    """What models trained like ``models`` without a ``share`` of the images of ``splits`` find in these.

    Raises:
        BadInput: too few images.
        StaleArtefact: features or fc layers other than those of the training.
    """
    first = splits[0]
    inside, outside = divided([first.truth(image).labels for image in first.images], share, seed, first.split)
    options.progress.say(f"training on {len(outside)} images, detecting in the other {len(inside)}")
    found = list(_found_anew(models, splits, inside, outside, settings, options))
    return _held_out(found, _some(first, inside), models[0].svm.classes)


def _found_anew(
    models: Sequence[Model],
    splits: Sequence[SplitData],
    inside: IntArray,
    outside: IntArray,
    settings: DetectSettings,
    options: RunOptions,
) -> Iterator[Found]:
    """What models trained like ``models`` on the images ``outside`` find in those ``inside``."""
    trained = [_trained_like(pair, _some(data, outside), options) for pair, data in zip(models, splits, strict=True)]
    held = [_some(data, inside) for data in splits]
    return _relabelled(_found(trained, held, settings, options), trained[0].svm.classes, models[0].svm.classes)


def folds_of(labels: Sequence[Sequence[str]], count: int, seed: int) -> IntArray:
    """The fold (N,) of each image, of ``count`` about as large, from the class names of its objects.

    Images with a rare class are dealt out first, so that each class lies in as many folds as it has images for.
    """
    fold = np.empty(len(labels), dtype=np.int64)
    fold[_rare_first(labels, seed)] = np.arange(len(labels)) % count
    return fold


def divided(labels: Sequence[Sequence[str]], share: float, seed: int, split: str) -> tuple[IntArray, IntArray]:
    """Rows of the images to hold out, a ``share`` of them, and of the others, from the class names of their objects.

    Of the images with a rare class about the same share is held out, and one stays that can be learnt from.

    Raises:
        BadInput: too few images.
    """
    turn = np.arange(len(labels))
    taken = np.floor((turn + 1) * share) > np.floor(turn * share)
    if not taken.any() or taken.all():
        raise BadInput(
            f"split {split} has {len(labels)} images, too few to hold {share:g} of them out; label more, or give "
            "another share"
        )
    order = np.array(_rare_first(labels, seed), dtype=np.int64)
    return np.sort(order[taken]), np.sort(order[~taken])


def _rare_first(labels: Sequence[Sequence[str]], seed: int) -> list[int]:
    """The images in the order of their rarest classes; among those of the same one it is drawn."""
    images = np.random.default_rng(seed).permutation(len(labels)).tolist()
    shows = [set(names) for names in labels]
    often = {name: sum(name in here for here in shows) for name in set().union(*shows)}
    rank = {name: number for number, name in enumerate(sorted(often, key=lambda name: (often[name], name)))}
    return sorted(images, key=lambda i: min((rank[name] for name in shows[i]), default=len(rank)))


def _some(data: SplitData, rows: IntArray) -> SplitData:
    return replace(data, images=tuple(data.images[row] for row in rows))


def _found(
    models: Sequence[Model], splits: Sequence[SplitData], settings: DetectSettings, options: RunOptions
) -> list[Found]:
    score = union_scorer(models, splits, settings, options)
    return gather(over_features(splits, score), len(splits[0].images), options.progress)


def _held_out(found: Sequence[Found], data: SplitData, classes: tuple[str, ...]) -> HeldOut:
    ordered = sorted(found, key=lambda item: item.id)
    truth = {item.id: data.dataset.annotations(item.id) for item in ordered}
    return HeldOut(Detections.of_images(ordered, classes), truth)


def _relabelled(found: Sequence[Found], own: tuple[str, ...], classes: tuple[str, ...]) -> Iterator[Found]:
    """Labels of ``classes`` in place of ``own``, those of them that a fold has objects of."""
    to = np.array([classes.index(name) for name in own], dtype=np.int64)
    for item in found:
        yield replace(item, detections=replace(item.detections, labels=to[item.detections.labels]))


def _trained_like(pair: Model, data: SplitData, options: RunOptions) -> Model:
    """SVMs and box regression with the options of ``pair``'s, on the images of ``data``."""
    svm = _svm_like(pair.svm, data, options)
    return Model(svm, _boxes_like(pair.bbox, data, options) if pair.bbox else None)


def _svm_like(model: SvmModel, data: SplitData, options: RunOptions) -> SvmModel:
    config = TrainSvmConfig(**_options_of(model.header.config, TrainSvmConfig))
    training = _plan(model, data, config.windows, options)
    shown = data.shown()
    wanted = tuple(name for name in config.classes if name in shown)
    classes = trained_classes(data, wanted, options.progress)
    seen = data.with_mirrors() if config.flip else data
    normaliser, miners = SvmTrainer(seen, training.reader, config, classes, options.progress).train()
    fitted = [miner.model for miner in miners if miner.model]
    return SvmModel(
        model.path,
        replace(model.header, source=training.source),
        training.record(normaliser.factor),
        classes,
        np.stack([one.weights for one in fitted]),
        np.array([one.bias for one in fitted], dtype=np.float32),
    )


def _boxes_like(model: BoxModel, data: SplitData, options: RunOptions) -> BoxModel:
    config = TrainBboxConfig(**_options_of(model.header.config, TrainBboxConfig))
    training = _plan(model, data, config.windows, options)
    seen = data.with_mirrors() if config.flip else data
    classes = seen.shown()
    found = FoundExamples(seen, classes, config)
    normaliser, arrays, _ = BoxTrainer(training, seen, found, config, options.progress).train()
    header: Header = replace(model.header, source=training.source)
    return BoxModel(model.path, header, training.record(normaliser.factor), classes, **arrays)


def _plan(model: SvmModel | BoxModel, data: SplitData, windows: WindowSettings, options: RunOptions) -> Training:
    training = plan_training(data, windows, {}, model.header.source["head_weights"], options.device)
    if training.head_digest != model.record.head_digest:
        raise StaleArtefact(
            f"{model.path} was trained on other fc layers than are there now; train it again, or bring them back"
        )
    return training


def _options_of(config: Mapping[str, Any], kind: type[TrainSvmConfig] | type[TrainBboxConfig]) -> dict[str, Any]:
    """The options of a training as its model records them."""
    found = {item.name: config[item.name] for item in fields(kind) if item.name in config}
    windows = dict(found["windows"])
    for name in ("pyramid", "svd"):
        if windows.get(name) is not None:
            windows[name] = tuple(windows[name])
    found["windows"] = WindowSettings(**windows)
    if "classes" in found:
        found["classes"] = tuple(found["classes"])
    return found
