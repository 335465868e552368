"""What is found, false and confused at every score from which on detections may be kept.

A threshold that falls only adds detections: who finds an object is decided from the highest score down (`verdicts`), so
one judgement serves all thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.evaluation.errors import Errors
from sppcli.evaluation.verdicts import Verdicts
from sppcli.structures import IntArray

Float64 = npt.NDArray[np.float64]

_MOST_STEPS = 100
_CLOSE_TO_ONE = (0.995, 0.998, 0.999)


@dataclass(frozen=True)
class Tally:
    """Counts at each of S ``thresholds`` (S,) float64, ascending; a detection is kept if it scores that or more.

    ``hits``, ``false`` (K, S) int64 true and false positives of each class; ``npos`` (K,) int64 objects to be found.
    """

    thresholds: Float64
    hits: IntArray
    false: IntArray
    npos: IntArray

    def precision(self) -> Float64:
        """(K, S); NaN where nothing is kept."""
        return _share(self.hits, self.hits + self.false)

    def recall(self) -> Float64:
        """(K, S); NaN for a class without objects."""
        return _share(self.hits, self.npos[:, None])

    def f1(self) -> Float64:
        """(K, S) harmonic mean of precision and recall; NaN for a class without objects."""
        return _f1(self.hits, self.false, self.npos[:, None])

    def overall(self) -> Tally:
        """All classes as one."""
        return Tally(
            self.thresholds, self.hits.sum(axis=0)[None], self.false.sum(axis=0)[None], self.npos.sum(keepdims=True)
        )

    def best(self) -> int:
        """The step at which F1 over all classes is highest, the highest threshold of several."""
        f1 = np.nan_to_num(self.overall().f1()[0])
        return int(len(f1) - 1 - f1[::-1].argmax())


def grid(scores: npt.NDArray[np.floating], *also: float) -> Float64:
    """Thresholds to step through, at most a hundred or so round numbers from below the lowest score to the highest.

    Scores from 0 to 1 give hundredths, and finer steps just below 1, where the scores of networks crowd.
    ``also``: thresholds that are to be among them.
    """
    low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0)
    if low >= 0 and high <= 1:
        return np.unique([*(np.arange(101) / 100), *_CLOSE_TO_ONE, *also])
    wanted = max(high - low, 1e-6) / _MOST_STEPS
    power = 10.0 ** np.floor(np.log10(wanted))
    step = next(float(power * factor) for factor in (1, 2, 5, 10) if power * factor >= wanted * (1 - 1e-9))
    first, last = int(np.floor(low / step + 1e-9)), int(np.floor(high / step + 1e-9))
    digits = max(0, -int(np.floor(np.log10(step))))
    return np.unique(np.append(np.round(np.arange(first, max(last, first + 1) + 1) * step, digits + 1), also))


def steps_of(thresholds: Float64, scores: npt.NDArray[np.floating]) -> IntArray:
    """For each score (N,) the last step at which it is kept; -1 where it is at none."""
    return np.searchsorted(thresholds, np.asarray(scores, dtype=np.float64), side="right") - 1


def tally(verdicts: Verdicts, thresholds: Float64) -> Tally:
    """Count true and false positives at each of ``thresholds`` (S,), which ascend."""
    step = steps_of(thresholds, verdicts.scores)
    shape = len(verdicts.classes), len(thresholds)

    def kept(mask: npt.NDArray[np.bool_]) -> IntArray:
        table = np.zeros(shape, dtype=np.int64)
        chosen = mask & (step >= 0)
        np.add.at(table, (verdicts.label[chosen], step[chosen]), 1)
        return np.cumsum(table[:, ::-1], axis=1)[:, ::-1]

    return Tally(thresholds, kept(verdicts.tp), kept(verdicts.fp), verdicts.npos())


def confusion_changes(errors: Errors, thresholds: Float64) -> IntArray:
    """How the confusion matrix changes from step to step: (K + 1, K + 1, S) int64; see `confusion`.

    The matrix at a step is the sum of this step and all above. Rows are the classes of objects, the last row is no
    object; columns are the classes of detections. The last column (not found) is left 0.
    """
    verdicts = errors.verdicts
    objects, nothing = verdicts.objects, len(verdicts.classes)
    change = np.zeros((nothing + 1, nothing + 1, len(thresholds) + 1), dtype=np.int64)
    # What is kept at no threshold falls into one more step, which is cut off.
    step = steps_of(thresholds, verdicts.scores)
    found_at = steps_of(thresholds, verdicts.found_at())
    hit, false = np.flatnonzero(verdicts.tp), np.flatnonzero(verdicts.fp)
    np.add.at(change, (verdicts.label[hit], verdicts.label[hit], step[hit]), 1)
    np.add.at(change, (np.full_like(false, nothing), verdicts.label[false], step[false]), 1)
    # Until an object is found, the best detection of another class on it is what it is taken for.
    about = false[(errors.other_iou[false] >= verdicts.iou)]
    about = about[objects.counted[errors.other[about]]]
    _, first = np.unique(errors.other[about], return_index=True)
    taken = about[first]
    taken = taken[step[taken] > found_at[errors.other[taken]]]
    target = errors.other[taken]
    for sign, when in ((1, step[taken]), (-1, found_at[target])):
        np.add.at(change, (objects.label[target], verdicts.label[taken], when), sign)
        np.add.at(change, (np.full_like(taken, nothing), verdicts.label[taken], when), -sign)
    return change[:, :, :-1]


def confusion(changes: IntArray, npos: IntArray, step: int) -> IntArray:
    """The confusion matrix (K + 1, K + 1) at a step: objects of the class of a row as which class they were detected.

    The diagonal holds the objects found; beside it an object that is not found counts for the best detection of another
    class with enough overlap, if there is one, else in the last column. The last row holds the other false positives.
    """
    matrix: IntArray = changes[:, :, step:].sum(axis=2)
    matrix[:-1, -1] = npos - matrix[:-1, :-1].sum(axis=1)
    return matrix


def _share(part: IntArray, whole: IntArray) -> Float64:
    out = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=out, where=np.broadcast_to(whole > 0, out.shape))
    return out


def _f1(hits: IntArray, false: IntArray, npos: IntArray) -> Float64:
    return np.where(npos > 0, _share(2 * hits, hits + false + npos), np.nan)
