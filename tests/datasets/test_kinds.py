"""Conditions that people report, in every format they can occur in: right, or said; through the command line."""

from __future__ import annotations

import json
import struct
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run
from tests.datasets.annotated_sets import image_file
from tests.datasets.kinds import BOX, FORMATS, annotate, converted, images_of, turned_photo, write

# --- the image at hand decides


@pytest.mark.parametrize("form", ["voc", "voc beside", "coco", "csv"])
@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ((64, 48), None),
        (None, None),
        ((48, 64), "width and height of a.jpg are 48 x 64 there, exchanged"),
        ((640, 480), "width and height of a.jpg are 640 x 480 there, wrong if the image is 64 x 48"),
    ],
)
def test_stated_sizes(tmp_path: Path, run: Run, form: str, stated: tuple[int, int] | None, said: str | None) -> None:
    root = annotate(tmp_path / "set", form, size=stated, box=(40, 20, 60, 40))
    image_file(images_of(root, form) / "a.jpg")
    ((_, *box, label, _, _, _, width, height, _),), err = converted(run, root, tmp_path / "out")
    assert (box, label) == (["40", "20", "60", "40"], "cat")
    assert (width, height) == ("64", "48")
    assert ("warning" in err) == (said is not None)
    assert said is None or said in err


@pytest.mark.parametrize("form", ["voc", "voc beside", "coco", "csv"])
@pytest.mark.parametrize(
    ("orientation", "box"),
    [(5, (20, 10, 40, 30)), (6, (8, 10, 28, 30)), (7, (8, 34, 28, 54)), (8, (20, 34, 40, 54))],
)
def test_boxes_of_the_cameras_frame_are_turned(
    tmp_path: Path, run: Run, form: str, orientation: int, box: tuple[int, ...]
) -> None:
    root = annotate(tmp_path / "set", form, size=(64, 48))
    turned_photo(images_of(root, form) / "a.jpg", orientation)
    ((_, *found, _, _, _, _, width, height, _),), err = converted(run, root, tmp_path / "out")
    assert tuple(map(int, found)) == box
    assert (width, height) == ("48", "64")
    assert "the camera's frame" in err


@pytest.mark.parametrize("form", ["voc", "voc beside", "coco", "csv"])
def test_boxes_of_the_upright_image_are_not_turned(tmp_path: Path, run: Run, form: str) -> None:
    root = annotate(tmp_path / "set", form, size=(48, 64))
    turned_photo(images_of(root, form) / "a.jpg", 6)
    ((_, *found, _, _, _, _, _, _, _),), err = converted(run, root, tmp_path / "out")
    assert tuple(map(int, found)) == BOX
    assert "warning" not in err


def test_turning_a_box_turns_as_the_image_does() -> None:
    """Each orientation, against Pillow's own turn of a picture with one white rectangle."""
    import numpy as np

    from sppcli.datasets.at_hand import Fit
    from sppcli.images import _TURNS

    for orientation, turn in _TURNS.items():
        pixels = np.zeros((48, 64), dtype=np.uint8)
        pixels[20:40, 10:30] = 255
        upright = np.asarray(Image.fromarray(pixels).transpose(turn))
        rows, columns = np.nonzero(upright)
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert Fit((0, 0), orientation, (64, 48)).box(BOX) == expected, orientation


@pytest.mark.parametrize("value", ["text where a short belongs", "orientation as two shorts"])
def test_malformed_exif_stops_no_run(tmp_path: Path, run: Run, value: str) -> None:
    """An orientation of 6, and a field whose bytes are not of the type it says; written by hand as TIFF tags."""
    if value.startswith("text"):
        # ImageWidth (0x100), a short by the standard, as ASCII.
        tags = struct.pack("<HHII", 0x0100, 2, 4, 0x00636261) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
        count = 2
    else:
        tags, count = struct.pack("<HHIHH", 0x0112, 3, 2, 6, 6), 1
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + tags + b"\0\0\0\0"
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg", exif=exif)
    image_file(tmp_path / "b.jpg")
    code, out, err = run("propose", str(tmp_path), "-o", str(tmp_path / "p.h5"), "-j", "1", "--max-side", "32")
    assert (code, "2 images" in out) == (0, True), err


# --- one name in several spellings


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("there", "written"),
    [
        (unicodedata.normalize("NFD", "café.jpg"), unicodedata.normalize("NFC", "café.jpg")),
        (unicodedata.normalize("NFC", "café.jpg"), unicodedata.normalize("NFD", "café.jpg")),
        ("IMG_1.jpg", "img_1.jpg"),
        ("décran.jpg", "d%C3%A9cran.jpg"),
    ],
)
def test_spellings_of_one_name(tmp_path: Path, run: Run, form: str, there: str, written: str) -> None:
    root = annotate(tmp_path / "set", form, name=written)
    image_file(images_of(root, form) / there)
    ((name, *_, label, _, _, _, _, _, _),), err = converted(run, root, tmp_path / "out")
    assert (name, label) == (there, "cat")
    assert "warning" not in err


@pytest.mark.parametrize("form", ["coco", "csv"])
@pytest.mark.parametrize("written", ["C:\\data\\set\\images\\a.jpg", "images\\a.jpg", "/home/me/set/images/a.jpg"])
def test_paths_of_other_machines(tmp_path: Path, run: Run, form: str, written: str) -> None:
    root = annotate(tmp_path / "set", form, name=written)
    image_file(root / "images/a.jpg")
    ((name, *_, label, _, _, _, _, _, _),), _ = converted(run, root, tmp_path / "out")
    assert (name, label) == ("a.jpg", "cat")


@pytest.mark.parametrize("written", ["C:\\data\\images\\a.jpg", ".\\images\\a.jpg", "/content/set/images/a.jpg"])
def test_paths_of_other_machines_in_yolos_lists(tmp_path: Path, run: Run, written: str) -> None:
    root = annotate(tmp_path / "set", "yolo")
    (root / "classes.txt").unlink()
    image_file(root / "images/a.jpg")
    write(root / "train.txt", f"{written}\r\n")
    write(root / "data.yaml", "train: train.txt\nnames: [cat]\n")
    ((_, *_, split),), err = converted(run, root, tmp_path / "out")
    assert split == "train"
    assert "warning" not in err


def test_a_letter_case_that_two_images_share_is_no_match(tmp_path: Path, run: Run) -> None:
    root = annotate(tmp_path / "set", "yolo", name="B.jpg")
    for name in ("b.jpg", "B.jpg"):
        image_file(root / "images" / name)
    rows, _ = converted(run, root, tmp_path / "out")
    assert [row[0] for row in rows if row[5]] == ["B.jpg"]


# --- encodings


@pytest.mark.parametrize("form", ["coco", "csv", "yolo"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be with mark"])
def test_encodings_with_a_mark_are_read(tmp_path: Path, run: Run, form: str, encoding: str) -> None:
    big = encoding.endswith("mark")
    root = annotate(tmp_path / "set", form, label="Katze ü", encoding="utf-8" if big else encoding)
    if big:
        for path in root.rglob("*.*"):
            if path.is_file():
                path.write_bytes(b"\xfe\xff" + path.read_text(encoding="utf-8").encode("utf-16-be"))
    image_file(images_of(root, form) / "a.jpg")
    ((*_, label, _, _, _, _, _, _),), _ = converted(run, root, tmp_path / "out")
    assert label == "Katze ü"


@pytest.mark.parametrize("form", ["coco", "csv", "yolo"])
def test_other_encodings_are_refused_with_the_remedy(tmp_path: Path, run: Run, form: str) -> None:
    root = annotate(tmp_path / "set", form, label="Müller", encoding="latin-1")
    image_file(images_of(root, form) / "a.jpg")
    code, _, err = run("convert", str(root), str(tmp_path / "out"), "--to", "csv" if form != "csv" else "coco")
    assert code == 3
    assert "save it as UTF-8" in err


@pytest.mark.parametrize("head", ["names:", '"names":', "'names' :", "\ufeffnames:"])
def test_texts_of_a_yaml_stay_texts(tmp_path: Path, run: Run, head: str) -> None:
    names = ["no", "off", "yes", "007", "1_000", "null", "1.0", "2020-01-01"]
    root = tmp_path / "set"
    image_file(root / "images/a.jpg")
    write(root / "labels/a.txt", "".join(f"{i} .5 .5 .{i + 1} .5\n" for i in range(len(names))))
    write(root / "data.yaml", f"{head} [{', '.join(names)}]\r\ntrain: images\r\n")
    rows, _ = converted(run, root, tmp_path / "out")
    assert [row[5] for row in rows] == names


def test_a_yaml_that_is_not_utf8_is_named(tmp_path: Path, run: Run) -> None:
    root = annotate(tmp_path / "set", "yolo")
    (root / "classes.txt").unlink()
    image_file(root / "images/a.jpg")
    write(root / "data.yaml", "names: [红细胞]\n", "gbk")
    code, _, err = run("convert", str(root), str(tmp_path / "out"), "--to", "csv")
    assert code == 3
    assert "data.yaml" in err
    assert "save it as UTF-8" in err


# --- never fewer images without a word


@pytest.mark.parametrize("form", [*FORMATS, "folder"])
def test_unread_image_formats_and_dangling_links_are_counted(tmp_path: Path, run: Run, form: str) -> None:
    root = tmp_path / "set"
    folder = images_of(root, form)
    if form != "folder":
        annotate(root, form)
    image_file(folder / "a.jpg")
    for name in ("b.HEIC", "c.avif"):
        write(folder / name, "no image")
    (folder / "d.jpg").symlink_to("nowhere.jpg")
    code, _, err = run("propose", str(root), "--dry-run")
    assert code == 0
    if form != "csv":
        assert "2 images are left out, in formats that are not read (.HEIC .avif" in err
        assert "1 image is a link to something that is not there" in err


def test_images_that_a_coco_file_does_not_name_are_counted(tmp_path: Path, run: Run) -> None:
    root = annotate(tmp_path / "set", "coco")
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        image_file(root / "images" / name)
    rows, err = converted(run, root, tmp_path / "out")
    assert len(rows) == 1
    assert "2 images are named by no annotation file and were left out: images/b.jpg, images/c.jpg" in err


@pytest.mark.parametrize("ending", [".jfif", ".jpe", ".JPE"])
def test_jpeg_by_other_names_is_read(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.chdir(tmp_path)
    image_file(tmp_path / "a.jpg").rename(tmp_path / f"a{ending}")
    code, out, _ = run("propose", ".", "--dry-run")
    assert (code, out) == (0, "would search 1 of 1 image and write proposals.h5\n")


@pytest.mark.parametrize(("split", "said"), [("valid", False), ("validation", False), ("extra", True)])
def test_class_folders_beside_train_and_test(tmp_path: Path, split: str, said: bool) -> None:
    from sppcli.datasets.classification import open_classified

    for part in ("train", "test", split):
        for name in ("cat", "dog"):
            image_file(tmp_path / part / name / "a.jpg")
    opened = open_classified([tmp_path])
    assert (len(opened.images), "val" in opened.splits) == ((4, False) if said else (6, True))
    assert any("its 2 images were left out" in text for text in opened.warnings) == said


def test_many_warnings_of_a_kind_are_one_line(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "set"
    for i in range(30):
        annotate(root, "voc", name=f"{i:02d}.jpg", box=(-1, -1, 30, 40))
        image_file(root / "JPEGImages" / f"{i:02d}.jpg")
    code, _, err = run("propose", str(root), "--dry-run")
    assert code == 0
    (line,) = [line for line in err.splitlines() if line.startswith("warning")]
    assert "30 boxes reach outside their image and were clipped" in line
    assert "0-based" in line
    assert line.endswith("and 20 more")


# --- corners, separators


@pytest.mark.parametrize("form", ["voc", "voc beside", "csv", "csv of VOC's"])
def test_exchanged_corners(tmp_path: Path, run: Run, form: str) -> None:
    x0, y0, x1, y1 = BOX
    shift = form != "csv"  # VOC's first corner is written one higher, its last as it is
    root = tmp_path / "set"
    if form == "csv of VOC's":
        write(root / "train.csv", f"filename,xmin,ymin,xmax,ymax,class\na.jpg,{x1},{y0 + 1},{x0 + 1},{y1},cat\n")
    else:
        annotate(root, form, box=(x1 - shift, y0, x0 + shift, y1))
    image_file(images_of(root, form) / "a.jpg")
    ((_, *box, _, _, _, _, _, _, _),), err = converted(run, root, tmp_path / "out")
    assert tuple(map(int, box)) == BOX
    assert "corners exchanged" in err


@pytest.mark.parametrize("name", ["annotations.csv", "labels.csv", "train.csv"])
@pytest.mark.parametrize("sign", [";", "\t"])
def test_other_separators(tmp_path: Path, run: Run, name: str, sign: str) -> None:
    root = tmp_path / "set"
    image_file(root / "images/a.jpg")
    write(root / name, f"image,x0,y0,x1,y1,class\na.jpg,{','.join(map(str, BOX))},cat\n".replace(",", sign))
    code, _, err = run("convert", str(root), str(tmp_path / "out"), "--to", "coco")
    assert code == 0, err
    content = json.loads(next((tmp_path / "out/annotations").glob("*.json")).read_text())
    assert content["annotations"][0]["bbox"] == [10, 20, 20, 20]


# --- letters


def test_letters_that_no_font_has_are_said_and_others_drawn(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = annotate(tmp_path / "set", "voc", label="\U0001340d")  # an Egyptian hieroglyph
    image_file(root / "JPEGImages/a.jpg")
    code, _, err = run("show", str(root), "--what", "ground-truth", "-o", "sheet.png")
    assert code == 0
    assert "no font on this machine has the letters" in err
    root = annotate(tmp_path / "greek", "voc", label="γάτα")
    image_file(root / "JPEGImages/a.jpg")
    code, _, err = run("show", str(root), "--what", "ground-truth", "-o", "greek.png")
    assert code == 0
    assert "font" not in err
