"""The layouts of annotation tools' own exports, as `frequent` has those of plain folders."""

from __future__ import annotations

import json
from pathlib import Path

from tests.datasets.frequent import ROBOFLOW, SPLITS, Corners, Pictures, classes_of, part, table, text


def labelme(root: Path, pictures: Pictures) -> None:
    for picture in pictures:
        picture.put(root)
        shapes = [
            {"label": label, "points": [[x0, y0], [x1, y1]], "group_id": None, "shape_type": "rectangle", "flags": {}}
            for label, (x0, y0, x1, y1) in picture.objects
        ]
        tail = {"imagePath": picture.name, "imageData": None, "imageHeight": picture.size[1]}
        head = {"version": "5.4.1", "flags": {}, "shapes": shapes}
        text(root / f"{picture.stem}.json", head | tail | {"imageWidth": picture.size[0]})


def cvat(root: Path, pictures: Pictures) -> None:
    body = ""
    for number, picture in enumerate(pictures):
        picture.put(root / "images")
        boxes = "".join(
            f'<box label="{label}" source="manual" occluded="0" xtl="{x0:.2f}" ytl="{y0:.2f}" xbr="{x1:.2f}" '
            f'ybr="{y1:.2f}" z_order="0"></box>'
            for label, (x0, y0, x1, y1) in picture.objects
        )
        w, h = picture.size
        body += f'<image id="{number}" name="{picture.name}" width="{w}" height="{h}">{boxes}</image>\n'
    names = "".join(f"<label><name>{name}</name></label>" for name in classes_of(pictures))
    meta = f"<meta><task><name>t</name><labels>{names}</labels></task></meta>"
    text(
        root / "annotations.xml", f"<?xml version='1.0'?><annotations><version>1.1</version>{meta}{body}</annotations>"
    )


def _via_region(label: str, box: Corners) -> tuple[dict[str, object], dict[str, str]]:
    x0, y0, x1, y1 = box
    return {"name": "rect", "x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}, {"type": label}


def via_json(root: Path, pictures: Pictures) -> None:
    content = {}
    for picture in pictures:
        size = picture.put(root).stat().st_size
        shapes = (_via_region(label, box) for label, box in picture.objects)
        regions = [{"shape_attributes": shape, "region_attributes": of} for shape, of in shapes]
        key = f"{picture.name}{size}"
        content[key] = {"filename": picture.name, "size": size, "regions": regions, "file_attributes": {}}
    text(root / "via_region_data.json", content)


def via_csv(root: Path, pictures: Pictures) -> None:
    rows: list[list[object]] = [
        [
            "filename",
            "file_size",
            "file_attributes",
            "region_count",
            "region_id",
            "region_shape_attributes",
            "region_attributes",
        ]
    ]
    for picture in pictures:
        size = picture.put(root).stat().st_size
        for number, (label, box) in enumerate(picture.objects):
            shape, of = _via_region(label, box)
            count = len(picture.objects)
            rows.append([picture.name, size, "{}", count, number, json.dumps(shape), json.dumps(of)])
        if not picture.objects:
            rows.append([picture.name, size, "{}", 0, 0, "{}", "{}"])
    table(root / "via_region_data.csv", rows)


def create_ml(root: Path, pictures: Pictures) -> None:
    for split, folder in ROBOFLOW.items():
        content = []
        for picture in part(pictures, split):
            picture.put(root / folder)
            things = [
                {
                    "label": label,
                    "coordinates": {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "width": x1 - x0, "height": y1 - y0},
                }
                for label, (x0, y0, x1, y1) in picture.objects
            ]
            content.append({"image": picture.name, "annotations": things})
        text(root / folder / "_annotations.createml.json", content)


def label_studio(root: Path, pictures: Pictures) -> None:
    tasks = []
    for number, picture in enumerate(pictures):
        picture.put(root / "images")
        w, h = picture.size
        result = [
            {
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": w,
                "original_height": h,
                "value": {
                    "x": 100 * x0 / w,
                    "y": 100 * y0 / h,
                    "width": 100 * (x1 - x0) / w,
                    "height": 100 * (y1 - y0) / h,
                    "rotation": 0,
                    "rectanglelabels": [label],
                },
            }
            for label, (x0, y0, x1, y1) in picture.objects
        ]
        done = {"id": number, "result": result, "was_cancelled": False, "ground_truth": False}
        image = f"/data/upload/1/0a1b2c3d-{picture.name}"
        tasks.append({"id": number, "annotations": [done], "predictions": [], "data": {"image": image}})
    text(root / "project-1-at-2024-01-01.json", tasks)


def datumaro(root: Path, pictures: Pictures) -> None:
    names = classes_of(pictures)
    for split in SPLITS:
        items = []
        for picture in part(pictures, split):
            picture.put(root / "images" / split)
            things = [
                {"id": i, "type": "bbox", "attributes": {}, "group": 0, "label_id": names.index(label), "z_order": 0}
                | {"bbox": [x0, y0, x1 - x0, y1 - y0]}
                for i, (label, (x0, y0, x1, y1)) in enumerate(picture.objects)
            ]
            image = {"path": picture.name, "size": [picture.size[1], picture.size[0]]}
            items.append({"id": picture.stem, "annotations": things, "attr": {}, "image": image})
        labels = [{"name": name, "parent": "", "attributes": []} for name in names]
        categories = {"label": {"labels": labels, "attributes": []}}
        content = {"dm_format_version": "1.0", "info": {}, "categories": categories, "items": items}
        text(root / f"annotations/{split}.json", content)


def open_images(root: Path, pictures: Pictures) -> None:
    names = classes_of(pictures)
    head = ["ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax"]
    flags = ["IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside"]
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        rows: list[list[object]] = [[*head, *flags]]
        for picture in part(pictures, split):
            picture.put(root / name)
            w, h = picture.size
            rows += [
                [picture.stem, "xclick", f"/m/0{names.index(label)}", 1, x0 / w, x1 / w, y0 / h, y1 / h, 0, 0, 0, 0, 0]
                for label, (x0, y0, x1, y1) in picture.objects
            ]
        table(root / f"{name}-annotations-bbox.csv", rows)
    table(root / "class-descriptions-boxable.csv", ([f"/m/0{i}", name] for i, name in enumerate(names)))


def retinanet(root: Path, pictures: Pictures) -> None:
    for split in SPLITS:
        rows: list[list[object]] = []
        for picture in part(pictures, split):
            picture.put(root / "images")
            rows += [[f"images/{picture.name}", *box, label] for label, box in picture.objects]
            if not picture.objects:
                rows.append([f"images/{picture.name}", "", "", "", "", ""])
        table(root / f"{split}.csv", rows)
    table(root / "classes.csv", ([name, i] for i, name in enumerate(classes_of(pictures))))


def kaggle(root: Path, pictures: Pictures) -> None:
    rows: list[list[object]] = [["image_id", "width", "height", "bbox", "class"]]
    for picture in pictures:
        picture.put(root / "train")
        for label, (x0, y0, x1, y1) in picture.objects:
            box = [float(x0), float(y0), float(x1 - x0), float(y1 - y0)]
            rows.append([picture.stem, *picture.size, str(box), label])
    table(root / "train.csv", rows)
