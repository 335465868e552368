"""CSV tables as people have them, and every complaint."""

from __future__ import annotations

from pathlib import Path

import pytest

from sppcli.datasets import open_dataset
from sppcli.errors import BadInput, MissingInput
from tests.datasets.annotated_sets import image_file


def table(folder: Path, *lines: str, name: str = "annotations.csv", image: str = "a.jpg") -> Path:
    image_file(folder / image)
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "row", "box"),
    [
        ("image,x0,y0,x1,y1,class", "a.jpg,1.5,2,30,40,cat", [1.5, 2, 30, 40]),
        ("path,x1,y1,x2,y2,label", "a.jpg,1,2,30,40,cat", [1, 2, 30, 40]),
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "a.jpg,64,48,cat,1,2,30,40", [0, 1, 30, 40]),
        ("Filename, XMin, YMin, XMax, YMax, Class", "a.jpg, 1, 2, 30, 40, cat", [0, 1, 30, 40]),
        ("image,label,x,y,width,height", "a.jpg,cat,1,2,30,40", [1, 2, 31, 42]),
        ("file,x,y,w,h,name", "a.jpg,1,2,30,40,cat", [1, 2, 31, 42]),
        ("ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax", "a,x,cat,1,0.25,0.5,0,0.5", [16, 0, 32, 24]),
    ],
)
def test_headers_decide_the_convention(tmp_path: Path, header: str, row: str, box: list[float]) -> None:
    path = table(tmp_path, header, row)
    for source in (tmp_path, path):
        dataset = open_dataset([source])
        assert (dataset.kind, dataset.classes, dataset.split_names()) == ("csv", ("cat",), ())
        assert dataset.annotations("a").boxes.tolist() == [box]


def test_flags_splits_empty_images_and_classes(tmp_path: Path) -> None:
    image_file(tmp_path / "images/b.jpg")
    (tmp_path / "classes.txt").write_text("eel\ncat\n")
    table(
        tmp_path,
        "image,x0,y0,x1,y1,class,difficult,truncated,crowd,split",
        '"a.jpg",1,2,30,40,"cat",1,0,,train trainval',
        "a.jpg,1,2,30,400,dog,0,True,1,train trainval",
        "b.jpg,,,,,,,,,val trainval",
        "",
        image="images/a.jpg",
    )
    dataset = open_dataset([tmp_path])
    assert dataset.declared == ("eel", "cat", "dog")
    assert {name: dataset.split(name) for name in dataset.split_names()} == {
        "train": ("a",),
        "trainval": ("a", "b"),
        "val": ("b",),
    }
    truth = dataset.annotations("a")
    assert (truth.difficult.tolist(), truth.crowd.tolist()) == ([True, True], [False, True])
    assert truth.boxes[1].tolist() == [1, 2, 30, 48]  # cut to the image, whose file was asked
    assert [thing.truncated for thing in dataset.record("a").objects] == [False, True]
    assert dataset.annotations("b").labels == ()


def test_a_file_a_split(tmp_path: Path) -> None:
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    table(tmp_path, header, "a.jpg,64,48,cat,1,1,9,9", name="train_labels.csv", image="train/a.jpg")
    table(tmp_path, header, "a.jpg,64,48,dog,1,1,9,9", name="test_labels.csv", image="test/a.jpg")
    (tmp_path / "results.csv").write_text("epoch,loss\n1,2\n")
    dataset = open_dataset([tmp_path])
    assert (dataset.split("train"), dataset.split("test")) == (("train/a",), ("test/a",))
    assert dataset.annotations("test/a").labels == ("dog",)


def test_a_folder_of_images_with_another_table_is_a_folder(tmp_path: Path) -> None:
    table(tmp_path, "image,score", "a.jpg,1", name="scores.csv")
    assert open_dataset([tmp_path]).kind == "folder"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.jpg,cat,1,2,3,4"], "the first line, .* names no image, class and box; put there image,x0"),
        ([], "names no image, class and box|is empty"),
        (["image,x0,y0,x1,y1,class", "a.jpg,1,2,3,4"], "line 2 has 5 fields, the first line 6"),
        (["image,x0,y0,x1,y1,class", "a.jpg,1,2,3,x,cat"], "line 2: 'x' is not a number"),
        (["image,x0,y0,x1,y1,class", "a.jpg,1,2,3,4,"], "line 2 has a box but no class"),
        (["image,x0,y0,x1,y1,class", "a.jpg,,,,,cat"], "line 2 has a class but no box"),
        (["image,x0,y0,x1,y1,class", ",1,2,3,4,cat"], "line 2 names no image"),
        (["image,x0,y0,x1,y1,class,difficult", "a.jpg,1,2,3,4,cat,maybe"], "difficult is 'maybe', not 0 or 1"),
        (["image,x0,y0,x1,y1,class", '"a.jpg,1,2,3,4,cat'], "is not CSV"),
    ],
)
def test_complaints_name_file_and_line(tmp_path: Path, lines: list[str], message: str) -> None:
    path = table(tmp_path, *lines)
    with pytest.raises(BadInput, match=message) as caught:
        open_dataset([tmp_path])
    assert str(path) in str(caught.value)


def test_images_that_are_not_there(tmp_path: Path) -> None:
    path = table(tmp_path, "image,x0,y0,x1,y1,class", "gone.jpg,1,2,3,4,cat")
    with pytest.raises(MissingInput, match=r"none of its 1 images is there, 'gone.jpg' for one"):
        open_dataset([tmp_path])
    table(tmp_path, "image,x0,y0,x1,y1,class", "gone.jpg,1,2,3,4,cat", "a.jpg,1,2,3,4,cat")
    dataset = open_dataset([tmp_path])
    assert [item.id for item in dataset.images] == ["a"]
    assert dataset.warnings == [f"{path} names image 'gone.jpg', which is not there"]


def test_a_table_in_each_split_folder(tmp_path: Path) -> None:
    """Roboflow's "Tensorflow Object Detection CSV"."""
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    for split, label in (("train", "cat"), ("valid", "dog")):
        table(tmp_path / split, header, f"a.jpg,64,48,{label},1,1,9,9", name="_annotations.csv")
    dataset = open_dataset([tmp_path])
    assert (dataset.kind, dataset.split_names()) == ("csv", ("train", "valid"))
    assert dataset.split("val") == ("valid/a",)
    assert dataset.annotations("valid/a").labels == ("dog",)
    assert dataset.warnings == []


def test_images_in_any_folder_below(tmp_path: Path) -> None:
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    table(tmp_path, header, "a.jpg,64,48,cat,1,1,9,9", name="train_labels.csv", image="train/images/a.jpg")
    image_file(tmp_path / "test/images/a.jpg")
    dataset = open_dataset([tmp_path])
    assert dataset.split("train") == ("train/images/a",)
    assert any("without an entry in the annotations: 1 of 2 images" in text for text in dataset.warnings)
    assert not dataset.is_annotated("test/images/a")


@pytest.mark.parametrize("name", ["annotations.csv", "labels.csv"])
@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_marks_between_fields(tmp_path: Path, name: str, mark: str) -> None:
    number = "1,5" if mark == ";" else "1.5"
    header = mark.join(["image", "x0", "y0", "x1", "y1", "class"])
    table(tmp_path, header, mark.join(["a.jpg", number, "2", "30", "40", "cat"]), name=name)
    assert open_dataset([tmp_path]).annotations("a").boxes.tolist() == [[1.5, 2, 30, 40]]


def test_rows_of_one_image_under_several_names(tmp_path: Path) -> None:
    rows = ("a.jpg,1,2,3,4,cat", "./a.jpg,5,6,7,8,cat", "C:\\x\\a.jpg,1,2,3,4,cat")
    table(tmp_path, "image,x0,y0,x1,y1,class", *rows)
    assert open_dataset([tmp_path]).annotations("a").boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
