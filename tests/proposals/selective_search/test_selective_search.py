"""The set of boxes equals OpenCV's, and both engines give the same windows."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.demo.scenes import compose
from sppcli.images import read_image
from sppcli.proposals.selective_search import grouping
from sppcli.proposals.selective_search import search as selective_search_module
from sppcli.proposals.selective_search.opencv_search import opencv_regions
from sppcli.proposals.selective_search.search import MODES, selective_search, spp_regions
from sppcli.structures import ByteImage
from tests.proposals.selective_search.images import BCCD, KINDS, SIZES, draw, photographs, small_images


def check(image: ByteImage, mode: str) -> int:
    """Compare the sets of boxes in a BGR image; their number."""
    found = set(map(tuple, spp_regions(image, mode).tolist()))
    assert found == set(map(tuple, opencv_regions(image, mode).tolist()))
    return len(found)


@given(small_images, st.sampled_from(list(MODES)))
@settings(max_examples=60, deadline=None)
def test_sets_equal_on_small_images(image: ByteImage, mode: str) -> None:
    check(image, mode)


@pytest.mark.parametrize("kind", KINDS)
def test_sets_equal_on_every_kind_and_size(kind: str) -> None:
    for (height, width), mode in itertools.product(SIZES, MODES):
        assert check(draw(kind, height, width, 5), mode) >= 1


@pytest.mark.parametrize("mode", list(MODES))
def test_sets_equal_on_photographs(mode: str) -> None:
    assert sum(check(image, mode) for image in photographs()) > 200


def test_sets_equal_on_photographs_with_few_colours() -> None:
    """Ties, in segmentation and in grouping."""
    for image, levels in zip(photographs(), (32, 64), strict=True):
        assert check(image // levels * levels, "fast") > 200


def test_sets_equal_on_blood_cells() -> None:
    images = sorted(BCCD.rglob("*.jpg"))
    if not images:
        pytest.skip("no shared/data/BCCD beside the checkout")
    for path in images[1 :: len(images) // 2]:
        assert check(np.ascontiguousarray(read_image(path)[:, :, ::-1]), "fast") > 500


def test_sets_equal_on_composed_scenes(tmp_path: object) -> None:
    folder = tmp_path / "scenes"  # type: ignore[operator]
    compose(folder, 8, 3)
    images = sorted(folder.rglob("*.jpg"))[:2]
    assert len(images) == 2
    for path in images:
        assert check(np.ascontiguousarray(read_image(path)[:, :, ::-1]), "fast") > 200


@pytest.mark.parametrize("tied", [False, True])
def test_the_heap_and_the_list_merge_alike_where_nothing_ties(tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the list, ties end a grouping early; where there are none it is never asked for."""
    regions, pixels = _regions(tied)
    strategy = grouping.FILL_ALONE if tied else grouping.ALL_FOUR
    number = len(regions.sizes)
    results = []
    for merge in (grouping._with_heap, grouping._with_list):
        sizes, boxes, colour, texture = (
            np.zeros((2 * number, *initial.shape[1:]), initial.dtype)
            for initial in (regions.sizes, regions.boxes, regions.colour, regions.texture)
        )
        sizes[:number], boxes[:number] = regions.sizes, regions.boxes
        colour[:number], texture[:number] = regions.colour, regions.texture
        numbers = strategy.numbers()
        first = [
            grouping._compare(i, regions.others[a:b], sizes, boxes, colour, texture, numbers, pixels)
            for i, (a, b) in enumerate(itertools.pairwise(regions.starts))
        ]
        end = merge(
            number,
            regions.starts,
            regions.others,
            np.concatenate(first),
            sizes,
            boxes,
            colour,
            texture,
            numbers,
            pixels,
        )
        results.append((end, boxes[:end].tolist()))
    if tied:
        assert results[0][0] == -1
        assert results[1][0] == 2 * number - 1
    else:
        assert results[0] == results[1]
        assert results[0][0] == 2 * number - 1


def _regions(tied: bool) -> tuple[grouping.Regions, int]:
    from sppcli.proposals.selective_search.graph_segmentation import Segmentation, segment
    from sppcli.proposals.selective_search.pixel_codes import pixel_codes
    from sppcli.proposals.selective_search.region_features import measure

    if tied:
        labels = np.kron(np.arange(12, dtype=np.int32).reshape(3, 4), np.ones((10, 10), np.int32))
        image = draw("noise", 30, 40, 1)
        return measure([Segmentation(labels, 12)], pixel_codes(image))[0], labels.size
    image = photographs()[0]
    return measure(segment(image, (60,)), pixel_codes(image))[0], image.shape[0] * image.shape[1]


@pytest.mark.parametrize("max_proposals", [50, 100_000])
def test_both_engines_give_the_same_windows_in_the_same_order(max_proposals: int) -> None:
    image = cv2.resize(photographs()[1], (200, 133))
    options = {"mode": "fast", "max_proposals": max_proposals, "max_side": 160, "seed": (0, 99)}
    ours, reference = (selective_search(image, **options, engine=name) for name in ("spp", "opencv"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(ours[0], reference[0])
    np.testing.assert_array_equal(ours[1], reference[1])
    assert len(ours[0]) == 50 if max_proposals == 50 else len(ours[0]) > 50


@given(st.integers(0, 300), st.sampled_from([4, 700, 40_000]), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_distinct_boxes_come_in_a_fixed_order(count: int, largest: int, seed: int) -> None:
    """The order that windows were drawn from before there was an engine of our own: `np.unique` of whole rows."""
    rects = np.random.default_rng(seed).integers(0, largest, (count, 4)).astype(np.int32)
    found = selective_search_module._distinct(rects)
    np.testing.assert_array_equal(found, np.unique(rects.astype(np.int64), axis=0))
    assert found.dtype == np.int64


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match="'slow'"):
        selective_search(draw("noise", 8, 8, 0), mode="slow", max_proposals=10, max_side=100, seed=(0,))
