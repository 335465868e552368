"""How well images were classified: VOC's AP of one class, and accuracy over classes.

Source of AP: Everingham et al., the VOC2007 development kit, VOCevalcls.m: images by falling score, those that show
only difficult objects of the class neither hits nor misses; then the same curve as in detection.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sppcli.evaluation.voc_ap import ap_11point
from sppcli.structures import IntArray


def class_ap(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int8]) -> float | None:
    """11-point AP of one class: ``scores`` (N,), higher is surer, ``labels`` (N,) 1, 0 or -1; None without a 1.

    Equal scores count in the order of the rows.
    """
    npos = int(np.count_nonzero(labels > 0))
    if npos == 0:
        return None
    ordered = labels[np.argsort(-scores, kind="stable")]
    return ap_11point(ordered > 0, ordered < 0, npos)


def class_accuracies(predicted: IntArray, truth: IntArray, classes: int) -> list[float | None]:
    """Share of the images of each class that were given it, None without images; arguments (N,) int64."""
    hits = np.bincount(truth[predicted == truth], minlength=classes)
    counts = np.bincount(truth, minlength=classes)
    return [int(hit) / int(count) if count else None for hit, count in zip(hits, counts, strict=True)]


def accuracy(predicted: IntArray, truth: IntArray) -> float:
    """Share of all images that were given their class (top-1)."""
    return float(np.mean(predicted == truth))


def mean_known(values: list[float | None]) -> float | None:
    """Mean of the values that are there; None if none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
