"""Trains and scores linear classifiers on the vectors of image-features.h5, by a protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.image_features import ImageFeatures, read_image_features
from sppcli.datasets.base import did_you_mean
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.evaluation.image_classes import accuracy, class_accuracies, class_ap, mean_known
from sppcli.features.normalise import Normaliser, fit_normaliser
from sppcli.learn.probe import FOLDS, GRID, SETTINGS, LinearProbe, Measure, choose_c, fit_probe
from sppcli.learn.svm import SampleSpace
from sppcli.runtime.counts import count_of
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import Progress
from sppcli.structures import FloatArray, IntArray

Labels = npt.NDArray[np.int8]

PROTOCOLS = ("voc2007", "split", "caltech")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """``protocol`` None: by the kind of data set. ``train``, ``test``: splits; None for the protocol's own.

    ``c``: for vectors of mean length 1; None to choose it by cross-validation on the training images. ``train_images``,
    ``test_images`` (at most) per class and ``rounds`` are options of the protocol caltech.
    """

    protocol: str | None = None
    train: str | None = None
    test: str | None = None
    c: float | None = None
    train_images: int = 30
    test_images: int = 50
    rounds: int = 10
    seed: int = 0


@dataclass(frozen=True)
class ClassResult:
    """``value``: AP or accuracy of the class, None without test images of it; caltech: the mean over the splits."""

    name: str
    train: int
    test: int
    value: float | None


@dataclass(frozen=True)
class Round:
    """One training and test. ``validation``: mean over the folds at each C that was tried."""

    c: float
    value: float
    validation: dict[float, float]


@dataclass(frozen=True)
class ProbeSummary:
    """``measure``: what ``value`` and the values of classes and rounds are.

    ``deviation``: sample standard deviation over rounds, None for one. ``train``, ``test``: images of a round.
    """

    path: Path
    protocol: str
    measure: str
    value: float
    deviation: float | None
    train: int
    test: int
    rounds: tuple[Round, ...]
    classes: tuple[ClassResult, ...]


def run(path: Path, config: ProbeConfig, *, options: RunOptions = USUAL) -> ProbeSummary:
    """Train one-vs-rest linear SVMs on the vectors of some images and score them on others.

    | protocol | training and test images | measure |
    |---|---|---|
    | voc2007 | splits trainval and test | mean of the classes' 11-point AP |
    | split | folders train and test (or val) | top-1 accuracy |
    | caltech | drawn at random, several times | mean of the classes' accuracies |

    Raises:
        MissingInput: no such file or split.
        BadInput: no labels, a protocol that does not suit them, or too few images of a class.
    """
    progress = options.progress
    file = read_image_features(path)
    protocol = config.protocol or _protocol_of(file)
    if protocol not in PROTOCOLS:
        raise UsageProblem(f"there is no protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    if not file.classes:
        raise BadInput(
            f"{path}: its images have no labels to learn from; make it with spp features from a VOC data set or from a "
            "folder with one sub-folder of images per class"
        )
    if len(file.classes) < 2 and protocol != "voc2007":
        raise BadInput(
            f"{path}: all images are of one class, {file.classes[0]}: there is nothing to tell apart; "
            "add images of others"
        )
    if protocol != "voc2007" and not ((file.labels > 0).sum(axis=1) == 1).all():
        raise BadInput(
            f"{path}: some images show several classes or none, and protocol {protocol} needs one class per image; "
            "use --protocol voc2007"
        )
    if protocol == "caltech":
        return _caltech(file, config, progress)
    return _splits(file, config, protocol, progress)


def _protocol_of(file: ImageFeatures) -> str:
    if file.kind in ("voc", "coco", "yolo", "csv", "ilsvrc"):
        return "voc2007"
    return "split" if file.splits else "caltech"


def _splits(file: ImageFeatures, config: ProbeConfig, protocol: str, progress: Progress) -> ProbeSummary:
    """Train on one split, score on another."""
    is_voc = protocol == "voc2007"
    train_name = config.train or ("trainval" if is_voc else "train")
    test_name = config.test or ("val" if "test" not in file.splits and "val" in file.splits and not is_voc else "test")
    train, test = _rows(file, train_name, protocol), _rows(file, test_name, protocol)
    shared = np.intersect1d(train, test)
    if len(shared):
        raise UsageProblem(
            f"{count_of(len(shared), 'image is', 'images are')} both in split {train_name} and in split {test_name}, "
            f"the first {file.images.ids[shared[0]]}: choose splits without any in common"
        )
    labels, shown = file.labels[train], file.labels[test]
    if not (shown > 0).any():
        raise BadInput(
            f"{file.path}: no image of split {test_name} has a label, so there is nothing to score against; "
            "choose another --test"
        )
    untrained = [name for k, name in enumerate(file.classes) if not (labels[:, k] > 0).any()]
    if untrained and (len(untrained) == len(file.classes) or not is_voc):
        raise BadInput(
            f"{file.path}: no image of split {train_name} shows {untrained[0]}, so it cannot be learnt; "
            "choose another --train"
        )
    if untrained:
        progress.warn(f"no image of split {train_name} shows {', '.join(untrained)}: left out of the mean")
    progress.start(_trainings(config), "trainings")
    measure = _mean_ap if is_voc else _top1
    scores, c, validation = _train(file, train, test, measure, config, progress)
    values: list[float | None]
    if is_voc:
        values = [
            None if name in untrained else class_ap(scores[:, k], shown[:, k]) for k, name in enumerate(file.classes)
        ]
        value = mean_known(values)
        if value is None:
            raise BadInput(
                f"{file.path}: no class is shown both in split {train_name} and in split {test_name}; choose others"
            )
    else:
        truth, predicted = shown.argmax(axis=1), scores.argmax(axis=1)
        values = class_accuracies(predicted, truth, len(file.classes))
        value = accuracy(predicted, truth)
    rows = tuple(
        ClassResult(name, int((labels[:, k] > 0).sum()), int((shown[:, k] > 0).sum()), values[k])
        for k, name in enumerate(file.classes)
    )
    return ProbeSummary(
        file.path,
        protocol,
        "mean of the classes' 11-point AP" if is_voc else "top-1 accuracy",
        value,
        None,
        len(train),
        len(test),
        (Round(c, value, validation),),
        rows,
    )


def _caltech(file: ImageFeatures, config: ProbeConfig, progress: Progress) -> ProbeSummary:
    """Score rounds with ``train_images`` per class to train and at most ``test_images`` of the others to test."""
    truth = file.labels.argmax(axis=1)
    counts = np.bincount(truth, minlength=len(file.classes))
    if counts.min() <= config.train_images:
        few = int(counts.argmin())
        raise BadInput(
            f"{file.path}: class {file.classes[few]} has {count_of(int(counts[few]), 'image')}, too few to train on "
            f"{config.train_images} and test on another; lower --train-images"
        )
    progress.start(config.rounds * _trainings(config), "trainings")
    rounds, by_class = [], []
    for number in range(config.rounds):
        train, test = draw_split(truth, config.train_images, config.test_images, (config.seed, number))
        scores, c, validation = _train(file, train, test, _per_class, config, progress)
        values = class_accuracies(scores.argmax(axis=1), truth[test], len(file.classes))
        rounds.append(Round(c, float(np.mean([value for value in values if value is not None])), validation))
        by_class.append(values)
    results = np.array([item.value for item in rounds])
    tested = np.bincount(truth[test], minlength=len(file.classes))
    rows = tuple(
        ClassResult(name, config.train_images, int(tested[k]), mean_known([values[k] for values in by_class]))
        for k, name in enumerate(file.classes)
    )
    return ProbeSummary(
        file.path,
        "caltech",
        "mean of the classes' accuracies",
        float(results.mean()),
        float(results.std(ddof=1)) if len(results) > 1 else None,
        len(train),
        len(test),
        tuple(rounds),
        rows,
    )


def draw_split(truth: IntArray, train: int, test: int, seed: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """(training rows, test rows), sorted: of each class in ``truth`` (N,) ``train`` at random; ``test`` of its others,
    or all of them where there are fewer."""
    rng = np.random.default_rng(seed)
    chosen: tuple[list[IntArray], list[IntArray]] = [], []
    for label in np.unique(truth):
        rows = rng.permutation(np.flatnonzero(truth == label))
        chosen[0].append(rows[:train])
        chosen[1].append(rows[train : train + test])
    return np.sort(np.concatenate(chosen[0])), np.sort(np.concatenate(chosen[1]))


def _trainings(config: ProbeConfig) -> int:
    return 1 if config.c else 1 + len(GRID) * FOLDS


def _train(
    file: ImageFeatures,
    train: IntArray,
    test: IntArray,
    measure: Measure,
    config: ProbeConfig,
    progress: Progress,
) -> tuple[FloatArray, float, dict[float, float]]:
    """Scores (test images, classes), the C they were made with, and how it was chosen."""
    if config.c is None and len(train) < 2 * FOLDS:
        raise BadInput(f"{file.path}: {len(train)} training images are too few for cross-validation; give --c a number")
    vectors = file.vectors[train]
    # One factor for all vectors gives C the same meaning whether or not they are of unit length.
    normaliser = fit_normaliser("none", vectors, 1.0)
    space = SampleSpace(normaliser.apply(vectors))
    labels = file.labels[train]
    validation: dict[float, float] = {}
    c = config.c
    settings = replace(SETTINGS, seed=config.seed)
    if c is None:
        c, validation = choose_c(space, labels, measure, settings, config.seed, done=progress.advance)
    probe = fit_probe(space, labels, replace(settings, c=c))
    progress.advance()
    if probe.unconverged:
        progress.warn(
            f"C {c:g}: training stopped after {settings.max_sweeps} passes for "
            f"{count_of(len(probe.unconverged), 'class', 'classes')}, "
            f"the first {file.classes[probe.unconverged[0]]}; choose a smaller --c"
        )
    return _scores(probe, file.vectors, test, normaliser), c, validation


def _scores(probe: LinearProbe, vectors: FloatArray, rows: IntArray, normaliser: Normaliser) -> FloatArray:
    """Scores (rows, classes), a few thousand rows at a time."""
    blocks = [rows[start : start + 4096] for start in range(0, len(rows), 4096)]
    return np.concatenate([probe.scores(normaliser.apply(vectors[block])) for block in blocks])


def _rows(file: ImageFeatures, split: str, protocol: str) -> IntArray:
    if split not in file.splits:
        if not file.splits:
            raise MissingInput(
                f"{file.path}: its data set has no splits, and protocol {protocol} needs two; use --protocol caltech, "
                "or make train and test folders (VOC: lists in ImageSets/Main)"
            )
        raise MissingInput(
            f"{file.path}: its data set has no split {split!r}{did_you_mean(split, file.splits)}; choose among "
            f"{', '.join(file.splits)} with --train and --test"
        )
    rows = np.flatnonzero(file.in_split[:, file.splits.index(split)])
    if not len(rows):
        raise BadInput(f"{file.path}: split {split} has no image; choose another split")
    return rows


def _mean_ap(scores: npt.NDArray[np.float64], labels: Labels) -> float:
    return mean_known([class_ap(scores[:, k], labels[:, k]) for k in range(labels.shape[1])]) or 0.0


def _top1(scores: npt.NDArray[np.float64], labels: Labels) -> float:
    return accuracy(scores.argmax(axis=1), labels.argmax(axis=1))


def _per_class(scores: npt.NDArray[np.float64], labels: Labels) -> float:
    return mean_known(class_accuracies(scores.argmax(axis=1), labels.argmax(axis=1), labels.shape[1])) or 0.0
