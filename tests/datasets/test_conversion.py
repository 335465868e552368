"""What goes through a format comes back, as far as the format holds it; spp convert says the rest."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.cli.main import main
from sppcli.datasets import open_dataset
from sppcli.datasets.annotated import AnnotatedImage, AnnotatedSet, LabelledBox
from sppcli.datasets.classification import open_classified
from sppcli.datasets.formats import FORMATS
from sppcli.datasets.records import collect, losses
from sppcli.datasets.voc_write import whole
from tests.conftest import Voc
from tests.datasets.annotated_sets import IDS, annotated_sets, content, image_file, through, write

BCCD = Path(__file__).parents[3] / "shared" / "data" / "BCCD"
some = settings(max_examples=30, deadline=None)
NO_BLANKS = tuple(name for name in IDS if " " not in name)


def everything(thing: LabelledBox) -> tuple[object, ...]:
    return thing.label, thing.box, thing.difficult, thing.truncated, thing.crowd


def flags(thing: LabelledBox) -> tuple[object, ...]:
    return thing.label, thing.box, thing.difficult, thing.truncated


def bare(thing: LabelledBox) -> tuple[object, ...]:
    return thing.label, thing.box


@some
@given(st.data())
def test_voc_coco_yolo_voc(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = data.draw(annotated_sets(Path(folder) / "x", whole=True, ids=NO_BLANKS))
        after = through(before, Path(folder), "voc", "coco", "yolo", "voc")
        assert content(after, bare) == content(before, bare)


@some
@given(st.data())
def test_voc_coco_csv_voc_keeps_the_flags_too(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = data.draw(annotated_sets(Path(folder) / "x", whole=True, ids=NO_BLANKS))
        after = through(before, Path(folder), "voc", "coco", "csv", "voc")
        assert content(after, flags) == content(before, flags)


@some
@given(st.data())
def test_coco_and_csv_hold_hundredths_and_crowds_exactly(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = data.draw(annotated_sets(Path(folder) / "x", whole=False, crowds=True))
        after = through(before, Path(folder), "csv", "coco")
        kept, wanted = content(after, everything), content(before, everything)
        assert (kept["splits"], kept["classes"]) == (wanted["splits"], wanted["classes"])
        for image in before.images:
            (size, rows), (_, expected) = kept["images"][image.id], wanted["images"][image.id]
            assert size == image.size
            assert [(row[0], *row[2:]) for row in rows] == [(row[0], *row[2:]) for row in expected]
            np.testing.assert_allclose([row[1] for row in rows], [row[1] for row in expected], rtol=0, atol=1e-9)


@some
@given(st.data())
def test_yolo_holds_a_millionth_of_a_pixel(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = data.draw(annotated_sets(Path(folder) / "x", whole=False, flags=False))
        assert content(through(before, Path(folder), "yolo"), bare) == content(before, bare)


@some
@given(st.data())
def test_detection_sees_the_same_ground_truth_in_every_format(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = data.draw(annotated_sets(Path(folder) / "x", whole=True, flags=False, ids=NO_BLANKS))
        ids = [image.id for image in before.images]
        opened = [write(before, Path(folder) / to, to) for to in ("voc", "coco", "yolo", "csv")]
        assert len({one.annotation_digest(ids) for one in opened}) == 1
        assert len({one.classes for one in opened}) == 1
        assert len({(one.split_names(), one.split("all")) for one in opened}) == 1


@given(st.tuples(*[st.floats(-5, 900)] * 4))
def test_whole_pixels_are_the_nearest_and_never_nothing(values: tuple[float, ...]) -> None:
    x0, x1 = sorted(values[:2])
    y0, y1 = sorted(values[2:])
    if x0 == x1 or y0 == y1:
        return
    xmin, ymin, xmax, ymax = whole((x0, y0, x1, y1))
    assert xmin <= xmax
    assert ymin <= ymax
    for got, wanted in ((xmin - 1, x0), (ymin - 1, y0), (xmax, x1), (ymax, y1)):
        assert abs(got - wanted) <= 1
    if round(x0) < round(x1):
        assert max(abs(xmin - 1 - x0), abs(xmax - x1)) <= 0.5


def test_what_a_format_cannot_hold_is_counted(tmp_path: Path) -> None:
    path = image_file(tmp_path / "a.png")
    things = (
        LabelledBox("cat", (1.5, 2, 10, 12)),
        LabelledBox("cat", (1, 2, 3, 4), difficult=True, truncated=True),
        LabelledBox("cat", (5, 5, 6, 9)),
        LabelledBox("dog", (0, 0, 30, 30), crowd=True),
        LabelledBox("dog", (50, 40, 70, 48)),
    )
    images = (AnnotatedImage("a b", path, things, (64, 48)), AnnotatedImage("c", path, None, (64, 48)))
    data = AnnotatedSet(("cat", "dog", "eel"), images, {"train": ("a b",), "none": ()})
    assert losses(data, "voc") == [
        "1 boxes were rounded to whole pixels",
        "1 boxes are one pixel wide or high, which spp and others take for damaged in VOC files",
        "1 crowds are marked difficult",
        "1 classes without objects are not kept: an image id has a blank in it",
    ]
    unknown = "1 images without annotation may now pass for images without objects"
    assert losses(data, "coco") == [unknown]
    assert losses(data, "csv") == ["1 empty splits are not kept", unknown]
    assert losses(data, "yolo") == [
        "1 difficult objects are no longer marked",
        "1 truncated objects are no longer marked",
        "1 crowds were left out",
        "1 boxes that reach outside their image were cut or left out",
        unknown,
    ]
    yolo = write(data, tmp_path / "yolo", "yolo").annotations("a b")
    assert yolo.labels == ("cat", "cat", "cat", "dog")
    assert yolo.boxes[-1].tolist() == [50, 40, 64, 48]
    voc = write(data, tmp_path / "voc", "voc")
    assert voc.annotations("a b").difficult.tolist() == [False, True, True, False]
    assert [item.id for item in voc.images] == ["a b", "c"]
    assert voc.split_names() == ("none", "train")


def test_images_without_annotation_stay_so_in_coco_and_voc(tmp_path: Path) -> None:
    images = tuple(AnnotatedImage(name, image_file(tmp_path / f"{name}.png"), None, (64, 48)) for name in "ab")
    shown = AnnotatedImage("c", image_file(tmp_path / "c.png"), (LabelledBox("cat", (0, 0, 9, 9)),), (64, 48))
    data = AnnotatedSet(("cat",), (*images, shown), {"test": ("a", "b"), "train": ("c",)})
    assert losses(AnnotatedSet(data.classes, images, {}), "coco") == []
    for to in ("coco", "voc"):
        found = collect(write(data, tmp_path / to, to))
        assert [image.objects is None for image in found.images] == [True, True, False]
    assert (tmp_path / "coco/annotations/image_info_test.json").is_file()


@pytest.mark.parametrize("to", ["voc", "coco", "yolo", "csv"])
@pytest.mark.parametrize("link", ["--link", "--copy"])
def test_convert_writes_a_data_set_that_spp_opens(
    voc: Voc, to: str, link: str, capsys: pytest.CaptureFixture[str]
) -> None:
    destination = voc.root.parent / "out"
    assert main(["convert", str(voc.root), str(destination), "--to", to, link, "-q"]) == 0
    objects = sum(map(len, voc.things.values()))
    assert capsys.readouterr().out == (
        f"{destination}: {to}, 8 images, {objects} objects of 3 classes; splits: test 2, train 4, trainval 6, val 2\n"
    )
    opened = open_dataset([destination])
    assert opened.kind == to
    assert opened.annotation_digest(voc.ids) == open_dataset([voc.root]).annotation_digest(voc.ids)
    for item in opened.images:
        assert item.path.is_symlink() == (link == "--link")
        assert item.path.read_bytes() == voc.image(item.id).read_bytes()


def test_convert_never_overwrites(voc: Voc, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["convert", str(voc.root), str(tmp_path / "out"), "--to", "coco", "-q", "--json"]
    (tmp_path / "out").mkdir()
    assert main(arguments) == 0  # an empty folder holds nothing to overwrite
    summary = json.loads(capsys.readouterr().out)
    assert (summary["images"], summary["losses"]) == (8, [])
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "out").rglob("*"))
    assert main(arguments) == 2
    assert "is there already and nothing is overwritten" in capsys.readouterr().err
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "out").rglob("*")) == before
    assert main([*arguments[:2], str(tmp_path / "no/where"), *arguments[3:]]) == 3


def test_a_conversion_that_fails_leaves_nothing(voc: Voc, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voc.image("000003").unlink()
    voc.image("000003").mkdir()  # a folder where an image should be: not found, and the lists name it
    path = voc.annotation("000001")
    path.write_text(path.read_text().replace("<xmin>", "<xmin>x", 1))
    assert main(["convert", str(voc.root), str(tmp_path / "out"), "--to", "yolo", "-q"]) == 3
    assert f"{path}: object 1: <bndbox/xmin> is" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["voc"]


def test_convert_needs_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image_file(tmp_path / "plain" / "a.png")
    assert main(["convert", str(tmp_path / "plain"), str(tmp_path / "out"), "--to", "coco"]) == 3
    said = capsys.readouterr().err
    assert "has no annotations to convert" in said
    assert all(form.title in " ".join(said.split()) for form in FORMATS)


@pytest.mark.parametrize("to", ["coco", "yolo", "csv"])
def test_images_are_labelled_by_their_objects_in_every_format(make_voc: Callable[..., Voc], to: str) -> None:
    voc = make_voc(8, difficult_every=2)
    expected = open_classified([voc.root])
    assert main(["convert", str(voc.root), str(voc.root.parent / to), "--to", to, "-q"]) == 0
    found = open_classified([voc.root.parent / to])
    assert (found.kind, found.classes, found.splits) == (to, expected.classes, expected.splits)
    assert np.array_equal(found.in_split, expected.in_split)
    # YOLO has no difficult flags: what only difficult objects show is there.
    wanted = np.where(expected.labels == 0, 1, expected.labels) if to == "yolo" else expected.labels
    assert np.array_equal(found.labels, wanted)
    assert (expected.labels == 0).any()


@pytest.mark.skipif(not BCCD.is_dir(), reason="BCCD is not beside the project")
def test_bccd_through_every_format(tmp_path: Path) -> None:
    original = open_dataset([BCCD])
    ids = original.split("all")
    source = BCCD
    for step, to in enumerate(("coco", "yolo", "voc", "csv")):
        destination = tmp_path / f"{step}"
        assert main(["convert", str(source), str(destination), "--to", to, "--link", "-q"]) == 0
        opened = open_dataset([destination])
        assert opened.annotation_digest(ids) == original.annotation_digest(ids)
        assert {name: opened.split(name) for name in opened.split_names()} == {
            name: original.split(name) for name in original.split_names()
        }
        assert opened.classes == original.classes
        source = destination
