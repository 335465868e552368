"""The layouts in which data sets are most often met, each written from one truth by rules of its own tool.

Nothing of ours is used to write them: what is read can then be held against what was put in.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

Corners = tuple[int, int, int, int]


@dataclass(frozen=True)
class Picture:
    """An image with its objects: label and x0 y0 x1 y1, 0-based half-open pixels; ``size``: width, height."""

    file: Path
    size: tuple[int, int]
    split: str
    objects: tuple[tuple[str, Corners], ...]

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def stem(self) -> str:
        return self.file.stem

    def put(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.file, folder / self.name)
        return folder / self.name


Pictures = tuple[Picture, ...]
SPLITS = ("train", "val", "test")


def classes_of(pictures: Iterable[Picture]) -> list[str]:
    return sorted({label for picture in pictures for label, _ in picture.objects})


def part(pictures: Pictures, split: str) -> Pictures:
    return tuple(picture for picture in pictures if picture.split == split)


def text(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def table(path: Path, rows: Iterable[Iterable[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


def xml(picture: Picture) -> str:
    things = "".join(
        f"<object><name>{escape(label)}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        f"<bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>\n"
        for label, (x0, y0, x1, y1) in picture.objects
    )
    width, height = picture.size
    return (
        f"<annotation><folder>images</folder><filename>{picture.name}</filename><path>C:\\x\\{picture.name}</path>"
        f"<source><database>Unknown</database></source><size><width>{width}</width><height>{height}</height>"
        f"<depth>3</depth></size><segmented>0</segmented>\n{things}</annotation>\n"
    )


def lines(picture: Picture, names: list[str]) -> str:
    rows = []
    for label, (x0, y0, x1, y1) in picture.objects:
        w, h = picture.size
        shares = ((x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h)
        rows.append(f"{names.index(label)} " + " ".join(f"{share:.8f}" for share in shares))
    return "".join(f"{row}\n" for row in rows)


def coco(pictures: Pictures, names: list[str], first: int = 1) -> dict[str, object]:
    images, things = [], []
    for number, picture in enumerate(pictures):
        w, h = picture.size
        images.append({"id": number, "file_name": picture.name, "width": w, "height": h})
        for label, (x0, y0, x1, y1) in picture.objects:
            box, area = [x0, y0, x1 - x0, y1 - y0], (x1 - x0) * (y1 - y0)
            row = {"id": len(things), "image_id": number, "category_id": names.index(label) + first, "bbox": box}
            things.append(row | {"area": area, "iscrowd": 0, "segmentation": []})
    categories = [{"id": i, "name": name, "supercategory": "none"} for i, name in enumerate(names, first)]
    return {"info": {}, "licenses": [], "images": images, "annotations": things, "categories": categories}


def voc(root: Path, pictures: Pictures) -> None:
    for picture in pictures:
        picture.put(root / "JPEGImages")
        text(root / "Annotations" / f"{picture.stem}.xml", xml(picture))
    for split in SPLITS:
        text(root / f"ImageSets/Main/{split}.txt", "".join(f"{one.stem}\n" for one in part(pictures, split)))


def voc_devkit(root: Path, pictures: Pictures) -> None:
    voc(root / "VOCdevkit/VOC2007", pictures)
    for split in SPLITS:
        for name in classes_of(pictures):
            rows = ((one.stem, 1 if name in dict(one.objects) else -1) for one in part(pictures, split))
            text(
                root / f"VOCdevkit/VOC2007/ImageSets/Main/{name}_{split}.txt",
                "".join(f"{stem} {flag:2d}\n" for stem, flag in rows),
            )


def labelimg_voc(root: Path, pictures: Pictures) -> None:
    for picture in pictures:
        picture.put(root)
        text(root / f"{picture.stem}.xml", xml(picture))


def images_and_annotations(root: Path, pictures: Pictures) -> None:
    for picture in pictures:
        picture.put(root / "images")
        text(root / "annotations" / f"{picture.stem}.xml", xml(picture))


def roboflow_voc(root: Path, pictures: Pictures) -> None:
    for picture in pictures:
        folder = root / ROBOFLOW[picture.split]
        picture.put(folder)
        text(folder / f"{picture.stem}.xml", xml(picture))
    _readme(root)


ROBOFLOW = {"train": "train", "val": "valid", "test": "test"}


def _readme(root: Path) -> None:
    text(root / "README.dataset.txt", "# blood\nProvided by a user\n")
    text(root / "README.roboflow.txt", "exported\n")


def roboflow_coco(root: Path, pictures: Pictures) -> None:
    for split, folder in ROBOFLOW.items():
        for picture in part(pictures, split):
            picture.put(root / folder)
        content = coco(part(pictures, split), ["cells", *classes_of(pictures)], 0)
        text(root / folder / "_annotations.coco.json", content)
    _readme(root)


def roboflow_yolo(root: Path, pictures: Pictures) -> None:
    names = classes_of(pictures)
    for picture in pictures:
        picture.put(root / ROBOFLOW[picture.split] / "images")
        text(root / ROBOFLOW[picture.split] / "labels" / f"{picture.stem}.txt", lines(picture, names))
    keys = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\n"
    text(root / "data.yaml", f"{keys}nc: {len(names)}\nnames: {names}\n\nroboflow:\n  workspace: a\n  version: 1\n")
    _readme(root)


def roboflow_csv(root: Path, pictures: Pictures) -> None:
    for split, folder in ROBOFLOW.items():
        rows = [["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]]
        for picture in part(pictures, split):
            picture.put(root / folder)
            rows += [
                [picture.name, *picture.size, label, x0 + 1, y0 + 1, x1, y1]
                for label, (x0, y0, x1, y1) in picture.objects
            ]
        table(root / folder / "_annotations.csv", rows)
    _readme(root)


def tensorflow_csv(root: Path, pictures: Pictures) -> None:
    for split in ("train", "test"):
        rows = [["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]]
        for picture in part(pictures, split) + (part(pictures, "val") if split == "test" else ()):
            picture.put(root / "images" / split)
            rows += [
                [picture.name, *picture.size, label, x0 + 1, y0 + 1, x1, y1]
                for label, (x0, y0, x1, y1) in picture.objects
            ]
        table(root / "images" / f"{split}_labels.csv", rows)


def coco_official(root: Path, pictures: Pictures) -> None:
    for split in ("train", "val"):
        those = part(pictures, split) + (part(pictures, "test") if split == "val" else ())
        for picture in those:
            picture.put(root / f"{split}2017")
        text(root / f"annotations/instances_{split}2017.json", coco(those, classes_of(pictures), 18))
        text(root / f"annotations/captions_{split}2017.json", {"images": [], "annotations": [], "type": "captions"})


def coco_single(root: Path, pictures: Pictures) -> None:
    for picture in pictures:
        picture.put(root / "images")
    text(root / "result.json", coco(pictures, classes_of(pictures), 0))


def ultralytics(root: Path, pictures: Pictures) -> None:
    names = classes_of(pictures)
    for picture in pictures:
        picture.put(root / "images" / picture.split)
        text(root / "labels" / picture.split / f"{picture.stem}.txt", lines(picture, names))
        text(root / f"labels/{picture.split}.cache", "binary")
    listed = "".join(f"  {i}: {name}\n" for i, name in enumerate(names))
    keys = "".join(f"{split}: images/{split}\n" for split in SPLITS)
    text(root / "data.yaml", f"path: ../datasets/blood # dataset root dir\n{keys}\nnames:\n{listed}")


def labelimg_yolo(root: Path, pictures: Pictures) -> None:
    names = classes_of(pictures)
    for picture in pictures:
        picture.put(root)
        text(root / f"{picture.stem}.txt", lines(picture, names))
    text(root / "classes.txt", "".join(f"{name}\n" for name in names))


def label_studio_yolo(root: Path, pictures: Pictures) -> None:
    names = classes_of(pictures)
    for picture in pictures:
        picture.put(root / "images")
        text(root / "labels" / f"{picture.stem}.txt", lines(picture, names))
    text(root / "classes.txt", "\n".join(names))
    text(root / "notes.json", {"categories": [{"id": i, "name": name} for i, name in enumerate(names)], "info": {}})


def yolo_mark(root: Path, pictures: Pictures) -> None:
    names = classes_of(pictures)
    for picture in pictures:
        picture.put(root / "data/img")
        text(root / f"data/img/{picture.stem}.txt", lines(picture, names))
    text(root / "data/obj.names", "\n".join(names))
    text(
        root / "data/obj.data",
        f"classes= {len(names)}\ntrain  = data/train.txt\nvalid  = data/train.txt\n"
        "names = data/obj.names\nbackup = backup/\n",
    )
    text(root / "data/train.txt", "".join(f"data/img/{picture.name}\n" for picture in pictures))


def cvat_yolo(root: Path, pictures: Pictures) -> None:
    names = classes_of(pictures)
    for split, folder in (("train", "obj_train_data"), ("val", "obj_valid_data")):
        those = part(pictures, split) + (part(pictures, "test") if split == "val" else ())
        for picture in those:
            picture.put(root / folder)
            text(root / folder / f"{picture.stem}.txt", lines(picture, names))
        name = "train" if split == "train" else "valid"
        text(root / f"{name}.txt", "".join(f"data/{folder}/{picture.name}\n" for picture in those))
    text(root / "obj.names", "\n".join(names))
    text(
        root / "obj.data",
        f"classes = {len(names)}\ntrain = data/train.txt\nvalid = data/valid.txt\n"
        "names = data/obj.names\nbackup = backup/\n",
    )
