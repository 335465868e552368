"""The paper's settings, each with its place in He et al., "Spatial Pyramid Pooling in Deep Convolutional Networks for
Visual Recognition" (arXiv 1406.4729). Where our default is another one, the reason stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Proposing:
    """Section 4.1: about 2,000 windows an image from Selective Search in "fast" mode."""

    mode: str = "fast"
    max_proposals: int = 2000
    # Not in the paper. VOC images are at most 500 pixels a side; R-CNN searched all images at a width of 500.
    max_side: int = 640


@dataclass(frozen=True)
class Extracting:
    """Section 4.1: the image's shorter side at each of five scales (the release's script has 874 for 864)."""

    scales: tuple[int, ...] = (480, 576, 688, 864, 1200)


@dataclass(frozen=True)
class Pooling:
    """Sections 2.2 and 4.1: a four-level pyramid of 50 bins; windows read where they are nearest to 224 x 224."""

    pyramid: tuple[int, ...] = (6, 3, 2, 1)
    canonical: int = 224


@dataclass(frozen=True)
class SvmTraining:
    """Section 4.1, after R-CNN: ground truth against windows that overlap it little, hard negatives mined once."""

    # A window is a negative of a class when its IoU with every object of it is below this (strictly).
    negative_iou: float = 0.3
    # Of negatives of one image that overlap each other by more than this (strictly), the best-scoring one is kept.
    duplicate_iou: float = 0.7
    mining_rounds: int = 1
    # R-CNN's and the release's C, for features scaled to a mean norm of `feature_norm`.
    c: float = 0.001
    feature_norm: float = 20.0
    # Weight of a positive in the loss, relative to a negative (release).
    positive_weight: float = 2.0
    # The constant feature that learns the bias (release: -B 10); regularised with the rest.
    bias_feature: float = 10.0
    # Mining takes negatives that score above this (strictly) and drops cached ones that fall below `evict_score`.
    hard_score: float = -1.0
    evict_score: float = -1.2


@dataclass(frozen=True)
class BoxTraining:
    """Section 4.1: as R-CNN, from windows that overlap an object by at least 0.5 (R-CNN: 0.6)."""

    min_iou: float = 0.5
    # R-CNN 1000, the release 4000, for features scaled to a mean norm of `SvmTraining.feature_norm`.
    ridge: float = 1000.0


@dataclass(frozen=True)
class Detecting:
    """Section 4.1: greedy suppression a class; a window goes when its IoU with a better one is strictly above `nms`."""

    nms: float = 0.3
    max_per_image: int = 100
    # The release's test drops windows that score at or below this before suppression.
    min_score: float = -1.5


PROPOSING = Proposing()
EXTRACTING = Extracting()
POOLING = Pooling()
SVM = SvmTraining()
BOX = BoxTraining()
DETECTING = Detecting()
