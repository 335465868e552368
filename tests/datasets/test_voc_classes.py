"""VOC's classification labels, and the labels of every other kind of source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sppcli.datasets import open_dataset
from sppcli.datasets.classification import open_classified
from sppcli.datasets.voc_classes import image_classes
from sppcli.errors import BadInput
from tests.conftest import Voc


def write_lists(voc: Voc, split: str, flags: dict[str, dict[str, int]]) -> None:
    """``flags``: class -> image id -> 1, 0 or -1, written in the devkit's format."""
    for name, of_image in flags.items():
        text = "".join(f"{image_id} {flag:2d}\n" for image_id, flag in of_image.items())
        (voc.root / "ImageSets" / "Main" / f"{name}_{split}.txt").write_text(text)


def expected_of(voc: Voc, image_id: str, name: str) -> int:
    """By hand from what was drawn: 1 with an easy object, 0 with difficult ones only, -1 without any."""
    flags = [thing.difficult for thing in voc.things[image_id] if thing.label == name]
    return -1 if not flags else int(not all(flags))


def test_from_annotations(make_voc: Callable[..., Voc]) -> None:
    voc = make_voc(12, per_image=2, difficult_every=3)
    classes, labels = image_classes(open_dataset([voc.root]))
    assert classes == ("disc", "square", "triangle")
    expected = [[expected_of(voc, image_id, name) for name in classes] for image_id in voc.ids]
    assert labels.tolist() == expected
    assert {value for row in expected for value in row} == {-1, 0, 1}
    assert labels.dtype == np.int8


def test_lists_come_before_annotations(make_voc: Callable[..., Voc]) -> None:
    voc = make_voc(8)
    members = voc.splits["train"]
    flags = {"cat": dict.fromkeys(members, -1), "small_dog": dict.fromkeys(members, 1)}
    flags["cat"][members[0]] = 0
    write_lists(voc, "train", flags)
    dataset = open_dataset([voc.root])
    classes, labels = image_classes(dataset)
    assert "train" in dataset.split_names()
    assert classes == ("cat", "disc", "small_dog", "square", "triangle")
    for row, image_id in enumerate(voc.ids):
        found = dict(zip(classes, labels[row].tolist(), strict=True))
        if image_id in members:
            assert (found["cat"], found["small_dog"]) == (0 if image_id == members[0] else -1, 1)
        else:
            assert (found["cat"], found["small_dog"]) == (-1, -1)
        assert found["disc"] == expected_of(voc, image_id, "disc")


def test_a_listed_data_set_needs_no_annotation(make_voc: Callable[..., Voc]) -> None:
    voc = make_voc(8)
    for split in ("trainval", "test"):
        write_lists(voc, split, {"cat": dict.fromkeys(voc.splits[split], 1)})
    for path in (voc.root / "Annotations").iterdir():
        path.unlink()
    classes, labels = image_classes(open_dataset([voc.root]))
    assert (classes, labels.tolist()) == (("cat",), [[1]] * 8)


def test_an_image_of_which_nothing_is_known(voc: Voc) -> None:
    voc.annotation(voc.ids[0]).unlink()
    labels = image_classes(open_dataset([voc.root]))[1]
    assert labels[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("line", ["000001 2", "000001", "000001 1 x"])
def test_a_line_that_is_none(voc: Voc, line: str) -> None:
    path = voc.root / "ImageSets" / "Main" / "cat_train.txt"
    path.write_text(f"000002 -1\n{line}\n")
    with pytest.raises(BadInput, match=r"cat_train.txt, line 2: expected <image id> and 1, 0 or -1"):
        image_classes(open_dataset([voc.root]))


def test_lists_that_disagree(voc: Voc) -> None:
    image_id = voc.splits["train"][0]
    write_lists(voc, "train", {"cat": {image_id: 1}})
    write_lists(voc, "trainval", {"cat": {image_id: -1}})
    with pytest.raises(BadInput, match=rf"cat_trainval.txt says -1 of image '{image_id}' where .*cat_train.txt says 1"):
        image_classes(open_dataset([voc.root]))


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_class_folders_in_splits(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/dog/1.jpg", "test/fox/2.png", "train/stray.jpg")
    data = open_classified([tmp_path])
    assert (data.kind, data.classes, data.splits) == ("class folders", ("cat", "dog", "fox"), ("train", "test"))
    assert [item.id for item in data.images] == ["test/dog/1", "test/fox/2", "train/cat/1", "train/dog/1"]
    assert data.labels.tolist() == [[-1, 1, -1], [-1, -1, 1], [1, -1, -1], [-1, 1, -1]]
    assert data.in_split.tolist() == [[False, True], [False, True], [True, False], [True, False]]
    assert len(data.warnings) == 1
    assert "stray.jpg" in data.warnings[0]


def test_flat_class_folders(tmp_path: Path) -> None:
    data = open_classified([make(tmp_path, "a/1.jpg", "b/1.jpg", "b/sub/2.jpg")])
    assert (data.kind, data.classes, data.splits) == ("class folders", ("a", "b"), ())
    assert data.labels.tolist() == [[1, -1], [-1, 1], [-1, 1]]
    assert data.in_split.shape == (3, 0)


@pytest.mark.parametrize("names", [["1.jpg", "2.jpg"], ["1.jpg", "a/1.jpg", "b/1.jpg"], ["only/1.jpg", "only/2.jpg"]])
def test_images_without_labels(tmp_path: Path, names: list[str]) -> None:
    data = open_classified([make(tmp_path, *names)])
    assert (data.kind, data.classes, data.splits) == ("folder", (), ())
    assert data.labels.shape == (len(names), 0)


def test_voc_splits_may_share_images(voc: Voc) -> None:
    data = open_classified([voc.root])
    for column, name in enumerate(data.splits):
        assert [item.id for item, member in zip(data.images, data.in_split[:, column], strict=True) if member] == list(
            voc.splits[name]
        )
    assert data.kind == "voc"
