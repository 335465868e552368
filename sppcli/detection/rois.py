"""Which RoIs of an image a training step of a detector learns from, and with what: see `stages.train_detector`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sppcli.detection.labelling import Matches, match
from sppcli.detection.split import ImageSplit
from sppcli.features.conv_maps import prepare
from sppcli.geometry.boxes import jittered
from sppcli.geometry.regression import encode
from sppcli.images import Normalisation
from sppcli.learn.augment import colour_jittered
from sppcli.learn.detector import Example
from sppcli.nets.detector import TARGET_SCALE
from sppcli.structures import Boxes, IntArray

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RoiSampling:
    """How the RoIs of a step are drawn, and what is done to its image.

    | field | meaning |
    |---|---|
    | rois, foreground | RoIs of a step, and the greatest share of them that shows objects |
    | foreground_iou | least IoU with an object of a RoI that shows it; others are background |
    | hard_iou, hard | share ``hard`` of the background has an IoU of at least ``hard_iou`` with an object |
    | jitter | shifted and scaled copies of each object among the RoIs |
    | scale | shorter side that images are resized to, in pixels |
    | scale_jitter | in training multiplied by e to the power of at most this, either way |
    | flip, colour | mirror every other image; brightness, contrast and saturation vary by at most this share |
    """

    rois: int = 64
    foreground: float = 1 / 3
    foreground_iou: float = 0.5
    hard_iou: float = 0.1
    hard: float = 0.5
    jitter: int = 8
    scale: int = 420
    scale_jitter: float = 0.25
    flip: bool = True
    colour: float = 0.2


def draw_rois(found: Matches, weight: Float64, config: RoiSampling, rng: np.random.Generator) -> tuple[IntArray, int]:
    """Indices of the RoIs of a step among those ``found``, first those that show objects, and how many these are.

    ``weight`` (classes,): of an object of each class. Objects are drawn evenly but for it, however many RoIs show each.
    """
    shows = found.positives(config.foreground_iou)
    # Each object's weight is divided among the RoIs that show it.
    share = np.bincount(found.match[shows], minlength=1)
    odds = weight[found.label[shows]] / share[found.match[shows]]
    count = min(len(shows), round(config.rois * config.foreground))
    objects = rng.choice(shows, count, replace=False, p=odds / odds.sum()) if count else shows[:0]
    hard = found.background(config.hard_iou, config.foreground_iou)
    easy = found.background(0.0, config.hard_iou)
    room = config.rois - count
    # Either kind fills what the other leaves.
    of_hard = min(len(hard), max(round(config.hard * room), room - len(easy)))
    of_easy = min(len(easy), room - of_hard)
    rest = [rng.choice(kind, n, replace=False) for kind, n in ((hard, of_hard), (easy, of_easy))]
    return np.concatenate([objects, *rest]).astype(np.int64), count


def class_weights(split: ImageSplit, classes: tuple[str, ...]) -> Float64:
    """1 over the square root of the number of objects of each class: rare ones are drawn more often, but not evenly."""
    counts = np.zeros(len(classes))
    for image in split.images:
        truth = split.truth(image)
        for label, crowd in zip(truth.labels, truth.crowd, strict=True):
            counts[classes.index(label)] += not crowd
    return np.asarray(1 / np.sqrt(np.maximum(counts, 1)), dtype=np.float64)


class TrainingImages:
    """The example of each step: one image of ``split``, all of them in turn in another order each epoch.

    Everything random in a step is drawn from ``seed`` and the step's number.
    """

    def __init__(
        self, split: ImageSplit, classes: tuple[str, ...], config: RoiSampling, normalisation: Normalisation, seed: int
    ) -> None:
        self.split, self.classes, self.config, self.seed = split, classes, config, seed
        self.normalisation = normalisation
        self.weights = class_weights(split, classes)

    def __call__(self, step: int) -> Example:
        epoch, place = divmod(step, len(self.split.images))
        order = np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.split.images))
        rng = np.random.default_rng((self.seed, 2, step))
        image = self.split.images[int(order[place])]
        config = self.config
        if config.flip and rng.random() < 0.5:
            image = image.mirror
        pixels = self.split.pixels(image)
        height, width = pixels.shape[:2]
        truth = self.split.truth(image)
        near = jittered(truth.boxes[~truth.crowd], config.jitter, height, width, rng)
        boxes = np.concatenate([truth.boxes, near, self.split.windows(image)])
        # A box without area has no regression.
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
        found = match(boxes, truth, self.classes)
        rows, objects = draw_rois(found, self.weights, config, rng)
        labels = np.zeros(len(rows), dtype=np.int64)
        labels[:objects] = 1 + found.label[rows[:objects]]
        targets = np.zeros((len(rows), 4), dtype=np.float32)
        targets[:objects] = regression_targets(boxes[rows[:objects]], truth.boxes[found.match[rows[:objects]]])
        scale = max(16, round(config.scale * float(np.exp(rng.uniform(-config.scale_jitter, config.scale_jitter)))))
        shown = prepare([colour_jittered(pixels, rng, config.colour)], scale, self.normalisation, torch.device("cpu"))
        rois = to_input_pixels(boxes[rows], (height, width), (shown.shape[2], shown.shape[3]))
        return Example(shown, torch.from_numpy(rois), torch.from_numpy(labels), torch.from_numpy(targets))


def regression_targets(boxes: Boxes, truth: Boxes) -> Float64:
    """Scaled targets (N, 4) that take ``boxes`` to ``truth``: the network's outputs."""
    return np.asarray(encode(boxes, truth) / np.array(TARGET_SCALE), dtype=np.float64)


def to_input_pixels(boxes: Boxes, size: tuple[int, int], resized: tuple[int, int]) -> Boxes:
    """Boxes (N, 4) of an image of ``size`` (height, width) in the image resized to ``resized``."""
    y, x = resized[0] / size[0], resized[1] / size[1]
    return np.asarray(boxes * np.array([x, y, x, y]), dtype=np.float32)
