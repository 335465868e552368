"""Scores the proposals of one image by the models of one network or several, from features.h5 or for new images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sppcli.artefacts.models import BoxModel, FeatureRecord, SvmModel
from sppcli.detection.networks import window_reader
from sppcli.errors import UsageProblem
from sppcli.features.normalise import Normaliser
from sppcli.features.windows import Maps, UniqueWindows, Vectors, WindowReader
from sppcli.geometry.boxes import clip
from sppcli.geometry.regression import decode, narrowed, widened
from sppcli.paper import DEFAULT
from sppcli.structures import Boxes, FloatArray, ImageDetections, IntArray

if TYPE_CHECKING:
    import torch

    from sppcli.nets.backbones import FcHead


@dataclass(frozen=True, kw_only=True)
class DetectSettings:
    """``min_score``: proposals that score at or below it are dropped; ``nms``: IoU above which the worse box is
    dropped; ``nms_again``: whether this is done once more on the corrected boxes; ``second_pass``: whether those are
    then pooled, scored and corrected once more, and suppression goes over both passes.
    """

    nms: float = DEFAULT.nms
    nms_again: bool = DEFAULT.nms_again
    second_pass: bool = DEFAULT.second_pass
    max_per_image: int = DEFAULT.max_per_image
    min_score: float = DEFAULT.min_score


class Scorer:
    """SVMs, and box regressors if there are any, over the features they were trained on: those of one network.

    ``heads``: the fc layers each model's features need, or None; ``device``: see `networks.window_reader`.
    """

    def __init__(
        self,
        svm: SvmModel,
        bbox: BoxModel | None,
        scales: tuple[int, ...],
        heads: tuple[FcHead | None, FcHead | None] = (None, None),
        device: torch.device | None = None,
    ) -> None:
        self.svm = svm
        self.bbox = bbox
        self._svm_reader = _reader(svm.record, scales, heads[0], device)
        # Regressors that read the SVMs' features need no reader of their own, whose fc layers would lie on a GPU twice.
        shared = bbox is None or replace(bbox.record, network=svm.record.network) == svm.record
        self._bbox_reader = None if bbox is None or shared else _reader(bbox.record, scales, heads[1], device)

    def score(self, maps: Maps | Vectors, windows: Boxes) -> tuple[UniqueWindows, FloatArray]:
        """Features of the proposals and their scores (N, classes); proposals on the same cells are scored once."""
        features = self._svm_reader.unique(maps, windows)
        return features, features.spread(features.values @ self.svm.weights.T + self.svm.biases)

    def corrected(self, maps: Maps | Vectors, boxes: Boxes, features: FloatArray, label: int) -> Boxes:
        """Correct ``boxes`` (N, 4) by the regressor of class ``label`` and clip them; without one they stay as they
        are."""
        regressor = self._regressor(label)
        if regressor is None or not len(boxes):
            return boxes
        assert self.bbox is not None
        mine = self._bbox_reader.read(maps, boxes) if self._bbox_reader else features
        return self._correct(boxes, self.bbox.targets(mine, regressor), maps.size, self.bbox.box_width)

    def again(self, maps: Maps | Vectors, boxes: Boxes, label: int) -> tuple[Boxes, FloatArray]:
        """Pool corrected ``boxes`` (N, 4) of class ``label``: what the regressor makes of them, and their scores (N,).

        Raises:
            UsageProblem: R-CNN's features, which exist of the region proposals alone.
        """
        if isinstance(maps, Vectors):
            raise UsageProblem("a second pass needs conv maps, and R-CNN's features have none; give --no-second-pass")
        features = self._svm_reader.unique(maps, boxes)
        scores = features.spread(features.values @ self.svm.weights[label] + self.svm.biases[label])
        return self.corrected(maps, boxes, features.spread(features.values), label), scores

    def corrects(self, label: int) -> bool:
        """Whether there is a regressor of class ``label``."""
        return self._regressor(label) is not None

    def _regressor(self, label: int) -> int | None:
        name = self.svm.classes[label]
        if self.bbox is None or name not in self.bbox.classes:
            return None
        index = self.bbox.classes.index(name)
        return index if self.bbox.trained[index] else None

    @staticmethod
    def _correct(boxes: Boxes, targets: FloatArray, size: tuple[int, int], convention: str) -> Boxes:
        # A side that would grow a hundredfold is no sensible prediction, and its exponential might not be finite.
        limited = np.concatenate([targets[:, :2], np.clip(targets[:, 2:], -4.6, 4.6)], axis=1)
        return clip(narrowed(decode(widened(boxes, convention), limited), convention).astype(np.float32), *size)


class UnionScorer:
    """One scorer, or several over the same proposals: non-maximum suppression runs on the union of what they scored
    (paper, "Model combination for detection").

    ``scorers`` know the same classes in the same order.
    """

    def __init__(self, scorers: Sequence[Scorer], settings: DetectSettings) -> None:
        self.scorers = tuple(scorers)
        self.settings = settings

    def __call__(self, maps: Sequence[Maps | Vectors], windows: Boxes) -> ImageDetections:
        """Regions above the score, suppressed, corrected, clipped to the image, and suppressed once more.

        ``maps``: the image as each scorer's network sees it. Each region kept is corrected by the regressor of the
        scorer whose score it carries.
        """
        from sppcli.geometry.nms import nms

        scored = [scorer.score(mine, windows) for scorer, mine in zip(self.scorers, maps, strict=True)]
        found: list[tuple[Boxes, FloatArray, int]] = []
        for label in range(len(self.scorers[0].svm.classes)):
            # Row i of the union is region i % N with the score of scorer i // N.
            scores = np.concatenate([values[:, label] for _, values in scored])
            rows = np.flatnonzero(scores > self.settings.min_score)
            kept = rows[nms(windows[rows % len(windows)], scores[rows], self.settings.nms)]
            kept = kept[: self.settings.max_per_image]
            boxes, kept_scores = windows[kept % len(windows)], scores[kept]
            for k, (scorer, mine) in enumerate(zip(self.scorers, maps, strict=True)):
                own = np.flatnonzero(kept // len(windows) == k)
                boxes[own] = scorer.corrected(mine, boxes[own], scored[k][0].of(kept[own] % len(windows)), label)
            corrects = any(scorer.corrects(label) for scorer in self.scorers)
            if self.settings.nms_again and corrects:
                again = nms(boxes, kept_scores, self.settings.nms)
                boxes, kept_scores, kept = boxes[again], kept_scores[again], kept[again]
            if self.settings.second_pass and corrects:
                boxes, kept_scores = self._second_pass(maps, boxes, kept_scores, kept // len(windows), label)
            found.append((boxes, kept_scores, label))
        return ImageDetections(
            np.concatenate([np.zeros((0, 4), np.float32), *(boxes for boxes, _, _ in found)]),
            np.concatenate([np.zeros(0, np.float32), *(values for _, values, _ in found)]),
            np.concatenate([np.full(len(values), label, dtype=np.int64) for _, values, label in found]),
        )

    def _second_pass(
        self, maps: Sequence[Maps | Vectors], boxes: Boxes, scores: FloatArray, of: IntArray, label: int
    ) -> tuple[Boxes, FloatArray]:
        """``boxes`` of class ``label``, pooled and scored by scorer ``of`` each once more; the best of both passes."""
        from sppcli.geometry.nms import nms

        both = [(boxes, scores)]
        for k, (scorer, mine) in enumerate(zip(self.scorers, maps, strict=True)):
            own = boxes[of == k]
            if len(own):
                both.append(scorer.again(mine, own, label))
        boxes, scores = (np.concatenate(values) for values in zip(*both, strict=True))
        above = np.flatnonzero(scores > self.settings.min_score)
        kept = above[nms(boxes[above], scores[above], self.settings.nms)][: self.settings.max_per_image]
        return boxes[kept], scores[kept]


@dataclass(frozen=True)
class _Reader:
    windows: WindowReader
    normaliser: Normaliser

    def read(self, maps: Maps | Vectors, boxes: Boxes) -> FloatArray:
        unique = self.unique(maps, boxes)
        return unique.spread(unique.values)

    def unique(self, maps: Maps | Vectors, boxes: Boxes) -> UniqueWindows:
        unique = self.windows.unique(maps, boxes)
        self.normaliser.apply(unique.values)
        return unique


def _reader(
    record: FeatureRecord, scales: tuple[int, ...], head: FcHead | None, device: torch.device | None
) -> _Reader:
    # Without fc layers the features are needed on the CPU anyway.
    place = None if head is None else device
    return _Reader(window_reader(scales, record, head, place), Normaliser(record.normalize, record.factor))
