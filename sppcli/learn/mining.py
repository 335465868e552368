"""Hard-negative mining for one class: which windows are kept as negatives, when to train, what is dropped again.

A pass over all images takes the windows that the class's SVM wrongly scores above -1 and trains again at its end (the
paper's round). If there is no room for all, an even draw of them stays, not the worst: among the worst are the objects
that nobody annotated. With ``retrain_after`` it also trains on the way, as the
release does. After each training, negatives that score below -1.2 are dropped; they may come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.learn.svm import LinearModel, SvmSettings, fit_svm
from sppcli.paper import DEFAULT
from sppcli.structures import FloatArray

Int64 = npt.NDArray[np.int64]
Half = npt.NDArray[np.float16]


@dataclass(frozen=True)
class MiningSettings:
    """``capacity``: negatives held at most, an even draw of them. ``per_image``: new ones an image at most.

    ``retrain_after``: train in the middle of a pass when so many have come; None waits for its end.
    """

    hard_score: float = DEFAULT.hard_score
    evict_score: float = DEFAULT.evict_score
    retrain_after: int | None = None
    capacity: int = 8000
    per_image: int = 100


class ClassMiner:
    """Samples and model of one class. Features are held as float16: (n, D), two bytes a number.

    ``model`` is None until `train` has run; ``trainings`` counts its runs, ``dropped`` the negatives let go.
    """

    def __init__(self, name: str, positives: FloatArray, svm: SvmSettings, mining: MiningSettings) -> None:
        self.name = name
        self.positives: Half = positives.astype(np.float16)
        self.svm = svm
        self.mining = mining
        self.model: LinearModel | None = None
        self.trainings = 0
        self.dropped = 0
        self._features: list[Half] = []
        self._keys: list[tuple[int, int]] = []
        self._known: set[tuple[int, int]] = set()
        # A number drawn for each negative; while there is no room for all, those with the highest stay.
        self._draws: list[float] = []
        self._floor = 0.0
        self._random = np.random.default_rng(svm.seed)
        self._new = 0

    @property
    def negatives(self) -> int:
        return len(self._keys)

    def hard(self, image: int, windows: Int64, scores: FloatArray) -> Int64:
        """Positions in ``windows`` of those to add: above the hard score, not held yet, best first."""
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] > self.mining.hard_score]
        fresh = [i for i in order.tolist() if (image, int(windows[i])) not in self._known]
        return np.array(fresh, dtype=np.int64)

    def add(self, image: int, windows: Sequence[int] | Int64, features: FloatArray) -> int:
        """Take windows of an image, with ``features`` (n, D), as negatives; returns how many came in."""
        keys = [(image, int(window)) for window in windows]
        draws = self._random.random(len(keys)).tolist()
        fresh = [i for i, key in enumerate(keys) if key not in self._known and draws[i] >= self._floor]
        if fresh:
            self._features.append(features[fresh].astype(np.float16))
            self._keys.extend(keys[i] for i in fresh)
            self._known.update(keys[i] for i in fresh)
            self._draws.extend(draws[i] for i in fresh)
            self._new += len(fresh)
            # Room for a quarter more, so that not every image sorts and copies.
            if len(self._keys) > self.mining.capacity * 5 // 4:
                self._make_room()
        return len(fresh)

    def due(self) -> bool:
        """Whether to train in the middle of a pass."""
        return self.mining.retrain_after is not None and self._new > self.mining.retrain_after

    def train(self) -> None:
        """Fit on at most ``capacity`` negatives, then drop those that have become easy."""
        self._make_room()
        negatives = self._features[0]
        samples = np.concatenate([self.positives, negatives])
        positive = np.arange(len(samples)) < len(self.positives)
        self.model = fit_svm(samples, positive, self.svm)
        self.trainings += 1
        self._new = 0
        self._floor = 0.0
        self._keep(np.flatnonzero(scores_of(negatives, self.model) >= self.mining.evict_score))

    def _make_room(self) -> None:
        draws = np.asarray(self._draws)
        if len(draws) > self.mining.capacity:
            kept = np.sort(np.argsort(-draws, kind="stable")[: self.mining.capacity])
            self._floor = float(draws[kept].min())
            self._keep(kept)
        else:
            self._keep(np.arange(len(draws)))

    def _keep(self, kept: Int64) -> None:
        """Hold only the negatives at these positions."""
        features = np.concatenate([np.zeros((0, self.positives.shape[1]), np.float16), *self._features])
        self._features = [features if len(kept) == len(features) else features[kept]]
        self.dropped += len(features) - len(kept)
        self._keys = [self._keys[i] for i in kept.tolist()]
        self._known = set(self._keys)
        self._draws = [self._draws[i] for i in kept.tolist()]


def scores_of(features: npt.NDArray[np.floating], model: LinearModel) -> FloatArray:
    """Scores (N,) float32 of ``features`` (N, D), a block of rows at a time."""
    parts = [
        features[i : i + 2048].astype(np.float32, copy=False) @ model.weights for i in range(0, len(features), 2048)
    ]
    return np.asarray(np.concatenate([np.zeros(0, np.float32), *parts]) + np.float32(model.bias), dtype=np.float32)
