"""Small exports of annotation tools, written by hand from each tool's documentation, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.datasets.annotated_sets import image_file

Box = tuple[float, float, float, float]
Things = list[tuple[str, Box]]


@dataclass(frozen=True)
class Layout:
    """``objects``: image id -> its objects; None for an image without annotation. ``flags``: (id, position, flag) that
    are true. ``says``: what warnings must say.
    """

    kind: str
    files: Mapping[str, Any]
    objects: Mapping[str, Things | None]
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    images: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    flags: frozenset[tuple[str, int, str]] = frozenset()
    says: tuple[str, ...] = ()

    def write(self, root: Path) -> Path:
        for number, (name, size) in enumerate(self.images.items()):
            image_file(root / name, size, 40 * number)
        for name, content in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return root


SIZE = (64, 48)


def _via_regions() -> list[dict[str, Any]]:
    return [
        {
            "shape_attributes": {"name": "rect", "x": 5, "y": 6, "width": 10, "height": 20},
            "region_attributes": {"name": "cat", "image_quality": {"good": True, "frontal": True}},
        },
        {
            "shape_attributes": {
                "name": "polygon",
                "all_points_x": [20, 40, 30],
                "all_points_y": [30, 31, 10],
            },
            "region_attributes": {"name": "dog"},
        },
        {"shape_attributes": {"name": "circle", "cx": 30, "cy": 20, "r": 8.5}, "region_attributes": {"name": "cat"}},
        {"shape_attributes": {"name": "point", "cx": 30, "cy": 20}, "region_attributes": {"name": "cat"}},
        {
            "shape_attributes": {"name": "rect", "x": 1, "y": 1, "width": 3, "height": 3},
            "region_attributes": {"name": "", "image_quality": {}},
        },
    ]


_VIA_OBJECTS: dict[str, Things | None] = {
    "a": [("cat", (5, 6, 15, 26)), ("dog", (20, 10, 40, 31)), ("cat", (21.5, 11.5, 38.5, 28.5))],
    "b": [],
    "c": None,
}
_VIA_SAYS = (
    r"read as the upright boxes around them: 1 circle, 1 polygon",
    r"no objects with a class and a box: 1 point shape, 1 unlabelled region",
    r"the class is the attribute 'name'; passed over: 'image_quality'",
    r"without an entry in the annotations: 1 of 3 images in .*, c.jpg for one; they count as not annotated",
)
_VIA_IMAGES = {"a.jpg": SIZE, "b.jpg": SIZE, "c.jpg": SIZE}
_VIA_METADATA = {
    "a.jpg4213": {"filename": "a.jpg", "size": 4213, "regions": _via_regions(), "file_attributes": {}},
    "b.jpg99": {"filename": "b.jpg", "size": 99, "regions": [], "file_attributes": {}},
}

VIA_JSON = Layout("via", {"via_region_data.json": _VIA_METADATA}, _VIA_OBJECTS, {}, _VIA_IMAGES, says=_VIA_SAYS)
VIA_PROJECT = Layout(
    "via",
    {
        "via_project.json": {
            "_via_settings": {"ui": {}, "core": {}, "project": {"name": "via_project"}},
            "_via_img_metadata": _VIA_METADATA,
            "_via_attributes": {"region": {"name": {"type": "text"}}, "file": {}},
            "_via_data_format_version": "2.0.10",
            "_via_image_id_list": ["a.jpg4213", "b.jpg99"],
        }
    },
    _VIA_OBJECTS,
    {},
    _VIA_IMAGES,
    says=_VIA_SAYS,
)
VIA_1 = Layout(
    "via",
    {
        # VIA 1 numbers regions in an object; the balloon example has no attribute at all, and a folder a split.
        "train/via_region_data.json": {
            "a.jpg1": {
                "fileref": "",
                "size": 1,
                "filename": "a.jpg",
                "base64_img_data": "",
                "file_attributes": {},
                "regions": {
                    "0": {
                        "shape_attributes": {"name": "polygon", "all_points_x": [1, 9], "all_points_y": [2, 8]},
                        "region_attributes": {},
                    }
                },
            }
        },
        "val/via_region_data.json": {
            "a.jpg2": {"filename": "a.jpg", "size": 2, "regions": {}, "file_attributes": {}},
        },
    },
    {"train/a": [("object", (1, 2, 9, 8))], "val/a": []},
    {"train": ("train/a",), "val": ("val/a",)},
    {"train/a.jpg": SIZE, "val/a.jpg": SIZE},
    says=(r"gives no region a class: all are called 'object'",),
)


def _via_row(image: str, count: int, number: int, region: dict[str, Any]) -> str:
    def cell(value: object) -> str:
        return '"' + json.dumps(value).replace('"', '""') + '"'

    shape, attributes = region.get("shape_attributes", {}), region.get("region_attributes", {})
    return f'{image},1234,"{{}}",{count},{number},{cell(shape)},{cell(attributes)}'


VIA_CSV = Layout(
    "via",
    {
        "via_region_data.csv": "\n".join(
            [
                "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes",
                *(_via_row("a.jpg", 5, i, region) for i, region in enumerate(_via_regions())),
                _via_row("b.jpg", 0, 0, {}),
                "",
            ]
        )
    },
    _VIA_OBJECTS,
    {},
    _VIA_IMAGES,
    says=_VIA_SAYS,
)

CVAT_IMAGES = Layout(
    "cvat",
    {
        "annotations.xml": """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <project>
      <id>3</id>
      <tasks>
        <task><id>7</id><name>first</name><subset>Train</subset></task>
        <task><id>8</id><name>second</name><subset>Validation</subset></task>
      </tasks>
      <labels><label><name>car</name><color>#fa3253</color></label><label><name>person</name></label></labels>
    </project>
    <dumped>2024-01-01</dumped>
  </meta>
  <image id="0" name="a.jpg" subset="Train" task_id="7" width="64" height="48">
    <box label="car" source="manual" occluded="1" xtl="5.50" ytl="6.00" xbr="15.25" ybr="26.00" z_order="0">
      <attribute name="truncated">true</attribute>
      <attribute name="colour">red</attribute>
    </box>
    <polygon label="person" occluded="0" points="20.00,30.00;40.00,31.00;30.00,10.00" z_order="0"></polygon>
    <polyline label="car" occluded="0" points="1.0,2.0;3.0,4.0" z_order="0"></polyline>
    <tag label="car" source="manual"></tag>
  </image>
  <image id="1" name="deep/b.jpg" task_id="8" width="64" height="48">
    <box label="car" occluded="0" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90.00" z_order="0"/>
    <ellipse label="person" occluded="0" cx="32.00" cy="24.00" rx="8.00" ry="4.00" z_order="0"/>
    <mask label="car" occluded="0" rle="0, 4" left="3" top="4" width="10" height="12" z_order="0"/>
  </image>
  <image id="2" name="gone.jpg" subset="Train" task_id="7" width="64" height="48">
    <box label="car" occluded="0" xtl="1" ytl="1" xbr="3" ybr="3" z_order="0"/>
  </image>
</annotations>
"""
    },
    {
        "a": [("car", (5.5, 6, 15.25, 26)), ("person", (20, 10, 40, 31))],
        "deep/b": [("car", (15, 5, 25, 25)), ("person", (24, 20, 40, 28)), ("car", (3, 4, 13, 16))],
    },
    {"Train": ("a",), "Validation": ("deep/b",)},
    {"images/a.jpg": SIZE, "images/deep/b.jpg": SIZE},
    frozenset({("a", 0, "truncated")}),
    (
        r"boxes around them: 1 ellipse, 1 mask, 1 polygon, 1 turned rectangle",
        r"a class and a box: 1 image tag, 1 polyline",
        r"names image 'gone.jpg', which is not there",
    ),
)
CVAT_VIDEO = Layout(
    "cvat",
    {
        "annotations.xml": """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>1</id><size>2</size><mode>interpolation</mode><subset>Train</subset>
    <labels><label><name>car</name></label></labels></task></meta>
  <track id="0" label="car" source="manual">
    <box frame="0" keyframe="1" outside="0" occluded="0" xtl="1" ytl="2" xbr="11" ybr="12"/>
    <box frame="1" keyframe="0" outside="0" occluded="0" xtl="2" ytl="2" xbr="12" ybr="12"/>
    <box frame="2" keyframe="1" outside="1" occluded="0" xtl="2" ytl="2" xbr="12" ybr="12"/>
  </track>
  <track id="1" label="car" source="manual">
    <box frame="1" keyframe="1" outside="0" occluded="0" xtl="30" ytl="30" xbr="40" ybr="40"/>
  </track>
</annotations>
"""
    },
    {
        "frame_000000": [("car", (1, 2, 11, 12))],
        "frame_000001": [("car", (2, 2, 12, 12)), ("car", (30, 30, 40, 40))],
        "frame_000002": [],
    },
    {"Train": ("frame_000000", "frame_000001", "frame_000002")},
    {f"images/frame_00000{i}.PNG": SIZE for i in range(3)},
    says=(r"is of a video: its frames are looked for as frame_000000",),
)

CVAT_YOLO = Layout(
    "darknet",
    {
        "obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n"
        "backup = backup/\n",
        "obj.names": "cat\ndog\n",
        "train.txt": "data/obj_train_data/a.jpg\ndata/obj_train_data/b.jpg\n",
        "valid.txt": "data/obj_valid_data/a.jpg\n",
        "obj_train_data/a.txt": "1 0.25 0.25 0.5 0.5\n0 0.5 0.5 0.25 0.25\n",
        "obj_train_data/b.txt": "",
        "obj_valid_data/a.txt": "0 0.5 0.5 1 1\n",
    },
    {
        "obj_train_data/a": [("dog", (0, 0, 32, 24)), ("cat", (24, 18, 40, 30))],
        "obj_train_data/b": [],
        "obj_valid_data/a": [("cat", (0, 0, 64, 48))],
    },
    {"train": ("obj_train_data/a", "obj_train_data/b"), "valid": ("obj_valid_data/a",)},
    {"obj_train_data/a.jpg": SIZE, "obj_train_data/b.jpg": SIZE, "obj_valid_data/a.jpg": SIZE},
)
YOLO_MARK = Layout(
    "darknet",
    {
        "data/obj.data": "classes= 2\ntrain  = data/train.txt\nvalid  = data/train.txt\nnames = data/obj.names\n"
        "backup = backup/\n",
        "data/obj.names": "air\nbird\n",
        "data/train.txt": "data/img/air1.jpg\ndata/img/bird1.jpg\n",
        "data/img/air1.txt": "0 0.5 0.5 0.5 0.5\n",
    },
    {"data/img/air1": [("air", (16, 12, 48, 36))], "data/img/bird1": []},
    {"train": ("data/img/air1", "data/img/bird1"), "valid": ("data/img/air1", "data/img/bird1")},
    {"data/img/air1.jpg": SIZE, "data/img/bird1.jpg": SIZE},
    says=(r"train.txt: 1 image without a label file, taken as without objects",),
)


def _shape(label: str, points: list[list[float]], kind: str, **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


LABELME = Layout(
    "labelme",
    {
        "a.json": {
            "version": "5.5.0",
            "flags": {},
            "shapes": [
                _shape("cat", [[15, 26], [5, 6]], "rectangle"),
                _shape("dog", [[20, 30], [40, 31], [30, 10]], "polygon", difficult=True),
                _shape("sun", [[30, 20], [33, 24]], "circle"),
                _shape("cat", [[1, 2], [3, 4]], "line"),
                _shape("hole", [[2, 3], [7, 9]], "mask", mask="iVBOR"),
                _shape("leg", [[1, 1], [4, 1], [4, 4]], "polygon", group_id=3),
                _shape("leg", [[10, 10], [14, 11], [14, 14]], "polygon", group_id=3),
            ],
            "imagePath": "..\\pictures\\a.jpg",
            "imageData": None,
            "imageHeight": 48,
            "imageWidth": 64,
        },
        "deep/b.json": {
            # Before 3.0: no shape_type, and the image of the file's own name.
            "shapes": [{"label": "cat", "line_color": None, "points": [[1, 2], [9, 8], [4, 5]]}],
            "imagePath": "renamed.jpg",
            "flags": {},
        },
    },
    {
        "a": [
            ("cat", (5, 6, 15, 26)),
            ("dog", (20, 10, 40, 31)),
            ("sun", (25, 15, 35, 25)),
            ("hole", (2, 3, 8, 10)),
            ("leg", (1, 1, 14, 14)),
        ],
        "deep/b": [("cat", (1, 2, 9, 8))],
        "plain": None,
    },
    {},
    {"a.jpg": SIZE, "deep/b.jpg": SIZE, "plain.jpg": SIZE},
    frozenset({("a", 1, "difficult")}),
    (
        r"boxes around them: 1 circle, 1 mask, 4 polygons",
        r"a class and a box: 1 line shape",
        r"1 of 3 images in .* plain.jpg for one",
    ),
)

CREATEML = Layout(
    "createml",
    {
        "train/_annotations.createml.json": [
            {
                "image": "a.jpg",
                "annotations": [
                    {"label": "cat", "coordinates": {"x": 10, "y": 16, "width": 10, "height": 20}},
                    {"label": "dog", "coordinates": {"x": 30.5, "y": 20, "width": 21, "height": 21}},
                ],
            },
            {"image": "b.jpg", "annotations": []},
        ],
        # As in Apple's own example.
        "valid/_annotations.createml.json": [
            {
                "imagefilename": "cat and dog.jpg",
                "annotation": [{"label": "cat", "coordinates": {"y": 5.0, "x": 5.0, "height": 10.0, "width": 8.0}}],
            }
        ],
    },
    {
        "train/a": [("cat", (5, 6, 15, 26)), ("dog", (20, 9.5, 41, 30.5))],
        "train/b": [],
        "valid/cat and dog": [("cat", (1, 0, 9, 10))],
    },
    {"train": ("train/a", "train/b"), "valid": ("valid/cat and dog",)},
    {"train/a.jpg": SIZE, "train/b.jpg": SIZE, "valid/cat and dog.jpg": SIZE},
)


def _result(value: dict[str, Any], kind: str = "rectanglelabels", **more: Any) -> dict[str, Any]:
    return {
        "original_width": 64,
        "original_height": 48,
        "image_rotation": 0,
        "value": {"rotation": 0, **value},
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        **more,
    }


LABEL_STUDIO = Layout(
    "labelstudio",
    {
        "project-1.json": [
            {
                "id": 1,
                "annotations": [
                    {"id": 1, "was_cancelled": True, "ground_truth": False, "result": []},
                    {
                        "id": 2,
                        "was_cancelled": False,
                        "ground_truth": False,
                        "result": [
                            _result({"x": 25, "y": 25, "width": 50, "height": 50, "rectanglelabels": ["Car"]}, id="x1"),
                            # Turned by a quarter about the upper left corner, (32, 24): it lies left of and below it.
                            _result(
                                {
                                    "x": 50,
                                    "y": 50,
                                    "width": 25,
                                    "height": 25,
                                    "rotation": 90,
                                    "rectanglelabels": ["Car"],
                                },
                                id="x2",
                            ),
                            _result(
                                {"points": [[0, 0], [50, 0], [25, 50]], "polygonlabels": ["Tree", "Plant"]},
                                "polygonlabels",
                                id="x3",
                            ),
                            _result(
                                {"x": 50, "y": 50, "radiusX": 12.5, "radiusY": 25, "ellipselabels": ["Sun"]},
                                "ellipselabels",
                                id="x4",
                            ),
                            _result(
                                {"x": 1, "y": 1, "width": 1, "keypointlabels": ["Nose"]}, "keypointlabels", id="x5"
                            ),
                            {"type": "choices", "value": {"choices": ["good"]}, "from_name": "c", "to_name": "image"},
                        ],
                    },
                ],
                "file_upload": "0f3a9b2c-a.jpg",
                "data": {"image": "/data/upload/1/0f3a9b2c-a.jpg"},
                "predictions": [],
            },
            {
                "id": 2,
                "annotations": [{"id": 3, "was_cancelled": False, "result": []}],
                "data": {"image": "/data/local-files/?d=pictures%5Ccaf%C3%A9%20b.jpg"},
                "predictions": [],
            },
            {"id": 3, "annotations": [], "data": {"image": "s3://bucket/c.jpg?token=1"}, "predictions": []},
            {
                "id": 4,
                "annotations": [
                    # The region and its label are two results of one id.
                    {
                        "id": 4,
                        "result": [
                            _result({"x": 0, "y": 0, "width": 50, "height": 50}, "rectangle", id="r"),
                            _result({"x": 0, "y": 0, "width": 50, "height": 50, "labels": ["Bus"]}, "labels", id="r"),
                        ],
                    },
                    {
                        "id": 5,
                        "ground_truth": True,
                        "result": [
                            _result({"x": 0, "y": 0, "width": 25, "height": 50, "rectanglelabels": ["Van"]}, id="s"),
                        ],
                    },
                ],
                "data": {"image": "https://example.com/d.jpg"},
            },
        ]
    },
    {
        "a": [
            ("Car", (16, 12, 48, 36)),
            ("Car", (20, 24, 32, 40)),
            ("Tree", (0, 0, 32, 24)),
            ("Plant", (0, 0, 32, 24)),
            ("Sun", (24, 12, 40, 36)),
        ],
        "pictures/café b": [],
        "c": None,
        "d": [("Van", (0, 0, 16, 24))],
    },
    {},
    {"a.jpg": SIZE, "pictures/café b.jpg": SIZE, "c.jpg": SIZE, "d.jpg": SIZE},
    says=(
        r"boxes around them: 1 ellipse, 1 polygon, 1 turned rectangle",
        r"a class and a box: 1 choices result, 1 point",
        r"of the annotations of 1 image with several, the ground truth",
        r"1 task without a finished annotation",
    ),
)
LABEL_STUDIO_MIN = Layout(
    "labelstudio",
    {
        "project-1-min.json": [
            {
                "image": "/data/upload/1/0f3a9b2c-a.jpg",
                "id": 1,
                "label": [
                    {
                        "x": 25,
                        "y": 25,
                        "width": 50,
                        "height": 50,
                        "rotation": 0,
                        "rectanglelabels": ["Car"],
                        "original_width": 64,
                        "original_height": 48,
                    }
                ],
                "annotator": 1,
                "annotation_id": 11,
                "created_at": "2024-01-01",
                "updated_at": "2024-01-01",
                "lead_time": 3.5,
            },
            {"image": "/data/upload/1/1f3a9b2c-b.jpg", "id": 2, "annotator": 1, "annotation_id": 12, "lead_time": 1.0},
        ]
    },
    {"a": [("Car", (16, 12, 48, 36))], "b": []},
    {},
    {"a.jpg": SIZE, "b.jpg": SIZE},
)

DATUMARO = Layout(
    "datumaro",
    {
        "annotations/train.json": {
            "info": {},
            "categories": {"label": {"labels": [{"name": "cat", "parent": "", "attributes": []}, {"name": "dog"}]}},
            "items": [
                {
                    "id": "a",
                    "annotations": [
                        {
                            "id": 0,
                            "type": "bbox",
                            "attributes": {"occluded": False, "is_crowd": True},
                            "group": 0,
                            "label_id": 1,
                            "z_order": 0,
                            "bbox": [5.0, 6.0, 10.0, 20.0],
                        },
                        {
                            "id": 1,
                            "type": "bbox",
                            "attributes": {"rotation": 90.0},
                            "group": 0,
                            "label_id": 0,
                            "z_order": 0,
                            "bbox": [10, 10, 20, 10],
                        },
                        {"id": 2, "type": "polygon", "label_id": 0, "points": [20, 30, 40, 31, 30, 10], "group": 0},
                        {"id": 3, "type": "ellipse", "label_id": 0, "points": [2, 3, 12, 9], "group": 0},
                        {"id": 4, "type": "label", "label_id": 0, "group": 0, "attributes": {}},
                        {"id": 5, "type": "bbox", "label_id": None, "bbox": [1, 1, 2, 2]},
                    ],
                    "attr": {"frame": 0},
                    "image": {"path": "a.jpg", "size": [48, 64]},
                }
            ],
        },
        "annotations/val.json": {
            "dm_format_version": "1.0",
            "media_type": 2,
            "infos": {},
            "categories": {"label": {"labels": [{"name": "cat", "parent": "", "attributes": []}, {"name": "dog"}]}},
            "items": [{"id": "deep/b", "annotations": [], "attr": {}, "media": {"path": ""}}],
        },
    },
    {
        "train/a": [
            ("dog", (5, 6, 15, 26)),
            ("cat", (15, 5, 25, 25)),
            ("cat", (20, 10, 40, 31)),
            ("cat", (2, 3, 12, 9)),
        ],
        "val/deep/b": [],
    },
    {"train": ("train/a",), "val": ("val/deep/b",)},
    {"images/train/a.jpg": SIZE, "images/val/deep/b.jpg": SIZE},
    frozenset({("train/a", 0, "crowd")}),
    (r"boxes around them: 1 ellipse, 1 polygon, 1 turned rectangle", r"1 label annotation, 1 unlabelled annotation"),
)

_OI = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
OPEN_IMAGES = Layout(
    "openimages",
    {
        "oidv6-train-annotations-bbox.csv": _OI
        + "0a1,xclick,/m/01yrx,1,0.25,0.75,0.25,0.75,0,1,0,0,0\n0a1,xclick,/m/0bt9lr,1,0,0.5,0,1,0,-1,1,1,0\n",
        "validation-annotations-bbox.csv": _OI + "0b2,xclick,/m/0xxxx,1,0.5,1,0.5,1,0,0,0,0,0\n",
        "class-descriptions-boxable.csv": "/m/01yrx,Cat\n/m/0bt9lr,Dog\n",
    },
    {
        "train/0a1": [("Cat", (16, 12, 48, 36)), ("Dog", (0, 0, 32, 48))],
        "validation/0b2": [("/m/0xxxx", (32, 24, 64, 48))],
    },
    {"train": ("train/0a1",), "validation": ("validation/0b2",)},
    {"train/0a1.jpg": SIZE, "validation/0b2.jpg": SIZE},
    frozenset({("train/0a1", 0, "truncated"), ("train/0a1", 1, "crowd")}),
    (r"1 depiction, used as others", r"names like /m/0xxxx are kept, 1 in all"),
)

RETINANET = Layout(
    "retinanet",
    {
        "train.csv": "images/a.jpg,5,6,15,26,cat\nimages/a.jpg,20,10,40,31,dog\nimages/b.jpg,,,,,\n",
        "val.csv": "C:\\data\\images\\c.jpg,1,2,3.5,4,cat\n",
        "classes.csv": "dog,0\ncat,1\n",
    },
    {"a": [("cat", (5, 6, 15, 26)), ("dog", (20, 10, 40, 31))], "b": [], "c": [("cat", (1, 2, 3.5, 4))]},
    {"train": ("a", "b"), "val": ("c",)},
    {"images/a.jpg": SIZE, "images/b.jpg": SIZE, "images/c.jpg": SIZE},
)
KAGGLE = Layout(
    "kaggle",
    {
        "train.csv": 'image_id,width,height,bbox,source\nb6ab77,64,48,"[5.0, 6.0, 10.0, 20.0]",usask_1\n'
        'b6ab77,64,48,"[20, 10, 20, 21]",usask_1\nc7ab77,64,48,[],usask_1\n'
    },
    {"train/b6ab77": [("object", (5, 6, 15, 26)), ("object", (20, 10, 40, 31))], "train/c7ab77": [], "test/d8": None},
    {"train": ("train/b6ab77", "train/c7ab77"), "test": ("test/d8",)},
    {"train/b6ab77.jpg": SIZE, "train/c7ab77.jpg": SIZE, "test/d8.jpg": SIZE},
    says=(r"has no column for the class: its 2 objects are called 'object'", r"1 of 3 images"),
)

_TF = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
CSV_ROBOFLOW = Layout(
    "csv",
    {
        "train/_annotations.csv": _TF + "a.jpg,64,48,cat,6,7,15,26\na.jpg,64,48,dog,21,11,40,31\n",
        "valid/_annotations.csv": _TF + "a.jpg,64,48,cat,2,3,4,5\n",
    },
    {"train/a": [("cat", (5, 6, 15, 26)), ("dog", (20, 10, 40, 31))], "valid/a": [("cat", (1, 2, 4, 5))]},
    {"train": ("train/a",), "valid": ("valid/a",)},
    {"train/a.jpg": SIZE, "valid/a.jpg": SIZE},
)
CSV_TENSORFLOW = Layout(
    "csv",
    {
        "train_labels.csv": _TF + "a.jpg,64,48,cat,6,7,15,26\n",
        "test_labels.csv": _TF + "a.jpg,64,48,cat,2,3,4,5\n",
    },
    {"train/a": [("cat", (5, 6, 15, 26))], "test/a": [("cat", (1, 2, 4, 5))]},
    {"train": ("train/a",), "test": ("test/a",)},
    {"images/train/a.jpg": SIZE, "images/test/a.jpg": SIZE},
)
CSV_EXCEL = Layout(
    "csv",
    {
        "annotations.csv": "image;x0;y0;x1;y1;class;crowd;split\na.jpg;1,5;2;30;40;cat;1;train trainval\n"
        "b.jpg;;;;;;;val\n"
    },
    {"a": [("cat", (1.5, 2, 30, 40))], "b": []},
    {"train": ("a",), "trainval": ("a",), "val": ("b",)},
    {"a.jpg": SIZE, "b.jpg": SIZE},
    frozenset({("a", 0, "crowd")}),
)

LAYOUTS = {
    "csv-roboflow": CSV_ROBOFLOW,
    "csv-tensorflow": CSV_TENSORFLOW,
    "csv-excel": CSV_EXCEL,
    "via-json": VIA_JSON,
    "via-project": VIA_PROJECT,
    "via-1": VIA_1,
    "via-csv": VIA_CSV,
    "cvat-images": CVAT_IMAGES,
    "cvat-video": CVAT_VIDEO,
    "cvat-yolo": CVAT_YOLO,
    "yolo-mark": YOLO_MARK,
    "labelme": LABELME,
    "createml": CREATEML,
    "label-studio": LABEL_STUDIO,
    "label-studio-min": LABEL_STUDIO_MIN,
    "datumaro": DATUMARO,
    "open-images": OPEN_IMAGES,
    "retinanet": RETINANET,
    "kaggle": KAGGLE,
}
