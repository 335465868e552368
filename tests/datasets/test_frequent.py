"""The layouts that people have: what is read of each is what was put in, counted without our readers."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run
from tests.datasets import frequent as plain
from tests.datasets import frequent_tools as tools
from tests.datasets.frequent import SPLITS, Picture, Pictures

NONE = dict.fromkeys(SPLITS, ())
LISTED = {split: (split,) for split in SPLITS}
VALID = {"train": ("train",), "val": ("valid",), "test": ("test",)}
TWO = {"train": ("train",), "val": ("val",), "test": ("val",)}

LAYOUTS: Mapping[str, tuple[Callable[[Path, Pictures], None], str, Mapping[str, tuple[str, ...]]]] = {
    "VOC": (plain.voc, "voc", LISTED),
    "VOC devkit": (plain.voc_devkit, "voc", LISTED),
    "LabelImg, XML beside the images": (plain.labelimg_voc, "voc", NONE),
    "images/ and annotations/ with XML": (plain.images_and_annotations, "voc", NONE),
    "Roboflow VOC": (plain.roboflow_voc, "voc", VALID),
    "Roboflow COCO": (plain.roboflow_coco, "coco", VALID),
    "Roboflow YOLO": (plain.roboflow_yolo, "yolo", LISTED),
    "Roboflow CSV": (plain.roboflow_csv, "csv", VALID),
    "TensorFlow's CSV": (plain.tensorflow_csv, "csv", {"train": ("train",), "val": ("test",), "test": ("test",)}),
    "COCO": (plain.coco_official, "coco", {"train": ("train2017",), "val": ("val2017",), "test": ("val2017",)}),
    "COCO, one JSON file": (plain.coco_single, "coco", NONE),
    "Ultralytics YOLO": (plain.ultralytics, "yolo", LISTED),
    "LabelImg, YOLO beside the images": (plain.labelimg_yolo, "yolo", NONE),
    "Label Studio's YOLO": (plain.label_studio_yolo, "yolo", NONE),
    "Yolo_mark": (plain.yolo_mark, "darknet", dict.fromkeys(SPLITS, ("train", "valid"))),
    "CVAT's YOLO 1.1": (plain.cvat_yolo, "darknet", {"train": ("train",), "val": ("valid",), "test": ("valid",)}),
    "labelme": (tools.labelme, "labelme", NONE),
    "CVAT XML": (tools.cvat, "cvat", NONE),
    "VIA JSON": (tools.via_json, "via", NONE),
    "VIA CSV": (tools.via_csv, "via", NONE),
    "Create ML": (tools.create_ml, "createml", VALID),
    "Label Studio JSON": (tools.label_studio, "labelstudio", NONE),
    "Datumaro": (tools.datumaro, "datumaro", LISTED),
    "Open Images": (tools.open_images, "openimages", {"train": ("train",), "val": ("validation",), "test": ("test",)}),
    "RetinaNet CSV": (tools.retinanet, "retinanet", LISTED),
    "Kaggle CSV": (tools.kaggle, "kaggle", dict.fromkeys(SPLITS, ("train",))),
}
"""Name -> what writes it, our name of the format, and the splits that images of train, val and test are found in."""


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """Nine different images in three splits; the last of them has no object and no two have equal boxes."""
    rng = np.random.default_rng(0)
    made = []
    for number, split in enumerate(["train"] * 5 + ["val"] * 2 + ["test"] * 2):
        size = (80 + 3 * number, 60)
        path = tmp_path / "pictures" / f"img_{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        boxes = [(5 + i, 7 + number, 25 + 2 * i, 31 + i) for i in range(0 if number == 4 else 1 + number % 3)]
        labels = ["RBC", "white cell", "Platelets"]
        objects = tuple((labels[(number + i) % 3], box) for i, box in enumerate(boxes))
        made.append(Picture(path, size, split, objects))
    return tuple(made)


NOT_KEPT = {"Roboflow CSV", "TensorFlow's CSV", "Kaggle CSV", "Open Images"}
"""Layouts with a row for each object and none for an image without: that one is not annotated."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_read_is_what_was_put_in(layout: str, pictures: Pictures, tmp_path: Path, run: Run) -> None:
    write, kind, splits = LAYOUTS[layout]
    root = tmp_path / "data"
    write(root, pictures)
    code, out, err = run("check", str(root), "--json", "--quick", "-j", "1", "-q")
    assert code == 0, err
    report = json.loads(out)
    assert (report["format"], report["images"]) == (kind, len(pictures))
    assert report["annotated"] == len(pictures) - (layout in NOT_KEPT)
    wanted = Counter(label for picture in pictures for label, _ in picture.objects)
    assert {name: of["objects"] for name, of in report["classes"].items() if of["objects"]} == wanted
    members = Counter(name for picture in pictures for name in splits[picture.split])
    assert report["divided_by_content"] == (not members)
    if members:
        assert {name: count for name, count in report["splits"].items() if name != "trainval"} == members

    code, _, err = run("convert", str(root), str(tmp_path / "out"), "--to", "csv")
    assert code == 0, err
    with (tmp_path / "out/annotations.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["class"]]
    found = Counter(
        (Path(row["image"]).stem, row["class"], *(round(float(row[side]), 3) for side in ("x0", "y0", "x1", "y1")))
        for row in rows
    )
    assert found == Counter((one.stem, label, *box) for one in pictures for label, box in one.objects)
