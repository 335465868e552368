"""Hard-negative mining for one class: which windows are kept as negatives, when to train, what is dropped again.

The bookkeeping is the release's (release facts, SVM stage); numbers are options. Per image: candidates that score
above -1 join the cache; after ``retrain_after`` new ones the class is trained again, and cached negatives that now
score below -1.2 are dropped (they may come back).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.learn.svm import LinearModel, SvmSettings, fit_svm
from sppcli.paper import SVM
from sppcli.structures import FloatArray

Int64 = npt.NDArray[np.int64]
Half = npt.NDArray[np.float16]


@dataclass(frozen=True)
class MiningSettings:
    """``capacity``: negatives held at most; the best-scoring ones stay. ``per_image``: new ones an image at most."""

    hard_score: float = SVM.hard_score
    evict_score: float = SVM.evict_score
    retrain_after: int = 4000
    capacity: int = 8000
    per_image: int = 100


class ClassMiner:
    """Samples and model of one class. Features are held as float16: (n, D), two bytes a number.

    ``model`` is None until `train` has run.
    """

    def __init__(self, name: str, positives: FloatArray, svm: SvmSettings, mining: MiningSettings) -> None:
        self.name = name
        self.positives: Half = positives.astype(np.float16)
        self.svm = svm
        self.mining = mining
        self.model: LinearModel | None = None
        self.trainings = 0
        self.dropped = 0
        self._negatives: list[Half] = []
        self._keys: set[tuple[int, int]] = set()
        self._key_list: list[tuple[int, int]] = []
        self._new = 0

    @property
    def negatives(self) -> int:
        return len(self._key_list)

    def add(self, image: int, windows: Sequence[int] | Int64, features: FloatArray) -> int:
        """Take windows of an image, with their ``features`` (n, D), as negatives; returns how many were new."""
        keys = [(image, int(window)) for window in windows]
        fresh = [i for i, key in enumerate(keys) if key not in self._keys]
        if fresh:
            self._negatives.append(features[fresh].astype(np.float16))
            self._key_list.extend(keys[i] for i in fresh)
            self._keys.update(keys[i] for i in fresh)
            self._new += len(fresh)
        return len(fresh)

    def hard(self, image: int, windows: Int64, scores: FloatArray) -> Int64:
        """Positions in ``windows`` of those to add: above the hard score, not held yet, best first."""
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] > self.mining.hard_score]
        fresh = [i for i in order.tolist() if (image, int(windows[i])) not in self._keys]
        return np.array(fresh, dtype=np.int64)

    def due(self) -> bool:
        return self._new >= self.mining.retrain_after

    def train(self) -> None:
        """Fit on what is held, then drop what has become easy, and what is above the capacity."""
        negatives = self._stacked()
        samples = np.concatenate([self.positives, negatives])
        positive = np.arange(len(samples)) < len(self.positives)
        self.model = fit_svm(samples, positive, self.svm)
        self.trainings += 1
        self._new = 0
        scores = scores_of(negatives, self.model)
        keep = scores >= self.mining.evict_score
        if keep.sum() > self.mining.capacity:
            limit = np.sort(scores)[-self.mining.capacity]
            keep &= scores >= limit
        self.dropped += int((~keep).sum())
        self._negatives = [negatives[keep]]
        self._key_list = [key for key, stays in zip(self._key_list, keep.tolist(), strict=True) if stays]
        self._keys = set(self._key_list)

    def _stacked(self) -> Half:
        if len(self._negatives) != 1:
            self._negatives = [np.concatenate([np.zeros((0, self.positives.shape[1]), np.float16), *self._negatives])]
        return self._negatives[0]


def scores_of(features: npt.NDArray[np.floating], model: LinearModel) -> FloatArray:
    """Scores (N,) float32 of ``features`` (N, D), a block of rows at a time."""
    parts = [
        features[i : i + 2048].astype(np.float32, copy=False) @ model.weights for i in range(0, len(features), 2048)
    ]
    return np.asarray(np.concatenate([np.zeros(0, np.float32), *parts]) + np.float32(model.bias), dtype=np.float32)
