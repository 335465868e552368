"""Exports in CSV."""

from __future__ import annotations

from tests.datasets.export_layout import SIZE, Layout

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
