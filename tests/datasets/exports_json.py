"""Exports in JSON, one or a few files for all images, or one for each."""

from __future__ import annotations

from typing import Any

from tests.datasets.export_layout import SIZE, Layout


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
