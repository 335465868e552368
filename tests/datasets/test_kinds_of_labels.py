"""Conditions that people report of YOLO's and COCO's files: right, or said; through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.datasets.annotated_sets import image_file
from tests.datasets.kinds import annotate, converted, write

# --- YOLO


@pytest.mark.parametrize("shape", ["[2, 2]", "[2, 3]"])
def test_pose_labels_are_boxes(tmp_path: Path, run: Run, shape: str) -> None:
    root = tmp_path / "set"
    image_file(root / "images/a.jpg", (200, 100))
    points = " .42 .32 2 .58 .68 1" if shape.endswith("3]") else " .42 .32 .58 .68"
    write(root / "labels/a.txt", f"0 .5 .5 .2 .4{points}\n")
    write(root / "data.yaml", f"train: images\nkpt_shape: {shape}\nnames: [plate]\n")
    ((_, *box, _, _, _, _, _, _, _),), _ = converted(run, root, tmp_path / "out")
    assert box == ["80", "30", "120", "70"]


def test_pose_labels_of_another_shape_are_refused(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "set"
    image_file(root / "images/a.jpg")
    write(root / "labels/a.txt", "0 .5 .5 .2 .4 .1 .1\n")
    write(root / "data.yaml", "train: images\nkpt_shape: [17, 3]\nnames: [plate]\n")
    code, _, err = run("convert", str(root), str(tmp_path / "out"), "--to", "csv")
    assert code == 3
    assert "a.txt, line 1 has 6 numbers behind the class: pose labels" in err


def test_a_yolo_set_reads_the_same_below_a_folder_called_images(tmp_path: Path, run: Run) -> None:
    for above in ("images", "pictures"):
        root = tmp_path / above / "holiday"
        image_file(root / "a.jpg")
        write(root / "a.txt", "0 .5 .5 .5 .5\n")
        write(root / "classes.txt", "cat\n")
        ((*_, label, _, _, _, _, _, _),), _ = converted(run, root, tmp_path / f"out-{above}")
        assert label == "cat"


def test_equal_lines_and_labels_of_no_image_are_said(tmp_path: Path, run: Run) -> None:
    root = annotate(tmp_path / "set", "yolo")
    image_file(root / "images/a.jpg")
    write(root / "labels/a.txt", "0 .5 .5 .5 .5\n" * 2)
    write(root / "labels/gone.txt", "0 .5 .5 .5 .5\n")
    write(root / "labels/readme.txt", "five by five words\n")
    _, err = converted(run, root, tmp_path / "out")
    assert "a.txt, line 2 is equal to a line above it" in err
    assert "1 label file belongs to no image: labels/gone.txt" in err


def test_images_that_a_yaml_does_not_list_are_counted(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "set"
    for folder in ("train", "old"):
        image_file(root / folder / "images/a.jpg")
    write(root / "train/labels/a.txt", "0 .5 .5 .5 .5\n")
    write(root / "old/labels/a.txt", "3 .5 .5 .5 .5\n")
    write(root / "data.yaml", "train: ../train/images\nnames: [cup]\n")
    rows, err = converted(run, root, tmp_path / "out")
    assert [row[5] for row in rows] == ["cup"]
    assert "1 image is not listed in data.yaml and was left out: old/images/a.jpg" in err


# --- COCO


def coco_set(root: Path, images: list[dict], annotations: list[dict], categories: list[dict]) -> Path:
    image_file(root / "images/a.jpg")
    content = {"images": images, "annotations": annotations, "categories": categories}
    write(root / "annotations/instances_train.json", json.dumps(content))
    return root


def test_an_image_that_stands_twice_has_the_objects_of_both(tmp_path: Path, run: Run) -> None:
    things = [
        {"id": i, "image_id": image, "category_id": 1, "bbox": [5 * i, 5, 10, 10]} for i, image in ((1, 1), (2, 3))
    ]
    images = [{"id": i, "file_name": "a.jpg"} for i in (1, 3)]
    rows, err = converted(run, coco_set(tmp_path / "set", images, things, [{"id": 1, "name": "cat"}]), tmp_path / "out")
    assert [row[1] for row in rows] == ["5", "10"]
    assert "image 'a.jpg' stands twice there, with ids 1 and 3" in err


def test_one_category_id_with_two_names_is_refused(tmp_path: Path, run: Run) -> None:
    root = coco_set(
        tmp_path / "set", [{"id": 1, "file_name": "a.jpg"}], [], [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]
    )
    code, _, err = run("convert", str(root), str(tmp_path / "out"), "--to", "csv")
    assert code == 3
    assert "two categories have the id 1, 'cat' and 'dog'" in err


def test_two_category_ids_with_one_name_are_one_class(tmp_path: Path, run: Run) -> None:
    things = [{"id": i, "image_id": 1, "category_id": i, "bbox": [5 * i, 5, 10, 10]} for i in (1, 2)]
    categories = [{"id": i, "name": "cat"} for i in (1, 2)]
    rows, _ = converted(
        run, coco_set(tmp_path / "set", [{"id": 1, "file_name": "a.jpg"}], things, categories), tmp_path / "out"
    )
    assert [row[5] for row in rows] == ["cat", "cat"]


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": [1]},
        {"category_id": {}},
        {"bbox": [1, 2, 10**400, 3]},
        {"bbox": [1, 2, None, 3]},
    ],
)
def test_coco_of_wrong_types_is_refused_by_name(tmp_path: Path, run: Run, change: dict) -> None:
    thing = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], **change}
    root = coco_set(tmp_path / "set", [{"id": 1, "file_name": "a.jpg"}], [thing], [{"id": 1, "name": "cat"}])
    code, _, err = run("convert", str(root), str(tmp_path / "out"), "--to", "csv")
    assert code == 3
    assert "instances_train.json: annotation 1" in err


# --- YOLO's folders in other spellings, and class names in the parts


@pytest.mark.parametrize("names", ["data.yaml", "classes.txt"])
@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images", "Labels"),
        ("Images", "Labels"),
        ("Images", "labels"),
        ("IMAGES", "LABELS"),
        ("train/Images", "train/Labels"),
        ("images/train", "labels/train"),
        ("Images/train", "Labels/train"),
        ("train", "train"),
    ],
)
def test_yolos_folders_in_other_letter_case(tmp_path: Path, run: Run, names: str, images: str, labels: str) -> None:
    root = tmp_path / "set"
    image_file(root / images / "a.jpg")
    write(root / labels / "a.txt", "0 .5 .5 .5 .5\n")
    write(root / names, f"train: {images}\nnames: [cat]\n" if names == "data.yaml" else "cat\n")
    (row,), err = converted(run, root, tmp_path / "out")
    assert (row[5], "warning" in err) == ("cat", False)
    assert (names == "classes.txt" and "train" not in images) or row[-1] == "train"


@pytest.mark.parametrize("place", ["", "labels/"])
def test_each_part_may_have_its_class_names(tmp_path: Path, run: Run, place: str) -> None:
    root = tmp_path / "set"
    for number, (part, names) in enumerate((("train", "cat\n"), ("valid", "cat\ndog\n"))):
        image_file(root / part / ("images" if place else "") / "a.jpg", red=9 * number)
        write(root / part / place / "a.txt", f"{number} .5 .5 .5 .5\n")
        write(root / part / place / "classes.txt", names)
    rows, err = converted(run, root, tmp_path / "out")
    assert [(row[5], row[-1]) for row in rows] == [("cat", "train"), ("dog", "valid")]
    assert "warning" not in err
    write(root / "train" / place / "classes.txt", "dog\ncat\n")
    code, _, err = run("propose", str(root), "--dry-run", "-o", str(tmp_path / "p.h5"))
    assert code == 3
    assert "number the classes differently" in err
