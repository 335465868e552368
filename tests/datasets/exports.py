"""Small exports of annotation tools, written by hand from each tool's documentation, and what they hold."""

from __future__ import annotations

from tests.datasets.export_layout import Layout
from tests.datasets.exports_csv import CSV_EXCEL, CSV_ROBOFLOW, CSV_TENSORFLOW, KAGGLE, OPEN_IMAGES, RETINANET
from tests.datasets.exports_json import CREATEML, DATUMARO, LABEL_STUDIO, LABEL_STUDIO_MIN, LABELME
from tests.datasets.exports_via_cvat import (
    CVAT_IMAGES,
    CVAT_VIDEO,
    CVAT_YOLO,
    VIA_1,
    VIA_CSV,
    VIA_JSON,
    VIA_PROJECT,
    YOLO_MARK,
)

__all__ = ["LAYOUTS", "Layout"]

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
