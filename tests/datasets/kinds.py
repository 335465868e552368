"""One object in one image, in each of the formats; for tests of conditions that any format can have."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from PIL import Image

from tests.conftest import Run

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
