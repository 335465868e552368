"""Exports of VIA and CVAT, and Darknet's folders."""

from __future__ import annotations

import json
from typing import Any

from tests.datasets.export_layout import SIZE, Layout, Things


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
