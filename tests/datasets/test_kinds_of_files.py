"""Which files are read, and what is said of the others: lists, letter case, doubled objects, files that none reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.datasets.annotated_sets import image_file
from tests.datasets.kinds import BOX, annotate, converted, images_of, turned_photo, write

TURNED = [8, 10, 28, 30]
"""`BOX` in a photograph that is turned by an EXIF orientation of 6."""

DOUBLED = "is there twice: two objects; a detector can find one"


# --- objects that stand twice


def _twice(root: Path, form: str) -> None:
    """One object more that is equal to the first, in files that `annotate` wrote."""
    (path,) = [path for path in root.rglob("*.*") if path.suffix in (".xml", ".json", ".csv")]
    text = path.read_text()
    if form.startswith("voc"):
        thing = text[text.index("<object>") : text.index("</annotation>")]
        path.write_text(text.replace(thing, thing * 2))
    elif form == "coco":
        content = json.loads(text)
        content["annotations"] += [content["annotations"][0] | {"id": 2}]
        path.write_text(json.dumps(content))
    else:
        path.write_text(text + text.splitlines()[1] + "\n")


@pytest.mark.parametrize("form", ["voc", "voc beside", "coco", "csv"])
def test_objects_that_stand_twice_are_said_once(tmp_path: Path, run: Run, form: str) -> None:
    root = annotate(tmp_path / "set", form)
    _twice(root, form)
    image_file(images_of(root, form) / "a.jpg")
    rows, err = converted(run, root, tmp_path / "out")
    assert len(rows) == 2
    assert " ".join(err.split()).count(DOUBLED) == 1
    code, out, err = run("propose", str(root), "--dry-run", "-o", str(tmp_path / "p.h5"))
    assert code == 0
    assert " ".join((out + err).split()).count(DOUBLED) == 1


# --- sizes, frames and shares


@pytest.mark.parametrize("sides", [{"width": None, "height": None}, {"width": 64.0, "height": 48.0}, {"width": 64}])
def test_the_image_decides_where_coco_gives_no_size(tmp_path: Path, run: Run, sides: dict) -> None:
    root = annotate(tmp_path / "set", "coco", size=None)
    path = root / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["images"][0] |= sides
    path.write_text(json.dumps(content))
    image_file(root / "images/a.jpg")
    ((_, *_, width, height, _),), err = converted(run, root, tmp_path / "out")
    assert (width, height, "warning" in err) == ("64", "48", False)


@pytest.mark.parametrize(("stated", "box"), [((64, 48), TURNED), ((48, 64), [7.5, 26.666667, 22.5, 53.333333])])
def test_percentages_are_of_the_frame_that_is_stated(
    tmp_path: Path, run: Run, stated: tuple[int, int], box: list[float]
) -> None:
    """Label Studio says of what size its percentages are: of the camera's frame, the box is turned with the image."""
    value = {"x": 10 / 0.64, "y": 20 / 0.48, "width": 20 / 0.64, "height": 20 / 0.48, "rotation": 0}
    size = {"original_width": stated[0], "original_height": stated[1]}
    result = [{"type": "rectanglelabels", **size, "value": {**value, "rectanglelabels": ["cat"]}}]
    task = {"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": result}]}
    write(tmp_path / "set/tasks.json", json.dumps([task]))
    turned_photo(tmp_path / "set/a.jpg", 6)
    ((_, *found, _, _, _, _, width, height, _),), err = converted(run, tmp_path / "set", tmp_path / "out")
    assert list(map(float, found)) == box
    assert (width, height) == ("48", "64")
    assert ("the camera's frame" in err) == (stated == (64, 48))


@pytest.mark.parametrize("form", ["coco", "csv"])
def test_shares_where_pixels_belong_are_refused(tmp_path: Path, run: Run, form: str) -> None:
    root = annotate(tmp_path / "set", form, box=(0.1, 0.1, 0.5, 0.75))
    image_file(images_of(root, form) / "a.jpg")
    code, _, err = run("propose", str(root), "--dry-run", "-o", str(tmp_path / "p.h5"))
    assert code == 3
    assert "they are in shares of the images' width and height" in " ".join(err.split())


# --- VOC's folders and lists


@pytest.mark.parametrize("line", ["a.jpg", "JPEGImages/a.jpg", "C:\\data\\VOC\\JPEGImages\\a.JPG", "a.xml", "./a"])
def test_vocs_lists_may_hold_names_and_paths(tmp_path: Path, run: Run, line: str) -> None:
    root = annotate(tmp_path / "set", "voc")
    image_file(root / "JPEGImages/a.jpg")
    write(root / "ImageSets/Main/train.txt", f"{line}\r\n")
    ((*_, split),), err = converted(run, root, tmp_path / "out")
    assert (split, "warning" in err) == ("train", False)


@pytest.mark.parametrize("folder", ["ImageSets/Main", "ImageSets", ".", "imagesets/main"])
@pytest.mark.parametrize("annotations", ["Annotations", "annotations", "xml"])
@pytest.mark.parametrize("ending", [".xml", ".XML"])
def test_vocs_folders_in_other_spellings(tmp_path: Path, run: Run, folder: str, annotations: str, ending: str) -> None:
    root = tmp_path / "set"
    for number, (name, split) in enumerate((("a", "train"), ("b", "val"))):
        annotate(root, "voc", name=f"{name}.jpg")
        image_file(root / f"JPEGImages/{name}.jpg", red=9 * number)
        write(root / folder / f"{split}.txt", f"{name}\n")
    (root / "Annotations").rename(root / "moved")
    (root / "moved").rename(root / annotations)
    for path in list((root / annotations).iterdir()):
        path.rename(path.with_suffix(ending))
    rows, err = converted(run, root, tmp_path / "out")
    assert [(row[5], row[-1]) for row in rows] == [("cat", "train"), ("cat", "val")]
    assert "warning" not in err


def test_images_in_no_list_are_counted(tmp_path: Path, run: Run) -> None:
    root = annotate(tmp_path / "set", "voc")
    for name in ("a", "b", "c"):
        image_file(root / f"JPEGImages/{name}.jpg")
    write(root / "ImageSets/Main/train.txt", "a\n")
    _, err = converted(run, root, tmp_path / "out")
    assert "2 images are in no list (train.txt) and left out: b, c" in " ".join(err.split())
    code, out, _ = run("check", str(root), "--quick")
    assert code == 0
    assert "2 images are in no list" in " ".join(out.split())


@pytest.mark.parametrize("form", ["voc", "voc beside"])
def test_an_annotation_says_which_of_two_images_of_one_name_it_is_of(tmp_path: Path, run: Run, form: str) -> None:
    root = annotate(tmp_path / "set", form)
    (path,) = root.rglob("*.xml")
    path.write_text(path.read_text().replace("<annotation>", "<annotation><filename>C:\\x\\a.png</filename>"))
    image_file(images_of(root, form) / "a.jpg")
    image_file(images_of(root, form) / "a.png")
    rows, err = converted(run, root, tmp_path / "out")
    assert [row[0] for row in rows if row[5]] == [{"voc": "a.png", "voc beside": "a.png.png"}[form]]
    assert len(rows) == 2 or "1 image has the name of another but for its ending" in " ".join(err.split())


# --- files that no reader takes


def _labelme(path: Path) -> None:
    shape = {"label": "cat", "points": [BOX[:2], BOX[2:]], "shape_type": "rectangle", "flags": {}}
    content = {"version": "5.0", "flags": {}, "shapes": [shape], "imagePath": path.with_suffix(".jpg").name}
    write(path, json.dumps(content | {"imageWidth": 64, "imageHeight": 48}))


@pytest.mark.parametrize(
    ("make", "ending"),
    [(lambda root: annotate(root, "voc beside"), ".xml"), (lambda root: _labelme(root / "a.json"), ".json")],
)
@pytest.mark.parametrize("content", ["", "{", "<other/>", '{"other": 1}'])
def test_files_called_like_an_image_that_are_not_read_are_named(
    tmp_path: Path, run: Run, make: Callable[[Path], object], ending: str, content: str
) -> None:
    make(tmp_path / "set")
    for name in ("a", "b", "c"):
        image_file(tmp_path / f"set/{name}.jpg")
    write(tmp_path / f"set/b{ending}", content)
    rows, err = converted(run, tmp_path / "set", tmp_path / "out")
    assert [bool(row[5]) for row in rows] == [True, False, False]
    assert f"1 file was not read as {'voc' if ending == '.xml' else 'labelme'} annotations" in " ".join(err.split())
    assert f": b{ending}" in err


def test_damaged_json_beside_a_coco_file_is_named(tmp_path: Path, run: Run) -> None:
    root = annotate(tmp_path / "set", "coco")
    (root / "annotations/instances_train.json").rename(root / "train.json")
    write(root / "val.json", '{"images": [')
    image_file(root / "images/a.jpg")
    _, err = converted(run, root, tmp_path / "out")
    assert "1 file was not read as coco annotations, damaged: no JSON: val.json" in " ".join(err.split())


def test_cocos_images_are_found_in_folders_below(tmp_path: Path, run: Run) -> None:
    root = annotate(tmp_path / "set", "coco")
    image_file(root / "pictures/2024/may/a.jpg")
    ((name, *_),), err = converted(run, root, tmp_path / "out")
    assert (name, "warning" in err) == ("pictures/2024/may/a.jpg", False)


def test_convert_says_what_lies_beside_images_without_annotations(tmp_path: Path, run: Run) -> None:
    image_file(tmp_path / "set/images/a.jpg")
    write(tmp_path / "set/labels/a.txt", "0 .5 .5 .5 .5\n")
    code, _, err = run("convert", str(tmp_path / "set"), str(tmp_path / "out"), "--to", "csv")
    assert code == 3
    assert "YOLO's labels need class names in data.yaml or classes.txt: labels/a.txt" in " ".join(err.split())


def test_other_json_files_beside_cocos_are_named(tmp_path: Path, run: Run) -> None:
    root = annotate(tmp_path / "set", "coco")
    image_file(root / "images/a.jpg")
    for name in ("val_extra.json", "captions_train.json"):
        write(root / "annotations" / name, json.dumps({"images": [], "annotations": [], "categories": []}))
    _, err = converted(run, root, tmp_path / "out")
    assert "1 JSON file in annotations was not read: val_extra.json" in " ".join(err.split())


def test_other_tables_beside_annotations_csv_are_named(tmp_path: Path, run: Run) -> None:
    root = annotate(tmp_path / "set", "csv")
    image_file(root / "images/a.jpg")
    write(root / "test_labels.csv", "filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,11,21,30,40\n")
    write(root / "notes.csv", "day,weather\nMonday,rain\n")
    _, err = converted(run, root, tmp_path / "out")
    assert "1 table of boxes was not read beside annotations.csv: test_labels.csv" in " ".join(err.split())
