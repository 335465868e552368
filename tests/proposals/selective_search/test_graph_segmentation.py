"""Segmentations, label for label those of OpenCV's createGraphSegmentation."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.proposals.selective_search.graph_segmentation import SIGMA, segment
from sppcli.structures import ByteImage
from tests.proposals.selective_search.images import draw, photographs, small_images


def reference(image: ByteImage, k: float, min_size: int) -> npt.NDArray[np.int32]:
    segmentation = cv2.ximgproc.segmentation.createGraphSegmentation(SIGMA, k, min_size)
    return np.asarray(segmentation.processImage(image))


@given(
    small_images, st.lists(st.sampled_from([1, 20, 150, 300.5, 450]), min_size=1, max_size=3), st.sampled_from([5, 100])
)
@settings(max_examples=80, deadline=None)
def test_labels_equal_those_of_opencv(image: ByteImage, ks: list[float], min_size: int) -> None:
    for version in (image, image[:, :, 0].copy()):
        for k, found in zip(ks, segment(version, ks, min_size=min_size), strict=True):
            expected = reference(version, k, min_size)
            np.testing.assert_array_equal(found.labels, expected)
            assert found.number == expected.max() + 1


@pytest.mark.parametrize("index", [0, 1])
def test_photographs(index: int) -> None:
    image = cv2.cvtColor(photographs()[index], cv2.COLOR_RGB2HSV)
    for k, found in zip((150, 300, 450), segment(image, (150, 300, 450)), strict=True):
        np.testing.assert_array_equal(found.labels, reference(image, k, 100))


@pytest.mark.parametrize("seed", range(6))
def test_ties_are_resolved_as_the_unstable_sort_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of few colours: small regions with two equally light ways out."""
    from sppcli.proposals.selective_search import graph_segmentation

    asked = []
    original = graph_segmentation.ListedEdges.of_weight

    def of_weight(self: graph_segmentation.ListedEdges, weight: np.float32) -> npt.NDArray[np.int32]:
        asked.append(weight)
        return original(self, weight)

    monkeypatch.setattr(graph_segmentation.ListedEdges, "of_weight", of_weight)
    image = draw("blocks", 120, 160, seed)
    for k, found in zip((1, 50), segment(image, (1, 50)), strict=True):
        np.testing.assert_array_equal(found.labels, reference(image, k, 100))
    assert asked  # otherwise this tests nothing


def test_regions_are_numbered_as_they_appear_and_none_is_small() -> None:
    found = segment(photographs()[0], (100,))[0]
    first = [int(np.argmax(found.labels.reshape(-1) == i)) for i in range(found.number)]
    assert first == sorted(first)
    assert np.bincount(found.labels.reshape(-1)).min() >= 100
