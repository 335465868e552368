"""Hard negative mining for one class: which proposals are kept as negatives, when to train, what is dropped again.

A pass over all images adds the negatives that the class's SVM scores above -1, and trains again at its end (the paper's
round). If there is no room for all, a uniform draw of them stays rather than the highest scores, among which are the
objects that nobody annotated. With ``retrain_after`` it also trains during the pass, as the release does. After each
training, negatives that score below -1.2 are dropped; they may come back.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.learn.svm import LinearModel, Problem, SvmSettings
from sppcli.paper import DEFAULT
from sppcli.structures import FloatArray, Floats

Int64 = npt.NDArray[np.int64]
Half = npt.NDArray[np.float16]

# How many rows are moved, converted or scored at a time.
_BLOCK = 512


@dataclass(frozen=True, kw_only=True)
class MiningSettings:
    """``capacity``: negatives held at most, an even draw of them. ``per_image``: new ones an image at most.

    ``retrain_after``: train in the middle of a pass when so many have come; None waits for its end.
    """

    hard_score: float = DEFAULT.hard_score
    evict_score: float = DEFAULT.evict_score
    retrain_after: int | None = None
    capacity: int = 8000
    per_image: int = DEFAULT.hard_per_image

    @property
    def most(self) -> int:
        """The most negatives held at any time: a quarter above the capacity, so that not every image causes a
        selection."""
        return max(self.capacity * 5 // 4, self.capacity + 1)


class ClassMiner:
    """Samples and model of one class. Features are held as float16: (n, D), two bytes a number.

    ``model`` is None until `train` has run; ``trainings`` counts its runs, ``dropped`` the negatives let go.
    """

    def __init__(
        self, name: str, positives: npt.NDArray[np.floating], svm: SvmSettings, mining: MiningSettings
    ) -> None:
        """``positives`` (n, D): float16 is held as it is, not copied, and may be filled in until `train`."""
        self.name = name
        self.positives: Half = positives.astype(np.float16, copy=False)
        self.svm = svm
        self.mining = mining
        self.model: LinearModel | None = None
        self.trainings = 0
        self.dropped = 0
        # Rows stand in order of arrival; the system gives memory only as they are filled.
        self._held: Half = np.empty((mining.most, self.positives.shape[1]), np.float16)
        self._keys: list[tuple[Hashable, int]] = []
        self._known: set[tuple[Hashable, int]] = set()
        # A number is drawn for each negative; when there is no room for all, those with the highest stay.
        self._draws: list[float] = []
        self._floor = 0.0
        self._random = np.random.default_rng(svm.seed)
        self._new = 0

    @property
    def negatives(self) -> int:
        return len(self._keys)

    @property
    def samples(self) -> int:
        """Number of samples that `train` would train on now."""
        return len(self.positives) + min(self.negatives, self.mining.capacity)

    def hard(self, image: Hashable, windows: Int64, scores: FloatArray) -> Int64:
        """Positions in ``windows`` of the negatives to add: above the hard score, not held yet, highest score first."""
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] > self.mining.hard_score]
        fresh = [i for i in order.tolist() if (image, int(windows[i])) not in self._known]
        return np.array(fresh, dtype=np.int64)

    def add(self, image: Hashable, windows: Sequence[int] | Int64, features: Floats, rows: Int64 | None = None) -> int:
        """Add proposals of an image as negatives; returns how many were added.

        ``features`` (M, D): of each proposal, in their order, or with ``rows`` (n,) which of them are the proposals'.
        """
        keys = [(image, int(window)) for window in windows]
        draws = self._random.random(len(keys)).tolist()
        fresh = [i for i, key in enumerate(keys) if key not in self._known and draws[i] >= self._floor]
        taken = np.array(fresh, dtype=np.int64) if rows is None else rows[fresh]
        # Negatives are added in parts, so that never more than `most` are held.
        start = 0
        while start < len(fresh):
            if len(self._keys) >= self.mining.most:
                self._make_room()
            part = fresh[start : start + self.mining.most - len(self._keys)]
            count = len(self._keys)
            self._held[count : count + len(part)] = features[taken[start : start + len(part)]]
            self._keys.extend(keys[i] for i in part)
            self._known.update(keys[i] for i in part)
            self._draws.extend(draws[i] for i in part)
            start += len(part)
        self._new += len(fresh)
        return len(fresh)

    def due(self) -> bool:
        """Whether to train in the middle of a pass."""
        return self.mining.retrain_after is not None and self._new > self.mining.retrain_after

    def problem(self) -> Problem:
        """The training problem now: views of the samples held, with at most ``capacity`` negatives."""
        self._make_room()
        return Problem(self.positives, self._held[: self.negatives])

    def train(self) -> None:
        """Train in this process, and take the model."""
        self.set_model(self.problem().fit(self.svm))

    def set_model(self, model: LinearModel) -> None:
        """Take ``model``, trained on `problem`, and drop the negatives that it scores as easy."""
        self.model = model
        self.trainings += 1
        self._new = 0
        self._floor = 0.0
        self._keep(np.flatnonzero(scores_of(self._held[: self.negatives], model) >= self.mining.evict_score))

    def _make_room(self) -> None:
        draws = np.asarray(self._draws)
        if len(draws) > self.mining.capacity:
            kept = np.sort(np.argsort(-draws, kind="stable")[: self.mining.capacity])
            self._floor = float(draws[kept].min())
            self._keep(kept)

    def _keep(self, kept: Int64) -> None:
        """Keep only the negatives at these ascending positions; rows move down in place."""
        for start in range(0, len(kept), _BLOCK):
            block = kept[start : start + _BLOCK]
            self._held[start : start + len(block)] = self._held[block]
        self.dropped += len(self._keys) - len(kept)
        self._keys = [self._keys[i] for i in kept.tolist()]
        self._known = set(self._keys)
        self._draws = [self._draws[i] for i in kept.tolist()]


def scores_of(features: npt.NDArray[np.floating], model: LinearModel) -> FloatArray:
    """Scores (N,) float32 of ``features`` (N, D), any float type, a block of rows at a time."""
    parts = [
        features[i : i + _BLOCK].astype(np.float32, copy=False) @ model.weights for i in range(0, len(features), _BLOCK)
    ]
    return np.asarray(np.concatenate([np.zeros(0, np.float32), *parts]) + np.float32(model.bias), dtype=np.float32)
