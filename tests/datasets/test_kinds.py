"""Conditions that people report, in every format they can occur in: right, or said; through the command line."""

from __future__ import annotations

import csv
import json
import struct
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run
from tests.datasets.annotated_sets import image_file

FORMATS = ("voc", "voc beside", "coco", "csv", "yolo")
BOX = (10, 20, 30, 40)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def annotate(
    root: Path,
    form: str,
    *,
    size: tuple[int, int] | None = (64, 48),
    name: str = "a.jpg",
    box: tuple[float, float, float, float] = BOX,
    label: str = "cat",
    encoding: str = "utf-8",
) -> Path:
    """One object in one image ``name`` of which ``form`` states ``size``; YOLO's shares are of (64, 48)."""
    x0, y0, x1, y1 = box
    if form.startswith("voc"):
        stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
        corners = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        text = f"<annotation>{stated}<object><name>{label}</name><bndbox>{corners}</bndbox></object></annotation>"
        folder = root / "Annotations" if form == "voc" else images_of(root, form)
        # An XML file says its encoding itself.
        write(folder / f"{Path(name).stem}.xml", text)
    elif form == "coco":
        sides = dict(zip(("width", "height"), size, strict=True)) if size else {}
        content = {
            "images": [{"id": 1, "file_name": name, **sides}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}],
            "categories": [{"id": 1, "name": label}],
        }
        write(root / "annotations/instances_train.json", json.dumps(content, ensure_ascii=False), encoding)
    elif form == "csv":
        sides = size or ("", "")
        head = "image,x0,y0,x1,y1,class,width,height\n"
        row = f"{name},{x0},{y0},{x1},{y1},{label},{sides[0]},{sides[1]}\n"
        write(root / "annotations.csv", head + row, encoding)
    else:
        shares = ((x0 + x1) / 128, (y0 + y1) / 96, (x1 - x0) / 64, (y1 - y0) / 48)
        write(root / f"labels/{Path(name).stem}.txt", f"0 {' '.join(map(str, shares))}\n", encoding)
        write(root / "classes.txt", f"{label}\n", encoding)
    return root


def images_of(root: Path, form: str) -> Path:
    return root / {"voc": "JPEGImages", "voc beside": "."}.get(form, "images")


def converted(run: Run, root: Path, out: Path) -> tuple[list[list[str]], str]:
    """Rows of the data set as CSV (image, box, class, …), and what was said."""
    code, _, err = run("convert", str(root), str(out), "--to", "csv")
    assert code == 0, err
    with (out / "annotations.csv").open(encoding="utf-8") as stream:
        return list(csv.reader(stream))[1:], err


def turned_photo(path: Path, orientation: int) -> None:
    """A photograph stored 64 x 48 with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (64, 48), (90, 120, 150)).save(path, exif=exif)


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
    assert "1 images are not listed in data.yaml and were left out: old/images/a.jpg" in err


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
    assert (code, out) == (0, "would search 1 of 1 images and write proposals.h5\n")


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
