"""The composed data set: its boxes are those of the ink, held-out scenes are held out, a seed decides every byte."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sppcli.datasets.voc import read_annotation
from sppcli.demo import crops, ink, scenes
from sppcli.demo.digits import Part, digits, photographs
from sppcli.images import read_image


@pytest.fixture(scope="module")
def some() -> list[scenes.Scene]:
    source, photos = digits(Part.TRAINING), photographs(Part.TRAINING)
    return [scenes.compose_scene(source, photos, np.random.default_rng([5, i])) for i in range(25)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("voc") / "digits"
    scenes.compose(root, 16, seed=3)
    return root


def ids(root: Path, split: str) -> list[str]:
    return (root / "ImageSets" / "Main" / f"{split}.txt").read_text().split()


# Ink and boxes


@pytest.mark.parametrize("height", [24, 47, 64, 65, 96])
def test_ink_fills_its_array_at_every_size(height: int) -> None:
    for digit in digits(Part.TRAINING).images[:40]:
        coverage = ink.digit_coverage(digit, height, 9.0, 0.1, 1.1)
        assert coverage.shape[0] == height
        x0, y0, x1, y1 = ink.ink_bounds(coverage >= 0.5)
        assert max(x0, y0) <= 1
        assert coverage.shape[1] - x1 <= 1
        assert height - y1 <= 1


def test_an_upright_digit_looks_like_its_scan() -> None:
    for digit in digits(Part.TRAINING).images[:30]:
        coverage = ink.digit_coverage(digit, 80, 0.0, 0.0, 1.0)
        x0, y0, x1, y1 = ink.ink_bounds(digit >= 0.5)
        scan = np.kron(digit[y0:y1, x0:x1], np.ones((10, 10)))
        rows = np.arange(60) * coverage.shape[0] // 60
        columns = np.arange(60) * coverage.shape[1] // 60
        small = coverage[rows][:, columns]
        scan = scan[np.arange(60) * scan.shape[0] // 60][:, np.arange(60) * scan.shape[1] // 60]
        assert np.corrcoef(small.ravel(), scan.ravel())[0, 1] > 0.5


def test_each_box_is_the_tight_box_of_the_ink_painted(some: list[scenes.Scene]) -> None:
    checked = 0
    for scene in some:
        for number, thing in enumerate(scene.things):
            if any(scenes.shared(thing.box, other.box) for other in scene.things if other is not thing):
                continue  # what lies over it hides some of its ink
            x0, y0, x1, y1 = ink.ink_bounds(scene.owner == number)
            assert np.abs(np.subtract((x0, y0, x1, y1), thing.box)).max() <= 1
            checked += 1
    assert checked > 60


def test_paint_changes_the_pixels_under_the_ink_and_no_others() -> None:
    image = np.full((50, 60, 3), 100, dtype=np.float32)
    coverage = ink.digit_coverage(digits(Part.TRAINING).images[3], 30, 0.0, 0.0, 1.0)
    ink.paint(image, coverage, 12, 9, np.array([200, 0, 50], dtype=np.float32), 1.0)
    changed = (image != 100).any(axis=2)
    expected = np.zeros((50, 60), dtype=bool)
    expected[9:39, 12 : 12 + coverage.shape[1]] = coverage > 0
    np.testing.assert_array_equal(changed, expected)


def test_paint_cuts_off_what_reaches_outside() -> None:
    image = np.zeros((10, 10, 3), dtype=np.float32)
    ink.paint(image, np.ones((8, 8), dtype=np.float32), -5, 7, np.full(3, 9, dtype=np.float32), 1.0)
    expected = np.zeros((10, 10), dtype=bool)
    expected[7:, :3] = True
    np.testing.assert_array_equal((image == 9).all(axis=2), expected)


# The scenes


def test_sizes_range_over_four_times(some: list[scenes.Scene]) -> None:
    heights = [thing.box[3] - thing.box[1] for scene in some for thing in scene.things]
    assert min(heights) >= scenes.SMALLEST
    assert max(heights) <= scenes.LARGEST
    assert max(heights) / min(heights) > 3.5


def test_digits_lie_inside_and_barely_overlap_unless_difficult(some: list[scenes.Scene]) -> None:
    for scene in some:
        for thing in scene.things:
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= scenes.WIDTH
            assert 0 <= y0 < y1 <= scenes.HEIGHT
            most = max((scenes.shared(thing.box, other.box) for other in scene.things if other is not thing), default=0)
            assert most <= (scenes.CROSSING if thing.difficult else scenes.TOUCHING)


def test_scenes_hold_several_digits_all_classes_and_a_few_difficult_ones(some: list[scenes.Scene]) -> None:
    names = Counter(thing.name for scene in some for thing in scene.things)
    assert set(names) == set(scenes.NAMES)
    assert np.mean([len(scene.things) for scene in some]) > 4
    difficult = np.mean([thing.difficult for scene in some for thing in scene.things])
    assert 0 < difficult < 0.25


def test_a_digit_that_is_not_difficult_stands_out_from_what_it_covers(some: list[scenes.Scene]) -> None:
    faint = 0
    for scene in some:
        grey = scene.image.astype(np.float32).mean(axis=2)
        for number, thing in enumerate(scene.things):
            x0, y0, x1, y1 = thing.box
            window = scene.owner[y0:y1, x0:x1]
            if thing.difficult or (window == -1).sum() < 20:
                continue
            inside, outside = grey[y0:y1, x0:x1][window == number], grey[y0:y1, x0:x1][window == -1]
            faint += abs(inside.mean() - outside.mean()) < 20
    assert faint <= 5


def test_the_same_seed_gives_the_same_files_and_another_one_others(dataset: Path, tmp_path: Path) -> None:
    def content(root: Path) -> dict[str, bytes]:
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    scenes.compose(tmp_path / "again", 16, seed=3)
    scenes.compose(tmp_path / "other", 16, seed=4)
    assert content(tmp_path / "again") == content(dataset)
    assert content(tmp_path / "other") != content(dataset)


def test_files_are_a_voc_data_set_with_the_boxes_of_the_scenes(dataset: Path) -> None:
    assert len(ids(dataset, "trainval")) == len(ids(dataset, "train")) + len(ids(dataset, "val")) == 12
    assert not set(ids(dataset, "trainval")) & set(ids(dataset, "test"))
    for name in ids(dataset, "trainval") + ids(dataset, "test"):
        part = Part.HELD_OUT if name in ids(dataset, "test") else Part.TRAINING
        scene = scenes.compose_scene(digits(part), photographs(part), np.random.default_rng([3, int(name)]))
        found, warnings = read_annotation(dataset / "Annotations" / f"{name}.xml")
        assert not warnings
        assert found.labels == tuple(thing.name for thing in scene.things)
        np.testing.assert_array_equal(found.boxes, [thing.box for thing in scene.things])
        np.testing.assert_array_equal(found.difficult, [thing.difficult for thing in scene.things])
        image = read_image(dataset / "JPEGImages" / f"{name}.jpg")
        assert np.abs(image.astype(np.float32) - scene.image).mean() < 6  # JPEG's loss, no more


def test_composing_leaves_nothing_under_the_final_name_until_it_is_whole(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scenes.compose(tmp_path / "digits", 8, 0, stop)
    assert not (tmp_path / "digits").exists()
    scenes.compose(tmp_path / "digits", 8, 0)
    assert len(list((tmp_path / "digits" / "JPEGImages").iterdir())) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


# What is held out


def test_no_digit_is_both_in_training_and_held_out() -> None:
    training, held_out = digits(Part.TRAINING), digits(Part.HELD_OUT)
    assert not set(training.indices) & set(held_out.indices)
    assert len(training) + len(held_out) == 1797
    assert set(held_out.labels) == set(training.labels) == set(range(10))


def test_digits_are_those_of_their_indices() -> None:
    from sklearn.datasets import load_digits

    everything = load_digits()
    for part in Part:
        some = digits(part)
        np.testing.assert_array_equal(some.labels, everything.target[some.indices])
        np.testing.assert_allclose(some.images * 16, everything.images[some.indices])


def test_scenes_take_their_digits_and_photographs_from_the_part_they_are_given() -> None:
    held_out = digits(Part.HELD_OUT)
    labels = dict(zip(held_out.indices.tolist(), held_out.labels.tolist(), strict=True))
    white = (np.full((240, 320, 3), 250, dtype=np.uint8),)
    for i in range(5):
        scene = scenes.compose_scene(held_out, white, np.random.default_rng(i))
        for thing in scene.things:
            assert scenes.NAMES[labels[thing.source]] == thing.name
        bare = scene.image[scene.owner == -1]
        assert bare.reshape(-1, 3).std(axis=1).mean() < 12  # of the white photograph, but for clutter


def test_halves_of_photographs_share_no_column() -> None:
    for left, right in zip(photographs(Part.TRAINING), photographs(Part.HELD_OUT), strict=True):
        assert left.shape == right.shape == (427, 320, 3)
        assert not (left == right).all(axis=2).all(axis=0).any()


def test_crops_show_every_digit_in_turn_and_background_besides() -> None:
    some = crops.crops(Part.HELD_OUT, 1, seed=2)
    expected = digits(Part.HELD_OUT).labels
    assert some.images.shape[1:] == (crops.SIDE, crops.SIDE, 3)
    np.testing.assert_array_equal(some.labels[: len(expected)], expected)
    assert (some.labels[len(expected) :] == len(scenes.NAMES)).all()
    assert len(some) > len(expected)
    again = crops.crops(Part.HELD_OUT, 1, seed=2)
    np.testing.assert_array_equal(some.images, again.images)
