"""Detections, and the ground truth that they are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sppcli.artefacts.detections import DetectionsFile
from sppcli.datasets.base import Dataset
from sppcli.datasets.coco_write import bbox_of
from sppcli.datasets.formats import require_annotations
from sppcli.datasets.records import record_of
from sppcli.datasets.reopen import reopen
from sppcli.errors import BadInput, MissingInput
from sppcli.evaluation.coco_ap import CocoTruth
from sppcli.runtime.counts import count_of
from sppcli.runtime.progress import Progress


def data_of(
    stored: DetectionsFile, split: str, dataset: Path | None, progress: Progress
) -> tuple[Dataset, tuple[str, ...]]:
    """The data set that detections were made of, and the ids of its split; says which of these were not seen.

    Raises:
        MissingInput: no data set, no such split, or none of its images was looked at.
        BadInput: no annotations.
    """
    opened = reopen(stored.path, stored.header.source, dataset, images_needed=False)
    require_annotations(opened)
    wanted = opened.labelled(opened.split(split))
    unseen = sorted(set(wanted) - set(stored.detections.image_ids))
    if len(unseen) == len(wanted):
        raise MissingInput(f"{stored.path} covers no image of split {split}; run spp detect --split {split}")
    if unseen:
        progress.warn(
            f"{stored.path} lacks {count_of(len(unseen), 'image')} of split {split}, whose objects count as missed, "
            f"the first: {unseen[0]}"
        )
    return opened, wanted


def nothing_shown(dataset: Dataset, split: str, purpose: str = "evaluate against") -> BadInput:
    """The error that a split has no object to ``purpose``."""
    return BadInput(
        f"there is no object in split {split} of {dataset.root}: nothing to {purpose}; choose another --split"
    )


def coco_truth(dataset: Dataset, image_id: str) -> CocoTruth:
    """Boxes and areas as written: COCO's rules do not clip.

    Raises:
        BadInput: the image has no annotation.
    """
    record = record_of(dataset, image_id)
    if record.objects is None:
        raise BadInput(f"image {image_id!r} of {dataset.root} has no annotation; evaluate another --split")
    return CocoTruth(
        np.array([bbox_of(thing) for thing in record.objects], dtype=np.float64).reshape(-1, 4),
        tuple(thing.label for thing in record.objects),
        np.array([thing.own_area for thing in record.objects], dtype=np.float64),
        np.array([thing.crowd for thing in record.objects], dtype=np.bool_),
        np.array([thing.difficult for thing in record.objects], dtype=np.bool_),
        record.number,
    )
