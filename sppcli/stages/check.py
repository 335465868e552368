"""Examines a data set before any work: counts, sizes and what is wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sppcli.artefacts.overwriting import PICTURE, claim
from sppcli.datasets import open_dataset
from sppcli.datasets.annotated import AnnotatedDataset, AnnotatedImage, fitted, used
from sppcli.datasets.base import Dataset
from sppcli.datasets.check import (
    KINDS,
    Finding,
    identical,
    misspelt_classes,
    not_annotated,
    of_classes,
    of_image,
    of_size,
    of_splits,
    similar_classes,
    too_small,
)
from sppcli.datasets.formats import FORMATS
from sppcli.datasets.look import Look, look
from sppcli.datasets.roles import TEST, TRAIN, VAL
from sppcli.datasets.statistics import Statistics, measure
from sppcli.datasets.voc import VocDataset
from sppcli.errors import SppError
from sppcli.paper import DEFAULT
from sppcli.runtime.counts import count_of
from sppcli.runtime.processes import run_many
from sppcli.runtime.progress import NoProgress, Progress


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """``quick``: do not decode images; ``min_examples``: fewer objects of a class are reported; ``max_side``: as in
    `ProposeConfig`."""

    quick: bool = False
    min_examples: int = 10
    max_side: int = DEFAULT.max_side


@dataclass(frozen=True)
class CheckSummary:
    """``kind``: the format's name; ``title``: the same for people.

    ``least_area``: square pixels of the smallest region of Selective Search; ``divided``: train, val and test are not
    the data set's own, but those into which the other commands divide it by content.
    """

    source: Path
    kind: str
    title: str
    stats: Statistics
    findings: tuple[Finding, ...]
    least_area: int
    divided: bool

    @property
    def counts(self) -> dict[str, int]:
        """Kind -> number of findings, for kinds that have some."""
        counted = {kind: sum(finding.kind == kind for finding in self.findings) for kind in KINDS}
        return {kind: count for kind, count in counted.items() if count}


def run(
    source: Path,
    config: CheckConfig,
    *,
    jobs: int = 1,
    plot: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CheckSummary:
    """Look at every image and annotation of ``source``; write ``plot``, a PNG, if it is given.

    With ``overwrite`` it may replace a file that spp did not make.


    Raises:
        MissingInput, BadInput: no data set, or one that cannot be read at all; a plot that cannot be written.
    """
    # Here, not above: it brings numba, which the processes that decode images have no use for.
    from sppcli.proposals.selective_search.graph_segmentation import MIN_SIZE

    progress = progress or NoProgress()
    if plot:
        from sppcli.report.check_plot import require_png

        require_png(plot)
    dataset = open_dataset([source])
    if plot:
        claim(plot, PICTURE, inputs=[source], data=dataset, overwrite=overwrite)
    # As they are now: reading annotations adds what is found below in other words.
    findings = [_remark(text) for text in (*dataset.asides, *dataset.warnings)]
    looks = _looks(dataset, config.quick, jobs, progress)
    findings += _unreadable_images(dataset, looks)
    records, unreadable = _records(dataset, looks, progress)
    findings += unreadable
    for written, _ in records:
        seen = looks[written.id]
        upright = fitted(written, str(source))[0]
        findings += of_size(written, seen, turned=upright.objects != written.objects)
        findings += of_image(upright, seen, dataset.least_side)
        findings += too_small(upright, seen, MIN_SIZE, config.max_side, dataset.least_side)
    splits = _splits(dataset, looks)
    sizes = {image_id: seen.size for image_id, seen in looks.items() if seen.size}
    stats = measure([used(read, "")[0] for _, read in records], sizes, splits, dataset.least_side)
    places = {item.id: item.path for item in dataset.images}
    findings += of_splits(splits, places)
    findings += identical(looks, splits, places)
    if stats.annotated:
        findings += not_annotated([written for written, _ in records], splits)
        findings += _of_classes(dataset, [written for written, _ in records], stats, config.min_examples)
    order = list(KINDS)
    findings.sort(key=lambda finding: order.index(finding.kind))
    if plot:
        from sppcli.report.check_plot import draw_check

        draw_check(plot, _title(source, stats), stats, findings, math.sqrt(MIN_SIZE))
    titles = {form.name: form.title for form in FORMATS}
    divided = bool(splits) and not dataset.has_roles() and dataset.has_annotations
    return CheckSummary(
        source, dataset.kind, titles.get(dataset.kind, "images"), stats, tuple(findings), MIN_SIZE, divided
    )


def _title(source: Path, stats: Statistics) -> str:
    objects = f"{count_of(stats.objects, 'object')} of {count_of(len(stats.classes), 'class', 'classes')}"
    return f"{source.absolute().name}: {count_of(stats.images, 'image')}, {objects}"


def _remark(text: str) -> Finding:
    kind = getattr(text, "kind", "")
    return Finding(kind if kind in KINDS else "dataset", str(text))


def _splits(dataset: Dataset, looks: Mapping[str, Look]) -> dict[str, tuple[str, ...]]:
    """Return the splits of the data set or, without any, those into which it is divided by content."""
    if dataset.has_roles() or not dataset.has_annotations:
        return {name: dataset.split(name) for name in dataset.split_names()}
    dataset.digests.update({image_id: seen.file for image_id, seen in looks.items()})
    divided = {role: dataset.split(role) for role in (TRAIN, VAL, TEST)}
    return {name: dataset.split(name) for name in dataset.split_names()} | divided


def _looks(dataset: Dataset, quick: bool, jobs: int, progress: Progress) -> dict[str, Look]:
    """Image id -> what its file was found to be."""
    paths = [item.path for item in dataset.images]
    progress.start(len(paths), "images")
    looks: dict[str, Look] = {}
    for row, seen in run_many(partial(look, pixels=not quick), paths, jobs):
        looks[dataset.images[row].id] = seen
        progress.advance()
    return looks


def _unreadable_images(dataset: Dataset, looks: Mapping[str, Look]) -> Iterator[Finding]:
    for item in dataset.images:
        seen = looks[item.id]
        if seen.problem:
            kind = "missing-image" if seen.missing else "unreadable-image"
            yield Finding(kind, seen.problem, item.id, item.path)


def _records(
    dataset: Dataset, looks: Mapping[str, Look], progress: Progress
) -> tuple[list[tuple[AnnotatedImage, AnnotatedImage]], list[Finding]]:
    """Return the annotation of each image as written and as read, and findings on those that cannot be read."""
    records, unreadable = [], []
    progress.start(len(dataset.images), "annotations")
    for item in dataset.images:
        written = read = AnnotatedImage(item.id, item.path, None)
        if isinstance(dataset, AnnotatedDataset | VocDataset):
            try:
                written, read = dataset.written(item.id), dataset.record(item.id)
            except SppError as error:
                # Some formats need the image to read its annotation; that it is damaged has been said.
                if not looks[item.id].problem:
                    unreadable.append(Finding("unreadable-annotation", str(error), item.id, item.path))
                written = read = replace(read, objects=())
        records.append((written, read))
        progress.advance()
    return records, unreadable


def _of_classes(
    dataset: Dataset, records: Sequence[AnnotatedImage], stats: Statistics, min_examples: int
) -> Iterator[Finding]:
    declared = dataset.declared if isinstance(dataset, AnnotatedDataset) else ()
    written = Counter(thing.label for record in records for thing in record.objects or ())
    yield from similar_classes(dict.fromkeys(declared, 0) | written)
    yield from misspelt_classes(records)
    yield from of_classes(stats, declared, min_examples)
