"""``spp check``: each fault that is planted in a data set is found, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sppcli.datasets.check import KINDS, _a_letter_apart
from tests.conftest import Run
from tests.stages.planting import (
    Planted,
    across_the_edge,
    broken_label,
    check,
    cut_off,
    gone,
    in_both_lists,
    leak,
    misspelt,
    nearly_twice,
    no_image,
    no_label,
    only_in_test,
    orphan,
    other_blanks,
    other_case,
    other_size,
    outside,
    rare,
    repeated,
    same_pixels_in_another_file,
    swapped,
    tiny,
    twice,
    two_classes,
    without_extent,
)

ALL = ("voc", "coco", "yolo")
FAULTS = [
    (outside, "outside-image", ALL),
    (across_the_edge, "reaches-outside", ALL),
    (without_extent, "no-extent", ALL),
    # COCO's reader refuses a negative width at once.
    (swapped, "swapped-corners", ("voc", "yolo")),
    (twice, "duplicate-box", ALL),
    (nearly_twice, "near-duplicate-box", ALL),
    (two_classes, "two-classes", ALL),
    (other_case, "similar-classes", ALL),
    (other_blanks, "similar-classes", ALL),
    (misspelt, "misspelt-class", ALL),
    (leak, "identical-across-splits", ALL),
    (same_pixels_in_another_file, "identical-across-splits", ALL),
    (repeated, "identical-images", ALL),
    (cut_off, "unreadable-image", ALL),
    (no_image, "unreadable-image", ALL),
    (gone, "missing-image", ALL),
    (orphan, "label-without-image", ("voc",)),
    (tiny, "too-small", ALL),
    (rare, "few-examples", ALL),
    (only_in_test, "absent-class", ALL),
    # A YOLO file states no size.
    (other_size, "size-differs", ("voc", "coco")),
    (in_both_lists, "in-two-splits", ("voc", "yolo")),
    # A COCO file is read as a whole.
    (broken_label, "unreadable-annotation", ("voc", "yolo")),
    # Elsewhere an image without annotation is one without objects.
    (no_label, "not-annotated", ("voc",)),
]


@pytest.mark.parametrize("form", ALL)
def test_nothing_is_wrong_with_a_sound_set(planted: Callable[[str], Planted], run: Run, form: str) -> None:
    at = planted(form)
    found = check(run, at.root)
    assert found["wrong"] == {}, found["findings"]
    assert (found["format"], found["images"], found["annotated"]) == (form, 44, 44)
    things = [thing for image_id in at.voc.ids for thing in at.voc.things[image_id]]
    assert found["objects"] == len(things)
    for name, count in found["classes"].items():
        assert count["objects"] == sum(thing.label == name for thing in things)
        for split, ids in at.voc.splits.items():
            expected = sum(thing.label == name for image_id in ids for thing in at.voc.things[image_id])
            assert count["splits"][split] == expected
    assert run("check", str(at.root), "--strict", "-j", "1", "-q")[0] == 0


@pytest.mark.parametrize(
    ("plant", "kind", "form"),
    [pytest.param(plant, kind, form, id=f"{plant.__name__}-{form}") for plant, kind, forms in FAULTS for form in forms],
)
def test_a_planted_fault_is_found(
    planted: Callable[[str], Planted], run: Run, plant: Callable[[Planted], None], kind: str, form: str
) -> None:
    at = planted(form)
    plant(at)
    found = check(run, at.root)
    assert set(found["wrong"]) == {kind}, found["findings"]
    code, out, err = run("check", str(at.root), "--strict", "-j", "1", "-q")
    assert code == 3
    assert f"{kind} ({found['wrong'][kind]}): {KINDS[kind].split()[0]}" in out
    assert f"something wrong ({found['wrong'][kind]} times" in err
    assert run("check", str(at.root), "-j", "1", "-q")[0] == 0


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("Platelet", "Platelets", True),
        ("raccon", "raccoon", True),
        ("recieve", "receive", True),
        ("person", "persen", True),
        ("speed_30", "speed_50", False),
        ("type1", "type2", False),
        ("cat", "car", False),
        ("Disc", "disc", False),
        ("left", "right", False),
        ("disc", "disc", False),
    ],
)
def test_names_that_a_letter_sets_apart(one: str, other: str, apart: bool) -> None:
    assert _a_letter_apart(one, other) is _a_letter_apart(other, one) is apart


def test_every_kind_is_planted() -> None:
    assert {kind for _, kind, _ in FAULTS} == set(KINDS) - {"dataset"}
