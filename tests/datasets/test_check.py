"""Faults of a data set, on values alone; ``tests/stages/test_check.py`` plants them in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sppcli.datasets.annotated import AnnotatedImage, LabelledBox
from sppcli.datasets.check import identical, of_image, of_splits, similar_classes, too_small
from sppcli.datasets.look import Look
from sppcli.datasets.statistics import measure

SIZE = (100, 80)


def record(*boxes: tuple[float, float, float, float], crowd: bool = False) -> AnnotatedImage:
    return AnnotatedImage("a", Path("a.jpg"), tuple(LabelledBox("cat", box, crowd=crowd) for box in boxes), SIZE)


def kinds(*boxes: tuple[float, float, float, float], least_side: float = 0.0, crowd: bool = False) -> list[str]:
    return [finding.kind for finding in of_image(record(*boxes, crowd=crowd), Look(SIZE), least_side)]


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((0, 0, 100, 80), None),
        ((-0.5, -0.5, 100.5, 80.5), None),
        ((-0.6, 0, 50, 50), "reaches-outside"),
        ((0, -0.6, 50, 50), "reaches-outside"),
        ((0, 0, 100.6, 50), "reaches-outside"),
        ((0, 0, 50, 80.6), "reaches-outside"),
        ((100, 0, 120, 50), "outside-image"),
        ((-20, 0, 0, 50), "outside-image"),
        ((0, 80, 50, 90), "outside-image"),
        ((0, -9, 50, 0), "outside-image"),
        ((5, 5, 5, 9), "no-extent"),
        ((5, 5, 9, 5), "no-extent"),
        ((9, 5, 5, 20), "swapped-corners"),
        ((5, 20, 9, 5), "swapped-corners"),
    ],
)
def test_each_side_of_a_box(box: tuple[float, float, float, float], kind: str | None) -> None:
    assert kinds(box) == ([kind] if kind else [])


def test_one_pixel_is_no_extent_where_the_reader_says_so() -> None:
    assert kinds((5, 5, 6, 20)) == []
    assert kinds((5, 5, 6, 20), least_side=1) == ["no-extent"]
    assert kinds((5, 5, 7, 20), least_side=1) == []


def test_from_which_overlap_boxes_are_nearly_the_same() -> None:
    assert kinds((0, 0, 10, 10), (0, 0, 9, 10)) == ["near-duplicate-box"]
    assert kinds((0, 0, 10, 10), (0, 0, 8.9, 10)) == []
    assert kinds((0, 0, 10, 10), (0, 0, 9, 10), crowd=True) == []
    # Three times the same: two too many.
    assert kinds((0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 10, 10)) == ["duplicate-box"] * 2


def test_the_smallest_object_that_can_be_found() -> None:
    image = record((0, 0, 10, 10), (0, 0, 10, 9.9))
    (finding,) = too_small(image, Look(SIZE), 100, 640)
    assert finding.text.startswith("object 2 (cat)")
    # The file decides, not what is stated of it: half the size leaves a quarter of the area.
    assert len(list(too_small(record((0, 0, 19, 19), (20, 20, 40, 40)), Look((1280, 80)), 100, 640))) == 1


def test_names_that_look_alike() -> None:
    counts = {"traffic light": 3, "Traffic_Light": 1, "traffic-light ": 2, "car": 5, "cart": 1, "ﬁsh": 1, "fish": 2}
    texts = [finding.text for finding in similar_classes(counts)]
    assert texts == [
        "'Traffic_Light' (1 object), 'traffic light' (3 objects), 'traffic-light ' (2 objects)",
        "'fish' (2 objects), 'ﬁsh' (1 object)",
    ]


def test_lists_may_hold_each_other_but_not_training_and_test() -> None:
    splits = {"train": ("a",), "trainval": ("a", "b"), "val": ("b",), "test": ("b", "c"), "small": ("a", "b", "c")}
    found = of_splits(splits, {name: Path(name) for name in "abc"})
    assert [(finding.image, finding.text) for finding in found] == [
        ("b", "listed in test and trainval"),
        ("b", "listed in test and val"),
    ]


def test_bins_of_the_histogram_hold_every_object() -> None:
    sides = [1, 1.5, 7, 20, 20, 23, 24, 47, 48, 300]
    images = [AnnotatedImage("a", Path("a"), tuple(LabelledBox("x", (0, 0, side, side)) for side in sides), None)]
    stats = measure(images, {}, {})
    assert sum(count for _, _, count in stats.histogram()) == len(sides)
    for least, most, count in stats.histogram():
        assert count == sum(least <= side < most for side in sides)
    few = measure([AnnotatedImage("a", Path("a"), images[0].objects[3:9], None)], {}, {})  # type: ignore[index]
    assert few.histogram() == ((16, 24, 3), (24, 32, 1), (32, 48, 1), (48, 64, 1))


def test_a_thousand_equal_images_are_grouped_in_no_time() -> None:
    looks = {f"{i:05}": Look((2, 2), "same") for i in range(20_000)}
    splits = {"train": [f"{i:05}" for i in range(10_000)], "test": [f"{i:05}" for i in range(10_000, 20_000)]}
    places = {image_id: Path(image_id) for image_id in looks}
    kinds = [finding.kind for finding in identical(looks, splits, places)]
    assert kinds == ["identical-images"] * 9_999 + ["identical-across-splits"] * 10_000


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("train", "trainval", "identical-images"),
        ("train2017", "val2017", "identical-across-splits"),
        ("valid", "test", "identical-across-splits"),
        ("trainval", "val", "identical-images"),
        ("fold1", "fold2", "identical-across-splits"),
    ],
)
def test_which_splits_must_not_meet(one: str, other: str, kind: str) -> None:
    looks = {name: Look((2, 2), "same") for name in ("a", "b")}
    (finding,) = identical(looks, {one: ["a"], other: ["b"]}, {name: Path(name) for name in looks})
    assert finding.kind == kind
