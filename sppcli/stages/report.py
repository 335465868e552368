"""Detections and their ground truth as one HTML page: what is found, what goes wrong, and what made it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from sppcli import __version__
from sppcli.artefacts.detections import DetectionsFile
from sppcli.artefacts.option_text import flat_options
from sppcli.artefacts.overwriting import PAGE, claim
from sppcli.artefacts.store import open_artefact
from sppcli.datasets.annotated import AnnotatedImage
from sppcli.datasets.base import Dataset
from sppcli.datasets.records import record_of
from sppcli.datasets.roles import TEST, TRAIN, TRAINVAL, VAL
from sppcli.datasets.statistics import Statistics, measure
from sppcli.detection.against import coco_truth, data_of, nothing_shown
from sppcli.detection.calibrated import calibration_of_detections
from sppcli.errors import SppError
from sppcli.report.page.compose import (
    Figures,
    Scale,
    calibration,
    class_rows,
    error_rows,
    scores_of,
    size_rows,
    threshold_content,
)
from sppcli.report.page.content import Content, LabelRow, Labels
from sppcli.report.page.panels import precision_recall_panels, threshold_panels
from sppcli.report.page.pictures import Picture
from sppcli.report.page.render import render
from sppcli.report.page.worst import Where, worst_pictures
from sppcli.runtime.files import replacing
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import Progress

PROBABILITY = "probability"
LARGEST = 5_000_000
"""Bytes of a page that still opens at once and goes through most mail."""
_PAGE, _CLASS = 250_000, 14_000
"""Bytes to keep for all but the pictures, and for each class."""

Made = tuple[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What the page is about.

    | field | meaning |
    |---|---|
    | split | whose images are evaluated |
    | images | pictures on the page, those with the most mistakes |
    | iou | a detection finds an object at this overlap or more |
    | title | heading of the page; "": the name of the data set |
    """

    split: str = "test"
    images: int = 24
    iou: float = 0.5
    title: str = ""


@dataclass(frozen=True)
class ReportSummary:
    """``size``: bytes of the page; ``threshold``: the score or probability (``what``) at which it opens, with ``f1`` of
    all classes there; ``pictures`` of ``images`` images are on it.
    """

    output: Path
    size: int
    mAP: float | None  # noqa: N815 (the field's name)
    what: str
    threshold: float
    f1: float
    pictures: int
    images: int
    seconds: float


def run(
    stored: DetectionsFile,
    output: Path,
    config: ReportConfig,
    *,
    dataset: Path | None = None,
    options: RunOptions = USUAL,
) -> ReportSummary:
    """Evaluate ``stored`` and write the page.

    Args:
        stored: detections of `spp detect`.
        output: the HTML file.
        dataset: where the images are, if they have moved.

    Raises:
        MissingInput: no data set, no such split, or none of its images was looked at.
        BadInput: no annotations, or no object in the split.
    """
    started = time.monotonic()
    progress = options.progress
    opened, wanted = data_of(stored, config.split, dataset, progress)
    claim(output, PAGE, inputs=[stored.path], data=opened, overwrite=options.overwrite)
    truth = {image_id: opened.annotations(image_id) for image_id in wanted}
    if not any(annotations.labels for annotations in truth.values()):
        raise nothing_shown(opened, config.split, "report on")
    written = {image_id: coco_truth(opened, image_id) for image_id in wanted}
    classes = tuple(sorted(set(opened.classes) | set(stored.detections.classes)))
    scale = _scale(stored, progress)
    figures = Figures.of(stored.detections, truth, written, classes, config.iou, scale)
    sizes = dict(zip(stored.detections.image_ids, map(tuple, stored.sizes.tolist()), strict=True))
    pictures = worst_pictures(
        figures.shown.verdicts,
        figures.table.thresholds,
        figures.start,
        where=Where(paths={item.id: item.path for item in opened.images}, sizes=sizes),
        count=config.images,
        budget=LARGEST - _PAGE - _CLASS * len(classes),
        progress=progress,
    )
    remarks = tuple(dict.fromkeys(opened.remarks()))
    # Last, as it reads all annotations once more, and finds what is wrong with them in other words.
    labels = _labels(opened, config.split)
    for warning in remarks:
        progress.warn(warning)
    # Where the data set lies on this machine is nobody else's business.
    shown = [remark.replace(f"{opened.root}/", "") for remark in remarks]
    made = _made_by(stored, config, started)
    page = render(_content(figures, config, opened, pictures, labels, made, shown))
    data = page.encode("utf-8", "replace")
    with replacing(output) as temporary:
        temporary.write_bytes(data)
    if len(data) > LARGEST:
        progress.warn(f"{output} has {len(data) / 1e6:.1f} MB; choose fewer --images to make it smaller")
    table, start = figures.table, figures.start
    best = float(table.thresholds[start]), float(table.overall().f1()[0, start])
    taken = time.monotonic() - started
    return ReportSummary(output, len(data), figures.voc.mAP, scale.what, *best, len(pictures), len(wanted), taken)


def _scale(stored: DetectionsFile, progress: Progress) -> Scale:
    """Thresholds on probabilities where the detector is calibrated, else on its scores."""
    found = stored.detections
    known = calibration_of_detections(stored, progress=progress)
    if known is None or not set(found.classes) <= set(known.calibration.classes):
        return scores_of(found)
    place = np.array([known.calibration.classes.index(name) for name in found.classes], dtype=np.int64)
    values = known.calibration.probabilities(found.scores, place[found.label])
    overall = known.header.summary["overall"]
    why = f"at the probability chosen for all classes together by spp calibrate ({known.aim}), on images held out"
    if overall is None:
        return replace(scores_of(found), what=PROBABILITY, values=values)
    return Scale(what=PROBABILITY, values=values, start=float(overall), why=why)


def _content(
    figures: Figures,
    config: ReportConfig,
    opened: Dataset,
    pictures: Sequence[Picture],
    labels: Labels,
    made: Sequence[Made],
    remarks: Sequence[str],
) -> Content:
    verdicts = figures.verdicts
    rows = class_rows(figures)
    errors, error_ap, all_false, all_missed = error_rows(figures)
    return Content(
        title=config.title or opened.root.name,
        data=opened.root.name,
        split=config.split,
        iou=config.iou,
        strict_iou=figures.strict.iou,
        images=len(verdicts.image_ids),
        objects=sum(row.objects for row in rows),
        detections=sum(row.detections for row in rows),
        map_voc=figures.voc.mAP,
        coco=figures.coco.stats,
        classes=rows,
        curves=precision_recall_panels(verdicts, figures.strict, [row.voc for row in rows]),
        errors=errors,
        error_ap=error_ap,
        all_false=all_false,
        all_missed=all_missed,
        not_found=int(figures.table.npos.sum() - figures.verdicts.tp.sum()),
        sizes=size_rows(figures),
        thresholds=threshold_content(figures),
        by_threshold=threshold_panels(figures.table, verdicts.classes, figures.scale.what),
        pictures=pictures,
        pictures_of=len(verdicts.image_ids),
        labels=labels,
        calibration=calibration(figures) if figures.scale.what == PROBABILITY else None,
        made=made,
        remarks=remarks,
    )


def _labels(opened: Dataset, split: str) -> Labels:
    """Label statistics of the whole data set; an annotation that cannot be read is left out."""
    records: list[AnnotatedImage] = []
    for item in opened.images:
        try:
            records.append(record_of(opened, item.id))
        except SppError:
            continue
    names: list[str] = [name for name in (TRAIN, VAL, TRAINVAL, TEST) if name in opened.split_names()]
    names = [*names, *([] if split in names else [split])]
    sizes = {record.id: record.size for record in records if record.size}
    stats: Statistics = measure(records, sizes, {name: opened.split(name) for name in names}, opened.least_side)
    rows = [
        LabelRow(name, count.objects, count.difficult, [count.splits[split] for split in names])
        for name, count in stats.classes.items()
    ]
    return Labels(
        images=stats.images,
        empty=stats.empty,
        unannotated=stats.images - stats.annotated,
        rows=rows,
        splits=[f"{name} ({stats.splits[name]:,} images)" for name in names],
        sides=stats.histogram(),
    )


def _made_by(stored: DetectionsFile, config: ReportConfig, started: float) -> list[Made]:
    """What led to the page: this report, the detections, and the files that these were made of, where they are."""
    now = datetime.now().astimezone()
    report = [
        ("made", f"{now:%Y-%m-%d %H:%M %Z} by spp {__version__}"),
        ("split", config.split),
        ("least IoU", f"{config.iou:g}"),
        ("computing", f"{time.monotonic() - started:.1f} s"),
    ]
    sections: list[Made] = [("This report", report), (f"Detections: {stored.path.name}", _described(stored.path))]
    inputs = stored.header.source.get("inputs")
    for path in _paths_in(inputs):
        try:
            sections.append((f"Made with: {path.name}", _described(path)))
        except (SppError, OSError):
            continue
    return sections


def _paths_in(value: Any) -> list[Path]:
    """The files that a source names, in any depth, that are still there."""
    if isinstance(value, str):
        return [Path(value)] if value.endswith(".h5") and Path(value).is_file() else []
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return list(dict.fromkeys(path for part in parts for path in _paths_in(part)))


def _described(path: Path) -> list[tuple[str, str]]:
    with open_artefact(path) as artefact:
        header = artefact.header
    changed = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    return [
        ("written", f"{changed:%Y-%m-%d %H:%M %Z}"),
        *((f"{name}", text) for name, text in flat_options(header.config).items()),
        *((f"{name} digest", value[:16]) for name, value in header.inputs.items()),
        ("fingerprint", header.fingerprint[:16]),
    ]
