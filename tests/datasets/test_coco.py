"""COCO files: layouts, crowds, what is clipped and skipped, and every complaint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sppcli.datasets import open_dataset
from sppcli.errors import BadInput, MissingInput, UsageProblem
from tests.datasets.annotated_sets import image_file, write_coco_file

NAMES = {3: "cat", 18: "dog"}


def row(image: int, bbox: list[float], category: int = 3, **more: object) -> dict:
    return {"image_id": image, "category_id": category, "bbox": bbox, **more}


def listed(*names: str) -> list[dict]:
    return [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names, start=5)]


@pytest.mark.parametrize("place", ["val2017", "images/val2017", "images", ".", "JPEGImages"])
def test_the_usual_places_of_images(tmp_path: Path, place: str) -> None:
    image_file(tmp_path / place / "a.jpg")
    write_coco_file(
        tmp_path / "annotations/instances_val2017.json", listed("a.jpg"), [row(5, [1.5, 2, 10.25, 4])], NAMES
    )
    for source in (tmp_path, tmp_path / "annotations/instances_val2017.json"):
        dataset = open_dataset([source])
        assert (dataset.kind, dataset.split_names(), dataset.classes) == ("coco", ("val2017",), ("cat",))
        assert dataset.images[0].path == tmp_path / place / "a.jpg"
        assert dataset.annotations(dataset.images[0].id).boxes.tolist() == [[1.5, 2, 11.75, 6]]
        assert dataset.declared == ("cat", "dog")
    assert dataset.images[0].id == {"val2017": "val2017/a", "images/val2017": "val2017/a"}.get(
        place, "JPEGImages/a" if place == "JPEGImages" else "a"
    )


def test_two_splits_a_test_set_and_other_files(tmp_path: Path) -> None:
    for name in ("train2017/1.jpg", "val2017/1.jpg", "test2017/9.jpg"):
        image_file(tmp_path / name)
    folder = tmp_path / "annotations"
    write_coco_file(folder / "instances_train2017.json", listed("1.jpg"), [row(5, [0, 0, 5, 5])], NAMES)
    write_coco_file(folder / "instances_val2017.json", listed("1.jpg"), [row(5, [0, 0, 9, 9], 18)], NAMES)
    write_coco_file(folder / "image_info_test2017.json", listed("9.jpg"), None, NAMES)
    (folder / "captions_val2017.json").write_text("{}")
    dataset = open_dataset([tmp_path])
    assert [item.id for item in dataset.images] == ["test2017/9", "train2017/1", "val2017/1"]
    assert dataset.split("val2017") == ("val2017/1",)
    assert dataset.annotations("val2017/1").labels == ("dog",)
    assert dataset.has_annotations
    with pytest.raises(MissingInput, match=r"'test2017/9' of .* has no annotation"):
        dataset.annotations("test2017/9")
    with pytest.raises(MissingInput, match=r"did you mean 'val2017/1'"):
        dataset.annotations("val2017/2")
    with pytest.raises(UsageProblem, match="give it alone"):
        open_dataset([tmp_path, tmp_path / "val2017/1.jpg"])


def test_a_folder_a_split_with_the_file_beside_its_images(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        image_file(tmp_path / split / "a.jpg")
        write_coco_file(tmp_path / split / "_annotations.coco.json", listed("a.jpg"), [row(5, [0, 0, 5, 5])], NAMES)
    dataset = open_dataset([tmp_path])
    assert {name: dataset.split(name) for name in dataset.split_names()} == {
        "train": ("train/a",),
        "valid": ("valid/a",),
    }
    alone = open_dataset([tmp_path / "valid/_annotations.coco.json"])
    assert (alone.split_names(), [item.id for item in alone.images]) == (("valid",), ["a"])


def test_crowds_are_difficult_and_boxes_are_cut_and_skipped(tmp_path: Path) -> None:
    image_file(tmp_path / "images/a.jpg")
    rows = [
        row(5, [-3, 4, 10, 10]),
        row(5, [10, 10, 30, 20], iscrowd=1, area=77.5),
        row(5, [10, 10, 0, 20]),
        row(5, [70, 10, 5, 5]),
        row(5, [1, 1, 5, 5], difficult=1, truncated=1),
    ]
    write_coco_file(tmp_path / "annotations/instances_x.json", listed("a.jpg"), rows, NAMES)
    dataset = open_dataset([tmp_path])
    truth = dataset.annotations("a")
    assert truth.boxes.tolist() == [[0, 4, 7, 14], [10, 10, 40, 30], [1, 1, 6, 6]]
    assert truth.crowd.tolist() == [False, True, False]
    assert truth.difficult.tolist() == [False, True, True]
    assert dataset.warnings == [
        "a: cat, box 10 10 10 30, has no extent and was skipped",
        "a: cat, box 70 10 75 15, lies outside the image and was skipped",
    ]
    record = dataset.record("a")
    assert (record.objects[1].own_area, record.objects[0].own_area, record.number) == (77.5, 100, 5)
    plain = dataset.annotation_digest(["a"])
    rows[1]["iscrowd"], rows[1]["difficult"] = 0, 1
    write_coco_file(tmp_path / "annotations/instances_x.json", listed("a.jpg"), rows, NAMES)
    assert open_dataset([tmp_path]).annotation_digest(["a"]) != plain


def test_missing_images_are_said_and_not_needed_to_evaluate(tmp_path: Path) -> None:
    path = write_coco_file(
        tmp_path / "annotations/instances_val.json", listed("a.jpg", "b.jpg"), [row(6, [0, 0, 5, 5])], NAMES
    )
    with pytest.raises(MissingInput, match=r"instances_val.json: none of its 2 images is there, 'a.jpg' for one"):
        open_dataset([tmp_path])
    dataset = open_dataset([tmp_path], images_needed=False)
    assert dataset.annotations("val/b").labels == ("cat",)
    image_file(tmp_path / "val/b.jpg")
    dataset = open_dataset([tmp_path])
    assert dataset.split("val") == dataset.split("all") == ("val/b",)
    assert dataset.warnings == [f"{path} names image 'a.jpg', which is not there"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: "no json", "is not JSON"),
        (lambda body: [1], "is not a COCO file"),
        (lambda body: {**body, "images": {}}, "is not a COCO file"),
        (lambda body: {**body, "images": [{"id": "5", "file_name": "a.jpg"}]}, "entry 0 of images needs an id"),
        (lambda body: {**body, "images": body["images"] * 2}, "two images have the id 5"),
        (lambda body: {**body, "categories": [{"id": 3}]}, "entry 0 of categories needs an id"),
        (lambda body: {**body, "categories": []}, "annotation 1 has category_id 3, which the file does not list"),
        (lambda body: {**body, "annotations": [row(7, [1, 1, 2, 2])]}, "is of image 7, which the file does not list"),
        (lambda body: {**body, "annotations": [{"image_id": 5, "caption": "x"}]}, "has no bbox"),
        (lambda body: {**body, "annotations": [row(5, [1, 1, 2])]}, "bbox is"),
        (lambda body: {**body, "annotations": [row(5, [1, 1, -2, 2])]}, "bbox is"),
        (lambda body: {**body, "annotations": [row(5, [1, 1, 2, "2"])]}, "bbox is"),
        (lambda body: {**body, "annotations": [row(5, [1, 1, 2, 2], area="x")]}, "area is 'x'"),
        (lambda body: {**body, "images": [{"id": 5, "file_name": "a.jpg", "width": 0, "height": 4}]}, "has width 0"),
        (lambda body: {**body, "images": []}, "which the file does not list"),
    ],
)
def test_complaints_name_file_and_entry(tmp_path: Path, change: object, message: str) -> None:
    image_file(tmp_path / "images/a.jpg")
    path = write_coco_file(tmp_path / "annotations/instances_val.json", listed("a.jpg"), [row(5, [0, 0, 5, 5])], NAMES)
    body = change(json.loads(path.read_text()))
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    with pytest.raises(BadInput, match=message) as caught:
        open_dataset([tmp_path])
    assert str(path) in str(caught.value)
