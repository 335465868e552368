"""Similarities of regions, bit for bit those of OpenCV's strategy objects; regions against slow versions."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sppcli.proposals.selective_search.graph_segmentation import Segmentation, segment
from sppcli.proposals.selective_search.pixel_codes import pixel_codes
from sppcli.proposals.selective_search.region_features import (
    Regions,
    fill_similarity,
    measure,
    overlaps,
    size_similarity,
)
from sppcli.structures import ByteImage, FloatArray
from tests.proposals.selective_search.images import photographs, small_images


def similarities(regions: Regions, pixels: int) -> dict[tuple[int, int], tuple[np.float32, ...]]:
    """Colour, texture, fill and size of every pair of neighbours."""
    found = {}
    for i in range(len(regions.sizes)):
        others = regions.others[regions.starts[i] : regions.starts[i + 1]]
        colour, texture = np.empty((2, len(others)), np.float32)
        overlaps(regions.colour, i, others, colour)
        overlaps(regions.texture, i, others, texture)
        for m, j in enumerate(others.tolist()):
            fill = fill_similarity(regions.sizes[i], regions.boxes[i], regions.sizes[j], regions.boxes[j], pixels)
            found[i, j] = (colour[m], texture[m], fill, size_similarity(regions.sizes[i], regions.sizes[j], pixels))
    return found


def reference(
    image: ByteImage, one: Segmentation, pairs: list[tuple[int, int]]
) -> dict[tuple[int, int], tuple[float, ...]]:
    kinds = cv2.ximgproc.segmentation
    sizes = np.bincount(one.labels.reshape(-1), minlength=one.number).astype(np.int32).reshape(-1, 1)
    strategies = [
        kinds.createSelectiveSearchSegmentationStrategyColor(),
        kinds.createSelectiveSearchSegmentationStrategyTexture(),
        kinds.createSelectiveSearchSegmentationStrategyFill(),
        kinds.createSelectiveSearchSegmentationStrategySize(),
    ]
    for strategy in strategies:
        strategy.setImage(image, one.labels, sizes, -1)
    return {(i, j): tuple(strategy.get(i, j) for strategy in strategies) for i, j in pairs}


def check(image: ByteImage, ks: tuple[float, ...]) -> int:
    segmentations = segment(image, ks, min_size=20)
    pairs = 0
    for one, regions in zip(segmentations, measure(segmentations, pixel_codes(image)), strict=True):
        found = similarities(regions, one.labels.size)
        pairs += len(found)
        assert {pair: tuple(map(float, values)) for pair, values in found.items()} == reference(image, one, list(found))
    return pairs


@given(small_images, st.booleans())
@settings(max_examples=50, deadline=None)
def test_similarities_equal_those_of_opencv(image: ByteImage, grey: bool) -> None:
    assume(min(image.shape[:2]) > 1)  # the strategy objects refuse thinner ones; test_selective_search has them
    check(image[:, :, :1].copy() if grey else image, (1, 30, 200))


def test_photographs() -> None:
    for image in photographs():
        assert check(cv2.cvtColor(image, cv2.COLOR_RGB2Lab), (50, 150, 300)) > 100


@given(small_images)
@settings(max_examples=30, deadline=None)
def test_sizes_boxes_and_neighbours_equal_a_slow_version(image: ByteImage) -> None:
    segmentations = segment(image, (1, 100), min_size=10)
    for one, regions in zip(segmentations, measure(segmentations, pixel_codes(image)), strict=True):
        labels = one.labels
        for i in range(one.number):
            rows, columns = np.nonzero(labels == i)
            assert regions.sizes[i] == len(rows)
            assert regions.boxes[i].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        met = set()
        for y in range(1, labels.shape[0]):
            for x in range(1, labels.shape[1]):
                for other in (labels[y, x - 1], labels[y - 1, x], labels[y - 1, x - 1]):
                    if other != labels[y, x]:
                        met.add((int(min(other, labels[y, x])), int(max(other, labels[y, x]))))
        starts = np.repeat(np.arange(one.number), np.diff(regions.starts))
        assert list(zip(starts.tolist(), regions.others.tolist(), strict=True)) == sorted(met)


def test_segmentations_measured_together_or_alone_are_the_same() -> None:
    image = photographs()[1]
    codes = pixel_codes(image)
    segmentations = segment(image, (20, 50, 90, 150, 300))
    for one, together in zip(segmentations, measure(segmentations, codes), strict=True):
        alone = measure([one], codes)[0]
        for name in ("sizes", "boxes", "starts", "others", "colour", "texture"):
            np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))


def test_more_pieces_than_the_table_holds() -> None:
    """Pieces that the overlay forgets are started anew; sums do not change."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (200, 220, 3), dtype=np.uint8)
    labels = [rng.integers(0, 300, (200, 220), dtype=np.int32) for _ in range(2)]
    both = [Segmentation(one, 300) for one in labels]
    codes = pixel_codes(image)
    for one, together in zip(both, measure(both, codes), strict=True):
        alone = measure([one], codes)[0]
        np.testing.assert_array_equal(together.sizes, np.bincount(one.labels.reshape(-1), minlength=300))
        np.testing.assert_array_equal(together.texture, alone.texture)
        np.testing.assert_array_equal(together.others, alone.others)


@given(st.integers(0, 20), st.integers(1, 90), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_an_overlap_is_a_running_float32_sum(count: int, bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    histograms: FloatArray = rng.random((30, bins), dtype=np.float32)
    others = rng.integers(1, 30, count).astype(np.int32)
    found = np.empty(count, np.float32)
    overlaps(histograms, 0, others, found)
    for value, other in zip(found, others, strict=True):
        total = np.float32(0)
        for a, b in zip(histograms[0], histograms[other], strict=True):
            total += min(a, b)
        assert value == total
