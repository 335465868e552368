"""VOC folders: lists, XML, what is skipped with a warning, and every complaint."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from sppcli.datasets import open_dataset
from sppcli.errors import BadInput, MissingInput, UsageProblem
from tests.conftest import build_voc

BCCD = Path(__file__).parents[2] / "../shared/data/BCCD"


def box_xml(label="cat", box=(1, 1, 10, 20), extra=""):
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{label}</name>{extra}<bndbox>{corners}</bndbox></object>"


def xml(*objects, size="<size><width>100</width><height>50</height><depth>3</depth></size>"):
    return f"<annotation><filename>x.jpg</filename>{size}{''.join(objects)}</annotation>"


@pytest.fixture
def make_voc(tmp_path):
    def make(annotations, lists=None, images=None, folder=tmp_path):
        """``annotations``: id -> XML; ``lists``: name -> text; ``images``: file names (default: one a XML)."""
        for name in ("JPEGImages", "Annotations"):
            (folder / name).mkdir(parents=True)
        for image_id, text in annotations.items():
            (folder / "Annotations" / f"{image_id}.xml").write_text(text)
        for name in images if images is not None else [f"{image_id}.jpg" for image_id in annotations]:
            (folder / "JPEGImages" / name).touch()
        if lists is not None:
            (folder / "ImageSets/Main").mkdir(parents=True)
            for name, text in lists.items():
                (folder / "ImageSets/Main" / f"{name}.txt").write_text(text)
        return folder

    return make


def ids(dataset):
    return [item.id for item in dataset.images]


# --- images and splits


def test_lists_give_images_and_splits(make_voc):
    four = {name: xml() for name in ("a", "b", "c", "d")}
    lists = {
        "train": "b\na\n",
        "test": "c\n\n  \nc\n",
        "aeroplane_train": "a  1\nb -1\n",
        "cat_test": "c 0\n",
        "cat_val": "",
        "hard_test": "c\n",
    }
    dataset = open_dataset([make_voc(four, lists)])
    assert dataset.kind == "voc"
    assert dataset.has_annotations
    assert ids(dataset) == ["a", "b", "c"]
    assert dataset.split_names() == ("hard_test", "test", "train")
    assert dataset.split("train") == ("a", "b")
    assert dataset.split("test") == ("c",)
    assert dataset.split("all") == ("a", "b", "c")
    assert dataset.warnings == []


def test_without_lists_all_images_count(make_voc):
    dataset = open_dataset([make_voc({"a": xml()}, images=["a.jpg", "b.png", "readme.txt"])])
    assert ids(dataset) == ["a", "b"]
    assert dataset.split_names() == ()


def test_lists_with_numbers_behind_or_spaces_in_the_ids(make_voc):
    files = {"my photo 1": xml(), "b": xml()}
    dataset = open_dataset([make_voc(files, {"train": "my photo 1\r\n", "val": "b 2\n"})])
    assert dataset.split("train") == ("my photo 1",)
    assert dataset.split("val") == ("b",)


def test_jpg_is_preferred(make_voc):
    dataset = open_dataset([make_voc({"a": xml()}, images=["a.png", "a.JPG", "a.bmp"])])
    assert [item.path.name for item in dataset.images] == ["a.JPG"]


def test_listed_ids_without_image_are_named(make_voc):
    dataset = open_dataset([make_voc({"a": xml(), "b": xml()}, {"train": "a\nb\n", "val": "b\n"}, images=["a.jpg"])])
    assert ids(dataset) == ["a"]
    assert dataset.split("val") == ()
    assert dataset.warnings == [
        "image 'b' is listed in ImageSets/Main/train.txt, val.txt but there is no such image in JPEGImages"
    ]


def test_many_missing_images_are_counted(make_voc):
    listed = "\n".join(["a", *(f"x{i:03}" for i in range(40))])
    dataset = open_dataset([make_voc({"a": xml()}, {"train": listed})])
    assert len(dataset.warnings) == 11
    assert dataset.warnings[-1] == "30 more listed images are not in JPEGImages"


@pytest.mark.parametrize("lists", [None, {"train": "a\n"}])
def test_annotations_without_image_are_counted(make_voc, lists):
    folder = make_voc({name: xml() for name in ("a", "y", "x")}, lists, images=["a.jpg"])
    (warning,) = open_dataset([folder]).warnings
    assert warning == (
        f"2 annotations have no image in JPEGImages and were left out: {folder}/Annotations/x.xml is the first"
    )


def test_no_image_at_all(make_voc, tmp_path):
    with pytest.raises(MissingInput, match=r"JPEGImages holds no image"):
        open_dataset([make_voc({"a": xml()}, images=[])])
    other = make_voc({"a": xml()}, {"train": "b.jpg\n"}, folder=tmp_path / "other")
    with pytest.raises(MissingInput, match=r"no image in .* is named by a list in ImageSets/Main \('b.jpg'\)"):
        open_dataset([other])


def test_unknown_split(make_voc):
    dataset = open_dataset([make_voc({"a": xml()}, {"trainval": "a\n", "test": "a\n"})])
    with pytest.raises(
        MissingInput, match=r"no split 'tset': choose one of all, test, trainval \(did you mean 'test'\?\)$"
    ):
        dataset.split("tset")


def test_a_list_that_is_no_text(make_voc):
    folder = make_voc({"a": xml()}, {"train": "a\n"})
    (folder / "ImageSets/Main/val.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(BadInput, match=r"val\.txt cannot be read as a list of image ids"):
        open_dataset([folder])


# --- devkits


def test_devkit_with_one_year(make_voc, tmp_path):
    root = make_voc({"a": xml()}, folder=tmp_path / "download/VOCdevkit/VOC2007")
    for source in (tmp_path / "download", tmp_path / "download/VOCdevkit", root):
        dataset = open_dataset([source])
        assert (dataset.kind, dataset.root, dataset.sources) == ("voc", root, (source,))


def test_devkit_with_two_years_asks_which(make_voc, tmp_path):
    for year in (2007, 2012):
        make_voc({"a": xml()}, folder=tmp_path / f"VOC{year}")
    with pytest.raises(UsageProblem, match=r"several VOC data sets: choose one of .*/VOC2007, .*/VOC2012"):
        open_dataset([tmp_path])


def test_voc_among_other_sources(make_voc, tmp_path):
    root = make_voc({"a": xml()}, folder=tmp_path / "set")
    with pytest.raises(UsageProblem, match="set is a VOC data set: give it alone"):
        open_dataset([root, root / "JPEGImages/a.jpg"])
    assert open_dataset([root / "JPEGImages"]).kind == "folder"


def test_a_test_set_without_annotations(make_voc):
    folder = make_voc({}, {"test": "a\n"}, images=["a.jpg"])
    (folder / "Annotations").rmdir()
    dataset = open_dataset([folder])
    assert (dataset.kind, dataset.has_annotations, dataset.classes) == ("voc", False, ())
    with pytest.raises(MissingInput, match=r"image 'a' has no annotation: .*/Annotations/a\.xml is not there"):
        dataset.annotations("a")


# --- annotations


def test_boxes_become_half_open(make_voc):
    objects = (
        box_xml("dog", (1, 1, 100, 50), "<difficult>1</difficult>"),
        box_xml("cat", (45.7, 2, 60.25, 10), "<difficult>0</difficult>"),
        box_xml("cat", (3, 3, 4, 4)),
    )
    dataset = open_dataset([make_voc({"a": xml(*objects), "b": xml()})])
    truth = dataset.annotations("a")
    assert truth.boxes.dtype == np.float32
    np.testing.assert_array_equal(
        truth.boxes, np.array([(0, 0, 100, 50), (44.7, 1, 60.25, 10), (2, 2, 4, 4)], dtype=np.float32)
    )
    assert truth.labels == ("dog", "cat", "cat")
    assert truth.difficult.tolist() == [True, False, False]
    assert dataset.annotations("b").boxes.shape == (0, 4)
    assert dataset.annotations("b").difficult.dtype == np.bool_
    assert dataset.classes == ("cat", "dog")
    assert dataset.warnings == []


def test_parts_are_not_objects(make_voc):
    part = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>"
    dataset = open_dataset([make_voc({"a": xml(box_xml("person", (1, 1, 9, 9), part))})])
    np.testing.assert_array_equal(dataset.annotations("a").boxes, [(0, 0, 9, 9)])
    assert dataset.classes == ("person",)


def test_boxes_without_extent_are_skipped_once(make_voc):
    dataset = open_dataset(
        [make_voc({"a": xml(box_xml(), box_xml("rbc", (7, 3, 7, 9)), box_xml("rbc", (8, 3, 7, 3)))})]
    )
    assert dataset.annotations("a").labels == ("cat",)
    assert dataset.classes == ("cat",)
    path = dataset.root / "Annotations/a.xml"
    assert dataset.warnings == [
        f"{path}: object 2 (rbc), box 7 3 7 9, has no extent and was skipped",
        f"{path}: object 3 (rbc), box 8 3 7 3, has no extent and was skipped",
    ]


def test_exchanged_corners_are_put_in_order_and_said(make_voc):
    dataset = open_dataset([make_voc({"a": xml(box_xml("rbc", (7, 9, 8, 3)), box_xml("rbc", (20, 30, 10, 5)))})])
    np.testing.assert_array_equal(dataset.annotations("a").boxes, [(6, 2, 8, 9), (9, 4, 20, 30)])
    path = dataset.root / "Annotations/a.xml"
    assert dataset.warnings == [
        f"{path}: object 1 (rbc), box 7 9 8 3, has its corners exchanged (ymin is above ymax); they were put in order",
        f"{path}: object 2 (rbc), box 20 30 10 5, has its corners exchanged "
        "(xmin is above xmax and ymin is above ymax); they were put in order",
    ]


def test_boxes_outside_the_image_are_clipped(make_voc):
    objects = box_xml(box=(0, -4, 20, 30)), box_xml(box=(90, 40, 120, 60)), box_xml(box=(101, 1, 120, 20))
    dataset = open_dataset([make_voc({"a": xml(*objects), "b": xml(objects[1], size="")})])
    np.testing.assert_array_equal(dataset.annotations("a").boxes, [(0, 0, 20, 30), (89, 39, 100, 50)])
    assert [warning.split(", ", 2)[2] for warning in dataset.warnings] == [
        "reaches outside the image and was clipped",
        "reaches outside the image and was clipped",
        "lies outside the image and was skipped",
    ]
    np.testing.assert_array_equal(dataset.annotations("b").boxes, [(89, 39, 120, 60)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", r"a\.xml is not a readable annotation: no element found"),
        ("", r"a\.xml is not a readable annotation"),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', r"a\.xml is not a readable annotation"),
        ("<html></html>", r"a\.xml is not a VOC annotation: its root element is <html>"),
        (xml(box_xml(), "<object><name>x</name></object>"), r"a\.xml: object 2 has no <bndbox/xmin>"),
        (xml(box_xml(label=" ")), r"a\.xml: object 1 has no <name>"),
        (xml(box_xml(box=(1, "two", 3, 4))), r"a\.xml: object 1: <bndbox/ymin> is 'two', not a number"),
        (xml(box_xml(box=(1, 2, "nan", 4))), r"a\.xml: object 1: <bndbox/xmax> is 'nan', not a number"),
        (xml(box_xml(extra="<difficult>maybe</difficult>")), r"object 1: <difficult> is 'maybe', not 0 or 1"),
        (xml(size="<size><width>9</width></size>"), r"a\.xml has no <size/height>"),
        (xml(size="<size><width>9</width><height>?</height></size>"), r"a\.xml: <size/height> is '\?', not a number"),
    ],
)
def test_bad_annotations_are_named(make_voc, text, message):
    dataset = open_dataset([make_voc({"a": text})])
    with pytest.raises(BadInput, match=message):
        dataset.annotations("a")


def test_size_zero_is_no_size(make_voc):
    size = "<size><width>0</width><height>0</height></size>"
    dataset = open_dataset([make_voc({"a": xml(box_xml(box=(1, 1, 500, 400)), size=size)})])
    np.testing.assert_array_equal(dataset.annotations("a").boxes, [(0, 0, 500, 400)])


def test_unknown_image(make_voc):
    dataset = open_dataset([make_voc({"0001": xml()})])
    with pytest.raises(MissingInput, match=r"has no image '001' \(did you mean '0001'\?\)"):
        dataset.annotations("001")


def test_the_digest_follows_what_the_annotations_mean(make_voc, tmp_path):
    def digest(name, text, ids=("a", "b")):
        return open_dataset([make_voc({"a": text, "b": xml()}, folder=tmp_path / name)]).annotation_digest(ids)

    reference = digest("reference", xml(box_xml()))
    assert len(reference) == 64
    assert digest("order", xml(box_xml()), ("b", "a", "a")) == reference
    assert digest("space", xml(box_xml(extra="<pose>left</pose> \n <difficult>0</difficult>"))) == reference
    assert digest("box", xml(box_xml(box=(1, 1, 10, 21)))) != reference
    assert digest("label", xml(box_xml("dog"))) != reference
    assert digest("flag", xml(box_xml(extra="<difficult>1</difficult>"))) != reference
    assert digest("fewer", xml(box_xml()), ("a",)) != reference


@pytest.mark.skipif(not BCCD.is_dir(), reason="the BCCD photographs are not beside the repository")
def test_bccd():
    dataset = open_dataset([BCCD])
    assert len(dataset.images) == 364
    assert dataset.split_names() == ("test", "train", "trainval", "val")
    assert [len(dataset.split(name)) for name in dataset.split_names()] == [72, 205, 292, 87]
    assert dataset.classes == ("Platelets", "RBC", "WBC")
    assert sum(len(dataset.annotations(item.id).labels) for item in dataset.images) == 4886
    assert [warning.rsplit("/", 1)[1] for warning in dataset.warnings] == [
        "BloodImage_00338.xml: object 13 (RBC), box 504 337 504 337, has no extent and was skipped",
        "BloodImage_00343.xml: object 4 (RBC), box 181 329 181 329, has no extent and was skipped",
    ]


def test_the_devkits_of_three_years(tmp_path):
    """2007: trainval and test annotated. 2010 and 2012: test lists without annotations, class lists, other tasks."""
    for year in ("2007", "2010", "2012"):
        voc = build_voc(tmp_path / year / "VOCdevkit" / f"VOC{year}", 8)
        main = voc.root / "ImageSets" / "Main"
        for name, ids in voc.splits.items():
            (main / f"aeroplane_{name}.txt").write_text("".join(f"{one} -1\n" for one in ids))
        for task in ("Layout", "Segmentation", "Action"):
            (voc.root / "ImageSets" / task).mkdir()
            (voc.root / "ImageSets" / task / "train.txt").write_text("000001 1\n")
        (voc.root / "SegmentationClass").mkdir()
        if year != "2007":
            for name in voc.splits["test"]:
                voc.annotation(name).unlink()
            # VOC2010 and later write fractions here and there
            path = voc.annotation("000001")
            path.write_text(re.sub(r"<xmin>(\d+)</xmin>", r"<xmin>\1.5</xmin>", path.read_text(), count=1))
        dataset = open_dataset([tmp_path / year])
        assert dataset.root == voc.root
        assert {name: dataset.split(name) for name in dataset.split_names()} == voc.splits
        for name in voc.splits["trainval"]:
            assert len(dataset.annotations(name).labels) == len(voc.things[name])
        first = voc.things["000001"][0].box[0]
        assert dataset.annotations("000001").boxes[0, 0] == first + (0.5 if year != "2007" else 0)
        test = voc.splits["test"][0]
        if year == "2007":
            assert len(dataset.annotations(test).labels) == len(voc.things[test])
        else:
            with pytest.raises(MissingInput, match=rf"{test}.xml is not there"):
                dataset.annotations(test)


# --- structured warnings, and objects as they are written


def test_warnings_about_files_say_their_kind(make_voc):
    folder = make_voc({name: xml() for name in ("a", "x")}, {"train": "a\nb\n"}, images=["a.jpg"])
    warnings = open_dataset([folder]).warnings
    assert {getattr(warning, "kind", None) for warning in warnings} == {"missing-image", "label-without-image"}
    for warning in warnings:
        again = pickle.loads(pickle.dumps(warning))
        assert (again, again.kind) == (warning, warning.kind)


def test_written_has_the_boxes_that_record_leaves_out(make_voc):
    boxes = [(1, 1, 10, 20), (30, 5, 20, 9), (7, 7, 7, 30)]
    dataset = open_dataset([make_voc({"a": xml(*(box_xml(box=box) for box in boxes))})])
    assert [thing.box for thing in dataset.record("a").objects] == [(0, 0, 10, 20), (19, 4, 30, 9)]
    assert [thing.box for thing in dataset.written("a").objects] == [(0, 0, 10, 20), (29, 4, 20, 9), (6, 6, 7, 30)]
    assert dataset.least_side == 1
