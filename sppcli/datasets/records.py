"""Any data set as `AnnotatedImage` records: what evaluation by COCO's rules and conversion read."""

from __future__ import annotations

from sppcli.datasets.annotated import AnnotatedDataset, AnnotatedImage
from sppcli.datasets.base import Dataset
from sppcli.datasets.voc import VocDataset
from sppcli.errors import BadInput


def record_of(dataset: Dataset, image_id: str) -> AnnotatedImage:
    """The annotation of one image as written; ``objects`` is None where there is none.

    Raises:
        BadInput: a data set without annotations, or an annotation that cannot be read.
    """
    if isinstance(dataset, AnnotatedDataset | VocDataset):
        return dataset.record(image_id)
    raise BadInput(f"{dataset.root} is no annotated data set: give a VOC, COCO, YOLO or CSV one")
